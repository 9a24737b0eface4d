//! Reversals: what refunds take back.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::amount::{Amount, BroughtAmount};
use super::brought::{Body, Ids};
use super::door::Who;
use super::problem::{Problem, ProblemBody};
use super::wallets::{self, Wallet};
use super::words;
use crate::domain::{Bucket, CommissionId, CommissionStatus, RefundId};
use crate::engine::{EngineError, Reversal};

/// A refund, and what it takes back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ReversalBody {
    /// The refund as the shop names it: told again, it changes nothing.
    #[schema(value_type = String, min_length = 1, max_length = 128,
             pattern = r"^[^\s\x00-\x1f\x7f-\x9f]+$")]
    refund_id: RefundId,
    /// How much of the commission, in its currency; all that is left of it, if there is none.
    amount: Option<BroughtAmount>,
    #[serde(default = "refunded")]
    #[schema(min_length = 1, max_length = 1000, default = "refunded")]
    reason: String,
}

fn refunded() -> String {
    "refunded".to_owned()
}

/// What was taken back, with the wallet as it is now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReversalDone {
    #[schema(value_type = String)]
    commission_id: CommissionId,
    #[schema(value_type = String)]
    refund_id: RefundId,
    amount: Amount,
    /// `held`: it never becomes available; `available`: it is taken from what is, or is owed.
    #[schema(value_type = String)]
    from: Bucket,
    /// Where the commission stands now.
    #[schema(value_type = String)]
    status: CommissionStatus,
    /// It was told before, and changed nothing now.
    repeated: bool,
    wallet: Wallet,
}

/// Reverse a commission
///
/// An order was refunded, in whole or in part. What is held never becomes available; what was
/// credited is taken from what is available, which may fall below 0, and the next payout nets it.
/// Nothing is taken back outside, and payouts that are under way go on.
#[utoipa::path(post, path = "/affiliate/commissions/{commissionId}/reverse", tag = "commissions",
    operation_id = "reverseCommission", params(("commissionId" = String, Path)),
    request_body = ReversalBody,
    responses((status = 200, body = ReversalDone),
              (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn reverse(
    State(desk): State<Desk>,
    who: Who,
    Ids(commission_id): Ids<CommissionId>,
    Body(body): Body<ReversalBody>,
) -> Result<Json<ReversalDone>, Problem> {
    let reason = words::reason(&body.reason)?.to_owned();
    let wallet = desk.engine.store.commission_wallet(who.org(), &commission_id).await?;
    let no_commission = || EngineError::NoCommission { commission_id: commission_id.clone() };
    let currency = wallet.ok_or_else(no_commission)?.currency;
    let amount = body.amount.map(|amount| amount.in_currency(currency)).transpose()?;
    let reversal = Reversal { commission_id, refund_id: body.refund_id, amount, reason };
    let done = desk.engine.reverse(&who.work(), who.org(), &reversal).await?;
    Ok(Json(ReversalDone {
        commission_id: reversal.commission_id,
        refund_id: reversal.refund_id,
        amount: Amount(done.amount),
        from: done.from,
        status: done.status,
        repeated: done.repeated,
        wallet: wallets::wallet(&desk, &who, &done.wallet).await?,
    }))
}
