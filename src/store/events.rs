//! Events for others: written in the transaction of what happened, with a delivery for each
//! endpoint that wants them. An org that has no such endpoint pays one small read for it.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::endpoints::read_wants;
use super::{StoreError, Tx};
use crate::clock::Clock;
use crate::domain::{
    AffiliateId, Currency, DeliveryStatus, EndpointId, EventId, EventKind, MethodKind, OrgId,
    PayoutId, PayoutOrigin, PayoutStatus, ProgramId, SubmissionId, Wants,
};

// A disabled endpoint counts as one that wants: what happens meanwhile is kept, so that it can be
// replayed once it is enabled again.
const WANTED: &str = "
    SELECT endpoint_id, wants, enabled FROM webhook_endpoints
    WHERE org_id = $1 AND deleted_at IS NULL ORDER BY endpoint_id";
const EVENT_INSERT: &str = "
    INSERT INTO webhook_events (org_id, event_id, kind, subject, body, occurred_at) {rows}";
const DELIVERY_INSERT: &str = "
    INSERT INTO webhook_deliveries (org_id, event_id, endpoint_id, status, attempts, failures,
                                    next_attempt_at, created_at)
    {rows}";

const PAYOUTS_TOLD: &str = "
    WITH told(payout_id) AS MATERIALIZED ({rows})
    SELECT p.payout_id, p.affiliate_id, p.program_id, p.currency, p.amount_minor, p.status,
           p.method_kind, p.origin, p.period, p.retry_of, p.requested_at, p.failure_code,
           p.failure_message, p.approval_reasons
    FROM told CROSS JOIN payouts p WHERE p.org_id = $1 AND p.payout_id = told.payout_id";
const PAYOUTS_UNDER_WAY: &str = "
    SELECT payout_id FROM transfers
    WHERE org_id = $1 AND submission_id = $2 AND state IN ('sending', 'unknown', 'accepted')
    ORDER BY position";

/// Something that happened, to be told.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub kind: EventKind,
    /// The id of what it happened to.
    pub subject: String,
    /// What the receiver is told: ids, amounts in major units, words. No account numbers, no
    /// secrets.
    pub data: serde_json::Value,
}

/// What others are told of a payout. Where its money goes is not part of it.
#[derive(Debug, Clone, FromRow)]
pub struct ToldPayout {
    pub payout_id: PayoutId,
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub currency: Currency,
    pub amount_minor: i64,
    pub status: PayoutStatus,
    pub method_kind: MethodKind,
    pub origin: PayoutOrigin,
    pub period: Option<String>,
    pub retry_of: Option<PayoutId>,
    pub requested_at: DateTime<Utc>,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    /// Words between commas.
    pub approval_reasons: Option<String>,
}

#[derive(FromRow)]
struct WantedRow {
    endpoint_id: EndpointId,
    wants: String,
    enabled: i64,
}

/// An endpoint that may want events.
struct Listener {
    endpoint_id: EndpointId,
    wants: Wants,
    enabled: bool,
}

/// What is sent. Its bytes are made once, so that every delivery of it is the same.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: EventKind,
    timestamp: String,
    data: &'a serde_json::Value,
}

impl Tx {
    /// Whether anybody wants events of this kind: what costs a read to tell need not be read.
    pub async fn event_wanted(&mut self, org: &OrgId, kind: EventKind) -> Result<bool, StoreError> {
        Ok(self.listeners(org).await?.iter().any(|listener| listener.wants.covers(kind)))
    }

    /// Tells what happened, within the transaction that makes it happen: an event each, and a
    /// delivery to each enabled endpoint that wants it. Kinds that nobody wants are not kept.
    pub async fn event_insert(
        &mut self,
        org: &OrgId,
        events: &[NewEvent],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let listeners = self.listeners(org).await?;
        let wanted = |event: &&NewEvent| listeners.iter().any(|one| one.wants.covers(event.kind));
        let wanted: Vec<(EventId, &NewEvent)> =
            events.iter().filter(wanted).map(|event| (Clock::mint_at(now), event)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let row = |(id, event): &(EventId, &NewEvent)| event_row(org, id, event, now);
        let rows: Vec<_> = wanted.iter().map(row).collect();
        sql(EVENT_INSERT).run_with(self, &rows).await?;
        let mut rows = Vec::new();
        for (id, event) in &wanted {
            let to = listeners.iter().filter(|one| one.enabled && one.wants.covers(event.kind));
            rows.extend(to.map(|one| delivery_row(org, id, &one.endpoint_id, now)));
        }
        sql(DELIVERY_INSERT).run_with(self, &rows).await?;
        Ok(())
    }

    /// Payouts as they stand in this transaction, to be told.
    pub async fn payouts_told(
        &mut self,
        org: &OrgId,
        payouts: &[&PayoutId],
    ) -> Result<Vec<ToldPayout>, StoreError> {
        let rows: Vec<_> = payouts.iter().map(|id| vec![Value::from(*id)]).collect();
        sql(PAYOUTS_TOLD).bind(org).all_with(self, &rows).await
    }

    /// The payouts of a submission whose money may be on its way.
    pub async fn payouts_under_way(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
    ) -> Result<Vec<PayoutId>, StoreError> {
        let query = sql(PAYOUTS_UNDER_WAY).bind(org).bind(submission);
        let rows: Vec<(PayoutId,)> = query.all(self).await?;
        Ok(rows.into_iter().map(|(payout_id,)| payout_id).collect())
    }

    async fn listeners(&mut self, org: &OrgId) -> Result<Vec<Listener>, StoreError> {
        let rows: Vec<WantedRow> = sql(WANTED).bind(org).all(self).await?;
        let listener = |row: WantedRow| {
            let wants = read_wants(&row.endpoint_id, &row.wants)?;
            Ok(Listener { endpoint_id: row.endpoint_id, wants, enabled: row.enabled == 1 })
        };
        rows.into_iter().map(listener).collect()
    }
}

fn event_row(org: &OrgId, id: &EventId, event: &NewEvent, now: DateTime<Utc>) -> Vec<Value> {
    let timestamp = now.to_rfc3339_opts(SecondsFormat::Millis, true);
    let body = Body { kind: event.kind, timestamp, data: &event.data };
    let body = serde_json::to_string(&body).expect("JSON and words are always JSON");
    vec![
        org.into(),
        id.into(),
        (&event.kind).into(),
        event.subject.as_str().into(),
        body.into(),
        now.into(),
    ]
}

/// A delivery that is due at once.
pub(super) fn delivery_row(
    org: &OrgId,
    event: &EventId,
    endpoint: &EndpointId,
    now: DateTime<Utc>,
) -> Vec<Value> {
    let none = 0;
    vec![
        org.into(),
        event.into(),
        endpoint.into(),
        (&DeliveryStatus::Pending).into(),
        none.into(),
        none.into(),
        now.into(),
        now.into(),
    ]
}
