//! Decisions: per run, affiliate and currency, paid or skipped, with every failing gate.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{
    AffiliateId, Currency, Gate, GateCheck, OrgId, PayoutId, ProgramId, RunId, WalletKey,
};

const DECISION_INSERT: &str = "
    INSERT INTO decisions (org_id, run_id, affiliate_id, currency, program_id, available_minor,
                           payout_id, first_gate, failing_gates, decided_at) {rows}";
const DECISIONS_OF_AFFILIATE: &str = "
    SELECT d.run_id, d.affiliate_id, d.currency, d.program_id, d.available_minor, d.payout_id,
           d.first_gate, d.failing_gates, d.decided_at, r.scheduled_for
    FROM decisions d LEFT JOIN job_runs r ON r.run_id = d.run_id
    WHERE d.org_id = $1 AND d.affiliate_id = $2
    ORDER BY d.decided_at DESC, d.run_id DESC LIMIT $3";
const DECISIONS_SKIPPED: &str = "
    SELECT run_id, affiliate_id, currency, program_id, available_minor, payout_id, first_gate,
           failing_gates, decided_at
    FROM decisions
    WHERE org_id = $1 AND run_id = $2 AND payout_id IS NULL
    ORDER BY affiliate_id, currency LIMIT $3";
const DECISIONS_PAGE: &str = "
    SELECT run_id, affiliate_id, currency, program_id, available_minor, payout_id, first_gate,
           failing_gates, decided_at
    FROM decisions
    WHERE org_id = $1 AND run_id = $2 AND (affiliate_id, currency) > ($3, $4)
      AND (first_gate = $5 OR $5 = '')
    ORDER BY affiliate_id, currency LIMIT $6";
const DECIDED: &str = "
    SELECT affiliate_id, currency FROM decisions
    WHERE org_id = $1 AND run_id = $2 AND (affiliate_id, currency) > ($3, $4)
      AND (affiliate_id, currency) <= ($5, $6)";
const DECISION_COUNTS: &str = "
    SELECT first_gate, currency, COUNT(*) AS decisions,
           CAST(SUM(available_minor) AS BIGINT) AS amount_minor
    FROM decisions WHERE org_id = $1 AND run_id = $2
    GROUP BY first_gate, currency ORDER BY first_gate, currency";
const LAST_RUN_WITH_DECISIONS: &str = "
    SELECT r.run_id FROM job_runs r
    WHERE r.kind = 'request_payouts' AND r.state NOT IN ('queued', 'running', 'skipped')
      AND EXISTS (SELECT 1 FROM decisions d WHERE d.org_id = $1 AND d.run_id = r.run_id)
    ORDER BY r.run_id DESC LIMIT 1";
const DECISIONS_PRUNE: &str = "
    DELETE FROM decisions WHERE org_id = $1 AND decided_at < $2 AND (run_id, affiliate_id, currency) IN (
        SELECT run_id, affiliate_id, currency FROM decisions
        WHERE org_id = $1 AND decided_at < $2 LIMIT $3)";

/// One decision of an auto-payout run, to be kept.
#[derive(Debug, Clone)]
pub struct NewDecision {
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub program_id: ProgramId,
    pub available_minor: i64,
    /// The payout that was requested; `None` if the affiliate was skipped.
    pub payout_id: Option<PayoutId>,
    /// Every gate that failed, in order; the first is what the skip is counted under.
    pub failing: Vec<GateCheck>,
}

/// A decision as it was kept.
#[derive(Debug, Clone, FromRow)]
pub struct DecisionRow {
    pub run_id: RunId,
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub program_id: ProgramId,
    pub available_minor: i64,
    pub payout_id: Option<PayoutId>,
    pub first_gate: Option<Gate>,
    failing_gates: String,
    pub decided_at: DateTime<Utc>,
    /// The due instant of the run; `None` for one that a person started, and where nobody asked.
    #[sqlx(default)]
    pub scheduled_for: Option<DateTime<Utc>>,
}

impl DecisionRow {
    /// Every gate that failed, with its numbers.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if what was stored does not read back.
    pub fn failing(&self) -> Result<Vec<GateCheck>, StoreError> {
        serde_json::from_str(&self.failing_gates).map_err(|source| {
            let id = format!("decision of run {} about {}", self.run_id, self.affiliate_id);
            StoreError::Corrupt { id, source }
        })
    }
}

