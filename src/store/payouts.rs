//! Payouts, their lines and their history.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::seen::Passed;
use super::{StoreError, Tx};
use crate::domain::{
    Actor, AffiliateId, ApprovalReason, Currency, DestinationId, MethodId, MethodKind, Money,
    OrgId, PayoutId, PayoutOrigin, PayoutStatus, Period, ProgramId, RunId,
};

const PAYOUT_INSERT: &str = "
    INSERT INTO payouts (org_id, payout_id, affiliate_id, program_id, currency, amount_minor,
                         method_id, method_kind, destination_id, status, version, origin, period,
                         run_id, retry_of, requested_by, requested_at, updated_at,
                         requires_approval, approval_reasons, period_from, period_until)
    {rows}";
const EVENT_INSERT: &str = "
    INSERT INTO payout_events (org_id, payout_id, version, status, actor, reason, occurred_at)
    {rows}";

// Debts first, each whole; then first credited, first paid, and the last line may be a part. A
// window sums what is open up to and including each item, so one statement allocates a whole batch
// of payouts. The predicates of what is open are those of the indexes, word for word.
const LINES_INSERT: &str = "
    WITH asked(payout_id, affiliate_id, currency, amount) AS MATERIALIZED ({rows})
    INSERT INTO payout_lines (org_id, payout_id, line_no, commission_id, adjustment_id, amount_minor)
    SELECT $1, queue.payout_id, queue.line_no, queue.commission_id, queue.adjustment_id,
           CASE WHEN queue.upto <= queue.amount THEN queue.open
                ELSE queue.amount - (queue.upto - queue.open) END
    FROM (SELECT items.payout_id, items.amount, items.commission_id, items.adjustment_id, items.open,
                 CAST(SUM(items.open) OVER fifo AS BIGINT) AS upto,
                 ROW_NUMBER() OVER fifo AS line_no
          FROM (SELECT asked.payout_id, asked.amount, c.commission_id,
                       CAST(NULL AS TEXT) AS adjustment_id, c.credited_at,
                       c.amount_minor - c.reversed_minor - c.allocated_minor AS open
                FROM asked CROSS JOIN commissions c
                WHERE c.org_id = $1 AND c.affiliate_id = asked.affiliate_id
                  AND c.currency = asked.currency AND c.credited_at IS NOT NULL
                  AND c.amount_minor - c.reversed_minor - c.allocated_minor <> 0
                UNION ALL
                SELECT asked.payout_id, asked.amount, CAST(NULL AS TEXT), a.adjustment_id,
                       a.occurred_at, a.amount_minor - a.allocated_minor
                FROM asked CROSS JOIN adjustments a
                WHERE a.org_id = $1 AND a.affiliate_id = asked.affiliate_id
                  AND a.currency = asked.currency AND a.amount_minor - a.allocated_minor <> 0
               ) AS items
          WINDOW fifo AS (PARTITION BY items.payout_id
                          ORDER BY items.open > 0, items.credited_at,
                                   COALESCE(items.commission_id, items.adjustment_id)
                          ROWS UNBOUNDED PRECEDING)) AS queue
    WHERE queue.upto - queue.open < queue.amount";
const LINES_UNEQUAL: &str = "
    WITH asked(payout_id, amount) AS MATERIALIZED ({rows})
    SELECT asked.payout_id FROM asked
    LEFT JOIN payout_lines l ON l.org_id = $1 AND l.payout_id = asked.payout_id
    GROUP BY asked.payout_id, asked.amount
    HAVING COALESCE(SUM(l.amount_minor), 0) <> asked.amount";

const PAYOUT_APPROVED: &str = "
    UPDATE payouts SET approved_by = $3, approved_at = $4 WHERE org_id = $1 AND payout_id = $2";

const APPROVAL_LIMIT: &str = "
    UPDATE program_currencies SET approval_minor = $4
    WHERE org_id = $1 AND program_id = $2 AND currency = $3";

const PAYOUT_NOTE: &str = "
    UPDATE payouts SET note = $3 WHERE org_id = $1 AND payout_id = $2";

const RETRIED_AS: &str = "SELECT payout_id FROM payouts WHERE org_id = $1 AND retry_of = $2";

