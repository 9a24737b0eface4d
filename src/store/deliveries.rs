//! Deliveries: one event on its way to one endpoint, claimed by whoever sends it.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{DeliveryStatus, EndpointId, EventId, EventKind, OrgId};

// There are few endpoints, and any number of deliveries: each endpoint is asked for its next one.
const ENDPOINTS_DUE: &str = "
    SELECT e.org_id, e.endpoint_id FROM webhook_endpoints e
    WHERE e.enabled = 1 AND e.deleted_at IS NULL AND EXISTS (
        SELECT 1 FROM webhook_deliveries d
        WHERE d.org_id = e.org_id AND d.endpoint_id = e.endpoint_id
          AND d.next_attempt_at IS NOT NULL AND d.next_attempt_at <= $1)
    ORDER BY e.org_id, e.endpoint_id";
const DELIVERIES_DUE: &str = "
    SELECT d.event_id, d.attempts, d.failures, v.kind, v.body
    FROM webhook_deliveries d
    JOIN webhook_events v ON v.org_id = d.org_id AND v.event_id = d.event_id
    WHERE d.org_id = $1 AND d.endpoint_id = $2 AND d.next_attempt_at IS NOT NULL
      AND d.next_attempt_at <= $3
    ORDER BY d.next_attempt_at, d.event_id LIMIT $4 {lock-free:d}";
const DELIVERIES_CLAIM: &str = "
    WITH claimed(event_id) AS MATERIALIZED ({rows})
    UPDATE webhook_deliveries
    SET attempts = attempts + 1, last_attempt_at = $3, next_attempt_at = $4, claimed_until = $4
    FROM claimed
    WHERE webhook_deliveries.org_id = $1 AND webhook_deliveries.endpoint_id = $2
      AND webhook_deliveries.event_id = claimed.event_id";
// Fenced by the attempt's number: who comes too late says nothing any more.
const DELIVERIES_RECORD: &str = "
    WITH done(event_id, attempt, status, failures, next_attempt_at, answer, problem, delivered_at)
    AS MATERIALIZED ({rows})
    UPDATE webhook_deliveries
    SET status = done.status, failures = done.failures, next_attempt_at = done.next_attempt_at,
        claimed_until = NULL, last_status = done.answer, last_problem = done.problem,
        delivered_at = COALESCE(done.delivered_at, webhook_deliveries.delivered_at)
    FROM done
    WHERE webhook_deliveries.org_id = $1 AND webhook_deliveries.endpoint_id = $2
      AND webhook_deliveries.event_id = done.event_id
      AND webhook_deliveries.attempts = done.attempt AND webhook_deliveries.status = 'pending'";
const DELIVERIES_LIST: &str = "
    SELECT d.event_id, d.endpoint_id, v.kind, v.subject, d.status, d.attempts, d.next_attempt_at,
           d.last_attempt_at, d.last_status, d.last_problem, d.delivered_at, v.occurred_at
    FROM webhook_deliveries d
    JOIN webhook_events v ON v.org_id = d.org_id AND v.event_id = d.event_id
    WHERE d.org_id = $1 AND (d.endpoint_id = $2 OR $2 = '') AND (d.event_id = $3 OR $3 = '')
      AND (d.status = $4 OR $4 = '')
      AND ($5 = '' OR (d.event_id, d.endpoint_id) < ($5, $6))
    ORDER BY d.event_id DESC, d.endpoint_id DESC LIMIT $7";
const EVENT: &str =
    "SELECT event_id, kind, occurred_at FROM webhook_events WHERE org_id = $1 AND event_id = $2";
const EVENTS_BETWEEN: &str = "
    SELECT event_id, kind, occurred_at FROM webhook_events
    WHERE org_id = $1 AND occurred_at >= $2 AND occurred_at < $3
      AND (occurred_at, event_id) > ($4, $5)
    ORDER BY occurred_at, event_id LIMIT $6";
