//! The PayPal rail against the sandbox, over real HTTP: every way in which an answer can go
//! missing, and the books afterwards.

mod loopback;
mod scripted;

use chrono::TimeDelta;
use loopback::Loopback;
use payoutd::clock::Clock;
use payoutd::domain::{Destination, MethodKind, Money, Reference};
use payoutd::providers::{
    Found, ItemReport, Outgoing, OutgoingItem, Paypal, PaypalSettings, Provider, Sent, Standing,
    Vetted,
};
use payoutd::sandbox::{ItemStatus, Sandbox};
use scripted::Scripted;
use serde_json::{Value, json};

const POST: &str = "POST /v1/payments/payouts";

/// What PayPal grants for credentials.
const TOKEN: &str = "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"T\",\"expires_in\":32400}";

fn settings(base_url: &str, change: Value) -> PaypalSettings {
    let mut settings = json!({
        "base_url": base_url, "client_id": "id", "client_secret": "secret",
        "batch_size": 500, "timeout_ms": 30_000, "page_size": 1_000,
        "note": "Your commission", "email_subject": "You have been paid",
        "posts_per_minute": 10_000, "call_off_unclaimed_days": 0, "webhook_ids": "",
        "authorize_url": "http://localhost/signin/authorize", "return_url": "",
        "webhook_verify": "certificate", "webhook_cert_hosts": "", "webhook_ca_file": "",
    });
    for (key, value) in change.as_object().expect("settings") {
        settings[key] = value.clone();
    }
    serde_json::from_value(settings).expect("settings")
}

fn rail(base_url: &str) -> Paypal {
    rail_with(base_url, json!({}))
}

fn rail_with(base_url: &str, change: Value) -> Paypal {
    Paypal::new(settings(base_url, change)).expect("a rail")
}

/// One item per receiver, of 1.00, 1.01, … USD.
fn outgoing(receivers: &[&str]) -> Outgoing {
    let currency = "USD".parse().expect("a currency");
    let item = |(minor, receiver): (i64, &&str)| {
        let destination = json!({ "email": receiver }).to_string();
        OutgoingItem::new(
            Clock::System.mint(),
            Clock::System.mint(),
            Destination::parse(MethodKind::Paypal, &destination).expect("a destination"),
            Money::new(minor, currency),
        )
    };
    let (org, items) = ("acme".parse(), (100..).zip(receivers).map(item).collect());
    let (org, clock) = (org.expect("an id"), Clock::System);
    Outgoing::new(org, clock.mint(), items, currency, clock.now())
}

async fn send(paypal: &Paypal, outgoing: &Outgoing) -> Sent {
    paypal.send(outgoing, &paypal.render(outgoing)).await
}

/// Sends what must be accepted, and keeps the id.
async fn accepted(paypal: &Paypal, outgoing: &mut Outgoing) {
    match send(paypal, outgoing).await {
        Sent::Accepted { provider_batch_id: Some(id) } => outgoing.provider_batch_id = Some(id),
        other => panic!("{other:?}"),
    }
}

async fn reports(paypal: &Paypal, outgoing: &Outgoing) -> Vec<ItemReport> {
    match paypal.look_up(outgoing).await {
        Found::Items(reports) => reports,
        other => panic!("{other:?}"),
    }
}

fn standings(reports: &[ItemReport]) -> Vec<Standing> {
    reports.iter().map(|report| report.standing).collect()
}

fn references(outgoing: &Outgoing) -> Vec<&Reference> {
    outgoing.items.iter().map(|item| &item.reference).collect()
}

/// Fails unless the books hold exactly these items, each once, with its amount.
fn assert_booked_once(at: &Loopback, outgoing: &Outgoing, status: ItemStatus) {
    let booked = at.sandbox.books().paypal;
    let booked: Vec<_> =
        booked.iter().map(|row| (row.reference.as_str(), row.amount.clone(), row.status)).collect();
    let asked = outgoing.items.iter();
    let asked: Vec<_> =
        asked.map(|item| (item.reference.as_str(), item.amount.to_string(), status)).collect();
    assert_eq!(booked, asked);
}

async fn arm(at: &Loopback, on: &str, fault: &str, more: Value) {
    let mut body = json!({"on": on, "fault": fault});
    for (key, value) in more.as_object().expect("members") {
        body[key] = value.clone();
    }
    at.control("POST", "faults", body).await;
}

