//! What an operator does to the ledger: take back, adjust, freeze, approve.

use serde_json::Value;

use crate::orders;
use crate::place::Place;

on_both!(
    what_was_refunded_is_taken_back_once,
    a_wallet_is_adjusted_frozen_and_shown,
    a_large_payout_waits_for_somebody_elses_approval,
);

/// A place where two affiliates have 50.00 and 50.07 USD.
fn with_money(place: &Place) {
    orders::write_payable(place, "data", 2);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    place.run(&["job", "run", "release-holds"]).code(0);
}

fn what_was_refunded_is_taken_back_once(place: Place) {
    with_money(&place);
    let part = ["commission", "reverse", "c-000000", "--refund", "re_1", "--amount", "20.50"];
    place.run(&part).code(0).prints(&["re_1 took 20.50 USD from available; c-000000 is qualified"]);
    place.run(&part).code(0).prints(&["re_1 was told before: it took 20.50 USD"]);
    let other = ["commission", "reverse", "c-000000", "--refund", "re_1"];
    place.run(&other).code(4).says(&["refund re_1 is known with another amount"]);
    let rest = place.json(&["commission", "reverse", "c-000000", "--refund", "re_2"]);
    assert_eq!(
        (rest["amount"].as_str(), rest["status"].as_str()),
        (Some("29.50"), Some("reversed"))
    );
    let more = ["commission", "reverse", "c-000000", "--refund", "re_3", "--amount", "0.01"];
    place.run(&more).code(4).says(&["0.00 USD is left to reverse"]);
    let nobody = ["commission", "reverse", "c-9", "--refund", "re_1"];
    place.run(&nobody).code(2).says(&["commission c-9 does not exist"]);
    for wrong in ["0", "-1", "0.001", "x"] {
        let amount = format!("--amount={wrong}");
        let arguments = ["commission", "reverse", "c-000001", "--refund", "re_1", &amount];
        place.run(&arguments).code(2);
    }
    let summary = place.json(&["summary"]);
    assert_eq!(summary["commissions"]["reversed"]["count"], 1, "{summary}");
    place.run(&["check"]).code(0);
}

fn a_wallet_is_adjusted_frozen_and_shown(place: Place) {
    with_money(&place);
    let fee =
        ["wallet", "adjust", "aff-00000", "--amount=-60.25", "--reason", "a fee", "--id", "fee-1"];
    place.run(&fee).code(0).prints(&["adjusted by -60.25 USD; -10.25 USD are available"]);
    place.run(&fee).code(0).prints(&["was adjusted before by -60.25 USD"]);
    let owing = place.json(&["wallet", "list", "--owing"]);
    assert_eq!(
        (owing.as_array().map(Vec::len), owing[0]["available"].as_str()),
        (Some(1), Some("-10.25"))
    );
    let freeze = ["wallet", "freeze", "aff-00001", "--reason", "looks odd"];
    place.run(&freeze).code(0).prints(&["wallet aff-00001 in USD is frozen"]);
    place.run(&freeze).code(0).prints(&["wallet aff-00001 in USD was already frozen"]);
    place
        .run(&["wallet", "list", "--status", "frozen"])
        .code(0)
        .prints(&["aff-00001", "looks odd"]);
    place.run(&["job", "run", "auto-payout"]).code(0);
    assert_eq!(place.json(&["payout", "list"]), Value::Array(Vec::new()));
    let thaw = ["wallet", "unfreeze", "aff-00001", "--reason", "it was fine"];
    place.run(&thaw).code(0).prints(&["is active"]);
    let shown = place.json(&["wallet", "show", "aff-00000"]);
    assert_eq!(
        (shown["entries"][0]["kind"].as_str(), shown["entries"][0]["reason"].as_str()),
        (Some("adjust"), Some("a fee"))
    );
    place.run(&["wallet", "show", "aff-00000"]).code(0).prints(&["AVAILABLE THEN", "a fee"]);
    for (arguments, words) in [
        (&["wallet", "show", "aff-9"][..], "affiliate aff-9 has no wallet"),
        (&["wallet", "show", "aff-00000", "--currency", "JPY"], "does not exist"),
        (&["wallet", "freeze", "aff-9", "--reason", "x"], "has no wallet"),
        (
            &["wallet", "adjust", "aff-00000", "--amount", "0", "--reason", "x"],
            "expected an amount other than 0",
        ),
        (&["wallet", "list", "--after", "aff"], "expected AFFILIATE/CURRENCY"),
    ] {
        place.run(arguments).code(2).says(&[words]);
    }
    place.run(&["check"]).code(0);
}

fn a_large_payout_waits_for_somebody_elses_approval(mut place: Place) {
    with_money(&place);
    let limit = ["program", "approval", "creator", "--above", "50.00"];
    place.run(&limit).code(0).prints(&["payouts of more than 50.00 USD wait for an approval"]);
    place.run(&["program", "approval", "nothing", "--never"]).code(2).says(&["program nothing"]);
    place.run(&["job", "run", "auto-payout"]).code(0);
    let payouts = place.json(&["payout", "list"]);
    let of = |affiliate: &str| {
        let rows = payouts.as_array().expect("payouts").iter();
        let row = rows.clone().find(|row| row["affiliate_id"] == affiliate).expect("a payout");
        (row["payout_id"].as_str().expect("an id").to_owned(), row["requires_approval"].clone())
    };
    let ((small, no), (large, yes)) = (of("aff-00000"), of("aff-00001"));
    assert_eq!((no, yes), (Value::Bool(false), Value::Bool(true)));
    place.run(&["payout", "show", &large]).code(0).prints(&["waits for somebody's approval"]);
    // The schedule asked: whoever is at the command line may approve.
    place.run(&["payout", "approve", &large, "--note", "seen"]).code(0).prints(&["approved"]);
    place.run(&["payout", "approve", &large]).code(4).says(&["somebody was first"]);
    place.run(&["payout", "cancel", &large, "--reason", "a mistake"]).code(0);
    let retried = place.json(&["payout", "retry", &large])["payout_id"].clone();
    let retried = retried.as_str().expect("an id").to_owned();
    place.run(&["payout", "approve", &retried]).code(4).says(&["somebody else has to approve it"]);
    place.set("APPROVAL__FOUR_EYES", false);
    place.run(&["payout", "approve", &retried]).code(0);
    place.run(&["payout", "cancel", &small]).code(0);
    place.run(&["check"]).code(0);
}
