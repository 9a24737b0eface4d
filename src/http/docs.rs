//! The document of the API (OpenAPI 3.1), made from the routes themselves, and a page to read it.

use axum::http::{HeaderValue, header};
use axum::{Json, Router};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem::{Fault, ProblemBody};

const ABOUT: &str = "\
Partners' portals ask for earnings and payouts here, and staff tools run the programs.

* Every call carries `orgid`, and a token (`Authorization: Bearer …`) or a service's key (`x-api-key`).
* Amounts are JSON numbers in major units, exact to their last digit.
* What goes wrong is answered by problem details with a stable `code`.
* Lists come in pages: `nextCursor` asks for the next one.
* Repeating a POST is safe: with the same id, or with the same `Idempotency-Key`.";

#[derive(OpenApi)]
#[openapi(components(schemas(ProblemBody, Fault)))]
struct Document;

/// The document before any route is in it.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.info.title = "payoutd".to_owned();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    document.info.description = Some(ABOUT.to_owned());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", bearer);
    components.add_security_scheme("apiKey", key);
    document
}

/// `/openapi.json`, and `/docs`, which loads nothing from elsewhere.
pub(super) fn pages<S: Clone + Send + Sync + 'static>(
    document: utoipa::openapi::OpenApi,
) -> Router<S> {
    let page: Router<S> =
        SwaggerUi::new("/docs").config(Config::from("/openapi.json").validator_url("none")).into();
    let policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                  frame-ancestors 'none'";
    let policy = SetResponseHeaderLayer::overriding(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(policy),
    );
    let json = move || {
        let document = document.clone();
        async move { Json(document) }
    };
    page.layer(policy).route("/openapi.json", axum::routing::get(json))
}
