//! Turns of fate at PayPal.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, post};
use serde::Deserialize;

use super::ledger::ItemStatus;
use crate::sandbox::Sandbox;
use crate::sandbox::control::{Sorry, read};

/// The routes.
pub(in crate::sandbox) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/_sandbox/tokens", delete(revoke_tokens))
        .route("/_sandbox/paypal/work", post(set_work))
        .route("/_sandbox/items/{reference}", post(change_item))
}

async fn revoke_tokens(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.desk().revoke_tokens();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Work {
    working: bool,
}

/// Whether batches are worked off; while they are not, they stay pending.
async fn set_work(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let asked: Work = read("answer to whether it works", &body)?;
    sandbox.desk().paypal_rests = !asked.working;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    status: ItemStatus,
}

/// Sets the status of every item that its sender calls `reference`, whatever it was.
async fn change_item(
    State(sandbox): State<Sandbox>,
    Path(reference): Path<String>,
    body: String,
) -> Result<StatusCode, Sorry> {
    let change: Change = read("status", &body)?;
    let mut desk = sandbox.desk();
    desk.recall(|life| !life.paypal.items_called(&reference).is_empty())?;
    let items = desk.life().paypal.items_called(&reference);
    if items.is_empty() {
        return Err(Sorry::not_found(format!("no item is called \"{reference}\"")));
    }
    for item_id in items {
        super::change(&mut desk, &item_id, change.status, None, &sandbox.clock)?;
    }
    Ok(StatusCode::NO_CONTENT)
}
