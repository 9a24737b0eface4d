//! Webhooks over real HTTP: what is kept, what is refused, and that they move nothing themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use payoutd::domain::{MethodKind, PayoutStatus};
use payoutd::engine::{Engine, EngineSettings};
use payoutd::http::{Limits, serve};
use payoutd::providers::{
    Delivery, Found, Heard, Outgoing, Problem, Provider, ProviderEvent, Sent, Terms,
};
use payoutd::vault::Cell;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, LIMITS, Wallet, program};

/// The PayPal rail, with webhooks that are proven by a secret of the org in a header.
struct Signed(Arc<dyn Provider>);

#[async_trait]
impl Provider for Signed {
    fn kind(&self) -> MethodKind {
        self.0.kind()
    }
    fn terms(&self) -> Terms {
        self.0.terms()
    }
    fn render(&self, outgoing: &Outgoing) -> String {
        self.0.render(outgoing)
    }
    async fn send(&self, outgoing: &Outgoing, body: &str) -> Sent {
        self.0.send(outgoing, body).await
    }
    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        self.0.look_up(outgoing).await
    }
    async fn ping(&self) -> Result<(), Problem> {
        self.0.ping().await
    }
    async fn authenticate(&self, delivery: Delivery<'_>) -> Heard {
        match delivery.header("x-signature") {
            Some("later") => return Heard::Unclear(Problem::new("no_certificate", "ask again")),
            Some(secret) if secret == format!("secret-of-{}", delivery.org) => {}
            _ => return Heard::Refused(Problem::new("wrong_signature", "it is not signed")),
        }
        let words = |value: &Value| -> Vec<String> {
            let words = value.as_array().into_iter().flatten();
            words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
        };
        let text = String::from_utf8_lossy(delivery.body);
        let event: Value = serde_json::from_str(&text).unwrap_or_default();
        Heard::Genuine(ProviderEvent {
            event_id: event["id"].as_str().unwrap_or_default().to_owned(),
            event_type: event["type"].as_str().unwrap_or_default().to_owned(),
            references: words(&event["references"]),
            provider_ids: words(&event["provider_ids"]),
        })
    }
}

/// The server of a story, stopped when it is dropped.
struct Door {
    address: SocketAddr,
    http: Client,
    engine: Engine,
    stop: CancellationToken,
}

impl Door {
    async fn open(h: &Harness) -> Self {
        Self::with(h, LIMITS).await
    }

    async fn with(h: &Harness, limits: Limits) -> Self {
        let rail: Arc<dyn Provider> = Arc::new(Signed(h.rail(json!({}))));
        let engine = h.engine_with(vec![rail], EngineSettings::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, h.desk(engine.clone(), limits), stop.clone()));
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(30));
        Self { address, http: http.build().expect("a client"), engine, stop }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    /// Delivers an event to the org `acme`, signed for it.
    async fn deliver(&self, event: &Value) -> u16 {
        let request = self.request("POST", "/webhooks/paypal/acme").body(event.to_string());
        answer(request.header("x-signature", "secret-of-acme")).await.0
    }

    /// Sends bytes as they are; what is answered until the server hangs up.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("a server");
        stream.write_all(bytes).await.expect("a server that listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The status, and the problem's code if there is one.
async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").cloned();
    let text = response.text().await.expect("a body");
    if status < 400 {
        return (status, String::new());
    }
    assert_eq!(kind.expect("a kind"), "application/problem+json", "{text}");
    let problem: Value = serde_json::from_str(&text).expect("problem details");
    assert_eq!(problem["status"], status, "{problem}");
    (status, problem["code"].as_str().expect("a code").to_owned())
}

/// An event about what the references name.
fn event(id: &str, references: &[&str]) -> Value {
    json!({"id": id, "type": "PAYMENT.PAYOUTS-ITEM.RETURNED", "references": references})
}

/// One payout of 15.00 USD to `name` was sent and asked about; its reference.
async fn sent_to(h: &Harness, name: &str) -> String {
    h.enrol(program("creator"), &[name]).await;
    h.earn(name, name, &[1_500]).await;
    let payout = h.ask(name, 1_500).await.expect("a payout");
    h.submit().await;
    h.reconcile().await;
    h.references(&payout).await.remove(0)
}

async fn status(h: &Harness) -> PayoutStatus {
    h.payouts().await[0].status
}

/// Checks that are due by now.
async fn due(h: &Harness) -> usize {
    h.store.orgs_to_check(h.clock.now()).await.expect("orgs").len()
}

