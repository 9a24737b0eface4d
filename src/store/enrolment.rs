//! Orgs, programs, affiliates and their payout methods.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::destinations::NewDestination;
use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{
    AffiliateId, AffiliateStatus, Currency, DestinationId, MethodId, MethodKind, MethodStatus,
    NewAffiliate, NewProgram, OrgId, ProgramId, ProgramStatus,
};

const ORG_INSERT: &str =
    "INSERT INTO orgs (org_id, created_at) VALUES ($1, $2) ON CONFLICT (org_id) DO NOTHING";
const ORGS: &str = "SELECT org_id FROM orgs ORDER BY org_id";

const AFFILIATE_EXISTS: &str =
    "SELECT affiliate_id FROM affiliates WHERE org_id = $1 AND affiliate_id = $2";

const PARTNER_OF: &str =
    "SELECT partner_id FROM affiliates WHERE org_id = $1 AND affiliate_id = $2";

const PROGRAMS_WANTED: &str = "
    WITH wanted(program_id) AS MATERIALIZED ({rows})
    SELECT p.program_id, p.title, p.hold_days, p.auto_credit, p.auto_payout, p.timezone,
           pc.currency, pc.min_payout_minor
    FROM wanted
    CROSS JOIN programs p
    JOIN program_currencies pc ON pc.org_id = p.org_id AND pc.program_id = p.program_id
    WHERE p.org_id = $1 AND p.program_id = wanted.program_id
    ORDER BY p.program_id, pc.place, pc.currency";
const PROGRAM_INSERT: &str = "
    INSERT INTO programs (org_id, program_id, title, status, hold_days, auto_credit, auto_payout,
                          created_at, timezone) {rows}";
const PROGRAM_CURRENCY_INSERT: &str = "
    INSERT INTO program_currencies (org_id, program_id, currency, min_payout_minor) {rows}";

const AFFILIATES_WANTED: &str = "
    WITH wanted(affiliate_id) AS MATERIALIZED ({rows})
    SELECT a.affiliate_id, a.program_id, a.partner_id, a.name, a.email, a.code, a.status,
           m.kind AS method_kind, d.fingerprint, m.status AS method_status
    FROM wanted
    CROSS JOIN affiliates a
    LEFT JOIN payout_methods m
      ON m.org_id = a.org_id AND m.affiliate_id = a.affiliate_id AND m.is_default = 1
    LEFT JOIN destinations d ON d.org_id = m.org_id AND d.destination_id = m.destination_id
    WHERE a.org_id = $1 AND a.affiliate_id = wanted.affiliate_id";
const AFFILIATE_INSERT: &str = "
    INSERT INTO affiliates (org_id, affiliate_id, program_id, partner_id, name, email, code, status,
                            created_at) {rows}";
const METHOD_INSERT: &str = "
    INSERT INTO payout_methods (org_id, method_id, affiliate_id, kind, destination_id, status,
                                is_default, created_at) {rows}";

const ENROLMENTS: &str = "
    WITH wanted(affiliate_id, currency) AS MATERIALIZED ({rows})
    SELECT a.affiliate_id, wanted.currency, a.program_id, p.hold_days,
           CAST(CASE WHEN pc.currency IS NULL THEN 0 ELSE 1 END AS BIGINT) AS currency_enabled
    FROM wanted
    CROSS JOIN affiliates a
    JOIN programs p ON p.org_id = a.org_id AND p.program_id = a.program_id
    LEFT JOIN program_currencies pc
      ON pc.org_id = a.org_id AND pc.program_id = a.program_id AND pc.currency = wanted.currency
    WHERE a.org_id = $1 AND a.affiliate_id = wanted.affiliate_id";

/// A program as it stands, one row per enabled currency.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ProgramRow {
    pub program_id: ProgramId,
    pub title: String,
    pub hold_days: i64,
    pub auto_credit: i64,
    pub auto_payout: i64,
    pub timezone: Option<String>,
    pub currency: Currency,
    pub min_payout_minor: i64,
}

/// An affiliate as it stands, with its default method.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AffiliateRow {
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub partner_id: String,
    pub name: String,
    pub email: String,
    pub code: String,
    pub status: AffiliateStatus,
    pub method_kind: Option<MethodKind>,
    /// Of its destination: two that are the same have the same.
    pub fingerprint: Option<String>,
    pub method_status: Option<MethodStatus>,
}

/// What an accrual has to know about an affiliate: its program's rules in one currency.
#[derive(Debug, Clone, FromRow)]
pub struct EnrolmentRow {
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub program_id: ProgramId,
    pub hold_days: i64,
    pub currency_enabled: i64,
}

