//! The two verbs that need nothing: the demo, and the sandbox by itself.

use serde_json::{Value, json};

use crate::place::Place;
use crate::rail::{POST_BATCH, Rail};

#[test]
fn the_demo_goes_through_the_whole_cycle_and_leaves_when_told_to() {
    let place = Place::bare();
    let ran = place.run(&["demo", "--once"]).code(0);
    for job in ["release-holds", "auto-payout", "submit-transfers", "reconcile-transfers"] {
        assert!(ran.out.contains(&format!("{job}  succeeded  run_")), "{job}: {}", ran.out);
    }
    for line in ["who was not paid, and why", "below_minimum (wants at least", "ok     I1 "] {
        assert!(ran.out.contains(line), "no \"{line}\": {}", ran.out);
    }
    assert!(!ran.out.contains("BROKEN") && !ran.out.contains('\u{1b}'), "{}", ran.out);
    assert_eq!(ran.err, "");
    assert_nothing_left(&place);
}

#[test]
fn the_demo_stays_up_until_it_is_interrupted() {
    let place = Place::bare();
    let mut demo = place.start(&["demo"]);
    demo.says("/_sandbox/books");
    let err = demo.err();
    let (_, rest) = err.split_once("--database-url ").expect("a hint");
    let url = rest.split(' ').next().expect("a word");
    let payouts = place.json(&["--database-url", url, "payout", "list", "--status", "completed"]);
    assert!(payouts.as_array().is_some_and(|rows| rows.len() > 10), "{payouts}");
    place.run(&["--database-url", url, "affiliate", "explain", "aff-00001"]).code(0);
    assert!(demo.is_up());
    demo.signal("INT");
    demo.ended().code(0);
    assert_nothing_left(&place);
}

#[test]
fn the_demo_touches_no_database_and_no_rail_that_is_configured() {
    let mut place = Place::on_sqlite();
    let rail = Rail::start(&mut place);
    place.write("mine.toml", "[database]\nurl = \"sqlite://mine.db\"\n");
    place.run(&["--config", "mine.toml", "demo", "--once"]).code(0);
    assert_eq!(rail.books(), Vec::<Value>::new());
    assert!(!place.path("payoutd.db").exists() && !place.path("mine.db").exists());
}

fn assert_nothing_left(place: &Place) {
    let entries = std::fs::read_dir(place.path("")).expect("our folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let left: Vec<_> = names.map(|name| name.expect("text")).collect();
    let ours = |name: &String| name.ends_with(".out") || name.ends_with(".err");
    assert!(left.iter().all(ours), "{left:?}");
}

#[test]
fn the_sandbox_listens_on_loopback_only_and_leaves_nothing_behind() {
    let mut place = Place::bare();
    place.run(&["sandbox", "--listen", "0.0.0.0:0"]).code(2).says(&["loopback"]);
    place.run(&["sandbox", "--listen", "nowhere"]).code(2);
    let rail = Rail::start(&mut place);
    let taken = place.run(&["sandbox", "--listen", &rail.address]).code(1);
    taken.says(&["is another sandbox running there?"]);
    rail.signal("INT");
    rail.ended().code(0);
    assert_nothing_left(&place);
}

#[test]
fn the_sandboxes_own_calls_are_as_they_were_fixed() {
    let mut place = Place::bare();
    let rail = Rail::start(&mut place);
    assert_eq!(rail.books(), Vec::<Value>::new());
    for fault in
        ["lost_request", "lost_response", "error_before", "error_after", "throttle", "slow"]
    {
        rail.fault(json!({"on": POST_BATCH, "fault": fault, "times": 3, "after": 0}));
    }
    assert_eq!(rail.call("POST", "/_sandbox/faults", "{}").0, 400);
    let wrong = json!({"on": POST_BATCH, "fault": "explode"}).to_string();
    assert_eq!(rail.call("POST", "/_sandbox/faults", &wrong).0, 400);
    rail.clear();
    crate::orders::write_payable(&place, "data", 1);
    place.set("DATABASE__URL", "sqlite://payoutd.db");
    place.run(&["import", "data", "--org", "acme"]).code(0);
    for job in ["release-holds", "auto-payout", "submit-transfers", "reconcile-transfers"] {
        place.run(&["job", "run", job]).code(0);
    }
    let payouts = place.json(&["payout", "list"]);
    let id = payouts[0]["payout_id"].as_str().expect("an id");
    let reference = &place.json(&["payout", "show", id])["transfers"][0]["reference"];
    let expected = json!({
        "reference": reference, "recipient": "aff-00000@example.com", "currency": "USD",
        "amount": "50.00", "status": "SUCCESS",
    });
    assert_eq!(rail.books(), [expected]);
}
