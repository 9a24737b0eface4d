//! The keys of orgs, as the vault wraps them, and small secrets sealed under them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{KeyId, OrgId};
use crate::vault::{Cell, NewOrgKey, OrgKeyRow, OrgVault, Vault, VaultError, rewrap};

// Of two who make an org's first keys at once, the second takes those of the first.
const KEYS_INSERT: &str = "
    INSERT INTO org_keys (org_id, key_id, purpose, master_key_id, wrapped, created_at) {rows}
    ON CONFLICT DO NOTHING";

// One key of each master key, to try whether it is the right one.
const MASTERS_IN_USE: &str = "
    SELECT k.org_id, k.key_id, k.purpose, k.master_key_id, k.wrapped, k.created_at, k.retired_at
    FROM org_keys k
    JOIN (SELECT master_key_id, MIN(key_id) AS key_id FROM org_keys GROUP BY master_key_id) AS m
      ON m.master_key_id = k.master_key_id AND m.key_id = k.key_id
    ORDER BY k.master_key_id";
const KEYS: &str = "
    SELECT org_id, key_id, purpose, master_key_id, wrapped, created_at, retired_at FROM org_keys
    WHERE org_id = $1 ORDER BY key_id";
const KEY_RETIRE: &str = "
    UPDATE org_keys SET retired_at = $2
    WHERE org_id = $1 AND purpose = 'seal' AND retired_at IS NULL";
// By what it was, so that of two who rewrap at once neither undoes the other.
const KEY_REWRAP: &str = "
    UPDATE org_keys SET master_key_id = $3, wrapped = $4
    WHERE org_id = $1 AND key_id = $2 AND wrapped = $5";
const KEY_DELETE: &str = "
    DELETE FROM org_keys
    WHERE org_id = $1 AND key_id = $2 AND retired_at IS NOT NULL";

/// A key of an org, for people: what it is for, and what it is wrapped by.
#[derive(Debug, Clone, FromRow)]
pub struct OrgKey {
    pub org_id: OrgId,
    pub key_id: KeyId,
    pub purpose: String,
    pub master_key_id: String,
    wrapped: String,
    pub created_at: DateTime<Utc>,
    pub retired_at: Option<DateTime<Utc>>,
}

impl OrgKey {
    fn row(&self) -> OrgKeyRow {
        OrgKeyRow {
            key_id: self.key_id.clone(),
            purpose: self.purpose.clone(),
            master_key_id: self.master_key_id.clone(),
            wrapped: self.wrapped.clone(),
            retired_at: self.retired_at,
        }
    }
}

const KEY_INSERT: &str = "
    INSERT INTO org_keys (org_id, key_id, purpose, master_key_id, wrapped, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

fn unlocked(vault: &Vault, org: &OrgId, keys: &[OrgKey]) -> Result<OrgVault, VaultError> {
    OrgVault::unlock(vault, org, &keys.iter().map(OrgKey::row).collect::<Vec<_>>())
}

impl Store {
    /// The keys of an org, to open what is sealed; an org that has sealed nothing has none.
    ///
    /// # Errors
    /// [`StoreError::Database`], or [`StoreError::Vault`] if one cannot be unwrapped.
    pub async fn vault_of(&self, org: &OrgId) -> Result<OrgVault, StoreError> {
        let keys = self.org_keys(org).await?;
        Ok(unlocked(&self.vault, org, &keys)?)
    }

    /// Whether the vault has every master key that the database's keys are wrapped by.
    ///
    /// # Errors
    /// [`StoreError::Vault`] with the first that it lacks, or that is another of the same id;
    /// [`StoreError::Database`].
    pub async fn masters_fit(&self) -> Result<(), StoreError> {
        for key in self.masters_in_use().await? {
            OrgVault::unlock(&self.vault, &key.org_id, &[key.row()])?;
        }
        Ok(())
    }

    /// One key of each master key that any is wrapped by; none where there is no vault yet.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn masters_in_use(&self) -> Result<Vec<OrgKey>, StoreError> {
        match self.has_vault().await? {
            true => sql(MASTERS_IN_USE).read_all(&self.pools).await,
            false => Ok(Vec::new()),
        }
    }

    /// An org's keys, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn org_keys(&self, org: &OrgId) -> Result<Vec<OrgKey>, StoreError> {
        sql(KEYS).bind(org).read_all(&self.pools).await
    }

    /// The vault that the store seals with.
    pub fn vault(&self) -> &Vault {
        &self.vault
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

    /// Gives an org a new key to seal with, and retires the one before; the new key's id.
    pub async fn key_rotate(
        &mut self,
        org: &OrgId,
        now: DateTime<Utc>,
    ) -> Result<KeyId, StoreError> {
        let key = NewOrgKey::sealing(&self.vault, org)?;
        sql(KEY_RETIRE).bind(org).bind(now).run(self).await?;
        let insert = sql(KEY_INSERT).bind(org).bind(&key.row.key_id);
        let insert = insert.bind(key.row.purpose).bind(key.row.master_key_id);
        insert.bind(key.row.wrapped).bind(key.created_at).run(self).await?;
        Ok(key.row.key_id)
    }

    /// Wraps an org's keys under the first master key, those that are not; how many.
    pub async fn keys_rewrap(&mut self, org: &OrgId) -> Result<u64, StoreError> {
        let keys: Vec<OrgKey> = sql(KEYS).bind(org).all(self).await?;
        let mut changed = 0;
        for key in &keys {
            let Some((master, wrapped)) = rewrap(&self.vault, org, &key.row())? else { continue };
            let update = sql(KEY_REWRAP).bind(org).bind(&key.key_id).bind(master);
            changed += update.bind(wrapped).bind(key.wrapped.as_str()).run(self).await?;
        }
        Ok(changed)
    }

    /// Deletes a retired key. What is still sealed under it can never be opened again.
    pub async fn key_delete(&mut self, org: &OrgId, key_id: &KeyId) -> Result<(), StoreError> {
        sql(KEY_DELETE).bind(org).bind(key_id).run(self).await?;
        Ok(())
    }

    async fn unlock(&mut self, org: &OrgId) -> Result<OrgVault, StoreError> {
        let keys: Vec<OrgKey> = sql(KEYS).bind(org).all(self).await?;
        Ok(unlocked(&self.vault, org, &keys)?)
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
