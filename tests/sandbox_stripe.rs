//! The sandbox is held to Stripe's published schema, and to what Stripe's documents say.

mod loopback;

use chrono::{DateTime, TimeDelta, Utc};
use loopback::{Answer, Loopback, answer};
use payoutd::clock::Clock;
use payoutd::sandbox::Sandbox;
use serde_json::{Value, json};

const TRANSFERS: &str = "/v1/transfers";

/// Fails unless `instance` is what the schema calls `definition`.
fn assert_valid(definition: &str, instance: &Value) {
    let mut schema: Value =
        serde_json::from_str(include_str!("contracts/stripe/transfers.schema.json"))
            .expect("the schema is JSON");
    assert!(schema["$defs"].get(definition).is_some(), "{definition} is in the schema");
    schema["$ref"] = format!("#/$defs/{definition}").into();
    let validator = jsonschema::validator_for(&schema).expect("the schema is a schema");
    let errors: Vec<_> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{definition}: {errors:?}\n{instance:#}");
}

type Params<'a> = &'a [(&'a str, &'a str)];

/// A caller with a secret key.
struct Caller {
    at: Loopback,
}

impl Caller {
    async fn open() -> Self {
        Self { at: Loopback::open().await }
    }

    async fn of(sandbox: Sandbox) -> Self {
        Self { at: Loopback::of(sandbox).await }
    }

    async fn get(&self, path: &str) -> Answer {
        answer(self.at.request("GET", path).bearer_auth("sk_test_1")).await
    }

    async fn found(&self, definition: &str, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert_valid(definition, &body);
        body
    }

    async fn post(&self, path: &str, key: &str, params: Params<'_>) -> Answer {
        let request = self.at.request("POST", path).bearer_auth("sk_test_1");
        answer(request.header("Idempotency-Key", key).form(params)).await
    }

    async fn pay(&self, key: &str, params: Params<'_>) -> Answer {
        self.post(TRANSFERS, key, params).await
    }

    /// Pays, and gives the transfer.
    async fn paid(&self, key: &str, params: Params<'_>) -> Value {
        let (status, transfer) = self.pay(key, params).await;
        assert_eq!(status, 200, "{transfer}");
        assert_valid("response.PostTransfers.200", &transfer);
        transfer
    }

    async fn refused(&self, params: Params<'_>) -> (u16, Value) {
        let (status, body) = self.pay("a-key", params).await;
        assert!(status >= 400, "{body}");
        assert_valid("response.PostTransfers.default", &body);
        (status, body["error"].clone())
    }

    fn rows(&self) -> Value {
        serde_json::to_value(self.at.sandbox.books().stripe).expect("books are JSON")
    }

    async fn control(&self, path: &str, body: Value) {
        self.at.control("POST", path, body).await;
    }

    async fn fault(&self, fault: &str) {
        self.control("faults", json!({"on": "POST /v1/transfers", "fault": fault})).await;
    }
}

const DOLLAR: Params<'_> =
    &[("amount", "100"), ("currency", "usd"), ("destination", "acct_1"), ("transfer_group", "R1")];

fn row(reference: &str, recipient: &str, amount: &str, status: &str) -> Value {
    json!({"reference": reference, "recipient": recipient, "currency": "USD",
           "amount": amount, "status": status})
}

fn clock() -> Clock {
    Clock::fixed("2026-11-02T12:00:00Z".parse::<DateTime<Utc>>().expect("an instant"))
}

fn ids(list: &Value) -> Vec<String> {
    let id = |one: &Value| one["id"].as_str().expect("an id").to_owned();
    list["data"].as_array().expect("a list").iter().map(id).collect()
}

#[tokio::test]
async fn a_transfer_is_made_at_once_and_is_found_by_its_id_and_by_its_group() {
    let stripe = Caller::open().await;
    let params = [
        ("amount", "1230"),
        ("currency", "usd"),
        ("destination", "acct_1"),
        ("transfer_group", "R1"),
        ("description", "Commission für Zoë & co"),
        ("metadata[org_id]", "acme"),
        ("metadata[reference]", "R1"),
    ];
    let made = stripe.paid("k1", &params).await;
    assert_eq!((&made["amount"], &made["currency"]), (&json!(1230), &json!("usd")));
    assert_eq!((&made["destination"], &made["transfer_group"]), (&json!("acct_1"), &json!("R1")));
    assert_eq!(made["metadata"], json!({"org_id": "acme", "reference": "R1"}));
    assert_eq!(made["description"], "Commission für Zoë & co");
    assert_eq!((&made["reversed"], &made["amount_reversed"]), (&json!(false), &json!(0)));

    let id = made["id"].as_str().expect("an id");
    assert!(id.starts_with("tr_"));
    let path = format!("{TRANSFERS}/{id}");
    assert_eq!(stripe.found("response.GetTransfersTransfer.200", &path).await, made);
    let path = format!("{TRANSFERS}?transfer_group=R1");
    let list = stripe.found("response.GetTransfers.200", &path).await;
    assert_eq!((&list["data"], &list["has_more"]), (&json!([made]), &json!(false)));
    let none = stripe.found("response.GetTransfers.200", "/v1/transfers?transfer_group=R").await;
    assert_eq!(none["data"], json!([]));
    assert_eq!(stripe.rows(), json!([row("R1", "acct_1", "12.30", "paid")]));
}

#[tokio::test]
async fn a_request_that_breaks_a_rule_names_the_parameter_and_its_key_keeps_nothing() {
    let stripe = Caller::open().await;
    let with = |name: &'static str, value: &'static str| {
        let mut params = DOLLAR.to_vec();
        params.retain(|(given, _)| *given != name);
        params.push((name, value));
        params
    };
    for (params, code, param) in [
        (with("amount", ""), json!("parameter_missing"), "amount"),
        (with("amount", "1.5"), json!("parameter_invalid_integer"), "amount"),
        (with("amount", "0"), json!("parameter_invalid_integer"), "amount"),
        (with("amount", "-1"), json!("parameter_invalid_integer"), "amount"),
        (with("amount", "92233720368547758070"), json!("parameter_invalid_integer"), "amount"),
        (with("currency", ""), json!("parameter_missing"), "currency"),
        (with("currency", "zzz"), json!(null), "currency"),
        (with("destination", ""), json!("parameter_missing"), "destination"),
        (with("destination", "ba_1"), json!("resource_missing"), "destination"),
        (with("source_type", "cash"), json!(null), "source_type"),
        (with("group", "x"), json!("parameter_unknown"), "group"),
        (with("metadata[k]", "v".repeat(501).leak()), json!(null), "metadata"),
    ] {
        let (status, error) = stripe.refused(&params).await;
        assert_eq!((status, &error["type"]), (400, &json!("invalid_request_error")), "{params:?}");
        assert_eq!((&error["code"], &error["param"]), (&code, &json!(param)), "{params:?}");
    }
    stripe.paid("a-key", DOLLAR).await;
}

#[tokio::test]
async fn who_brings_no_key_or_json_is_turned_away() {
    let stripe = Caller::open().await;
    let bare = |method: &str| stripe.at.request(method, TRANSFERS);
    for request in [bare("GET"), bare("POST").form(DOLLAR), bare("GET").bearer_auth("pk_test_1")] {
        let (status, body) = answer(request).await;
        assert_eq!(status, 401);
        assert_valid("response.GetTransfers.default", &body);
    }
    let body = json!({"amount": 100, "currency": "usd", "destination": "acct_1"});
    let (status, error) = answer(bare("POST").bearer_auth("sk_test_1").json(&body)).await;
    assert_eq!(status, 415);
    assert_valid("response.PostTransfers.default", &error);
    let (status, error) = stripe.get("/v1/charges").await;
    assert_eq!((status, &error["error"]["type"]), (404, &json!("invalid_request_error")));
    let (status, error) = stripe.get("/v1/transfers/tr_none").await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("resource_missing")));
    assert_eq!(stripe.rows(), json!([]));
}

