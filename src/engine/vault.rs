//! Keys: an org gets a new one, and what is sealed under an older one is sealed anew.

use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;
use tracing::{info, warn};

use super::{Engine, EngineError, Work};
use crate::domain::{KeyId, OrgId};
use crate::store::{SEALED, SealedColumn};

/// Values sealed anew in one transaction.
const BATCH: i64 = 500;
/// For how long a retired key is kept: longer than any transaction that may still seal under it.
const KEPT_FOR: TimeDelta = TimeDelta::hours(1);

/// What a rotation did to an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// The key that seals from now on.
    pub key_id: KeyId,
    /// Values that were sealed anew under it.
    pub sealed: u64,
    /// What did not open, by its row's id: it stays as it is, and so does the key that it names.
    pub unreadable: Vec<String>,
    /// Keys that are wrapped by another master key than before.
    pub rewrapped: u64,
    /// Retired keys that nothing was sealed under any more.
    pub deleted: Vec<KeyId>,
    /// Retired keys that stay until a later rotation.
    pub kept: Vec<KeyId>,
}

impl Engine {
    /// Gives an org a new data key, seals everything anew under it, and deletes the keys that
    /// nothing needs any more. Cut off, it is done by doing it again.
    ///
    /// # Errors
    /// [`EngineError::Store`]; the batches before it stand.
    pub async fn rotate_keys(&self, work: &Work, org: &OrgId) -> Result<Rotated, EngineError> {
        let (key_id, rewrapped) = self
            .retrying(|| async {
                let mut tx = self.begin(work).await?;
                let key_id = tx.key_rotate(org, self.clock.now()).await?;
                let rewrapped = tx.keys_rewrap(org).await?;
                let detail = json!({ "rewrapped": rewrapped });
                let act = ("vault.rotated", key_id.as_str());
                self.keep_act(&mut tx, org, work, act, detail).await?;
                tx.commit().await?;
                Ok((key_id, rewrapped))
            })
            .await?;
        let (mut sealed, mut unreadable) = (0, Vec::new());
        for column in SEALED {
            sealed += self.seal_column_anew(work, org, column, &mut unreadable).await?;
        }
        if !unreadable.is_empty() {
            warn!(event = "vault.unreadable", org_id = %org, values = unreadable.len());
        }
        let (deleted, kept) = self.delete_unused_keys(work, org).await?;
        info!(event = "vault.rotated", org_id = %org, key_id = %key_id, sealed, rewrapped);
        Ok(Rotated { key_id, sealed, unreadable, rewrapped, deleted, kept })
    }

    /// Wraps an org's keys under the first master key; how many were not.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn rewrap_keys(&self, work: &Work, org: &OrgId) -> Result<u64, EngineError> {
        let rewrapped = self
            .retrying(|| async {
                let mut tx = self.begin(work).await?;
                let rewrapped = tx.keys_rewrap(org).await?;
                if rewrapped > 0 {
                    let (act, detail) = ("vault.rewrapped", json!({ "rewrapped": rewrapped }));
                    self.keep_act(&mut tx, org, work, (act, org.as_str()), detail).await?;
                }
                tx.commit().await?;
                Ok(rewrapped)
            })
            .await?;
        info!(event = "vault.rewrapped", org_id = %org, rewrapped);
        Ok(rewrapped)
    }

    async fn seal_column_anew(
        &self,
        work: &Work,
        org: &OrgId,
        column: &SealedColumn,
        unreadable: &mut Vec<String>,
    ) -> Result<u64, EngineError> {
        let mut sealed = 0;
        let mut after = (String::new(), String::new());
        loop {
            let batch = self.retrying(|| async {
                let mut tx = self.begin(work).await?;
                let batch = tx.seal_anew(org, column, &after, BATCH).await?;
                tx.commit().await?;
                Ok(batch)
            });
            let Some(batch) = batch.await? else { return Ok(sealed) };
            sealed += batch.changed;
            unreadable.extend(batch.unreadable);
            after = batch.last;
        }
    }

    async fn delete_unused_keys(
        &self,
        work: &Work,
        org: &OrgId,
    ) -> Result<(Vec<KeyId>, Vec<KeyId>), EngineError> {
        let before = self.clock.now() - KEPT_FOR;
        let (mut deleted, mut kept) = (Vec::new(), Vec::new());
        for key in self.store.org_keys(org).await? {
            let Some(retired_at) = key.retired_at else { continue };
            if retired_at > before || self.store.sealed_under(org, &key.key_id).await? > 0 {
                kept.push(key.key_id);
                continue;
            }
            let mut tx = self.begin(work).await?;
            tx.key_delete(org, &key.key_id).await?;
            let act = ("vault.key_deleted", key.key_id.as_str());
            self.keep_act(&mut tx, org, work, act, json!({})).await?;
            tx.commit().await?;
            deleted.push(key.key_id);
        }
        Ok((deleted, kept))
    }
}