/// How many decisions of a run fell under a gate (`None`: paid), and their amounts.
#[derive(Debug, Clone, FromRow)]
pub struct DecisionCount {
    pub first_gate: Option<Gate>,
    pub currency: Currency,
    pub decisions: i64,
    pub amount_minor: i64,
}

impl Tx {
    /// Keeps a page of decisions.
    pub async fn decisions_insert(
        &mut self,
        org: &OrgId,
        run: &RunId,
        decisions: &[NewDecision],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let row = |d: &NewDecision| {
            let failing = serde_json::to_string(&d.failing).expect("gate checks are plain text");
            vec![
                org.into(),
                run.into(),
                (&d.affiliate_id).into(),
                (&d.currency).into(),
                (&d.program_id).into(),
                d.available_minor.into(),
                d.payout_id.as_ref().into(),
                d.failing.first().map(|check| &check.gate).into(),
                failing.into(),
                now.into(),
            ]
        };
        let rows: Vec<_> = decisions.iter().map(row).collect();
        sql(DECISION_INSERT).run_with(self, &rows).await?;
        Ok(())
    }

    /// The wallets after `after`, up to `upto` and with it, that a run has decided about.
    pub async fn decided_wallets(
        &mut self,
        org: &OrgId,
        run: &RunId,
        after: Option<&WalletKey>,
        upto: &WalletKey,
    ) -> Result<Vec<WalletKey>, StoreError> {
        let (affiliate, currency) =
            after.map_or(("", ""), |key| (key.affiliate_id.as_str(), key.currency.code()));
        let query = sql(DECIDED).bind(org).bind(run).bind(affiliate).bind(currency);
        let rows: Vec<(AffiliateId, Currency)> =
            query.bind(&upto.affiliate_id).bind(&upto.currency).all(self).await?;
        let wallet = |(affiliate_id, currency)| WalletKey { affiliate_id, currency };
        Ok(rows.into_iter().map(wallet).collect())
    }

    /// Deletes up to `limit` decisions older than `before`; how many it deleted.
    pub async fn decisions_prune(
        &mut self,
        org: &OrgId,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        sql(DECISIONS_PRUNE).bind(org).bind(before).bind(limit).run(self).await
    }
}

impl Store {
    /// The latest decisions about one affiliate, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn decisions_of(
        &self,
        org: &OrgId,
        affiliate: &AffiliateId,
        limit: i64,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        let query = sql(DECISIONS_OF_AFFILIATE).bind(org).bind(affiliate).bind(limit);
        query.read_all(&self.pools).await
    }

    /// The first skips of a run, by affiliate.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn decisions_skipped(
        &self,
        org: &OrgId,
        run: &RunId,
        limit: i64,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        let query = sql(DECISIONS_SKIPPED).bind(org).bind(run).bind(limit);
        query.read_all(&self.pools).await
    }

    /// A page of a run's decisions after (affiliate, currency), under one first failing gate or
    /// under any (`""`).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn decisions_page(
        &self,
        org: &OrgId,
        run: &RunId,
        (affiliate, currency): (&str, &str),
        gate: &str,
        limit: i64,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        let query = sql(DECISIONS_PAGE).bind(org).bind(run).bind(affiliate).bind(currency);
        query.bind(gate).bind(limit).read_all(&self.pools).await
    }

    /// A run's decisions, counted by first failing gate and currency.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn decision_counts(
        &self,
        org: &OrgId,
        run: &RunId,
    ) -> Result<Vec<DecisionCount>, StoreError> {
        sql(DECISION_COUNTS).bind(org).bind(run).read_all(&self.pools).await
    }

    /// The latest finished auto-payout run that decided anything for the org.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn last_deciding_run(&self, org: &OrgId) -> Result<Option<RunId>, StoreError> {
        let row: Option<(RunId,)> =
            sql(LAST_RUN_WITH_DECISIONS).bind(org).read_maybe(&self.pools).await?;
        Ok(row.map(|(run_id,)| run_id))
    }
}
