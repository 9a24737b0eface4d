//! API keys: their hashes, and what they may do.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{Actor, ApiKeyId, OrgId, Permission};

const API_KEY_INSERT: &str = "
    INSERT INTO api_keys (org_id, key_id, name, hash, permissions, expires_at, created_by, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
macro_rules! api_keys {
    ($rest:literal) => {
        concat!(
            "
    SELECT k.org_id, k.key_id, k.name, k.hash, k.permissions, k.expires_at, k.created_by,
           k.created_at, k.last_used_at, k.revoked_at, k.revoked_by
    FROM api_keys k ",
            $rest
        )
    };
}
const API_KEY: &str = api_keys!("WHERE k.key_id = $1");
const API_KEY_MAKER: &str = "SELECT created_by FROM api_keys WHERE org_id = $1 AND key_id = $2";
const API_KEYS: &str =
    api_keys!("WHERE k.org_id = $1 AND k.key_id > $2 ORDER BY k.key_id LIMIT $3");
const API_KEY_LOCK: &str = api_keys!("WHERE k.org_id = $1 AND k.key_id = $2 {lock:k}");
const API_KEY_REVOKE: &str = "
    UPDATE api_keys SET revoked_at = $3, revoked_by = $4
    WHERE org_id = $1 AND key_id = $2 AND revoked_at IS NULL";
const API_KEY_USED: &str = "
    UPDATE api_keys SET last_used_at = $3
    WHERE org_id = $1 AND key_id = $2 AND (last_used_at IS NULL OR last_used_at < $3)";

#[derive(FromRow)]
struct Row {
    org_id: OrgId,
    key_id: ApiKeyId,
    name: String,
    hash: String,
    permissions: String,
    expires_at: Option<DateTime<Utc>>,
    created_by: String,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
}

/// A key to be kept.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub key_id: ApiKeyId,
    pub name: String,
    pub hash: String,
    pub permissions: Vec<Permission>,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_by: Actor,
}

/// A key as it stands. What proves it is not in it but as a hash.
#[derive(Debug, Clone)]
pub struct ApiKeyRow {
    pub org_id: OrgId,
    pub key_id: ApiKeyId,
    pub name: String,
    pub hash: String,
    pub permissions: Vec<Permission>,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    /// To the hour.
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_by: Option<String>,
}

impl Row {
    fn read(self) -> Result<ApiKeyRow, StoreError> {
        let corrupt = |source| StoreError::Corrupt { id: self.key_id.to_string(), source };
        Ok(ApiKeyRow {
            permissions: serde_json::from_str(&self.permissions).map_err(corrupt)?,
            org_id: self.org_id,
            key_id: self.key_id,
            name: self.name,
            hash: self.hash,
            expires_at: self.expires_at,
            created_by: self.created_by,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            revoked_at: self.revoked_at,
            revoked_by: self.revoked_by,
        })
    }
}

impl Store {
    /// The key of this id, whichever org it is of: a key says itself where it belongs.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn api_key(&self, key: &ApiKeyId) -> Result<Option<ApiKeyRow>, StoreError> {
        let row = sql(API_KEY).bind(key).read_maybe::<Row>(&self.pools).await?;
        row.map(Row::read).transpose()
    }

    /// Who made the key of this id; `None` if the org has none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn api_key_maker(
        &self,
        org: &OrgId,
        key: &str,
    ) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> =
            sql(API_KEY_MAKER).bind(org).bind(key).read_maybe(&self.pools).await?;
        Ok(row.map(|(created_by,)| created_by))
    }

    /// A page of an org's keys, oldest first: those after the id `after`.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn api_keys(
        &self,
        org: &OrgId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ApiKeyRow>, StoreError> {
        let query = sql(API_KEYS).bind(org).bind(after).bind(limit);
        query.read_all(&self.pools).await?.into_iter().map(Row::read).collect()
    }
}

impl Tx {
    /// Keeps a new key.
    pub async fn api_key_insert(
        &mut self,
        org: &OrgId,
        key: &NewApiKey,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let permissions = serde_json::to_string(&key.permissions);
        let permissions = permissions.expect("a list of words is always JSON");
        let insert = sql(API_KEY_INSERT).bind(org).bind(&key.key_id).bind(key.name.as_str());
        let insert = insert.bind(key.hash.as_str()).bind(permissions).bind(key.expires_at);
        insert.bind(key.created_by.as_str()).bind(now).run(self).await?;
        Ok(())
    }

    /// One key, locked.
    pub async fn api_key_lock(
        &mut self,
        org: &OrgId,
        key: &ApiKeyId,
    ) -> Result<Option<ApiKeyRow>, StoreError> {
        let row = sql(API_KEY_LOCK).bind(org).bind(key).maybe::<Row>(self).await?;
        row.map(Row::read).transpose()
    }

    /// Takes a key back for ever; false if it was taken back before, or there is none.
    pub async fn api_key_revoke(
        &mut self,
        org: &OrgId,
        key: &ApiKeyId,
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = sql(API_KEY_REVOKE).bind(org).bind(key).bind(now).bind(actor.as_str());
        Ok(update.run(self).await? == 1)
    }

    /// Keeps when a key was last used.
    pub async fn api_key_used(
        &mut self,
        org: &OrgId,
        key: &ApiKeyId,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sql(API_KEY_USED).bind(org).bind(key).bind(at).run(self).await?;
        Ok(())
    }
}