#[tokio::test]
async fn a_batch_is_paid_once_and_found_settled_with_its_amounts() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    let mut outgoing = outgoing(&["a@example.com", "b@example.com"]);
    accepted(&paypal, &mut outgoing).await;
    let reports = reports(&paypal, &outgoing).await;
    assert_eq!(standings(&reports), [Standing::Settled, Standing::Settled]);
    for (report, item) in reports.iter().zip(&outgoing.items) {
        assert_eq!((&report.reference, report.amount), (&item.reference, Some(item.amount)));
        assert!(report.provider_id.is_some() && report.problem.is_none());
    }
    assert_booked_once(&at, &outgoing, ItemStatus::Success);
}

#[test]
fn the_same_submission_is_the_same_bytes() {
    let outgoing = outgoing(&["a@example.com"]);
    let (one, other) = (rail("http://127.0.0.1:1"), rail("http://127.0.0.1:2"));
    assert_eq!(one.render(&outgoing), other.render(&outgoing.clone()));
    let reference = outgoing.items[0].reference.as_str();
    let expected = format!(
        "{{\"sender_batch_header\":{{\"sender_batch_id\":\"{}\",\
         \"email_subject\":\"You have been paid\"}},\
         \"items\":[{{\"recipient_type\":\"EMAIL\",\
         \"amount\":{{\"value\":\"1.00\",\"currency\":\"USD\"}},\
         \"receiver\":\"a@example.com\",\"note\":\"Your commission\",\
         \"sender_item_id\":\"{reference}\"}}]}}",
        outgoing.reference
    );
    assert_eq!(one.render(&outgoing), expected);
}

