//! The sandbox is held to PayPal's published schema, and to what is known of PayPal's ways.

mod loopback;

use chrono::{DateTime, TimeDelta, Utc};
use loopback::{Answer, Loopback, answer};
use payoutd::clock::Clock;
use payoutd::domain::{Destination, MethodKind, Money};
use payoutd::providers::{Outgoing, OutgoingItem, Paypal, PaypalSettings, Provider};
use payoutd::sandbox::Sandbox;
use serde_json::{Value, json};

const PAYOUTS: &str = "/v1/payments/payouts";

/// Fails unless `instance` is what the schema calls `definition`.
fn assert_valid(definition: &str, instance: &Value) {
    let mut schema: Value =
        serde_json::from_str(include_str!("contracts/paypal/payouts.schema.json"))
            .expect("the schema is JSON");
    assert!(schema["$defs"].get(definition).is_some(), "{definition} is in the schema");
    schema["$ref"] = format!("#/$defs/{definition}").into();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema);
    let validator = validator.expect("the schema is a schema");
    let errors: Vec<_> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{definition}: {errors:?}\n{instance:#}");
}

/// A caller with a token.
struct Caller {
    at: Loopback,
    token: String,
}

impl Caller {
    async fn open() -> Self {
        Self::of(Loopback::open().await).await
    }

    async fn of(at: Loopback) -> Self {
        let request = at.request("POST", "/v1/oauth2/token").basic_auth("id", Some("secret"));
        let (status, granted) = answer(request.form(&[("grant_type", "client_credentials")])).await;
        assert_eq!(status, 200);
        assert_eq!(
            (&granted["token_type"], &granted["expires_in"]),
            (&json!("Bearer"), &json!(32_400))
        );
        let token = granted["access_token"].as_str().expect("a token").to_owned();
        Self { at, token }
    }

    async fn get(&self, path: &str) -> Answer {
        answer(self.at.request("GET", path).bearer_auth(&self.token)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.at.request("POST", path).bearer_auth(&self.token).json(body)).await
    }

    /// Pays `body` and gives the batch's id.
    async fn paid(&self, body: &Value) -> String {
        let (status, taken) = self.post(PAYOUTS, body).await;
        assert_eq!(status, 201, "{taken}");
        assert_valid("response.payouts.post.201", &taken);
        assert_eq!(taken["batch_header"]["batch_status"], "PENDING");
        taken["batch_header"]["payout_batch_id"].as_str().expect("an id").to_owned()
    }

    async fn batch(&self, id: &str) -> Value {
        let (status, page) = self.get(&format!("{PAYOUTS}/{id}?total_required=true")).await;
        assert_eq!(status, 200, "{page}");
        assert_valid("response.payouts.get.200", &page);
        page
    }

    /// PayPal's part of the books.
    fn books(&self) -> Value {
        let books = serde_json::to_value(self.at.sandbox.books()).expect("books are JSON");
        json!({"paypal": books["paypal"]})
    }
}

fn item(reference: &str, receiver: &str, value: &str) -> Value {
    json!({
        "recipient_type": "EMAIL",
        "amount": {"value": value, "currency": "USD"},
        "receiver": receiver,
        "note": "Thank you",
        "sender_item_id": reference,
    })
}

fn batch(sender_batch_id: &str, items: Value) -> Value {
    let header = json!({"sender_batch_id": sender_batch_id, "email_subject": "Your payout"});
    let body = json!({"sender_batch_header": header, "items": items});
    assert_valid("request.payouts.post", &body);
    body
}

fn row(reference: &str, recipient: &str, amount: &str, status: &str) -> Value {
    json!({"reference": reference, "recipient": recipient, "currency": "USD",
           "amount": amount, "status": status})
}