impl Store {
    /// Every org, by id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn orgs(&self) -> Result<Vec<OrgId>, StoreError> {
        let rows: Vec<(OrgId,)> = sql(ORGS).read_all(&self.pools).await?;
        Ok(rows.into_iter().map(|(org_id,)| org_id).collect())
    }

    /// Whether the affiliate is enrolled in the org.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn affiliate_exists(
        &self,
        org: &OrgId,
        id: &AffiliateId,
    ) -> Result<bool, StoreError> {
        let query = sql(AFFILIATE_EXISTS).bind(org).bind(id);
        let row: Option<(AffiliateId,)> = query.read_maybe(&self.pools).await?;
        Ok(row.is_some())
    }

    /// The person behind an affiliate; `None` if it is not enrolled in the org.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn partner_of(
        &self,
        org: &OrgId,
        id: &AffiliateId,
    ) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> =
            sql(PARTNER_OF).bind(org).bind(id).read_maybe(&self.pools).await?;
        Ok(row.map(|(partner_id,)| partner_id))
    }
}

impl Tx {
    /// Makes sure that the org exists.
    pub async fn org_ensure(&mut self, org: &OrgId, now: DateTime<Utc>) -> Result<(), StoreError> {
        sql(ORG_INSERT).bind(org).bind(now).run(self).await?;
        Ok(())
    }

    /// Those of the programs `ids` that exist.
    pub async fn programs_wanted(
        &mut self,
        org: &OrgId,
        ids: &[&ProgramId],
    ) -> Result<Vec<ProgramRow>, StoreError> {
        let rows: Vec<_> = ids.iter().map(|id| vec![Value::from(*id)]).collect();
        sql(PROGRAMS_WANTED).bind(org).all_with(self, &rows).await
    }

    /// Inserts programs, each with its one currency, as active.
    pub async fn programs_insert(
        &mut self,
        org: &OrgId,
        programs: &[&NewProgram],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let row = |p: &&NewProgram| {
            vec![
                org.into(),
                (&p.program_id).into(),
                p.title.as_str().into(),
                (&ProgramStatus::Active).into(),
                p.hold_days.into(),
                p.auto_credit.into(),
                p.auto_payout.into(),
                now.into(),
                p.timezone.as_deref().into(),
            ]
        };
        sql(PROGRAM_INSERT).run_with(self, &programs.iter().map(row).collect::<Vec<_>>()).await?;
        let row = |p: &&NewProgram| {
            let minimum = p.min_payout;
            vec![
                org.into(),
                (&p.program_id).into(),
                (&minimum.currency).into(),
                minimum.minor.into(),
            ]
        };
        let rows: Vec<_> = programs.iter().map(row).collect();
        sql(PROGRAM_CURRENCY_INSERT).run_with(self, &rows).await?;
        Ok(())
    }

    /// Those of the affiliates `ids` that exist, with their default methods.
    pub async fn affiliates_wanted(
        &mut self,
        org: &OrgId,
        ids: &[&AffiliateId],
    ) -> Result<Vec<AffiliateRow>, StoreError> {
        let rows: Vec<_> = ids.iter().map(|id| vec![Value::from(*id)]).collect();
        sql(AFFILIATES_WANTED).bind(org).all_with(self, &rows).await
    }

    /// Inserts affiliates; the method of each, under the ids given with it, becomes its default.
    pub async fn affiliates_insert(
        &mut self,
        org: &OrgId,
        affiliates: &[(&NewAffiliate, MethodId, DestinationId)],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let row = |(a, ..): &(&NewAffiliate, MethodId, DestinationId)| {
            vec![
                org.into(),
                (&a.affiliate_id).into(),
                (&a.program_id).into(),
                a.partner_id.as_str().into(),
                a.name.as_str().into(),
                a.email.as_str().into(),
                a.code.as_str().into(),
                (&a.status).into(),
                now.into(),
            ]
        };
        let rows: Vec<_> = affiliates.iter().map(row).collect();
        sql(AFFILIATE_INSERT).run_with(self, &rows).await?;
        let new = |(a, _, id): &(&NewAffiliate, MethodId, DestinationId)| {
            let destination = a.method.as_ref()?.destination.clone();
            Some(NewDestination { destination_id: id.clone(), destination })
        };
        let destinations: Vec<_> = affiliates.iter().filter_map(new).collect();
        self.destinations_insert(org, &destinations, now).await?;
        let row = |(a, method_id, destination_id): &(&NewAffiliate, MethodId, DestinationId)| {
            let method = a.method.as_ref()?;
            Some(vec![
                org.into(),
                method_id.into(),
                (&a.affiliate_id).into(),
                (&method.destination.kind()).into(),
                destination_id.into(),
                (&method.status).into(),
                true.into(),
                now.into(),
            ])
        };
        let rows: Vec<_> = affiliates.iter().filter_map(row).collect();
        sql(METHOD_INSERT).run_with(self, &rows).await?;
        Ok(())
    }

    /// The enrolments behind (affiliate, currency) pairs; unknown affiliates are left out.
    pub async fn enrolments(
        &mut self,
        org: &OrgId,
        pairs: &[(&AffiliateId, Currency)],
    ) -> Result<Vec<EnrolmentRow>, StoreError> {
        let rows: Vec<_> = pairs.iter().map(|(id, c)| vec![(*id).into(), c.into()]).collect();
        sql(ENROLMENTS).bind(org).all_with(self, &rows).await
    }
}
