//! What was kept in the open before there was a vault: sealed once, right after the migration, in
//! batches that can be taken up again, and then cleared out of the files of the database too.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use tracing::{info, warn};

use super::destinations::{self, sealed_row};
use super::dialect::{Value, sql};
use super::letters::{account_cell, account_index, correction_cell};
use super::provider_events::{body_cell, row_of};
use super::{Store, StoreError, Tx};
use crate::domain::{MethodKind, OrgId};
use crate::vault::OrgVault;

/// Values sealed in one transaction.
const BATCH: i64 = 500;
/// The migration since which there is a vault.
const VAULT: i64 = 7;

const NEXT_ORG: &str = "SELECT org_id FROM unsealed ORDER BY org_id LIMIT 1";
const NEXT: &str = "
    SELECT u.place, u.method_kind, u.row_id, u.plaintext, u.created_at FROM unsealed u
    WHERE u.org_id = $1 ORDER BY u.place, u.method_kind, u.row_id LIMIT $2 {lock:u}";
// Nobody adds to it, so that all before the last one of a batch are in the batch.
const DONE: &str = "
    DELETE FROM unsealed
    WHERE org_id = $1 AND (place, method_kind, row_id) <= ($2, $3, $4)";
const COUNT: &str = "SELECT COUNT(*) FROM unsealed";
const ACCOUNTS: &str = "
    WITH read(notice_id, sealed, account_index) AS MATERIALIZED ({rows})
    UPDATE notices SET sealed_account = read.sealed, account_index = read.account_index
    FROM read WHERE notices.org_id = $1 AND notices.notice_id = read.notice_id";
const CORRECTIONS: &str = "
    WITH read(notice_id, sealed) AS MATERIALIZED ({rows})
    UPDATE notices SET sealed_correction = read.sealed
    FROM read WHERE notices.org_id = $1 AND notices.notice_id = read.notice_id";
const BODIES: &str = "
    WITH read(method_kind, event_id, sealed) AS MATERIALIZED ({rows})
    UPDATE provider_events SET sealed_body = read.sealed
    FROM read WHERE provider_events.org_id = $1
      AND provider_events.method_kind = read.method_kind
      AND provider_events.event_id = read.event_id";
const TO_CLEAR: &str = "SELECT COUNT(*) FROM counters WHERE name = 'unsealed'";
const CLEARED: &str = "DELETE FROM counters WHERE name = 'unsealed'";

#[derive(Debug, FromRow)]
struct OpenRow {
    place: String,
    method_kind: String,
    row_id: String,
    plaintext: String,
    created_at: DateTime<Utc>,
}

/// A batch, sealed, by where it goes.
#[derive(Default)]
struct Sealed {
    destinations: Vec<Vec<Value>>,
    accounts: Vec<Vec<Value>>,
    corrections: Vec<Vec<Value>>,
    bodies: Vec<Vec<Value>>,
}

impl Sealed {
    fn add(&mut self, org: &OrgId, keys: &OrgVault, row: &OpenRow) -> Result<(), StoreError> {
        let (id, text) = (row.row_id.as_str(), row.plaintext.as_str());
        let kind = || -> Result<MethodKind, StoreError> {
            let unknown = |error: crate::domain::UnknownWord| sqlx::Error::Decode(error.into());
            Ok(row.method_kind.parse().map_err(unknown)?)
        };
        match row.place.as_str() {
            "destination" => {
                let sealed = sealed_row(keys, (org, id), (kind()?, text), row.created_at)?;
                self.destinations.push(sealed);
            }
            "account" => self.accounts.push(vec![
                id.into(),
                keys.seal(account_cell(id), text)?.into(),
                account_index(keys, text)?.into(),
            ]),
            "correction" => {
                self.corrections
                    .push(vec![id.into(), keys.seal(correction_cell(id), text)?.into()]);
            }
            "body" => {
                let cell_row = row_of(kind()?, id);
                let sealed = keys.seal(body_cell(&cell_row), text)?;
                self.bodies.push(vec![row.method_kind.as_str().into(), id.into(), sealed.into()]);
            }
            other => unreachable!("the migration makes no place {other}"),
        }
        Ok(())
    }
}

impl Store {
    /// Seals everything that was kept in the open before, and clears the files of it. It may be
    /// cut off, and done by several at once. With nothing to do, it is two small questions.
    ///
    /// # Errors
    /// [`StoreError::Vault`] without a master key; [`StoreError::Database`].
    pub async fn seal_rest(&self) -> Result<u64, StoreError> {
        let mut sealed = 0;
        while let Some((org,)) = sql(NEXT_ORG).read_maybe::<(OrgId,)>(&self.pools).await? {
            let mut tx = self.begin().await?;
            sealed += tx.seal_batch(&org).await?;
            tx.commit().await?;
        }
        let (to_clear,): (i64,) = sql(TO_CLEAR).read_one(&self.pools).await?;
        if to_clear > 0 {
            info!(event = "vault.clearing", sealed);
            if !self.pools.clear_deleted().await? {
                warn!(
                    event = "vault.not_cleared",
                    "what was in the open is sealed, and still in \
                      the database's files, which somebody else reads: it is tried at each start"
                );
                return Ok(sealed);
            }
            let mut tx = self.begin().await?;
            sql(CLEARED).run(&mut tx).await?;
            tx.commit().await?;
        }
        Ok(sealed)
    }

    /// How many values wait to be sealed; `None` if the tables are older than the vault.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn unsealed(&self) -> Result<Option<u64>, StoreError> {
        if !self.has_vault().await? {
            return Ok(None);
        }
        let (count,): (i64,) = sql(COUNT).read_one(&self.pools).await?;
        Ok(Some(count.unsigned_abs()))
    }

    /// Whether the tables are new enough for a vault.
    pub(super) async fn has_vault(&self) -> Result<bool, StoreError> {
        Ok(self.pools.applied().await?.is_some_and(|version| version >= VAULT))
    }
}

impl Tx {
    async fn seal_batch(&mut self, org: &OrgId) -> Result<u64, StoreError> {
        let rows: Vec<OpenRow> = sql(NEXT).bind(org).bind(BATCH).all(self).await?;
        let Some(last) = rows.last() else { return Ok(0) };
        let keys = self.vault_of(org).await?;
        let mut sealed = Sealed::default();
        for row in &rows {
            sealed.add(org, &keys, row)?;
        }
        sql(destinations::DESTINATIONS_INSERT).run_with(self, &sealed.destinations).await?;
        sql(ACCOUNTS).bind(org).run_with(self, &sealed.accounts).await?;
        sql(CORRECTIONS).bind(org).run_with(self, &sealed.corrections).await?;
        sql(BODIES).bind(org).run_with(self, &sealed.bodies).await?;
        let done = sql(DONE).bind(org).bind(last.place.as_str());
        done.bind(last.method_kind.as_str()).bind(last.row_id.as_str()).run(self).await?;
        Ok(rows.len() as u64)
    }
}