#[tokio::test]
async fn every_answer_has_a_number() {
    let stripe = Caller::open().await;
    for path in ["/v1/balance", "/v1/transfers/tr_none", "/v1/nothing"] {
        let request = stripe.at.request("GET", path).bearer_auth("sk_test_1");
        let response = request.send().await.expect("an answer");
        let number = response.headers()["request-id"].to_str().expect("text").to_owned();
        assert!(number.starts_with("req_"), "{path}");
    }
}

#[tokio::test]
async fn an_account_can_receive_unless_its_name_or_somebody_says_otherwise() {
    let stripe = Caller::open().await;
    let to =
        |account: &'static str| [("amount", "1"), ("currency", "usd"), ("destination", account)];
    let account = stripe.found("response.GetAccountsAccount.200", "/v1/accounts/acct_1").await;
    assert_eq!(account["capabilities"]["transfers"], "active");
    let path = "/v1/accounts/acct_inactive/capabilities/transfers";
    let definition = "response.GetAccountsAccountCapabilitiesCapability.200";
    assert_eq!(stripe.found(definition, path).await["status"], "inactive");
    let (status, error) = stripe.refused(&to("acct_inactive")).await;
    let code = json!("insufficient_capabilities_for_transfer");
    assert_eq!((status, &error["code"]), (400, &code));
    for (key, gone) in ["acct_closed_1", "acct_invalid"].into_iter().enumerate() {
        let (status, refused) = stripe.pay(&format!("k{key}"), &to(gone)).await;
        assert_eq!((status, &refused["error"]["code"]), (400, &json!("account_invalid")));
        let (status, refused) = stripe.get(&format!("/v1/accounts/{gone}")).await;
        assert_eq!((status, &refused["error"]["code"]), (403, &json!("account_invalid")));
        assert_valid("response.GetAccountsAccount.default", &refused);
    }
    stripe.control("stripe/accounts/acct_inactive", json!({"transfers": "active"})).await;
    stripe.paid("k3", &to("acct_inactive")).await;
    assert_eq!(stripe.at.sandbox.books().stripe.len(), 1);
}

