//! Verifications: the tries to prove methods. What has to be told is kept as a hash.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{
    Actor, AffiliateId, DestinationId, MethodId, MethodKind, OrgId, PayoutId, PayoutStatus,
    VerificationId, VerificationKind, VerificationStatus,
};

const STARTS: &str = "
    SELECT CAST(COALESCE(SUM(CASE WHEN method_id = $3 THEN 1 ELSE 0 END), 0) AS BIGINT) AS of_method,
           COUNT(*) AS of_affiliate, MIN(started_at) AS first_at
    FROM method_verifications WHERE org_id = $1 AND affiliate_id = $2 AND started_at > $4";
const VERIFICATION_INSERT: &str = "
    INSERT INTO method_verifications (org_id, verification_id, method_id, affiliate_id, kind, status,
                                      destination_id, salt, secret_hash, tries_left, first_payout,
                                      second_payout, started_by, started_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8, $9, $10, $11, $12, $13, $14)";

macro_rules! verification {
    ($tail:literal) => { concat!("
    SELECT v.verification_id, v.method_id, v.affiliate_id, v.kind, v.status, v.destination_id, v.salt,
           v.secret_hash, v.tries_left, v.first_payout, v.second_payout, v.started_by, v.expires_at
    FROM method_verifications v WHERE v.org_id = $1 AND ", $tail) };
}
const OPEN_OF_METHOD: &str = verification!("v.method_id = $2 AND v.status = 'open'");
const LAST_OF_METHOD: &str =
    verification!("v.method_id = $2 ORDER BY v.verification_id DESC LIMIT 1");
const BY_SECRET: &str = verification!("v.secret_hash = $2 AND v.kind = 'consent'");

// A consent comes back once: whoever takes the only try asks the provider, and nobody else.
const CONSENT_TAKE: &str = "
    UPDATE method_verifications SET tries_left = 0
    WHERE org_id = $1 AND verification_id = $2 AND status = 'open' AND tries_left = 1";
const CONSENT_GIVE_BACK: &str = "
    UPDATE method_verifications SET tries_left = 1
    WHERE org_id = $1 AND verification_id = $2 AND status = 'open' AND tries_left = 0";
const TRIES_LEFT: &str = "
    UPDATE method_verifications SET tries_left = $3
    WHERE org_id = $1 AND verification_id = $2 AND status = 'open'";
const VERIFICATION_END: &str = "
    UPDATE method_verifications SET status = $3, reason_code = $4, reason = $5, ended_at = $6
    WHERE org_id = $1 AND verification_id = $2 AND status = 'open'";
const DEPOSITS: &str = "
    SELECT status FROM payouts WHERE org_id = $1 AND payout_id IN ($2, $3)";

// By the payouts' method, whose one open try is found by its index.
const VERIFICATIONS_FAIL: &str = "
    WITH ended(payout_id, code, reason) AS MATERIALIZED ({rows})
    UPDATE method_verifications
    SET status = 'failed', reason_code = ended.code, reason = ended.reason, ended_at = $2
    FROM ended CROSS JOIN payouts p
    WHERE p.org_id = $1 AND p.payout_id = ended.payout_id AND p.origin = 'verification'
      AND method_verifications.org_id = $1 AND method_verifications.method_id = p.method_id
      AND method_verifications.status = 'open'
      AND p.payout_id IN (method_verifications.first_payout, method_verifications.second_payout)
    RETURNING method_verifications.method_id, method_verifications.destination_id,
              method_verifications.reason_code, method_verifications.reason";
const METHODS_FAIL: &str = "
    WITH failed(method_id, destination_id, code, reason) AS MATERIALIZED ({rows})
    UPDATE payout_methods
    SET status = 'failed', status_code = failed.code, status_reason = failed.reason
    FROM failed
    WHERE payout_methods.org_id = $1 AND payout_methods.method_id = failed.method_id
      AND payout_methods.destination_id = failed.destination_id
      AND payout_methods.status = 'pending'
    RETURNING payout_methods.method_id, payout_methods.affiliate_id, payout_methods.kind,
              payout_methods.status_code, payout_methods.status_reason";

/// A try to prove a method, as it stands.
#[derive(Debug, Clone, FromRow)]
pub struct VerificationRow {
    pub verification_id: VerificationId,
    pub method_id: MethodId,
    pub affiliate_id: AffiliateId,
    pub kind: VerificationKind,
    pub status: VerificationStatus,
    /// What it proves: a destination that was changed since is another one.
    pub destination_id: DestinationId,
    pub salt: String,
    pub secret_hash: String,
    pub tries_left: i64,
    pub first_payout: Option<PayoutId>,
    pub second_payout: Option<PayoutId>,
    pub started_by: String,
    pub expires_at: DateTime<Utc>,
}

/// A try to be inserted, `open`.
#[derive(Debug)]
pub struct NewVerification<'a> {
    pub verification_id: VerificationId,
    pub method_id: &'a MethodId,
    pub affiliate_id: &'a AffiliateId,
    pub kind: VerificationKind,
    pub destination_id: &'a DestinationId,
    pub salt: &'a str,
    pub secret_hash: &'a str,
    pub tries_left: i64,
    /// Of micro-deposits, the two that were sent.
    pub payouts: Option<[PayoutId; 2]>,
    pub expires_at: DateTime<Utc>,
}

/// How often verifications were started since some instant.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct Starts {
    pub of_method: i64,
    /// Of all methods of its affiliate.
    pub of_affiliate: i64,
    /// The first of them.
    pub first_at: Option<DateTime<Utc>>,
}

