//! API keys: made, listed, taken back, and proven.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::json;
use thiserror::Error;
use tracing::{error, info, warn};

use super::Refusal;
use crate::clock::Clock;
use crate::domain::{Actor, ApiKey, ApiKeyId, AuditId, Caller, OrgId, Permission, Role};
use crate::store::{ApiKeyRow, NewApiKey, NewAudit, Store, StoreError, Tx};

/// The longest name of a key, in characters.
const LONGEST_NAME: usize = 100;
/// The longest life of a key that has an end.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(3_660);
/// How often it is written down that a key is in use.
const USE_KEPT_EVERY: TimeDelta = TimeDelta::hours(1);

/// The keys of every org. Cloning shares the store.
#[derive(Clone)]
pub struct Keys {
    store: Store,
    clock: Clock,
}

/// What a key is to be.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    /// For people: which program has it.
    pub name: String,
    pub permissions: Vec<Permission>,
    /// Until when it is good; for ever without.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Who asks for a change of keys, and by which request.
#[derive(Debug, Clone)]
pub struct Asker {
    pub actor: Actor,
    pub request_id: Option<String>,
}

/// Why a key is not made, or not taken back.
#[derive(Debug, Error)]
pub enum KeyError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Unusable(&'static str),
    #[error("key {key_id} does not exist in this org")]
    NoKey { key_id: ApiKeyId },
}

impl KeyError {
    /// A stable code, for the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store_failed",
            Self::Unusable(_) => "key_unusable",
            Self::NoKey { .. } => "no_key",
        }
    }
}

impl Keys {
    /// The keys in `store`.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Makes a key. What is returned is the only copy of it.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] if it could never be used, or not be told from others.
    pub async fn create(
        &self,
        org: &OrgId,
        asker: &Asker,
        request: KeyRequest,
    ) -> Result<(ApiKey, ApiKeyRow), KeyError> {
        let now = self.clock.now();
        let wanted = checked(request, now)?;
        // Each once, in one order.
        let named = |permission: &Permission| wanted.permissions.contains(permission);
        let permissions = Permission::ALL.iter().copied().filter(named).collect();
        let key = ApiKey::new(self.clock.mint(), self.clock.secret());
        let row = NewApiKey {
            key_id: key.id().clone(),
            name: wanted.name,
            hash: key.hash(),
            permissions,
            expires_at: wanted.expires_at,
            created_by: asker.actor.clone(),
        };
        let mut tx = self.store.begin().await?;
        tx.api_key_insert(org, &row, now).await?;
        let detail = json!({
            "name": row.name, "permissions": row.permissions, "expiresAt": row.expires_at,
        });
        self.keep_act(&mut tx, org, asker, ("key.created", key.id()), detail).await?;
        tx.commit().await?;
        info!(event = "key.created", org_id = %org, key_id = %key.id(), actor = %asker.actor);
        let row = ApiKeyRow {
            org_id: org.clone(),
            key_id: row.key_id,
            name: row.name,
            hash: row.hash,
            permissions: row.permissions,
            expires_at: row.expires_at,
            created_by: row.created_by.to_string(),
            created_at: now,
            last_used_at: None,
            revoked_at: None,
            revoked_by: None,
        };
        Ok((key, row))
    }

    /// Takes a key back, for ever and at once. One that was taken back before stays so.
    ///
    /// # Errors
    /// [`KeyError::NoKey`] if the org has no such key.
    pub async fn revoke(&self, org: &OrgId, asker: &Asker, key: &ApiKeyId) -> Result<(), KeyError> {
        let mut tx = self.store.begin().await?;
        let Some(row) = tx.api_key_lock(org, key).await? else {
            return Err(KeyError::NoKey { key_id: key.clone() });
        };
        if tx.api_key_revoke(org, key, &asker.actor, self.clock.now()).await? {
            let detail = json!({ "name": row.name });
            self.keep_act(&mut tx, org, asker, ("key.revoked", key), detail).await?;
            tx.commit().await?;
            info!(event = "key.revoked", org_id = %org, key_id = %key, actor = %asker.actor);
        }
        Ok(())
    }

    /// Whom the key in an `x-api-key` header belongs to.
    pub(super) async fn prove(&self, text: &str) -> Result<Caller, Refusal> {
        let key = ApiKey::parse(text).ok_or(Refusal::INVALID_KEY)?;
        let row = self.store.api_key(key.id()).await.map_err(|cause| {
            error!(event = "auth.key.not_read", %cause);
            Refusal::STORE_FAILED
        })?;
        let row = row.ok_or(Refusal::INVALID_KEY)?;
        // In constant time: how much of a guess is right is nobody's to learn.
        verify_slices_are_equal(key.hash().as_bytes(), row.hash.as_bytes())
            .map_err(|_| Refusal::INVALID_KEY)?;
        let now = self.clock.now();
        if row.revoked_at.is_some() {
            return Err(Refusal::KEY_REVOKED);
        }
        if row.expires_at.is_some_and(|end| now >= end) {
            return Err(Refusal::KEY_EXPIRED);
        }
        self.keep_use(&row, now).await;
        let ApiKeyRow { org_id, key_id, permissions, .. } = row;
        Ok(Caller { org: org_id, id: key_id.into(), roles: vec![Role::Service], permissions })
    }

    /// Writes down that the key is in use, once an hour. That this fails is no reason to let nobody
    /// in.
    async fn keep_use(&self, row: &ApiKeyRow, now: DateTime<Utc>) {
        if row.last_used_at.is_some_and(|at| now - at < USE_KEPT_EVERY) {
            return;
        }
        let kept = async {
            let mut tx = self.store.begin().await?;
            tx.api_key_used(&row.org_id, &row.key_id, now).await?;
            tx.commit().await
        };
        if let Err(cause) = kept.await {
            warn!(event = "auth.key.use_not_kept", key_id = %row.key_id, %cause);
        }
    }

    async fn keep_act(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        asker: &Asker,
        (action, key): (&'static str, &ApiKeyId),
        detail: serde_json::Value,
    ) -> Result<(), StoreError> {
        let audit = NewAudit {
            audit_id: self.clock.mint::<AuditId>(),
            actor: asker.actor.clone(),
            action,
            subject: key.to_string(),
            detail,
            request_id: asker.request_id.clone(),
        };
        tx.audit_insert(org, &audit, self.clock.now()).await
    }
}

/// The request, if a key can be made of it.
fn checked(request: KeyRequest, now: DateTime<Utc>) -> Result<KeyRequest, KeyError> {
    let name = &request.name;
    let is_nameless = name.trim().is_empty() || name.chars().any(char::is_control);
    if is_nameless || name.chars().count() > LONGEST_NAME {
        return Err(KeyError::Unusable("a key has a name, of 1 to 100 printable characters"));
    }
    if request.permissions.is_empty() {
        return Err(KeyError::Unusable("a key without a permission opens nothing: name some"));
    }
    if request.expires_at.is_some_and(|end| end <= now) {
        return Err(KeyError::Unusable("the key would have expired already"));
    }
    if request.expires_at.is_some_and(|end| end - now > LONGEST_LIFE) {
        return Err(KeyError::Unusable("the key would live for more than ten years"));
    }
    // To the millisecond, which is what both databases keep.
    let expires_at = request.expires_at.map(|end| end.trunc_subsecs(3));
    Ok(KeyRequest { expires_at, ..request })
}
