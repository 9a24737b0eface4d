//! Stripe Connect: one transfer at a time from our balance to a connected account's.
//!
//! The idempotency key is the transfer's reference and the attempt, and holds for a day; the
//! reference is the `transfer_group` too, and stays for ever. So a lost answer is looked for by its
//! group first, and sent again only while the key is certainly alive.

mod account;
mod books;
mod call;
mod list;
mod look_up;
mod units;
mod verdict;
mod webhook;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::http::{Failure, base_url, http_client};
use super::signature::OrgSecrets;
use super::{
    Delivery, Found, Funds, Heard, Outgoing, OutgoingItem, Problem, Provider, Sent, Terms, Vetted,
};
use crate::domain::{Currency, Destination, MethodKind, Statement};
use account::Closed;
use call::{Line, Unread};
use webhook::Seal;

/// How Stripe is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeSettings {
    /// `https://api.stripe.com`, or the sandbox.
    pub base_url: String,
    /// The platform's secret key; empty if the rail is not used. Never printed.
    pub secret_key: SecretString,
    /// Longest time of one call, in milliseconds.
    pub timeout_ms: u64,
    /// How long an idempotency key is relied upon. Stripe may forget it after 24 hours.
    pub key_life_hours: u32,
    /// Secrets of webhook endpoints, comma-separated: `ORG=SECRET` for one org, `SECRET` for all.
    pub webhook_secrets: SecretString,
    /// How far a webhook's signature may be from now, in seconds, before or after.
    pub webhook_tolerance_s: u32,
    /// Calls of this process in one second.
    pub calls_per_second: u32,
}

impl StripeSettings {
    /// Whether the rail is to be used at all.
    pub fn is_configured(&self) -> bool {
        !self.secret_key.expose_secret().is_empty()
    }
}

/// The Stripe rail.
pub struct Stripe {
    line: Line,
    seal: Seal,
    key_life: TimeDelta,
}

impl Stripe {
    /// The rail of these settings. Nothing is called yet.
    ///
    /// # Errors
    /// [`Problem`] `bad_settings` if a setting is out of its range, `http_client` if the host's
    /// TLS cannot be set up.
    pub fn new(settings: StripeSettings) -> Result<Self, Problem> {
        let bad = |words: &str| Err(Problem::new("bad_settings", words));
        let base = base_url("stripe.base_url", &settings.base_url)?;
        if settings.timeout_ms == 0 {
            return bad("stripe.timeout_ms is 0; a call needs some time");
        }
        if !(1..=23).contains(&settings.key_life_hours) {
            return bad("stripe.key_life_hours is not 1 to 23; Stripe forgets a key after 24");
        }
        let http = http_client(&base, Duration::from_millis(settings.timeout_ms))?;
        let seal = Seal {
            secrets: OrgSecrets::parse(settings.webhook_secrets.expose_secret()),
            tolerance: TimeDelta::seconds(settings.webhook_tolerance_s.into()),
        };
        let key_life = TimeDelta::hours(settings.key_life_hours.into());
        Ok(Self { line: Line::new(http, base, &settings), seal, key_life })
    }

    /// Whether the payee can be sent this now; what became of the send if not.
    async fn gate(&self, item: &OutgoingItem) -> Result<(), Sent> {
        units::to_stripe(item.amount).map_err(|problem| verdict::refused(item, problem))?;
        match account::ask(&self.line, wire::account(item)).await {
            Ok(()) => Ok(()),
            Err(Closed::Unable(problem)) => Err(verdict::refused(item, problem)),
            Err(Closed::Unasked(Unread::Refused(401 | 403, no))) => {
                Err(Sent::Blocked(no.problem()))
            }
            // This account cannot be asked about; others may.
            Err(Closed::Unasked(unread)) => Err(Sent::NotSent(unread.problem().of_method())),
        }
    }
}

/// The one item of a submission.
fn only(outgoing: &Outgoing) -> Result<&OutgoingItem, Problem> {
    match outgoing.items.as_slice() {
        [item] => Ok(item),
        items => {
            let words = format!("Stripe takes one transfer at a time, not {}", items.len());
            Err(Problem::new("one_transfer_at_a_time", words))
        }
    }
}

#[async_trait]
impl Provider for Stripe {
    fn kind(&self) -> MethodKind {
        MethodKind::StripeConnect
    }

    fn terms(&self) -> Terms {
        Terms {
            batch_size: 1,
            resend_window: self.key_life,
            finds_by_reference: true,
            // A transfer is made at once: one that is still open has something wrong with it.
            horizon: TimeDelta::days(3),
            watch: TimeDelta::days(90),
            call_off_after: None,
        }
    }

    fn render(&self, outgoing: &Outgoing) -> String {
        only(outgoing).map(|item| wire::render(outgoing, item)).unwrap_or_default()
    }

    async fn send(&self, outgoing: &Outgoing, body: &str) -> Sent {
        let item = match only(outgoing) {
            Ok(item) => item,
            Err(problem) => return Sent::NotSent(problem),
        };
        // A new key is a new transfer to Stripe, so the ones before it have to be known to have
        // made none.
        if outgoing.attempt > 1 {
            match look_up::look_up(&self.line, item, None).await {
                Found::Nothing(_) => {}
                Found::Items(made) => {
                    let id = made.into_iter().next().and_then(|report| report.provider_id);
                    return Sent::Accepted { provider_batch_id: id };
                }
                Found::Unclear(problem) => return Sent::NotSent(problem.of_method()),
            }
        }
        if let Err(sent) = self.gate(item).await {
            return sent;
        }
        if let Some(problem) = outgoing.leave.held().await {
            return Sent::NotSent(problem);
        }
        let key = format!("{}-{}", item.reference, outgoing.attempt);
        match self.line.post_transfer(&key, body).await {
            Ok(answer) => verdict::of_send(item, &answer),
            Err(Failure::NoToken(problem) | Failure::Unsent(problem)) => Sent::NotSent(problem),
            Err(Failure::Lost(problem)) => Sent::Unknown(problem),
        }
    }

    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        match only(outgoing) {
            Ok(item) => {
                let id = item.provider_id.as_ref().or(outgoing.provider_batch_id.as_ref());
                look_up::look_up(&self.line, item, id.map(String::as_str)).await
            }
            Err(problem) => Found::Unclear(problem),
        }
    }

    async fn ping(&self) -> Result<(), Problem> {
        books::ping(&self.line).await
    }

    async fn funds(&self, currency: Currency) -> Funds {
        books::funds(&self.line, currency).await
    }

    async fn vet(&self, destination: &Destination) -> Vetted {
        let account = destination.get("account").unwrap_or_default();
        match account::ask(&self.line, account).await {
            Ok(()) => Vetted::Able,
            Err(Closed::Unable(problem)) => Vetted::Unable(problem),
            Err(Closed::Unasked(unread)) => Vetted::Unclear(unread.problem()),
        }
    }

    async fn authenticate(&self, delivery: Delivery<'_>) -> Heard {
        self.seal.authenticate(delivery)
    }

    async fn statement(
        &self,
        currency: Currency,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Option<Statement>, Problem> {
        books::statement(&self.line, currency, from, to).await.map(Some)
    }
}
