//! What stands around every route: an id for each request, a line in the log, headers that keep
//! browsers from guessing, an end to what takes too long, and an answer where a handler panics.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::{error, info};

use super::door::Who;
use super::problem::Problem;
use crate::clock::Clock;
use crate::domain::RequestId as MintedId;

/// The header that a request's id comes and goes by.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a caller or a proxy.
const LONGEST_ID: usize = 64;
/// How long a browser may keep the answer to what it asked before a foreign page's request.
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

/// The id of a request: in the answer, in the log, in the audit log.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub String);

/// The code of a problem that an answer has in its bytes already, for the line in the log.
#[derive(Debug, Clone)]
pub(super) struct Coded(pub String);

/// Puts everything around `routes`.
pub(super) fn layers(routes: Router, clock: Clock, time: Duration, origins: &[String]) -> Router {
    let routes = routes
        .layer(from_fn_with_state(time, end_in_time))
        .layer(CatchPanicLayer::custom(|_| panicked()))
        .layer(from_fn_with_state(clock, accompany));
    if origins.is_empty() { routes } else { routes.layer(cors(origins)) }
}

/// Gives the request its id, and the answer its headers and its line in the log.
async fn accompany(State(clock): State<Clock>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = brought_id(request.headers())
        .unwrap_or_else(|| clock.mint::<MintedId>().as_str().to_owned());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut answer = next.run(request).await;
    let problem = answer.extensions().get::<Problem>().cloned();
    let actor = answer.extensions().get::<Who>().map(|who| who.caller.actor().to_string());
    if let Some(problem) = &problem {
        let headers = answer.headers().clone();
        answer = problem.answer(Some(&id));
        for (name, value) in headers.iter().filter(|(name, _)| *name == header::ALLOW) {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }
    let coded = answer.extensions().get::<Coded>().map(|coded| coded.0.clone());
    let code = problem.map(|problem| problem.code.to_owned()).or(coded);
    info!(event = "http.answered", method = %method, route = route.as_deref().unwrap_or("none"),
          status = answer.status().as_u16(), code,
          took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
          actor, request_id = id.as_str());
    if let Ok(value) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
    harden(answer.headers_mut());
    answer
}

/// The id that came along, if it is one that a log can hold.
fn brought_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(is_plain)).then(|| id.to_owned())
}

/// Headers for browsers. A route that needs other ones has set them itself.
fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Ends what takes too long: a caller does not wait for ever, and knows that it may have been done.
async fn end_in_time(State(time): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => {
            let detail = "it took too long, and may have been done all the same: ask, or repeat it \
                          with the same ids";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Problem::new(status, "timed_out", detail).retry_after(2).into_response()
        }
    }
}

fn panicked() -> Response {
    error!(event = "http.panicked");
    let detail = "it failed on our side: the log says where";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "panicked", detail).into_response()
}

/// Which foreign pages' scripts may call, from browsers. Tokens travel in a header, so no
/// credentials of the browser's own are let through.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let names = ["authorization", "content-type", "idempotency-key", "orgid", "x-request-id"];
    let headers: Vec<_> = names.map(HeaderName::from_static).to_vec();
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_headers(headers)
        .allow_methods(methods.map(|m| m.parse().expect("a method")).to_vec())
        .expose_headers([REQUEST_ID])
        .max_age(CORS_MAX_AGE)
}
