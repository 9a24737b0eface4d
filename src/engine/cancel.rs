//! Cancel and retry: what a person may do to a payout.

use serde_json::{Value, json};

use super::outcome::{Stamp, end_payouts};
use super::submission::Refusal;
use super::{Engine, EngineError, PersonRequest, Work};
use crate::domain::{OrgId, PayoutId, PayoutStatus, WalletKey};
use crate::providers::Problem;
use crate::store::{PayoutMove, StoreError, Transfer};

impl Engine {
    /// Cancels a payout that was certainly not sent yet; its money becomes available again.
    ///
    /// # Errors
    /// [`EngineError::NoPayout`]; [`EngineError::WrongStatus`] once it is being sent: then only
    /// the provider's answer ends it.
    pub async fn cancel(
        &self,
        work: &Work,
        org: &OrgId,
        payout_id: &PayoutId,
        reason: &str,
    ) -> Result<(), EngineError> {
        let cancelled = self
            .retrying(|| async {
                let mut tx = self.begin(work).await?;
                let stamp = Stamp { org, actor: &work.actor, now: self.clock.now() };
                let moves = [PayoutMove {
                    payout_id: payout_id.clone(),
                    code: Some("cancelled".to_owned()),
                    reason: reason.to_owned(),
                }];
                let moved = end_payouts(&mut tx, stamp, PayoutStatus::Cancelled, &moves).await?;
                if moved.is_empty() {
                    return Ok(false);
                }
                let (act, detail) = cancelled(payout_id, reason);
                self.keep_act(&mut tx, org, work, act, detail).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await?;
        if cancelled || self.cancel_prepared(work, org, payout_id, reason).await? {
            return Ok(());
        }
        let payout = self.store.payout(org, payout_id).await?;
        let payout = payout.ok_or(EngineError::NoPayout { payout_id: payout_id.clone() })?;
        let hint = match payout.status {
            PayoutStatus::Processing => {
                ": its money may be on its way, and only the provider's answer ends it"
            }
            _ => ": it has ended",
        };
        let (payout_id, status) = (payout_id.clone(), payout.status);
        Err(EngineError::WrongStatus { payout_id, status, verb: "cancelled", hint })
    }

    /// Takes a payout out of a submission that was put together and certainly not sent; whether it
    /// was in one. It ends as failed, since it was under way; the others are sent without it.
    async fn cancel_prepared(
        &self,
        work: &Work,
        org: &OrgId,
        payout_id: &PayoutId,
        reason: &str,
    ) -> Result<bool, EngineError> {
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            let row = tx.submission_prepared(org, payout_id).await?;
            let provider = row.as_ref().and_then(|row| self.provider(row.method_kind));
            let (Some(row), Some(provider)) = (&row, provider) else { return Ok(false) };
            let transfers = tx.transfers_of(org, &row.submission_id).await?;
            let problem = Problem::new("cancelled", reason);
            let is_it = |transfer: &&Transfer| transfer.payout_id == *payout_id;
            let items = transfers.iter().filter(is_it);
            let items = items.map(|one| (one.reference.clone(), problem.clone())).collect();
            let stamp = Stamp { org, actor: &work.actor, now };
            tx.submission_refuse(org, &row.submission_id, now).await?;
            let refusal = Refusal { items, problem };
            self.dismantle(&mut tx, stamp, provider.as_ref(), &transfers, &refusal).await?;
            let (act, detail) = cancelled(payout_id, reason);
            self.keep_act(&mut tx, org, work, act, detail).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Requests the amount of a failed, cancelled or returned payout again, as a new payout
    /// through all the gates: its money has been available since it failed.
    ///
    /// # Errors
    /// [`EngineError::NoPayout`], [`EngineError::WrongStatus`] for one that is open or
    /// completed, [`EngineError::AlreadyRetried`], [`EngineError::Refused`] with every failing gate.
    pub async fn retry(
        &self,
        work: &Work,
        org: &OrgId,
        payout_id: &PayoutId,
    ) -> Result<PayoutId, EngineError> {
        let payout = self.store.payout(org, payout_id).await?;
        let payout = payout.ok_or(EngineError::NoPayout { payout_id: payout_id.clone() })?;
        if let Some(retried_as) = payout.retried_as {
            let payout_id = payout_id.clone();
            return Err(EngineError::AlreadyRetried { payout_id, retried_as });
        }
        let hint = match payout.status {
            PayoutStatus::Failed | PayoutStatus::Cancelled | PayoutStatus::Returned => {
                let request = PersonRequest {
                    wallet: WalletKey {
                        affiliate_id: payout.affiliate_id,
                        currency: payout.currency,
                    },
                    amount_minor: payout.amount_minor,
                    retry_of: Some(payout_id.clone()),
                };
                return match self.request(work, org, &request).await {
                    // Somebody else was first, just now.
                    Err(EngineError::Store(error)) if error.is_duplicate() => {
                        self.already_retried(org, payout_id, error).await
                    }
                    requested => requested,
                };
            }
            PayoutStatus::Completed => ": it was paid",
            PayoutStatus::Pending | PayoutStatus::Approved => ": it is still waiting to be sent",
            PayoutStatus::Processing => {
                ": its money may be on its way, and sending it again could pay twice"
            }
        };
        let (payout_id, status) = (payout_id.clone(), payout.status);
        Err(EngineError::WrongStatus { payout_id, status, verb: "retried", hint })
    }

    async fn already_retried(
        &self,
        org: &OrgId,
        payout_id: &PayoutId,
        error: StoreError,
    ) -> Result<PayoutId, EngineError> {
        let payout = self.store.payout(org, payout_id).await?;
        match payout.and_then(|payout| payout.retried_as) {
            None => Err(error.into()),
            Some(retried_as) => {
                let payout_id = payout_id.clone();
                Err(EngineError::AlreadyRetried { payout_id, retried_as })
            }
        }
    }
}

/// The act of a cancellation, for the audit log.
fn cancelled<'a>(payout_id: &'a PayoutId, reason: &str) -> ((&'static str, &'a str), Value) {
    (("payout.cancelled", payout_id.as_str()), json!({"reason": reason}))
}
