//! What the sandbox tells unasked: signed as the providers sign, in every order that they have.

mod loopback;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::prelude::{BASE64_STANDARD, Engine};
use loopback::{Loopback, answer};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

const SECRET: &str = "whsec_of_the_test";
const WEBHOOK_ID: &str = "WH0TEST";

/// A delivery as it arrived.
#[derive(Clone)]
struct Heard {
    headers: HeaderMap,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("text")
    }

    fn event(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// An endpoint that listens, and refuses as often as it was told.
#[derive(Clone, Default)]
struct Ear {
    heard: Arc<Mutex<Vec<Heard>>>,
    refusals: Arc<Mutex<usize>>,
}

async fn hear(State(ear): State<Ear>, headers: HeaderMap, body: String) -> StatusCode {
    ear.heard.lock().expect("a lock").push(Heard { headers, body });
    let mut refusals = ear.refusals.lock().expect("a lock");
    let refuses = *refusals > 0;
    *refusals -= usize::from(refuses);
    if refuses { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

impl Ear {
    /// Listens at the address that is given back.
    async fn open() -> (Self, String) {
        let ear = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hooks", listener.local_addr().expect("a bound port"));
        let routes = Router::new().route("/hooks", post(hear)).with_state(ear.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (ear, url)
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("a lock").clone()
    }

    /// Waits until so many deliveries came.
    async fn hears(&self, count: usize) -> Vec<Heard> {
        for _ in 0..500 {
            if self.heard().len() >= count {
                return self.heard();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} of {count} deliveries came", self.heard().len());
    }
}

fn kinds(heard: &[Heard]) -> Vec<String> {
    let kind = |event: &Value| {
        let kind = event["type"].as_str().or(event["event_type"].as_str());
        kind.expect("a type").to_owned()
    };
    heard.iter().map(|heard| kind(&heard.event())).collect()
}

async fn control(at: &Loopback, path: &str, body: Value) {
    at.control("POST", path, body).await;
}

/// A sandbox whose Stripe tells the ear.
async fn with_stripe() -> (Loopback, Ear) {
    let (at, (ear, url)) = (Loopback::open().await, Ear::open().await);
    control(&at, "webhooks", json!({"provider": "stripe", "url": url, "secret": SECRET})).await;
    (at, ear)
}

async fn transfer(at: &Loopback, group: &str) {
    let params = [
        ("amount", "100"),
        ("currency", "usd"),
        ("destination", "acct_1"),
        ("transfer_group", group),
    ];
    let request = at.request("POST", "/v1/transfers").bearer_auth("sk_test_1").form(&params);
    assert_eq!(answer(request).await.0, 200);
}

fn groups(heard: &[Heard]) -> Vec<String> {
    let group = |heard: &Heard| heard.event()["data"]["object"]["transfer_group"].clone();
    heard.iter().map(|heard| group(heard).as_str().expect("a group").to_owned()).collect()
}

#[tokio::test]
async fn stripes_events_arrive_signed_with_the_endpoints_secret() {
    let (at, ear) = with_stripe().await;
    transfer(&at, "R1").await;
    control(&at, "stripe/transfers/R1/reverse", json!({})).await;
    control(&at, "stripe/accounts/acct_1", json!({"transfers": "inactive"})).await;
    let failed = json!({"account": "acct_1", "amount": "1.00", "currency": "USD",
                        "status": "failed"});
    control(&at, "stripe/payouts", failed).await;
    let heard = ear.hears(5).await;
    let expected = [
        "transfer.created",
        "transfer.reversed",
        "capability.updated",
        "account.updated",
        "payout.failed",
    ];
    assert_eq!(kinds(&heard), expected);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    for heard in heard {
        let (at, v1) = heard.header("stripe-signature").split_once(",v1=").expect("two parts");
        let text = format!("{}.{}", at.strip_prefix("t=").expect("a time"), heard.body);
        let tag = hex::decode(v1).expect("hex");
        hmac::verify(&key, text.as_bytes(), &tag).expect("the signature is right");
        assert_eq!(heard.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn what_is_not_taken_is_delivered_again() {
    let (at, ear) = with_stripe().await;
    *ear.refusals.lock().expect("a lock") = 2;
    transfer(&at, "R1").await;
    let heard = ear.hears(3).await;
    assert!(heard.iter().all(|one| one.body == heard[0].body));
    assert_eq!(at.sandbox.books().stripe.len(), 1);
    let list = at.control("GET", "webhooks", json!(null)).await;
    let tries = list["deliveries"].as_array().expect("a list");
    let statuses: Vec<_> = tries.iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [503, 503, 200]);
    let event = json!({"event": heard[0].event()["id"]});
    control(&at, "webhooks/resend", event).await;
    assert_eq!(ear.hears(4).await[3].body, heard[0].body);
}

#[tokio::test]
async fn events_come_late_twice_out_of_order_or_not_at_all() {
    let (at, ear) = with_stripe().await;
    let mode = async |mode: &str| control(&at, "webhooks/mode", json!({"mode": mode})).await;
    mode("twice").await;
    transfer(&at, "R1").await;
    assert_eq!(groups(&ear.hears(2).await), ["R1", "R1"]);

    mode("late").await;
    transfer(&at, "R2").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ear.heard().len(), 2, "nothing comes before it is released");
    let list = at.control("GET", "webhooks", json!(null)).await;
    assert_eq!(list["held"].as_array().map(Vec::len), Some(1));
    control(&at, "webhooks/release", json!(null)).await;
    assert_eq!(groups(&ear.hears(3).await)[2], "R2");

    mode("out_of_order").await;
    transfer(&at, "R3").await;
    transfer(&at, "R4").await;
    assert_eq!(groups(&ear.hears(5).await)[3..], ["R4", "R3"]);

    mode("off").await;
    transfer(&at, "R5").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ear.heard().len(), 5);
    let events = answer(at.request("GET", "/v1/events").bearer_auth("sk_test_1")).await.1;
    assert_eq!(events["data"][0]["data"]["object"]["transfer_group"], "R5", "it can be asked for");
}

#[tokio::test]
async fn endpoints_that_nothing_can_be_delivered_to_are_refused_with_a_sentence() {
    let at = Loopback::open().await;
    for (bad, sentence) in [
        (json!({"provider": "stripe", "url": "https://x.y/z", "secret": "s"}), "is no address"),
        (json!({"provider": "stripe", "url": "nowhere", "secret": "s"}), "is no address"),
        (json!({"provider": "stripe", "url": "http://x.y/z"}), "has a secret"),
        (json!({"provider": "paypal", "url": "http://x.y/z", "secret": "s"}), "has a webhook id"),
        (json!({"provider": "wise", "url": "http://x.y/z"}), "unknown variant"),
    ] {
        let request = at.request("POST", "/_sandbox/webhooks").body(bad.to_string());
        let (status, error) = answer(request).await;
        assert_eq!(status, 400);
        let words = error["error"].as_str().expect("a sentence");
        assert!(words.contains(sentence), "{words}");
    }
}

/// A sandbox whose PayPal tells the ear, and a token for it.
async fn with_paypal() -> (Loopback, Ear, String) {
    let (at, (ear, url)) = (Loopback::open().await, Ear::open().await);
    let endpoint = json!({"provider": "paypal", "url": url, "webhook_id": WEBHOOK_ID});
    control(&at, "webhooks", endpoint).await;
    let request = at.request("POST", "/v1/oauth2/token").basic_auth("id", Some("secret"));
    let granted = answer(request.form(&[("grant_type", "client_credentials")])).await.1;
    let token = granted["access_token"].as_str().expect("a token").to_owned();
    (at, ear, token)
}

async fn pay(at: &Loopback, token: &str, receivers: &[&str]) {
    let item = |(index, receiver): (usize, &&str)| {
        json!({"recipient_type": "EMAIL", "receiver": receiver,
               "sender_item_id": format!("I{index}"),
               "amount": {"value": "1.00", "currency": "USD"}})
    };
    let items: Vec<_> = receivers.iter().enumerate().map(item).collect();
    let body = json!({"sender_batch_header": {"sender_batch_id": "B1"}, "items": items});
    let request = at.request("POST", "/v1/payments/payouts").bearer_auth(token).json(&body);
    assert_eq!(answer(request).await.0, 201);
}

#[tokio::test]
async fn paypals_events_come_without_anybody_looking() {
    let (at, ear, token) = with_paypal().await;
    pay(&at, &token, &["a@b.c", "unregistered@b.c", "locked@b.c"]).await;
    let heard = ear.hears(5).await;
    let expected = [
        "PAYMENT.PAYOUTSBATCH.PROCESSING",
        "PAYMENT.PAYOUTSBATCH.SUCCESS",
        "PAYMENT.PAYOUTS-ITEM.SUCCEEDED",
        "PAYMENT.PAYOUTS-ITEM.UNCLAIMED",
        "PAYMENT.PAYOUTS-ITEM.FAILED",
    ];
    assert_eq!(kinds(&heard), expected);
    let unclaimed = heard[3].event();
    assert_eq!(unclaimed["resource"]["payout_item"]["sender_item_id"], "I1");
    for status in ["REFUNDED", "ONHOLD", "REVERSED", "RETURNED"] {
        control(&at, "items/I0", json!({"status": status})).await;
    }
    let id = unclaimed["resource"]["payout_item_id"].as_str().expect("an id");
    let path = format!("/v1/payments/payouts-item/{id}/cancel");
    assert_eq!(answer(at.request("POST", &path).bearer_auth(&token)).await.0, 200);
    let words = ["REFUNDED", "HELD", "RETURNED", "CANCELED"];
    let later = kinds(&ear.hears(9).await);
    assert_eq!(later[5..], words.map(|word| format!("PAYMENT.PAYOUTS-ITEM.{word}")));

    let path = "/v1/notifications/webhooks-events?event_type=PAYMENT.PAYOUTS-ITEM.REFUNDED";
    let (status, list) = answer(at.request("GET", path).bearer_auth(&token)).await;
    assert_eq!((status, &list["count"]), (200, &json!(1)));
    assert_valid("response.webhooks-events.list.200", &list);
    assert_valid("response.webhooks-events.get.200", &list["events"][0]);
}

#[tokio::test]
async fn a_denied_batch_is_told_of_as_a_whole() {
    let (at, ear, token) = with_paypal().await;
    control(&at, "faults", json!({"on": "POST /v1/payments/payouts", "fault": "denied"})).await;
    pay(&at, &token, &["a@b.c"]).await;
    let expected = ["PAYMENT.PAYOUTSBATCH.PROCESSING", "PAYMENT.PAYOUTSBATCH.DENIED"];
    assert_eq!(kinds(&ear.hears(2).await), expected);
}

/// Fails unless `instance` is what PayPal's schema calls `definition`.
fn assert_valid(definition: &str, instance: &Value) {
    let schema = include_str!("contracts/paypal/webhooks.schema.json");
    let mut schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    assert!(schema["$defs"].get(definition).is_some(), "{definition} is in the schema");
    schema["$ref"] = format!("#/$defs/{definition}").into();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema);
    let validator = validator.expect("the schema is a schema");
    let errors: Vec<_> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{definition}: {errors:?}\n{instance:#}");
}

#[tokio::test]
async fn paypals_signature_is_by_a_certificate_that_ends_in_the_sandboxes_own_authority() {
    let (at, ear, token) = with_paypal().await;
    pay(&at, &token, &["a@b.c"]).await;
    let heard = ear.hears(1).await.remove(0);
    assert_eq!(heard.header("paypal-auth-algo"), "SHA256withRSA");

    let pem = async |url: String| {
        let path = url.strip_prefix(&at.url).expect("an address of the sandbox").to_owned();
        at.request("GET", &path).send().await.expect("an answer").bytes().await.expect("a body")
    };
    let chain = pem(heard.header("paypal-cert-url").to_owned()).await;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().expect("PEM");
    let root = pem(format!("{}/_sandbox/paypal-ca.pem", at.url)).await;
    let root = CertificateDer::from_pem_slice(&root).expect("PEM");
    let anchor = anchor_from_trusted_cert(&root).expect("an authority");
    let leaf = EndEntityCert::try_from(&chain[0]).expect("a certificate");
    let algorithms = [webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256];
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_795_358_657));
    let usage = KeyUsage::server_auth();
    leaf.verify_for_usage(&algorithms, &[anchor], &chain[1..], now, usage, None, None)
        .expect("the chain ends in the authority");

    let sum = crc32fast::hash(heard.body.as_bytes());
    let (id, time) =
        (heard.header("paypal-transmission-id"), heard.header("paypal-transmission-time"));
    let text = format!("{id}|{time}|{WEBHOOK_ID}|{sum}");
    let sig = BASE64_STANDARD.decode(heard.header("paypal-transmission-sig")).expect("base64");
    leaf.verify_signature(algorithms[0], text.as_bytes(), &sig).expect("the signature is right");
}

#[tokio::test]
async fn paypal_says_whether_a_delivery_is_its_own_byte_by_byte() {
    let (at, ear, token) = with_paypal().await;
    pay(&at, &token, &["a@b.c"]).await;
    let heard = ear.hears(1).await.remove(0);
    let asks = async |name: &str, value: &str, event: &str| {
        let mut body = json!({
            "auth_algo": heard.header("paypal-auth-algo"),
            "cert_url": heard.header("paypal-cert-url"),
            "transmission_id": heard.header("paypal-transmission-id"),
            "transmission_sig": heard.header("paypal-transmission-sig"),
            "transmission_time": heard.header("paypal-transmission-time"),
            "webhook_id": WEBHOOK_ID,
        });
        if !name.is_empty() {
            body[name] = value.into();
        }
        let text = body.to_string();
        let text = format!("{},\"webhook_event\":{event}}}", text.strip_suffix('}').expect("JSON"));
        assert_valid(
            "request.verify-webhook-signature.post",
            &serde_json::from_str(&text).expect("JSON"),
        );
        let request = at.request("POST", "/v1/notifications/verify-webhook-signature");
        let request = request.bearer_auth(&token).header("content-type", "application/json");
        let (status, verdict) = answer(request.body(text)).await;
        assert_eq!(status, 200);
        assert_valid("response.verify-webhook-signature.post.200", &verdict);
        verdict["verification_status"] == "SUCCESS"
    };
    assert!(asks("", "", &heard.body).await);
    assert!(!asks("webhook_id", "WH0OTHER", &heard.body).await);
    assert!(!asks("transmission_time", "2026-11-22T00:00:00Z", &heard.body).await);
    assert!(!asks("cert_url", "http://127.0.0.1/other.pem", &heard.body).await);
    assert!(!asks("", "", &heard.body.replace("PROCESSING", "SUCCESS")).await);
    assert!(!asks("", "", &heard.body.replacen(':', ": ", 1)).await);
}
