//! Programs and affiliates one by one, as staff make, change and list them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, TermsRow, Tx};
use crate::domain::{
    AffiliateId, AffiliateStatus, Currency, OrgId, PartnerId, ProgramId, ProgramStatus,
};

macro_rules! programs {
    ($($tail:literal),+) => { concat!("
    SELECT p.program_id, p.title, p.status, p.hold_days, p.auto_credit, p.auto_payout, p.timezone,
           p.created_at
    FROM programs p WHERE p.org_id = $1 ", $($tail),+) };
}
const PROGRAM: &str = programs!("AND p.program_id = $2");
const PROGRAM_LOCK: &str = programs!("AND p.program_id = $2 {lock:p}");
const PROGRAMS: &str = programs!("AND p.program_id > $2 ORDER BY p.program_id LIMIT $3");
const TERMS: &str = "
    WITH wanted(program_id) AS MATERIALIZED ({rows})
    SELECT pc.program_id, pc.currency, pc.min_payout_minor, pc.approval_minor, pc.place
    FROM wanted CROSS JOIN program_currencies pc
    WHERE pc.org_id = $1 AND pc.program_id = wanted.program_id
    ORDER BY pc.program_id, pc.place, pc.currency";
const PROGRAM_SET: &str = "
    INSERT INTO programs (org_id, program_id, title, status, hold_days, auto_credit, auto_payout,
                          created_at, timezone)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (org_id, program_id) DO UPDATE
    SET title = excluded.title, status = excluded.status, hold_days = excluded.hold_days,
        auto_credit = excluded.auto_credit, auto_payout = excluded.auto_payout,
        timezone = excluded.timezone";
const CURRENCY_SET: &str = "
    INSERT INTO program_currencies (org_id, program_id, currency, min_payout_minor, approval_minor,
                                    place)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (org_id, program_id, currency) DO UPDATE
    SET min_payout_minor = excluded.min_payout_minor, approval_minor = excluded.approval_minor";

macro_rules! affiliates {
    ($($tail:literal),+) => { concat!("
    SELECT a.affiliate_id, a.program_id, a.partner_id, a.name, a.email, a.code, a.status,
           a.created_at
    FROM affiliates a WHERE a.org_id = $1 ", $($tail),+) };
}
const AFFILIATE: &str = affiliates!("AND a.affiliate_id = $2");
const AFFILIATE_LOCK: &str = affiliates!("AND a.affiliate_id = $2 {lock:a}");
const AFFILIATES: &str = affiliates!(
    "AND a.affiliate_id > $2 AND (a.program_id = $3 OR $3 = '') AND (a.partner_id = $4 OR $4 = '')
       AND (a.status = $5 OR $5 = '')
     ORDER BY a.affiliate_id LIMIT $6"
);
const AFFILIATE_SET: &str = "
    INSERT INTO affiliates (org_id, affiliate_id, program_id, partner_id, name, email, code, status,
                            created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (org_id, affiliate_id) DO UPDATE
    SET name = excluded.name, email = excluded.email, code = excluded.code,
        status = excluded.status";

/// A program as it stands; its currencies are rows of their own.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ProgramStand {
    pub program_id: ProgramId,
    pub title: String,
    pub status: ProgramStatus,
    pub hold_days: i64,
    pub auto_credit: i64,
    pub auto_payout: i64,
    /// The zone of its periods and days; without one it is the job's.
    pub timezone: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// What a program says of one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrencyTerms {
    pub currency: Currency,
    pub min_payout_minor: i64,
    /// A payout of more than this waits for an approval.
    pub approval_minor: Option<i64>,
}

/// An enrolment as it stands.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AffiliateStand {
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub partner_id: PartnerId,
    pub name: String,
    pub email: String,
    pub code: String,
    pub status: AffiliateStatus,
    pub created_at: DateTime<Utc>,
}

/// Which affiliates to list; empty text means any.
#[derive(Debug, Clone, Default)]
pub struct AffiliateFilter {
    pub program: String,
    pub partner: String,
    pub status: String,
    /// Only affiliates after this id.
    pub after: String,
    pub limit: i64,
}

impl Store {
    /// One program.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn program(
        &self,
        org: &OrgId,
        id: &ProgramId,
    ) -> Result<Option<ProgramStand>, StoreError> {
        sql(PROGRAM).bind(org).bind(id).read_maybe(&self.pools).await
    }

    /// A page of an org's programs after the id `after`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn programs(
        &self,
        org: &OrgId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ProgramStand>, StoreError> {
        sql(PROGRAMS).bind(org).bind(after).bind(limit).read_all(&self.pools).await
    }

    /// The currencies of programs, each program's first one first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn terms(
        &self,
        org: &OrgId,
        programs: &[&ProgramId],
    ) -> Result<Vec<TermsRow>, StoreError> {
        let rows: Vec<_> = programs.iter().map(|id| vec![Value::from(*id)]).collect();
        sql(TERMS).bind(org).read_all_with(&self.pools, &rows).await
    }

    /// One affiliate.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn affiliate(
        &self,
        org: &OrgId,
        id: &AffiliateId,
    ) -> Result<Option<AffiliateStand>, StoreError> {
        sql(AFFILIATE).bind(org).bind(id).read_maybe(&self.pools).await
    }

    /// A page of an org's affiliates.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn affiliates(
        &self,
        org: &OrgId,
        filter: &AffiliateFilter,
    ) -> Result<Vec<AffiliateStand>, StoreError> {
        let query = sql(AFFILIATES).bind(org).bind(filter.after.as_str());
        let query = query.bind(filter.program.as_str()).bind(filter.partner.as_str());
        query.bind(filter.status.as_str()).bind(filter.limit).read_all(&self.pools).await
    }
}

