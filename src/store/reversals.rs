//! Reversals: what refunds took back of a commission.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{
    Actor, AffiliateId, Bucket, CommissionId, CommissionStatus, Currency, OrgId, RefundId,
    WalletKey,
};

const COMMISSION_WALLET: &str = "
    SELECT affiliate_id, currency FROM commissions WHERE org_id = $1 AND commission_id = $2";
const COMMISSION_LOCK: &str = "
    SELECT c.amount_minor, c.reversed_minor, c.credited_at FROM commissions c
    WHERE c.org_id = $1 AND c.commission_id = $2 {lock:c}";

macro_rules! reversals {
    ($($tail:literal),+) => { concat!("
    SELECT refund_id, amount_minor, is_whole, from_bucket, reason, actor, occurred_at
    FROM reversals WHERE org_id = $1 AND commission_id = $2 ", $($tail),+) };
}
const REVERSAL: &str = reversals!("AND refund_id = $3");
const REVERSALS: &str = reversals!("ORDER BY occurred_at, refund_id");
const REVERSAL_INSERT: &str = "
    INSERT INTO reversals (org_id, commission_id, refund_id, amount_minor, is_whole, from_bucket,
                           reason, actor, occurred_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const COMMISSION_REVERSE: &str = "
    UPDATE commissions
    SET reversed_minor = reversed_minor + $3,
        status = CASE WHEN reversed_minor + $3 = amount_minor THEN 'reversed'
                      WHEN credited_at IS NULL THEN 'held'
                      WHEN paid_minor > 0 AND paid_minor >= amount_minor - reversed_minor - $3 THEN 'paid'
                      ELSE 'qualified' END
    WHERE org_id = $1 AND commission_id = $2
    RETURNING status";
const COMMISSION_STATUS: &str =
    "SELECT status FROM commissions WHERE org_id = $1 AND commission_id = $2";

/// Where a commission stands, as far as a reversal asks.
#[derive(Debug, Clone, FromRow)]
pub struct CommissionStanding {
    pub amount_minor: i64,
    pub reversed_minor: i64,
    /// Since when it is available; `None` while it is held.
    pub credited_at: Option<DateTime<Utc>>,
}

/// A reversal to be inserted.
#[derive(Debug)]
pub struct NewReversal<'a> {
    pub commission_id: &'a CommissionId,
    pub refund_id: &'a RefundId,
    /// Minor units, above 0.
    pub amount_minor: i64,
    /// All that was left was asked for, without an amount.
    pub is_whole: bool,
    pub from: Bucket,
    pub reason: &'a str,
}

/// A reversal as people see it.
#[derive(Debug, Clone, FromRow)]
pub struct ReversalRow {
    pub refund_id: RefundId,
    pub amount_minor: i64,
    /// 1 if all that was left was asked for.
    pub is_whole: i64,
    /// What it was taken from: `held` or `available`.
    pub from_bucket: Bucket,
    pub reason: String,
    pub actor: String,
    pub occurred_at: DateTime<Utc>,
}

impl Store {
    /// The reversals of a commission, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn reversals(
        &self,
        org: &OrgId,
        commission: &CommissionId,
    ) -> Result<Vec<ReversalRow>, StoreError> {
        sql(REVERSALS).bind(org).bind(commission).read_all(&self.pools).await
    }

    /// The wallet that a commission belongs to; `None` if there is no such commission.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn commission_wallet(
        &self,
        org: &OrgId,
        commission: &CommissionId,
    ) -> Result<Option<WalletKey>, StoreError> {
        let row: Option<(AffiliateId, Currency)> =
            sql(COMMISSION_WALLET).bind(org).bind(commission).read_maybe(&self.pools).await?;
        Ok(row.map(|(affiliate_id, currency)| WalletKey { affiliate_id, currency }))
    }
}

impl Tx {
    /// Where a commission stands, locked. Its wallet is locked before it, as everywhere.
    pub async fn commission_lock(
        &mut self,
        org: &OrgId,
        commission: &CommissionId,
    ) -> Result<Option<CommissionStanding>, StoreError> {
        sql(COMMISSION_LOCK).bind(org).bind(commission).maybe(self).await
    }

    /// The reversal of a commission by a refund, if there is one.
    pub async fn reversal(
        &mut self,
        org: &OrgId,
        commission: &CommissionId,
        refund: &RefundId,
    ) -> Result<Option<ReversalRow>, StoreError> {
        sql(REVERSAL).bind(org).bind(commission).bind(refund).maybe(self).await
    }

    /// The status of a commission.
    ///
    /// # Errors
    /// [`StoreError::Gone`].
    pub async fn commission_status(
        &mut self,
        org: &OrgId,
        commission: &CommissionId,
    ) -> Result<CommissionStatus, StoreError> {
        let row = sql(COMMISSION_STATUS).bind(org).bind(commission).maybe(self).await?;
        only_status(row, commission)
    }

    /// Reverses a part of a commission, or all of it, and says where it stands then. The entry of
    /// its wallet is written beside it.
    ///
    /// # Errors
    /// A duplicate if the refund has reversed the commission before.
    pub async fn commission_reverse(
        &mut self,
        org: &OrgId,
        new: &NewReversal<'_>,
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<CommissionStatus, StoreError> {
        let insert = sql(REVERSAL_INSERT).bind(org).bind(new.commission_id).bind(new.refund_id);
        let insert = insert.bind(new.amount_minor).bind(new.is_whole).bind(&new.from);
        insert.bind(new.reason).bind(actor.as_str()).bind(now).run(self).await?;
        let update = sql(COMMISSION_REVERSE).bind(org).bind(new.commission_id);
        only_status(update.bind(new.amount_minor).maybe(self).await?, new.commission_id)
    }
}

fn only_status(
    row: Option<(CommissionStatus,)>,
    commission: &CommissionId,
) -> Result<CommissionStatus, StoreError> {
    let gone = || StoreError::Gone { what: "commission", id: commission.to_string() };
    row.map(|(status,)| status).ok_or_else(gone)
}
