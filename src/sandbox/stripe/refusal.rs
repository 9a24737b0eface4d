//! Stripe's errors: a status, a type, mostly a code, a sentence, and the parameter at fault.

use std::io;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error in Stripe's shape.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Refusal {
    pub(super) status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
    /// Whether the call got as far as being carried out: only then its key keeps the answer.
    pub(super) is_result: bool,
}

impl Refusal {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        let kind = "invalid_request_error";
        Self { status, kind, code, message: message.into(), param: None, is_result: false }
    }

    fn bad(code: Option<&'static str>, param: &str, message: impl Into<String>) -> Self {
        let param = Some(param.to_owned()).filter(|param| !param.is_empty());
        Self { param, ..Self::new(StatusCode::BAD_REQUEST, code, message) }
    }

    /// A parameter that breaks a rule without a code of its own.
    pub(super) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::bad(None, param, message)
    }

    pub(super) fn missing(param: &str) -> Self {
        Self::bad(Some("parameter_missing"), param, format!("Missing required param: {param}."))
    }

    pub(super) fn unknown_parameter(param: &str) -> Self {
        let message = format!("Received unknown parameter: {param}");
        Self::bad(Some("parameter_unknown"), param, message)
    }

    pub(super) fn duplicate_parameter(param: &str) -> Self {
        Self::invalid(param, format!("Received parameter twice: {param}"))
    }

    pub(super) fn not_an_integer(param: &str, given: &str) -> Self {
        let message = format!("Invalid integer: {given}");
        Self::bad(Some("parameter_invalid_integer"), param, message)
    }

    pub(super) fn below_one(param: &str) -> Self {
        let message = "This value must be greater than or equal to 1.";
        Self::bad(Some("parameter_invalid_integer"), param, message)
    }

    pub(super) fn not_found(what: &str, id: &str) -> Self {
        let refusal = Self::bad(Some("resource_missing"), "id", format!("No such {what}: '{id}'"));
        Self { status: StatusCode::NOT_FOUND, ..refusal }
    }

    pub(super) fn no_such(param: &str, what: &str, id: &str) -> Self {
        Self::bad(Some("resource_missing"), param, format!("No such {what}: '{id}'"))
    }

    pub(super) fn unrecognized(method: &str, path: &str) -> Self {
        let message = format!(
            "Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs."
        );
        Self::new(StatusCode::NOT_FOUND, None, message)
    }

    pub(super) fn unauthenticated(given: Option<&str>) -> Self {
        let message = match given {
            None => "You did not provide an API key. You need to provide your API key in the \
                     Authorization header, using Bearer auth (e.g. 'Authorization: Bearer \
                     YOUR_SECRET_KEY')."
                .to_owned(),
            Some(_) => "Invalid API Key provided: ***".to_owned(),
        };
        Self::new(StatusCode::UNAUTHORIZED, None, message)
    }

    pub(super) fn wrong_media_type() -> Self {
        let message = "Request bodies must be sent with Content-Type \
                       application/x-www-form-urlencoded.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, message)
    }

    /// The account is closed, or was never ours to pay to; asked about by itself.
    pub(super) fn account_invalid(account: &str) -> Self {
        let message = format!(
            "The provided key does not have access to account '{account}' (or that account does \
             not exist). Application access may have been revoked."
        );
        Self::new(StatusCode::FORBIDDEN, Some("account_invalid"), message)
    }

    /// The same, of the destination of a transfer.
    pub(super) fn destination_invalid(account: &str) -> Self {
        let status = StatusCode::BAD_REQUEST;
        let param = Some("destination".to_owned());
        Self { status, param, is_result: true, ..Self::account_invalid(account) }
    }

    pub(super) fn insufficient_capabilities() -> Self {
        let message = "Your destination account needs to have at least one of the following \
                       capabilities enabled: transfers, crypto_transfers, legacy_payments";
        let code = Some("insufficient_capabilities_for_transfer");
        Self { is_result: true, ..Self::bad(code, "destination", message) }
    }

    pub(super) fn balance_insufficient() -> Self {
        let message = "You have insufficient available funds in your Stripe account. Try adding \
                       funds directly to your available balance.";
        Self { is_result: true, ..Self::bad(Some("balance_insufficient"), "", message) }
    }

    /// A key that was first used for something else.
    pub(super) fn key_reused(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were \
             first used with. Try using a key other than '{key}' if you meant to execute a \
             different request."
        );
        let refusal = Self::new(StatusCode::BAD_REQUEST, None, message);
        Self { kind: "idempotency_error", ..refusal }
    }

    pub(in crate::sandbox) fn key_in_use(key: &str) -> Self {
        let message = format!(
            "There is currently another in-progress request using this idempotent key '{key}'. \
             This probably means you submitted twice, and the other request is still going \
             through."
        );
        let code = Some("idempotency_key_in_use");
        let refusal = Self::new(StatusCode::CONFLICT, code, message);
        Self { kind: "idempotency_error", ..refusal }
    }

    pub(in crate::sandbox) fn internal_error() -> Self {
        let message = "An unknown error occurred";
        let refusal = Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, message);
        Self { kind: "api_error", is_result: true, ..refusal }
    }

    pub(in crate::sandbox) fn throttle() -> Self {
        let message = "Request rate limit exceeded. You can learn more about rate limits here \
                       https://stripe.com/docs/rate-limits.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, Some("rate_limit"), message)
    }

    /// The answer's body.
    pub(super) fn body(&self) -> Value {
        let mut error = json!({"type": self.kind, "message": self.message});
        if let Some(code) = self.code {
            error["code"] = code.into();
            error["doc_url"] = format!("https://stripe.com/docs/error-codes/{code}").into();
        }
        if let Some(param) = &self.param {
            error["param"] = param.as_str().into();
        }
        json!({"error": error})
    }
}

/// What could not be written to the journal did not happen.
impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self { is_result: false, ..Self::internal_error() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}
