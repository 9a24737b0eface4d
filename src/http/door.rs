//! The door: each route is one line with who may use it. The line proves the caller, and writes
//! the same rule into the document, so that the two cannot differ.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder, SecurityRequirement};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};

use super::Desk;
use super::around::RequestId;
use super::body;
use super::problem::{Problem, RETRY_AFTER_S};
use super::rates::Rates;
use super::serve::Peer;
use crate::access::{Proof, Refusal, RefusalKind};
use crate::domain::{Access, Caller, OrgId};
use crate::engine::Work;

/// Routes that are being put together.
pub(super) struct Door {
    desk: Desk,
    rates: Arc<Rates>,
    router: OpenApiRouter<Desk>,
}

/// Who calls, proven, and by which request.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub caller: Caller,
    pub request_id: String,
}

impl Who {
    /// The org that the caller belongs to.
    pub fn org(&self) -> &OrgId {
        &self.caller.org
    }

    /// Work on the caller's behalf.
    pub fn work(&self) -> Work {
        Work::by_caller(&self.caller, &self.request_id)
    }
}

impl FromRequestParts<Desk> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Desk) -> Result<Self, Problem> {
        let who = parts.extensions.get::<Self>().cloned();
        Ok(who.expect("a handler that asks who calls stands behind the door"))
    }
}

/// What the middleware of one route knows.
#[derive(Clone)]
struct Guard {
    desk: Desk,
    rates: Arc<Rates>,
    access: Access,
}

impl Door {
    pub fn new(desk: Desk, router: OpenApiRouter<Desk>) -> Self {
        let rates = Arc::new(Rates::new(desk.limits, desk.engine.clock.clone()));
        Self { desk, rates, router }
    }

    /// Routes for callers whom `access` allows.
    pub fn route(mut self, access: Access, routes: UtoipaMethodRouter<Desk>) -> Self {
        let (schemas, mut paths, methods) = routes;
        for item in paths.paths.values_mut() {
            for operation in operations(item) {
                describe(operation, access);
            }
        }
        let guard = Guard { desk: self.desk.clone(), rates: Arc::clone(&self.rates), access };
        let guarded = (schemas, paths, methods)
            .map(|methods| methods.route_layer(from_fn_with_state(guard, prove)));
        self.router = self.router.routes(guarded);
        self
    }

    /// Routes that prove their callers themselves, or need not.
    pub fn open(mut self, routes: UtoipaMethodRouter<Desk>) -> Self {
        self.router = self.router.routes(routes);
        self
    }

    pub fn into_router(self) -> OpenApiRouter<Desk> {
        self.router
    }
}

/// Proves the caller, and lets nobody in whom the route is not for.
async fn prove(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let caller = match admitted(&guard, peer, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => {
            body::let_pass(request, guard.desk.limits).await;
            return problem.into_response();
        }
    };
    let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let who = Who { caller, request_id: request_id.unwrap_or_default() };
    request.extensions_mut().insert(who.clone());
    let mut answer = next.run(request).await;
    // For the line in the log.
    answer.extensions_mut().insert(who);
    answer
}

/// The caller, if the route is for them, and they do not call too often.
async fn admitted(
    guard: &Guard,
    peer: Option<Peer>,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let origin = peer.and_then(|peer| guard.desk.proxies.origin(peer.0, headers));
    guard.rates.may_try(origin)?;
    let proof = Proof {
        authorization: text(headers, "authorization"),
        api_key: text(headers, "x-api-key"),
        orgid: text(headers, "orgid"),
    };
    let caller = guard.desk.gatekeeper.prove(proof).await.inspect_err(|refusal| {
        if refusal.kind == RefusalKind::Unproven {
            guard.rates.count_failure(origin);
        }
    })?;
    guard.rates.count_request(&caller)?;
    guard.access.admit(caller).ok_or_else(|| not_allowed(&guard.access))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn not_allowed(access: &Access) -> Problem {
    let roles: Vec<_> = access.roles.iter().map(|role| role.as_str()).collect();
    let mut detail = format!("this is for {} alone", roles.join(", "));
    if let Some(permission) = access.permission {
        detail.push_str(&format!(", and for services that have {permission}"));
    }
    Problem::forbidden("not_allowed", detail)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            RefusalKind::Unreadable => StatusCode::BAD_REQUEST,
            RefusalKind::Unproven => StatusCode::UNAUTHORIZED,
            RefusalKind::Forbidden => StatusCode::FORBIDDEN,
            RefusalKind::Unclear => StatusCode::SERVICE_UNAVAILABLE,
        };
        let problem = Self::new(status, refusal.code, refusal.text);
        match refusal.kind {
            RefusalKind::Unclear => problem.retry_after(RETRY_AFTER_S),
            _ => problem,
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

/// Writes what the door does into an operation: who may, what it takes, how it refuses.
fn describe(operation: &mut Operation, access: Access) {
    let scheme = |name: &str| SecurityRequirement::new::<_, [&str; 0], &str>(name, []);
    let mut security = vec![scheme("bearer")];
    if access.permission.is_some() {
        security.push(scheme("apiKey"));
    }
    operation.security = Some(security);
    let roles: Vec<_> = access.roles.iter().map(|role| role.as_str()).collect();
    let permission = access.permission.map(|permission| permission.as_str());
    let who = json!({ "roles": roles, "permission": permission });
    operation.extensions = Some(ExtensionsBuilder::new().add("x-access", who).build());
    let org = ParameterBuilder::new()
        .name("orgid")
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some("The org that the token belongs to."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1))));
    operation.parameters.get_or_insert_default().push(RefOr::T(org.build()));
    without_nul(operation);
    for (status, what) in [
        ("400", "The request cannot be read."),
        ("401", "Nobody proved who calls."),
        ("403", "The caller may not do this, or not in this org."),
        ("429", "Too many requests: see Retry-After."),
        ("500", "It failed on our side."),
        ("503", "The database or a provider does not answer now: see Retry-After."),
    ] {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| problem(what));
    }
    if operation.request_body.is_some() {
        for (status, what) in [
            ("408", "The body took too long."),
            ("413", "The body is too long."),
            ("415", "The body is not JSON."),
            ("422", "A value means nothing."),
        ] {
            operation.responses.responses.entry(status.to_owned()).or_insert_with(|| problem(what));
        }
    }
}

/// Texts of a query hold no NUL (`Asked`): the document says so too.
fn without_nul(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(Parameter { parameter_in: ParameterIn::Query, schema, .. }) = parameter else {
            continue;
        };
        let Some(RefOr::T(Schema::Object(text))) = schema else { continue };
        let is_text = match &text.schema_type {
            SchemaType::Type(kind) => *kind == Type::String,
            SchemaType::Array(kinds) => kinds.contains(&Type::String),
            SchemaType::AnyValue => false,
        };
        if is_text && text.enum_values.is_none() && text.format.is_none() && text.pattern.is_none()
        {
            text.pattern = Some(r"^[^\x00]*$".to_owned());
        }
    }
}

/// An answer that is problem details.
pub(super) fn problem(what: &str) -> RefOr<utoipa::openapi::Response> {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let answer = ResponseBuilder::new().description(what).content("application/problem+json", body);
    RefOr::T(answer.build())
}