#[tokio::test]
async fn the_first_answer_under_a_key_is_every_answer_under_it() {
    let clock = clock();
    let stripe = Caller::of(Sandbox::new(clock.clone())).await;
    let first = stripe.paid("k1", DOLLAR).await;
    assert_eq!(stripe.paid("k1", DOLLAR).await, first);
    let request = stripe.at.request("POST", TRANSFERS).bearer_auth("sk_test_1").form(DOLLAR);
    let replayed = request.header("Idempotency-Key", "k1").send().await.expect("an answer");
    assert_eq!(replayed.headers()["idempotent-replayed"], "true");

    let other = [("amount", "101"), ("currency", "usd"), ("destination", "acct_1")];
    let (status, refused) = stripe.pay("k1", &other).await;
    assert_eq!((status, &refused["error"]["type"]), (400, &json!("idempotency_error")));
    assert_valid("response.PostTransfers.default", &refused);
    assert_eq!(stripe.at.sandbox.books().stripe.len(), 1);

    // Past its life a key is as good as new, and pays again.
    clock.advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    assert_eq!(stripe.paid("k1", DOLLAR).await, first);
    clock.advance(TimeDelta::seconds(1));
    let second = stripe.paid("k1", DOLLAR).await;
    assert_ne!(second["id"], first["id"]);
    stripe.at.control("DELETE", "stripe/keys", json!(null)).await;
    assert_ne!(stripe.paid("k1", DOLLAR).await["id"], second["id"]);
    assert_eq!(stripe.at.sandbox.books().stripe.len(), 3);
}

#[tokio::test]
async fn too_small_a_balance_refuses_and_the_key_remembers_that() {
    let stripe = Caller::open().await;
    let funds = |amount: &str| json!({"provider": "stripe", "currency": "USD", "amount": amount});
    stripe.control("funds", funds("0.99")).await;
    for _ in 0..2 {
        let (status, refused) = stripe.pay("k1", DOLLAR).await;
        assert_eq!((status, &refused["error"]["code"]), (400, &json!("balance_insufficient")));
        assert_valid("response.PostTransfers.default", &refused);
        stripe.control("funds", funds("1.00")).await;
    }
    let available = async || {
        let balance = stripe.found("response.GetBalance.200", "/v1/balance").await;
        let of = |code: &str| {
            let available = balance["available"].as_array().expect("a list").clone();
            available.into_iter().find(|one| one["currency"] == code).expect("held")["amount"]
                .clone()
        };
        (of("usd"), of("jpy"))
    };
    assert_eq!(available().await.0, json!(100));
    let made = stripe.paid("k2", DOLLAR).await;
    assert_eq!(available().await.0, json!(0));
    assert_eq!(stripe.pay("k3", DOLLAR).await.0, 400);
    let path = format!("{TRANSFERS}/{}/reversals", made["id"].as_str().expect("an id"));
    assert_eq!(stripe.post(&path, "k4", &[("amount", "40")]).await.0, 200);
    assert_eq!(available().await, (json!(40), json!(100_000_000_000_000_i64)));
}