/// A method that has just failed with its verification.
#[derive(Debug, FromRow)]
pub struct FailedMethod {
    pub method_id: MethodId,
    pub affiliate_id: AffiliateId,
    pub kind: MethodKind,
    status_code: Option<String>,
    status_reason: Option<String>,
}

impl FailedMethod {
    /// A code and words, where somebody said so.
    pub fn why(&self) -> Option<(&str, &str)> {
        Some((self.status_code.as_deref()?, self.status_reason.as_deref()?))
    }
}

#[derive(Debug, FromRow)]
struct FailedRow {
    method_id: MethodId,
    destination_id: DestinationId,
    reason_code: Option<String>,
    reason: Option<String>,
}

impl Store {
    /// The consent that a word belongs to, by the word's hash.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn consent(
        &self,
        org: &OrgId,
        secret_hash: &str,
    ) -> Result<Option<VerificationRow>, StoreError> {
        sql(BY_SECRET).bind(org).bind(secret_hash).read_maybe(&self.pools).await
    }

    /// The latest try to prove a method, however it stands.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn verification_last(
        &self,
        org: &OrgId,
        method: &MethodId,
    ) -> Result<Option<VerificationRow>, StoreError> {
        sql(LAST_OF_METHOD).bind(org).bind(method).read_maybe(&self.pools).await
    }
}