#[tokio::test]
async fn an_answer_that_is_lost_in_any_way_is_unknown_and_the_same_send_pays_once() {
    for fault in ["lost_request", "lost_response", "error_before", "error_after", "garbled"] {
        let at = Loopback::open().await;
        let paypal = rail(&at.url);
        let mut outgoing = outgoing(&["a@example.com", "b@example.com"]);
        arm(&at, POST, fault, json!({})).await;
        let sent = send(&paypal, &outgoing).await;
        assert!(matches!(sent, Sent::Unknown(_)), "{fault}: {sent:?}");
        let taken = if matches!(fault, "lost_request" | "error_before") { 0 } else { 2 };
        assert_eq!(at.sandbox.books().paypal.len(), taken, "{fault}: sent once, not again");

        accepted(&paypal, &mut outgoing).await;
        let settled = standings(&reports(&paypal, &outgoing).await);
        assert_eq!(settled, [Standing::Settled, Standing::Settled], "{fault}");
        assert_booked_once(&at, &outgoing, ItemStatus::Success);
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_unknown_though_the_batch_is_taken() {
    let at = Loopback::open().await;
    let paypal = rail_with(&at.url, json!({"timeout_ms": 400}));
    let mut outgoing = outgoing(&["a@example.com"]);
    arm(&at, POST, "slow", json!({"delay_ms": 60_000})).await;
    let Sent::Unknown(problem) = send(&paypal, &outgoing).await else {
        panic!("a time-out says nothing");
    };
    assert_eq!(problem.code, "timeout");
    assert_booked_once(&at, &outgoing, ItemStatus::Pending);
    accepted(&paypal, &mut outgoing).await;
    assert_booked_once(&at, &outgoing, ItemStatus::Pending);
}

#[tokio::test]
async fn an_answer_that_is_slow_but_in_time_is_an_answer() {
    let at = Loopback::open().await;
    arm(&at, POST, "slow", json!({"delay_ms": 20})).await;
    accepted(&rail(&at.url), &mut outgoing(&["a@example.com"])).await;
}

#[tokio::test]
async fn where_nothing_listens_nothing_was_sent() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", free.local_addr().expect("a bound port"));
    drop(free);
    let paypal = rail(&url);
    let mut outgoing = outgoing(&["a@example.com"]);
    let sent = send(&paypal, &outgoing).await;
    assert!(matches!(&sent, Sent::NotSent(problem) if problem.code == "no_connection"), "{sent:?}");
    outgoing.provider_batch_id = Some("B1".into());
    assert!(matches!(paypal.look_up(&outgoing).await, Found::Unclear(_)));
    assert!(paypal.ping().await.is_err());
}

#[tokio::test]
async fn a_token_in_hand_and_nobody_there_any_more_is_not_sent_either() {
    let server = Scripted::answering(&[TOKEN]).await;
    let paypal = rail(&server.url);
    paypal.ping().await.expect("a token");
    server.heard().await;
    let sent = send(&paypal, &outgoing(&["a@example.com"])).await;
    assert!(matches!(&sent, Sent::NotSent(problem) if problem.code == "no_connection"), "{sent:?}");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_nothing_is_known() {
    let at = Loopback::open().await;
    let paypal = rail_with(&at.url, json!({"client_secret": ""}));
    let mut outgoing = outgoing(&["a@example.com"]);
    let sent = send(&paypal, &outgoing).await;
    assert!(
        matches!(&sent, Sent::NotSent(problem) if problem.code == "invalid_client"),
        "{sent:?}"
    );
    outgoing.provider_batch_id = Some("B1".into());
    assert!(matches!(paypal.look_up(&outgoing).await, Found::Unclear(_)));
    assert!(paypal.ping().await.is_err());
    assert!(at.sandbox.books().paypal.is_empty());
}

#[tokio::test]
async fn a_token_is_asked_for_again_while_paypal_recovers() {
    let at = Loopback::open().await;
    arm(&at, "POST /v1/oauth2/token", "lost_response", json!({"times": 2})).await;
    rail(&at.url).ping().await.expect("the third is an answer");
}

#[tokio::test]
async fn a_token_that_ended_early_is_renewed_and_the_call_made_once() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    paypal.ping().await.expect("a token");
    at.control("DELETE", "tokens", json!(null)).await;
    let mut outgoing = outgoing(&["a@example.com"]);
    accepted(&paypal, &mut outgoing).await;
    at.control("DELETE", "tokens", json!(null)).await;
    assert_eq!(standings(&reports(&paypal, &outgoing).await), [Standing::Settled]);
    assert_booked_once(&at, &outgoing, ItemStatus::Success);
}

#[tokio::test]
async fn a_second_401_is_about_us_and_the_end_of_it() {
    let no = "HTTP/1.1 401 Unauthorized\r\n\r\n\
              {\"error\":\"invalid_token\",\"error_description\":\"not ours\"}";
    let server = Scripted::answering(&[TOKEN, no, TOKEN, no]).await;
    let sent = send(&rail(&server.url), &outgoing(&["a@example.com"])).await;
    assert!(matches!(sent, Sent::Blocked(_)), "{sent:?}");
    let (token, post) = ("POST /v1/oauth2/token HTTP/1.1", "POST /v1/payments/payouts HTTP/1.1");
    assert_eq!(scripted::lines(&server.heard().await), [token, post, token, post]);
}

#[tokio::test]
async fn strange_answers_are_unknown_and_never_followed_or_repeated() {
    for answer in [
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: /v1/payments/payouts\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\r\n",
        "HTTP/1.1 201 Created\r\ncontent-length: 99\r\n\r\n\
         {\"batch_header\":{\"payout_batch_id\":\"B1\"}}",
        "HTTP/1.1 201 Created\r\n\r\n{\"batch_header\":{}}",
        "HTTP/1.1 400 Bad Request\r\n\r\n<html>no</html>",
        "no http at all",
        "",
    ] {
        let server = Scripted::answering(&[TOKEN, answer]).await;
        let sent = send(&rail(&server.url), &outgoing(&["a@example.com"])).await;
        assert!(matches!(sent, Sent::Unknown(_)), "{answer}: {sent:?}");
    }
}

#[tokio::test]
async fn a_throttle_asks_for_the_same_later_and_takes_nothing() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    let mut outgoing = outgoing(&["a@example.com"]);
    arm(&at, POST, "throttle", json!({})).await;
    let Sent::Throttled { retry_after, problem } = send(&paypal, &outgoing).await else {
        panic!("429 is a throttle");
    };
    assert_eq!(
        (retry_after, problem.code.as_str()),
        (Some(TimeDelta::seconds(1)), "RATE_LIMIT_REACHED")
    );
    accepted(&paypal, &mut outgoing).await;
    assert_booked_once(&at, &outgoing, ItemStatus::Pending);
}

#[tokio::test]
async fn every_test_value_is_understood() {
    let at = Loopback::open().await;
    for (note, expected) in [
        ("ERRPYO001", "Blocked"),
        ("ERRPYO002", "Blocked"),
        ("ERRPYO003", "Blocked"),
        ("ERRPYO005", "Short"),
        ("ERRPYO006", "Unknown"),
        ("ERRPYO010", "Refused"),
        ("ERRPYO011", "Blocked"),
        ("ERRPYO012", "Blocked"),
        ("ERRPYO014", "Unknown"),
        ("ERRPYO035", "Throttled"),
        ("ERRPYO036", "Unknown"),
        ("ERRPYO037", "Refused"),
        ("ERRPYO038", "Blocked"),
        ("ERRPYO039", "Unknown"),
    ] {
        let paypal = rail_with(&at.url, json!({"note": note}));
        let sent = format!("{:?}", send(&paypal, &outgoing(&["a@example.com"])).await);
        assert!(sent.starts_with(expected), "{note}: {sent}");
    }
    assert!(at.sandbox.books().paypal.is_empty());
}