#[test]
fn what_the_adapter_sends_is_what_the_schema_asks_for() {
    let settings = |note: &str| -> PaypalSettings {
        serde_json::from_value(json!({
            "base_url": "http://127.0.0.1:1", "client_id": "id", "client_secret": "secret",
            "batch_size": 15_000, "timeout_ms": 30_000, "page_size": 1_000,
            "note": note, "email_subject": note,
            "posts_per_minute": 10_000, "call_off_unclaimed_days": 0, "webhook_ids": "",
            "authorize_url": "http://localhost/signin/authorize", "return_url": "",
        "webhook_verify": "certificate", "webhook_cert_hosts": "", "webhook_ca_file": "",
        }))
        .expect("settings")
    };
    for (note, code, minor, value) in
        [("Thanks", "USD", 1_230, "12.30"), ("", "JPY", 500, "500"), ("é", "KWD", 1, "0.001")]
    {
        let currency = code.parse().expect("a currency");
        let destination = Destination::parse(MethodKind::Paypal, r#"{"email":"a@example.com"}"#);
        let item = OutgoingItem::new(
            "ITEM00000000001".parse().expect("a reference"),
            Clock::System.mint(),
            destination.expect("a destination"),
            Money::new(minor, currency),
        );
        let (org, reference) = ("acme".parse(), "BATCH0000000001".parse());
        let (org, reference) = (org.expect("an id"), reference.expect("a reference"));
        let outgoing = Outgoing::new(org, reference, vec![item], currency, Clock::System.now());
        let paypal = Paypal::new(settings(note)).expect("a rail");
        let body: Value = serde_json::from_str(&paypal.render(&outgoing)).expect("JSON");
        assert_valid("request.payouts.post", &body);
        assert_eq!(body["sender_batch_header"]["sender_batch_id"], "BATCH0000000001");
        assert_eq!(body["items"][0]["sender_item_id"], "ITEM00000000001");
        assert_eq!(body["items"][0]["amount"], json!({"value": value, "currency": code}));
    }
}

#[tokio::test]
async fn a_batch_is_taken_at_once_and_worked_off_at_the_first_look() {
    let paypal = Caller::open().await;
    let id = paypal.paid(&batch("B1", json!([item("I1", "a@example.com", "12.3")]))).await;
    let pending = json!({"paypal": [row("I1", "a@example.com", "12.30", "PENDING")]});
    assert_eq!(paypal.books(), pending);

    let page = paypal.batch(&id).await;
    assert_eq!(page["batch_header"]["batch_status"], "SUCCESS");
    assert_eq!(page["batch_header"]["amount"], json!({"currency": "USD", "value": "12.30"}));
    assert_eq!(page["batch_header"]["fees"], json!({"currency": "USD", "value": "0.25"}));
    assert_eq!((&page["total_items"], &page["total_pages"]), (&json!(1), &json!(1)));
    let settled = json!({"paypal": [row("I1", "a@example.com", "12.30", "SUCCESS")]});
    let books = paypal.at.control("GET", "books", json!(null)).await;
    assert_eq!(books["paypal"], settled["paypal"]);

    let item_id = page["items"][0]["payout_item_id"].as_str().expect("an id");
    let (status, item) = paypal.get(&format!("/v1/payments/payouts-item/{item_id}")).await;
    assert_eq!(status, 200);
    assert_valid("response.payouts-item.get.200", &item);
    assert_eq!(
        (&item["sender_batch_id"], &item["transaction_status"]),
        (&json!("B1"), &json!("SUCCESS"))
    );
}

#[tokio::test]
async fn pages_hold_every_item_once() {
    let paypal = Caller::open().await;
    let items: Vec<_> = (0..5).map(|i| item(&format!("I{i}"), "a@example.com", "1.00")).collect();
    let id = paypal.paid(&batch("B1", json!(items))).await;
    let mut seen = Vec::new();
    for page in 1..=4 {
        let path =
            format!("{PAYOUTS}/{id}?page={page}&page_size=2&total_required=true&fields=items");
        let (_, page) = paypal.get(&path).await;
        assert_valid("response.payouts.get.200", &page);
        assert_eq!((&page["total_items"], &page["total_pages"]), (&json!(5), &json!(3)));
        let items = page["items"].as_array().expect("items").clone();
        seen.push(items.len());
    }
    assert_eq!(seen, [2, 2, 1, 0]);
    for query in ["page=0", "page_size=1001", "page=x"] {
        let (status, refused) = paypal.get(&format!("{PAYOUTS}/{id}?{query}")).await;
        assert_eq!(status, 400);
        assert_valid("response.payouts.get.default", &refused);
    }
}

#[tokio::test]
async fn the_receiver_decides_what_becomes_of_an_item() {
    let paypal = Caller::open().await;
    let items = json!([
        item("I1", "unregistered@example.com", "1.00"),
        item("I2", "locked@example.com", "2.00"),
        item("I3", "a@example.com", "3.00"),
    ]);
    let page = paypal.batch(&paypal.paid(&batch("B1", items)).await).await;
    let stand = |at: usize| {
        let item = &page["items"][at];
        (item["transaction_status"].clone(), item["errors"]["name"].clone())
    };
    assert_eq!(stand(0), (json!("UNCLAIMED"), json!("RECEIVER_UNREGISTERED")));
    assert_eq!(stand(1), (json!("FAILED"), json!("RECEIVER_ACCOUNT_LOCKED")));
    assert_eq!(stand(2), (json!("SUCCESS"), json!(null)));
    let rows = json!({"paypal": [
        row("I1", "unregistered@example.com", "1.00", "UNCLAIMED"),
        row("I3", "a@example.com", "3.00", "SUCCESS"),
    ]});
    assert_eq!(paypal.books(), rows);
}

#[tokio::test]
async fn only_unclaimed_money_can_be_cancelled() {
    let paypal = Caller::open().await;
    let items =
        json!([item("I1", "unregistered@example.com", "1.00"), item("I2", "a@b.c", "2.00")]);
    let page = paypal.batch(&paypal.paid(&batch("B1", items)).await).await;
    let path = |at: usize| {
        let id = page["items"][at]["payout_item_id"].as_str().expect("an id");
        format!("/v1/payments/payouts-item/{id}/cancel")
    };
    let (status, cancelled) = paypal.post(&path(0), &json!({})).await;
    assert_eq!((status, &cancelled["transaction_status"]), (200, &json!("RETURNED")));
    assert_valid("response.payouts-item.cancel.200", &cancelled);
    for at in [0, 1] {
        let (status, refused) = paypal.post(&path(at), &json!({})).await;
        assert_eq!((status, &refused["name"]), (400, &json!("ITEM_INCORRECT_STATUS")));
        assert_valid("response.payouts-item.cancel.400", &refused);
    }
    let (status, unknown) = paypal.post("/v1/payments/payouts-item/NONE/cancel", &json!({})).await;
    assert_eq!(status, 404);
    assert_valid("response.payouts-item.cancel.404", &unknown);
}

fn clock_of(text: &str) -> Clock {
    Clock::fixed(text.parse::<DateTime<Utc>>().expect("an instant"))
}

#[tokio::test]
async fn a_senders_batch_id_pays_once_in_thirty_days() {
    let clock = clock_of("2026-11-01T00:00:00Z");
    let at = Loopback::of(Sandbox::new(clock.clone())).await;
    let paypal = Caller::of(at).await;
    let body = batch("B1", json!([item("I1", "a@example.com", "1.00")]));
    let id = paypal.paid(&body).await;

    let (status, duplicate) = paypal.post(PAYOUTS, &body).await;
    assert_eq!((status, &duplicate["name"]), (400, &json!("USER_BUSINESS_ERROR")));
    assert_valid("response.payouts.post.400", &duplicate);
    let detail = &duplicate["details"][0];
    assert_eq!(detail["field"], "SENDER_BATCH_ID");
    assert_eq!(detail["location"], "body");
    assert_eq!(detail["issue"], "Batch with given sender_batch_id already exists");
    let href = format!("{}{PAYOUTS}/{id}", paypal.at.url);
    assert_eq!(detail["link"], json!([{"href": href, "rel": "self"}]));

    clock.advance(TimeDelta::days(30));
    // The token has ended meanwhile.
    let paypal = Caller::of(Loopback::of(paypal.at.sandbox.clone()).await).await;
    assert_ne!(paypal.paid(&body).await, id);
}

#[tokio::test]
async fn a_denied_batch_takes_no_money_and_lets_go_of_its_id() {
    let paypal = Caller::open().await;
    let body = batch("B1", json!([item("I1", "a@example.com", "1.00")]));
    let fault = json!({"on": "POST /v1/payments/payouts", "fault": "denied"});
    paypal.at.control("POST", "faults", fault).await;
    let page = paypal.batch(&paypal.paid(&body).await).await;
    assert_eq!(page["batch_header"]["batch_status"], "DENIED");
    assert_eq!(page["items"][0]["transaction_status"], "FAILED");
    assert_eq!(paypal.books(), json!({"paypal": []}));
    paypal.batch(&paypal.paid(&body).await).await;
    let rows = json!({"paypal": [row("I1", "a@example.com", "1.00", "SUCCESS")]});
    assert_eq!(paypal.books(), rows);
}

#[tokio::test]
async fn without_a_senders_batch_id_two_posts_pay_twice() {
    let paypal = Caller::open().await;
    let body = json!({"sender_batch_header": {}, "items": [item("I1", "a@example.com", "1.00")]});
    paypal.paid(&body).await;
    paypal.paid(&body).await;
    assert_eq!(paypal.at.sandbox.books().paypal.len(), 2);
}

/// Batches that break one rule each, and the field that the refusal names.
fn broken_batches() -> Vec<(Value, &'static str)> {
    let good = || batch("B1", json!([item("I0", "a@b.c", "1.00"), item("I1", "a@b.c", "1.00")]));
    let with = |pointer: &str, value: Value| {
        let mut body = good();
        *body.pointer_mut(pointer).expect("a member") = value;
        body
    };
    let long = |length: usize| json!("x".repeat(length));
    vec![
        (with("/items/1/receiver", json!(null)), "items[1].receiver"),
        (with("/items/1/receiver", json!("")), "items[1].receiver"),
        (with("/items/1/receiver", long(128)), "items[1].receiver"),
        (with("/items/1/receiver", json!("refused@b.c")), "items[1].receiver"),
        (with("/items/1/sender_item_id", long(64)), "items[1].sender_item_id"),
        (with("/items/1/note", long(4_001)), "items[1].note"),
        (with("/items/1/recipient_type", json!("FAX")), "items[1].recipient_type"),
        (with("/items/1/amount/value", json!("1.001")), "items[1].amount.value"),
        (with("/items/1/amount/value", json!("0.00")), "items[1].amount.value"),
        (with("/items/1/amount/value", json!("-1.00")), "items[1].amount.value"),
        (with("/items/1/amount/value", json!(1)), "items[1].amount.value"),
        (with("/items/1/amount/value", json!("1,00")), "items[1].amount.value"),
        (with("/items/1/amount/currency", json!("ZZZ")), "items[1].amount.currency"),
        (with("/items/1/amount/currency", json!("EUR")), "items[1].amount.currency"),
        (with("/items/1", json!(null)), "items[1].receiver"),
        (with("/items", json!([])), "items"),
        (with("/items", json!(null)), "items"),
        (with("/items", vec![item("I", "a@b.c", "1.00"); 15_001].into()), "items"),
        (with("/sender_batch_header", json!(null)), "sender_batch_header"),
        (
            with("/sender_batch_header/sender_batch_id", long(257)),
            "sender_batch_header.sender_batch_id",
        ),
    ]
}

#[tokio::test]
async fn a_batch_that_breaks_a_rule_is_refused_as_a_whole_and_says_where() {
    let paypal = Caller::open().await;
    for (body, field) in broken_batches() {
        let (status, refused) = paypal.post(PAYOUTS, &body).await;
        assert_eq!((status, &refused["name"]), (400, &json!("VALIDATION_ERROR")), "{field}");
        assert_valid("response.payouts.post.400", &refused);
        assert_eq!(refused["details"][0]["field"], field);
    }
    let request = paypal.at.request("POST", PAYOUTS).bearer_auth(&paypal.token);
    let request = request.header("content-type", "application/json").body("{\"items\":[");
    let (status, refused) = answer(request).await;
    assert_eq!((status, &refused["name"]), (400, &json!("MALFORMED_REQUEST_JSON")));
    assert_valid("response.payouts.post.400", &refused);
    assert_eq!(paypal.books(), json!({"paypal": []}));
}

#[tokio::test]
async fn the_largest_batch_is_taken() {
    let paypal = Caller::open().await;
    let id = paypal.paid(&batch("B1", vec![item("I", "a@b.c", "1.00"); 15_000].into())).await;
    let page = paypal.batch(&id).await;
    assert_eq!((&page["total_items"], &page["total_pages"]), (&json!(15_000), &json!(15)));
}

#[tokio::test]
async fn every_test_value_has_its_error_and_pays_nothing() {
    let paypal = Caller::open().await;
    for (note, status, name, definition) in [
        ("ERRPYO001", 403, "SENDER_RESTRICTED", "403"),
        ("ERRPYO002", 403, "SENDER_EMAIL_UNCONFIRMED", "403"),
        ("ERRPYO003", 403, "AUTHORIZATION_ERROR", "403"),
        ("ERRPYO005", 422, "INSUFFICIENT_FUNDS", "default"),
        ("ERRPYO006", 500, "INTERNAL_ERROR", "500"),
        ("ERRPYO010", 400, "VALIDATION_ERROR", "400"),
        ("ERRPYO011", 403, "REQUIRED_SCOPE_MISSING", "403"),
        ("ERRPYO012", 403, "SENDER_LOCKED", "403"),
        ("ERRPYO014", 400, "USER_BUSINESS_ERROR", "400"),
        ("ERRPYO035", 429, "RATE_LIMIT_VALIDATION", "default"),
        ("ERRPYO036", 504, "REQUEST_TIMEOUT_EXCEEDED", "default"),
        ("ERRPYO037", 400, "SYNC_MODE_NOT_APPLICABLE", "400"),
        ("ERRPYO038", 400, "NON_HOLDING_CURRENCY", "400"),
        ("ERRPYO039", 500, "PREVIOUS_REQUEST_IN_PROGRESS", "500"),
    ] {
        let mut body = batch("B1", json!([item("I1", "a@example.com", "1.00")]));
        body["items"][0]["note"] = note.into();
        let (answered, error) = paypal.post(PAYOUTS, &body).await;
        assert_eq!((answered, &error["name"]), (status, &json!(name)), "{note}");
        assert_valid(&format!("response.payouts.post.{definition}"), &error);
    }
    let closed = paypal.batch("ERRPYO015").await;
    assert_eq!(closed["items"][0]["errors"]["name"], "CLOSED_MARKET");
    assert_eq!(paypal.books(), json!({"paypal": []}));
}

#[tokio::test]
async fn whoever_has_no_token_is_told_so_and_a_token_does_not_live_for_ever() {
    let clock = clock_of("2026-11-01T00:00:00Z");
    let paypal = Caller::of(Loopback::of(Sandbox::new(clock.clone())).await).await;
    let refused = |(status, body): Answer| {
        assert_eq!((status, &body["name"]), (401, &json!("AUTHENTICATION_FAILURE")));
        assert_valid("error_401", &body);
        assert_valid("response.payouts.post.default", &body);
    };
    refused(answer(paypal.at.request("GET", "/v1/payments/payouts/X")).await);
    refused(answer(paypal.at.request("POST", PAYOUTS).bearer_auth("made-up")).await);
    assert_eq!(paypal.get("/v1/payments/payouts/X").await.0, 404);
    clock.advance(TimeDelta::seconds(32_400));
    refused(paypal.get("/v1/payments/payouts/X").await);
}

#[tokio::test]
async fn a_token_needs_an_application_and_the_right_grant() {
    let at = Loopback::open().await;
    let ask = |id: &str, secret: &str, grant: &str| {
        let request = at.request("POST", "/v1/oauth2/token").basic_auth(id, Some(secret));
        answer(request.form(&[("grant_type", grant)]))
    };
    let (status, denied) = ask("id", "", "client_credentials").await;
    assert_eq!((status, &denied["error"]), (401, &json!("invalid_client")));
    let (status, denied) = ask("id", "secret", "password").await;
    assert_eq!((status, &denied["error"]), (400, &json!("unsupported_grant_type")));
}

#[tokio::test]
async fn whatever_is_not_there_or_not_json_is_refused_in_paypals_shape() {
    let paypal = Caller::open().await;
    let text = paypal.at.request("POST", PAYOUTS).bearer_auth(&paypal.token).body("{}");
    let (status, wrong_type) = answer(text).await;
    assert_eq!((status, &wrong_type["name"]), (415, &json!("UNSUPPORTED_MEDIA_TYPE")));
    assert_valid("error_415", &wrong_type);
    assert_valid("response.payouts.post.default", &wrong_type);
    for (path, name, definition) in [
        ("/v1/payments/payouts/X", "INVALID_RESOURCE_ID", "response.payouts.get.404"),
        ("/v1/payments/payouts-item/X", "INVALID_RESOURCE_ID", "response.payouts-item.get.404"),
        ("/v2/anything", "RESOURCE_NOT_FOUND", "error_404"),
    ] {
        let (status, error) = paypal.get(path).await;
        assert_eq!((status, &error["name"]), (404, &json!(name)), "{path}");
        assert_valid(definition, &error);
    }
    let (status, error) = paypal.get(PAYOUTS).await;
    assert_eq!(status, 405);
    assert_valid("response.payouts.get.default", &error);
}

#[tokio::test]
async fn a_faults_error_is_in_paypals_shape() {
    let paypal = Caller::open().await;
    for (fault, status, name) in [
        ("error_before", 500, "INTERNAL_ERROR"),
        ("throttle", 429, "RATE_LIMIT_REACHED"),
        ("error_after", 500, "INTERNAL_ERROR"),
    ] {
        let fault = json!({"on": "POST /v1/payments/payouts", "fault": fault});
        paypal.at.control("POST", "faults", fault).await;
        let body = batch("B1", json!([item("I1", "a@example.com", "1.00")]));
        let (answered, error) = paypal.post(PAYOUTS, &body).await;
        assert_eq!((answered, &error["name"]), (status, &json!(name)));
        assert_valid("response.payouts.post.default", &error);
    }
    assert_eq!(paypal.at.sandbox.books().paypal.len(), 1);
}

#[tokio::test]
async fn faults_are_listed_cleared_and_refused_with_a_sentence() {
    let at = Loopback::open().await;
    let fault = json!({"on": "GET /v1/*", "fault": "slow", "times": 3, "after": 1, "delay_ms": 9});
    at.control("POST", "faults", fault.clone()).await;
    assert_eq!(at.control("GET", "faults", json!(null)).await, json!([fault]));
    at.control("DELETE", "faults", json!(null)).await;
    assert_eq!(at.control("GET", "faults", json!(null)).await, json!([]));
    for (bad, sentence) in [
        (json!({"on": "GET /v1/x", "fault": "meteor"}), "unknown variant"),
        (json!({"on": "x", "fault": "slow"}), "is no call"),
        (json!({"on": "GET /x", "fault": "slow", "time": 1}), "unknown field"),
        (json!([]), "this is no fault"),
    ] {
        let request = at.request("POST", "/_sandbox/faults").body(bad.to_string());
        let (status, error) = answer(request).await;
        assert_eq!(status, 400);
        let words = error["error"].as_str().expect("a sentence");
        assert!(words.contains(sentence), "{words}");
    }
}

#[tokio::test]
async fn a_killed_sandbox_starts_empty_and_remembers_what_it_is_asked_about() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sandbox.journal");
    let life = || Sandbox::with_journal(Clock::System, Some(path.clone())).expect("a journal");
    let one = batch("B1", json!([item("I1", "a@example.com", "1.00")]));
    let two = batch("B2", json!([item("I2", "unregistered@example.com", "2.00")]));

    let first = Caller::of(Loopback::of(life()).await).await;
    let id = first.paid(&one).await;
    first.batch(&id).await;
    let second = Caller::of(Loopback::of(life()).await).await;
    second.batch(&second.paid(&two).await).await;
    assert_eq!(second.at.sandbox.books().paypal.len(), 1, "a new life starts empty");

    // The first life comes back when its batch is posted again, in front, and stays.
    assert_eq!(second.post(PAYOUTS, &one).await.0, 400);
    let rows = json!({"paypal": [
        row("I1", "a@example.com", "1.00", "SUCCESS"),
        row("I2", "unregistered@example.com", "2.00", "UNCLAIMED"),
    ]});
    assert_eq!(second.books(), rows);
    second.at.control("POST", "items/I2", json!({"status": "RETURNED"})).await;

    // Half a line is what a kill in the middle of a write leaves.
    let mut journal = std::fs::read_to_string(&path).expect("a journal");
    journal.push_str("{\"event\":\"taken\",\"bat");
    std::fs::write(&path, journal).expect("a journal");
    let third = Caller::of(Loopback::of(life()).await).await;
    assert_eq!(third.books(), json!({"paypal": []}));
    third.batch(&id).await;
    let mut both = rows;
    both["paypal"][1]["status"] = "RETURNED".into();
    assert_eq!(third.books(), both, "the two lives had become one");

    third.at.sandbox.forget().expect("the journal can be removed");
    assert!(!path.exists());
    let fourth = Caller::of(Loopback::of(life()).await).await;
    assert_eq!(fourth.get(&format!("{PAYOUTS}/{id}")).await.0, 404);
}