#[tokio::test]
async fn a_key_keeps_a_500_too_whether_the_money_moved_or_not() {
    let stripe = Caller::open().await;
    for (fault, key, rows) in [("error_before", "k1", 0), ("error_after", "k2", 1)] {
        stripe.fault(fault).await;
        for _ in 0..2 {
            let (status, error) = stripe.pay(key, DOLLAR).await;
            assert_eq!((status, &error["error"]["type"]), (500, &json!("api_error")), "{fault}");
            assert_valid("response.PostTransfers.default", &error);
        }
        assert_eq!(stripe.at.sandbox.books().stripe.len(), rows, "{fault}");
    }
    stripe.paid("k3", DOLLAR).await;
}

#[tokio::test]
async fn faults_speak_as_stripe_does_and_a_key_makes_the_same_of_them() {
    let stripe = Caller::open().await;
    stripe.fault("throttle").await;
    let (status, error) = stripe.pay("k1", DOLLAR).await;
    assert_eq!((status, &error["error"]["code"]), (429, &json!("rate_limit")));
    assert_valid("response.PostTransfers.default", &error);
    assert_eq!(stripe.rows(), json!([]));

    stripe.fault("garbled").await;
    assert_eq!(stripe.pay("k1", DOLLAR).await, (200, Value::Null));
    let wrong = json!({"on": "POST /v1/transfers", "fault": "wrong_status", "status": 418});
    stripe.control("faults", wrong).await;
    assert_eq!(stripe.pay("k1", DOLLAR).await.0, 418);
    stripe.fault("doubled").await;
    stripe.paid("k1", DOLLAR).await;
    assert_eq!(stripe.at.sandbox.books().stripe.len(), 1, "one key, one transfer");

    stripe.fault("doubled").await;
    let request = stripe.at.request("POST", TRANSFERS).bearer_auth("sk_test_1").form(DOLLAR);
    assert_eq!(answer(request).await.0, 200);
    assert_eq!(stripe.at.sandbox.books().stripe.len(), 3, "without a key it pays twice");

    let only = json!({"on": "POST /v1/transfers", "fault": "throttle", "recipient": "acct_2"});
    stripe.control("faults", only).await;
    stripe.paid("k5", DOLLAR).await;
    let to_two = [("amount", "1"), ("currency", "usd"), ("destination", "acct_2")];
    assert_eq!(stripe.pay("k6", &to_two).await.0, 429);
}

#[tokio::test]
async fn lost_calls_hang_up_and_only_a_lost_response_has_paid() {
    let stripe = Caller::open().await;
    let lost = async |fault: &str| {
        stripe.fault(fault).await;
        let request = stripe.at.request("POST", TRANSFERS).bearer_auth("sk_test_1");
        request.header("Idempotency-Key", "k1").form(DOLLAR).send().await.is_err()
    };
    assert!(lost("lost_request").await);
    assert_eq!(stripe.rows(), json!([]));
    assert!(lost("lost_response").await);
    assert_eq!(stripe.at.sandbox.books().stripe.len(), 1);
    stripe.paid("k1", DOLLAR).await;
    assert_eq!(stripe.at.sandbox.books().stripe.len(), 1);
}

