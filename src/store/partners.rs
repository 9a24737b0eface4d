//! What partners see of themselves: their enrolments, balances and earnings.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{
    AffiliateId, CommissionId, CommissionStatus, Currency, OrgId, PartnerId, PayoutId, ProgramId,
};

const ENROLMENTS_OF_PARTNER: &str = "
    SELECT affiliate_id, program_id, code, status FROM affiliates
    WHERE org_id = $1 AND partner_id = $2 ORDER BY affiliate_id";
const TERMS_OF_PARTNER: &str = "
    SELECT DISTINCT pc.program_id, pc.currency, pc.min_payout_minor, pc.approval_minor, pc.place
    FROM affiliates a
    JOIN program_currencies pc ON pc.org_id = a.org_id AND pc.program_id = a.program_id
    WHERE a.org_id = $1 AND a.partner_id = $2
    ORDER BY pc.program_id, pc.place, pc.currency";
const BALANCES_OF_PARTNER: &str = "
    SELECT w.affiliate_id, w.currency, w.held_minor, w.available_minor, w.in_flight_minor,
           w.paid_minor
    FROM affiliates a
    JOIN wallets w ON w.org_id = a.org_id AND w.affiliate_id = a.affiliate_id
    WHERE a.org_id = $1 AND a.partner_id = $2 ORDER BY w.affiliate_id, w.currency";
const REFERRALS_OF_PARTNER: &str = "
    SELECT a.affiliate_id, COUNT(*) AS referrals,
           CAST(SUM(CASE WHEN c.status IN ('rejected', 'reversed') THEN 0 ELSE 1 END) AS BIGINT)
             AS conversions
    FROM affiliates a
    JOIN commissions c ON c.org_id = a.org_id AND c.affiliate_id = a.affiliate_id
    WHERE a.org_id = $1 AND a.partner_id = $2 GROUP BY a.affiliate_id";
const OWNER: &str =
    "SELECT partner_id, program_id FROM affiliates WHERE org_id = $1 AND affiliate_id = $2";

