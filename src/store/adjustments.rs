//! Adjustments: what a person added to a wallet or took from it. An open item, as a commission is.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{StoreError, Tx};
use crate::domain::{Actor, AdjustmentId, AffiliateId, Currency, OrgId, WalletKey};

const ADJUSTMENT: &str = "
    SELECT affiliate_id, currency, amount_minor, reason FROM adjustments
    WHERE org_id = $1 AND adjustment_id = $2";
const ADJUSTMENT_INSERT: &str = "
    INSERT INTO adjustments (org_id, adjustment_id, affiliate_id, currency, amount_minor,
                             allocated_minor, paid_minor, reason, actor, occurred_at)
    VALUES ($1, $2, $3, $4, $5, 0, 0, $6, $7, $8)";

// The twin of what moves commissions by the lines of payouts. The partial index of such lines
// makes it cost nothing where there are none.
pub(super) const ADJUSTMENTS_ALLOCATE: &str = "
    WITH asked(payout_id) AS MATERIALIZED ({rows})
    UPDATE adjustments
    SET allocated_minor = allocated_minor + $2 * lines.amount,
        paid_minor = paid_minor + $3 * lines.amount
    FROM (SELECT l.adjustment_id, CAST(SUM(l.amount_minor) AS BIGINT) AS amount
          FROM asked CROSS JOIN payout_lines l
          WHERE l.org_id = $1 AND l.payout_id = asked.payout_id AND l.adjustment_id IS NOT NULL
          GROUP BY l.adjustment_id) AS lines
    WHERE adjustments.org_id = $1 AND adjustments.adjustment_id = lines.adjustment_id";

/// An adjustment to be inserted.
#[derive(Debug)]
pub struct NewAdjustment<'a> {
    pub adjustment_id: &'a AdjustmentId,
    pub wallet: &'a WalletKey,
    /// Minor units; below 0 it takes from the wallet.
    pub amount_minor: i64,
    pub reason: &'a str,
}

/// An adjustment as it was brought in, to be compared with one that comes again.
#[derive(Debug, Clone, FromRow)]
pub struct AdjustmentRow {
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub amount_minor: i64,
    pub reason: String,
}

impl Tx {
    /// The adjustment `id`, if there is one.
    pub async fn adjustment(
        &mut self,
        org: &OrgId,
        id: &AdjustmentId,
    ) -> Result<Option<AdjustmentRow>, StoreError> {
        sql(ADJUSTMENT).bind(org).bind(id).maybe(self).await
    }

    /// Inserts an adjustment; its entry is written beside it.
    ///
    /// # Errors
    /// A duplicate if its id was used before.
    pub async fn adjustment_insert(
        &mut self,
        org: &OrgId,
        new: &NewAdjustment<'_>,
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let insert = sql(ADJUSTMENT_INSERT).bind(org).bind(new.adjustment_id);
        let insert = insert.bind(&new.wallet.affiliate_id).bind(&new.wallet.currency);
        let insert = insert.bind(new.amount_minor).bind(new.reason).bind(actor.as_str()).bind(now);
        insert.run(self).await?;
        Ok(())
    }
}