#[tokio::test]
async fn a_turn_of_fate_sets_an_items_status() {
    let paypal = Caller::open().await;
    let id = paypal.paid(&batch("B1", json!([item("I1", "a@example.com", "1.00")]))).await;
    for status in ["SUCCESS", "REFUNDED", "REVERSED", "BLOCKED", "ONHOLD"] {
        paypal.at.control("POST", "items/I1", json!({"status": status})).await;
        assert_eq!(paypal.batch(&id).await["items"][0]["transaction_status"], status);
    }
    let nobody = paypal.at.request("POST", "/_sandbox/items/I9").body(r#"{"status":"SUCCESS"}"#);
    assert_eq!(answer(nobody).await.0, 404);
    let nonsense = paypal.at.request("POST", "/_sandbox/items/I1").body(r#"{"status":"LOST"}"#);
    assert_eq!(answer(nonsense).await.0, 400);
}

#[tokio::test]
async fn a_batch_is_taken_only_if_there_is_enough_to_pay_it() {
    let paypal = Caller::open().await;
    let funds = async |currency: &str, amount: Value| {
        let body = json!({"provider": "paypal", "currency": currency, "amount": amount});
        paypal.at.control("POST", "funds", body).await;
    };
    funds("USD", json!("3.00")).await;
    let items = |first: &str, receiver: &str| {
        json!([item("I1", receiver, first), item("I2", "a@example.com", "1.00")])
    };
    let (status, refused) = paypal.post(PAYOUTS, &batch("B1", items("2.01", "a@b.c"))).await;
    assert_eq!((status, &refused["name"]), (422, &json!("INSUFFICIENT_FUNDS")));
    assert_valid("response.payouts.post.default", &refused);
    assert_eq!(paypal.books(), json!({"paypal": []}));

    // What could not be paid can be spent again, and so can what came back.
    let id = paypal.paid(&batch("B1", items("2.00", "locked@b.c"))).await;
    assert_eq!(paypal.post(PAYOUTS, &batch("B2", items("1.00", "a@b.c"))).await.0, 422);
    paypal.batch(&id).await;
    paypal.paid(&batch("B2", items("1.00", "a@b.c"))).await;
    assert_eq!(paypal.post(PAYOUTS, &batch("B3", items("0.01", "a@b.c"))).await.0, 422);
    paypal.at.control("POST", "items/I2", json!({"status": "REFUNDED"})).await;
    paypal.paid(&batch("B3", items("1.00", "a@b.c"))).await;
    funds("USD", json!(null)).await;
    paypal.paid(&batch("B4", items("1000000.00", "a@b.c"))).await;
}

#[tokio::test]
async fn nothing_is_cancelled_before_its_batch_has_finished() {
    let paypal = Caller::open().await;
    paypal.at.control("POST", "paypal/work", json!({"working": false})).await;
    let id = paypal.paid(&batch("B1", json!([item("I1", "unregistered@b.c", "1.00")]))).await;
    let page = paypal.batch(&id).await;
    assert_eq!(page["batch_header"]["batch_status"], "PENDING");
    assert_eq!(page["items"][0]["transaction_status"], "PENDING");
    let item = page["items"][0]["payout_item_id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/payments/payouts-item/{item}/cancel");
    let (status, refused) = paypal.post(&path, &json!({})).await;
    assert_eq!((status, &refused["name"]), (400, &json!("ITEM_INCORRECT_STATUS")));
    assert_valid("response.payouts-item.cancel.400", &refused);
    paypal.at.control("POST", "paypal/work", json!({"working": true})).await;
    paypal.batch(&id).await;
    assert_eq!(paypal.post(&path, &json!({})).await.0, 200);
}

#[tokio::test]
async fn a_doubled_batch_is_answered_as_the_duplicate_that_its_second_half_is() {
    let paypal = Caller::open().await;
    let fault = |fault: &str| json!({"on": "POST /v1/payments/payouts", "fault": fault});
    paypal.at.control("POST", "faults", fault("doubled")).await;
    let body = batch("B1", json!([item("I1", "a@example.com", "1.00")]));
    let (status, duplicate) = paypal.post(PAYOUTS, &body).await;
    assert_eq!((status, &duplicate["name"]), (400, &json!("USER_BUSINESS_ERROR")));
    assert_eq!(paypal.at.sandbox.books().paypal.len(), 1);
    paypal.at.control("POST", "faults", fault("wrong_status")).await;
    let body = batch("B2", json!([item("I1", "a@example.com", "1.00")]));
    assert_eq!(paypal.post(PAYOUTS, &body).await.0, 404);
    assert_eq!(paypal.at.sandbox.books().paypal.len(), 2);
}
