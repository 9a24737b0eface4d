//! What people read: payouts with their story, and the summary of an org. Outside of any
//! transaction, in keyset pages.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{
    AdjustmentId, AffiliateId, CommissionId, CommissionStatus, Currency, DestinationId, MethodKind,
    OrgId, PartnerId, PayoutId, PayoutOrigin, PayoutStatus, ProgramId, Reference, TransferId,
    TransferState,
};

macro_rules! payouts {
    ($($tail:literal),+) => { concat!("
    SELECT p.payout_id, p.affiliate_id, p.program_id, p.currency, p.amount_minor, p.method_kind,
           p.status, p.origin, p.period, p.period_from, p.period_until, p.run_id, p.retry_of,
           r.payout_id AS retried_as,
           p.requested_by, p.requested_at, p.updated_at, p.waiting_for, p.note, p.failure_code,
           p.failure_message, p.requires_approval, p.approval_reasons, p.approved_by, p.approved_at,
           p.destination_id
    FROM payouts p
    LEFT JOIN payouts r ON r.org_id = p.org_id AND r.retry_of = p.payout_id ", $($tail),+) };
}
const PAYOUT: &str = payouts!("WHERE p.org_id = $1 AND p.payout_id = $2");
const PAYOUTS: &str = payouts!(
    "WHERE p.org_id = $1 AND (p.status = $2 OR $2 = '') AND (p.affiliate_id = $3 OR $3 = '')
       AND (p.payout_id > $4)
     ORDER BY p.payout_id LIMIT $5"
);
// Newest first. Who pays whom narrows it most, so each has its own text and its own index.
macro_rules! newest {
    ($of:literal) => {
        payouts!(
            "WHERE p.org_id = $1 AND (p.payout_id < $2 OR $2 = '') AND (p.status = $3 OR $3 = '')
               AND (p.program_id = $4 OR $4 = '') AND p.requested_at >= $5 AND p.requested_at < $6
               AND p.origin <> 'verification' AND ",
            $of,
            " ORDER BY p.payout_id DESC LIMIT $8"
        )
    };
}
const NEWEST: &str = newest!("(p.origin = $7 OR $7 = '')");
const NEWEST_OF_AFFILIATE: &str = newest!("p.affiliate_id = $7");
const NEWEST_OF_PARTNER: &str = newest!(
    "p.affiliate_id IN (SELECT a.affiliate_id FROM affiliates a
                        WHERE a.org_id = $1 AND a.partner_id = $7)"
);
const NEWEST_OF_BOTH: &str = newest!(
    "p.affiliate_id = $7 AND EXISTS (SELECT 1 FROM affiliates a
                        WHERE a.org_id = $1 AND a.affiliate_id = $7 AND a.partner_id = $9)"
);
const PAYOUT_OWNER: &str = "
    SELECT a.partner_id FROM payouts p
    JOIN affiliates a ON a.org_id = p.org_id AND a.affiliate_id = p.affiliate_id
    WHERE p.org_id = $1 AND p.payout_id = $2";
const LINES: &str = "
    SELECT line_no, commission_id, adjustment_id, amount_minor FROM payout_lines
    WHERE org_id = $1 AND payout_id = $2 AND line_no > $3 ORDER BY line_no LIMIT $4";
const EVENTS: &str = "
    SELECT version, status, actor, reason, occurred_at FROM payout_events
    WHERE org_id = $1 AND payout_id = $2 ORDER BY version";
const TRANSFERS: &str = "
    SELECT t.transfer_id, t.reference, t.state, t.provider_id, t.provider_status, t.problem_code,
           t.problem_message, t.note, t.created_at, t.settled_at, s.provider_batch_id,
           s.problem_code AS submission_problem_code,
           s.problem_message AS submission_problem_message, s.next_check_at, s.next_attempt_at
    FROM transfers t
    JOIN submissions s ON s.org_id = t.org_id AND s.submission_id = t.submission_id
    WHERE t.org_id = $1 AND t.payout_id = $2 ORDER BY t.transfer_id";

const COMMISSION_SUMS: &str = "
    SELECT status, currency, COUNT(*) AS commissions,
           CAST(SUM(CASE WHEN status = 'reversed' THEN amount_minor
                         ELSE amount_minor - reversed_minor END) AS BIGINT) AS amount_minor
    FROM commissions WHERE org_id = $1 GROUP BY status, currency ORDER BY status, currency";
const WALLET_SUMS: &str = "
    SELECT currency, CAST(SUM(held_minor) AS BIGINT) AS held_minor,
           CAST(SUM(available_minor) AS BIGINT) AS available_minor,
           CAST(SUM(in_flight_minor) AS BIGINT) AS in_flight_minor,
           CAST(SUM(paid_minor) AS BIGINT) AS paid_minor
    FROM wallets WHERE org_id = $1 GROUP BY currency ORDER BY currency";
