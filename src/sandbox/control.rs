//! The sandbox's own calls, below `/_sandbox`: its books, faults, and turns of fate.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::desk::Desk;
use super::life::{Event, ItemStatus};
use super::{Books, Fault, Sandbox};

/// The routes.
pub(super) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/_sandbox/books", get(books))
        .route("/_sandbox/faults", get(list_faults).post(arm_fault).delete(clear_faults))
        .route("/_sandbox/tokens", delete(revoke_tokens))
        .route("/_sandbox/items/{reference}", post(change_item))
}

/// A refusal: a status and a sentence.
struct Sorry(StatusCode, String);

impl IntoResponse for Sorry {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

async fn books(State(sandbox): State<Sandbox>) -> Json<Books> {
    Json(sandbox.books())
}

async fn list_faults(State(sandbox): State<Sandbox>) -> Json<Vec<Fault>> {
    Json(sandbox.faults().armed().to_vec())
}

/// The body is read whatever its content type: it is typed by hand.
async fn arm_fault(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let sorry = |sentence| Sorry(StatusCode::BAD_REQUEST, sentence);
    let fault = serde_json::from_str(&body);
    let fault = fault.map_err(|error| sorry(format!("this is no fault: {error}")))?;
    sandbox.arm(fault).map_err(|error| sorry(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_faults(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.faults().clear();
    StatusCode::NO_CONTENT
}

async fn revoke_tokens(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.desk().revoke_tokens();
    StatusCode::NO_CONTENT
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
    let change: Change = serde_json::from_str(&body)
        .map_err(|error| Sorry(StatusCode::BAD_REQUEST, format!("this is no status: {error}")))?;
    let changed = change_items(&mut sandbox.desk(), &reference, change.status)
        .map_err(|error| Sorry(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    if changed == 0 {
        let sentence = format!("no item is called \"{reference}\"");
        return Err(Sorry(StatusCode::NOT_FOUND, sentence));
    }
    Ok(StatusCode::NO_CONTENT)
}

fn change_items(desk: &mut Desk, reference: &str, status: ItemStatus) -> std::io::Result<usize> {
    desk.recall(|life| !life.items_called(reference).is_empty())?;
    let items = desk.life().items_called(reference);
    let changed = items.len();
    for item_id in items {
        desk.record(Event::Changed { item_id, status })?;
    }
    Ok(changed)
}
