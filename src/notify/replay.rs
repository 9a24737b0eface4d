//! Replay: what was told is told again, to who wants it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{By, Notifier, NotifyError};
use crate::domain::{EndpointId, EventId, OrgId};
use crate::store::{EndpointRow, KeptEvent, Replayed};

/// Events per transaction.
const PAGE: i64 = 500;

/// What to tell again.
#[derive(Debug, Clone)]
pub enum Again {
    /// One event, whether it arrived or not.
    Event(EventId),
    /// Every event from an instant to before another one.
    Between { from: DateTime<Utc>, to: DateTime<Utc>, which: Replayed },
}

/// A wish to tell again.
#[derive(Debug, Clone)]
pub struct Replay {
    pub again: Again,
    /// The one endpoint to tell; all that want it otherwise.
    pub endpoint_id: Option<EndpointId>,
}

impl Notifier {
    /// Puts deliveries into the queue again, at once and with all their tries; also those that an
    /// endpoint missed because it was disabled, or not there yet. Kinds that an endpoint does not
    /// want are not sent to it. How many deliveries.
    ///
    /// # Errors
    /// [`NotifyError::NoEvent`], [`NotifyError::NoEndpoint`], [`NotifyError::BackwardTime`].
    pub async fn replay(&self, by: &By, org: &OrgId, replay: &Replay) -> Result<u64, NotifyError> {
        let endpoints = match &replay.endpoint_id {
            Some(endpoint_id) => vec![self.endpoint(org, endpoint_id).await?],
            None => self.store.endpoints(org).await?,
        };
        match &replay.again {
            Again::Event(event_id) => {
                let event = self.store.event(org, event_id).await?;
                let missing = || NotifyError::NoEvent { event_id: event_id.clone() };
                let event = event.ok_or_else(missing)?;
                let act = json!({ "event": event_id, "endpoint": replay.endpoint_id });
                let events = std::slice::from_ref(&event);
                let subject = event_id.as_str();
                self.queue_again(by, org, (events, Replayed::All), &endpoints, Some((subject, act)))
                    .await
            }
            Again::Between { from, to, which } => {
                if from >= to {
                    return Err(NotifyError::BackwardTime);
                }
                // Years that not every database can hold have no events either.
                let from = &(*from).clamp(DateTime::UNIX_EPOCH, self.clock.now());
                let to = &(*to).clamp(DateTime::UNIX_EPOCH, self.clock.now() + TimeDelta::days(1));
                let mut act = Some((
                    "events",
                    json!({
                        "from": from, "to": to, "endpoint": replay.endpoint_id,
                        "deliveredToo": *which == Replayed::All,
                    }),
                ));
                let (mut queued, mut after) = (0, None);
                loop {
                    let mut tx = self.store.begin().await?;
                    let page = tx.events_between(org, (*from, *to), after.as_ref(), PAGE).await?;
                    drop(tx);
                    queued +=
                        self.queue_again(by, org, (&page, *which), &endpoints, act.take()).await?;
                    if i64::try_from(page.len()).unwrap_or(PAGE) < PAGE {
                        return Ok(queued);
                    }
                    after = page.into_iter().next_back();
                }
            }
        }
    }

    /// Queues one page in one transaction; the first one keeps the act.
    async fn queue_again(
        &self,
        by: &By,
        org: &OrgId,
        (events, which): (&[KeptEvent], Replayed),
        endpoints: &[EndpointRow],
        act: Option<(&str, serde_json::Value)>,
    ) -> Result<u64, NotifyError> {
        let mut deliveries = Vec::new();
        for event in events {
            let wanting = endpoints.iter().filter(|one| one.wants.covers(event.kind));
            deliveries.extend(wanting.map(|one| (&event.event_id, &one.endpoint_id)));
        }
        self.retrying(|| async {
            let mut tx = self.store.begin().await?;
            let now = self.clock.now();
            let queued = tx.deliveries_replay(org, &deliveries, which, now).await?;
            if let Some((subject, detail)) = &act {
                let act = ("webhook.replayed", *subject);
                self.keep_act(&mut tx, org, by, act, detail.clone()).await?;
            }
            tx.commit().await?;
            Ok(queued)
        })
        .await
    }
}
