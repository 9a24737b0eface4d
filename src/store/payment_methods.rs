//! Payout methods as their owners see them: brought in, changed, shown. Whoever changes one holds
//! its affiliate's row, so that two changes of one affiliate's methods wait for one another.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::destinations::SealedDestination;
use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{
    AffiliateId, AffiliateStatus, Destination, DestinationId, MethodId, MethodKind, MethodStatus,
    OrgId, VerificationKind,
};

macro_rules! methods {
    ($($tail:literal),+) => { concat!("
    SELECT m.method_id, m.affiliate_id, a.partner_id, m.label, m.is_default, m.status,
           m.status_code, m.status_reason, m.usable_from, m.verified_at, m.verified_by,
           m.duplicate_of, m.created_at, m.kind AS rail, m.destination_id, d.kind, d.sealed,
           d.key_id,
           v.kind AS proving, v.expires_at AS proving_until, v.tries_left
    FROM payout_methods m
    JOIN affiliates a ON a.org_id = m.org_id AND a.affiliate_id = m.affiliate_id
    LEFT JOIN destinations d ON d.org_id = m.org_id AND d.destination_id = m.destination_id
    LEFT JOIN method_verifications v
      ON v.org_id = m.org_id AND v.method_id = m.method_id AND v.status = 'open'
    ", $($tail),+) };
}
const METHODS_OF_ORG: &str =
    methods!("WHERE m.org_id = $1 AND m.method_id > $2 ORDER BY m.method_id LIMIT $3");
const METHODS_OF_AFFILIATE: &str = methods!(
    "WHERE m.org_id = $1 AND m.affiliate_id = $4 AND m.method_id > $2
     ORDER BY m.method_id LIMIT $3"
);
const METHODS_OF_PARTNER: &str = methods!(
    "WHERE m.org_id = $1 AND a.partner_id = $4 AND m.method_id > $2
     ORDER BY m.method_id LIMIT $3"
);
const METHOD: &str = methods!("WHERE m.org_id = $1 AND m.method_id = $2");
const METHOD_OF_AFFILIATE: &str =
    methods!("WHERE m.org_id = $1 AND m.affiliate_id = $2 AND m.is_default = 1");

const AFFILIATES_OF_PARTNER: &str = "
    SELECT affiliate_id FROM affiliates WHERE org_id = $1 AND partner_id = $2
    ORDER BY affiliate_id LIMIT 2";
const PARTNER_OF: &str = "
    SELECT affiliate_id, partner_id, status FROM affiliates
    WHERE org_id = $1 AND affiliate_id = $2";
const AFFILIATE_LOCK: &str = "
    SELECT a.affiliate_id, a.partner_id, a.status FROM affiliates a
    WHERE a.org_id = $1 AND a.affiliate_id = $2 {lock:a}";
const METHOD_LOCK: &str = "
    SELECT m.method_id, m.affiliate_id, m.kind, m.destination_id, m.status, m.is_default
    FROM payout_methods m
    JOIN affiliates a ON a.org_id = m.org_id AND a.affiliate_id = m.affiliate_id
    WHERE m.org_id = $1 AND m.method_id = $2 {lock:a}";
// A disabled one is no default to anybody.
const METHODS_HELD: &str = "
    SELECT COUNT(*) AS ever,
           CAST(COALESCE(SUM(CASE WHEN status <> 'disabled' THEN 1 ELSE 0 END), 0) AS BIGINT) AS live,
           CAST(COALESCE(SUM(is_default), 0) AS BIGINT) AS defaults
    FROM payout_methods WHERE org_id = $1 AND affiliate_id = $2";
const METHOD_SAME: &str = "
    SELECT m.method_id FROM payout_methods m
    JOIN destinations d ON d.org_id = m.org_id AND d.destination_id = m.destination_id
    WHERE m.org_id = $1 AND m.affiliate_id = $2 AND m.kind = $3 AND d.fingerprint = $4
      AND m.status <> 'disabled'
    ORDER BY m.method_id LIMIT 1";
const METHODS_DEMOTE: &str = "
    UPDATE payout_methods SET is_default = 0
    WHERE org_id = $1 AND affiliate_id = $2 AND is_default = 1";
const METHOD_PROMOTE: &str = "
    UPDATE payout_methods SET is_default = 1 WHERE org_id = $1 AND method_id = $2";
const METHOD_INSERT: &str = "
    INSERT INTO payout_methods (org_id, method_id, affiliate_id, kind, destination_id, status,
                                is_default, created_at, label, cools)
    VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7, $8, $9)";
const METHOD_LABEL: &str =
    "UPDATE payout_methods SET label = $3 WHERE org_id = $1 AND method_id = $2";
const METHOD_REDIRECT: &str = "
    UPDATE payout_methods
    SET destination_id = $3, status = 'pending', status_code = NULL, status_reason = NULL,
        cools = 1, usable_from = NULL, verified_at = NULL, verified_by = NULL, duplicate_of = NULL
    WHERE org_id = $1 AND method_id = $2";
// It cools off once for each change, from when it was proven.
const METHOD_VERIFIED: &str = "
    UPDATE payout_methods
    SET status = 'verified', status_code = NULL, status_reason = NULL, verified_at = $4,
        verified_by = $3, usable_from = CASE WHEN cools = 1 THEN $5 ELSE usable_from END, cools = 0
    WHERE org_id = $1 AND method_id = $2";
const METHOD_UNVERIFIED: &str = "
    UPDATE payout_methods SET status = $3, status_code = $4, status_reason = $5,
           is_default = CASE WHEN $3 = 'disabled' THEN 0 ELSE is_default END
    WHERE org_id = $1 AND method_id = $2";
// Of other people: one person's enrolments may share an account.
const ACCOUNT_TWIN: &str = "
    SELECT m.method_id, m.affiliate_id
    FROM destinations d
    JOIN destinations o ON o.org_id = d.org_id AND o.blind_index = d.blind_index
    JOIN payout_methods m ON m.org_id = o.org_id AND m.destination_id = o.destination_id
    JOIN affiliates a ON a.org_id = m.org_id AND a.affiliate_id = m.affiliate_id
    WHERE d.org_id = $1 AND d.destination_id = $2 AND a.partner_id <> $3
      AND m.status <> 'disabled'
    ORDER BY m.method_id LIMIT 1";
const METHOD_TWIN: &str =
    "UPDATE payout_methods SET duplicate_of = $3 WHERE org_id = $1 AND method_id = $2";
const PAYOUTS_WAITING: &str = "
    SELECT payout_id FROM payouts
    WHERE org_id = $1 AND method_id = $2 AND status IN ('pending', 'approved')
    ORDER BY payout_id";

/// Whose methods to list.
#[derive(Debug, Clone)]
pub enum MethodsOf {
    Org,
    Affiliate(AffiliateId),
    /// The person behind one or several enrolments.
    Partner(String),
}

#[derive(Debug, FromRow)]
struct MethodRow {
    method_id: MethodId,
    affiliate_id: AffiliateId,
    partner_id: String,
    label: String,
    is_default: i64,
    status: MethodStatus,
    status_code: Option<String>,
    status_reason: Option<String>,
    usable_from: Option<DateTime<Utc>>,
    verified_at: Option<DateTime<Utc>>,
    verified_by: Option<VerificationKind>,
    duplicate_of: Option<MethodId>,
    created_at: DateTime<Utc>,
    rail: MethodKind,
    #[sqlx(flatten)]
    destination: SealedDestination,
    proving: Option<VerificationKind>,
    proving_until: Option<DateTime<Utc>>,
    tries_left: Option<i64>,
}

/// A method as it stands, opened: for whoever owns it, and never as it is for anybody's eyes.
#[derive(Debug, Clone)]
pub struct PaymentMethod {
    pub method_id: MethodId,
    pub affiliate_id: AffiliateId,
    pub partner_id: String,
    pub label: String,
    pub is_default: bool,
    pub status: MethodStatus,
    /// Why it has this status, where somebody said so.
    pub status_code: Option<String>,
    pub status_reason: Option<String>,
    /// From when on it may be paid; `None` if it need not cool off.
    pub usable_from: Option<DateTime<Utc>>,
    pub verified_at: Option<DateTime<Utc>>,
    pub verified_by: Option<VerificationKind>,
    /// A method of somebody else that goes to the same account.
    pub duplicate_of: Option<MethodId>,
    pub created_at: DateTime<Utc>,
    pub kind: MethodKind,
    pub destination_id: DestinationId,
    /// Where it goes, if that can be read.
    pub destination: Option<Destination>,
    /// The verification under way.
    pub proving: Option<Proving>,
}

/// A verification under way, as its owner may see it.
#[derive(Debug, Clone, Copy)]
pub struct Proving {
    pub kind: VerificationKind,
    pub until: DateTime<Utc>,
    pub tries_left: i64,
}

/// An affiliate whose methods are about to change.
#[derive(Debug, Clone, FromRow)]
pub struct MethodOwner {
    pub affiliate_id: AffiliateId,
    pub partner_id: String,
    pub status: AffiliateStatus,
}

/// A method about to change, with its affiliate's row held.
#[derive(Debug, Clone, FromRow)]
pub struct HeldMethod {
    pub method_id: MethodId,
    pub affiliate_id: AffiliateId,
    pub kind: MethodKind,
    pub destination_id: DestinationId,
    pub status: MethodStatus,
    pub is_default: i64,
}

/// How many methods an affiliate has.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct MethodsHeld {
    /// Disabled ones too.
    pub ever: i64,
    pub live: i64,
    /// 0 or 1.
    pub defaults: i64,
}

