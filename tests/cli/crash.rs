//! Processes killed in the middle of paying: whatever was in hand, each payout is in the
//! provider's books exactly once or not at all, and ours say the same.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::write_jobs;
use crate::orders;
use crate::place::Place;
use crate::process::soon;
use crate::rail::{POST_BATCH, Rail};

on_both!(
    a_send_killed_after_its_effect_is_found_and_not_repeated,
    a_send_killed_before_it_arrived_is_made_up_for,
    a_provider_that_never_answers_costs_nothing_but_time,
    a_daemon_killed_again_and_again_pays_everybody_once,
    a_sandbox_killed_in_the_middle_pays_everybody_once,
    every_fault_in_a_row_pays_everybody_once,
);

/// Rounds of the jobs after which nothing may be open.
const ROUNDS: usize = 12;

/// A place with payouts of `affiliates`, requested and not yet sent, and short leases.
fn prepared(place: &mut Place, affiliates: usize, batch_size: usize) -> Rail {
    let rail = Rail::start(place);
    place.set("ENGINE__LEASE_MS", 600);
    place.set("ENGINE__HEARTBEAT_MS", 100);
    place.set("PROVIDERS__PAYPAL__BATCH_SIZE", batch_size);
    orders::write_payable(place, "data", affiliates);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    for job in ["release-holds", "auto-payout"] {
        place.run(&["job", "run", job]).code(0);
    }
    rail
}

/// Runs the jobs until nothing is open, and holds the two books against each other.
fn settle(place: &Place, rail: &Rail, affiliates: usize) {
    run_until_settled(place);
    assert_settled(place, rail, affiliates);
}

fn run_until_settled(place: &Place) {
    for _ in 0..ROUNDS {
        // A run that was killed blocks the next one until its lease has run out.
        soon("the run that was killed lets go", || {
            let ran = place.run(&["job", "run", "submit-transfers"]);
            (ran.status.code() != Some(4)).then_some(())
        });
        place.run(&["job", "run", "reconcile-transfers", "--now"]);
        if open(place) == 0 {
            return;
        }
    }
    panic!("open after {ROUNDS} rounds: {}", place.json(&["payout", "list"]));
}

/// Payouts that have no end yet.
fn open(place: &Place) -> usize {
    let payouts = place.json(&["payout", "list", "--limit", "1000"]);
    let rows = payouts.as_array().expect("a list");
    let is_open = |row: &&Value| matches!(row["status"].as_str(), Some("pending" | "processing"));
    rows.iter().filter(is_open).count()
}

fn assert_settled(place: &Place, rail: &Rail, affiliates: usize) {
    let payouts = place.json(&["payout", "list", "--limit", "1000"]);
    let payouts = payouts.as_array().expect("a list");
    assert_eq!(payouts.len(), affiliates);
    let books = rail.paid();
    assert_eq!(books.len(), affiliates);
    for payout in payouts {
        assert_eq!(payout["status"], "completed", "{payout}");
        let email = format!("{}@example.com", payout["affiliate_id"].as_str().expect("text"));
        assert_eq!(json!(books[&email].0), payout["amount"], "{email}");
    }
    place.run(&["check"]).code(0);
    let summary = place.json(&["summary"]);
    assert_eq!(summary["wallets"]["USD"]["in_flight"], "0.00", "{summary}");
    assert_eq!(summary["wallets"]["USD"]["available"], "0.00", "{summary}");
}

fn a_send_killed_after_its_effect_is_found_and_not_repeated(mut place: Place) {
    let rail = prepared(&mut place, 12, 4);
    rail.fault(json!({"on": POST_BATCH, "fault": "slow", "after": 1, "delay_ms": 60_000}));
    let submit = place.start(&["job", "run", "submit-transfers"]);
    rail.takes(8);
    submit.kill();
    assert_eq!(open(&place), 12, "nothing was settled on a guess");
    place.run(&["check"]).code(0);
    settle(&place, &rail, 12);
}

