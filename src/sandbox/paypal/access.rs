//! Who may call: tokens for credentials, and calls for tokens.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::TimeDelta;
use serde_json::json;

use super::Refusal;
use crate::domain::Reference;
use crate::sandbox::Sandbox;

/// How long a token lives, in seconds: PayPal's own nine hours.
const TOKEN_LIFE_SECONDS: i64 = 32_400;

/// Whoever calls with a token that is known.
pub(super) struct Caller {
    /// Where the caller reached the sandbox: what links start with.
    pub(super) base: String,
}

impl FromRequestParts<Sandbox> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, sandbox: &Sandbox) -> Result<Self, Refusal> {
        let token = header(&parts.headers, AUTHORIZATION.as_str(), "Bearer ");
        let known =
            token.is_some_and(|token| sandbox.desk().knows_token(token, sandbox.clock.now()));
        if !known {
            return Err(Refusal::unauthenticated());
        }
        let host = header(&parts.headers, HOST.as_str(), "").unwrap_or("localhost");
        Ok(Self { base: format!("http://{host}") })
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str, scheme: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()?.strip_prefix(scheme)
}

/// `POST /v1/oauth2/token`: any application is known here.
pub(super) async fn grant_token(
    State(sandbox): State<Sandbox>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let denied = |status: StatusCode, error: &str, words: &str| {
        (status, Json(json!({"error": error, "error_description": words}))).into_response()
    };
    if !header(&headers, AUTHORIZATION.as_str(), "Basic ").is_some_and(names_an_application) {
        let words = "Client Authentication failed";
        return denied(StatusCode::UNAUTHORIZED, "invalid_client", words);
    }
    if !body.split('&').any(|pair| pair == "grant_type=client_credentials") {
        let words = "unsupported grant_type";
        return denied(StatusCode::BAD_REQUEST, "unsupported_grant_type", words);
    }
    let token = format!("A21AA{}", sandbox.clock.mint::<Reference>());
    let ends_at = sandbox.clock.now() + TimeDelta::seconds(TOKEN_LIFE_SECONDS);
    sandbox.desk().grant(token.clone(), ends_at);
    let granted = json!({
        "scope": "https://uri.paypal.com/payments/payouts",
        "access_token": token,
        "token_type": "Bearer",
        "app_id": "APP-SANDBOX",
        "expires_in": TOKEN_LIFE_SECONDS,
    });
    Json(granted).into_response()
}

/// Whether basic credentials hold an id and a secret, neither empty.
fn names_an_application(credentials: &str) -> bool {
    let decoded = BASE64_STANDARD.decode(credentials.trim()).unwrap_or_default();
    let Some(colon) = decoded.iter().position(|byte| *byte == b':') else { return false };
    colon > 0 && colon + 1 < decoded.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_application_is_known_but_not_nobody() {
        // "id:secret", "a:b", ":", ":secret", "id:", "", "id"
        assert!(names_an_application("aWQ6c2VjcmV0"));
        assert!(names_an_application("YTpi"));
        for nobody in ["Og==", "OnNlY3JldA==", "aWQ6", "", "aWQ=", "%%%"] {
            assert!(!names_an_application(nobody), "{nobody}");
        }
    }
}
