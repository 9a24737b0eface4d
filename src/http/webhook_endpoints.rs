//! Where an org wants to be told what happens.

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
use crate::domain::{EndpointId, Wants};
use crate::notify::{By, EndpointChange, NewEndpoint, NotifyError, Revealed};
use crate::store::EndpointRow;

/// Where an org is told what happens.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookEndpoint {
    endpoint_id: String,
    url: String,
    description: String,
    /// Kinds of events: `payout.completed`, all of a family (`payout.*`), or all (`*`).
    events: Vec<String>,
    enabled: bool,
    /// Why it is told nothing, where it is not enabled.
    disabled_because: Option<String>,
    /// Until when the secret before the current one signs too.
    old_secret_until: Option<DateTime<Utc>>,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// An endpoint with the secret that it was given just now: it is not shown again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookEndpointWithSecret {
    #[serde(flatten)]
    endpoint: WebhookEndpoint,
    /// What deliveries are signed with (Standard Webhooks, `whsec_…`).
    secret: String,
}

/// An endpoint to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct WebhookEndpointBody {
    /// An https address of the public Internet, or `mailto:` and a mailbox.
    #[schema(format = "uri", max_length = 2000)]
    url: String,
    #[serde(default)]
    #[schema(max_length = 200)]
    description: String,
    /// Kinds of events: `payout.completed`, all of a family (`payout.*`), or all (`*`). All, if
    /// it is left out.
    #[schema(min_items = 1)]
    events: Option<Vec<String>>,
}

/// What is to be different about an endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct WebhookEndpointChanges {
    #[schema(format = "uri", max_length = 2000)]
    url: Option<String>,
    #[schema(max_length = 200)]
    description: Option<String>,
    #[schema(min_items = 1)]
    events: Option<Vec<String>>,
    /// What happens while it is not enabled is kept, and can be replayed.
    enabled: Option<bool>,
}