#[tokio::test]
async fn a_refusal_names_the_payees_it_is_about_and_pays_nobody() {
    let at = Loopback::open().await;
    let outgoing = outgoing(&[
        "a@example.com",
        "refused-1@example.com",
        "b@example.com",
        "refused-2@example.com",
    ]);
    let Sent::Refused { items, problem } = send(&rail(&at.url), &outgoing).await else {
        panic!("a broken rule is a refusal");
    };
    let named: Vec<_> = items.iter().map(|(reference, _)| reference).collect();
    assert_eq!(named, [&outgoing.items[1].reference, &outgoing.items[3].reference]);
    assert_eq!(problem.code, "VALIDATION_ERROR");
    assert!(at.sandbox.books().paypal.is_empty());
}

#[tokio::test]
async fn each_payee_stands_for_itself() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    let receivers = ["unregistered@example.com", "locked@example.com", "a@example.com"];
    let mut outgoing = outgoing(&receivers);
    accepted(&paypal, &mut outgoing).await;
    let found = reports(&paypal, &outgoing).await;
    assert_eq!(standings(&found), [Standing::Unclaimed, Standing::Rejected, Standing::Settled]);
    let codes: Vec<_> = found
        .iter()
        .map(|report| report.problem.as_ref().map(|problem| problem.code.as_str()))
        .collect();
    assert_eq!(codes, [Some("RECEIVER_UNREGISTERED"), Some("RECEIVER_ACCOUNT_LOCKED"), None]);

    for (index, status) in [(0, "RETURNED"), (2, "REFUNDED")] {
        let path = format!("items/{}", outgoing.items[index].reference);
        at.control("POST", &path, json!({"status": status})).await;
    }
    let found = reports(&paypal, &outgoing).await;
    assert_eq!(standings(&found), [Standing::Rejected, Standing::Rejected, Standing::Returned]);
    assert_eq!(found[2].provider_status, "REFUNDED");
}

#[tokio::test]
async fn an_unclaimed_fault_meets_the_one_payee_it_names() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    arm(&at, POST, "unclaimed", json!({"recipient": "b@example.com"})).await;
    accepted(&paypal, &mut outgoing(&["x@example.com"])).await;
    let mut outgoing = outgoing(&["a@example.com", "b@example.com"]);
    accepted(&paypal, &mut outgoing).await;
    let found = reports(&paypal, &outgoing).await;
    assert_eq!(standings(&found), [Standing::Settled, Standing::Unclaimed]);
}

#[tokio::test]
async fn a_denied_batch_rejects_all_and_can_be_sent_again() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    let mut outgoing = outgoing(&["a@example.com", "b@example.com"]);
    arm(&at, POST, "denied", json!({})).await;
    accepted(&paypal, &mut outgoing).await;
    let found = reports(&paypal, &outgoing).await;
    assert_eq!(standings(&found), [Standing::Rejected, Standing::Rejected]);
    assert!(at.sandbox.books().paypal.is_empty());
    accepted(&paypal, &mut outgoing).await;
    let found = reports(&paypal, &outgoing).await;
    assert_eq!(standings(&found), [Standing::Settled, Standing::Settled]);
    assert_booked_once(&at, &outgoing, ItemStatus::Success);
}

#[tokio::test]
async fn every_page_is_read_and_every_item_reported_once() {
    let at = Loopback::open().await;
    let paypal = rail_with(&at.url, json!({"page_size": 2}));
    for items in [1, 2, 3, 4, 5] {
        let mut outgoing = outgoing(&vec!["a@example.com"; items]);
        accepted(&paypal, &mut outgoing).await;
        let found = reports(&paypal, &outgoing).await;
        let reported: Vec<_> = found.iter().map(|report| &report.reference).collect();
        assert_eq!(reported, references(&outgoing), "{items}");
    }
}

