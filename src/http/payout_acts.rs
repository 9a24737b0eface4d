//! What staff do to one payout: let it go, cancel it, ask it again, and say what they found out.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::brought::{Body, Ids};
use super::door::Who;
use super::problem::{Problem, ProblemBody};
use super::words;
use crate::domain::{PayoutId, PayoutStatus};
use crate::engine::{EngineError, Finding};

/// Why it is let go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Approval {
    /// For its history.
    #[serde(default, alias = "notes")]
    #[schema(max_length = 1000)]
    note: String,
}

/// Why it is cancelled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Cancellation {
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// What was found at the provider.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FindingBody {
    /// The payee has the money, or has not got it and will not.
    finding: Found,
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// Whether a payee has the money.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Found {
    Paid,
    NotPaid,
}

/// That nothing of a submission was paid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Resending {
    /// Has to be true, because sending again what was paid pays twice.
    nothing_was_paid: bool,
    /// What was found at the provider.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// Where a payout stands now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PayoutStanding {
    #[schema(value_type = String)]
    payout_id: PayoutId,
    #[schema(value_type = String, example = "approved")]
    status: PayoutStatus,
    /// It may not be sent before somebody approved it.
    requires_approval: bool,
    approved_by: Option<String>,
    /// The payout whose place it takes.
    #[schema(value_type = Option<String>)]
    retry_of: Option<PayoutId>,
}

/// How many payouts are sent again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resent {
    #[schema(value_type = String)]
    payout_id: PayoutId,
    /// This one, and all that left with it and are still open.
    sent_again: usize,
}

/// Approve a payout
///
/// Only a pending one, and never by whoever requested it, unless the settings allow that.
#[utoipa::path(post, path = "/finance/payouts/{payoutId}/approve", tag = "payouts",
    operation_id = "approvePayout", params(("payoutId" = String, Path)), request_body = Approval,
    responses((status = 200, body = PayoutStanding),
              (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn approve(
    State(desk): State<Desk>,
    who: Who,
    Ids(payout): Ids<PayoutId>,
    Body(body): Body<Approval>,
) -> Result<Json<PayoutStanding>, Problem> {
    let note = words::note(&body.note)?;
    desk.engine.approve(&who.work(), who.org(), &payout, note).await?;
    standing(&desk, &who, payout).await
}

/// Cancel a payout
///
/// Only one that was certainly not sent yet; its money becomes available again.
#[utoipa::path(post, path = "/finance/payouts/{payoutId}/cancel", tag = "payouts",
    operation_id = "cancelPayout", params(("payoutId" = String, Path)),
    request_body = Cancellation,
    responses((status = 200, body = PayoutStanding),
              (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn cancel(
    State(desk): State<Desk>,
    who: Who,
    Ids(payout): Ids<PayoutId>,
    Body(body): Body<Cancellation>,
) -> Result<Json<PayoutStanding>, Problem> {
    let reason = words::reason(&body.reason)?;
    desk.engine.cancel(&who.work(), who.org(), &payout, reason).await?;
    standing(&desk, &who, payout).await
}

/// Request a failed, cancelled or returned payout again
///
/// As a new payout of the same amount, through all the gates; each is retried once.
#[utoipa::path(post, path = "/finance/payouts/{payoutId}/retry", tag = "payouts",
    operation_id = "retryPayout", params(("payoutId" = String, Path)),
    responses((status = 201, description = "The new payout.", body = PayoutStanding),
              (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn retry(
    State(desk): State<Desk>,
    who: Who,
    Ids(payout): Ids<PayoutId>,
) -> Result<(StatusCode, Json<PayoutStanding>), Problem> {
    let retried = desk.engine.retry(&who.work(), who.org(), &payout).await?;
    Ok((StatusCode::CREATED, standing(&desk, &who, retried).await?))
}

/// End a payout in review
///
/// By what was found at its provider, when nobody but a person can say.
#[utoipa::path(post, path = "/finance/payouts/{payoutId}/mark", tag = "payouts",
    operation_id = "markPayout", params(("payoutId" = String, Path)), request_body = FindingBody,
    responses((status = 200, body = PayoutStanding),
              (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn mark(
    State(desk): State<Desk>,
    who: Who,
    Ids(payout): Ids<PayoutId>,
    Body(body): Body<FindingBody>,
) -> Result<Json<PayoutStanding>, Problem> {
    let finding = match body.finding {
        Found::Paid => Finding::Paid,
        Found::NotPaid => Finding::NotPaid,
    };
    let found = (finding, words::reason(&body.reason)?);
    desk.engine.mark(&who.work(), who.org(), &payout, found).await?;
    standing(&desk, &who, payout).await
}

/// Send a payout in review again
///
/// With all that left with it and is still open, under new references: somebody looked at the
/// provider, and nothing of it was paid.
#[utoipa::path(post, path = "/finance/payouts/{payoutId}/resend", tag = "payouts",
    operation_id = "resendPayout", params(("payoutId" = String, Path)), request_body = Resending,
    responses((status = 200, body = Resent),
              (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn resend(
    State(desk): State<Desk>,
    who: Who,
    Ids(payout_id): Ids<PayoutId>,
    Body(body): Body<Resending>,
) -> Result<Json<Resent>, Problem> {
    if !body.nothing_was_paid {
        let detail = "sending again what was paid pays twice: say nothingWasPaid once you know";
        return Err(Problem::meaningless("not_said", detail));
    }
    let found = words::reason(&body.reason)?;
    known(&desk, &who, &payout_id).await?;
    let sent_again = desk.engine.resend(&who.work(), who.org(), &payout_id, found).await?;
    Ok(Json(Resent { payout_id, sent_again }))
}

async fn known(
    desk: &Desk,
    who: &Who,
    payout: &PayoutId,
) -> Result<crate::store::PayoutRow, Problem> {
    let row = desk.engine.store.payout(who.org(), payout).await?;
    row.ok_or_else(|| EngineError::NoPayout { payout_id: payout.clone() }.into())
}

async fn standing(
    desk: &Desk,
    who: &Who,
    payout: PayoutId,
) -> Result<Json<PayoutStanding>, Problem> {
    let row = known(desk, who, &payout).await?;
    Ok(Json(PayoutStanding {
        payout_id: row.payout_id,
        status: row.status,
        requires_approval: row.requires_approval == 1,
        approved_by: row.approved_by,
        retry_of: row.retry_of,
    }))
}
