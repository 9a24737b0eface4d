//! The audit log: who did what, written in the transaction of the change itself. Append-only; the
//! database refuses anything else.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{Actor, AuditId, OrgId};

const AUDIT_INSERT: &str = "
    INSERT INTO audit_log (org_id, audit_id, actor, action, subject, detail, request_id, occurred_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const AUDIT_PAGE: &str = "
    SELECT audit_id, actor, action, subject, detail, request_id, occurred_at
    FROM audit_log
    WHERE org_id = $1 AND (subject = $2 OR $2 = '') AND (actor = $3 OR $3 = '')
      AND (audit_id < $4 OR $4 = '')
    ORDER BY audit_id DESC LIMIT $5";

/// An act to be kept.
#[derive(Debug, Clone)]
pub struct NewAudit {
    pub audit_id: AuditId,
    pub actor: Actor,
    /// What was done: `wallet.frozen`, `commission.reversed`, …
    pub action: &'static str,
    /// The id of what it was done to.
    pub subject: String,
    /// What a reader needs beside that, without secrets and account numbers.
    pub detail: serde_json::Value,
    /// The HTTP request that it came by.
    pub request_id: Option<String>,
}

/// An act as it was kept. `detail` is JSON.
#[derive(Debug, Clone, FromRow)]
pub struct AuditRow {
    pub audit_id: AuditId,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: String,
    pub request_id: Option<String>,
    pub occurred_at: DateTime<Utc>,
}

/// Which acts to list; empty text means any.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub subject: String,
    pub actor: String,
    /// Only acts before this id.
    pub before: String,
    pub limit: i64,
}

impl Store {
    /// A page of the audit log, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn audit_page(
        &self,
        org: &OrgId,
        filter: &AuditFilter,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let query = sql(AUDIT_PAGE).bind(org).bind(filter.subject.as_str());
        let query = query.bind(filter.actor.as_str()).bind(filter.before.as_str());
        query.bind(filter.limit).read_all(&self.pools).await
    }
}

impl Tx {
    /// Keeps an act, together with whatever else this transaction writes.
    pub async fn audit_insert(
        &mut self,
        org: &OrgId,
        audit: &NewAudit,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let insert = sql(AUDIT_INSERT).bind(org).bind(&audit.audit_id).bind(audit.actor.as_str());
        let insert = insert.bind(audit.action).bind(audit.subject.as_str());
        let insert = insert.bind(audit.detail.to_string()).bind(audit.request_id.clone());
        insert.bind(now).run(self).await?;
        Ok(())
    }
}
