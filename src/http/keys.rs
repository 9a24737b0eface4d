//! API keys of services.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::brought::{Asked, Body, Ids};
use super::door::Who;
use super::page::{self, Page, PageQuery};
use super::problem::{Problem, ProblemBody};
use crate::access::{Asker, KeyError, KeyRequest};
use crate::domain::{ApiKeyId, Permission};
use crate::store::ApiKeyRow;

/// What a key is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct NewKey {
    /// Which program has it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it may do. A service hands on only what it has itself.
    #[schema(min_items = 1, example = json!(["commissions:write"]))]
    permissions: Vec<Permission>,
    /// Until when it is good; for ever without.
    expires_at: Option<DateTime<Utc>>,
}

/// A key, without what proves it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Key {
    key_id: String,
    name: String,
    permissions: Vec<&'static str>,
    expires_at: Option<DateTime<Utc>>,
    created_by: String,
    created_at: DateTime<Utc>,
    /// To the hour.
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeKey {
    /// What goes into `x-api-key`. It is shown this once, and kept by nobody here.
    #[schema(example = "ak_live_01HF7YAT00000000000000000K_0f3c…")]
    key: String,
    #[serde(flatten)]
    made: Key,
}

impl From<ApiKeyRow> for Key {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            key_id: row.key_id.to_string(),
            name: row.name,
            permissions: row.permissions.iter().map(|permission| permission.as_str()).collect(),
            expires_at: row.expires_at,
            created_by: row.created_by,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            revoked_by: row.revoked_by,
        }
    }
}

impl From<KeyError> for Problem {
    fn from(cause: KeyError) -> Self {
        let (code, words) = (cause.code(), cause.to_string());
        match cause {
            KeyError::Store(error) => error.into(),
            KeyError::Unusable(_) => Self::meaningless(code, words),
            KeyError::NoKey { .. } => Self::not_found(code, words),
        }
    }
}

/// Make an API key
///
/// The answer is the only copy of the key. Repeated, it makes another one: revoke what nobody uses.
#[utoipa::path(post, path = "/keys", tag = "keys", operation_id = "createKey",
    request_body = NewKey, responses((status = 201, body = MadeKey)))]
pub(super) async fn create(
    State(desk): State<Desk>,
    who: Who,
    Body(wanted): Body<NewKey>,
) -> Result<(StatusCode, Json<MadeKey>), Problem> {
    let NewKey { name, permissions, expires_at } = wanted;
    let request = KeyRequest { name, permissions, expires_at };
    let keys = desk.gatekeeper.keys();
    let (key, row) = keys.create(who.org(), &asker(&who), request).await?;
    Ok((StatusCode::CREATED, Json(MadeKey { key: key.reveal(), made: row.into() })))
}

/// List API keys
///
/// Oldest first, with those that were revoked or have expired.
#[utoipa::path(get, path = "/keys", tag = "keys", operation_id = "listKeys",
    params(PageQuery), responses((status = 200, body = Page<Key>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<Key>>, Problem> {
    let limit = page::limit(query.limit)?;
    let after = page::key(query.cursor.as_deref())?;
    let rows = desk.engine.store.api_keys(who.org(), &after, limit + 1).await?;
    Ok(Json(Page::of(rows, limit, |row| row.key_id.to_string(), Key::from)))
}

/// Revoke an API key
///
/// For ever, and at once. One that was revoked before stays so.
#[utoipa::path(delete, path = "/keys/{keyId}", tag = "keys", operation_id = "revokeKey",
    params(("keyId" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn revoke(
    State(desk): State<Desk>,
    who: Who,
    Ids(key): Ids<ApiKeyId>,
) -> Result<StatusCode, Problem> {
    desk.gatekeeper.keys().revoke(who.org(), &asker(&who), &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn asker(who: &Who) -> Asker {
    Asker { actor: who.caller.actor(), request_id: Some(who.request_id.clone()) }
}