/// A method to be inserted, `pending`.
#[derive(Debug)]
pub struct NewPaymentMethod<'a> {
    pub method_id: &'a MethodId,
    pub affiliate_id: &'a AffiliateId,
    pub kind: MethodKind,
    pub destination_id: &'a DestinationId,
    pub label: &'a str,
    pub is_default: bool,
    /// Whether it cools off once it is verified.
    pub cools: bool,
}

impl Store {
    /// A page of methods after `after`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], or of the vault.
    pub async fn methods(
        &self,
        org: &OrgId,
        of: &MethodsOf,
        after: &str,
        limit: i64,
    ) -> Result<Vec<PaymentMethod>, StoreError> {
        let query = match of {
            MethodsOf::Org => sql(METHODS_OF_ORG).bind(org).bind(after).bind(limit),
            MethodsOf::Affiliate(id) => {
                sql(METHODS_OF_AFFILIATE).bind(org).bind(after).bind(limit).bind(id)
            }
            MethodsOf::Partner(id) => {
                sql(METHODS_OF_PARTNER).bind(org).bind(after).bind(limit).bind(id.as_str())
            }
        };
        let rows: Vec<MethodRow> = query.read_all(&self.pools).await?;
        self.open_methods(org, rows).await
    }

    /// One method, if there is one.
    ///
    /// # Errors
    /// As [`Store::methods`].
    pub async fn method(
        &self,
        org: &OrgId,
        id: &MethodId,
    ) -> Result<Option<PaymentMethod>, StoreError> {
        let rows: Vec<MethodRow> = sql(METHOD).bind(org).bind(id).read_all(&self.pools).await?;
        Ok(self.open_methods(org, rows).await?.pop())
    }

