//! The courier: takes deliveries that are due in hand, sends them, and writes down what came of
//! each. Endpoints are served side by side, so that a slow one holds up no other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use metrics::counter;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use super::address::origin;
use super::endpoints::{FAILING, GONE};
use super::post::{Answer, Letter};
use super::{Notifier, NotifyError};
use crate::domain::{Actor, AlertId, DeliveryStatus, EndpointId, OrgId};
use crate::store::{Attempted, DueDelivery, EndpointRow, NewAlert, Tx};

/// Deliveries to one endpoint that are under way at once.
const BATCH: i64 = 8;
/// Endpoints that are served at once.
const MOST_ENDPOINTS: usize = 32;
/// Batches after which an endpoint lets others go first.
const MOST_BATCHES: usize = 50;
/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time of one look; a database that hangs must not hang the courier.
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// The waits after the first failure, the second, …; after the last of them it is given up.
const WAITS: [TimeDelta; 9] = [
    TimeDelta::seconds(5),
    TimeDelta::minutes(5),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(5),
    TimeDelta::hours(10),
    TimeDelta::hours(14),
    TimeDelta::hours(20),
    TimeDelta::hours(24),
];
/// The longest wait that a receiver may ask for.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(24);

/// Delivers what is due. Cloning shares what is in hand.
#[derive(Clone)]
pub struct Courier {
    notifier: Notifier,
    /// The endpoints that this process serves at this moment.
    in_hand: Arc<Mutex<HashSet<(OrgId, EndpointId)>>>,
    seats: Arc<Semaphore>,
}

impl Courier {
    /// A courier of `notifier`'s deliveries.
    pub fn new(notifier: Notifier) -> Self {
        let seats = Arc::new(Semaphore::new(MOST_ENDPOINTS));
        Self { notifier, in_hand: Arc::default(), seats }
    }

    /// Delivers until `stop`, then finishes what is in hand.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let tours = TaskTracker::new();
        debug!(event = "notify.started");
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = stop.cancelled() => break,
            }
            match tokio::time::timeout(LONGEST_LOOK, self.look(&tours, stop)).await {
                Ok(Ok(())) => {}
                Ok(Err(cause)) => error!(event = "notify.look.failed", cause = %cause),
                Err(_) => error!(event = "notify.look.timed_out", seconds = LONGEST_LOOK.as_secs()),
            }
        }
        tours.close();
        tours.wait().await;
        debug!(event = "notify.stopped");
    }

    /// One look: every endpoint with something due is served, those in hand already apart.
    async fn look(&self, tours: &TaskTracker, stop: &CancellationToken) -> Result<(), NotifyError> {
        for due in self.notifier.store.endpoints_due(self.notifier.clock.now()).await? {
            let Some(taken) = self.take(due) else { continue };
            let (courier, stop) = (self.clone(), stop.clone());
            tours.spawn(async move {
                let (org, endpoint) = &taken.due;
                let _seat = courier.seats.acquire().await;
                if let Err(cause) = courier.notifier.serve(org, endpoint, &stop).await {
                    error!(event = "notify.endpoint.failed", org_id = %org, endpoint_id = %endpoint,
                           cause = %cause);
                }
            });
        }
        Ok(())
    }

    /// Takes an endpoint in hand, unless it is already.
    fn take(&self, due: (OrgId, EndpointId)) -> Option<Taken> {
        let is_free = lock(&self.in_hand).insert(due.clone());
        is_free.then(|| Taken { due, in_hand: Arc::clone(&self.in_hand) })
    }
}

