//! The whole cycle, to the cent, against totals worked out from the files.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::orders;
use crate::place::Place;
use crate::rail::Rail;
use crate::totals::Totals;

on_both!(every_total_is_that_of_the_files_and_a_second_time_nothing_moves);

const JOBS: [&str; 4] = ["release-holds", "auto-payout", "submit-transfers", "reconcile-transfers"];

fn every_total_is_that_of_the_files_and_a_second_time_nothing_moves(mut place: Place) {
    let rail = Rail::start(&mut place);
    place.set("PROVIDERS__PAYPAL__BATCH_SIZE", 7);
    orders::write(&place, "data", 90, 1_500);

    import(&place, [5, 90, 1_500], [0, 0, 0]);
    run_jobs(&place);
    expect(&place, &rail, &Totals::of(&place, "data", 0));

    let credited = place.json(&["commission", "process-held", "--org", "acme"]);
    assert!(credited["processed"].as_u64().is_some_and(|count| count > 0), "{credited}");
    run_jobs(&place);
    let totals = Totals::of(&place, "data", 1);
    expect(&place, &rail, &totals);

    let before = summary(&place);
    import(&place, [0, 0, 0], [5, 90, 1_500]);
    run_jobs(&place);
    let again = place.json(&["commission", "process-held", "--org", "acme"]);
    assert_eq!(again["processed"], 0);
    assert_eq!(again["totalCredited"], 0);
    run_jobs(&place);
    let after = summary(&place);
    for part in ["commissions", "wallets", "payouts", "payouts_by_program"] {
        assert_eq!(after[part], before[part], "{part} moved");
    }
    assert_eq!(after["last_auto_payout"]["paid"]["count"], 0);
    assert_eq!(after["last_auto_payout"]["skipped"], totals.decisions()["skipped"]);
    assert_eq!(rail.paid(), totals.paid());
    place.run(&["check"]).code(0);
}

fn import(place: &Place, new: [u64; 3], unchanged: [u64; 3]) {
    let report = place.json(&["import", "data", "--org", "acme"]);
    let files = ["programs.csv", "affiliates.csv", "commissions.csv"];
    for (index, file) in files.into_iter().enumerate() {
        let expected = json!({
            "file": file, "new": new[index], "unchanged": unchanged[index], "rejected": 0,
            "rejects_file": null,
        });
        assert_eq!(report["files"][index], expected);
    }
}

fn run_jobs(place: &Place) {
    for job in JOBS {
        let run = place.json(&["job", "run", job]);
        assert_eq!(run["job_id"], job);
        assert_eq!(run["state"], "succeeded", "{run}");
        assert!(run["run_id"].as_str().is_some_and(|id| id.starts_with("run_")), "{run}");
        assert_eq!(run["scheduled_for"], Value::Null);
        assert!(run["amounts"].is_object(), "{run}");
        let count = |name: &str| run["counts"][name].as_i64().expect("a count");
        assert_eq!(count("seen"), count("acted") + count("skipped"), "{run}");
        assert_eq!(count("failed"), 0);
    }
}

fn summary(place: &Place) -> Value {
    place.json(&["summary", "--org", "acme"])
}

fn expect(place: &Place, rail: &Rail, totals: &Totals) {
    let summary = summary(place);
    assert_eq!(summary["org"], "acme");
    assert_eq!(summary["commissions"], totals.commissions());
    assert_eq!(summary["wallets"], totals.wallets());
    let methods = ["method", "status", "currency"];
    assert_eq!(by(&summary["payouts"], &methods), totals.payouts(false));
    let programs = ["program", "method", "status", "currency"];
    assert_eq!(by(&summary["payouts_by_program"], &programs), totals.payouts(true));
    let expected = totals.decisions();
    assert_eq!(summary["last_auto_payout"]["paid"], expected["paid"]);
    assert_eq!(summary["last_auto_payout"]["skipped"], expected["skipped"]);
    let gates: Vec<_> = expected["skipped"].as_object().expect("gates").keys().collect();
    let every =
        ["auto_payout_off", "below_minimum", "method_unverified", "no_method", "not_active"];
    assert_eq!(gates, every, "the data set leaves a gate out");
    let paid = rail.paid();
    assert!(paid.len() > 10, "too few payees to prove anything: {}", paid.len());
    assert_eq!(paid, totals.paid());
    place.run(&["check"]).code(0);
}

/// The rows of a list of the summary, by the members that tell them apart.
fn by(rows: &Value, members: &[&str]) -> BTreeMap<String, (u64, String)> {
    let rows = rows.as_array().expect("a list");
    let row = |row: &Value| {
        let text = |name: &str| row[name].as_str().expect("a text").to_owned();
        let key: Vec<_> = members.iter().map(|member| text(member)).collect();
        (key.join(" "), (row["count"].as_u64().expect("a count"), text("amount")))
    };
    let found: BTreeMap<_, _> = rows.iter().map(row).collect();
    assert_eq!(found.len(), rows.len(), "a row is there twice");
    found
}
