//! Answers that are kept for callers who repeat themselves (`Idempotency-Key`).

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{StoreError, Tx};
use crate::domain::OrgId;

// Of two requests with one key the second waits here until the first has ended.
const KEY_CLAIM: &str = "
    INSERT INTO idempotency_keys (org_id, caller, idempotency_key, request_hash, status, answer,
                                  created_at)
    VALUES ($1, $2, $3, $4, 0, '', $5)
    ON CONFLICT DO NOTHING";
const KEY_READ: &str = "
    SELECT request_hash, status, answer FROM idempotency_keys
    WHERE org_id = $1 AND caller = $2 AND idempotency_key = $3";
const KEY_KEEP: &str = "
    UPDATE idempotency_keys SET status = $4, answer = $5
    WHERE org_id = $1 AND caller = $2 AND idempotency_key = $3";
const KEYS_PRUNE: &str = "
    DELETE FROM idempotency_keys WHERE org_id = $1 AND (caller, idempotency_key) IN (
        SELECT caller, idempotency_key FROM idempotency_keys
        WHERE org_id = $1 AND created_at < $2 LIMIT $3)";

/// A request that a caller may repeat: whose, under which key, asking what.
#[derive(Debug, Clone)]
pub struct OnceKey {
    /// The actor; the same key of another caller is another key.
    pub caller: String,
    pub key: String,
    /// Of the route and the bytes of the body.
    pub request_hash: String,
}

/// What was answered under a key.
#[derive(Debug, Clone, FromRow)]
pub struct KeptAnswer {
    pub request_hash: String,
    pub status: i64,
    pub answer: String,
}

impl Tx {
    /// Takes a key for this transaction's work; false if it was used before.
    pub async fn key_claim(
        &mut self,
        org: &OrgId,
        once: &OnceKey,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let insert = sql(KEY_CLAIM).bind(org).bind(once.caller.as_str()).bind(once.key.as_str());
        Ok(insert.bind(once.request_hash.as_str()).bind(now).run(self).await? == 1)
    }

    /// What was answered under a key.
    pub async fn key_answer(
        &mut self,
        org: &OrgId,
        once: &OnceKey,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        let query = sql(KEY_READ).bind(org).bind(once.caller.as_str()).bind(once.key.as_str());
        query.maybe(self).await
    }

    /// Keeps what is answered under a key that this transaction took.
    pub async fn key_keep(
        &mut self,
        org: &OrgId,
        once: &OnceKey,
        (status, answer): (u16, &str),
    ) -> Result<(), StoreError> {
        let update = sql(KEY_KEEP).bind(org).bind(once.caller.as_str()).bind(once.key.as_str());
        update.bind(i64::from(status)).bind(answer).run(self).await?;
        Ok(())
    }

    /// Deletes up to `limit` keys older than `before`; how many it deleted.
    pub async fn keys_prune(
        &mut self,
        org: &OrgId,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        sql(KEYS_PRUNE).bind(org).bind(before).bind(limit).run(self).await
    }
}
