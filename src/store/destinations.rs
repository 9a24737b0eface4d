//! Destinations: where money goes, sealed. What only moves money sees their ids; they are opened
//! where bytes for a rail are made, and where a rail is asked about them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use tracing::warn;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{AffiliateId, Destination, DestinationId, MethodKind, OrgId};
use crate::vault::{Cell, OrgVault, VaultError, key_of};

pub(super) const DESTINATIONS_INSERT: &str = "
    INSERT INTO destinations (org_id, destination_id, kind, sealed, key_id, last4, fingerprint,
                              blind_index, created_at)
    {rows}";
const DESTINATION: &str = "
    SELECT destination_id, kind, sealed, key_id FROM destinations
    WHERE org_id = $1 AND destination_id = $2";
// The methods of other affiliates that are paid to the same account now.
const ACCOUNT_SHARED: &str = "
    SELECT DISTINCT m.affiliate_id
    FROM destinations d
    JOIN destinations o ON o.org_id = d.org_id AND o.blind_index = d.blind_index
    JOIN payout_methods m ON m.org_id = o.org_id AND m.destination_id = o.destination_id
    WHERE d.org_id = $1 AND d.destination_id = $2 AND m.affiliate_id <> $3
      AND m.status <> 'disabled'
    ORDER BY m.affiliate_id";

/// A destination to be kept, under an id that was minted for it.
#[derive(Debug, Clone)]
pub struct NewDestination {
    pub destination_id: DestinationId,
    pub destination: Destination,
}

/// A destination as it is read; of an outer join, maybe nothing.
#[derive(Debug, FromRow)]
pub(super) struct SealedDestination {
    pub(super) destination_id: DestinationId,
    kind: Option<MethodKind>,
    sealed: Option<String>,
    key_id: Option<String>,
}

impl SealedDestination {
    /// Its id.
    pub(super) fn id(&self) -> &DestinationId {
        &self.destination_id
    }

    /// Opens it.
    pub(super) fn open(&self, keys: &OrgVault) -> Result<Destination, StoreError> {
        let id = self.destination_id.as_str();
        let (Some(kind), Some(sealed)) = (self.kind, &self.sealed) else {
            return Err(StoreError::Gone { what: "destination", id: id.to_owned() });
        };
        let json = keys.open(cell_of(id), sealed).map_err(|error| match error {
            // A key that the row itself does not name was never lost: the text is not its own.
            VaultError::NoKey { .. } if key_of(sealed) != self.key_id.as_deref() => {
                VaultError::DoesNotOpen { place: cell_of(id).to_string() }
            }
            error => error,
        })?;
        Destination::stored(kind, &json)
            .map_err(|source| StoreError::CorruptDestination { id: id.to_owned(), source })
    }