const PAYOUTS_MOVE: &str = "
    WITH moved(payout_id, code, message) AS MATERIALIZED ({rows})
    UPDATE payouts
    SET status = $2, version = version + 1, updated_at = $3, failure_code = moved.code,
        failure_message = moved.message, waiting_for = NULL
    FROM moved
    WHERE payouts.org_id = $1 AND payouts.payout_id = moved.payout_id
      AND payouts.status IN ($4, $5)
    RETURNING payouts.payout_id, payouts.affiliate_id, payouts.currency, payouts.amount_minor, payouts.method_kind,
              payouts.version";

/// A payout to be inserted; it starts `pending`.
#[derive(Debug, Clone)]
pub struct NewPayout {
    pub payout_id: PayoutId,
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub currency: Currency,
    /// Minor units, above 0.
    pub amount_minor: i64,
    pub method_id: MethodId,
    pub method_kind: MethodKind,
    /// Pinned: what is on file later does not change where this payout goes.
    pub destination_id: DestinationId,
    pub origin: PayoutOrigin,
    /// Why it waits until somebody approves it; empty if it need not.
    pub approval: Vec<ApprovalReason>,
    /// The period that an automatic payout belongs to.
    pub period: Option<Period>,
    pub run_id: Option<RunId>,
    pub retry_of: Option<PayoutId>,
}

impl NewPayout {
    /// Why it waits for a person, as it is stored: words between commas.
    pub fn approval_words(&self) -> Option<String> {
        let words: Vec<_> = self.approval.iter().map(|reason| reason.as_str()).collect();
        Some(words.join(",")).filter(|words| !words.is_empty())
    }
}

/// A change of status, with why.
#[derive(Debug, Clone)]
pub struct PayoutMove {
    pub payout_id: PayoutId,
    /// The provider's code, or the gate's word.
    pub code: Option<String>,
    pub reason: String,
}

/// A payout whose status changed just now.
#[derive(Debug, Clone, FromRow)]
pub struct MovedPayout {
    pub payout_id: PayoutId,
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub amount_minor: i64,
    method_kind: MethodKind,
    version: i64,
}

impl Tx {
    /// Inserts payouts as `pending`, each with the first event of its history.
    ///
    /// # Errors
    /// A duplicate if an automatic payout of the same wallet and period exists.
    pub async fn payouts_insert(
        &mut self,
        org: &OrgId,
        payouts: &[NewPayout],
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let row = |p: &NewPayout| {
            vec![
                org.into(),
                (&p.payout_id).into(),
                (&p.affiliate_id).into(),
                (&p.program_id).into(),
                (&p.currency).into(),
                p.amount_minor.into(),
                (&p.method_id).into(),
                (&p.method_kind).into(),
                (&p.destination_id).into(),
                (&PayoutStatus::Pending).into(),
                1.into(),
                (&p.origin).into(),
                p.period.as_ref().map(|period| period.key.clone()).into(),
                p.run_id.as_ref().into(),
                p.retry_of.as_ref().into(),
                actor.as_str().into(),
                now.into(),
                now.into(),
                i64::from(!p.approval.is_empty()).into(),
                p.approval_words().into(),
                Value::Time(p.period.as_ref().map(|period| period.from)),
                Value::Time(p.period.as_ref().map(|period| period.until)),
            ]
        };
        sql(PAYOUT_INSERT).run_with(self, &payouts.iter().map(row).collect::<Vec<_>>()).await?;
        let row = |p: &NewPayout| {
            event_row(org, (&p.payout_id, 1), PayoutStatus::Pending, actor, "requested", now)
        };
        sql(EVENT_INSERT).run_with(self, &payouts.iter().map(row).collect::<Vec<_>>()).await?;
        self.passed.extend(payouts.iter().map(|p| Passed {
            kind: p.method_kind,
            status: PayoutStatus::Pending,
            amount: Money::new(p.amount_minor, p.currency),
        }));
        Ok(())
    }

    /// Writes what the request's note says beside a payout.
    pub async fn payout_note(
        &mut self,
        org: &OrgId,
        payout: &PayoutId,
        note: &str,
    ) -> Result<(), StoreError> {
        sql(PAYOUT_NOTE).bind(org).bind(payout).bind(note).run(self).await?;
        Ok(())
    }

    /// The payout that took the place of `payout`, if there is one. Asked with the wallet locked,
    /// so that of two retries at once the second sees the first.
    pub async fn retried_as(
        &mut self,
        org: &OrgId,
        payout: &PayoutId,
    ) -> Result<Option<PayoutId>, StoreError> {
        let row: Option<(PayoutId,)> = sql(RETRIED_AS).bind(org).bind(payout).maybe(self).await?;
        Ok(row.map(|(payout_id,)| payout_id))
    }

