//! What a person has to look at.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::brought::{Asked, Body, Ids};
use super::door::Who;
use super::page::{self, Page};
use super::problem::{Problem, ProblemBody};
use crate::domain::AlertId;
use crate::store::AlertRow;

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct AlertsQuery {
    /// Closed ones too.
    all: Option<bool>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// What a person has to look at: one for each cause, however often it is met.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    alert_id: String,
    /// What it is about: `awaiting_funds`, `review`, `break`, …
    kind: String,
    /// Which one: a rail, a submission, a statement.
    subject: String,
    message: String,
    /// How often its cause was met.
    times: i64,
    opened_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
    closed_by: Option<String>,
    note: Option<String>,
}

impl From<AlertRow> for Alert {
    fn from(row: AlertRow) -> Self {
        Self {
            alert_id: row.alert_id.to_string(),
            kind: row.kind,
            subject: row.subject,
            message: row.message,
            times: row.times,
            opened_at: row.opened_at,
            last_at: row.last_at,
            closed_at: row.closed_at,
            closed_by: row.closed_by,
            note: row.note,
        }
    }
}

/// Why it may be closed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Closing {
    /// What was found, and what was done about it.
    #[schema(min_length = 1, max_length = 1000)]
    note: String,
}

/// List alerts
///
/// Oldest first; the open ones, or all.
#[utoipa::path(get, path = "/alerts", tag = "alerts", operation_id = "listAlerts",
    params(AlertsQuery), responses((status = 200, body = Page<Alert>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<AlertsQuery>,
) -> Result<Json<Page<Alert>>, Problem> {
    let limit = page::limit(query.limit)?;
    let after = page::key(query.cursor.as_deref())?;
    let all = query.all.unwrap_or(false);
    let rows = desk.engine.store.alerts(who.org(), all, &after, limit + 1).await?;
    Ok(Json(Page::of(rows, limit, |row| row.alert_id.to_string(), Alert::from)))
}

/// Close an alert
#[utoipa::path(post, path = "/alerts/{alertId}/close", tag = "alerts", operation_id = "closeAlert",
    params(("alertId" = String, Path)), request_body = Closing,
    responses((status = 204), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn close(
    State(desk): State<Desk>,
    who: Who,
    Ids(alert): Ids<AlertId>,
    Body(closing): Body<Closing>,
) -> Result<StatusCode, Problem> {
    desk.engine.close_alert(&who.work(), who.org(), &alert, &closing.note).await?;
    Ok(StatusCode::NO_CONTENT)
}
