//! Rails that are left alone for a while because of us, and the payouts that wait for that.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{Currency, MethodKind, Money, OrgId};

const CIRCUIT_OPEN: &str = "
    INSERT INTO circuits (org_id, method_kind, currency, reason, message, opened_at, retry_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (org_id, method_kind, currency)
    DO UPDATE SET reason = excluded.reason, message = excluded.message,
                  retry_at = excluded.retry_at";
const CIRCUIT_CLOSE: &str =
    "DELETE FROM circuits WHERE org_id = $1 AND method_kind = $2 AND currency = $3";
const CIRCUITS: &str =
    "SELECT org_id, method_kind, currency, reason, message, retry_at FROM circuits";

const QUEUE_WAITS: &str = "
    UPDATE payouts SET waiting_for = $4
    WHERE org_id = $1 AND method_kind = $2 AND currency = $3
      AND (status = 'approved' OR (status = 'pending' AND requires_approval = 0))
      AND COALESCE(waiting_for, '') <> $4";
// What is put together and certainly not sent waits too.
const PREPARED_WAIT: &str = "
    UPDATE payouts SET waiting_for = $4
    WHERE org_id = $1 AND method_kind = $2 AND currency = $3 AND status = 'processing'
      AND COALESCE(waiting_for, '') <> $4
      AND payout_id IN (SELECT t.payout_id FROM submissions s
                        JOIN transfers t ON t.org_id = s.org_id AND t.submission_id = s.submission_id
                        WHERE s.org_id = $1 AND s.state = 'prepared' AND t.state = 'prepared')";
const NOBODY_WAITS: &str = "
    UPDATE payouts SET waiting_for = NULL
    WHERE org_id = $1 AND method_kind = $2 AND currency = $3
      AND status IN ('pending', 'approved', 'processing') AND waiting_for IS NOT NULL";

// What may have left, and the provider has not yet said anything about: its balance may still
// show that money. Over all orgs, since they share the account.
const UNHEARD: &str = "
    SELECT CAST(COALESCE(SUM(t.amount_minor), 0) AS BIGINT)
    FROM transfers t
    JOIN submissions s ON s.org_id = t.org_id AND s.submission_id = t.submission_id
    WHERE t.provider_status IS NULL AND t.state IN ('sending', 'unknown', 'accepted')
      AND s.method_kind = $1 AND s.currency = $2";

/// Why a rail is left alone, and until when.
#[derive(Debug, Clone, FromRow)]
pub struct CircuitRow {
    pub org_id: OrgId,
    pub method_kind: MethodKind,
    pub currency: Currency,
    /// `awaiting_funds` or `rail_blocked`.
    pub reason: String,
    pub message: String,
    pub retry_at: DateTime<Utc>,
}

impl Store {
    /// Every rail that is left alone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn circuits(&self) -> Result<Vec<CircuitRow>, StoreError> {
        sql(CIRCUITS).read_all(&self.pools).await
    }

    /// What may have left on a rail without the provider having said anything about it yet.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn unheard(&self, kind: MethodKind, currency: Currency) -> Result<Money, StoreError> {
        let (minor,): (i64,) =
            sql(UNHEARD).bind(&kind).bind(&currency).read_one(&self.pools).await?;
        Ok(Money::new(minor, currency))
    }
}

impl Tx {
    /// Leaves a rail alone until `retry_at`, and says so with every payout that waits for it.
    pub async fn circuit_open(
        &mut self,
        circuit: &CircuitRow,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let CircuitRow { org_id, method_kind, currency, reason, message, retry_at } = circuit;
        let open = sql(CIRCUIT_OPEN).bind(org_id).bind(method_kind).bind(currency);
        let open = open.bind(reason.as_str()).bind(message.as_str()).bind(now).bind(*retry_at);
        open.run(self).await?;
        for query in [QUEUE_WAITS, PREPARED_WAIT] {
            let waits = sql(query).bind(org_id).bind(method_kind).bind(currency);
            waits.bind(reason.as_str()).run(self).await?;
        }
        Ok(())
    }

    /// The rail may be used again; nobody waits for it any more.
    pub async fn circuit_close(
        &mut self,
        org: &OrgId,
        kind: MethodKind,
        currency: Currency,
    ) -> Result<(), StoreError> {
        sql(CIRCUIT_CLOSE).bind(org).bind(&kind).bind(&currency).run(self).await?;
        sql(NOBODY_WAITS).bind(org).bind(&kind).bind(&currency).run(self).await?;
        Ok(())
    }
}