fn a_send_killed_before_it_arrived_is_made_up_for(mut place: Place) {
    let rail = prepared(&mut place, 6, 6);
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = deaf.local_addr().expect("bound");
    // It grants a token and then takes a batch without ever reading it.
    let base = format!("http://{address}");
    let submit = ["--set", &format!("providers.paypal.base_url={base}"), "job", "run"];
    let submit = place.start(&[&submit[..], &["submit-transfers"]].concat());
    let (mut first, _) = deaf.accept().expect("a caller");
    grant_token(&mut first);
    soon("the send is in hand", || {
        let rows = place.json(&["payout", "list", "--status", "processing"]);
        (rows.as_array().map(Vec::len) == Some(6)).then_some(())
    });
    submit.kill();
    drop((first, deaf));
    assert_eq!(rail.books(), Vec::<Value>::new());
    settle(&place, &rail, 6);
}

/// Reads a request for a token, and grants one.
fn grant_token(stream: &mut std::net::TcpStream) {
    use std::io::{Read, Write};
    let mut read = [0; 4_096];
    assert_ne!(stream.read(&mut read).expect("a request"), 0);
    let token = r#"{"access_token":"T","token_type":"Bearer","expires_in":32400}"#;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", token.len());
    stream.write_all(format!("{head}{token}").as_bytes()).expect("a caller who listens");
}

fn a_provider_that_never_answers_costs_nothing_but_time(mut place: Place) {
    let rail = prepared(&mut place, 4, 2);
    rail.slow(2, 60_000);
    let patience = ["--set", "providers.paypal.timeout_ms=300", "job", "run", "submit-transfers"];
    place.run(&patience).code(3);
    assert_eq!(open(&place), 4);
    settle(&place, &rail, 4);
}

fn a_daemon_killed_again_and_again_pays_everybody_once(mut place: Place) {
    let rail = Rail::start(&mut place);
    write_jobs(&mut place);
    place.set("ENGINE__LEASE_MS", 600);
    place.set("ENGINE__HEARTBEAT_MS", 100);
    place.set("PROVIDERS__PAYPAL__BATCH_SIZE", 3);
    orders::write_payable(&place, "data", 60);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    rail.slow(60, 120);
    for life in 0..10_u64 {
        let mut daemon = place.start(&["run", "--log-format", "json"]);
        daemon.says("daemon.started");
        // Not for anything to converge: this is where in its work it is hit, each time elsewhere.
        thread::sleep(Duration::from_millis(1_000 + 173 * life));
        daemon.kill();
        place.run(&["check"]).code(0);
    }
    rail.clear();
    for job in ["release-holds", "auto-payout"] {
        soon("the run that was killed lets go", || {
            (place.run(&["job", "run", job]).status.code() == Some(0)).then_some(())
        });
    }
    settle(&place, &rail, 60);
    let runs = place.json(&["job", "history", "--limit", "500"]);
    let lost = runs.as_array().expect("a list").iter().filter(|run| run["state"] == "lost");
    assert!(lost.count() > 0, "no kill hit anything: {runs}");
}

fn a_sandbox_killed_in_the_middle_pays_everybody_once(mut place: Place) {
    let mut rail = prepared(&mut place, 30, 3);
    for taken in [6, 15] {
        rail.slow(30, 150);
        let submit = place.start(&["job", "run", "submit-transfers"]);
        rail.takes(taken);
        rail = rail.restart(&place);
        // It ends by itself: 0 if the rest went through after all, 3 if something is open.
        assert!(matches!(submit.ended().status.code(), Some(0 | 3)));
        place.run(&["check"]).code(0);
        place.run(&["job", "run", "reconcile-transfers", "--now"]);
    }
    settle(&place, &rail, 30);
}

fn every_fault_in_a_row_pays_everybody_once(mut place: Place) {
    let rail = prepared(&mut place, 24, 2);
    for fault in
        ["lost_request", "lost_response", "error_before", "error_after", "throttle", "garbled"]
    {
        rail.fault(json!({"on": POST_BATCH, "fault": fault, "after": 1}));
        rail.fault(json!({"on": "GET /v1/payments/*", "fault": fault}));
    }
    settle(&place, &rail, 24);
}
