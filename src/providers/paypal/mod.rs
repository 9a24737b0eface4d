//! PayPal Payouts v1: batches of transfers to e-mail addresses.
//!
//! `sender_batch_id` is the submission's reference, `sender_item_id` the transfer's. PayPal
//! remembers a `sender_batch_id` for 30 days and answers a second use with a link to the first
//! batch; that, and not `PayPal-Request-Id`, is what makes a lost answer harmless.

mod call;
mod certificate;
mod consent;
mod event;
mod look_up;
mod token;
mod verdict;
mod webhook;
mod wire;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;

use super::http::{Failure, base_url, http_client};
use super::{
    Delivery, Found, Heard, Leave, Outgoing, OutgoingItem, Problem, Provider, Sent, Terms, Vetted,
};
use crate::domain::{Destination, MethodKind};
use call::Line;
use webhook::Seal;

pub use webhook::WebhookVerify;

/// Items in one batch (payments_payouts_batch_v1.json, `create_payout_request.items`).
const BATCH_SIZES: RangeInclusive<usize> = 1..=15_000;
/// Items on one page of a batch (the same file, `payouts.get`).
const PAGE_SIZES: RangeInclusive<usize> = 1..=1_000;

/// How PayPal is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaypalSettings {
    /// `https://api-m.paypal.com`, or its sandbox.
    pub base_url: String,
    /// The page on which payees consent to show us their account.
    pub authorize_url: String,
    /// Our own page that they come back to; empty if nobody may.
    pub return_url: String,
    /// The application's id; empty if the rail is not used.
    pub client_id: String,
    /// The application's secret; never printed.
    pub client_secret: SecretString,
    /// The most transfers that leave in one batch, 1 to 15,000.
    pub batch_size: usize,
    /// Longest time of one call, in milliseconds.
    pub timeout_ms: u64,
    /// Items on one page of a look-up, 1 to 1,000.
    pub page_size: usize,
    /// What every payee reads beside the amount; PayPal's own test values go here.
    pub note: String,
    /// Subject of the e-mail that PayPal sends to payees.
    pub email_subject: String,
    /// Posts of this process in one minute that move money.
    pub posts_per_minute: u32,
    /// Days after the send at which what nobody claimed is called back; 0 for never.
    pub call_off_unclaimed_days: u32,
    /// Ids of our webhooks, comma-separated: `ORG=ID` for one org, `ID` for all.
    pub webhook_ids: String,
    /// How a webhook is proven to be PayPal's.
    pub webhook_verify: WebhookVerify,
    /// Hosts that certificates may come from, comma-separated, each with all that is below it.
    pub webhook_cert_hosts: String,
    /// PEM file of authorities beside the public ones; empty for none.
    pub webhook_ca_file: PathBuf,
}

impl PaypalSettings {
    /// Whether the rail is to be used at all.
    pub fn is_configured(&self) -> bool {
        !self.client_id.is_empty()
    }
}

/// The PayPal rail.
pub struct Paypal {
    settings: PaypalSettings,
    line: Line,
    seal: Seal,
}

impl Paypal {
    /// The rail of these settings. Nothing is called yet.
    ///
    /// # Errors
    /// [`Problem`] `bad_settings` if a setting is out of its range, `http_client` if the host's
    /// TLS cannot be set up.
    pub fn new(settings: PaypalSettings) -> Result<Self, Problem> {
        let base = checked_base(&settings)?;
        let http = http_client(&base, Duration::from_millis(settings.timeout_ms))?;
        let line = Line::new(http, base, &settings);
        let seal = Seal::new(&settings)?;
        Ok(Self { settings, line, seal })
    }
}

fn checked_base(settings: &PaypalSettings) -> Result<Url, Problem> {
    let bad = |sentence: String| Err(Problem::new("bad_settings", sentence));
    let (batch_size, page_size) = (settings.batch_size, settings.page_size);
    if !BATCH_SIZES.contains(&batch_size) {
        return bad(format!("paypal.batch_size is {batch_size}; PayPal takes 1 to 15000"));
    }
    if !PAGE_SIZES.contains(&page_size) {
        return bad(format!("paypal.page_size is {page_size}; PayPal takes 1 to 1000"));
    }
    if settings.timeout_ms == 0 {
        return bad("paypal.timeout_ms is 0; a call needs some time".to_owned());
    }
    consent::check_pages(settings)?;
    base_url("paypal.base_url", &settings.base_url)
}

#[async_trait]
impl Provider for Paypal {
    fn kind(&self) -> MethodKind {
        MethodKind::Paypal
    }

    fn terms(&self) -> Terms {
        Terms {
            batch_size: self.settings.batch_size,
            // PayPal forgets a sender_batch_id after 30 days, and what it forgot it pays again. A
            // day is kept for clocks that disagree and for a send that is already under way.
            resend_window: TimeDelta::days(29),
            finds_by_reference: false,
            horizon: TimeDelta::days(35),
            watch: TimeDelta::days(31),
            call_off_after: match self.settings.call_off_unclaimed_days {
                0 => None,
                days => Some(TimeDelta::days(days.into())),
            },
        }
    }

    /// The bytes depend on the settings `note` and `email_subject` too: changing them changes
    /// what a submission renders to.
    fn render(&self, outgoing: &Outgoing) -> String {
        wire::render(&self.settings, outgoing)
    }

    async fn send(&self, outgoing: &Outgoing, body: &str) -> Sent {
        match self.line.post(&["v1", "payments", "payouts"], body, &outgoing.leave).await {
            Ok(answer) => verdict::of_send(outgoing, &answer),
            Err(Failure::NoToken(problem) | Failure::Unsent(problem)) => Sent::NotSent(problem),
            Err(Failure::Lost(problem)) => Sent::Unknown(problem),
        }
    }

    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        look_up::look_up(&self.line, self.settings.page_size, outgoing).await
    }

    async fn ping(&self) -> Result<(), Problem> {
        self.line.renew_token().await
    }

    /// Asks once: whether a lost answer was a yes is for a look-up to say.
    async fn call_off(&self, item: &OutgoingItem) -> Result<(), Problem> {
        let Some(id) = item.provider_id.as_deref() else {
            let words = "PayPal has not told its own id of this item";
            return Err(Problem::new("no_provider_id", words));
        };
        match self
            .line
            .post(&["v1", "payments", "payouts-item", id, "cancel"], "", &Leave::default())
            .await
        {
            Ok(answer) if answer.is_ok() => Ok(()),
            Ok(answer) => Err(wire::problem_of(&answer)),
            Err(Failure::NoToken(problem) | Failure::Unsent(problem) | Failure::Lost(problem)) => {
                Err(problem)
            }
        }
    }

    fn consent_address(&self, state: &str) -> Result<String, Problem> {
        consent::address(&self.settings, state)
    }

    async fn hear_consent(&self, code: &str, destination: &Destination) -> Vetted {
        self.hear(code, destination).await
    }

    async fn authenticate(&self, delivery: Delivery<'_>) -> Heard {
        self.seal.authenticate(&self.line, delivery).await
    }
}