on_both! {
    async fn a_webhook_brings_the_check_forward_and_the_check_settles(h: &Harness) {
        let door = Door::open(h).await;
        let reference = sent_to(h, "unregistered-ana").await;
        h.fate(&reference, "SUCCESS").await;
        assert_eq!(h.reconcile().await.seen, 0, "it is not due yet");
        assert_eq!(door.deliver(&event("WH-1", &[&reference])).await, 200);
        assert_eq!(status(h).await, PayoutStatus::Processing, "a webhook moves nothing itself");
        assert_eq!(h.wallet("unregistered-ana").await.in_flight, 1_500);
        assert_eq!(h.reconcile().await.outcomes["settled"].count, 1);
        assert_eq!(status(h).await, PayoutStatus::Completed);
    }

    async fn with_webhooks_off_polling_reaches_the_same_end(h: &Harness) {
        let reference = sent_to(h, "unregistered-ana").await;
        h.fate(&reference, "SUCCESS").await;
        h.settle_all().await;
        assert_eq!(status(h).await, PayoutStatus::Completed);
        assert_eq!(h.wallet("unregistered-ana").await, Wallet { paid: 1_500, ..Wallet::default() });
    }

    async fn what_a_webhook_claims_is_not_believed(h: &Harness) {
        h.leaves_money_under_way();
        let door = Door::open(h).await;
        let reference = sent_to(h, "unregistered-ana").await;
        let claim = json!({
            "id": "WH-1", "type": "PAYMENT.PAYOUTS-ITEM.SUCCEEDED", "references": [reference],
        });
        assert_eq!(door.deliver(&claim).await, 200);
        h.reconcile().await;
        assert_eq!(status(h).await, PayoutStatus::Processing, "the provider says it is unclaimed");
    }

    async fn money_that_comes_back_when_nobody_looks_any_more_is_noticed(h: &Harness) {
        let door = Door::open(h).await;
        let reference = sent_to(h, "ana").await;
        for _ in 0..40 {
            h.clock.advance(TimeDelta::days(1));
            h.reconcile().await;
        }
        assert_eq!(h.count("submissions WHERE next_check_at IS NOT NULL").await, 0);
        h.fate(&reference, "REFUNDED").await;
        assert_eq!(door.deliver(&event("WH-1", &[&reference])).await, 200);
        assert_eq!(h.reconcile().await.outcomes["returned"].count, 1);
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_500, ..Wallet::default() });
    }

    async fn a_submission_is_found_by_each_of_its_names(h: &Harness) {
        let door = Door::open(h).await;
        let transfer = sent_to(h, "ana").await;
        let names: Vec<(String, String, String)> = h.database.rows(
            "SELECT s.reference, s.provider_batch_id, t.provider_id
             FROM submissions s JOIN transfers t ON t.submission_id = s.submission_id").await;
        let (submission, batch, item) = names.into_iter().next().expect("a submission");
        for (number, (member, name)) in [
            ("references", &transfer), ("references", &submission),
            ("provider_ids", &batch), ("provider_ids", &item),
        ].into_iter().enumerate() {
            assert_eq!(due(h).await, 0);
            let hint = json!({"id": format!("WH-{number}"), "type": "T", member: [name, "other"]});
            assert_eq!(door.deliver(&hint).await, 200);
            assert_eq!(due(h).await, 1, "{member}: {name}");
            h.reconcile().await;
        }
        assert_eq!(h.count("provider_events WHERE matched = 1").await, 4);
    }

    async fn an_event_is_kept_once_however_often_and_in_whatever_order_it_comes(h: &Harness) {
        let door = Door::open(h).await;
        let reference = sent_to(h, "unregistered-ana").await;
        h.fate(&reference, "RETURNED").await;
        for id in ["WH-2", "WH-1", "WH-2", "WH-2", "WH-1"] {
            assert_eq!(door.deliver(&event(id, &[&reference])).await, 200);
            h.reconcile().await;
        }
        let kept: Vec<(String, i64, i64)> = h.database.rows(
            "SELECT event_id, deliveries, matched FROM provider_events ORDER BY event_id").await;
        assert_eq!(kept, [("WH-1".to_owned(), 2, 1), ("WH-2".to_owned(), 3, 1)]);
        assert_eq!(status(h).await, PayoutStatus::Failed);
        assert_eq!(h.count("entries WHERE entry_key LIKE 'restore:%'").await, 1);
    }

    async fn one_event_that_comes_many_times_at_once_is_kept_once(h: &Harness) {
        let door = Door::open(h).await;
        let reference = sent_to(h, "ana").await;
        let event = event("WH-1", &[&reference]);
        let statuses = futures::future::join_all((0..12).map(|_| door.deliver(&event))).await;
        assert_eq!(statuses, [200; 12]);
        let kept: Vec<(i64,)> = h.database.rows("SELECT deliveries FROM provider_events").await;
        assert_eq!(kept, [(12,)]);
    }

    async fn an_unknown_event_is_kept_as_it_came_and_ignored(h: &Harness) {
        let door = Door::open(h).await;
        sent_to(h, "ana").await;
        let unknown = r#"{"id": "WH-9",  "type":"CUSTOMER.DISPUTE.CREATED", "é": 1.50}"#;
        let request = door.request("POST", "/webhooks/paypal/acme").body(unknown);
        assert_eq!(answer(request.header("X-Signature", "secret-of-acme")).await.0, 200);
        let kept: Vec<(String, String, i64)> =
            h.database.rows("SELECT event_type, sealed_body, matched FROM provider_events").await;
        let [(event_type, sealed, matched)] = kept.as_slice() else { panic!("{kept:?}") };
        assert_eq!((event_type.as_str(), *matched), ("CUSTOMER.DISPUTE.CREATED", 0));
        let cell = Cell::new("provider_events", "sealed_body", "paypal/WH-9");
        assert_eq!(h.store.unseal(&h.org, cell, sealed).await.expect("opened"), unknown);
        assert_eq!(due(h).await, 0);
    }

    async fn what_is_forged_unsigned_or_another_orgs_is_refused_and_not_kept(h: &Harness) {
        let door = Door::open(h).await;
        let reference = sent_to(h, "ana").await;
        let event = event("WH-1", &[&reference]).to_string();
        for signature in [None, Some("secret-of-globex"), Some("")] {
            let request = door.request("POST", "/webhooks/paypal/acme").body(event.clone());
            let request = match signature {
                Some(signature) => request.header("x-signature", signature),
                None => request,
            };
            assert_eq!(answer(request).await, (401, "webhook_refused".to_owned()));
        }
        let request = door.request("POST", "/webhooks/paypal/acme").body(event);
        let request = request.header("x-signature", "later");
        assert_eq!(answer(request).await, (503, "webhook_unclear".to_owned()));
        assert_eq!((h.count("provider_events").await, due(h).await), (0, 0));
    }

    async fn what_cannot_be_kept_as_text_is_refused_although_it_is_genuine(h: &Harness) {
        let door = Door::open(h).await;
        h.enrol(program("creator"), &["ana"]).await;
        let nul = br#"{"id":"WH-1","type":"T","x":"\u0000"}"#.to_vec();
        let names_nul = br#"{"id":"WH-1","type":"T","references":["\u0000"]}"#.to_vec();
        let id_is_nul = br#"{"id":"\u0000","type":"T"}"#.to_vec();
        let too_long = format!(r#"{{"id":"{}","type":"T"}}"#, "é".repeat(256)).into_bytes();
        let unnamed = br#"{"type":"T"}"#.to_vec();
        let not_utf8 = b"{\"id\":\"WH-1\",\"type\":\"T\",\"x\":\"\xff\"}".to_vec();
        for (body, status) in [
            (nul, 200), (names_nul, 200), (id_is_nul, 400), (too_long, 400), (unnamed, 400),
            (not_utf8, 400), (Vec::new(), 400),
        ] {
            let request = door.request("POST", "/webhooks/paypal/acme").body(body);
            let answer = answer(request.header("x-signature", "secret-of-acme")).await;
            assert_eq!(answer.0, status, "{answer:?}");
        }
    }

    async fn an_org_hears_only_of_its_own_transfers(h: &Harness) {
        let door = Door::open(h).await;
        let reference = sent_to(h, "ana").await;
        h.change("INSERT INTO orgs (org_id, created_at) VALUES ('globex', '2026-03-02T09:00:00+00:00')").await;
        let body = event("WH-1", &[&reference]).to_string();
        let request = door.request("POST", "/webhooks/paypal/globex").body(body);
        assert_eq!(answer(request.header("x-signature", "secret-of-globex")).await.0, 200);
        assert_eq!(h.count("provider_events WHERE org_id = 'globex' AND matched = 0").await, 1);
        assert_eq!(due(h).await, 0);
    }

    async fn what_is_being_sent_or_was_refused_is_left_alone(h: &Harness) {
        let door = Door::open(h).await;
        let reference = sent_to(h, "ana").await;
        for state in ["prepared", "sending", "refused"] {
            h.change(&format!("UPDATE submissions SET state = '{state}', next_check_at = NULL")).await;
            assert_eq!(door.deliver(&event(state, &[&reference])).await, 200);
            assert_eq!(due(h).await, 0, "{state}");
        }
        h.change("UPDATE submissions SET state = 'accepted'").await;
    }

    async fn paths_methods_orgs_and_rails_that_are_not_there_are_told_apart(h: &Harness) {
        let door = Door::open(h).await;
        h.enrol(program("creator"), &["ana"]).await;
        for (method, path, status, code) in [
            ("GET", "/livez", 200, ""),
            ("HEAD", "/livez", 200, ""),
            ("POST", "/livez", 405, "method_not_allowed"),
            ("GET", "/webhooks/paypal/acme", 405, "method_not_allowed"),
            ("PUT", "/webhooks/paypal/acme", 405, "method_not_allowed"),
            ("POST", "/webhooks/paypal/acne", 404, "unknown_org"),
            ("POST", "/webhooks/paypal/a%20b", 404, "unknown_org"),
            ("POST", "/webhooks/paypal/%ff", 404, "no_such_path"),
            ("POST", "/webhooks/stripe/acme", 404, "rail_not_configured"),
            ("POST", "/webhooks/stripe-connect/acme", 404, "rail_not_configured"),
            ("POST", "/webhooks/ach/acme", 404, "unknown_provider"),
            ("POST", "/webhooks/venmo/acme", 404, "unknown_provider"),
            ("POST", "/webhooks/paypal", 404, "no_such_path"),
            ("POST", "/webhooks/paypal/acme/more", 404, "no_such_path"),
            ("GET", "/", 404, "no_such_path"),
        ] {
            let request = door.request(method, path).header("x-signature", "secret-of-acme");
            assert_eq!(answer(request).await, (status, code.to_owned()), "{method} {path}");
        }
    }

    async fn a_body_that_is_too_long_is_refused_whatever_its_head_says(h: &Harness) {
        let door = Door::open(h).await;
        sent_to(h, "ana").await;
        let signed = || {
            door.request("POST", "/webhooks/paypal/acme").header("x-signature", "secret-of-acme")
        };
        let megabytes = |count: usize| {
            format!(r#"{{"id":"WH-1","type":"T","x":"{}"}}"#, "x".repeat(count << 20))
        };
        assert_eq!(answer(signed().body(megabytes(10))).await, (413, "body_too_large".to_owned()));
        let mut fits = r#"{"id":"WH-2","type":"T"}"#.to_owned();
        fits.push_str(&" ".repeat((1 << 20) - fits.len()));
        assert_eq!(answer(signed().body(fits.clone())).await.0, 200);
        assert_eq!(answer(signed().body(fits + " ")).await.0, 413);

        let head = "POST /webhooks/paypal/acme HTTP/1.1\r\nhost: x\r\nx-signature: secret-of-acme\r\n\
                    connection: close\r\n";
        let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..3 {
            chunked.extend_from_slice(b"80000\r\n");
            chunked.extend(std::iter::repeat_n(b'x', 0x80000));
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        assert!(door.raw(&chunked).await.starts_with("HTTP/1.1 413 "));
        let lying = format!("{head}content-length: 99999999999\r\nexpect: 100-continue\r\n\r\n");
        assert!(door.raw(lying.as_bytes()).await.starts_with("HTTP/1.1 413 "));
        let lying = format!("{head}content-length: 2\r\n\r\n{{}} and more");
        assert!(door.raw(lying.as_bytes()).await.starts_with("HTTP/1.1 400 "));
        assert_eq!(h.count("provider_events").await, 1);
    }

    async fn a_body_that_takes_too_long_is_not_waited_for(h: &Harness) {
        let limits =
            Limits { body_bytes: 1_024, body_time: Duration::from_millis(300), ..LIMITS };
        let door = Door::with(h, limits).await;
        h.enrol(program("creator"), &["ana"]).await;
        let slow = "POST /webhooks/paypal/acme HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    content-length: 100\r\n\r\n{\"id\":";
        let answer = door.raw(slow.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_too_slow"), "{answer}");
    }

    async fn old_events_are_pruned_and_the_transfers_stay(h: &Harness) {
        let door = Door::open(h).await;
        let reference = sent_to(h, "ana").await;
        door.deliver(&event("WH-1", &[&reference])).await;
        h.clock.advance(TimeDelta::days(60));
        door.deliver(&event("WH-2", &[&reference])).await;
        h.reconcile_with(&door.engine).await;
        h.clock.advance(TimeDelta::days(31));
        h.tally("prune").await;
        assert_eq!(h.count("provider_events WHERE event_id = 'WH-2'").await, 1);
        assert_eq!((h.count("provider_events").await, h.count("transfers").await), (1, 1));
    }
}
