//! Release: held commissions whose hold window has passed become available.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Engine, EngineError, Tally, Work, ledger};
use crate::domain::{
    BatchId, Bucket, EntryKind, Money, MoneyError, MoneyTotals, Movement, OrgId, ProgramId,
    WalletKey,
};
use crate::store::Released;

impl Engine {
    /// The (org, program) pairs with commissions to release now; with `auto_only` those of
    /// programs that credit by themselves.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn programs_to_release(
        &self,
        auto_only: bool,
    ) -> Result<Vec<(OrgId, ProgramId)>, EngineError> {
        Ok(self.store.programs_due(self.clock.now(), auto_only).await?)
    }

    /// Releases everything due in an org now, in programs with and without autoCredit: a person
    /// asked.
    ///
    /// # Errors
    /// [`EngineError`]; the batches before it stand.
    pub async fn process_held(
        &self,
        work: &Work,
        org: &OrgId,
        batch: i64,
    ) -> Result<Tally, EngineError> {
        let mut tally = Tally::default();
        for (owner, program) in self.programs_to_release(false).await? {
            if owner == *org {
                tally.merge(self.release_program(work, org, &program, batch).await?)?;
            }
        }
        Ok(tally)
    }

    /// Releases everything due in one program, batch by batch, until nothing is or the work is
    /// stopped. A batch takes whole wallets (those behind the `batch` longest due commissions),
    /// so that each wallet is written once.
    ///
    /// # Errors
    /// [`EngineError`]; the batches before it stand.
    pub async fn release_program(
        &self,
        work: &Work,
        org: &OrgId,
        program: &ProgramId,
        batch: i64,
    ) -> Result<Tally, EngineError> {
        let mut tally = Tally::default();
        while !work.stop.is_cancelled() {
            let released = self.retrying(|| self.release_batch(work, org, program, batch)).await?;
            let Some(released) = released else { break };
            let mut part = Tally::default();
            for commission in &released {
                part.seen += 1;
                part.act(Money::new(commission.amount_minor, commission.currency))?;
            }
            work.progress.add(&part);
            tally.merge(part)?;
        }
        Ok(tally)
    }

    /// `None` when nothing is due.
    async fn release_batch(
        &self,
        work: &Work,
        org: &OrgId,
        program: &ProgramId,
        limit: i64,
    ) -> Result<Option<Vec<Released>>, EngineError> {
        let now = self.clock.now();
        let batch: BatchId = self.clock.mint();
        let mut tx = self.begin(work).await?;
        let wallets = tx.wallets_due(org, program, now, limit).await?;
        if wallets.is_empty() {
            return Ok(None);
        }
        tx.wallets_lock(org, &wallets).await?;
        // Another worker may have released these meanwhile: then it is on to the next wallets.
        let released = tx.commissions_release(org, &batch, &wallets, now).await?;
        let movements = movements(&batch, &released)?;
        ledger::post(&mut tx, org, movements, &work.actor, now).await?;
        if work.run.is_none() && !released.is_empty() {
            let mut amounts = MoneyTotals::default();
            for one in &released {
                amounts.add(Money::new(one.amount_minor, one.currency))?;
            }
            let detail = json!({
                "batch": batch, "commissions": released.len(), "amounts": amounts.to_string(),
            });
            let act = ("commissions.released", program.as_str());
            self.keep_act(&mut tx, org, work, act, detail).await?;
        }
        tx.commit().await?;
        Ok(Some(released))
    }
}

/// One entry per wallet and batch; its commissions carry the batch.
fn movements(batch: &BatchId, released: &[Released]) -> Result<Vec<Movement>, MoneyError> {
    let mut sums: BTreeMap<WalletKey, i64> = BTreeMap::new();
    for Released { affiliate_id, currency, amount_minor } in released {
        let key = WalletKey { affiliate_id: affiliate_id.clone(), currency: *currency };
        let sum = sums.entry(key).or_default();
        let overflow = MoneyError::Overflow { left: *sum, right: *amount_minor };
        *sum = sum.checked_add(*amount_minor).ok_or(overflow)?;
    }
    let movement = |(wallet, amount_minor): (WalletKey, i64)| Movement {
        kind: EntryKind::Release,
        from: Bucket::Held,
        to: Bucket::Available,
        amount_minor,
        entry_key: format!("release:{batch}:{}:{}", wallet.affiliate_id, wallet.currency),
        wallet,
    };
    Ok(sums.into_iter().filter(|(_, sum)| *sum > 0).map(movement).collect())
}