const PAYOUT_SUMS: &str = "
    SELECT program_id, method_kind, status, currency, COUNT(*) AS payouts,
           CAST(SUM(amount_minor) AS BIGINT) AS amount_minor
    FROM payouts WHERE org_id = $1
    GROUP BY program_id, method_kind, status, currency
    ORDER BY program_id, method_kind, status, currency";
const OPEN_PAYOUTS: &str =
    "SELECT COUNT(*) FROM payouts WHERE status IN ('pending', 'approved', 'processing')";

/// A payout as people see it. The destination stays out: only its rail is shown.
#[derive(Debug, Clone, FromRow)]
pub struct PayoutRow {
    pub payout_id: PayoutId,
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub currency: Currency,
    pub amount_minor: i64,
    pub method_kind: MethodKind,
    pub status: PayoutStatus,
    pub origin: PayoutOrigin,
    pub period: Option<String>,
    /// The first instant of the period.
    pub period_from: Option<DateTime<Utc>>,
    /// The first instant after it.
    pub period_until: Option<DateTime<Utc>>,
    pub run_id: Option<String>,
    pub retry_of: Option<PayoutId>,
    pub retried_as: Option<PayoutId>,
    pub requested_by: String,
    pub requested_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Why it is not sent yet, where that is because of us: `awaiting_funds`, `rail_blocked`.
    pub waiting_for: Option<String>,
    /// What was written beside the request.
    pub note: Option<String>,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    /// 1 if it may not be sent before somebody approved it.
    pub requires_approval: i64,
    /// Why, as words between commas.
    pub approval_reasons: Option<String>,
    pub approved_by: Option<String>,
    pub approved_at: Option<DateTime<Utc>>,
    /// Where it goes; not shown.
    pub destination_id: DestinationId,
}

impl PayoutRow {
    /// Why it needed an approval: `above_limit`, `first_payout`, `changed_method`.
    pub fn approval_reasons(&self) -> Vec<&str> {
        self.approval_reasons.as_deref().map(|words| words.split(',').collect()).unwrap_or_default()
    }
}

/// What a payout pays: a commission, or a part of one, or an adjustment. Below 0 it nets a debt.
#[derive(Debug, Clone, FromRow)]
pub struct LineRow {
    pub line_no: i64,
    pub commission_id: Option<CommissionId>,
    pub adjustment_id: Option<AdjustmentId>,
    pub amount_minor: i64,
}

/// A status that a payout has had.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct EventRow {
    pub version: i64,
    pub status: PayoutStatus,
    pub actor: String,
    pub reason: String,
    pub occurred_at: DateTime<Utc>,
}

/// An attempt to move a payout's money, with what its submission knows.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct AttemptRow {
    pub transfer_id: TransferId,
    pub reference: Reference,
    pub state: TransferState,
    pub provider_id: Option<String>,
    pub provider_status: Option<String>,
    pub problem_code: Option<String>,
    pub problem_message: Option<String>,
    /// What changes nothing, and a person may want to know.
    pub note: Option<String>,
    pub created_at: DateTime<Utc>,
    pub settled_at: Option<DateTime<Utc>>,
    pub provider_batch_id: Option<String>,
    pub submission_problem_code: Option<String>,
    pub submission_problem_message: Option<String>,
    pub next_check_at: Option<DateTime<Utc>>,
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// Which payouts to list; empty text means any.
#[derive(Debug, Clone, Default)]
pub struct PayoutFilter {
    pub status: String,
    pub affiliate_id: String,
    /// Only payouts after this id.
    pub after: String,
    pub limit: i64,
}

/// Which payouts are shown, newest first; empty text means any.
#[derive(Debug, Clone)]
pub struct PayoutQuery {
    /// The person whose payouts alone are shown; `None`: everybody's.
    pub partner: Option<PartnerId>,
    pub affiliate_id: String,
    pub status: String,
    pub program: String,
    /// Requested at this instant or later.
    pub from: DateTime<Utc>,
    /// Requested before this instant.
    pub to: DateTime<Utc>,
    /// Only payouts before this id.
    pub before: String,
    pub limit: i64,
}

/// The commissions of an org in one status and currency; their amount without what was reversed,
/// and where all was, with it.
#[derive(Debug, Clone, FromRow)]
pub struct CommissionSum {
    pub status: CommissionStatus,
    pub currency: Currency,
    pub commissions: i64,
    pub amount_minor: i64,
}