    /// Gives payouts their lines: every debt of the wallet, and what is open beyond, first credited
    /// first. At most one payout of a wallet at a time.
    ///
    /// # Errors
    /// [`StoreError::LinesUnequal`] if what is open does not sum up to a payout's amount.
    pub async fn lines_insert(
        &mut self,
        org: &OrgId,
        payouts: &[NewPayout],
    ) -> Result<(), StoreError> {
        let row = |p: &NewPayout| {
            vec![
                (&p.payout_id).into(),
                (&p.affiliate_id).into(),
                (&p.currency).into(),
                p.amount_minor.into(),
            ]
        };
        let rows: Vec<_> = payouts.iter().map(row).collect();
        sql(LINES_INSERT).bind(org).run_with(self, &rows).await?;
        let row = |p: &NewPayout| vec![(&p.payout_id).into(), p.amount_minor.into()];
        let rows: Vec<_> = payouts.iter().map(row).collect();
        let unequal: Vec<(PayoutId,)> = sql(LINES_UNEQUAL).bind(org).all_with(self, &rows).await?;
        match unequal.into_iter().next() {
            None => Ok(()),
            Some((payout_id,)) => {
                Err(StoreError::LinesUnequal { payout_id: payout_id.to_string() })
            }
        }
    }

    /// Says above which amount payouts of a program need an approval; whether there is such a
    /// program with that currency.
    pub async fn approval_limit(
        &mut self,
        org: &OrgId,
        program: &ProgramId,
        currency: Currency,
        limit_minor: Option<i64>,
    ) -> Result<bool, StoreError> {
        let update = sql(APPROVAL_LIMIT).bind(org).bind(program).bind(&currency);
        Ok(update.bind(Value::Int(limit_minor)).run(self).await? == 1)
    }

    /// Writes down who approved a payout, beside its history.
    pub async fn payout_approved(
        &mut self,
        org: &OrgId,
        payout: &PayoutId,
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let update = sql(PAYOUT_APPROVED).bind(org).bind(payout).bind(actor.as_str()).bind(now);
        update.run(self).await?;
        Ok(())
    }

    /// Moves payouts to the status `to`, from whichever status may become it, and writes their
    /// history. Payouts that stand elsewhere are left alone: compare what comes back.
    pub async fn payouts_move(
        &mut self,
        org: &OrgId,
        to: PayoutStatus,
        moves: &[PayoutMove],
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<Vec<MovedPayout>, StoreError> {
        let from: Vec<_> = PayoutStatus::ALL.iter().filter(|from| from.may_become(to)).collect();
        let (first, last) = match from.as_slice() {
            [one] => (*one, *one),
            [first, last] => (*first, *last),
            _ => unreachable!("one or two statuses may become {to}"),
        };
        let fails =
            matches!(to, PayoutStatus::Failed | PayoutStatus::Cancelled | PayoutStatus::Returned);
        let row = |m: &PayoutMove| {
            let message = fails.then(|| m.reason.clone());
            vec![(&m.payout_id).into(), m.code.clone().into(), message.into()]
        };
        let rows: Vec<_> = moves.iter().map(row).collect();
        let update = sql(PAYOUTS_MOVE).bind(org).bind(&to).bind(now).bind(first).bind(last);
        let moved: Vec<MovedPayout> = update.all_with(self, &rows).await?;
        let reasons: std::collections::HashMap<_, _> =
            moves.iter().map(|m| (&m.payout_id, m.reason.as_str())).collect();
        let row = |p: &MovedPayout| {
            let reason = reasons.get(&p.payout_id).copied().unwrap_or_default();
            event_row(org, (&p.payout_id, p.version), to, actor, reason, now)
        };
        let rows: Vec<_> = moved.iter().map(row).collect();
        sql(EVENT_INSERT).run_with(self, &rows).await?;
        self.passed.extend(moved.iter().map(|p| Passed {
            kind: p.method_kind,
            status: to,
            amount: Money::new(p.amount_minor, p.currency),
        }));
        Ok(moved)
    }
}

fn event_row(
    org: &OrgId,
    (payout, version): (&PayoutId, i64),
    status: PayoutStatus,
    actor: &Actor,
    reason: &str,
    now: DateTime<Utc>,
) -> Vec<Value> {
    vec![
        org.into(),
        payout.into(),
        version.into(),
        (&status).into(),
        actor.as_str().into(),
        reason.into(),
        now.into(),
    ]
}