#[tokio::test]
async fn a_key_whose_call_is_in_progress_is_refused() {
    let stripe = Caller::open().await;
    let slow = json!({"on": "POST /v1/transfers", "fault": "slow", "delay_ms": 700});
    stripe.control("faults", slow).await;
    let second = async {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        stripe.pay("k1", DOLLAR).await
    };
    let ((first, _), (status, refused)) = tokio::join!(stripe.pay("k1", DOLLAR), second);
    assert_eq!((first, status), (200, 409));
    assert_eq!(refused["error"]["code"], "idempotency_key_in_use");
    assert_valid("response.PostTransfers.default", &refused);
    stripe.paid("k1", DOLLAR).await;
    assert_eq!(stripe.at.sandbox.books().stripe.len(), 1);
}

#[tokio::test]
async fn lists_are_newest_first_a_page_at_a_time_within_their_filters() {
    let clock = clock();
    let stripe = Caller::of(Sandbox::new(clock.clone())).await;
    let mut made = Vec::new();
    for number in 0..5 {
        let account = format!("acct_{}", number % 2);
        let params = [("amount", "1"), ("currency", "jpy"), ("destination", account.as_str())];
        let transfer = stripe.paid(&format!("k{number}"), &params).await;
        made.insert(0, transfer["id"].as_str().expect("an id").to_owned());
        clock.advance(TimeDelta::seconds(10));
    }
    let start = clock.now().timestamp() - 50;
    let list = async |query: String| {
        stripe.found("response.GetTransfers.200", &format!("{TRANSFERS}?{query}")).await
    };
    let first = list("limit=2".into()).await;
    assert_eq!((ids(&first), &first["has_more"]), (made[..2].to_vec(), &json!(true)));
    let rest = list(format!("limit=3&starting_after={}", made[1])).await;
    assert_eq!((ids(&rest), &rest["has_more"]), (made[2..].to_vec(), &json!(false)));
    let back = list(format!("limit=2&ending_before={}", made[3])).await;
    assert_eq!((ids(&back), &back["has_more"]), (made[1..3].to_vec(), &json!(true)));
    let between = format!("created[gte]={}&created%5Blt%5D={}", start + 10, start + 30);
    assert_eq!(ids(&list(between).await), made[2..4]);
    let between = format!("created[gt]={}&created[lte]={}", start + 10, start + 30);
    assert_eq!(ids(&list(between).await), made[1..3]);
    assert_eq!(ids(&list("destination=acct_1".into()).await), [made[1].clone(), made[3].clone()]);
    for query in ["limit=0", "limit=101", "starting_after=tr_0", "created[ge]=1", "status=paid"] {
        let (status, error) = stripe.get(&format!("{TRANSFERS}?{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert_valid("response.GetTransfers.default", &error);
    }
}

#[tokio::test]
async fn a_transfer_is_reversed_in_part_and_then_in_full() {
    let stripe = Caller::open().await;
    let made = stripe.paid("k1", DOLLAR).await;
    let path = format!("{TRANSFERS}/{}", made["id"].as_str().expect("an id"));
    let reversals = format!("{path}/reversals");
    let (status, part) = stripe.post(&reversals, "k2", &[("amount", "30")]).await;
    assert_eq!(status, 200, "{part}");
    assert_valid("response.PostTransfersIdReversals.200", &part);
    assert_eq!(stripe.rows(), json!([row("R1", "acct_1", "1.00", "partly_reversed")]));
    assert_eq!(stripe.post(&reversals, "k3", &[("amount", "71")]).await.0, 400);
    assert_eq!(stripe.post(&reversals, "k2", &[("amount", "30")]).await, (200, part.clone()));
    stripe.control("stripe/transfers/R1/reverse", json!({})).await;
    let now = stripe.found("response.GetTransfersTransfer.200", &path).await;
    assert_eq!((&now["reversed"], &now["amount_reversed"]), (&json!(true), &json!(100)));
    let list = stripe.found("response.GetTransfersIdReversals.200", &reversals).await;
    assert_eq!(list["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(list["data"][1], part);
    let one = format!("{reversals}/{}", part["id"].as_str().expect("an id"));
    stripe.found("response.GetTransfersTransferReversalsId.200", &one).await;
    assert_eq!(stripe.post(&reversals, "k4", &[]).await.0, 400, "nothing is left");
    assert_eq!(stripe.rows(), json!([row("R1", "acct_1", "1.00", "reversed")]));
    let request = stripe.at.request("POST", "/_sandbox/stripe/transfers/R9/reverse");
    assert_eq!(answer(request).await.0, 404);
}

#[tokio::test]
async fn what_happens_is_listed_as_events_for_thirty_days() {
    let clock = clock();
    let stripe = Caller::of(Sandbox::new(clock.clone())).await;
    let made = stripe.paid("k1", DOLLAR).await;
    stripe.control("stripe/transfers/R1/reverse", json!({"amount": "0.30"})).await;
    let events = stripe.found("response.GetEvents.200", "/v1/events").await;
    let kinds: Vec<_> = events["data"].as_array().expect("a list").iter().collect();
    assert_eq!(kinds[0]["type"], "transfer.reversed");
    assert_eq!(kinds[0]["data"]["object"]["amount_reversed"], 30);
    assert_eq!(
        (&kinds[1]["type"], &kinds[1]["data"]["object"]),
        (&json!("transfer.created"), &made)
    );
    let path = format!("/v1/events/{}", kinds[1]["id"].as_str().expect("an id"));
    assert_eq!(stripe.found("response.GetEventsId.200", &path).await, *kinds[1]);
    let one = stripe.found("response.GetEvents.200", "/v1/events?type=transfer.created").await;
    assert_eq!(one["data"].as_array().map(Vec::len), Some(1));
    clock.advance(TimeDelta::days(30) + TimeDelta::seconds(1));
    let none = stripe.found("response.GetEvents.200", "/v1/events").await;
    assert_eq!(none["data"], json!([]));
}

#[tokio::test]
async fn a_connected_accounts_own_affairs_are_listed_for_that_account() {
    let stripe = Caller::open().await;
    let failed = json!({"account": "acct_1", "amount": "1.00", "currency": "USD",
                        "status": "failed", "failure_code": "account_closed"});
    stripe.control("stripe/payouts", failed).await;
    stripe.control("stripe/accounts/acct_1", json!({"transfers": "pending"})).await;
    let of = async |path: &str, definition: &str| {
        let request = stripe.at.request("GET", path).bearer_auth("sk_test_1");
        let (status, list) = answer(request.header("Stripe-Account", "acct_1")).await;
        assert_eq!(status, 200);
        assert_valid(definition, &list);
        list["data"].as_array().expect("a list").clone()
    };
    let payouts = of("/v1/payouts?status=failed", "response.GetPayouts.200").await;
    assert_eq!((payouts.len(), &payouts[0]["failure_code"]), (1, &json!("account_closed")));
    let events = of("/v1/events", "response.GetEvents.200").await;
    let kinds: Vec<_> = events.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["account.updated", "capability.updated", "payout.failed"]);
    assert!(events.iter().all(|event| event["account"] == "acct_1"));
    let ours = stripe.found("response.GetPayouts.200", "/v1/payouts").await;
    assert_eq!(ours["data"], json!([]));
    assert_eq!(stripe.refused(DOLLAR).await.1["code"], "insufficient_capabilities_for_transfer");
}

#[tokio::test]
async fn a_killed_sandbox_remembers_transfers_and_keys_once_it_is_asked_about_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sandbox.journal");
    let life = || Sandbox::with_journal(Clock::System, Some(path.clone())).expect("a journal");
    let first = Caller::of(life()).await;
    let made = first.paid("k1", DOLLAR).await;
    let reversal = json!({"amount": "0.30"});
    first.control("stripe/transfers/R1/reverse", reversal).await;

    // By its key: the answer of before comes back, and nothing is paid.
    let second = Caller::of(life()).await;
    assert_eq!(second.rows(), json!([]));
    assert_eq!(second.paid("k1", DOLLAR).await, made);
    assert_eq!(second.rows(), json!([row("R1", "acct_1", "1.00", "partly_reversed")]));

    // By its group.
    let third = Caller::of(life()).await;
    assert_eq!(third.rows(), json!([]));
    let path = format!("{TRANSFERS}?transfer_group=R1");
    let list = third.found("response.GetTransfers.200", &path).await;
    assert_eq!(list["data"][0]["amount_reversed"], 30);
    assert_eq!(third.at.sandbox.books().stripe.len(), 1);
}