// What is being sent at this moment is left alone: it is on its way.
const DELIVERIES_REPLAY: &str = "
    INSERT INTO webhook_deliveries (org_id, event_id, endpoint_id, status, attempts, failures,
                                    next_attempt_at, created_at)
    {rows}
    ON CONFLICT (org_id, event_id, endpoint_id) DO UPDATE
    SET status = 'pending', failures = 0, next_attempt_at = excluded.next_attempt_at
    WHERE (webhook_deliveries.claimed_until IS NULL
           OR webhook_deliveries.claimed_until <= excluded.next_attempt_at)";
const DELIVERIES_REPLAY_MISSED: &str = "
    INSERT INTO webhook_deliveries (org_id, event_id, endpoint_id, status, attempts, failures,
                                    next_attempt_at, created_at)
    {rows}
    ON CONFLICT (org_id, event_id, endpoint_id) DO UPDATE
    SET status = 'pending', failures = 0, next_attempt_at = excluded.next_attempt_at
    WHERE (webhook_deliveries.claimed_until IS NULL
           OR webhook_deliveries.claimed_until <= excluded.next_attempt_at)
      AND webhook_deliveries.status <> 'delivered'";
const DELIVERIES_PRUNE: &str = "
    DELETE FROM webhook_deliveries WHERE org_id = $1 AND event_id IN (
        SELECT event_id FROM webhook_events WHERE org_id = $1 AND occurred_at < $2
        ORDER BY occurred_at, event_id LIMIT $3)";
const EVENTS_PRUNE: &str = "
    DELETE FROM webhook_events WHERE org_id = $1 AND event_id IN (
        SELECT event_id FROM webhook_events WHERE org_id = $1 AND occurred_at < $2
        ORDER BY occurred_at, event_id LIMIT $3)";

/// A delivery in hand: claimed, about to be sent.
#[derive(Debug, Clone, FromRow)]
pub struct DueDelivery {
    pub event_id: EventId,
    /// The attempts before this one.
    pub attempts: i64,
    /// Those of them that failed since it was put into the queue.
    pub failures: i64,
    pub kind: EventKind,
    /// The bytes to send.
    pub body: String,
}

/// What came of an attempt, to be written by whoever made it.
#[derive(Debug, Clone)]
pub struct Attempted {
    pub event_id: EventId,
    /// Its number.
    pub attempt: i64,
    pub status: DeliveryStatus,
    pub failures: i64,
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The HTTP status that was answered.
    pub answer: Option<u16>,
    pub problem: Option<String>,
}

/// A delivery as it stands.
#[derive(Debug, Clone, FromRow)]
pub struct DeliveryRow {
    pub event_id: EventId,
    pub endpoint_id: EndpointId,
    pub kind: EventKind,
    pub subject: String,
    pub status: DeliveryStatus,
    pub attempts: i64,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub last_attempt_at: Option<DateTime<Utc>>,
    pub last_status: Option<i64>,
    pub last_problem: Option<String>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub occurred_at: DateTime<Utc>,
}

/// Which deliveries to list; empty text means any.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub endpoint_id: String,
    pub event_id: String,
    pub status: String,
    /// Only deliveries before this event and endpoint.
    pub before: (String, String),
    pub limit: i64,
}

/// An event that was kept.
#[derive(Debug, Clone, FromRow)]
pub struct KeptEvent {
    pub event_id: EventId,
    pub kind: EventKind,
    pub occurred_at: DateTime<Utc>,
}

/// Which deliveries a replay makes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// Those that arrived too.
    All,
    /// Those that never arrived.
    Missed,
}