/// The wallets of an org in one currency.
#[derive(Debug, Clone, FromRow)]
pub struct WalletSum {
    pub currency: Currency,
    pub held_minor: i64,
    pub available_minor: i64,
    pub in_flight_minor: i64,
    pub paid_minor: i64,
}

/// The payouts of an org in one program, rail, status and currency.
#[derive(Debug, Clone, FromRow)]
pub struct PayoutSum {
    pub program_id: ProgramId,
    pub method_kind: MethodKind,
    pub status: PayoutStatus,
    pub currency: Currency,
    pub payouts: i64,
    pub amount_minor: i64,
}

impl Store {
    /// One payout.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn payout(
        &self,
        org: &OrgId,
        id: &PayoutId,
    ) -> Result<Option<PayoutRow>, StoreError> {
        sql(PAYOUT).bind(org).bind(id).read_maybe(&self.pools).await
    }

    /// A page of payouts, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn payouts(
        &self,
        org: &OrgId,
        filter: &PayoutFilter,
    ) -> Result<Vec<PayoutRow>, StoreError> {
        let query = sql(PAYOUTS).bind(org).bind(filter.status.as_str());
        let query = query.bind(filter.affiliate_id.as_str()).bind(filter.after.as_str());
        query.bind(filter.limit).read_all(&self.pools).await
    }

    /// A page of payouts, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn payouts_newest(
        &self,
        org: &OrgId,
        asked: &PayoutQuery,
    ) -> Result<Vec<PayoutRow>, StoreError> {
        let affiliate = asked.affiliate_id.as_str();
        let (text, of) = match (&asked.partner, affiliate) {
            (None, "") => (NEWEST, ""),
            (None, affiliate) => (NEWEST_OF_AFFILIATE, affiliate),
            (Some(partner), "") => (NEWEST_OF_PARTNER, partner.as_str()),
            (Some(_), affiliate) => (NEWEST_OF_BOTH, affiliate),
        };
        let query = sql(text).bind(org).bind(asked.before.as_str()).bind(asked.status.as_str());
        let query = query.bind(asked.program.as_str()).bind(asked.from).bind(asked.to);
        let query = query.bind(of).bind(asked.limit);
        match &asked.partner {
            Some(partner) if !affiliate.is_empty() => query.bind(partner),
            _ => query,
        }
        .read_all(&self.pools)
        .await
    }

    /// The person behind the affiliate that a payout pays; `None` if there is no such payout.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn payout_owner(
        &self,
        org: &OrgId,
        payout: &PayoutId,
    ) -> Result<Option<PartnerId>, StoreError> {
        let row: Option<(PartnerId,)> =
            sql(PAYOUT_OWNER).bind(org).bind(payout).read_maybe(&self.pools).await?;
        Ok(row.map(|(partner,)| partner))
    }

    /// A page of a payout's lines, after line `after`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn lines(
        &self,
        org: &OrgId,
        payout: &PayoutId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<LineRow>, StoreError> {
        sql(LINES).bind(org).bind(payout).bind(after).bind(limit).read_all(&self.pools).await
    }

    /// A payout's history.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn events(
        &self,
        org: &OrgId,
        payout: &PayoutId,
    ) -> Result<Vec<EventRow>, StoreError> {
        sql(EVENTS).bind(org).bind(payout).read_all(&self.pools).await
    }

    /// The attempts to move a payout's money, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn attempts(
        &self,
        org: &OrgId,
        payout: &PayoutId,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        sql(TRANSFERS).bind(org).bind(payout).read_all(&self.pools).await
    }

    /// An org's commissions by status and currency.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn commission_sums(&self, org: &OrgId) -> Result<Vec<CommissionSum>, StoreError> {
        sql(COMMISSION_SUMS).bind(org).read_all(&self.pools).await
    }

    /// An org's wallets by currency.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn wallet_sums(&self, org: &OrgId) -> Result<Vec<WalletSum>, StoreError> {
        sql(WALLET_SUMS).bind(org).read_all(&self.pools).await
    }

    /// An org's payouts by program, rail, status and currency.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn payout_sums(&self, org: &OrgId) -> Result<Vec<PayoutSum>, StoreError> {
        sql(PAYOUT_SUMS).bind(org).read_all(&self.pools).await
    }

    /// How many payouts of all orgs are on their way.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn open_payouts(&self) -> Result<i64, StoreError> {
        let (count,): (i64,) = sql(OPEN_PAYOUTS).read_one(&self.pools).await?;
        Ok(count)
    }
}

impl Tx {
    /// One payout, as this transaction sees it.
    pub async fn payout(
        &mut self,
        org: &OrgId,
        id: &PayoutId,
    ) -> Result<Option<PayoutRow>, StoreError> {
        sql(PAYOUT).bind(org).bind(id).maybe(self).await
    }
}
