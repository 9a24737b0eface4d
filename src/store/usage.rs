//! What was asked for of a day's limits. Whoever asks for more holds the day's rows until the end of
//! the transaction: two runs at once cannot exceed a limit together.

use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{Currency, Holder, OrgId, ProgramId, RunId};

/// Stands for all currencies: the row that counts payouts, and that is held.
const ALL: &str = "*";

const USAGE_BEGIN: &str = "
    INSERT INTO limit_usage (org_id, holder, day, currency, payouts, amount_minor) {rows}
    ON CONFLICT (org_id, holder, day, currency) DO NOTHING";
const USAGE_LOCK: &str = "
    WITH asked(holder, day) AS MATERIALIZED ({rows})
    SELECT u.holder, u.day, u.currency, u.payouts, u.amount_minor
    FROM asked CROSS JOIN limit_usage u
    WHERE u.org_id = $1 AND u.holder = asked.holder AND u.day = asked.day AND u.currency = $2
    ORDER BY u.holder, u.day {lock:u}";
const USAGE: &str = "
    WITH asked(holder, day) AS MATERIALIZED ({rows})
    SELECT u.holder, u.day, u.currency, u.payouts, u.amount_minor
    FROM asked CROSS JOIN limit_usage u
    WHERE u.org_id = $1 AND u.holder = asked.holder AND u.day = asked.day
    ORDER BY u.holder, u.day, u.currency";
const USAGE_SET: &str = "
    INSERT INTO limit_usage (org_id, holder, day, currency, payouts, amount_minor) {rows}
    ON CONFLICT (org_id, holder, day, currency) DO UPDATE
    SET payouts = excluded.payouts, amount_minor = excluded.amount_minor";

// What the latest runs of a job asked for, of those that asked for anything.
const PAID_BY_RUNS: &str = "
    WITH latest AS MATERIALIZED (
        SELECT r.run_id FROM job_runs r
        WHERE r.job_id = $2 AND r.run_id <> $3
          AND EXISTS (SELECT 1 FROM payouts p WHERE p.org_id = $1 AND p.run_id = r.run_id)
        ORDER BY r.run_id DESC LIMIT $4)
    SELECT p.run_id, p.currency, COUNT(*) AS payouts,
           CAST(SUM(p.amount_minor) AS BIGINT) AS amount_minor
    FROM latest CROSS JOIN payouts p
    WHERE p.org_id = $1 AND p.run_id = latest.run_id
    GROUP BY p.run_id, p.currency ORDER BY p.run_id, p.currency";

// What a run asked for so far: an attempt before this one may have.
const ASKED_BY_RUN: &str = "
    SELECT p.program_id, p.currency, COUNT(*) AS payouts,
           CAST(SUM(p.amount_minor) AS BIGINT) AS amount_minor
    FROM payouts p WHERE p.org_id = $1 AND p.run_id = $2
    GROUP BY p.program_id, p.currency ORDER BY p.program_id, p.currency";

/// What a run asked for so far, of a program in one currency.
#[derive(Debug, Clone, FromRow)]
pub struct AskedByRun {
    pub program_id: ProgramId,
    pub currency: Currency,
    pub payouts: i64,
    pub amount_minor: i64,
}

/// What a run asked for in one currency.
#[derive(Debug, Clone, FromRow)]
pub struct PaidByRun {
    pub run_id: RunId,
    pub currency: Currency,
    pub payouts: i64,
    pub amount_minor: i64,
}

/// A day of a holder: `2026-11-23`, in its zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageDay {
    pub holder: Holder,
    pub day: String,
}

/// What was asked for in a day.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct UsageRow {
    /// `job:<id>` or `program:<id>`.
    pub holder: String,
    pub day: String,
    /// `*` for the row that counts payouts in all currencies.
    pub currency: String,
    pub payouts: i64,
    /// Minor units; 0 in the row of all currencies.
    pub amount_minor: i64,
}

impl UsageRow {
    /// The row of a day, in a currency or in all.
    pub fn new(
        day: &UsageDay,
        currency: Option<&str>,
        (payouts, amount_minor): (i64, i64),
    ) -> Self {
        let (holder, currency) = (day.holder.as_str().to_owned(), currency.unwrap_or(ALL));
        Self { holder, day: day.day.clone(), currency: currency.to_owned(), payouts, amount_minor }
    }

    /// Whether it counts payouts in all currencies.
    pub fn is_count(&self) -> bool {
        self.currency == ALL
    }

    fn values(&self, org: &OrgId) -> Vec<Value> {
        let Self { holder, day, currency, payouts, amount_minor } = self;
        let (payouts, amount) = ((*payouts).into(), (*amount_minor).into());
        let texts = [holder, day, currency].map(|text| Value::from(text.as_str()));
        let [holder, day, currency] = texts;
        vec![org.into(), holder, day, currency, payouts, amount]
    }
}

fn day_rows(days: &[UsageDay]) -> Vec<Vec<Value>> {
    days.iter().map(|day| vec![day.holder.as_str().into(), day.day.as_str().into()]).collect()
}

impl Store {
    /// What was asked for in these days, as it stands.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn usage(&self, org: &OrgId, days: &[UsageDay]) -> Result<Vec<UsageRow>, StoreError> {
        if days.is_empty() {
            return Ok(Vec::new());
        }
        sql(USAGE).bind(org).read_all_with(&self.pools, &day_rows(days)).await
    }
}

impl Store {
    /// What the latest `runs` runs of a job before `run` asked for in an org, by run and currency;
    /// runs that asked for nothing are none of them.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn paid_by_runs(
        &self,
        org: &OrgId,
        (job_id, run): (&str, &RunId),
        runs: i64,
    ) -> Result<Vec<PaidByRun>, StoreError> {
        let query = sql(PAID_BY_RUNS).bind(org).bind(job_id).bind(run).bind(runs);
        query.read_all(&self.pools).await
    }

    /// What a run asked for so far in an org: an attempt before this one may have.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn asked_by_run(
        &self,
        org: &OrgId,
        run: &RunId,
    ) -> Result<Vec<AskedByRun>, StoreError> {
        sql(ASKED_BY_RUN).bind(org).bind(run).read_all(&self.pools).await
    }
}

impl Tx {
    /// What was asked for in these days, held until the end of the transaction.
    pub async fn usage_lock(
        &mut self,
        org: &OrgId,
        days: &[UsageDay],
    ) -> Result<Vec<UsageRow>, StoreError> {
        if days.is_empty() {
            return Ok(Vec::new());
        }
        let first = |day: &UsageDay| UsageRow::new(day, None, (0, 0)).values(org);
        sql(USAGE_BEGIN).run_with(self, &days.iter().map(first).collect::<Vec<_>>()).await?;
        let rows = day_rows(days);
        let _: Vec<UsageRow> = sql(USAGE_LOCK).bind(org).bind(ALL).all_with(self, &rows).await?;
        // Read once they are held: on PostgreSQL a statement sees what was committed before it.
        sql(USAGE).bind(org).all_with(self, &rows).await
    }

    /// Writes what was asked for in days that are held.
    pub async fn usage_set(&mut self, org: &OrgId, rows: &[UsageRow]) -> Result<(), StoreError> {
        let rows: Vec<_> = rows.iter().map(|row| row.values(org)).collect();
        sql(USAGE_SET).run_with(self, &rows).await?;
        Ok(())
    }
}
