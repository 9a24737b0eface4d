//! Provider events: webhooks as they arrived, and the submissions that they are about.

use chrono::{DateTime, Utc};

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{MethodKind, OrgId};
use crate::vault::Cell;

const ORG_EXISTS: &str = "SELECT COUNT(*) FROM orgs WHERE org_id = $1";
// The first delivery's body stays: a second one of the same event is only counted.
const PROVIDER_EVENT_KEEP: &str = "
    INSERT INTO provider_events (org_id, method_kind, event_id, event_type, sealed_body, matched,
                                 deliveries, received_at, last_seen_at)
    VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7)
    ON CONFLICT (org_id, method_kind, event_id) DO UPDATE
    SET deliveries = provider_events.deliveries + 1, matched = excluded.matched,
        last_seen_at = excluded.last_seen_at
    RETURNING deliveries";
// A name is our reference or the provider's id, of a transfer or of a submission. What is being
// sent or was never sent is left alone: there is nothing to ask about yet, or any more.
const SUBMISSIONS_CHECK_NOW: &str = "
    WITH named(name) AS MATERIALIZED ({rows}),
    concerned(submission_id) AS MATERIALIZED (
        SELECT t.submission_id FROM named CROSS JOIN transfers t
        WHERE t.org_id = $1 AND t.reference = named.name
        UNION
        SELECT t.submission_id FROM named CROSS JOIN transfers t
        WHERE t.org_id = $1 AND t.provider_id = named.name
        UNION
        SELECT s.submission_id FROM named CROSS JOIN submissions s
        WHERE s.org_id = $1 AND s.reference = named.name
        UNION
        SELECT s.submission_id FROM named CROSS JOIN submissions s
        WHERE s.org_id = $1 AND s.provider_batch_id = named.name)
    UPDATE submissions
    SET next_check_at = CASE WHEN next_check_at < $3 THEN next_check_at ELSE $3 END
    FROM concerned
    WHERE submissions.org_id = $1 AND submissions.submission_id = concerned.submission_id
      AND submissions.method_kind = $2 AND submissions.state IN ('unknown', 'accepted', 'review')";
const PROVIDER_EVENTS_PRUNE: &str = "
    DELETE FROM provider_events
    WHERE org_id = $1 AND received_at < $2 AND (method_kind, event_id) IN (
        SELECT method_kind, event_id FROM provider_events
        WHERE org_id = $1 AND received_at < $2 LIMIT $3)";

/// A webhook that is proven to be the provider's, to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewProviderEvent<'a> {
    pub method_kind: MethodKind,
    pub event_id: &'a str,
    pub event_type: &'a str,
    /// The body as it arrived.
    pub body: &'a str,
    /// How many submissions it is about, as far as we know.
    pub matched: u64,
}

/// A row of `provider_events`, without its org. A rail's word has no slash in it.
pub(super) fn row_of(kind: MethodKind, event_id: &str) -> String {
    format!("{kind}/{event_id}")
}

/// The cell of an event's body.
pub(super) fn body_cell(row: &str) -> Cell<'_> {
    Cell::new("provider_events", "sealed_body", row)
}

impl Store {
    /// Whether there is such an org.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn org_exists(&self, org: &OrgId) -> Result<bool, StoreError> {
        let (count,): (i64,) = sql(ORG_EXISTS).bind(org).read_one(&self.pools).await?;
        Ok(count > 0)
    }
}

impl Tx {
    /// Keeps an event, or counts it once more; how often it was delivered by now.
    pub async fn provider_event_keep(
        &mut self,
        org: &OrgId,
        event: NewProviderEvent<'_>,
        now: DateTime<Utc>,
    ) -> Result<i64, StoreError> {
        let matched = i64::try_from(event.matched).unwrap_or(i64::MAX);
        let row = row_of(event.method_kind, event.event_id);
        let sealed = self.vault_of(org).await?.seal(body_cell(&row), event.body)?;
        let insert = sql(PROVIDER_EVENT_KEEP).bind(org).bind(&event.method_kind);
        let insert = insert.bind(event.event_id).bind(event.event_type).bind(sealed);
        let row: Option<(i64,)> = insert.bind(matched).bind(now).maybe(self).await?;
        Ok(row.map_or(1, |(deliveries,)| deliveries))
    }

    /// Brings the check of a rail's submissions forward to `now`, those that `names` name by our
    /// reference or the provider's id; how many there are, due already or not.
    pub async fn submissions_check_now(
        &mut self,
        org: &OrgId,
        kind: MethodKind,
        names: &[&str],
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let rows: Vec<Vec<Value>> = names.iter().map(|name| vec![Value::from(*name)]).collect();
        let update = sql(SUBMISSIONS_CHECK_NOW).bind(org).bind(&kind).bind(now);
        update.run_with(self, &rows).await
    }

    /// Deletes up to `limit` events that arrived before `before`; how many it deleted.
    pub async fn provider_events_prune(
        &mut self,
        org: &OrgId,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        sql(PROVIDER_EVENTS_PRUNE).bind(org).bind(before).bind(limit).run(self).await
    }
}
