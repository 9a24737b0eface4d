//! Control calls of the webhooks, and the certificates that PayPal's are checked with.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Mode, WebhookEndpoint};
use crate::sandbox::Sandbox;
use crate::sandbox::control::{Sorry, read};
use crate::sandbox::host::Host;

/// The routes.
pub(in crate::sandbox) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/_sandbox/webhooks", get(list).post(register).delete(clear))
        .route("/_sandbox/webhooks/mode", post(set_mode))
        .route("/_sandbox/webhooks/release", post(release))
        .route("/_sandbox/webhooks/resend", post(resend))
        .route("/_sandbox/paypal-cert.pem", get(chain))
        .route("/_sandbox/paypal-ca.pem", get(root))
}

/// Endpoints, the mode, what is held, and every try to deliver.
async fn list(State(sandbox): State<Sandbox>) -> Json<Value> {
    let desk = sandbox.desk();
    let webhooks = &desk.webhooks;
    let held: Vec<_> = webhooks.held.iter().map(|parcel| &parcel.told.id).collect();
    Json(json!({
        "endpoints": webhooks.endpoints,
        "mode": webhooks.mode,
        "held": held,
        "deliveries": webhooks.receipts,
    }))
}

async fn register(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let endpoint: WebhookEndpoint = read("webhook", &body)?;
    sandbox.register(endpoint).map_err(|error| Sorry::bad(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets every endpoint, and what is held for them.
async fn clear(State(sandbox): State<Sandbox>) -> StatusCode {
    let mut desk = sandbox.desk();
    desk.webhooks.endpoints.clear();
    desk.webhooks.held.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetMode {
    mode: Mode,
}

async fn set_mode(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let asked: SetMode = read("mode", &body)?;
    sandbox.desk().webhooks.mode = asked.mode;
    Ok(StatusCode::NO_CONTENT)
}

async fn release(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.desk().webhooks.release();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resend {
    /// The event's id.
    event: String,
}

/// Delivers an event once more.
async fn resend(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let asked: Resend = read("event", &body)?;
    let mut desk = sandbox.desk();
    let life = desk.life();
    let stripes = life.stripe.told().iter().map(|told| (Host::Stripe, told));
    let paypals = life.paypal.told().iter().map(|told| (Host::Paypal, told));
    let found = stripes.chain(paypals).find(|(_, told)| told.id == asked.event);
    let Some((host, told)) = found.map(|(host, told)| (host, told.clone())) else {
        return Err(Sorry::not_found(format!("no event is called \"{}\"", asked.event)));
    };
    desk.webhooks.hear(host, &told);
    Ok(StatusCode::NO_CONTENT)
}

async fn chain(State(sandbox): State<Sandbox>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/x-pem-file")], sandbox.authority().chain())
}

async fn root(State(sandbox): State<Sandbox>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/x-pem-file")], sandbox.authority().root())
}