macro_rules! earnings {
    ($($tail:literal),+) => { concat!("
    SELECT c.commission_id, c.affiliate_id, c.program_id, c.currency, c.order_id,
           c.order_amount_minor, c.amount_minor, c.reversed_minor, c.paid_minor, c.status,
           c.hold_until, c.converted_at, c.credited_at
    FROM commissions c ", $($tail),+) };
}
// Newest first. The key is (time, id): ids are brought by others and have no order in time.
const EARNINGS_OF_PARTNER: &str = earnings!(
    "WHERE c.org_id = $1
       AND c.affiliate_id IN (SELECT a.affiliate_id FROM affiliates a
                              WHERE a.org_id = $1 AND a.partner_id = $2
                                AND (a.program_id = $3 OR $3 = ''))
       AND (c.converted_at, c.commission_id) < ($4, $5)
     ORDER BY c.converted_at DESC, c.commission_id DESC LIMIT $6"
);
const EARNINGS_OF_AFFILIATE: &str = earnings!(
    "WHERE c.org_id = $1 AND c.affiliate_id = $2 AND (c.program_id = $3 OR $3 = '')
       AND (c.converted_at, c.commission_id) < ($4, $5)
     ORDER BY c.converted_at DESC, c.commission_id DESC LIMIT $6"
);
const COMMISSIONS_BY_ID: &str = earnings!(
    "WHERE c.org_id = $1 AND c.commission_id > $2 AND (c.program_id = $3 OR $3 = '')
     ORDER BY c.commission_id LIMIT $4"
);
const COMMISSION: &str = earnings!("WHERE c.org_id = $1 AND c.commission_id = $2");

// Those that paid it or may still: what failed, was cancelled or came back pays nothing.
const PAYING: &str = "
    WITH wanted(commission_id) AS MATERIALIZED ({rows})
    SELECT DISTINCT l.commission_id, l.payout_id
    FROM wanted CROSS JOIN payout_lines l
    JOIN payouts p ON p.org_id = l.org_id AND p.payout_id = l.payout_id
    WHERE l.org_id = $1 AND l.commission_id = wanted.commission_id
      AND p.status IN ('pending', 'approved', 'processing', 'completed')
    ORDER BY l.commission_id, l.payout_id";

/// One of a partner's enrolments.
#[derive(Debug, Clone, FromRow)]
pub struct PartnerEnrolment {
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub code: String,
    pub status: crate::domain::AffiliateStatus,
}

/// What a program says of one of its currencies.
#[derive(Debug, Clone, FromRow)]
pub struct TermsRow {
    pub program_id: ProgramId,
    pub currency: Currency,
    pub min_payout_minor: i64,
    /// A payout of more than this waits for an approval.
    pub approval_minor: Option<i64>,
    /// 0 for the program's first currency.
    pub place: i64,
}

/// What a wallet holds.
#[derive(Debug, Clone, FromRow)]
pub struct BalanceRow {
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub held_minor: i64,
    pub available_minor: i64,
    pub in_flight_minor: i64,
    pub paid_minor: i64,
}

/// How many referrals an affiliate brought, and how many of their orders stand.
#[derive(Debug, Clone, FromRow)]
pub struct ReferralCount {
    pub affiliate_id: AffiliateId,
    pub referrals: i64,
    pub conversions: i64,
}

/// A commission as people see it.
#[derive(Debug, Clone, FromRow)]
pub struct EarningRow {
    pub commission_id: CommissionId,
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub currency: Currency,
    pub order_id: String,
    pub order_amount_minor: i64,
    pub amount_minor: i64,
    pub reversed_minor: i64,
    pub paid_minor: i64,
    pub status: CommissionStatus,
    pub hold_until: DateTime<Utc>,
    pub converted_at: DateTime<Utc>,
    pub credited_at: Option<DateTime<Utc>>,
}

/// The last commission of the page before; the page begins after it.
#[derive(Debug, Clone)]
pub struct EarningKey {
    pub converted_at: DateTime<Utc>,
    pub commission_id: String,
}

impl Store {
    /// A partner's enrolments, by affiliate.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn enrolments_of(
        &self,
        org: &OrgId,
        partner: &PartnerId,
    ) -> Result<Vec<PartnerEnrolment>, StoreError> {
        sql(ENROLMENTS_OF_PARTNER).bind(org).bind(partner).read_all(&self.pools).await
    }

    /// The currencies of a partner's programs, each program's first one first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn terms_of(
        &self,
        org: &OrgId,
        partner: &PartnerId,
    ) -> Result<Vec<TermsRow>, StoreError> {
        sql(TERMS_OF_PARTNER).bind(org).bind(partner).read_all(&self.pools).await
    }

    /// What a partner's wallets hold.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn balances_of(
        &self,
        org: &OrgId,
        partner: &PartnerId,
    ) -> Result<Vec<BalanceRow>, StoreError> {
        sql(BALANCES_OF_PARTNER).bind(org).bind(partner).read_all(&self.pools).await
    }

    /// How many referrals a partner's enrolments brought; those without any are left out.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn referrals_of(
        &self,
        org: &OrgId,
        partner: &PartnerId,
    ) -> Result<Vec<ReferralCount>, StoreError> {
        sql(REFERRALS_OF_PARTNER).bind(org).bind(partner).read_all(&self.pools).await
    }

    /// A page of a partner's earnings after `after`, newest first, in one program or in all (`""`).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn earnings_of(
        &self,
        org: &OrgId,
        partner: &PartnerId,
        program: &str,
        after: &EarningKey,
        limit: i64,
    ) -> Result<Vec<EarningRow>, StoreError> {
        let query = sql(EARNINGS_OF_PARTNER).bind(org).bind(partner).bind(program);
        let query = query.bind(after.converted_at).bind(after.commission_id.as_str());
        query.bind(limit).read_all(&self.pools).await
    }

    /// A page of an affiliate's commissions after `after`, newest first, in one program or in all
    /// (`""`).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn earnings_of_affiliate(
        &self,
        org: &OrgId,
        affiliate: &AffiliateId,
        program: &str,
        after: &EarningKey,
        limit: i64,
    ) -> Result<Vec<EarningRow>, StoreError> {
        let query = sql(EARNINGS_OF_AFFILIATE).bind(org).bind(affiliate).bind(program);
        let query = query.bind(after.converted_at).bind(after.commission_id.as_str());
        query.bind(limit).read_all(&self.pools).await
    }

    /// A page of an org's commissions after the id `after`, by id, of one program or of all (`""`).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn commissions_by_id(
        &self,
        org: &OrgId,
        program: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<EarningRow>, StoreError> {
        let query = sql(COMMISSIONS_BY_ID).bind(org).bind(after).bind(program).bind(limit);
        query.read_all(&self.pools).await
    }

    /// One commission.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn commission(
        &self,
        org: &OrgId,
        id: &CommissionId,
    ) -> Result<Option<EarningRow>, StoreError> {
        sql(COMMISSION).bind(org).bind(id).read_maybe(&self.pools).await
    }

    /// The payouts that pay these commissions, or parts of them: (commission, payout).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn payouts_paying(
        &self,
        org: &OrgId,
        commissions: &[&CommissionId],
    ) -> Result<Vec<(CommissionId, PayoutId)>, StoreError> {
        let rows: Vec<_> = commissions.iter().map(|id| vec![Value::from(*id)]).collect();
        sql(PAYING).bind(org).read_all_with(&self.pools, &rows).await
    }
}

impl Tx {
    /// Whose enrolment an affiliate is, and in which program; `None` if there is none.
    pub async fn owner_of(
        &mut self,
        org: &OrgId,
        affiliate: &AffiliateId,
    ) -> Result<Option<(PartnerId, ProgramId)>, StoreError> {
        sql(OWNER).bind(org).bind(affiliate).maybe(self).await
    }
}