impl From<EndpointRow> for WebhookEndpoint {
    fn from(row: EndpointRow) -> Self {
        Self {
            endpoint_id: row.endpoint_id.to_string(),
            url: row.url,
            description: row.description,
            events: row.wants.into(),
            enabled: row.enabled,
            disabled_because: row.disabled_because,
            old_secret_until: row.old_secret_until,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<Revealed> for WebhookEndpointWithSecret {
    fn from(revealed: Revealed) -> Self {
        let secret = revealed.secret.reveal();
        Self { endpoint: revealed.endpoint.into(), secret }
    }
}

impl Who {
    /// The caller, for what is written down about webhooks.
    pub(super) fn by(&self) -> By {
        By { actor: self.caller.actor(), request_id: Some(self.request_id.clone()) }
    }
}

impl From<NotifyError> for Problem {
    fn from(cause: NotifyError) -> Self {
        use NotifyError as E;
        let (code, words) = (cause.code(), cause.to_string());
        match cause {
            E::Store(error) => Self::from(error),
            E::NoEndpoint { .. } | E::NoEvent { .. } => Self::not_found(code, words),
            E::TooManyEndpoints { .. } | E::AddressTaken { .. } => Self::conflict(code, words),
            E::Address(_) | E::BadDescription { .. } | E::BackwardTime => {
                Self::meaningless(code, words)
            }
            E::Client(_) | E::Smtp(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, words),
        }
    }
}

fn wants(events: Vec<String>) -> Result<Wants, Problem> {
    Wants::try_from(events)
        .map_err(|wrong| Problem::meaningless("unknown_event", wrong.to_string()))
}

/// List webhook endpoints
///
/// Oldest first. Their secrets are not shown.
#[utoipa::path(get, path = "/webhook-endpoints", tag = "webhooks",
    operation_id = "listWebhookEndpoints", params(PageQuery),
    responses((status = 200, body = Page<WebhookEndpoint>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<WebhookEndpoint>>, Problem> {
    let limit = page::limit(query.limit)?;
    let after = page::key(query.cursor.as_deref())?;
    // There are few: their number is bounded.
    let mut rows = desk.notifier.endpoints(who.org()).await?;
    rows.retain(|row| row.endpoint_id.as_str() > after.as_str());
    Ok(Json(Page::of(rows, limit, |row| row.endpoint_id.to_string(), WebhookEndpoint::from)))
}

/// Add a webhook endpoint
///
/// The answer shows its secret, once. An address that an endpoint has already is refused, so
/// repeating it adds no second one; `rotate` gives that one a new secret.
#[utoipa::path(post, path = "/webhook-endpoints", tag = "webhooks",
    operation_id = "addWebhookEndpoint", request_body = WebhookEndpointBody,
    responses((status = 201, body = WebhookEndpointWithSecret),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn add(
    State(desk): State<Desk>,
    who: Who,
    Body(brought): Body<WebhookEndpointBody>,
) -> Result<(StatusCode, Json<WebhookEndpointWithSecret>), Problem> {
    let wants = brought.events.map_or(Ok(Wants::all()), wants)?;
    let new = NewEndpoint { url: brought.url, description: brought.description, wants };
    let revealed = desk.notifier.add(&who.by(), who.org(), &new).await?;
    Ok((StatusCode::CREATED, Json(revealed.into())))
}

/// Show a webhook endpoint
#[utoipa::path(get, path = "/webhook-endpoints/{endpointId}", tag = "webhooks",
    operation_id = "showWebhookEndpoint", params(("endpointId" = String, Path)),
    responses((status = 200, body = WebhookEndpoint),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(endpoint): Ids<EndpointId>,
) -> Result<Json<WebhookEndpoint>, Problem> {
    Ok(Json(desk.notifier.endpoint(who.org(), &endpoint).await?.into()))
}

/// Change a webhook endpoint
///
/// What is left out stays.
#[utoipa::path(patch, path = "/webhook-endpoints/{endpointId}", tag = "webhooks",
    operation_id = "changeWebhookEndpoint", params(("endpointId" = String, Path)),
    request_body = WebhookEndpointChanges,
    responses((status = 200, body = WebhookEndpoint),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(desk): State<Desk>,
    who: Who,
    Ids(endpoint): Ids<EndpointId>,
    Body(brought): Body<WebhookEndpointChanges>,
) -> Result<Json<WebhookEndpoint>, Problem> {
    let change = EndpointChange {
        url: brought.url,
        description: brought.description,
        wants: brought.events.map(wants).transpose()?,
        enabled: brought.enabled,
    };
    Ok(Json(desk.notifier.change(&who.by(), who.org(), &endpoint, &change).await?.into()))
}

/// Delete a webhook endpoint
///
/// What had not reached it is dropped.
#[utoipa::path(delete, path = "/webhook-endpoints/{endpointId}", tag = "webhooks",
    operation_id = "deleteWebhookEndpoint", params(("endpointId" = String, Path)),
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn delete(
    State(desk): State<Desk>,
    who: Who,
    Ids(endpoint): Ids<EndpointId>,
) -> Result<StatusCode, Problem> {
    desk.notifier.delete(&who.by(), who.org(), &endpoint).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a webhook endpoint a new secret
///
/// The answer shows it, once. The old one signs beside it until `oldSecretUntil`; repeated before
/// that, the old one stays and the one in between ends at once.
#[utoipa::path(post, path = "/webhook-endpoints/{endpointId}/rotate", tag = "webhooks",
    operation_id = "rotateWebhookSecret", params(("endpointId" = String, Path)),
    responses((status = 200, body = WebhookEndpointWithSecret),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn rotate(
    State(desk): State<Desk>,
    who: Who,
    Ids(endpoint): Ids<EndpointId>,
) -> Result<Json<WebhookEndpointWithSecret>, Problem> {
    Ok(Json(desk.notifier.rotate(&who.by(), who.org(), &endpoint).await?.into()))
}
