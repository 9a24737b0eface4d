//! Commissions: what was earned, what is due, what is still to be paid out.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::adjustments::ADJUSTMENTS_ALLOCATE;
use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{
    AffiliateId, BatchId, CommissionId, CommissionStatus, Currency, NewCommission, OrgId, PayoutId,
    ProgramId, WalletKey,
};

const COMMISSIONS_WANTED: &str = "
    WITH wanted(commission_id) AS MATERIALIZED ({rows})
    SELECT c.commission_id, c.affiliate_id, c.currency, c.order_id, c.order_amount_minor,
           c.amount_minor, c.converted_at
    FROM wanted CROSS JOIN commissions c
    WHERE c.org_id = $1 AND c.commission_id = wanted.commission_id";
const COMMISSION_INSERT: &str = "
    INSERT INTO commissions (org_id, commission_id, affiliate_id, program_id, currency, order_id,
                             order_amount_minor, amount_minor, status, converted_at, hold_until,
                             accrual_batch, release_batch, credited_at, allocated_minor, paid_minor,
                             reversed_minor, credited_minor)
    {rows}";

const PROGRAMS_DUE: &str = "
    SELECT p.org_id, p.program_id FROM programs p
    WHERE (p.auto_credit = 1 OR $2 = 0)
      AND EXISTS (SELECT 1 FROM commissions c
                  WHERE c.org_id = p.org_id AND c.program_id = p.program_id
                    AND c.status = 'held' AND c.hold_until <= $1)
    ORDER BY p.org_id, p.program_id";
const WALLETS_DUE: &str = "
    SELECT DISTINCT due.affiliate_id, due.currency FROM (
        SELECT affiliate_id, currency FROM commissions
        WHERE org_id = $1 AND program_id = $2 AND status = 'held' AND hold_until <= $3
        ORDER BY hold_until LIMIT $4) AS due";
const HELD_UNTIL: &str = "
    SELECT c.currency, CAST(SUM(c.amount_minor - c.reversed_minor) AS BIGINT)
    FROM commissions c
    JOIN programs p ON p.org_id = c.org_id AND p.program_id = c.program_id AND p.auto_credit = 1
    WHERE c.org_id = $1 AND c.affiliate_id = $2 AND c.status = 'held' AND c.hold_until <= $3
    GROUP BY c.currency";
// What was reversed while it was held is never credited.
const COMMISSIONS_RELEASE: &str = "
    WITH wanted(affiliate_id, currency) AS MATERIALIZED ({rows})
    UPDATE commissions
    SET status = 'qualified', release_batch = $2, credited_at = $3,
        credited_minor = amount_minor - reversed_minor
    FROM wanted
    WHERE commissions.org_id = $1 AND commissions.status = 'held' AND commissions.hold_until <= $3
      AND commissions.affiliate_id = wanted.affiliate_id AND commissions.currency = wanted.currency
    RETURNING commissions.affiliate_id, commissions.currency,
              commissions.credited_minor AS amount_minor";

// How the lines of some payouts move their commissions: $2 times the line is added to what is
// allocated, $3 times to what is paid. A commission is `paid` when all that was not reversed is.
// CROSS keeps SQLite from walking every line of the org in the order of the grouping.
const COMMISSIONS_ALLOCATE: &str = "
    WITH asked(payout_id) AS MATERIALIZED ({rows})
    UPDATE commissions
    SET allocated_minor = allocated_minor + $2 * lines.amount,
        paid_minor = paid_minor + $3 * lines.amount,
        status = CASE WHEN reversed_minor = amount_minor THEN 'reversed'
                      WHEN paid_minor + $3 * lines.amount > 0
                       AND paid_minor + $3 * lines.amount >= amount_minor - reversed_minor THEN 'paid'
                      ELSE 'qualified' END
    FROM (SELECT l.commission_id, CAST(SUM(l.amount_minor) AS BIGINT) AS amount
          FROM asked CROSS JOIN payout_lines l
          WHERE l.org_id = $1 AND l.payout_id = asked.payout_id AND l.commission_id IS NOT NULL
          GROUP BY l.commission_id) AS lines
    WHERE commissions.org_id = $1 AND commissions.commission_id = lines.commission_id";

/// A commission as it was brought in, to be compared with one that comes again.
#[derive(Debug, Clone, FromRow)]
pub struct CommissionRow {
    pub commission_id: CommissionId,
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub order_id: String,
    pub order_amount_minor: i64,
    pub amount_minor: i64,
    pub converted_at: DateTime<Utc>,
}

/// A commission to be inserted, with what its program makes of it.
#[derive(Debug)]
pub struct Accrual<'a> {
    pub commission: &'a NewCommission,
    pub program_id: &'a ProgramId,
    pub status: CommissionStatus,
    pub hold_until: DateTime<Utc>,
    pub credited_at: Option<DateTime<Utc>>,
}