/// A page of a batch, as PayPal would show it.
fn page(status: &str, total: [usize; 2], items: &[(&Outgoing, usize, &str)]) -> String {
    let item = |(outgoing, index, status): &(&Outgoing, usize, &str)| {
        let item = &outgoing.items[*index];
        let amount = json!({"value": item.amount.to_string(), "currency": "USD"});
        json!({
            "payout_item_id": format!("P{index}"), "transaction_status": status,
            "payout_item": {"sender_item_id": item.reference.as_str(), "amount": amount,
                            "receiver": item.destination.get("email")},
        })
    };
    let items: Vec<Value> = items.iter().map(item).collect();
    let [total_pages, total_items] = total;
    let page = json!({
        "batch_header": {"batch_status": status}, "items": items,
        "total_pages": total_pages, "total_items": total_items,
    });
    format!("HTTP/1.1 200 OK\r\n\r\n{page}")
}

#[tokio::test]
async fn a_list_that_changes_between_its_pages_loses_no_item_for_good_and_rejects_none() {
    let mut outgoing = outgoing(&["a@example.com", "b@example.com", "c@example.com"]);
    outgoing.provider_batch_id = Some("B1".into());
    // The second item is pushed onto the second page again, and the third off it.
    let pages = |status| {
        let first = [(&outgoing, 0, "SUCCESS"), (&outgoing, 1, "PENDING")];
        [
            TOKEN.to_owned(),
            page(status, [2, 3], &first),
            page(status, [2, 3], &[(&outgoing, 1, "SUCCESS")]),
        ]
    };
    let server = Scripted::answering(&pages("PROCESSING")).await;
    let found = reports(&rail_with(&server.url, json!({"page_size": 2})), &outgoing).await;
    // The third is not told of, and so stays open.
    assert_eq!(standings(&found), [Standing::Settled, Standing::Settled]);

    let server = Scripted::answering(&pages("DENIED")).await;
    let found = rail_with(&server.url, json!({"page_size": 2})).look_up(&outgoing).await;
    let Found::Unclear(problem) = found else { panic!("{found:?}") };
    assert_eq!(problem.code, "list_not_whole");

    let short = [TOKEN.to_owned(), page("DENIED", [3, 1], &[(&outgoing, 0, "FAILED")])];
    let cut = [&short[..], &[page("DENIED", [3, 1], &[])]].concat();
    let server = Scripted::answering(&cut).await;
    let found = rail(&server.url).look_up(&outgoing).await;
    assert!(matches!(found, Found::Unclear(_)), "a page is missing: {found:?}");
}

#[tokio::test]
async fn what_nobody_claimed_is_called_off_once_and_a_look_up_says_what_came_of_it() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    let cancel = "POST /v1/payments/payouts-item/*";
    for fault in [None, Some("lost_response")] {
        let mut outgoing = outgoing(&["unregistered@example.com"]);
        accepted(&paypal, &mut outgoing).await;
        let nameless = paypal.call_off(&outgoing.items[0]).await.expect_err("no id yet");
        assert_eq!(nameless.code, "no_provider_id");
        let found = reports(&paypal, &outgoing).await;
        assert_eq!(standings(&found), [Standing::Unclaimed]);
        outgoing.items[0].provider_id.clone_from(&found[0].provider_id);
        if let Some(fault) = fault {
            arm(&at, cancel, fault, json!({})).await;
        }
        let called_off = paypal.call_off(&outgoing.items[0]).await;
        assert_eq!(called_off.is_ok(), fault.is_none(), "{called_off:?}");
        let found = reports(&paypal, &outgoing).await;
        assert_eq!(standings(&found), [Standing::Rejected]);
        assert_eq!(found[0].provider_status, "RETURNED");
        let again = paypal.call_off(&outgoing.items[0]).await.expect_err("it is back");
        assert_eq!(again.code, "ITEM_INCORRECT_STATUS");
    }
}

#[tokio::test]
async fn a_call_off_is_one_post_and_is_not_made_twice_though_it_may_pass() {
    let mut outgoing = outgoing(&["a@example.com"]);
    outgoing.items[0].provider_id = Some("A/B".into());
    let taken = "HTTP/1.1 200 OK\r\n\r\n{}";
    let server = Scripted::answering(&[TOKEN, taken]).await;
    rail(&server.url).call_off(&outgoing.items[0]).await.expect("it is taken");
    let heard = server.heard().await;
    let post = "POST /v1/payments/payouts-item/A%2FB/cancel HTTP/1.1";
    assert_eq!(scripted::lines(&heard)[1], post);

    let later = "HTTP/1.1 503 No\r\nretry-after: 0\r\n\r\n";
    let server = Scripted::answering(&[TOKEN, later, taken]).await;
    rail(&server.url).call_off(&outgoing.items[0]).await.expect_err("nobody asked again");
}

