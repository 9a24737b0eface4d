//! `POST /webhooks/{provider}/{org}`: a provider says that something changed.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use tracing::error;

use super::problem::{Chain, Problem};
use super::{Desk, body};
use crate::domain::{MethodKind, OrgId};
use crate::engine::{EngineError, Received, WebhookDoor};

/// Takes one delivery. 200 means that it is kept; a provider delivers again after anything else.
pub(super) async fn receive(
    State(desk): State<Desk>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let Ok(Path((provider, org))) = path else {
        return Err(not_found("no_such_path", "the path is not readable"));
    };
    let kind = rail_named(&provider).ok_or_else(|| {
        let detail = "webhooks are taken for paypal and stripe";
        not_found("unknown_provider", detail)
    })?;
    let org = org.parse().map_err(|_| no_such_org())?;
    knock(&desk, kind, &org).await?;
    let (head, body) = request.into_parts();
    let body = body::read(&head.headers, body, desk.limits).await?;
    let headers = texts(&head.headers);
    match desk.engine.receive_webhook(&org, kind, &headers, &body).await.map_err(failed)? {
        Received::Kept { .. } => Ok(StatusCode::OK),
        Received::Refused(_) => {
            let detail = format!("this is not proven to be from {kind} and for this org");
            Err(Problem::new(StatusCode::UNAUTHORIZED, "webhook_refused", detail))
        }
        Received::Unusable(_) => {
            let detail = "it is genuine, and cannot be kept as it is";
            Err(Problem::new(StatusCode::BAD_REQUEST, "webhook_unusable", detail))
        }
        Received::Unclear(_) => {
            let detail = "whether it is genuine cannot be told now: deliver it again";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "webhook_unclear", detail))
        }
    }
}

/// Nobody's body is read before it is known whom it is for.
async fn knock(desk: &Desk, kind: MethodKind, org: &OrgId) -> Result<(), Problem> {
    match desk.engine.webhook_door(org, kind).await.map_err(failed)? {
        WebhookDoor::Open => Ok(()),
        WebhookDoor::NoOrg => Err(no_such_org()),
        WebhookDoor::NoRail => {
            let detail = format!("{kind} is not configured here");
            Err(not_found("rail_not_configured", &detail))
        }
    }
}

/// The rail of a path's provider: its own word, or the provider's short name.
fn rail_named(provider: &str) -> Option<MethodKind> {
    match provider {
        "stripe" => Some(MethodKind::StripeConnect),
        word => {
            let kind = word.parse().ok()?;
            matches!(kind, MethodKind::Paypal | MethodKind::StripeConnect).then_some(kind)
        }
    }
}

/// The headers that are text; a signature always is.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}

fn not_found(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, code, detail)
}

fn no_such_org() -> Problem {
    not_found("unknown_org", "there is no such org")
}

fn failed(cause: EngineError) -> Problem {
    error!(event = "webhook.failed", code = cause.code(), cause = %Chain(&cause));
    Problem::from(cause)
}
