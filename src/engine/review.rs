//! Review: what a person found out about money that no provider will speak of any more.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::outcome::{Stamp, end_transfers};
use super::sorted::is_open;
use super::submission::outgoing;
use super::{Engine, EngineError, Work};
use crate::domain::{OrgId, PayoutId, SubmissionState, TransferState};
use crate::providers::Problem;
use crate::store::{CheckRecord, InReview, Transfer, TransferNews};

/// What a person found at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The payee has the money.
    Paid,
    /// The payee has not got it, and will not: it becomes available again.
    NotPaid,
}

impl Engine {
    /// Ends a payout in review by what a person found at its provider.
    ///
    /// # Errors
    /// [`EngineError::NotInReview`] unless the payout's money may be on its way and nobody but a
    /// person can say; [`EngineError::MayStillLeave`] if it could still leave by itself.
    pub async fn mark(
        &self,
        work: &Work,
        org: &OrgId,
        payout_id: &PayoutId,
        (finding, reason): (Finding, &str),
    ) -> Result<(), EngineError> {
        if self.store.payout(org, payout_id).await?.is_none() {
            return Err(EngineError::NoPayout { payout_id: payout_id.clone() });
        }
        if finding == Finding::NotPaid {
            self.nothing_leaves(work, org, payout_id).await?;
        }
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            let found = tx.transfer_in_review(org, payout_id).await?;
            let not_in_review = || EngineError::NotInReview { payout_id: payout_id.clone() };
            let InReview { transfer_id, submission_id, claimed_until } =
                found.ok_or_else(not_in_review)?;
            nobody_asks(payout_id, claimed_until, now)?;
            let (to, code) = match finding {
                Finding::Paid => (TransferState::Settled, "marked_paid"),
                Finding::NotPaid => (TransferState::Rejected, "marked_not_paid"),
            };
            let news = TransferNews {
                transfer_id,
                provider_id: None,
                provider_status: None,
                code: Some(code.to_owned()),
                message: Some(format!("{}: {reason}", work.actor)),
                note: None,
                of_method: false,
            };
            let stamp = Stamp { org, actor: &work.actor, now };
            end_transfers(&mut tx, stamp, to, &[news]).await?;
            if !tx.transfers_of(org, &submission_id).await?.iter().any(is_open) {
                let about = ("review", submission_id.as_str());
                self.alert_passes(&mut tx, org, about, work).await?;
            }
            let found = if finding == Finding::Paid { "paid" } else { "not_paid" };
            let detail = json!({"found": found, "reason": reason});
            self.keep_act(&mut tx, org, work, ("payout.marked", payout_id.as_str()), detail)
                .await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// Sends the payouts of a submission in review again, under new references, because a person
    /// looked at the provider and found that nothing of it was paid. How many are sent again.
    ///
    /// # Errors
    /// [`EngineError::NotInReview`] unless the payout's money may be on its way and nobody but a
    /// person can say.
    pub async fn resend(
        &self,
        work: &Work,
        org: &OrgId,
        payout_id: &PayoutId,
        found: &str,
    ) -> Result<usize, EngineError> {
        self.nothing_leaves(work, org, payout_id).await?;
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            let row = tx.submission_in_review(org, payout_id).await?;
            let provider = row.as_ref().and_then(|row| self.provider(row.method_kind));
            let (Some(row), Some(provider)) = (&row, provider) else {
                return Err(EngineError::NotInReview { payout_id: payout_id.clone() });
            };
            nobody_asks(payout_id, row.claimed_until, now)?;
            let record = CheckRecord {
                state: SubmissionState::Refused,
                provider_batch_id: None,
                problem: Some(("not_paid".to_owned(), found.to_owned())),
                next_check_at: None,
                claimed_until: None,
                counts: false,
                refused: true,
            };
            tx.submission_checked(org, &row.submission_id, &record, now).await?;
            // What a person has ended before is over.
            let transfers = tx.transfers_of(org, &row.submission_id).await?;
            let transfers: Vec<_> = transfers.iter().filter(|one| is_open(one)).collect();
            let stamp = Stamp { org, actor: &work.actor, now };
            let why = Problem::new("not_paid", format!("{}: {found}", work.actor));
            let group: &[&Transfer] = &transfers;
            self.send_again(&mut tx, stamp, provider.as_ref(), &[group], &why).await?;
            let about = ("review", row.submission_id.as_str());
            self.alert_passes(&mut tx, org, about, work).await?;
            let detail = json!({"submissionId": row.submission_id, "reason": found, "payouts": transfers.len()});
            self.keep_act(&mut tx, org, work, ("payout.resent", payout_id.as_str()), detail).await?;
            tx.commit().await?;
            Ok(transfers.len())
        })
        .await
    }

    /// Nobody can say that nothing was paid while our own file still waits to be picked up.
    async fn nothing_leaves(
        &self,
        work: &Work,
        org: &OrgId,
        payout_id: &PayoutId,
    ) -> Result<(), EngineError> {
        let mut tx = self.begin(work).await?;
        let Some(found) = tx.transfer_in_review(org, payout_id).await? else { return Ok(()) };
        let row = tx.submission(org, &found.submission_id).await?;
        let transfers = tx.transfers_of(org, &found.submission_id).await?;
        drop(tx);
        let Some(provider) = self.provider(row.method_kind) else { return Ok(()) };
        let outgoing = outgoing(&row, &transfers, self.clock.now());
        match provider.may_still_leave(&outgoing).await {
            None => Ok(()),
            Some(problem) => {
                Err(EngineError::MayStillLeave { payout_id: payout_id.clone(), problem })
            }
        }
    }
}

/// A send of the same bytes may be under way while the submission is claimed: what a person has
/// found would be out of date before it is written.
fn nobody_asks(
    payout_id: &PayoutId,
    claimed_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    match claimed_until {
        Some(until) if until > now => {
            Err(EngineError::BeingAsked { payout_id: payout_id.clone(), until })
        }
        _ => Ok(()),
    }
}
