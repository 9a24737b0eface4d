//! Endpoints: where an org wants to be told what happens.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{EndpointId, OrgId, Wants};
use crate::vault::Cell;

const ENDPOINT_INSERT: &str = "
    INSERT INTO webhook_endpoints (org_id, endpoint_id, url, description, wants, enabled,
                                   disabled_because, sealed_secret, sealed_old_secret,
                                   old_secret_until,                                    created_by, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
const ENDPOINT_CHANGE: &str = "
    UPDATE webhook_endpoints
    SET url = $3, description = $4, wants = $5, enabled = $6, disabled_because = $7,
        sealed_secret = $8, sealed_old_secret = $9, old_secret_until = $10, updated_at = $11
    WHERE org_id = $1 AND endpoint_id = $2 AND deleted_at IS NULL";
macro_rules! endpoints {
    ($where:literal) => { concat!("
    SELECT e.endpoint_id, e.url, e.description, e.wants, e.enabled, e.disabled_because,
           e.sealed_secret, e.sealed_old_secret, e.old_secret_until, e.created_by, e.created_at, e.updated_at
    FROM webhook_endpoints e WHERE e.org_id = $1 AND e.deleted_at IS NULL ", $where) };
}
const ENDPOINTS: &str = endpoints!("ORDER BY e.endpoint_id");
const ENDPOINT: &str = endpoints!("AND e.endpoint_id = $2");
const ENDPOINT_LOCK: &str = endpoints!("AND e.endpoint_id = $2 {lock:e}");
const ENDPOINT_DELETE: &str = "
    UPDATE webhook_endpoints
    SET deleted_at = $3, updated_at = $3, enabled = 0, sealed_secret = NULL, sealed_old_secret = NULL,
        old_secret_until = NULL
    WHERE org_id = $1 AND endpoint_id = $2 AND deleted_at IS NULL";
const DELIVERIES_DROP: &str = "
    UPDATE webhook_deliveries
    SET status = 'dropped', next_attempt_at = NULL, claimed_until = NULL
    WHERE org_id = $1 AND endpoint_id = $2 AND next_attempt_at IS NOT NULL";

#[derive(FromRow)]
struct Row {
    endpoint_id: EndpointId,
    url: String,
    description: String,
    wants: String,
    enabled: i64,
    disabled_because: Option<String>,
    sealed_secret: String,
    sealed_old_secret: Option<String>,
    old_secret_until: Option<DateTime<Utc>>,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// An endpoint as it stands.
#[derive(Debug, Clone)]
pub struct EndpointRow {
    pub endpoint_id: EndpointId,
    pub url: String,
    pub description: String,
    pub wants: Wants,
    pub enabled: bool,
    /// Why it is not enabled, where it is not.
    pub disabled_because: Option<String>,
    pub sealed_secret: String,
    /// The one before, which still signs, and until when.
    pub sealed_old_secret: Option<String>,
    pub old_secret_until: Option<DateTime<Utc>>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl EndpointRow {
    /// The cell that an endpoint's secret is sealed in.
    pub fn secret_cell(endpoint: &EndpointId) -> Cell<'_> {
        Cell::new("webhook_endpoints", "sealed_secret", endpoint.as_str())
    }

    /// The cell that the secret before it is sealed in.
    pub fn old_secret_cell(endpoint: &EndpointId) -> Cell<'_> {
        Cell::new("webhook_endpoints", "sealed_old_secret", endpoint.as_str())
    }
}

/// The kinds that an endpoint wants, as they are stored.
///
/// # Errors
/// [`StoreError::Corrupt`].
pub(super) fn read_wants(endpoint: &EndpointId, json: &str) -> Result<Wants, StoreError> {
    let id = endpoint.to_string();
    serde_json::from_str(json).map_err(|source| StoreError::Corrupt { id, source })
}

fn write_wants(wants: &Wants) -> String {
    serde_json::to_string(wants).expect("a list of words is always JSON")
}

impl Row {
    fn read(self) -> Result<EndpointRow, StoreError> {
        Ok(EndpointRow {
            wants: read_wants(&self.endpoint_id, &self.wants)?,
            endpoint_id: self.endpoint_id,
            url: self.url,
            description: self.description,
            enabled: self.enabled == 1,
            disabled_because: self.disabled_because,
            sealed_secret: self.sealed_secret,
            sealed_old_secret: self.sealed_old_secret,
            old_secret_until: self.old_secret_until,
            created_by: self.created_by,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

impl Store {
    /// The endpoints of an org, oldest first. There are few: their number is bounded.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn endpoints(&self, org: &OrgId) -> Result<Vec<EndpointRow>, StoreError> {
        let rows: Vec<Row> = sql(ENDPOINTS).bind(org).read_all(&self.pools).await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// One endpoint, if there is one of this id that was not deleted.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn endpoint(
        &self,
        org: &OrgId,
        endpoint: &EndpointId,
    ) -> Result<Option<EndpointRow>, StoreError> {
        let row = sql(ENDPOINT).bind(org).bind(endpoint).read_maybe::<Row>(&self.pools).await?;
        row.map(Row::read).transpose()
    }
}

impl Tx {
    /// The endpoints of an org, as this transaction sees them.
    pub async fn endpoints(&mut self, org: &OrgId) -> Result<Vec<EndpointRow>, StoreError> {
        let rows: Vec<Row> = sql(ENDPOINTS).bind(org).all(self).await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// One endpoint, locked.
    pub async fn endpoint_lock(
        &mut self,
        org: &OrgId,
        endpoint: &EndpointId,
    ) -> Result<Option<EndpointRow>, StoreError> {
        let row = sql(ENDPOINT_LOCK).bind(org).bind(endpoint).maybe::<Row>(self).await?;
        row.map(Row::read).transpose()
    }

    /// Inserts an endpoint.
    pub async fn endpoint_insert(
        &mut self,
        org: &OrgId,
        new: &EndpointRow,
    ) -> Result<(), StoreError> {
        let insert = sql(ENDPOINT_INSERT).bind(org).bind(&new.endpoint_id).bind(new.url.as_str());
        let insert = insert.bind(new.description.as_str()).bind(write_wants(&new.wants));
        let insert = insert.bind(new.enabled).bind(new.disabled_because.clone());
        let insert = insert.bind(new.sealed_secret.as_str()).bind(new.sealed_old_secret.clone());
        let insert = insert.bind(new.old_secret_until).bind(new.created_by.as_str());
        insert.bind(new.created_at).bind(new.updated_at).run(self).await?;
        Ok(())
    }

    /// Writes an endpoint that this transaction has locked.
    pub async fn endpoint_change(
        &mut self,
        org: &OrgId,
        row: &EndpointRow,
    ) -> Result<(), StoreError> {
        let update = sql(ENDPOINT_CHANGE).bind(org).bind(&row.endpoint_id).bind(row.url.as_str());
        let update = update.bind(row.description.as_str()).bind(write_wants(&row.wants));
        let update = update.bind(row.enabled).bind(row.disabled_because.clone());
        let update = update.bind(row.sealed_secret.as_str()).bind(row.sealed_old_secret.clone());
        update.bind(row.old_secret_until).bind(row.updated_at).run(self).await?;
        Ok(())
    }

    /// Deletes an endpoint: its secrets are gone, and nothing more is sent to it; whether there
    /// was one.
    pub async fn endpoint_delete(
        &mut self,
        org: &OrgId,
        endpoint: &EndpointId,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        if sql(ENDPOINT_DELETE).bind(org).bind(endpoint).bind(now).run(self).await? == 0 {
            return Ok(false);
        }
        sql(DELIVERIES_DROP).bind(org).bind(endpoint).run(self).await?;
        Ok(true)
    }
}