    /// The method that an affiliate is paid by, if there is one.
    ///
    /// # Errors
    /// As [`Store::methods`].
    pub async fn method_of(
        &self,
        org: &OrgId,
        affiliate: &AffiliateId,
    ) -> Result<Option<PaymentMethod>, StoreError> {
        let query = sql(METHOD_OF_AFFILIATE).bind(org).bind(affiliate);
        let rows: Vec<MethodRow> = query.read_all(&self.pools).await?;
        Ok(self.open_methods(org, rows).await?.pop())
    }

    async fn open_methods(
        &self,
        org: &OrgId,
        rows: Vec<MethodRow>,
    ) -> Result<Vec<PaymentMethod>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.vault_of(org).await?;
        let open = |row: MethodRow| {
            let proving = row.proving.zip(row.proving_until).zip(row.tries_left);
            Ok(PaymentMethod {
                destination: row.destination.read(&keys)?,
                kind: row.rail,
                destination_id: row.destination.id().clone(),
                method_id: row.method_id,
                affiliate_id: row.affiliate_id,
                partner_id: row.partner_id,
                label: row.label,
                is_default: row.is_default == 1,
                status: row.status,
                status_code: row.status_code,
                status_reason: row.status_reason,
                usable_from: row.usable_from,
                verified_at: row.verified_at,
                verified_by: row.verified_by,
                duplicate_of: row.duplicate_of,
                created_at: row.created_at,
                proving: proving.map(|((kind, until), tries_left)| Proving {
                    kind,
                    until,
                    tries_left,
                }),
            })
        };
        rows.into_iter().map(open).collect()
    }

    /// A partner's enrolments, at most two of them: enough to know whether there is one alone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn affiliates_of_partner(
        &self,
        org: &OrgId,
        partner: &str,
    ) -> Result<Vec<AffiliateId>, StoreError> {
        let query = sql(AFFILIATES_OF_PARTNER).bind(org).bind(partner);
        let rows: Vec<(AffiliateId,)> = query.read_all(&self.pools).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Who is behind an affiliate, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn method_owner(
        &self,
        org: &OrgId,
        affiliate: &AffiliateId,
    ) -> Result<Option<MethodOwner>, StoreError> {
        sql(PARTNER_OF).bind(org).bind(affiliate).read_maybe(&self.pools).await
    }
}

impl Tx {
    /// Takes hold of an affiliate, whose methods are about to change.
    pub async fn affiliate_lock(
        &mut self,
        org: &OrgId,
        affiliate: &AffiliateId,
    ) -> Result<Option<MethodOwner>, StoreError> {
        sql(AFFILIATE_LOCK).bind(org).bind(affiliate).maybe(self).await
    }

    /// Takes hold of a method, by its affiliate's row.
    pub async fn method_lock(
        &mut self,
        org: &OrgId,
        method: &MethodId,
    ) -> Result<Option<HeldMethod>, StoreError> {
        sql(METHOD_LOCK).bind(org).bind(method).maybe(self).await
    }

