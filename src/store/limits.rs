//! What programs may spend, and which of their payouts wait for a person.

use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{Caps, Currency, Limits, Money, OrgId, ProgramId, ProgramLimits};

const LIMITS: &str = "
    SELECT max_payouts_run, max_payouts_day, approve_first, approve_changed
    FROM programs WHERE org_id = $1 AND program_id = $2";
const CURRENCY_LIMITS: &str = "
    SELECT currency, max_payout_minor, max_run_minor, max_day_minor
    FROM program_currencies WHERE org_id = $1 AND program_id = $2 ORDER BY place, currency";
const LIMITS_SET: &str = "
    UPDATE programs
    SET max_payouts_run = $3, max_payouts_day = $4, approve_first = $5, approve_changed = $6
    WHERE org_id = $1 AND program_id = $2";
const CURRENCY_LIMITS_SET: &str = "
    WITH wanted(currency, per_payout, per_run, per_day) AS MATERIALIZED ({rows})
    UPDATE program_currencies
    SET max_payout_minor = wanted.per_payout, max_run_minor = wanted.per_run,
        max_day_minor = wanted.per_day
    FROM wanted
    WHERE program_currencies.org_id = $1 AND program_currencies.program_id = $2
      AND program_currencies.currency = wanted.currency";

#[derive(FromRow)]
struct LimitsRow {
    max_payouts_run: Option<i64>,
    max_payouts_day: Option<i64>,
    approve_first: i64,
    approve_changed: i64,
}

#[derive(FromRow)]
struct CurrencyRow {
    currency: Currency,
    max_payout_minor: Option<i64>,
    max_run_minor: Option<i64>,
    max_day_minor: Option<i64>,
}

impl Store {
    /// What a program may spend; `None` if there is no such program.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn program_limits(
        &self,
        org: &OrgId,
        program: &ProgramId,
    ) -> Result<Option<ProgramLimits>, StoreError> {
        let row: Option<LimitsRow> =
            sql(LIMITS).bind(org).bind(program).read_maybe(&self.pools).await?;
        let Some(row) = row else { return Ok(None) };
        let rows: Vec<CurrencyRow> =
            sql(CURRENCY_LIMITS).bind(org).bind(program).read_all(&self.pools).await?;
        let caps = |of: fn(&CurrencyRow) -> Option<i64>| -> Caps {
            let amount = |row| of(row).map(|minor| Money::new(minor, row.currency));
            rows.iter().filter_map(amount).collect()
        };
        let limits = Limits {
            payouts_per_run: row.max_payouts_run,
            payouts_per_day: row.max_payouts_day,
            amount_per_payout: caps(|row| row.max_payout_minor),
            amount_per_run: caps(|row| row.max_run_minor),
            amount_per_day: caps(|row| row.max_day_minor),
        };
        let (approve_first, approve_changed) = (row.approve_first == 1, row.approve_changed == 1);
        Ok(Some(ProgramLimits { limits, approve_first, approve_changed }))
    }
}

impl Tx {
    /// Writes what a program may spend; amounts in `currencies` that are not limited are not limited
    /// any more.
    pub async fn program_limits_set(
        &mut self,
        org: &OrgId,
        program: &ProgramId,
        (new, currencies): (&ProgramLimits, &[Currency]),
    ) -> Result<(), StoreError> {
        let ProgramLimits { limits, approve_first, approve_changed } = new;
        let update = sql(LIMITS_SET).bind(org).bind(program);
        let update = update.bind(Value::Int(limits.payouts_per_run));
        let update = update.bind(Value::Int(limits.payouts_per_day));
        update.bind(i64::from(*approve_first)).bind(i64::from(*approve_changed)).run(self).await?;
        let row = |currency: &Currency| {
            let bounds = limits.bounds(*currency);
            let minors = [bounds.payout_minor, bounds.run_minor, bounds.day_minor];
            [Value::from(currency)].into_iter().chain(minors.map(Value::Int)).collect()
        };
        let rows: Vec<Vec<_>> = currencies.iter().map(row).collect();
        sql(CURRENCY_LIMITS_SET).bind(org).bind(program).run_with(self, &rows).await?;
        Ok(())
    }
}
