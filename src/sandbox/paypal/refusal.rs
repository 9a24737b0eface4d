//! PayPal's errors: a status, a name, a sentence, and details.

use std::io;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Where PayPal explains its errors.
const INFORMATION: &str = "https://developer.paypal.com/docs/api/payments.payouts-batch/v1/#errors";

/// An error in PayPal's shape.
#[derive(Debug)]
pub(in crate::sandbox) struct Refusal {
    status: StatusCode,
    name: &'static str,
    message: &'static str,
    details: Vec<Value>,
    /// Seconds.
    retry_after: Option<u32>,
}

/// What PayPal answers to the test values in the first item's note. The notes, names and order
/// are PayPal's list of test values; the statuses are those of the errors of these names.
const SIMULATED: [(&str, u16, &str, &str); 14] = [
    ("ERRPYO001", 403, "SENDER_RESTRICTED", "Authorization error occurred."),
    ("ERRPYO002", 403, "SENDER_EMAIL_UNCONFIRMED", "Authorization error occurred."),
    ("ERRPYO003", 403, "AUTHORIZATION_ERROR", "Authorization error occurred."),
    ("ERRPYO005", 422, "INSUFFICIENT_FUNDS", "Sender does not have sufficient funds."),
    ("ERRPYO006", 500, "INTERNAL_ERROR", "An internal service error has occurred."),
    ("ERRPYO010", 400, "VALIDATION_ERROR", "Invalid request - see details."),
    ("ERRPYO011", 403, "REQUIRED_SCOPE_MISSING", "The access token lacks a required scope."),
    ("ERRPYO012", 403, "SENDER_LOCKED", "The sender's account is locked."),
    ("ERRPYO014", 400, "USER_BUSINESS_ERROR", "User business error."),
    ("ERRPYO035", 429, "RATE_LIMIT_VALIDATION", "Too many failed attempts."),
    ("ERRPYO036", 504, "REQUEST_TIMEOUT_EXCEEDED", "The request took too long."),
    ("ERRPYO037", 400, "SYNC_MODE_NOT_APPLICABLE", "The synchronous mode is gone."),
    ("ERRPYO038", 400, "NON_HOLDING_CURRENCY", "The sender does not hold this currency."),
    ("ERRPYO039", 500, "PREVIOUS_REQUEST_IN_PROGRESS", "A previous request is in progress."),
];

impl Refusal {
    pub(in crate::sandbox) fn new(
        status: StatusCode,
        name: &'static str,
        message: &'static str,
    ) -> Self {
        Self { status, name, message, details: Vec::new(), retry_after: None }
    }

    /// The error that a test value asks for.
    pub(super) fn simulated(note: &str) -> Option<Self> {
        let (_, status, name, message) = SIMULATED.iter().find(|(value, ..)| *value == note)?;
        let status = StatusCode::from_u16(*status).expect("the table holds HTTP statuses");
        Some(Self::new(status, name, message))
    }

    /// A request that breaks the rules, each detail one broken rule.
    pub(super) fn invalid(details: Vec<Value>) -> Self {
        let message = "Invalid request - see details.";
        Self { details, ..Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message) }
    }

    /// The sender's batch id was used before, by the batch at `href`.
    pub(super) fn duplicate(href: &str) -> Self {
        let detail = json!({
            "field": "SENDER_BATCH_ID",
            "location": "body",
            "issue": "Batch with given sender_batch_id already exists",
            "link": [{"href": href, "rel": "self"}],
        });
        let name = "USER_BUSINESS_ERROR";
        Self {
            details: vec![detail],
            ..Self::new(StatusCode::BAD_REQUEST, name, "User business error.")
        }
    }

    pub(super) fn unauthenticated() -> Self {
        let message = "Authentication failed due to missing authorization header, or invalid \
                       authentication credentials.";
        Self::new(StatusCode::UNAUTHORIZED, "AUTHENTICATION_FAILURE", message)
    }

    pub(super) fn unknown_id() -> Self {
        let message = "Requested resource ID was not found.";
        Self::new(StatusCode::NOT_FOUND, "INVALID_RESOURCE_ID", message)
    }

    pub(super) fn wrong_media_type() -> Self {
        let message = "The server does not support the request payload's media type.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    pub(super) fn malformed() -> Self {
        let message = "The request JSON is not well formed.";
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST_JSON", message)
    }

    pub(super) fn cannot_cancel() -> Self {
        let message = "You can only cancel items that are in UNCLAIMED state.";
        Self::new(StatusCode::BAD_REQUEST, "ITEM_INCORRECT_STATUS", message)
    }

    pub(super) fn batch_not_finished() -> Self {
        let message = "The batch of this item is not finished yet.";
        Self::new(StatusCode::BAD_REQUEST, "ITEM_INCORRECT_STATUS", message)
    }

    pub(super) fn insufficient_funds() -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let message = "Sender does not have sufficient funds. Please add funds and retry.";
        Self::new(status, "INSUFFICIENT_FUNDS", message)
    }

    pub(in crate::sandbox) fn internal_error() -> Self {
        let message = "An internal service error has occurred.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    }

    pub(in crate::sandbox) fn throttle() -> Self {
        let message = "Too many requests. Blocked due to rate limiting.";
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMIT_REACHED", message);
        Self { retry_after: Some(1), ..refusal }
    }
}

/// What could not be written to the journal did not happen.
impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self::internal_error()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({
            "name": self.name,
            "message": self.message,
            "debug_id": "sandbox",
            "information_link": INFORMATION,
            "details": self.details,
            "links": [],
        });
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