impl Store {
    /// The enabled endpoints with a delivery that is due by `now`, over all orgs.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn endpoints_due(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Vec<(OrgId, EndpointId)>, StoreError> {
        sql(ENDPOINTS_DUE).bind(now).read_all(&self.pools).await
    }

    /// A page of an org's deliveries, newest event first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn deliveries(
        &self,
        org: &OrgId,
        filter: &DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let query = sql(DELIVERIES_LIST).bind(org).bind(filter.endpoint_id.as_str());
        let query = query.bind(filter.event_id.as_str()).bind(filter.status.as_str());
        let (event, endpoint) = &filter.before;
        let query = query.bind(event.as_str()).bind(endpoint.as_str());
        query.bind(filter.limit).read_all(&self.pools).await
    }

    /// One event, if it was kept.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn event(
        &self,
        org: &OrgId,
        event: &EventId,
    ) -> Result<Option<KeptEvent>, StoreError> {
        sql(EVENT).bind(org).bind(event).read_maybe(&self.pools).await
    }
}

impl Tx {
    /// Takes deliveries of one endpoint in hand that are due by `now` and that nobody else has:
    /// until `until` they are this worker's.
    pub async fn deliveries_claim(
        &mut self,
        org: &OrgId,
        endpoint: &EndpointId,
        (now, until): (DateTime<Utc>, DateTime<Utc>),
        limit: i64,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let query = sql(DELIVERIES_DUE).bind(org).bind(endpoint).bind(now).bind(limit);
        let due: Vec<DueDelivery> = query.all(self).await?;
        let rows: Vec<_> = due.iter().map(|one| vec![Value::from(&one.event_id)]).collect();
        let update = sql(DELIVERIES_CLAIM).bind(org).bind(endpoint).bind(now).bind(until);
        update.run_with(self, &rows).await?;
        Ok(due)
    }

    /// Writes what came of attempts; those that somebody else has made since are left alone. How
    /// many were written.
    pub async fn deliveries_record(
        &mut self,
        org: &OrgId,
        endpoint: &EndpointId,
        attempted: &[Attempted],
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let row = |one: &Attempted| {
            let delivered = (one.status == DeliveryStatus::Delivered).then_some(now);
            vec![
                (&one.event_id).into(),
                one.attempt.into(),
                (&one.status).into(),
                one.failures.into(),
                one.next_attempt_at.into(),
                Value::Int(one.answer.map(i64::from)),
                one.problem.clone().into(),
                delivered.into(),
            ]
        };
        let rows: Vec<_> = attempted.iter().map(row).collect();
        sql(DELIVERIES_RECORD).bind(org).bind(endpoint).run_with(self, &rows).await
    }

    /// The events of a time, oldest first, after the one given.
    pub async fn events_between(
        &mut self,
        org: &OrgId,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        after: Option<&KeptEvent>,
        limit: i64,
    ) -> Result<Vec<KeptEvent>, StoreError> {
        let (at, id) = match after {
            Some(event) => (event.occurred_at, event.event_id.as_str()),
            None => (from, ""),
        };
        let query = sql(EVENTS_BETWEEN).bind(org).bind(from).bind(to).bind(at).bind(id);
        query.bind(limit).all(self).await
    }

    /// Puts deliveries into the queue again, or for the first time; how many.
    pub async fn deliveries_replay(
        &mut self,
        org: &OrgId,
        deliveries: &[(&EventId, &EndpointId)],
        which: Replayed,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let row = |(event, endpoint): &(&EventId, &EndpointId)| {
            super::events::delivery_row(org, event, endpoint, now)
        };
        let rows: Vec<_> = deliveries.iter().map(row).collect();
        let text = match which {
            Replayed::All => DELIVERIES_REPLAY,
            Replayed::Missed => DELIVERIES_REPLAY_MISSED,
        };
        sql(text).run_with(self, &rows).await
    }

    /// Deletes up to `limit` events from before `before`, with their deliveries; how many events.
    pub async fn webhook_events_prune(
        &mut self,
        org: &OrgId,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        sql(DELIVERIES_PRUNE).bind(org).bind(before).bind(limit).run(self).await?;
        sql(EVENTS_PRUNE).bind(org).bind(before).bind(limit).run(self).await
    }
}
