//! A plan is what its run does, on the sample that the program carries.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::place::Place;

on_both!(
    a_plan_of_the_sample_is_what_its_run_does,
    a_plan_that_is_stale_or_executed_ends_with_4_and_one_that_is_none_with_2,
    a_programs_time_zone_comes_in_with_its_file_and_is_shown
);

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/sample");

fn sample(place: &Place) {
    place.run(&["import", SAMPLE, "--org", "acme"]).code(0);
    place.run(&["job", "run", "release-holds"]).code(0);
}

/// (affiliate, amount, rail, destination or none) of what a plan pays.
fn planned(plan: &Value) -> BTreeSet<(String, String, String)> {
    let lines = plan["lines"].as_array().expect("lines").iter();
    lines
        .filter(|line| !line["pays"].is_null())
        .map(|line| {
            let text = |name: &str| line[name].as_str().expect(name).to_owned();
            (text("affiliate_id"), text("pays"), text("rail"))
        })
        .collect()
}

fn paid(place: &Place) -> BTreeSet<(String, String, String)> {
    let payouts = place.json(&["payout", "list", "--limit", "10000"]);
    let payouts = payouts.as_array().expect("payouts").iter();
    payouts
        .map(|row| {
            let text = |name: &str| row[name].as_str().expect(name).to_owned();
            (text("affiliate_id"), text("amount"), text("method"))
        })
        .collect()
}

fn a_plan_of_the_sample_is_what_its_run_does(place: Place) {
    sample(&place);
    let plan = place.json(&["job", "run", "auto-payout", "--dry-run"]);
    let hash = plan["plan"].as_str().expect("a hash");
    assert_eq!(paid(&place).len(), 0, "a dry run pays nobody");
    let lines = planned(&plan);
    assert!(lines.len() > 20, "{}", lines.len());
    assert!(plan["total"]["skipped"].as_object().is_some_and(|gates| gates.len() > 2), "{plan}");
    let shown = place.json(&["plan", "show", &hash[..8]]);
    assert_eq!(planned(&shown), lines);
    let table = place.run(&["plan", "show", &hash[..12], "--limit", "5"]).code(0);
    for words in ["pays ", "by paypal", "passes over below_minimum", "funding paypal USD"] {
        assert!(table.out.contains(words), "{}", table.out);
    }
    let run = place.json(&["job", "run", "auto-payout", "--plan", &hash[..10]]);
    assert_eq!(
        (&run["state"], run["counts"]["acted"].as_u64()),
        (&"succeeded".into(), Some(lines.len() as u64))
    );
    assert_eq!(paid(&place), lines);
    let list = place.json(&["plan", "list"]);
    assert_eq!(list[0]["run_id"], run["run_id"]);
}

fn a_plan_that_is_stale_or_executed_ends_with_4_and_one_that_is_none_with_2(place: Place) {
    sample(&place);
    let plan = place.json(&["job", "run", "auto-payout", "--dry-run"]);
    let hash = plan["plan"].as_str().expect("a hash");
    let (who, _, _) = planned(&plan).into_iter().next().expect("a payout");
    place.run(&["wallet", "freeze", &who, "--reason", "a look first"]).code(0);
    let refused = place.run(&["job", "run", "auto-payout", "--plan", hash]).code(4);
    for words in
        ["is stale, and nothing was done", who.as_str(), "wallet_frozen", "2 of 2 differences"]
    {
        assert!(refused.out.contains(words), "{}", refused.out);
    }
    let told = place.run(&["--json", "job", "run", "auto-payout", "--plan", hash]).code(4).json();
    assert_eq!((&told["refused"], &told["differences"]), (&"stale_plan".into(), &2.into()));
    assert_eq!(paid(&place).len(), 0);
    place.run(&["wallet", "unfreeze", &who, "--reason", "looked"]).code(0);
    place.run(&["job", "run", "auto-payout", "--plan", hash]).code(0);
    let twice = place.run(&["job", "run", "auto-payout", "--plan", hash]).code(4);
    assert!(twice.err.contains("was executed by run_"), "{}", twice.err);
    place.run(&["job", "run", "auto-payout", "--plan", "00000000"]).code(2);
    place.run(&["job", "run", "auto-payout", "--plan", "xyz"]).code(2);
    place.run(&["job", "run", "prune", "--dry-run"]).code(2);
    place.run(&["job", "run", "prune", "--plan", hash]).code(4);
}

fn a_programs_time_zone_comes_in_with_its_file_and_is_shown(place: Place) {
    let file = |zone: &str| {
        format!(
            "program,title,currency,hold_days,min_payout,auto_credit,auto_payout,timezone\n\
             tokyo,Tokyo,JPY,0,500,true,true,{zone}\nplain,Plain,USD,0,5,true,true,\n"
        )
    };
    place.write("bad.csv", file("Asia/Springfield"));
    let bad = place.run(&["import", "bad.csv", "--org", "acme"]).code(3);
    assert!(bad.err.contains("column timezone"), "{}", bad.err);
    place.write("good.csv", file("Asia/Tokyo"));
    place.run(&["import", "good.csv", "--org", "acme"]).code(0);
    assert_eq!(place.json(&["program", "show", "tokyo"])["timezone"], "Asia/Tokyo");
    assert!(place.json(&["program", "show", "plain"])["timezone"].is_null());
    place.run(&["program", "timezone", "plain", "Europe/Berlin"]).code(0);
    assert_eq!(place.json(&["program", "show", "plain"])["timezone"], "Europe/Berlin");
    place.run(&["program", "timezone", "plain", "Europe/Springfield"]).code(2);
    place.run(&["program", "show", "nothing"]).code(2);
}
