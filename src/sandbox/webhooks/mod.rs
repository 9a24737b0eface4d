//! Webhooks: what happens at a provider, signed as the provider signs and sent to whoever
//! registered; on time, or in the ways that a network has.

mod authority;
mod control;
mod deliver;
mod sign;

use std::collections::VecDeque;
use std::sync::Arc;

use axum::http::Uri;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Notify;

use super::host::Host;
use super::told::Told;

pub(super) use authority::Authority;
pub(super) use control::routes as control_routes;
pub(super) use deliver::deliver;
pub(super) use sign::{Transmission, paypal_text};

/// How many deliveries are remembered for looking at them.
const REMEMBERED: usize = 1_000;

/// How events are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At once, each once, until they are taken.
    #[default]
    OnTime,
    /// Not before they are released.
    Late,
    /// Each twice.
    Twice,
    /// Gathered for half a second, then the latest first.
    OutOfOrder,
    /// Not at all.
    Off,
}

/// Somebody who wants to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookEndpoint {
    /// Whose events are wanted.
    pub provider: Host,
    /// Where they go, over plain HTTP.
    pub url: String,
    /// What Stripe's are signed with: `whsec_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// What PayPal's are signed for: the id of the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<String>,
}

/// An endpoint that nothing can be delivered to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadEndpoint {
    #[error("\"{0}\" is no address: expected http://host:port/path")]
    NotAnAddress(String),
    #[error("an endpoint of Stripe's has a secret, and no webhook id")]
    StripeWantsASecret,
    #[error("an endpoint of PayPal's has a webhook id, and no secret")]
    PaypalWantsAnId,
}

impl WebhookEndpoint {
    fn check(&self) -> Result<(), BadEndpoint> {
        let uri = self.url.parse::<Uri>().ok();
        let plain = uri.as_ref().and_then(Uri::scheme_str) == Some("http");
        if !plain || uri.is_none_or(|uri| uri.host().is_none_or(str::is_empty)) {
            return Err(BadEndpoint::NotAnAddress(self.url.clone()));
        }
        match (self.provider, &self.secret, &self.webhook_id) {
            (Host::Stripe, Some(_), None) | (Host::Paypal, None, Some(_)) => Ok(()),
            (Host::Stripe, ..) => Err(BadEndpoint::StripeWantsASecret),
            (Host::Paypal, ..) => Err(BadEndpoint::PaypalWantsAnId),
        }
    }
}

/// An event on its way to an endpoint.
#[derive(Debug, Clone)]
struct Parcel {
    endpoint: WebhookEndpoint,
    told: Told,
}

/// What became of one try to deliver.
#[derive(Debug, Clone, Serialize)]
struct Receipt {
    event: String,
    #[serde(rename = "type")]
    kind: String,
    url: String,
    /// From 1.
    attempt: usize,
    /// What the endpoint answered.
    status: Option<u16>,
    error: Option<String>,
}

/// Who is told, how, and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Webhooks {
    endpoints: Vec<WebhookEndpoint>,
    mode: Mode,
    /// To be sent now.
    due: VecDeque<Parcel>,
    /// To be sent once they are released.
    held: Vec<Parcel>,
    receipts: VecDeque<Receipt>,
    /// Rung whenever something is due or held.
    bell: Arc<Notify>,
}

impl Webhooks {
    pub(super) fn register(&mut self, endpoint: WebhookEndpoint) -> Result<(), BadEndpoint> {
        endpoint.check()?;
        self.endpoints.push(endpoint);
        Ok(())
    }

    /// Whether anybody wants to be told of this provider.
    pub(super) fn anybody_listens(&self, to: Host) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.provider == to)
    }

    /// Takes an event in, for everybody who wants it.
    pub(super) fn hear(&mut self, host: Host, told: &Told) {
        let listening = self.endpoints.iter().filter(|endpoint| endpoint.provider == host);
        let parcels: Vec<_> = listening
            .map(|endpoint| Parcel { endpoint: endpoint.clone(), told: told.clone() })
            .collect();
        match self.mode {
            Mode::OnTime => self.due.extend(parcels),
            Mode::Twice => self.due.extend(parcels.into_iter().flat_map(|one| [one.clone(), one])),
            Mode::Late | Mode::OutOfOrder => self.held.extend(parcels),
            Mode::Off => {}
        }
        self.bell.notify_one();
    }

    /// Sends what was held, latest first if that is how it goes out of order.
    fn release(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        if self.mode == Mode::OutOfOrder {
            held.reverse();
        }
        self.due.extend(held);
        self.bell.notify_one();
    }

    fn keep(&mut self, receipt: Receipt) {
        self.receipts.push_back(receipt);
        if self.receipts.len() > REMEMBERED {
            self.receipts.pop_front();
        }
    }
}