impl Tx {
    /// One program, locked.
    pub async fn program_lock(
        &mut self,
        org: &OrgId,
        id: &ProgramId,
    ) -> Result<Option<ProgramStand>, StoreError> {
        sql(PROGRAM_LOCK).bind(org).bind(id).maybe(self).await
    }

    /// The currencies of one program, its first one first.
    pub async fn terms(
        &mut self,
        org: &OrgId,
        program: &ProgramId,
    ) -> Result<Vec<TermsRow>, StoreError> {
        sql(TERMS).bind(org).all_with(self, &[vec![Value::from(program)]]).await
    }

    /// Writes a program, new or not. Its birth stays.
    pub async fn program_set(&mut self, org: &OrgId, p: &ProgramStand) -> Result<(), StoreError> {
        let upsert = sql(PROGRAM_SET).bind(org).bind(&p.program_id).bind(p.title.as_str());
        let upsert = upsert.bind(&p.status).bind(p.hold_days).bind(p.auto_credit);
        let upsert = upsert.bind(p.auto_payout).bind(p.created_at);
        upsert.bind(p.timezone.as_deref()).run(self).await?;
        Ok(())
    }

    /// Writes what a program says of a currency. Its place stays.
    pub async fn currency_set(
        &mut self,
        org: &OrgId,
        program: &ProgramId,
        terms: &CurrencyTerms,
        place: i64,
    ) -> Result<(), StoreError> {
        let upsert = sql(CURRENCY_SET).bind(org).bind(program).bind(&terms.currency);
        let upsert = upsert.bind(terms.min_payout_minor).bind(Value::Int(terms.approval_minor));
        upsert.bind(place).run(self).await?;
        Ok(())
    }

    /// One affiliate, locked.
    pub async fn affiliate_stand(
        &mut self,
        org: &OrgId,
        id: &AffiliateId,
    ) -> Result<Option<AffiliateStand>, StoreError> {
        sql(AFFILIATE_LOCK).bind(org).bind(id).maybe(self).await
    }

    /// Writes an affiliate, new or not. Its program, person and birth stay.
    pub async fn affiliate_set(
        &mut self,
        org: &OrgId,
        a: &AffiliateStand,
    ) -> Result<(), StoreError> {
        let upsert = sql(AFFILIATE_SET).bind(org).bind(&a.affiliate_id).bind(&a.program_id);
        let upsert = upsert.bind(&a.partner_id).bind(a.name.as_str()).bind(a.email.as_str());
        upsert.bind(a.code.as_str()).bind(&a.status).bind(a.created_at).run(self).await?;
        Ok(())
    }
}