impl Tx {
    /// How often verifications of an affiliate's methods were started after `since`.
    pub async fn verification_starts(
        &mut self,
        org: &OrgId,
        (affiliate, method): (&AffiliateId, &MethodId),
        since: DateTime<Utc>,
    ) -> Result<Starts, StoreError> {
        let query = sql(STARTS).bind(org).bind(affiliate).bind(method).bind(since);
        let row = query.maybe(self).await?;
        row.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    /// Inserts a try, `open`.
    ///
    /// # Errors
    /// A duplicate if the method has an open one.
    pub async fn verification_insert(
        &mut self,
        org: &OrgId,
        new: &NewVerification<'_>,
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let [first, second] = match &new.payouts {
            Some(payouts) => payouts.each_ref().map(Some),
            None => [None, None],
        };
        let insert = sql(VERIFICATION_INSERT).bind(org).bind(&new.verification_id);
        let insert = insert.bind(new.method_id).bind(new.affiliate_id).bind(&new.kind);
        let insert = insert.bind(new.destination_id).bind(new.salt).bind(new.secret_hash);
        let insert = insert.bind(new.tries_left).bind(first).bind(second);
        insert.bind(actor.as_str()).bind(now).bind(new.expires_at).run(self).await?;
        Ok(())
    }

    /// The open try to prove a method, if there is one. Its affiliate is held by the caller.
    pub async fn verification_open(
        &mut self,
        org: &OrgId,
        method: &MethodId,
    ) -> Result<Option<VerificationRow>, StoreError> {
        sql(OPEN_OF_METHOD).bind(org).bind(method).maybe(self).await
    }

    /// Takes the only try of a consent; false if somebody else did.
    pub async fn consent_take(
        &mut self,
        org: &OrgId,
        id: &VerificationId,
    ) -> Result<bool, StoreError> {
        Ok(sql(CONSENT_TAKE).bind(org).bind(id).run(self).await? == 1)
    }

    /// Gives the try of a consent back, of which nobody could say what it proves.
    pub async fn consent_give_back(
        &mut self,
        org: &OrgId,
        id: &VerificationId,
    ) -> Result<(), StoreError> {
        sql(CONSENT_GIVE_BACK).bind(org).bind(id).run(self).await?;
        Ok(())
    }

    /// Counts a wrong word.
    pub async fn verification_tries(
        &mut self,
        org: &OrgId,
        id: &VerificationId,
        left: i64,
    ) -> Result<(), StoreError> {
        sql(TRIES_LEFT).bind(org).bind(id).bind(left).run(self).await?;
        Ok(())
    }

    /// Ends an open try; false if it was not open any more.
    pub async fn verification_end(
        &mut self,
        org: &OrgId,
        id: &VerificationId,
        (status, code, reason): (VerificationStatus, Option<&str>, Option<&str>),
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = sql(VERIFICATION_END).bind(org).bind(id).bind(&status).bind(code);
        Ok(update.bind(reason).bind(now).run(self).await? == 1)
    }

    /// Where the deposits of a try stand.
    pub async fn deposits(
        &mut self,
        org: &OrgId,
        row: &VerificationRow,
    ) -> Result<Vec<PayoutStatus>, StoreError> {
        let query = sql(DEPOSITS).bind(org).bind(row.first_payout.as_ref());
        let rows: Vec<(PayoutStatus,)> = query.bind(row.second_payout.as_ref()).all(self).await?;
        Ok(rows.into_iter().map(|(status,)| status).collect())
    }

    /// Fails the open tries whose deposits ended without arriving: (payout, code, reason). With
    /// `methods_too` their methods fail with them, as far as they are still what was tried: those.
    pub async fn verifications_fail(
        &mut self,
        org: &OrgId,
        ended: &[(&PayoutId, Option<&str>, &str)],
        methods_too: bool,
        now: DateTime<Utc>,
    ) -> Result<Vec<FailedMethod>, StoreError> {
        let row = |(payout, code, reason): &(&PayoutId, Option<&str>, &str)| {
            vec![Value::from(*payout), (*code).into(), (*reason).into()]
        };
        let rows: Vec<_> = ended.iter().map(row).collect();
        let update = sql(VERIFICATIONS_FAIL).bind(org).bind(now);
        let failed: Vec<FailedRow> = update.all_with(self, &rows).await?;
        if !methods_too {
            return Ok(Vec::new());
        }
        let row = |row: &FailedRow| {
            vec![
                (&row.method_id).into(),
                (&row.destination_id).into(),
                row.reason_code.clone().into(),
                row.reason.clone().into(),
            ]
        };
        let rows: Vec<_> = failed.iter().map(row).collect();
        sql(METHODS_FAIL).bind(org).all_with(self, &rows).await
    }
}
