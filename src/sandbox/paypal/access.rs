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

use super::{Refusal, consent};
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

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str, scheme: &str) -> Option<&'a str> {
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
    let application = header(&headers, AUTHORIZATION.as_str(), "Basic ").and_then(application);
    let Some(application) = application else {
        let words = "Client Authentication failed";
        return denied(StatusCode::UNAUTHORIZED, "invalid_client", words);
    };
    if body.split('&').any(|pair| pair == "grant_type=authorization_code") {
        return match consent::exchange(&sandbox, &application, &body) {
            Ok(granted) => Json(granted).into_response(),
            Err((error, words)) => denied(StatusCode::BAD_REQUEST, error, words),
        };
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

/// The id in basic credentials that hold an id and a secret, neither empty.
fn application(credentials: &str) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    (!id.is_empty() && !secret.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_application_is_known_but_not_nobody() {
        // "id:secret", "a:b", ":", ":secret", "id:", "", "id"
        assert_eq!(application("aWQ6c2VjcmV0").as_deref(), Some("id"));
        assert_eq!(application("YTpi").as_deref(), Some("a"));
        for nobody in ["Og==", "OnNlY3JldA==", "aWQ6", "", "aWQ=", "%%%"] {
            assert_eq!(application(nobody), None, "{nobody}");
        }
    }
}