#[test]
fn what_nobody_claims_is_called_off_after_the_days_that_are_set_or_never() {
    let after = |days: u32| {
        rail_with("http://127.0.0.1:1", json!({"call_off_unclaimed_days": days})).terms()
    };
    assert_eq!(after(0).call_off_after, None);
    assert_eq!(after(12).call_off_after, Some(TimeDelta::days(12)));
}

#[tokio::test]
async fn posts_keep_to_the_pace_of_a_minute_whoever_makes_them() {
    let at = Loopback::open().await;
    // One in 100 ms.
    let paypal = rail_with(&at.url, json!({"posts_per_minute": 600}));
    paypal.ping().await.expect("a token");
    let start = std::time::Instant::now();
    let batches = [(); 4].map(|()| outgoing(&["a@example.com"]));
    let sends = batches.iter().map(|outgoing| send(&paypal, outgoing));
    let sent = futures::future::join_all(sends).await;
    assert!(sent.iter().all(|sent| matches!(sent, Sent::Accepted { .. })), "{sent:?}");
    assert!(start.elapsed().as_millis() >= 300, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_throttle_until_an_instant_is_a_wait_from_the_answers_own_date() {
    let answer = "HTTP/1.1 429 Slow\r\ndate: Sun, 22 Nov 2026 20:00:00 GMT\r\n\
                  retry-after: Sun, 22 Nov 2026 20:00:42 GMT\r\n\r\n\
                  {\"name\":\"RATE_LIMIT_REACHED\"}";
    let server = Scripted::answering(&[TOKEN, answer]).await;
    let sent = send(&rail(&server.url), &outgoing(&["a@example.com"])).await;
    let Sent::Throttled { retry_after, .. } = sent else { panic!("{sent:?}") };
    assert_eq!(retry_after, Some(TimeDelta::seconds(42)));
}

#[tokio::test]
async fn a_page_that_cannot_be_had_leaves_the_whole_unclear() {
    let at = Loopback::open().await;
    let paypal = rail_with(&at.url, json!({"page_size": 2}));
    let mut outgoing = outgoing(&["a@example.com"; 5]);
    accepted(&paypal, &mut outgoing).await;
    let page = "GET /v1/payments/payouts/*";
    arm(&at, page, "lost_response", json!({"after": 1, "times": 99})).await;
    assert!(matches!(paypal.look_up(&outgoing).await, Found::Unclear(_)));
}

#[tokio::test]
async fn a_look_up_is_patient_with_what_passes() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    let mut outgoing = outgoing(&["a@example.com"]);
    accepted(&paypal, &mut outgoing).await;
    for fault in ["lost_request", "error_after", "throttle"] {
        arm(&at, "GET /v1/payments/payouts/*", fault, json!({})).await;
    }
    assert_eq!(standings(&reports(&paypal, &outgoing).await), [Standing::Settled]);
}

#[tokio::test]
async fn the_last_open_items_are_looked_up_one_by_one() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    let mut outgoing = outgoing(&["a@example.com", "unregistered@example.com", "b@example.com"]);
    accepted(&paypal, &mut outgoing).await;
    let found = reports(&paypal, &outgoing).await;
    for (item, report) in outgoing.items.iter_mut().zip(&found) {
        item.provider_id.clone_from(&report.provider_id);
        item.open = report.standing != Standing::Settled;
    }
    // The batch itself is not asked: it could not answer.
    arm(&at, "GET /v1/payments/payouts/*", "error_before", json!({"times": 99})).await;
    let found = reports(&paypal, &outgoing).await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].reference, found[0].standing),
        (&outgoing.items[1].reference, Standing::Unclaimed)
    );

    // An item that PayPal does not know by that id is found in its batch.
    at.control("DELETE", "faults", json!(null)).await;
    outgoing.items[1].provider_id = Some("NOBODY".into());
    assert_eq!(reports(&paypal, &outgoing).await.len(), 3);
}

#[tokio::test]
async fn what_paypal_does_not_know_is_nothing_and_no_rejection() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    let mut outgoing = outgoing(&["a@example.com"]);
    let code = |found| match found {
        Found::Nothing(problem) => problem.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(paypal.look_up(&outgoing).await), "no_provider_batch_id");
    outgoing.provider_batch_id = Some("NO/SUCH?BATCH".into());
    assert_eq!(code(paypal.look_up(&outgoing).await), "INVALID_RESOURCE_ID");
}

