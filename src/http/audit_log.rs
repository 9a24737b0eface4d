//! Who did what.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::brought::Asked;
use super::door::Who;
use super::page::{self, Page};
use super::problem::Problem;
use crate::store::{AuditFilter, AuditRow};

/// Which acts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ActsQuery {
    /// Only what was done to this id.
    subject: Option<String>,
    /// Only what this one did: `staff:ann`, `partner:alex`, `service:key_…`, `cli:ops`.
    actor: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Something that somebody did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Act {
    audit_id: String,
    actor: String,
    /// What was done: `wallet.frozen`, `commission.reversed`, …
    action: String,
    /// The id of what it was done to.
    subject: String,
    /// What a reader needs beside that; it depends on the action.
    #[schema(value_type = Object)]
    detail: Value,
    /// The request that it came by.
    request_id: Option<String>,
    occurred_at: DateTime<Utc>,
}

impl From<AuditRow> for Act {
    fn from(row: AuditRow) -> Self {
        Self {
            audit_id: row.audit_id.to_string(),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            // It was written as JSON; what no longer is one is still shown.
            detail: serde_json::from_str(&row.detail).unwrap_or(Value::String(row.detail)),
            request_id: row.request_id,
            occurred_at: row.occurred_at,
        }
    }
}

/// List the audit log
///
/// Newest first. Nothing in it is ever changed or deleted.
#[utoipa::path(get, path = "/audit", tag = "audit", operation_id = "listAudit",
    params(ActsQuery), responses((status = 200, body = Page<Act>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<ActsQuery>,
) -> Result<Json<Page<Act>>, Problem> {
    let limit = page::limit(query.limit)?;
    let before = page::key(query.cursor.as_deref())?;
    let filter = AuditFilter {
        subject: query.subject.unwrap_or_default(),
        actor: query.actor.unwrap_or_default(),
        before,
        limit: limit + 1,
    };
    let rows = desk.engine.store.audit_page(who.org(), &filter).await?;
    Ok(Json(Page::of(rows, limit, |row| row.audit_id.to_string(), Act::from)))
}
