//! Alerts: what a person has to look at. One row per cause, however often it is met.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{Actor, AlertId, OrgId};

const ALERT_RAISE: &str = "
    INSERT INTO alerts (org_id, alert_id, kind, subject, message, times, opened_at, last_at)
    VALUES ($1, $2, $3, $4, $5, 1, $6, $6)
    ON CONFLICT (org_id, kind, subject) WHERE closed_at IS NULL
    DO UPDATE SET times = alerts.times + 1, last_at = excluded.last_at,
                  message = excluded.message
    RETURNING times";
const ALERT_PASS: &str = "
    UPDATE alerts SET closed_at = $4, closed_by = $5, note = 'it passed'
    WHERE org_id = $1 AND kind = $2 AND subject = $3 AND closed_at IS NULL";
const ALERT_CLOSE: &str = "
    UPDATE alerts SET closed_at = $3, closed_by = $4, note = $5
    WHERE org_id = $1 AND alert_id = $2 AND closed_at IS NULL";
const ALERTS: &str = "
    SELECT alert_id, kind, subject, message, times, opened_at, last_at, closed_at, closed_by, note
    FROM alerts WHERE org_id = $1 AND (closed_at IS NULL OR $2 = 1) AND alert_id > $3
    ORDER BY alert_id LIMIT $4";

/// An alert as it stands.
#[derive(Debug, Clone, FromRow)]
pub struct AlertRow {
    pub alert_id: AlertId,
    /// What it is about: `awaiting_funds`, `review`, `break`, …
    pub kind: String,
    /// Which one: a rail, a submission, a statement.
    pub subject: String,
    pub message: String,
    /// How often its cause was met.
    pub times: i64,
    pub opened_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<String>,
    pub note: Option<String>,
}

/// An alert to be raised.
#[derive(Debug, Clone)]
pub struct NewAlert {
    pub alert_id: AlertId,
    pub kind: &'static str,
    pub subject: String,
    pub message: String,
}

impl Store {
    /// A page of an org's alerts after `after`, oldest first: the open ones, or all.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn alerts(
        &self,
        org: &OrgId,
        closed_too: bool,
        after: &str,
        limit: i64,
    ) -> Result<Vec<AlertRow>, StoreError> {
        sql(ALERTS).bind(org).bind(closed_too).bind(after).bind(limit).read_all(&self.pools).await
    }
}

impl Tx {
    /// Raises an alert, or counts it again if it is open already; whether it is a new one.
    pub async fn alert_raise(
        &mut self,
        org: &OrgId,
        alert: &NewAlert,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let insert = sql(ALERT_RAISE).bind(org).bind(&alert.alert_id).bind(alert.kind);
        let insert = insert.bind(alert.subject.as_str()).bind(alert.message.as_str());
        let times: Option<(i64,)> = insert.bind(now).maybe(self).await?;
        Ok(times == Some((1,)))
    }

    /// Closes an open alert because its cause is gone; whether there was one.
    pub async fn alert_pass(
        &mut self,
        org: &OrgId,
        (kind, subject): (&str, &str),
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = sql(ALERT_PASS).bind(org).bind(kind).bind(subject).bind(now);
        Ok(update.bind(actor.as_str()).run(self).await? > 0)
    }

    /// Closes an open alert by a person's word; false if there is no such open alert.
    pub async fn alert_close(
        &mut self,
        org: &OrgId,
        alert: &AlertId,
        actor: &Actor,
        note: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = sql(ALERT_CLOSE).bind(org).bind(alert).bind(now);
        Ok(update.bind(actor.as_str()).bind(note).run(self).await? == 1)
    }
}