#[tokio::test]
async fn a_lost_answer_is_found_again_even_if_the_sandbox_was_killed_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let life = || Sandbox::with_journal(Clock::System, Some(path.clone())).expect("a journal");
    let mut outgoing = outgoing(&["a@example.com"]);
    let before = Loopback::of(life()).await;
    arm(&before, POST, "lost_response", json!({})).await;
    assert!(matches!(send(&rail(&before.url), &outgoing).await, Sent::Unknown(_)));
    let after = Loopback::of(life()).await;
    let paypal = rail(&after.url);
    accepted(&paypal, &mut outgoing).await;
    assert_eq!(standings(&reports(&paypal, &outgoing).await), [Standing::Settled]);
    assert_booked_once(&after, &outgoing, ItemStatus::Success);
}

#[tokio::test]
async fn two_at_once_with_one_reference_pay_once() {
    let at = Loopback::open().await;
    let paypal = rail(&at.url);
    let outgoing = outgoing(&["a@example.com"]);
    let (one, other) = tokio::join!(send(&paypal, &outgoing), send(&paypal, &outgoing));
    assert_eq!(one, other);
    assert_booked_once(&at, &outgoing, ItemStatus::Pending);
}

#[tokio::test]
async fn a_stop_ends_the_sandbox_with_its_connections() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound port"));
    let stop = tokio_util::sync::CancellationToken::new();
    let sandbox = Sandbox::new(Clock::System);
    let server = tokio::spawn(payoutd::sandbox::serve(listener, sandbox, stop.clone()));
    // The rail keeps its connection open for the next call.
    rail(&url).ping().await.expect("a token");
    stop.cancel();
    server.await.expect("no panic").expect("an orderly end");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let refused = |change| {
        let paypal = Paypal::new(settings("http://127.0.0.1:1", change));
        paypal.err().expect("a bad setting").message
    };
    assert!(refused(json!({"batch_size": 0})).contains("paypal.batch_size"));
    assert!(refused(json!({"batch_size": 15_001})).contains("paypal.batch_size"));
    assert!(refused(json!({"page_size": 1_001})).contains("paypal.page_size"));
    assert!(refused(json!({"timeout_ms": 0})).contains("paypal.timeout_ms"));
    assert!(refused(json!({"base_url": "paypal"})).contains("paypal.base_url"));
    assert!(refused(json!({"base_url": "ftp://paypal"})).contains("paypal.base_url"));
}

#[test]
fn secrets_are_not_printed_and_an_empty_application_is_no_rail() {
    let settings = settings("http://127.0.0.1:1", json!({"client_secret": "hunter2"}));
    assert!(settings.is_configured());
    assert!(!format!("{settings:?}").contains("hunter2"));
    let nobody = PaypalSettings { client_id: String::new(), ..settings };
    assert!(!nobody.is_configured());
    let unknown: Result<PaypalSettings, _> = serde_json::from_value(json!({"colour": "blue"}));
    assert!(unknown.is_err());
}

/// A rail whose payees consent at the sandbox.
fn consenting(at: &Loopback) -> Paypal {
    let authorize_url = format!("{}/signin/authorize", at.url);
    rail_with(
        &at.url,
        json!({"authorize_url": authorize_url, "return_url": "https://pay.example/back?x=1"}),
    )
}

/// Goes where a payee is sent, and signs in as `login`: where the sandbox sends them back to.
async fn consent(paypal: &Paypal, login: &str, answer: &str) -> Vec<(String, String)> {
    let mut page = url::Url::parse(&paypal.consent_address("st&te").expect("a page")).expect("it");
    page.query_pairs_mut().append_pair("login", login).append_pair("answer", answer);
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let answer = http.build().expect("a client").get(page).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 302);
    let back = answer.headers()["location"].to_str().expect("text");
    assert!(back.starts_with("https://pay.example/back?x=1&"), "{back}");
    let back = url::Url::parse(back).expect("an address");
    back.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

async fn code_of(paypal: &Paypal, login: &str) -> String {
    let back = consent(paypal, login, "agree").await;
    assert!(back.contains(&("state".to_owned(), "st&te".to_owned())), "{back:?}");
    let code = back.into_iter().find(|(name, _)| name == "code");
    code.expect("a code").1
}

fn destination_of(email: &str) -> Destination {
    let destination = json!({ "email": email }).to_string();
    Destination::parse(MethodKind::Paypal, &destination).expect("a destination")
}

