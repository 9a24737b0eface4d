//! What was told to whom, and telling it again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::brought::{Asked, Body};
use super::door::Who;
use super::page::{self, Page};
use super::problem::{Problem, ProblemBody};
use crate::domain::{DeliveryStatus, EndpointId, EventId};
use crate::notify::{Again, Replay};
use crate::store::{DeliveryFilter, DeliveryRow, Replayed};

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct DeliveriesQuery {
    /// Only to this endpoint.
    #[param(inline, value_type = Option<EndpointId>)]
    endpoint_id: Option<String>,
    /// Only of this event.
    #[param(inline, value_type = Option<EventId>)]
    event_id: Option<String>,
    /// `pending`, `delivered`, `failed` or `dropped`.
    #[param(inline, value_type = Option<DeliveryStatus>)]
    status: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// One event on its way to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookDelivery {
    /// The `webhook-id` of every try.
    event_id: String,
    endpoint_id: String,
    #[serde(rename = "type")]
    kind: String,
    /// The id of what it happened to.
    subject: String,
    /// `pending`, `delivered`, `failed` (every try failed) or `dropped` (the endpoint was deleted).
    status: String,
    attempts: i64,
    next_attempt_at: Option<DateTime<Utc>>,
    last_attempt_at: Option<DateTime<Utc>>,
    /// The HTTP status that the last try was answered with.
    last_status: Option<i64>,
    /// Why the last try failed.
    last_problem: Option<String>,
    delivered_at: Option<DateTime<Utc>>,
    occurred_at: DateTime<Utc>,
}

/// What to tell again: one event, or a time.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ReplayBody {
    /// This event, whether it arrived or not.
    event_id: Option<String>,
    /// Everything that happened from this instant …
    from: Option<DateTime<Utc>>,
    /// … to before this one.
    to: Option<DateTime<Utc>>,
    /// Of a time: what arrived too. False, if it is left out.
    delivered_too: Option<bool>,
    /// Only to this endpoint; all that want it otherwise.
    endpoint_id: Option<String>,
}

/// How much is told again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queued {
    /// Deliveries that are due now.
    queued: u64,
}

impl From<DeliveryRow> for WebhookDelivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            event_id: row.event_id.to_string(),
            endpoint_id: row.endpoint_id.to_string(),
            kind: row.kind.to_string(),
            subject: row.subject,
            status: row.status.to_string(),
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
            last_attempt_at: row.last_attempt_at,
            last_status: row.last_status,
            last_problem: row.last_problem,
            delivered_at: row.delivered_at,
            occurred_at: row.occurred_at,
        }
    }
}

/// List webhook deliveries
///
/// Newest event first.
#[utoipa::path(get, path = "/webhook-deliveries", tag = "webhooks",
    operation_id = "listWebhookDeliveries", params(DeliveriesQuery),
    responses((status = 200, body = Page<WebhookDelivery>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<DeliveriesQuery>,
) -> Result<Json<Page<WebhookDelivery>>, Problem> {
    let limit = page::limit(query.limit)?;
    let key = page::key(query.cursor.as_deref())?;
    let (event, endpoint) = key.split_once(' ').unwrap_or_default();
    let status = match query.status.as_deref().map(str::parse::<DeliveryStatus>).transpose() {
        Ok(status) => status.map(|status| status.to_string()).unwrap_or_default(),
        Err(wrong) => return Err(Problem::unreadable("query_unreadable", wrong.to_string())),
    };
    let filter = DeliveryFilter {
        endpoint_id: id_of::<EndpointId>(query.endpoint_id)?,
        event_id: id_of::<EventId>(query.event_id)?,
        status,
        before: (event.to_owned(), endpoint.to_owned()),
        limit: limit + 1,
    };
    let rows = desk.engine.store.deliveries(who.org(), &filter).await?;
    let key = |row: &DeliveryRow| format!("{} {}", row.event_id, row.endpoint_id);
    Ok(Json(Page::of(rows, limit, key, WebhookDelivery::from)))
}

/// An id to look for, as text; empty for any.
fn id_of<T: std::str::FromStr<Err = crate::domain::IdError>>(
    asked: Option<String>,
) -> Result<String, Problem> {
    let Some(asked) = asked else { return Ok(String::new()) };
    asked
        .parse::<T>()
        .map_err(|wrong| Problem::unreadable("query_unreadable", wrong.to_string()))?;
    Ok(asked)
}

/// Tell events again
///
/// With the same `webhook-id` and the same bytes. Also what an endpoint missed while it was not
/// enabled. What is being delivered at this moment is left alone.
#[utoipa::path(post, path = "/webhook-deliveries/replay", tag = "webhooks",
    operation_id = "replayWebhooks", request_body = ReplayBody,
    responses((status = 202, body = Queued),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn replay(
    State(desk): State<Desk>,
    who: Who,
    Body(brought): Body<ReplayBody>,
) -> Result<(StatusCode, Json<Queued>), Problem> {
    let replay = understand(brought)?;
    let queued = desk.notifier.replay(&who.by(), who.org(), &replay).await?;
    Ok((StatusCode::ACCEPTED, Json(Queued { queued })))
}

fn understand(brought: ReplayBody) -> Result<Replay, Problem> {
    let bad_id = |wrong: crate::domain::IdError| Problem::meaningless("bad_id", wrong.to_string());
    let endpoint_id = brought.endpoint_id.map(|id| id.parse().map_err(bad_id)).transpose()?;
    let which = match brought.delivered_too {
        Some(true) => Replayed::All,
        Some(false) | None => Replayed::Missed,
    };
    let again = match (brought.event_id, brought.from, brought.to, brought.delivered_too) {
        (Some(event), None, None, None) => Again::Event(event.parse().map_err(bad_id)?),
        (None, Some(from), Some(to), _) => Again::Between { from, to, which },
        _ => {
            let detail = "name either eventId, or from and to";
            return Err(Problem::meaningless("replay_unclear", detail));
        }
    };
    Ok(Replay { again, endpoint_id })
}
