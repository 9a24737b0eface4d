//! Endpoints: added, changed, given new secrets, deleted.

use serde_json::json;

use super::address::{AddressError, origin};
use super::mail::{is_mail, recipient};
use super::{By, Notifier, NotifyError, Secret};
use crate::domain::{EndpointId, OrgId, Wants};
use crate::store::{EndpointRow, StoreError, Tx};

/// Endpoints of an org. Each one costs a row for every event.
const MOST_ENDPOINTS: usize = 20;
/// The longest description, in characters.
const LONGEST_DESCRIPTION: usize = 200;
/// The alert about an endpoint that said that it is gone.
pub(super) const GONE: &str = "webhook_gone";
/// The alert about an endpoint that events could not be delivered to.
pub(super) const FAILING: &str = "webhook_failing";

/// An endpoint to be added.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    pub url: String,
    pub description: String,
    pub wants: Wants,
}

/// What is to be different; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct EndpointChange {
    pub url: Option<String>,
    pub description: Option<String>,
    pub wants: Option<Wants>,
    pub enabled: Option<bool>,
}

/// An endpoint with the secret that it was given just now. Nobody is shown it again.
pub struct Revealed {
    pub endpoint: EndpointRow,
    pub secret: Secret,
}

impl Notifier {
    /// Adds an endpoint with a new secret.
    ///
    /// # Errors
    /// [`NotifyError`] if the address may not be called, is an endpoint's already, or there are
    /// too many endpoints.
    pub async fn add(
        &self,
        by: &By,
        org: &OrgId,
        new: &NewEndpoint,
    ) -> Result<Revealed, NotifyError> {
        check_description(&new.description)?;
        let url = self.check_address(&new.url).await?;
        let secret = Secret::of(self.clock.secret());
        let endpoint_id = self.clock.mint::<EndpointId>();
        let endpoint = self
            .retrying(|| async {
                let now = self.clock.now();
                let mut tx = self.store.begin().await?;
                let there = tx.endpoints(org).await?;
                if let Some(taken) = there.iter().find(|one| one.url == url) {
                    let endpoint_id = taken.endpoint_id.clone();
                    return Err(NotifyError::AddressTaken { endpoint_id });
                }
                if there.len() >= MOST_ENDPOINTS {
                    return Err(NotifyError::TooManyEndpoints { most: MOST_ENDPOINTS });
                }
                let cell = EndpointRow::secret_cell(&endpoint_id);
                let row = EndpointRow {
                    endpoint_id: endpoint_id.clone(),
                    url: url.clone(),
                    description: new.description.clone(),
                    wants: new.wants.clone(),
                    enabled: true,
                    disabled_because: None,
                    sealed_secret: tx.seal(org, cell, &secret.reveal()).await?,
                    sealed_old_secret: None,
                    old_secret_until: None,
                    created_by: by.actor.to_string(),
                    created_at: now,
                    updated_at: now,
                };
                tx.endpoint_insert(org, &row).await?;
                let act = ("webhook_endpoint.added", endpoint_id.as_str());
                let detail = json!({ "at": origin(&row.url), "events": row.wants });
                self.keep_act(&mut tx, org, by, act, detail).await?;
                tx.commit().await?;
                Ok(row)
            })
            .await?;
        Ok(Revealed { endpoint, secret })
    }

