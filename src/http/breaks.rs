//! What a provider's statement and our books disagree about.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::amount::Amount;
use super::brought::{Asked, Body, Ids, checked_text};
use super::door::Who;
use super::page::{self, Page};
use super::problem::{Problem, ProblemBody};
use crate::domain::{BreakId, Currency, MethodKind};
use crate::store::BreakRow;

/// Which breaks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct BreaksQuery {
    /// Closed ones too.
    all: Option<bool>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// What a statement and our books disagree about.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Break {
    break_id: String,
    kind: String,
    method: MethodKind,
    /// Our reference; where we have none, the name that the statement has.
    subject: String,
    transfer_id: Option<String>,
    payout_id: Option<String>,
    currency: Currency,
    ours: Option<Amount>,
    theirs: Option<Amount>,
    /// The statement.
    source: String,
    reason: String,
    found_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
    closed_by: Option<String>,
    note: Option<String>,
}

impl From<BreakRow> for Break {
    fn from(row: BreakRow) -> Self {
        let amount = |minor: Option<i64>| minor.map(|minor| Amount::new(minor, row.currency));
        Self {
            ours: amount(row.ours_minor),
            theirs: amount(row.theirs_minor),
            break_id: row.break_id.to_string(),
            kind: row.kind.to_string(),
            method: row.method_kind,
            subject: row.subject,
            transfer_id: row.transfer_id,
            payout_id: row.payout_id,
            currency: row.currency,
            source: row.source,
            reason: row.reason,
            found_at: row.found_at,
            closed_at: row.closed_at,
            closed_by: row.closed_by,
            note: row.note,
        }
    }
}

/// Why it may be closed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BreakClosing {
    /// What was found, and what was done about it.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    note: String,
}

/// List breaks
///
/// Oldest first; the open ones, or all.
#[utoipa::path(get, path = "/reconcile/breaks", tag = "reconcile", operation_id = "listBreaks",
    params(BreaksQuery), responses((status = 200, body = Page<Break>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<BreaksQuery>,
) -> Result<Json<Page<Break>>, Problem> {
    let limit = page::limit(query.limit)?;
    let after = page::key(query.cursor.as_deref())?;
    let all = query.all.unwrap_or(false);
    let rows = desk.engine.store.breaks(who.org(), all, &after, limit + 1).await?;
    Ok(Json(Page::of(rows, limit, |row| row.break_id.to_string(), Break::from)))
}

/// Close a break
#[utoipa::path(post, path = "/reconcile/breaks/{breakId}/close", tag = "reconcile",
    operation_id = "closeBreak", params(("breakId" = String, Path)), request_body = BreakClosing,
    responses((status = 204),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn close(
    State(desk): State<Desk>,
    who: Who,
    Ids(id): Ids<BreakId>,
    Body(closing): Body<BreakClosing>,
) -> Result<StatusCode, Problem> {
    let note = checked_text("note", closing.note)?;
    desk.engine.close_break(&who.work(), who.org(), &id, &note).await?;
    Ok(StatusCode::NO_CONTENT)
}