/// An endpoint in hand, until it is dropped.
struct Taken {
    due: (OrgId, EndpointId),
    in_hand: Arc<Mutex<HashSet<(OrgId, EndpointId)>>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        lock(&self.in_hand).remove(&self.due);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notifier {
    /// Delivers everything that is due now, over all orgs; how many attempts were made.
    ///
    /// # Errors
    /// [`NotifyError::Store`]; what was delivered before it stands.
    pub async fn deliver_due(&self) -> Result<usize, NotifyError> {
        let due = self.store.endpoints_due(self.clock.now()).await?;
        let stop = &CancellationToken::new();
        let served = futures::stream::iter(&due)
            .map(|(org, endpoint)| self.serve(org, endpoint, stop))
            .buffer_unordered(MOST_ENDPOINTS);
        let served: Vec<_> = served.collect().await;
        served.into_iter().sum()
    }

    /// Sends one endpoint what is due, batch by batch; how many attempts were made.
    async fn serve(
        &self,
        org: &OrgId,
        endpoint: &EndpointId,
        stop: &CancellationToken,
    ) -> Result<usize, NotifyError> {
        let mut attempts = 0;
        for _ in 0..MOST_BATCHES {
            if stop.is_cancelled() {
                break;
            }
            let made = self.serve_batch(org, endpoint).await?;
            attempts += made;
            if made == 0 {
                break;
            }
        }
        Ok(attempts)
    }

    async fn serve_batch(&self, org: &OrgId, endpoint: &EndpointId) -> Result<usize, NotifyError> {
        let Some(row) = self.store.endpoint(org, endpoint).await?.filter(|row| row.enabled) else {
            return Ok(0);
        };
        // What cannot be signed is not taken in hand: it waits until the vault opens.
        let secrets = self.live_secrets(org, &row).await?;
        let claimed = self
            .retrying(|| async {
                let now = self.clock.now();
                let lease = (now, now + self.settings.lease());
                let mut tx = self.store.begin().await?;
                let claimed = tx.deliveries_claim(org, endpoint, lease, BATCH).await?;
                tx.commit().await?;
                Ok(claimed)
            })
            .await?;
        let sends = claimed.iter().map(|one| {
            let at = self.clock.now().timestamp();
            let (id, body, secrets) = (one.event_id.as_str(), one.body.as_str(), &*secrets);
            let url = row.url.as_str();
            async move {
                let org = org.as_str();
                self.post.send(url, &Letter { org, id, at, body, secrets }).await
            }
        });
        let answers = futures::future::join_all(sends).await;
        let now = self.clock.now();
        let attempted: Vec<_> = claimed
            .iter()
            .zip(&answers)
            .map(|(one, answer)| {
                debug!(event = "notify.attempted", org_id = %org, endpoint_id = %endpoint,
                       event_id = %one.event_id, kind = %one.kind, attempt = one.attempts + 1,
                       status = answer.status, problem = answer.problem.as_deref());
                let outcome = if answer.problem.is_none() { "delivered" } else { "failed" };
                counter!("payoutd_webhook_attempts_total", "outcome" => outcome).increment(1);
                self.judge(one, answer, now)
            })
            .collect();
        if !attempted.is_empty() {
            let gone = answers.iter().any(|answer| answer.status == Some(410));
            self.record(org, &row, &attempted, gone).await?;
        }
        Ok(attempted.len())
    }

    /// What an answer does to a delivery.
    fn judge(&self, due: &DueDelivery, answer: &Answer, now: DateTime<Utc>) -> Attempted {
        let mut attempted = Attempted {
            event_id: due.event_id.clone(),
            attempt: due.attempts + 1,
            status: DeliveryStatus::Delivered,
            failures: due.failures,
            next_attempt_at: None,
            answer: answer.status,
            problem: answer.problem.clone(),
        };
        if answer.problem.is_none() {
            return attempted;
        }
        attempted.failures += 1;
        let wait = usize::try_from(due.failures).ok().and_then(|failed| WAITS.get(failed));
        (attempted.status, attempted.next_attempt_at) = match wait {
            // Who says that it is gone is not asked again.
            _ if answer.status == Some(410) => (DeliveryStatus::Failed, None),
            None => (DeliveryStatus::Failed, None),
            Some(wait) => {
                let asked = answer.retry_after.and_then(|wait| TimeDelta::from_std(wait).ok());
                let asked = asked.unwrap_or_default().min(LONGEST_WAIT);
                let wait = self.clock.jittered(*wait).max(asked);
                (DeliveryStatus::Pending, Some(now + wait))
            }
        };
        attempted
    }

    /// Writes what came of a batch, in one transaction with what follows from it.
    async fn record(
        &self,
        org: &OrgId,
        row: &EndpointRow,
        attempted: &[Attempted],
        gone: bool,
    ) -> Result<(), NotifyError> {
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.store.begin().await?;
            let written = tx.deliveries_record(org, &row.endpoint_id, attempted, now).await?;
            if written < attempted.len() as u64 {
                warn!(event = "notify.lease.lost", org_id = %org, endpoint_id = %row.endpoint_id);
            }
            if written > 0 {
                self.draw_conclusions(&mut tx, org, row, attempted, gone).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    async fn draw_conclusions(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        row: &EndpointRow,
        attempted: &[Attempted],
        gone: bool,
    ) -> Result<(), NotifyError> {
        let (now, id) = (self.clock.now(), &row.endpoint_id);
        let mut given_up = attempted.iter().filter(|one| one.status == DeliveryStatus::Failed);
        let arrived = attempted.iter().any(|one| one.status == DeliveryStatus::Delivered);
        if gone {
            let stands = |now: &EndpointRow| now.enabled && now.url == row.url;
            if let Some(mut row) = tx.endpoint_lock(org, id).await?.filter(stands) {
                row.enabled = false;
                row.disabled_because = Some("it answered 410 Gone".to_owned());
                row.updated_at = now;
                tx.endpoint_change(org, &row).await?;
            }
            let words = format!(
                "webhook endpoint {id} ({}) answered 410 Gone and is told nothing any more: enable \
                 it again and replay what it missed, or delete it",
                origin(&row.url)
            );
            self.alert(tx, org, (GONE, id), words).await?;
        } else if let Some(last) = given_up.next_back() {
            let words = format!(
                "webhook endpoint {id} ({}) did not take event {} in {} tries ({}): mend it, then \
                 replay what it missed",
                origin(&row.url),
                last.event_id,
                last.failures,
                last.problem.as_deref().unwrap_or_default()
            );
            self.alert(tx, org, (FAILING, id), words).await?;
        } else if arrived {
            let actor = Actor::job("notify");
            tx.alert_pass(org, (FAILING, id.as_str()), &actor, now).await?;
        }
        Ok(())
    }

    async fn alert(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        (kind, endpoint): (&'static str, &EndpointId),
        message: String,
    ) -> Result<(), NotifyError> {
        let subject = endpoint.to_string();
        let alert = NewAlert { alert_id: self.clock.mint::<AlertId>(), kind, subject, message };
        if tx.alert_raise(org, &alert, self.clock.now()).await? {
            warn!(event = "alert.opened", org_id = %org, alert_id = %alert.alert_id, kind,
                  subject = alert.subject.as_str(), message = alert.message.as_str());
        }
        Ok(())
    }
}
