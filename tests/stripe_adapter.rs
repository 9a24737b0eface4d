//! The Stripe rail against scripted answers over real HTTP: what is sent, and what every answer
//! comes to. Requests and answers are held to Stripe's own specification.

mod scripted;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use payoutd::clock::Clock;
use payoutd::domain::{Currency, Destination, Direction, MethodKind, Money};
use payoutd::providers::{
    Found, Funds, ItemReport, Outgoing, OutgoingItem, Problem, Provider, Sent, Standing, Stripe,
    StripeSettings, Vetted,
};
use scripted::{Scripted, lines};
use serde_json::{Value, json};

const ACCOUNT: &str = "acct_1PgafTB7WZ01zgkW";

fn settings(base_url: &str, change: Value) -> StripeSettings {
    let mut settings = json!({
        "base_url": base_url, "secret_key": "sk_test_hunter2", "timeout_ms": 2_000,
        "key_life_hours": 23, "webhook_secrets": "", "webhook_tolerance_s": 300,
        "calls_per_second": 1_000,
    });
    for (key, value) in change.as_object().expect("settings") {
        settings[key] = value.clone();
    }
    serde_json::from_value(settings).expect("settings")
}

fn rail(base_url: &str) -> Stripe {
    Stripe::new(settings(base_url, json!({}))).expect("a rail")
}

fn outgoing_of(amount: &str, currency: &str) -> Outgoing {
    let currency: Currency = currency.parse().expect("a currency");
    let destination = json!({ "account": ACCOUNT }).to_string();
    let item = OutgoingItem::new(
        "K2M4P6R8T0V2X4Z".parse().expect("a reference"),
        "po_01JMAGWPW0000000000000000A".parse().expect("an id"),
        Destination::parse(MethodKind::StripeConnect, &destination).expect("a destination"),
        Money::parse(amount, currency).expect("an amount"),
    );
    let (org, clock) = ("acme & söhne".replace(' ', "_").parse().expect("an id"), Clock::System);
    Outgoing::new(org, clock.mint(), vec![item], currency, clock.now())
}

fn outgoing() -> Outgoing {
    outgoing_of("12.34", "USD")
}

fn known(id: &str) -> Outgoing {
    Outgoing { provider_batch_id: Some(id.to_owned()), ..outgoing() }
}

