//! Who may call, and with what: a secret key, parameters, and for a POST its idempotency key.

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use super::form::Form;
use super::{Breakdown, Refusal};
use crate::sandbox::Sandbox;

/// The header of a call's idempotency key.
pub(in crate::sandbox) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Its longest value, in characters.
const LONGEST_KEY: usize = 255;

/// Whoever calls with a secret key.
pub(super) struct Caller {
    query: String,
    /// The connected account that is acted for, if not our own.
    pub(super) account: Option<String>,
}

impl Caller {
    /// The parameters of a GET.
    pub(super) fn query(&self) -> Result<Form, Refusal> {
        Form::parse(&self.query)
    }
}

impl FromRequestParts<Sandbox> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Sandbox) -> Result<Self, Refusal> {
        admit(&parts.headers)?;
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let account = header(&parts.headers, "stripe-account").map(str::to_owned);
        Ok(Self { query, account })
    }
}

/// A POST with its parameters.
pub(super) struct Post {
    pub(super) path: String,
    pub(super) form: Form,
    pub(super) key: Option<String>,
    /// What a fault does to it.
    pub(super) breakdown: Option<Breakdown>,
}

impl FromRequest<Sandbox> for Post {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &Sandbox) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        admit(&parts.headers)?;
        // The server read the body before, within its bound.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_else(|_| Bytes::new());
        let kind = header(&parts.headers, CONTENT_TYPE.as_str());
        let form_encoded =
            kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let nothing = body.is_empty() && kind.is_none();
        if !form_encoded && !nothing {
            return Err(Refusal::wrong_media_type());
        }
        let key = header(&parts.headers, IDEMPOTENCY_KEY).filter(|key| !key.is_empty());
        if key.is_some_and(|key| key.chars().count() > LONGEST_KEY) {
            let words = format!("The idempotency key is longer than {LONGEST_KEY} characters.");
            return Err(Refusal::invalid("", words));
        }
        Ok(Self {
            path: parts.uri.path().to_owned(),
            form: Form::parse(&String::from_utf8_lossy(&body))?,
            key: key.map(str::to_owned),
            breakdown: parts.extensions.get().copied(),
        })
    }
}

fn admit(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = header(headers, AUTHORIZATION.as_str());
    let key = given.and_then(|value| value.strip_prefix("Bearer "));
    let secret = |key: &str| key.starts_with("sk_") || key.starts_with("rk_");
    if key.is_some_and(secret) { Ok(()) } else { Err(Refusal::unauthenticated(key)) }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The idempotency key of a call, if it is one that may have one.
pub(in crate::sandbox) fn key_of(parts: &Parts) -> Option<String> {
    let key = header(&parts.headers, IDEMPOTENCY_KEY).filter(|_| parts.method == Method::POST);
    key.map(str::to_owned)
}