/// What one released commission moves: its amount without what was reversed before.
#[derive(Debug, FromRow)]
pub struct Released {
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub amount_minor: i64,
}

/// What becomes of the commissions and adjustments behind a payout's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// The payout was requested: its lines are spoken for.
    Take,
    /// The payout failed or was cancelled: they may be asked for again.
    Free,
    /// The payout completed: they are paid.
    Pay,
    /// The money came back: they are unpaid and may be asked for again.
    Unpay,
}

impl Store {
    /// What of an affiliate's money is held now and will have been released by itself at `then`, by
    /// currency, in minor units.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn held_until(
        &self,
        org: &OrgId,
        affiliate: &AffiliateId,
        then: DateTime<Utc>,
    ) -> Result<Vec<(Currency, i64)>, StoreError> {
        sql(HELD_UNTIL).bind(org).bind(affiliate).bind(then).read_all(&self.pools).await
    }

    /// The (org, program) pairs that have held commissions due by `now`; with `auto_only` those
    /// of programs that credit by themselves.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn programs_due(
        &self,
        now: DateTime<Utc>,
        auto_only: bool,
    ) -> Result<Vec<(OrgId, ProgramId)>, StoreError> {
        sql(PROGRAMS_DUE).bind(now).bind(auto_only).read_all(&self.pools).await
    }
}

impl Tx {
    /// Those of the commissions `ids` that exist.
    pub async fn commissions_wanted(
        &mut self,
        org: &OrgId,
        ids: &[&CommissionId],
    ) -> Result<Vec<CommissionRow>, StoreError> {
        let rows: Vec<_> = ids.iter().map(|id| vec![Value::from(*id)]).collect();
        sql(COMMISSIONS_WANTED).bind(org).all_with(self, &rows).await
    }

    /// Inserts commissions of one accrual batch.
    pub async fn commissions_insert(
        &mut self,
        org: &OrgId,
        batch: &BatchId,
        accruals: &[Accrual<'_>],
    ) -> Result<(), StoreError> {
        let row = |accrual: &Accrual<'_>| {
            let c = accrual.commission;
            vec![
                org.into(),
                (&c.commission_id).into(),
                (&c.affiliate_id).into(),
                accrual.program_id.into(),
                (&c.amount.currency).into(),
                c.order_id.as_str().into(),
                c.order_amount.minor.into(),
                c.amount.minor.into(),
                (&accrual.status).into(),
                c.converted_at.into(),
                accrual.hold_until.into(),
                batch.as_str().into(),
                Value::Text(None),
                accrual.credited_at.into(),
                0.into(),
                0.into(),
                0.into(),
                accrual.credited_at.map_or(0, |_| c.amount.minor).into(),
            ]
        };
        let rows: Vec<_> = accruals.iter().map(row).collect();
        sql(COMMISSION_INSERT).run_with(self, &rows).await?;
        Ok(())
    }

    /// The wallets behind the `limit` commissions that have been due longest.
    pub async fn wallets_due(
        &mut self,
        org: &OrgId,
        program: &ProgramId,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<WalletKey>, StoreError> {
        let query = sql(WALLETS_DUE).bind(org).bind(program).bind(now).bind(limit);
        let rows: Vec<(AffiliateId, Currency)> = query.all(self).await?;
        Ok(rows
            .into_iter()
            .map(|(affiliate_id, currency)| WalletKey { affiliate_id, currency })
            .collect())
    }

    /// Qualifies every due commission of the wallets, and says what each moves.
    pub async fn commissions_release(
        &mut self,
        org: &OrgId,
        batch: &BatchId,
        wallets: &[WalletKey],
        now: DateTime<Utc>,
    ) -> Result<Vec<Released>, StoreError> {
        let row = |w: &WalletKey| vec![(&w.affiliate_id).into(), (&w.currency).into()];
        let rows: Vec<_> = wallets.iter().map(row).collect();
        let query = sql(COMMISSIONS_RELEASE).bind(org).bind(batch.as_str()).bind(now);
        query.all_with(self, &rows).await
    }

    /// Moves the commissions and adjustments behind the payouts' lines.
    pub async fn lines_allocate(
        &mut self,
        org: &OrgId,
        payouts: &[PayoutId],
        allocation: Allocation,
    ) -> Result<(), StoreError> {
        let (allocated, paid) = match allocation {
            Allocation::Take => (1, 0),
            Allocation::Free => (-1, 0),
            Allocation::Pay => (0, 1),
            Allocation::Unpay => (-1, -1),
        };
        let rows: Vec<_> = payouts.iter().map(|id| vec![Value::from(id)]).collect();
        for text in [COMMISSIONS_ALLOCATE, ADJUSTMENTS_ALLOCATE] {
            sql(text).bind(org).bind(allocated).bind(paid).run_with(self, &rows).await?;
        }
        Ok(())
    }
}
