//! PayPal's events: `id|time|webhook id|CRC-32 of the raw body`, signed SHA256withRSA by the
//! certificate that the delivery names; or asked back from PayPal itself. A hint, never more: a
//! CRC keeps no secret, so who has one genuine delivery can make another body for it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta};
use serde::{Deserialize, Serialize};

use super::PaypalSettings;
use super::call::Line;
use super::certificate::Certificates;
use super::event::event_of;
use super::wire::problem_of;
use crate::providers::signature::OrgSecrets;
use crate::providers::{Delivery, Heard, Problem, ProviderEvent};

/// PayPal delivers an event again for three days; an hour is kept for its clock and ours.
const OLDEST: TimeDelta = TimeDelta::hours(3 * 24 + 1);
/// How far PayPal's clock may be before ours.
const NEWEST: TimeDelta = TimeDelta::minutes(5);
/// The one way of signing that is taken.
const ALGORITHM: &str = "SHA256withRSA";

/// How a webhook is proven to be PayPal's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookVerify {
    /// By the certificate that the delivery names.
    Certificate,
    /// By asking PayPal (`POST /v1/notifications/verify-webhook-signature`).
    Postback,
}

/// What deliveries are held against.
pub(super) struct Seal {
    ids: OrgSecrets,
    verify: WebhookVerify,
    certificates: Certificates,
}

/// What the headers say, in the shape of PayPal's question.
#[derive(Serialize)]
struct Headers<'a> {
    auth_algo: &'a str,
    cert_url: &'a str,
    transmission_id: &'a str,
    transmission_sig: &'a str,
    transmission_time: &'a str,
}

/// PayPal's question, without the event.
#[derive(Serialize)]
struct Question<'a> {
    #[serde(flatten)]
    headers: &'a Headers<'a>,
    webhook_id: &'a str,
}

#[derive(Deserialize)]
struct Verified {
    verification_status: String,
}

impl Seal {
    /// # Errors
    /// [`Problem`] `bad_settings` if the file of authorities is named and cannot be used.
    pub(super) fn new(settings: &PaypalSettings) -> Result<Self, Problem> {
        let (hosts, ca_file) = (&settings.webhook_cert_hosts, &settings.webhook_ca_file);
        let timeout = Duration::from_millis(settings.timeout_ms);
        let certificates = Certificates::new(hosts, ca_file, timeout)?;
        let ids = OrgSecrets::parse(&settings.webhook_ids);
        Ok(Self { ids, verify: settings.webhook_verify, certificates })
    }

    /// Whether a delivery is PayPal's, of these days, and of a webhook of this org.
    pub(super) async fn authenticate(&self, line: &Line, delivery: Delivery<'_>) -> Heard {
        match self.checked(line, delivery).await {
            Ok(event) => Heard::Genuine(event),
            Err(heard) => heard,
        }
    }

    async fn checked(&self, line: &Line, delivery: Delivery<'_>) -> Result<ProviderEvent, Heard> {
        let ids = self.ids.of(delivery.org);
        if ids.is_empty() {
            return Err(no("no_webhook_id", "no id of this org's webhooks is set"));
        }
        let headers = Headers::of(delivery).ok_or_else(|| {
            no("bad_signature_headers", "a PAYPAL- header of the delivery is missing or malformed")
        })?;
        headers.of_these_days(delivery)?;
        let text = std::str::from_utf8(delivery.body).ok();
        let unreadable = || no("unreadable_event", "the body is not an event of PayPal's");
        let (text, event) =
            text.and_then(|text| Some((text, event_of(text)?))).ok_or_else(unreadable)?;
        match self.verify {
            WebhookVerify::Certificate => self.by_certificate(&headers, &ids, delivery).await?,
            WebhookVerify::Postback => by_postback(line, &headers, &ids, text).await?,
        }
        Ok(event)
    }

    async fn by_certificate(
        &self,
        headers: &Headers<'_>,
        ids: &[&str],
        delivery: Delivery<'_>,
    ) -> Result<(), Heard> {
        if headers.auth_algo != ALGORITHM {
            return Err(no("wrong_algorithm", "it is not signed SHA256withRSA"));
        }
        let malformed = |_| no("bad_signature_headers", "the signature is not base64");
        let signature = STANDARD.decode(headers.transmission_sig).map_err(malformed)?;
        let crc = crc32fast::hash(delivery.body);
        let (id, time) = (headers.transmission_id, headers.transmission_time);
        let texts: Vec<_> = ids.iter().map(|own| format!("{id}|{time}|{own}|{crc}")).collect();
        let at = delivery.received_at;
        self.certificates.verify(headers.cert_url, &texts, &signature, at).await
    }
}

impl<'a> Headers<'a> {
    fn of(delivery: Delivery<'a>) -> Option<Self> {
        let header = |name: &str| delivery.headers.iter().find(|(header, _)| header == name);
        let text = |name| header(name).map(|(_, value)| value.trim()).filter(|v| !v.is_empty());
        let headers = Self {
            auth_algo: text("paypal-auth-algo")?,
            cert_url: text("paypal-cert-url")?,
            transmission_id: text("paypal-transmission-id")?,
            transmission_sig: text("paypal-transmission-sig")?,
            transmission_time: text("paypal-transmission-time")?,
        };
        // The signed text is cut at its bars: none may hide in a part of it.
        Some(headers).filter(|headers| !headers.transmission_id.contains('|'))
    }

    fn of_these_days(&self, delivery: Delivery<'_>) -> Result<(), Heard> {
        let Ok(sent_at) = DateTime::parse_from_rfc3339(self.transmission_time) else {
            return Err(no("bad_signature_headers", "the time of the delivery is none"));
        };
        let age = delivery.received_at.signed_duration_since(sent_at);
        if age > OLDEST || age < -NEWEST {
            return Err(no("outside_tolerance", "it was sent too long ago, or in the future"));
        }
        Ok(())
    }
}

/// Asks PayPal whether it sent this, once for each webhook that it may have been sent by.
async fn by_postback(
    line: &Line,
    headers: &Headers<'_>,
    ids: &[&str],
    event: &str,
) -> Result<(), Heard> {
    let path = ["v1", "notifications", "verify-webhook-signature"];
    for webhook_id in ids {
        let question = Question { headers, webhook_id };
        let answer = line.ask(&path, &with_event(&question, event)).await;
        let answer = answer.map_err(Heard::Unclear)?;
        match serde_json::from_str::<Verified>(&answer.text) {
            Ok(verified) if answer.is_ok() => match verified.verification_status.as_str() {
                "SUCCESS" => return Ok(()),
                "FAILURE" => {}
                _ => return Err(Heard::Unclear(problem_of(&answer))),
            },
            // PayPal cannot make anything of it: it sent none such.
            _ if matches!(answer.status, 400 | 422) => {}
            _ => return Err(Heard::Unclear(problem_of(&answer))),
        }
    }
    Err(no("wrong_signature", "PayPal says that it did not send this"))
}

/// The question with the event in it as it came, byte by byte: PayPal signed its bytes. The event
/// is one JSON value, as [`event_of`] has seen, so it ends where it should.
fn with_event(question: &Question<'_>, event: &str) -> String {
    let mut text = serde_json::to_string(question).expect("texts are always JSON");
    text.pop();
    format!("{text},\"webhook_event\":{event}}}")
}

fn no(code: &str, words: &str) -> Heard {
    Heard::Refused(Problem::new(code, words))
}