/// Fails unless `instance` is what the schema calls `definition`.
fn assert_valid(definition: &str, instance: &Value) {
    let mut schema: Value =
        serde_json::from_str(include_str!("contracts/stripe/transfers.schema.json"))
            .expect("the schema is JSON");
    assert!(schema["$defs"].get(definition).is_some(), "{definition} is in the schema");
    schema["$ref"] = format!("#/$defs/{definition}").into();
    let validator = jsonschema::options().build(&schema).expect("the schema is a schema");
    let errors: Vec<_> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{definition}: {errors:?}\n{instance:#}");
}

/// One of Stripe's own example objects.
fn fixture(name: &str) -> Value {
    let fixtures: Value = serde_json::from_str(include_str!("contracts/stripe/fixtures.json"))
        .expect("the fixtures are JSON");
    fixtures["resources"][name].clone()
}

/// The transfer that [`outgoing`] asks for, as Stripe would tell of it, with changes.
fn transfer(change: Value) -> Value {
    let mut transfer = fixture("transfer");
    transfer["id"] = "tr_1".into();
    transfer["amount"] = 1_234.into();
    transfer["destination"] = ACCOUNT.into();
    transfer["transfer_group"] = "K2M4P6R8T0V2X4Z".into();
    transfer["metadata"] = json!({"reference": "K2M4P6R8T0V2X4Z"});
    for (key, value) in change.as_object().expect("members") {
        transfer[key] = value.clone();
    }
    assert_valid("transfer", &transfer);
    transfer
}

fn list(data: &[Value], has_more: bool) -> Value {
    let url = "/v1/transfers";
    let list = json!({"object": "list", "url": url, "data": data, "has_more": has_more});
    assert_valid("response.GetTransfers.200", &list);
    list
}

fn active() -> Value {
    json!({"id": ACCOUNT, "object": "account", "capabilities": {"transfers": "active"}})
}

fn ok(body: &Value) -> String {
    format!("HTTP/1.1 200 OK\r\n\r\n{body}")
}

fn error(status: u16, kind: &str, code: &str) -> String {
    let body = json!({"error": {"type": kind, "code": code, "message": "m"}});
    assert_valid("error", &body);
    format!("HTTP/1.1 {status} No\r\n\r\n{body}")
}

/// What became of a send that is answered so, behind an open gate.
async fn sent(answers: &[String]) -> (Sent, Vec<String>) {
    let server = Scripted::answering(answers).await;
    let (stripe, outgoing) = (rail(&server.url), outgoing());
    let sent = stripe.send(&outgoing, &stripe.render(&outgoing)).await;
    (sent, server.heard().await)
}

async fn found(outgoing: &Outgoing, answers: &[String]) -> (Found, Vec<String>) {
    let server = Scripted::answering(answers).await;
    let found = rail(&server.url).look_up(outgoing).await;
    (found, server.heard().await)
}

async fn report(outgoing: &Outgoing, answers: &[String]) -> ItemReport {
    match found(outgoing, answers).await.0 {
        Found::Items(mut reports) if reports.len() == 1 => reports.remove(0),
        other => panic!("{other:?}"),
    }
}

fn code(report: &ItemReport) -> Option<&str> {
    report.problem.as_ref().map(|problem| problem.code.as_str())
}

/// The fields of a form, with `a[b]` as a member of `a` and whole numbers as numbers.
fn decoded(form: &str) -> Value {
    let url = reqwest::Url::parse(&format!("form://fields?{form}")).expect("a form");
    let mut body = json!({});
    for (name, value) in url.query_pairs() {
        let value = match (name.as_ref(), value.parse::<i64>()) {
            ("amount", Ok(number)) => json!(number),
            _ => json!(value),
        };
        match name.split_once('[') {
            Some((outer, inner)) => body[outer][inner.trim_end_matches(']')] = value,
            None => body[name.as_ref()] = value,
        }
    }
    body
}

#[test]
fn the_same_submission_is_the_same_bytes_and_they_are_what_stripe_specifies() {
    let (stripe, outgoing) = (rail("http://127.0.0.1:1"), outgoing());
    let form = stripe.render(&outgoing);
    let expected = "amount=1234&currency=usd&destination=acct_1PgafTB7WZ01zgkW\
                    &description=Affiliate+payout+po_01JMAGWPW0000000000000000A\
                    &metadata%5Borg_id%5D=acme_%26_s%C3%B6hne\
                    &metadata%5Bpayout_id%5D=po_01JMAGWPW0000000000000000A\
                    &metadata%5Breference%5D=K2M4P6R8T0V2X4Z&transfer_group=K2M4P6R8T0V2X4Z";
    assert_eq!(form, expected);
    let now = outgoing.now + TimeDelta::days(3);
    let later = Outgoing { attempt: 2, now, ..outgoing };
    assert_eq!(stripe.render(&later), form);
    let body = decoded(&form);
    assert_valid("request.PostTransfers", &body);
    assert_eq!(body["metadata"]["org_id"], "acme_&_söhne");
}

#[test]
fn amounts_of_every_kind_of_currency_are_specified_integers() {
    let stripe = rail("http://127.0.0.1:1");
    for (amount, currency, minor) in [
        ("0.01", "USD", 1),
        ("92233720368547758.07", "USD", i64::MAX),
        ("500", "JPY", 500),
        ("5.120", "KWD", 5_120),
        ("7", "UGX", 700),
    ] {
        let body = decoded(&stripe.render(&outgoing_of(amount, currency)));
        assert_valid("request.PostTransfers", &body);
        assert_eq!(body["amount"], json!(minor), "{amount} {currency}");
    }
}

#[tokio::test]
async fn an_amount_that_stripe_cannot_send_is_refused_and_nobody_is_called() {
    let stripe = rail("http://127.0.0.1:1");
    for (amount, currency) in [("5.123", "KWD"), ("100.50", "HUF"), ("1.000", "LYD")] {
        let outgoing = outgoing_of(amount, currency);
        let sent = stripe.send(&outgoing, &stripe.render(&outgoing)).await;
        let Sent::Refused { items, problem } = sent else { panic!("{sent:?}") };
        assert_eq!(items.len(), 1, "{problem}");
        assert!(!problem.of_method && problem.code.ends_with("_at_stripe"), "{problem}");
    }
}

#[tokio::test]
async fn a_transfer_carries_the_key_the_version_and_an_idempotency_key_of_its_attempt() {
    let answers = [ok(&list(&[], false)), ok(&active()), ok(&transfer(json!({})))];
    let server = Scripted::answering(&answers).await;
    let (stripe, outgoing) = (rail(&server.url), Outgoing { attempt: 3, ..outgoing() });
    let body = stripe.render(&outgoing);
    let sent = stripe.send(&outgoing, &body).await;
    assert_eq!(sent, Sent::Accepted { provider_batch_id: Some("tr_1".into()) });
    let heard = server.heard().await;
    let gate = format!("GET /v1/accounts/{ACCOUNT} HTTP/1.1");
    assert_eq!(lines(&heard)[1..], [gate.as_str(), "POST /v1/transfers HTTP/1.1"]);
    let post = heard[2].to_ascii_lowercase();
    for header in [
        "authorization: bearer sk_test_hunter2",
        "stripe-version: 2023-08-16",
        "idempotency-key: k2m4p6r8t0v2x4z-3",
        "content-type: application/x-www-form-urlencoded",
    ] {
        assert!(post.contains(&format!("\r\n{header}\r\n")), "{header} is not in {post}");
    }
    assert!(heard[2].ends_with(&format!("\r\n\r\n{body}")));
}

#[tokio::test]
async fn a_new_key_is_used_only_once_no_transfer_of_an_earlier_one_is_found() {
    let second = Outgoing { attempt: 2, ..outgoing() };
    for (answer, expected) in [
        (
            ok(&list(&[transfer(json!({}))], false)),
            Sent::Accepted { provider_batch_id: Some("tr_1".into()) },
        ),
        ("HTTP/1.1 404 No\r\n\r\n".to_owned(), Sent::NotSent(Problem::new("http_404", ""))),
    ] {
        let server = Scripted::answering(&[answer]).await;
        let sent = rail(&server.url).send(&second, "amount=1").await;
        assert_eq!(std::mem::discriminant(&sent), std::mem::discriminant(&expected), "{sent:?}");
        assert_eq!(server.heard().await.len(), 1, "nothing is posted");
    }
}

#[tokio::test]
async fn no_transfer_is_asked_for_an_account_that_cannot_receive_it() {
    let without = |capabilities: Value| {
        ok(&json!({"id": ACCOUNT, "object": "account", "capabilities": capabilities}))
    };
    let deleted = json!({"id": ACCOUNT, "object": "account", "deleted": true});
    for answer in [
        without(json!({"transfers": "inactive"})),
        without(json!({"transfers": "pending"})),
        without(json!({"card_payments": "active"})),
        ok(&deleted),
        error(403, "invalid_request_error", "account_invalid"),
        error(404, "invalid_request_error", "resource_missing"),
    ] {
        let (sent, heard) = sent(std::slice::from_ref(&answer)).await;
        let Sent::Refused { items, problem } = sent else { panic!("{answer}: {sent:?}") };
        assert!(problem.of_method && items[0].1.of_method, "{answer}");
        assert_eq!(heard.len(), 1, "{answer}: the gate alone was asked");
    }
}

#[tokio::test]
async fn a_gate_that_cannot_be_asked_sends_nothing_and_blames_nobody() {
    let unreadable = ok(&json!({"id": ACCOUNT, "object": "account"}));
    for (answer, expected) in [
        (unreadable, "NotSent"),
        ("HTTP/1.1 200 OK\r\n\r\n<html>".to_owned(), "NotSent"),
        ("HTTP/1.1 400 No\r\n\r\n".to_owned(), "NotSent"),
        (error(401, "invalid_request_error", "api_key_expired"), "Blocked"),
        (error(403, "invalid_request_error", "more_permissions_required"), "Blocked"),
    ] {
        let (sent, heard) = sent(std::slice::from_ref(&answer)).await;
        assert!(format!("{sent:?}").starts_with(expected), "{answer}: {sent:?}");
        assert_eq!(heard.len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn every_kind_of_answer_comes_to_its_verdict_over_the_wire() {
    let invalid = "invalid_request_error";
    for (answer, expected) in [
        (error(400, invalid, "balance_insufficient"), "Short"),
        (error(400, invalid, "insufficient_capabilities_for_transfer"), "Refused"),
        (error(429, invalid, "rate_limit"), "Throttled"),
        (error(409, "idempotency_error", "idempotency_key_in_use"), "Unknown"),
        (error(400, "idempotency_error", "x"), "Unknown"),
        (error(500, "api_error", "x"), "Unknown"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"id\":\"tr_1\"}".to_owned(), "Unknown"),
        ("HTTP/1.1 307 Away\r\nlocation: /v1/transfers\r\n\r\n".to_owned(), "Unknown"),
        ("HTTP/1.1 502 Bad\r\nretry-after: 1\r\n\r\n".to_owned(), "Unknown"),
        ("no http at all".to_owned(), "Unknown"),
        (String::new(), "Unknown"),
    ] {
        let (sent, heard) = sent(&[ok(&active()), answer.clone()]).await;
        assert!(format!("{sent:?}").starts_with(expected), "{answer}: {sent:?}");
        assert_eq!(heard.len(), 2, "{answer}: posted once");
    }
}

#[tokio::test]
async fn where_nothing_listens_nothing_was_sent() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", free.local_addr().expect("a bound port"));
    drop(free);
    let (stripe, outgoing) = (rail(&url), outgoing());
    let sent = stripe.send(&outgoing, &stripe.render(&outgoing)).await;
    assert!(matches!(&sent, Sent::NotSent(problem) if problem.code == "no_connection"), "{sent:?}");
    assert!(matches!(stripe.look_up(&outgoing).await, Found::Unclear(_)));
    assert!(stripe.ping().await.is_err());
}

#[tokio::test]
async fn the_gate_was_passed_and_nobody_is_there_any_more_is_not_sent_either() {
    let (sent, _) = sent(&[ok(&active())]).await;
    assert!(matches!(&sent, Sent::NotSent(problem) if problem.code == "no_connection"), "{sent:?}");
}

#[tokio::test]
async fn several_transfers_in_one_submission_are_not_sent() {
    let mut outgoing = outgoing();
    outgoing.items.push(outgoing.items[0].clone());
    let stripe = rail("http://127.0.0.1:1");
    assert_eq!(stripe.terms().batch_size, 1);
    let sent = stripe.send(&outgoing, &stripe.render(&outgoing)).await;
    let wrong = |code: &str| code == "one_transfer_at_a_time";
    assert!(matches!(&sent, Sent::NotSent(problem) if wrong(&problem.code)), "{sent:?}");
    assert!(matches!(stripe.look_up(&outgoing).await, Found::Unclear(_)));
}

#[tokio::test]
async fn a_transfer_is_looked_up_by_its_id_and_settled_with_its_amount() {
    let (outgoing, answer) = (known("tr_1"), ok(&transfer(json!({}))));
    let (found, heard) = found(&outgoing, &[answer]).await;
    assert_eq!(lines(&heard), ["GET /v1/transfers/tr_1 HTTP/1.1"]);
    let Found::Items(reports) = found else { panic!("{found:?}") };
    let report = &reports[0];
    assert_eq!(
        (report.standing, report.amount),
        (Standing::Settled, Some(outgoing.items[0].amount))
    );
    assert_eq!((report.provider_id.as_deref(), report.note.as_deref()), (Some("tr_1"), None));
    assert_eq!(report.problem, None);
}

#[tokio::test]
async fn a_lost_transfer_is_found_by_its_group_and_an_empty_group_is_nothing() {
    let (found, heard) = found(&outgoing(), &[ok(&list(&[transfer(json!({}))], false))]).await;
    let asked = "GET /v1/transfers?transfer_group=K2M4P6R8T0V2X4Z&limit=100 HTTP/1.1";
    assert_eq!(lines(&heard), [asked]);
    let Found::Items(reports) = found else { panic!("{found:?}") };
    assert_eq!(reports[0].standing, Standing::Settled);
    assert_eq!(reports[0].provider_id.as_deref(), Some("tr_1"));

    let server = Scripted::answering(&[ok(&list(&[], false))]).await;
    assert!(matches!(rail(&server.url).look_up(&outgoing()).await, Found::Nothing(_)));
}

#[tokio::test]
async fn what_cannot_be_read_or_is_not_known_by_its_id_is_unclear_and_never_nothing() {
    for answer in [
        error(404, "invalid_request_error", "resource_missing"),
        error(401, "invalid_request_error", "api_key_expired"),
        ok(&json!({"id": "tr_1"})),
        ok(&json!([])),
        "HTTP/1.1 404 No\r\n\r\n".to_owned(),
    ] {
        let found = found(&known("tr_1"), std::slice::from_ref(&answer)).await.0;
        assert!(matches!(found, Found::Unclear(_)), "{answer}: {found:?}");
    }
    let found = found(&outgoing(), &[ok(&json!({"object": "list"}))]).await.0;
    assert!(matches!(found, Found::Unclear(_)), "{found:?}");
}

#[tokio::test]
async fn a_look_up_is_patient_with_what_passes() {
    let answers = [
        "HTTP/1.1 500 No\r\n\r\n".to_owned(),
        "HTTP/1.1 429 No\r\nretry-after: 0\r\n\r\n".to_owned(),
        ok(&transfer(json!({}))),
    ];
    assert_eq!(report(&known("tr_1"), &answers).await.standing, Standing::Settled);
}

#[tokio::test]
async fn two_transfers_of_one_reference_settle_nothing_whatever_page_they_are_on() {
    let (one, other) = (transfer(json!({})), transfer(json!({"id": "tr_2"})));
    let pages = [ok(&list(&[one], true)), ok(&list(&[other], false))];
    let server = Scripted::answering(&pages).await;
    let found = rail(&server.url).look_up(&outgoing()).await;
    let heard = server.heard().await;
    assert!(lines(&heard)[1].contains("&starting_after=tr_1 "), "{heard:?}");
    let Found::Items(reports) = found else { panic!("{found:?}") };
    assert_eq!(
        (reports[0].standing, code(&reports[0])),
        (Standing::Open, Some("doubled_transfer"))
    );
    let note = reports[0].note.as_deref().expect("a note");
    assert!(note.contains("tr_1") && note.contains("tr_2"), "{note}");
}

#[tokio::test]
async fn of_a_double_that_a_person_sent_back_the_other_one_counts_and_the_note_says_so() {
    let back = transfer(json!({"reversed": true, "amount_reversed": 1_234}));
    let other = transfer(json!({"id": "tr_2"}));
    let one = report(&outgoing(), &[ok(&list(&[back.clone(), other], false))]).await;
    assert_eq!((one.standing, one.provider_id.as_deref()), (Standing::Settled, Some("tr_2")));
    assert!(one.note.expect("a note").contains("tr_1"));
    let none = report(&outgoing(), &[ok(&list(&[back.clone(), back], false))]).await;
    assert_eq!(none.standing, Standing::Returned);
}

#[tokio::test]
async fn a_transfer_to_another_account_or_of_another_group_settles_nothing() {
    for (change, expected) in [
        (json!({"destination": "acct_other"}), "destination_differs"),
        (json!({"destination": null}), "destination_differs"),
        (json!({"transfer_group": "ANOTHER00000000"}), "another_transfer"),
        (json!({"transfer_group": null}), "another_transfer"),
        (json!({"currency": "xyz"}), "amount_unreadable"),
    ] {
        let report = report(&known("tr_1"), &[ok(&transfer(change.clone()))]).await;
        assert_eq!((report.standing, code(&report)), (Standing::Open, Some(expected)), "{change}");
    }
}

#[tokio::test]
async fn another_amount_or_currency_is_told_as_it_is_for_the_engine_to_compare() {
    let less = report(&known("tr_1"), &[ok(&transfer(json!({"amount": 1_233})))]).await;
    assert_eq!(less.amount, Some(Money::parse("12.33", outgoing().currency).expect("money")));
    let yen = report(&known("tr_1"), &[ok(&transfer(json!({"currency": "jpy"})))]).await;
    assert_eq!(yen.amount, Some(Money::new(1_234, "JPY".parse().expect("a currency"))));
}

#[tokio::test]
async fn a_reversal_in_full_is_a_return_and_one_in_part_a_note() {
    for (reversed, back, standing, problem) in [
        (true, 1_234, Standing::Returned, None),
        (false, 234, Standing::Settled, Some("partly_reversed")),
        (true, 234, Standing::Open, Some("reversal_unclear")),
        (false, 1_234, Standing::Open, Some("reversal_unclear")),
        (false, -1, Standing::Open, Some("reversal_unclear")),
        (true, 0, Standing::Open, Some("reversal_unclear")),
    ] {
        let answer = transfer(json!({"reversed": reversed, "amount_reversed": back}));
        let report = report(&known("tr_1"), &[ok(&answer)]).await;
        assert_eq!((report.standing, code(&report)), (standing, problem), "{reversed} {back}");
        let note = (back == 234 && !reversed).then_some("2.34 of 12.34 USD came back");
        assert_eq!(report.note.as_deref(), note);
    }
}

#[tokio::test]
async fn payouts_of_the_account_that_failed_are_noted_once_the_transfer_is_settled() {
    let mut payout = fixture("payout");
    payout["status"] = "failed".into();
    payout["failure_code"] = "account_closed".into();
    let page = json!({"object": "list", "url": "/v1/payouts", "data": [payout], "has_more": false});
    let mut outgoing = known("tr_1");
    outgoing.items[0].settled = true;
    let (found, heard) = found(&outgoing, &[ok(&transfer(json!({}))), ok(&page)]).await;
    let Found::Items(reports) = found else { panic!("{found:?}") };
    assert_eq!((reports[0].standing, &reports[0].problem), (Standing::Settled, &None));
    let note = reports[0].note.as_deref().expect("a note");
    assert!(note.contains("of 11.00 USD (account_closed)"), "{note}");
    let asked = "GET /v1/payouts?status=failed&created%5Bgte%5D=1234567890&limit=3 HTTP/1.1";
    assert_eq!(lines(&heard)[1], asked);
    assert!(
        heard[1]
            .to_ascii_lowercase()
            .contains(&format!("\r\nstripe-account: {}\r\n", ACCOUNT.to_ascii_lowercase()))
    );
}

#[tokio::test]
async fn nobody_asks_for_payouts_of_the_account_before_the_transfer_is_settled_or_after_it_is_back()
{
    let mut payout = fixture("payout");
    payout["status"] = "failed".into();
    let page = json!({"object": "list", "url": "/v1/payouts", "data": [payout], "has_more": false});
    let back = transfer(json!({"reversed": true, "amount_reversed": 1_234}));
    for (settled, answer) in [(false, transfer(json!({}))), (true, back)] {
        let mut outgoing = known("tr_1");
        outgoing.items[0].settled = settled;
        let server = Scripted::answering(&[ok(&answer), ok(&page)]).await;
        let found = rail(&server.url).look_up(&outgoing).await;
        let Found::Items(reports) = found else { panic!("{found:?}") };
        assert_eq!(reports[0].note, None, "{settled}");
    }
}

#[tokio::test]
async fn whatever_becomes_of_that_question_the_answer_stands() {
    let mut outgoing = known("tr_1");
    outgoing.items[0].settled = true;
    for answer in [
        "HTTP/1.1 500 No\r\n\r\n".to_owned(),
        error(403, "invalid_request_error", "account_invalid"),
        ok(&json!({"data": 7})),
        String::new(),
    ] {
        let (found, heard) = found(&outgoing, &[ok(&transfer(json!({}))), answer]).await;
        let Found::Items(reports) = found else { panic!("{found:?}") };
        assert_eq!((reports[0].standing, &reports[0].note), (Standing::Settled, &None));
        assert_eq!(heard.len(), 2, "asked once");
    }
}

#[tokio::test]
async fn funds_are_all_parts_of_what_is_available_in_the_currency() {
    let usd: Currency = "USD".parse().expect("a currency");
    let balance = |available: Value| {
        let pending = json!([{"amount": 99, "currency": "usd"}]);
        let balance = json!({
            "object": "balance", "livemode": false, "pending": pending, "available": available,
        });
        assert_valid("response.GetBalance.200", &balance);
        ok(&balance)
    };
    let part = |amount: i64, currency: &str| json!({"amount": amount, "currency": currency});
    for (available, expected) in [
        (json!([part(1_000, "usd"), part(7, "eur"), part(234, "usd")]), 1_234),
        (json!([part(-500, "usd")]), -500),
        (json!([part(7, "eur")]), 0),
    ] {
        let server = Scripted::answering(&[balance(available)]).await;
        let funds = rail(&server.url).funds(usd).await;
        assert_eq!(funds, Funds::Known(Money::new(expected, usd)));
        assert_eq!(lines(&server.heard().await), ["GET /v1/balance HTTP/1.1"]);
    }
    for answer in [
        balance(json!([part(i64::MAX, "usd"), part(1, "usd")])),
        ok(&json!({})),
        error(401, "invalid_request_error", "api_key_expired"),
    ] {
        let server = Scripted::answering(&[answer]).await;
        assert!(matches!(rail(&server.url).funds(usd).await, Funds::Unclear(_)));
    }
}

#[tokio::test]
async fn a_destination_is_able_unable_or_not_told() {
    let destination = &outgoing().items[0].destination;
    for (answer, expected) in [
        (ok(&active()), "Able"),
        (ok(&fixture("account")), "Able"),
        (ok(&json!({"capabilities": {"transfers": "inactive"}})), "Unable"),
        (error(403, "invalid_request_error", "account_invalid"), "Unable"),
        (error(401, "invalid_request_error", "api_key_expired"), "Unclear"),
        ("HTTP/1.1 400 No\r\n\r\n".to_owned(), "Unclear"),
    ] {
        let server = Scripted::answering(std::slice::from_ref(&answer)).await;
        let vetted = rail(&server.url).vet(destination).await;
        assert!(format!("{vetted:?}").starts_with(expected), "{answer}: {vetted:?}");
        if let Vetted::Unable(problem) = vetted {
            assert!(problem.of_method);
        }
    }
}

#[tokio::test]
async fn a_statement_lists_the_transfers_of_its_time_and_currency_and_what_came_back() {
    let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
    let (from, to) = (at("2026-11-01T00:00:00.001Z"), at("2026-11-02T00:00:00Z"));
    let created = at("2026-11-01T12:00:00Z").timestamp();
    let mut reversal = fixture("transfer_reversal");
    reversal["amount"] = 234.into();
    reversal["created"] = (created + 60).into();
    let mut late = reversal.clone();
    late["created"] = to.timestamp().into();
    let mut answer = transfer(json!({"created": created, "amount_reversed": 468}));
    answer["reversals"]["data"] = json!([reversal, late]);
    let euro = transfer(json!({"id": "tr_2", "currency": "eur"}));
    let nobodys = transfer(json!({"id": "tr_0", "metadata": {}, "transfer_group": null}));
    let pages = [ok(&list(&[answer, euro], true)), ok(&list(&[nobodys], false))];
    let server = Scripted::answering(&pages).await;
    let usd = outgoing().currency;
    let statement = rail(&server.url).statement(usd, from, to).await.expect("a list");
    let statement = statement.expect("Stripe keeps one");
    let (first, end) = (from.timestamp() + 1, to.timestamp());
    let asked = format!("created%5Bgte%5D={first}&created%5Blt%5D={end}&limit=100");
    let heard = server.heard().await;
    assert!(lines(&heard).iter().all(|line| line.contains(&asked)), "{heard:?}");
    assert!(lines(&heard)[1].contains("&starting_after=tr_2 "));
    let lines: BTreeMap<_, _> = statement
        .lines
        .iter()
        .map(|line| (line.provider_id.as_deref().expect("an id"), line))
        .collect();
    assert_eq!(statement.lines.len(), 3);
    let sent = lines["tr_1"];
    assert_eq!((sent.direction, sent.amount.minor, sent.is_return), (Direction::Out, 1_234, false));
    assert_eq!(sent.reference.as_deref(), Some("K2M4P6R8T0V2X4Z"));
    assert_eq!(sent.booked_on, Some(at("2026-11-01T12:00:00Z").date_naive()));
    assert_eq!(lines["tr_0"].reference, None);
    let back = lines[fixture("transfer_reversal")["id"].as_str().expect("an id")];
    assert_eq!((back.direction, back.amount.minor, back.is_return), (Direction::In, 234, true));
    assert_eq!(back.reference.as_deref(), Some("K2M4P6R8T0V2X4Z"));
}

#[tokio::test]
async fn a_statement_of_which_a_page_is_missing_is_none() {
    let pages = [
        ok(&list(&[transfer(json!({}))], true)),
        error(401, "invalid_request_error", "api_key_expired"),
    ];
    let server = Scripted::answering(&pages).await;
    let (usd, now) = (outgoing().currency, Clock::System.now());
    assert!(rail(&server.url).statement(usd, now - TimeDelta::days(1), now).await.is_err());
}

#[test]
fn the_terms_are_those_of_a_rail_that_finds_by_reference_while_its_key_lives() {
    let stripe = Stripe::new(settings("http://127.0.0.1:1", json!({"key_life_hours": 7})));
    let terms = stripe.expect("a rail").terms();
    assert!(terms.finds_by_reference);
    assert_eq!(terms.resend_window, TimeDelta::hours(7));
    assert_eq!(terms.watch, TimeDelta::days(90));
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let refused = |change| {
        let stripe = Stripe::new(settings("http://127.0.0.1:1", change));
        stripe.err().expect("a bad setting").message
    };
    assert!(refused(json!({"timeout_ms": 0})).contains("stripe.timeout_ms"));
    assert!(refused(json!({"key_life_hours": 0})).contains("stripe.key_life_hours"));
    assert!(refused(json!({"key_life_hours": 24})).contains("stripe.key_life_hours"));
    assert!(refused(json!({"base_url": "stripe"})).contains("stripe.base_url"));
}

#[test]
fn secrets_are_not_printed_and_an_empty_key_is_no_rail() {
    let settings = settings("http://127.0.0.1:1", json!({"webhook_secrets": "whsec_hunter2"}));
    assert!(settings.is_configured());
    assert!(!format!("{settings:?}").contains("hunter2"));
    let nobody = StripeSettings { secret_key: String::new().into(), ..settings };
    assert!(!nobody.is_configured());
}
