//! The switch, tried from outside: a real daemon that sends without end, and a person who stops it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon::write_jobs;
use crate::orders;
use crate::place::Place;
use crate::process::soon;
use crate::rail::Rail;

on_both!(
    after_a_halt_nothing_leaves_however_many_wait,
    limits_breaker_approval_and_halt_on_a_shops_orders,
);

/// Payouts that wait, one in each call.
const STREAM: usize = 400;

fn after_a_halt_nothing_leaves_however_many_wait(mut place: Place) {
    let rail = Rail::start(&mut place);
    place.set("PROVIDERS__PAYPAL__BATCH_SIZE", 1);
    // Slow enough to be stopped in the middle, and over soon after it was let go.
    place.set("PROVIDERS__PAYPAL__POSTS_PER_MINUTE", 1_000);
    write_jobs(&mut place);
    orders::write_payable(&place, "data", STREAM);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    let daemon = place.start(&["run", "--log-format", "json"]);
    rail.takes(5);

    place.run(&["halt", "everything", "--reason", "it looks odd"]).code(0);
    let halted = Instant::now();
    // The promise: a second after the command has returned, and no later.
    let mut last = rail.books().len();
    while halted.elapsed() < Duration::from_secs(1) {
        last = rail.books().len();
    }
    assert!(last < STREAM, "the stream was over before it could be stopped");
    while halted.elapsed() < Duration::from_secs(5) {
        assert_eq!(rail.books().len(), last, "something left {:?} later", halted.elapsed());
    }

    // It holds in the next life of the process too.
    daemon.kill();
    let daemon = place.start(&["run", "--log-format", "json"]);
    let submitted = soon("a run that sees the halt", || {
        let runs = place.json(&["job", "history", "submit-transfers", "--limit", "3"]);
        let rows = runs.as_array().expect("a list").clone();
        rows.into_iter().find(|run| run["skipped_by_reason"].get("halted").is_some())
    });
    assert!(submitted["skipped_by_reason"]["halted"]["count"].as_u64() > Some(0), "{submitted}");
    assert_eq!(rail.books().len(), last);
    place.run(&["halt", "lift", "everything"]).code(2).says(&["--yes"]);
    place.run(&["halt", "everything", "--reason", "again"]).code(4);
    place.run(&["halt", "lift", "everything", "--yes"]).code(0);
    soon("everybody is paid", || (rail.books().len() == STREAM).then_some(()));
    assert_eq!(rail.paid().len(), STREAM);
    drop(daemon);
    place.run(&["check"]).code(0);
}

/// The sample is the log of a shop's real orders, cut in two by their years.
fn write_orders(place: &Place) {
    let sample = |name: &str| {
        let path = format!("{}/src/cli/sample/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).expect("the sample")
    };
    let orders = sample("commissions.csv");
    let (heading, rows) = orders.split_once('\n').expect("a heading");
    for (folder, year) in [("first", ",1997-"), ("rest", ",1998-")] {
        place.write(&format!("{folder}/programs.csv"), sample("programs.csv"));
        place.write(&format!("{folder}/affiliates.csv"), sample("affiliates.csv"));
        let of_year: Vec<_> = rows.lines().filter(|row| row.contains(year)).collect();
        let text = format!("{heading}\n{}\n", of_year.join("\n"));
        place.write(&format!("{folder}/commissions.csv"), text);
    }
}

fn auto_payout(place: &Place, more: &str) {
    let text = format!(
        "kind = \"request_payouts\"\nenabled = false\nschedule = \"0 0 9 * * MON\"\n{more}"
    );
    place.write("jobs/auto-payout.toml", text);
}

fn payouts(place: &Place) -> Vec<Value> {
    let list = place.json(&["payout", "list", "--limit", "1000"]);
    list.as_array().expect("a list").clone()
}

fn cents(payout: &Value) -> i64 {
    let text: String =
        payout["amount"].as_str().expect("an amount").chars().filter(|c| *c != '.').collect();
    text.parse().expect("cents")
}

fn limits_breaker_approval_and_halt_on_a_shops_orders(mut place: Place) {
    let rail = Rail::start(&mut place);
    write_jobs(&mut place);
    write_orders(&place);
    place.run(&["import", "first", "--org", "shop"]).code(0);
    place.run(&["job", "run", "release-holds"]).code(0);

    // Limits: most of a run, and of a program's day, by count and amount.
    place.run(&["program", "limits", "partner", "--payouts-per-day", "3"]).code(0);
    auto_payout(
        &place,
        "[limits]\npayouts_per_run = 10\namount_per_run = { USD = \"2500.00\" }\n\
         amount_per_payout = { USD = \"900.00\" }\n[approval]\nabove = { USD = \"300.00\" }\n",
    );
    let run = place.json(&["job", "run", "auto-payout"]);
    let asked = payouts(&place);
    assert!(!asked.is_empty() && asked.len() <= 10, "{}", asked.len());
    assert!(asked.iter().map(cents).sum::<i64>() <= 250_000);
    assert!(asked.iter().all(|payout| cents(payout) <= 90_000));
    assert!(asked.iter().filter(|payout| payout["program"] == "partner").count() <= 3);
    let skipped = &run["skipped_by_reason"];
    assert!(skipped["run_limit_reached"]["count"].as_u64() > Some(0), "{skipped}");

    // Approval: what is above the amount, and nothing else, waits for a person.
    for payout in &asked {
        let waits = cents(payout) > 30_000;
        assert_eq!(payout["requires_approval"], waits, "{payout}");
        let reasons = payout["approval_reasons"].as_array().expect("a list");
        assert_eq!(reasons.iter().any(|reason| reason == "above_limit"), waits, "{payout}");
    }

    // The switch: nothing leaves, nothing is lost.
    place.run(&["halt", "org", "shop", "--reason", "a look first"]).code(0);
    place.run(&["job", "run", "submit-transfers"]).code(0);
    assert_eq!(rail.books().len(), 0);
    place.run(&["halt", "lift", "org", "shop", "--yes"]).code(0);
    place.run(&["job", "run", "submit-transfers"]);
    let by_paypal = |payout: &&Value| payout["method"] == "paypal" && cents(payout) <= 30_000;
    assert_eq!(rail.books().len(), asked.iter().filter(by_paypal).count());

    // The breaker: three runs of a few are no measure for everybody at once.
    let breaker = "[breaker]\nfactor = \"3\"\nruns = 8\nat_least = 3\n";
    for _ in 0..2 {
        auto_payout(&place, "[limits]\npayouts_per_run = 3\n");
        place.run(&["job", "run", "auto-payout"]).code(0);
    }
    let before = payouts(&place).len();
    place.run(&["import", "rest", "--org", "shop"]).code(0);
    place.run(&["job", "run", "release-holds"]).code(0);
    auto_payout(&place, breaker);
    let ran = place.run(&["job", "run", "auto-payout", "--json"]).code(1);
    let run = ran.json();
    assert_eq!(
        (run["state"].as_str(), run["error_code"].as_str()),
        (Some("failed"), Some("anomaly"))
    );
    let message = run["error_message"].as_str().expect("words");
    assert!(message.contains("org shop") && message.contains("the factor 3"), "{message}");
    assert_eq!(payouts(&place).len(), before, "nothing was asked for");
    place.run(&["check"]).code(0);
}
