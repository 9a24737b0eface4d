//! The sandbox's own calls, below `/_sandbox`: its books, faults, and turns of fate.

use std::io;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::host::Host;
use super::{Books, Fault, Sandbox, bank, paypal, stripe, webhooks};
use crate::domain::{Currency, Money};

/// The routes.
pub(super) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/_sandbox/books", get(books))
        .route("/_sandbox/faults", get(list_faults).post(arm_fault).delete(clear_faults))
        .route("/_sandbox/funds", post(set_funds))
        .merge(paypal::control_routes())
        .merge(stripe::control_routes())
        .merge(webhooks::control_routes())
        .merge(bank::control_routes())
}

/// A refusal of a control call: a status and a sentence.
pub(super) struct Sorry(StatusCode, String);

impl Sorry {
    pub(super) fn bad(sentence: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, sentence.into())
    }

    pub(super) fn not_found(sentence: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, sentence.into())
    }
}

impl From<io::Error> for Sorry {
    fn from(error: io::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Sorry {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

/// Reads the body of a control call, whatever its content type: it is typed by hand.
pub(super) fn read<T: DeserializeOwned>(what: &str, body: &str) -> Result<T, Sorry> {
    serde_json::from_str(body).map_err(|error| Sorry::bad(format!("this is no {what}: {error}")))
}

async fn books(State(sandbox): State<Sandbox>) -> Json<Books> {
    Json(sandbox.books())
}

async fn list_faults(State(sandbox): State<Sandbox>) -> Json<Vec<Fault>> {
    Json(sandbox.faults().armed().to_vec())
}

async fn arm_fault(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let fault = read("fault", &body)?;
    sandbox.arm(fault).map_err(|error| Sorry::bad(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_faults(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.faults().clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFunds {
    provider: Host,
    currency: Currency,
    /// Major units; none is without end.
    amount: Option<String>,
}

/// Sets what we can spend of a currency at a provider.
async fn set_funds(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let asked: SetFunds = read("balance", &body)?;
    let amount = asked.amount.map(|text| Money::parse(&text, asked.currency)).transpose();
    let minor = amount.map_err(|error| Sorry::bad(error.to_string()))?.map(|money| money.minor);
    let mut desk = sandbox.desk();
    match asked.provider {
        Host::Paypal => desk.paypal_funds.set(asked.currency, minor),
        Host::Stripe => desk.stripe_funds.set(asked.currency, minor),
    }
    Ok(StatusCode::NO_CONTENT)
}
