//! The keys of orgs, as the vault wraps them, and small secrets sealed under them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{KeyId, OrgId};
use crate::vault::{Cell, NewOrgKey, OrgKeyRow, OrgVault};

const KEYS_OF: &str = "
    SELECT key_id, purpose, master_key_id, wrapped, retired_at FROM org_keys
    WHERE org_id = $1 ORDER BY key_id";
// Of two who make an org's first keys at once, the second takes those of the first.
const KEYS_INSERT: &str = "
    INSERT INTO org_keys (org_id, key_id, purpose, master_key_id, wrapped, created_at) {rows}
    ON CONFLICT DO NOTHING";

#[derive(Debug, FromRow)]
struct KeyRow {
    key_id: KeyId,
    purpose: String,
    master_key_id: String,
    wrapped: String,
    retired_at: Option<DateTime<Utc>>,
}

impl From<KeyRow> for OrgKeyRow {
    fn from(row: KeyRow) -> Self {
        let KeyRow { key_id, purpose, master_key_id, wrapped, retired_at } = row;
        Self { key_id, purpose, master_key_id, wrapped, retired_at }
    }
}

impl Store {
    /// The keys of an org, to open what is sealed; an org that has sealed nothing has none.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Vault`] if one cannot be unwrapped.
    pub async fn vault_of(&self, org: &OrgId) -> Result<OrgVault, StoreError> {
        let rows: Vec<KeyRow> = sql(KEYS_OF).bind(org).read_all(&self.pools).await?;
        let rows: Vec<OrgKeyRow> = rows.into_iter().map(OrgKeyRow::from).collect();
        Ok(OrgVault::unlock(&self.vault, org, &rows)?)
    }

    /// Opens what was sealed for `cell`, such as a webhook's secret.
    ///
    /// # Errors
    /// [`StoreError::Vault`] if it does not open there; [`StoreError::Database`].
    pub async fn unseal(
        &self,
        org: &OrgId,
        cell: Cell<'_>,
        sealed: &str,
    ) -> Result<String, StoreError> {
        Ok(self.vault_of(org).await?.open(cell, sealed)?)
    }
}

impl Tx {
    /// The keys of an org, to seal and to open with. An org without keys gets them here; they are
    /// durable with this transaction, and so is what they seal.
    ///
    /// # Errors
    /// [`StoreError::Vault`] without a master key, or if a key cannot be unwrapped.
    pub async fn vault_of(&mut self, org: &OrgId) -> Result<OrgVault, StoreError> {
        let keys = self.unlock(org).await?;
        if keys.is_complete() {
            return Ok(keys);
        }
        let row = |key: &NewOrgKey| -> Vec<Value> {
            let OrgKeyRow { key_id, purpose, master_key_id, wrapped, .. } = &key.row;
            vec![
                org.into(),
                key_id.into(),
                purpose.as_str().into(),
                master_key_id.as_str().into(),
                wrapped.as_str().into(),
                key.created_at.into(),
            ]
        };
        let rows: Vec<_> = NewOrgKey::pair(&self.vault, org)?.iter().map(row).collect();
        sql(KEYS_INSERT).run_with(self, &rows).await?;
        self.unlock(org).await
    }

    async fn unlock(&mut self, org: &OrgId) -> Result<OrgVault, StoreError> {
        let rows: Vec<KeyRow> = sql(KEYS_OF).bind(org).all(self).await?;
        let rows: Vec<OrgKeyRow> = rows.into_iter().map(OrgKeyRow::from).collect();
        Ok(OrgVault::unlock(&self.vault, org, &rows)?)
    }

    /// Seals a small secret for the cell that it is going to stand in. The column has to be
    /// named in `store/sealed.rs`, so that a rotation finds it.
    ///
    /// # Errors
    /// [`StoreError::Vault`] without a master key; [`StoreError::Database`].
    pub async fn seal(
        &mut self,
        org: &OrgId,
        cell: Cell<'_>,
        plaintext: &str,
    ) -> Result<String, StoreError> {
        Ok(self.vault_of(org).await?.seal(cell, plaintext)?)
    }
}