    /// Changes an endpoint. Once it is enabled again, what it missed while it was disabled waits
    /// for a replay; what had failed before goes on.
    ///
    /// # Errors
    /// [`NotifyError::NoEndpoint`], or as [`Notifier::add`].
    pub async fn change(
        &self,
        by: &By,
        org: &OrgId,
        endpoint_id: &EndpointId,
        change: &EndpointChange,
    ) -> Result<EndpointRow, NotifyError> {
        let url = match &change.url {
            Some(url) => Some(self.check_address(url).await?),
            None => None,
        };
        change.description.as_deref().map_or(Ok(()), check_description)?;
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.store.begin().await?;
            let mut row = self.locked(&mut tx, org, endpoint_id).await?;
            if let Some(url) = &url {
                let there = tx.endpoints(org).await?;
                let other =
                    there.iter().find(|one| one.url == *url && one.endpoint_id != *endpoint_id);
                if let Some(taken) = other {
                    let endpoint_id = taken.endpoint_id.clone();
                    return Err(NotifyError::AddressTaken { endpoint_id });
                }
                row.url.clone_from(url);
            }
            row.description = change.description.clone().unwrap_or(row.description);
            row.wants = change.wants.clone().unwrap_or(row.wants);
            if let Some(enabled) = change.enabled.filter(|enabled| *enabled != row.enabled) {
                row.enabled = enabled;
                row.disabled_because = (!enabled).then(|| format!("by {}", by.actor));
                if enabled {
                    tx.alert_pass(org, (GONE, endpoint_id.as_str()), &by.actor, now).await?;
                }
            }
            row.updated_at = now;
            tx.endpoint_change(org, &row).await?;
            let detail = json!({
                "at": origin(&row.url), "events": row.wants, "enabled": row.enabled,
                "description": row.description,
            });
            let act = ("webhook_endpoint.changed", endpoint_id.as_str());
            self.keep_act(&mut tx, org, by, act, detail).await?;
            tx.commit().await?;
            Ok(row)
        })
        .await
    }

    /// Gives an endpoint a new secret. The old one signs beside it for a while, so that the
    /// receiver can change over at leisure. While it does, another rotation replaces the new one.
    ///
    /// # Errors
    /// [`NotifyError::NoEndpoint`].
    pub async fn rotate(
        &self,
        by: &By,
        org: &OrgId,
        endpoint_id: &EndpointId,
    ) -> Result<Revealed, NotifyError> {
        let secret = Secret::of(self.clock.secret());
        let endpoint = self
            .retrying(|| async {
                let now = self.clock.now();
                let mut tx = self.store.begin().await?;
                let mut row = self.locked(&mut tx, org, endpoint_id).await?;
                let keys = tx.vault_of(org).await?;
                let (cell, old) = (
                    EndpointRow::secret_cell(endpoint_id),
                    EndpointRow::old_secret_cell(endpoint_id),
                );
                let before = keys.open(cell, &row.sealed_secret).map_err(StoreError::from)?;
                row.sealed_secret = keys.seal(cell, &secret.reveal()).map_err(StoreError::from)?;
                // Repeated, it was most likely its answer that was lost: then the receiver still
                // knows the old one, and nobody the one in between.
                if row.old_secret_until.is_none_or(|until| until <= now) {
                    let sealed = keys.seal(old, &before).map_err(StoreError::from)?;
                    row.sealed_old_secret = Some(sealed);
                    row.old_secret_until = Some(now + self.settings.overlap());
                }
                let until = row.old_secret_until;
                row.updated_at = now;
                tx.endpoint_change(org, &row).await?;
                let act = ("webhook_endpoint.secret_rotated", endpoint_id.as_str());
                self.keep_act(&mut tx, org, by, act, json!({ "oldSecretUntil": until })).await?;
                tx.commit().await?;
                Ok(row)
            })
            .await?;
        Ok(Revealed { endpoint, secret })
    }

    /// Deletes an endpoint; what had not reached it is dropped.
    ///
    /// # Errors
    /// [`NotifyError::NoEndpoint`].
    pub async fn delete(
        &self,
        by: &By,
        org: &OrgId,
        endpoint_id: &EndpointId,
    ) -> Result<(), NotifyError> {
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.store.begin().await?;
            let row = self.locked(&mut tx, org, endpoint_id).await?;
            tx.endpoint_delete(org, endpoint_id, now).await?;
            for kind in [GONE, FAILING] {
                tx.alert_pass(org, (kind, endpoint_id.as_str()), &by.actor, now).await?;
            }
            let act = ("webhook_endpoint.deleted", endpoint_id.as_str());
            self.keep_act(&mut tx, org, by, act, json!({ "at": origin(&row.url) })).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// The endpoints of an org, oldest first.
    ///
    /// # Errors
    /// [`NotifyError::Store`].
    pub async fn endpoints(&self, org: &OrgId) -> Result<Vec<EndpointRow>, NotifyError> {
        Ok(self.store.endpoints(org).await?)
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`NotifyError::NoEndpoint`].
    pub async fn endpoint(
        &self,
        org: &OrgId,
        endpoint_id: &EndpointId,
    ) -> Result<EndpointRow, NotifyError> {
        let row = self.store.endpoint(org, endpoint_id).await?;
        row.ok_or(NotifyError::NoEndpoint { endpoint_id: endpoint_id.clone() })
    }

    async fn locked(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        endpoint_id: &EndpointId,
    ) -> Result<EndpointRow, NotifyError> {
        let row = tx.endpoint_lock(org, endpoint_id).await?;
        row.ok_or(NotifyError::NoEndpoint { endpoint_id: endpoint_id.clone() })
    }

    /// An address that may be called, written anew.
    async fn check_address(&self, text: &str) -> Result<String, NotifyError> {
        if is_mail(text) {
            let to = recipient(text)?;
            if !self.post.takes_mail() {
                return Err(AddressError::NoMailServer.into());
            }
            return Ok(format!("mailto:{to}"));
        }
        let check = tokio::time::timeout(self.settings.timeout(), self.guard.check(text)).await;
        let url = check.unwrap_or_else(|_| Err(AddressError::Unresolved("of it".to_owned())))?;
        Ok(url.to_string())
    }

    /// The secrets that sign now: the current one, and the old one while it lasts.
    pub(super) async fn live_secrets(
        &self,
        org: &OrgId,
        row: &EndpointRow,
    ) -> Result<Vec<Secret>, NotifyError> {
        let (now, id) = (self.clock.now(), &row.endpoint_id);
        let keys = self.store.vault_of(org).await?;
        let old = row.sealed_old_secret.as_deref();
        let old = row.old_secret_until.filter(|until| *until > now).and(old);
        let sealed = [
            (EndpointRow::secret_cell(id), Some(row.sealed_secret.as_str())),
            (EndpointRow::old_secret_cell(id), old),
        ];
        let mut secrets = Vec::new();
        for (cell, sealed) in sealed {
            let Some(sealed) = sealed else { continue };
            let text = keys.open(cell, sealed).map_err(StoreError::from)?;
            secrets.extend(Secret::parse(&text));
        }
        Ok(secrets)
    }
}

fn check_description(text: &str) -> Result<(), NotifyError> {
    if text.chars().count() > LONGEST_DESCRIPTION || text.chars().any(char::is_control) {
        return Err(NotifyError::BadDescription { most: LONGEST_DESCRIPTION });
    }
    Ok(())
}
