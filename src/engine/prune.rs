//! Prune: records of work grow old and go. Money's own records (entries, commissions, payouts,
//! lines, events, transfers) never do.

use chrono::TimeDelta;

use super::{Engine, EngineError, Tally, Work};

/// Rows deleted per transaction.
const BATCH: i64 = 5_000;

/// Plans deleted in one run; each may have many lines.
const PLANS: i64 = 1_000;

/// How long the answer to a request with an Idempotency-Key is kept. Callers are told so, so it is
/// no setting.
const KEYS_KEPT: TimeDelta = TimeDelta::days(30);

/// How long records of work are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub runs: TimeDelta,
    pub decisions: TimeDelta,
    pub provider_events: TimeDelta,
    pub webhook_events: TimeDelta,
}

impl Engine {
    /// Deletes ended runs, plans as old, decisions, provider events and events told to others that are older
    /// than told, batch by batch.
    ///
    /// # Errors
    /// [`EngineError::Store`]; the batches before it stand.
    pub async fn prune(&self, work: &Work, keep: Keep) -> Result<Tally, EngineError> {
        let mut tally = Tally::default();
        let now = self.clock.now();
        let mut pruned = |count: u64| {
            tally.seen += count;
            tally.acted += count;
            count < BATCH.unsigned_abs()
        };
        while !work.stop.is_cancelled() {
            let mut tx = self.begin(work).await?;
            let count = tx.runs_prune(now - keep.runs, BATCH).await?;
            tx.commit().await?;
            if pruned(count) {
                break;
            }
        }
        let mut tx = self.begin(work).await?;
        tx.attempts_prune(now - keep.runs).await?;
        tx.commit().await?;
        let unfinished = now - TimeDelta::days(1);
        for plan in self.store.plans_old(now - keep.runs, unfinished, PLANS).await? {
            if work.stop.is_cancelled() {
                break;
            }
            self.drop_plan(work, &plan).await?;
            pruned(1);
        }
        for org in self.store.orgs().await? {
            while !work.stop.is_cancelled() {
                let mut tx = self.begin(work).await?;
                let count = tx.decisions_prune(&org, now - keep.decisions, BATCH).await?;
                tx.commit().await?;
                if pruned(count) {
                    break;
                }
            }
            while !work.stop.is_cancelled() {
                let mut tx = self.begin(work).await?;
                let count = tx.keys_prune(&org, now - KEYS_KEPT, BATCH).await?;
                tx.commit().await?;
                if pruned(count) {
                    break;
                }
            }
            while !work.stop.is_cancelled() {
                let mut tx = self.begin(work).await?;
                let before = now - keep.provider_events;
                let count = tx.provider_events_prune(&org, before, BATCH).await?;
                tx.commit().await?;
                if pruned(count) {
                    break;
                }
            }
            while !work.stop.is_cancelled() {
                let mut tx = self.begin(work).await?;
                let before = now - keep.webhook_events;
                let count = tx.webhook_events_prune(&org, before, BATCH).await?;
                tx.commit().await?;
                if pruned(count) {
                    break;
                }
            }
        }
        Ok(tally)
    }
}