    /// How many methods an affiliate has.
    pub async fn methods_held(
        &mut self,
        org: &OrgId,
        affiliate: &AffiliateId,
    ) -> Result<MethodsHeld, StoreError> {
        let row = sql(METHODS_HELD).bind(org).bind(affiliate).maybe(self).await?;
        row.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    /// The affiliate's method with exactly this destination, if it has one that is not disabled.
    pub async fn method_same(
        &mut self,
        org: &OrgId,
        affiliate: &AffiliateId,
        destination: &Destination,
    ) -> Result<Option<MethodId>, StoreError> {
        let print = self.fingerprints(org, &[Some(destination)]).await?.pop().flatten();
        let query = sql(METHOD_SAME).bind(org).bind(affiliate).bind(&destination.kind());
        let row: Option<(MethodId,)> = query.bind(print).maybe(self).await?;
        Ok(row.map(|(id,)| id))
    }

    /// Inserts a method, `pending`; the one that was the default no longer is, if this one is.
    pub async fn payment_method_insert(
        &mut self,
        org: &OrgId,
        new: &NewPaymentMethod<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if new.is_default {
            sql(METHODS_DEMOTE).bind(org).bind(new.affiliate_id).run(self).await?;
        }
        let insert = sql(METHOD_INSERT).bind(org).bind(new.method_id).bind(new.affiliate_id);
        let insert = insert.bind(&new.kind).bind(new.destination_id).bind(new.is_default);
        insert.bind(now).bind(new.label).bind(new.cools).run(self).await?;
        Ok(())
    }

    /// Makes a method the one that its affiliate is paid by.
    pub async fn method_promote(
        &mut self,
        org: &OrgId,
        method: &HeldMethod,
    ) -> Result<(), StoreError> {
        sql(METHODS_DEMOTE).bind(org).bind(&method.affiliate_id).run(self).await?;
        sql(METHOD_PROMOTE).bind(org).bind(&method.method_id).run(self).await?;
        Ok(())
    }

    /// Names a method anew.
    pub async fn method_label(
        &mut self,
        org: &OrgId,
        method: &MethodId,
        label: &str,
    ) -> Result<(), StoreError> {
        sql(METHOD_LABEL).bind(org).bind(method).bind(label).run(self).await?;
        Ok(())
    }

    /// Points a method elsewhere: it is to be proven anew, and cools off after that.
    pub async fn method_redirect(
        &mut self,
        org: &OrgId,
        method: &MethodId,
        destination: &DestinationId,
    ) -> Result<(), StoreError> {
        sql(METHOD_REDIRECT).bind(org).bind(method).bind(destination).run(self).await?;
        Ok(())
    }

    /// Keeps that a method is proven. If it has to cool off, it may be paid from `usable_from` on.
    pub async fn method_verified(
        &mut self,
        org: &OrgId,
        method: &MethodId,
        by: VerificationKind,
        (now, usable_from): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(), StoreError> {
        let update = sql(METHOD_VERIFIED).bind(org).bind(method).bind(&by);
        update.bind(now).bind(usable_from).run(self).await?;
        Ok(())
    }

    /// Keeps that a method is not, or no longer, to be paid to, and why.
    pub async fn method_unverified(
        &mut self,
        org: &OrgId,
        method: &MethodId,
        status: MethodStatus,
        (code, reason): (&str, &str),
    ) -> Result<(), StoreError> {
        let update = sql(METHOD_UNVERIFIED).bind(org).bind(method).bind(&status);
        update.bind(code).bind(reason).run(self).await?;
        Ok(())
    }

    /// The oldest method of somebody else that goes to the same account, if there is one; it is
    /// kept with the method.
    pub async fn method_twin(
        &mut self,
        org: &OrgId,
        method: &MethodId,
        (destination, partner): (&DestinationId, &str),
    ) -> Result<Option<(MethodId, AffiliateId)>, StoreError> {
        let query = sql(ACCOUNT_TWIN).bind(org).bind(destination).bind(partner);
        let twin: Option<(MethodId, AffiliateId)> = query.maybe(self).await?;
        if let Some((twin, _)) = &twin {
            sql(METHOD_TWIN).bind(org).bind(method).bind(twin).run(self).await?;
        }
        Ok(twin)
    }

    /// The payouts that are pinned to a method and not under way yet.
    pub async fn payouts_waiting_for_method(
        &mut self,
        org: &OrgId,
        method: &MethodId,
    ) -> Result<Vec<crate::domain::PayoutId>, StoreError> {
        let query = sql(PAYOUTS_WAITING).bind(org).bind(method);
        let rows: Vec<(crate::domain::PayoutId,)> = query.all(self).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }
}
