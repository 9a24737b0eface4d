//! Stripe's events: `Stripe-Signature: t=…,v1=…`, an HMAC-SHA256 over the time and the raw body
//! with the endpoint's secret (docs.stripe.com/webhooks/signature). A hint, never more.

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::OrgId;
use crate::providers::signature::OrgSecrets;
use crate::providers::{Delivery, Heard, Problem, ProviderEvent};

/// Signatures of one header that are tried. Stripe sends one for each secret that it has not
/// rotated out; more than this are somebody's way to make us count.
const MAX_SIGNATURES: usize = 8;

/// What signatures are held against.
pub(super) struct Seal {
    pub(super) secrets: OrgSecrets,
    pub(super) tolerance: TimeDelta,
}

impl Seal {
    /// Whether a delivery is Stripe's, and of now.
    pub(super) fn authenticate(&self, delivery: Delivery<'_>) -> Heard {
        let event = self.check(delivery).and_then(|()| event_of(delivery));
        event.map_or_else(Heard::Refused, Heard::Genuine)
    }

    fn check(&self, delivery: Delivery<'_>) -> Result<(), Problem> {
        let secrets = self.secrets.of(delivery.org);
        if secrets.is_empty() {
            return Err(no("no_webhook_secret", "no secret of this org's webhooks is set"));
        }
        let header = delivery.header("stripe-signature").unwrap_or_default();
        let signed = Signed::parse(header).ok_or_else(|| {
            no("bad_signature_header", "Stripe-Signature is missing or not in its form")
        })?;
        let text = [signed.time.as_bytes(), b".", delivery.body].concat();
        let fits = |secret: &&str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            // Compares in constant time.
            signed.signatures.iter().any(|signature| hmac::verify(&key, &text, signature).is_ok())
        };
        if !secrets.iter().any(fits) {
            return Err(no("wrong_signature", "the signature fits none of the org's secrets"));
        }
        if (delivery.received_at - signed.at).abs() > self.tolerance {
            return Err(no("outside_tolerance", "it was signed too long ago, or in the future"));
        }
        Ok(())
    }
}

fn no(code: &str, words: &str) -> Problem {
    Problem::new(code, words)
}

/// What the header says.
struct Signed<'a> {
    /// As it was written, which is how it was signed.
    time: &'a str,
    at: DateTime<Utc>,
    signatures: Vec<Vec<u8>>,
}

impl<'a> Signed<'a> {
    /// One time and at least one `v1`. Other schemes are not ours to read.
    fn parse(header: &'a str) -> Option<Self> {
        let pairs: Vec<_> = header.split(',').filter_map(|pair| pair.split_once('=')).collect();
        let of = |name| pairs.iter().filter(move |(key, _)| key.trim() == name);
        let mut times = of("t").map(|(_, time)| time.trim());
        let time = times.next().filter(|_| times.next().is_none())?;
        let at = DateTime::from_timestamp(time.parse().ok()?, 0)?;
        let signatures = of("v1").filter_map(|(_, signature)| hex::decode(signature.trim()).ok());
        let signatures: Vec<_> = signatures.take(MAX_SIGNATURES).collect();
        (!signatures.is_empty()).then_some(Self { time, at, signatures })
    }
}

/// An event, as far as it is read.
#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    /// The connected account that it is about, where it is not about us.
    account: Option<String>,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    object: Value,
}

fn event_of(delivery: Delivery<'_>) -> Result<ProviderEvent, Problem> {
    let unreadable = || no("unreadable_event", "the body is not an event of Stripe's");
    let event: Event = serde_json::from_slice(delivery.body).map_err(|_| unreadable())?;
    if event.id.is_empty() || event.kind.is_empty() {
        return Err(unreadable());
    }
    let (references, provider_ids) = match of_another_org(&event.data.object, delivery.org) {
        true => (Vec::new(), Vec::new()),
        false => subjects(&event),
    };
    Ok(ProviderEvent { event_id: event.id, event_type: event.kind, references, provider_ids })
}

/// One Stripe account may serve several orgs: each hears of the others' transfers too.
fn of_another_org(object: &Value, org: &OrgId) -> bool {
    let named = object["metadata"]["org_id"].as_str();
    named.is_some_and(|named| named != org.as_str())
}

/// Our references and Stripe's ids of what an event is about; none of an event we do not know.
fn subjects(event: &Event) -> (Vec<String>, Vec<String>) {
    let object = &event.data.object;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let references = match object["object"].as_str() {
        Some("transfer") => {
            vec![text(&object["metadata"]["reference"]), text(&object["transfer_group"])]
        }
        _ => vec![],
    };
    let mut ids = match object["object"].as_str() {
        Some("transfer" | "account") => vec![text(&object["id"])],
        Some("transfer_reversal") => vec![text(&object["transfer"])],
        Some("capability") => vec![text(&object["account"])],
        _ => vec![],
    };
    // What a connected account does with its money, or may do, is news of our transfers to it.
    if let Some("payout" | "account" | "capability") = event.kind.split('.').next() {
        ids.push(event.account.clone());
    }
    (distinct(references), distinct(ids))
}

fn distinct(texts: Vec<Option<String>>) -> Vec<String> {
    let mut distinct: Vec<String> = texts.into_iter().flatten().collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}