/// The code of what a verdict says, or its kind.
fn verdict(vetted: Vetted) -> String {
    match vetted {
        Vetted::Able => "able".to_owned(),
        Vetted::Unable(problem) => problem.code,
        Vetted::Unclear(problem) => format!("unclear: {}", problem.code),
        Vetted::CannotAsk => "cannot ask".to_owned(),
    }
}

#[tokio::test]
async fn a_consent_proves_an_address_only_if_paypal_has_confirmed_it_and_it_is_the_methods() {
    let at = Loopback::open().await;
    let paypal = consenting(&at);
    for (login, method, said) in [
        ("ann@example.com", "ann@example.com", "able"),
        ("Ann@Example.com", "ann@example.com", "able"),
        ("eve@example.com", "ann@example.com", "email_differs"),
        ("unconfirmed@example.com", "unconfirmed@example.com", "email_not_confirmed"),
    ] {
        let code = code_of(&paypal, login).await;
        let heard = paypal.hear_consent(&code, &destination_of(method)).await;
        assert_eq!(verdict(heard), said, "{login} for {method}");
    }
    let back = consent(&paypal, "ann@example.com", "decline").await;
    assert!(back.contains(&("error".to_owned(), "access_denied".to_owned())), "{back:?}");
    assert!(!back.iter().any(|(name, _)| name == "code"), "{back:?}");
}

#[tokio::test]
async fn a_code_is_good_for_one_question() {
    let at = Loopback::open().await;
    let paypal = consenting(&at);
    let (code, ann) =
        (code_of(&paypal, "ann@example.com").await, destination_of("ann@example.com"));
    assert_eq!(paypal.hear_consent(&code, &ann).await, Vetted::Able);
    assert_eq!(verdict(paypal.hear_consent(&code, &ann).await), "code_refused");
    assert_eq!(verdict(paypal.hear_consent("made up", &ann).await), "code_refused");
    let other =
        rail_with(&at.url, json!({"client_id": "other", "return_url": "https://x.example"}));
    let code = code_of(&paypal, "ann@example.com").await;
    assert_eq!(verdict(other.hear_consent(&code, &ann).await), "code_refused");
}

#[tokio::test]
async fn a_consent_that_cannot_be_heard_is_unclear_and_proves_nothing() {
    let at = Loopback::open().await;
    let paypal = consenting(&at);
    let ann = destination_of("ann@example.com");
    let token = "POST /v1/oauth2/token";
    let person = "GET /v1/identity/openidconnect/userinfo";
    for (on, fault, times, said) in [
        (token, "lost_request", 1, "unclear: connection_lost"),
        (token, "error_before", 1, "unclear: INTERNAL_ERROR"),
        (token, "throttle", 1, "unclear: RATE_LIMIT_REACHED"),
        (token, "garbled", 1, "unclear: unreadable"),
        (person, "error_before", 9, "unclear: INTERNAL_ERROR"),
        (person, "garbled", 1, "unclear: unreadable"),
        (person, "lost_request", 1, "able"),
        (person, "error_before", 1, "able"),
    ] {
        let code = code_of(&paypal, "ann@example.com").await;
        arm(&at, on, fault, json!({"times": times})).await;
        let heard = paypal.hear_consent(&code, &ann).await;
        at.control("DELETE", "faults", json!({})).await;
        assert_eq!(verdict(heard), said, "{fault} {on}");
    }
    let nobody = rail_with("http://127.0.0.1:9", json!({}));
    assert_eq!(verdict(nobody.hear_consent("code", &ann).await), "unclear: no_connection");
    assert!(nobody.consent_address("state").is_err(), "nobody could come back");
}

#[tokio::test]
async fn the_page_of_the_sandbox_shows_what_it_was_asked_for_as_text_alone() {
    let at = Loopback::open().await;
    let page = at.request("GET", "/signin/authorize?client_id=id&scope=openid&redirect_uri=http://x/&state=%22%3E%3Cscript%3E");
    let text = page.send().await.expect("an answer").text().await.expect("a page");
    assert!(text.contains("&quot;&gt;&lt;script&gt;") && !text.contains("<script>"), "{text}");
    for wrong in [
        "client_id=&redirect_uri=http://x/&scope=openid",
        "client_id=id&redirect_uri=javascript:x&scope=openid",
        "client_id=id&redirect_uri=http://x/&scope=email",
    ] {
        let page = at.request("GET", &format!("/signin/authorize?{wrong}&login=a@b.c"));
        assert_eq!(page.send().await.expect("an answer").status().as_u16(), 400, "{wrong}");
    }
}