    /// Opens it; `None` if this row alone cannot be read (damaged, moved, gone), so that the
    /// others can.
    ///
    /// # Errors
    /// [`StoreError::Vault`] if a key of the org is missing: then it is not the row's fault.
    pub(super) fn read(&self, keys: &OrgVault) -> Result<Option<Destination>, StoreError> {
        use VaultError::{DoesNotOpen, NotSealed};
        match self.open(keys) {
            Ok(destination) => Ok(Some(destination)),
            Err(
                error @ (StoreError::Gone { .. }
                | StoreError::CorruptDestination { .. }
                | StoreError::Vault(DoesNotOpen { .. } | NotSealed { .. })),
            ) => {
                warn!(event = "destination.unreadable", destination_id = %self.destination_id,
                      error = %error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The cell that a destination is sealed in.
pub(super) fn cell_of(destination_id: &str) -> Cell<'_> {
    Cell::new("destinations", "sealed", destination_id)
}

/// The fingerprint of all of a destination: two of one text have the same.
fn fingerprint(keys: &OrgVault, json: &str) -> Result<String, StoreError> {
    Ok(keys.fingerprint("destination", json)?)
}

/// A row of `destinations`, sealed. `json` may be older than what a destination has to be now.
pub(super) fn sealed_row(
    keys: &OrgVault,
    (org, id): (&OrgId, &str),
    (kind, json): (MethodKind, &str),
    now: DateTime<Utc>,
) -> Result<Vec<Value>, StoreError> {
    let destination = Destination::stored(kind, json).ok();
    let account = destination.as_ref().and_then(Destination::account);
    let blind_index = account.map(|account| keys.fingerprint("account", &account)).transpose()?;
    let sealed = keys.seal(cell_of(id), json)?;
    let key_id = key_of(&sealed).unwrap_or_default().to_owned();
    Ok(vec![
        org.into(),
        id.into(),
        (&kind).into(),
        sealed.into(),
        key_id.into(),
        destination.as_ref().and_then(Destination::last4).into(),
        fingerprint(keys, json)?.into(),
        blind_index.into(),
        now.into(),
    ])
}

impl Store {
    /// Opens one destination.
    ///
    /// # Errors
    /// [`StoreError::Gone`], [`StoreError::Vault`] or [`StoreError::Database`].
    pub async fn destination(
        &self,
        org: &OrgId,
        id: &DestinationId,
    ) -> Result<Destination, StoreError> {
        self.sealed_destination(org, id).await?.open(&self.vault_of(org).await?)
    }

    /// Opens one destination; `None` if it cannot be read, and others of its org can.
    ///
    /// # Errors
    /// As [`Store::destination`], of keys and not of the row.
    pub async fn readable_destination(
        &self,
        org: &OrgId,
        id: &DestinationId,
    ) -> Result<Option<Destination>, StoreError> {
        self.sealed_destination(org, id).await?.read(&self.vault_of(org).await?)
    }

    async fn sealed_destination(
        &self,
        org: &OrgId,
        id: &DestinationId,
    ) -> Result<SealedDestination, StoreError> {
        let query = sql(DESTINATION).bind(org).bind(id);
        let gone = || SealedDestination {
            destination_id: id.clone(),
            kind: None,
            sealed: None,
            key_id: None,
        };
        Ok(query.read_maybe(&self.pools).await?.unwrap_or_else(gone))
    }
}

impl Tx {
    /// Keeps destinations, sealed. One that changes is a new one.
    pub async fn destinations_insert(
        &mut self,
        org: &OrgId,
        destinations: &[NewDestination],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if destinations.is_empty() {
            return Ok(());
        }
        let keys = self.vault_of(org).await?;
        let row = |new: &NewDestination| {
            let (kind, json) = (new.destination.kind(), new.destination.to_json());
            sealed_row(&keys, (org, new.destination_id.as_str()), (kind, &json), now)
        };
        let rows = destinations.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        sql(DESTINATIONS_INSERT).run_with(self, &rows).await?;
        Ok(())
    }

    /// The fingerprints of destinations, to compare with those that are kept.
    pub async fn fingerprints(
        &mut self,
        org: &OrgId,
        destinations: &[Option<&Destination>],
    ) -> Result<Vec<Option<String>>, StoreError> {
        if destinations.iter().all(Option::is_none) {
            return Ok(vec![None; destinations.len()]);
        }
        let keys = self.vault_of(org).await?;
        let print = |one: &Option<&Destination>| {
            one.map(|destination| fingerprint(&keys, &destination.to_json())).transpose()
        };
        destinations.iter().map(print).collect()
    }

    /// The other affiliates of the org that have a method which pays to the same account.
    pub async fn account_shared_with(
        &mut self,
        org: &OrgId,
        affiliate: &AffiliateId,
        id: &DestinationId,
    ) -> Result<Vec<AffiliateId>, StoreError> {
        let query = sql(ACCOUNT_SHARED).bind(org).bind(id).bind(affiliate);
        let rows: Vec<(AffiliateId,)> = query.all(self).await?;
        Ok(rows.into_iter().map(|(affiliate_id,)| affiliate_id).collect())
    }
}
