//! Statements at the command line: a provider's list, a bank's file, breaks and alerts.

use chrono::{DateTime, TimeDelta, Utc};
use payoutd::clock::Clock;
use serde_json::Value;

use crate::orders;
use crate::place::Place;
use crate::rail::Rail;

on_both!(
    a_transfer_that_we_did_not_make_is_shown_until_somebody_closes_it,
    a_banks_statement_is_held_against_the_books,
    what_is_no_statement_is_named_and_ends_with_2,
);

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}

fn breaks(place: &Place, more: &[&str]) -> Vec<Value> {
    let list = place.json(&[&["reconcile", "breaks"], more].concat());
    list.as_array().expect("a list").clone()
}

/// Two affiliates were paid over Stripe.
fn paid(place: &mut Place) -> Rail {
    let rail = Rail::start(place).with_stripe(place);
    orders::write_payable_by(place, "data", 2, "stripe-connect");
    place.run(&["import", "data", "--org", "acme"]).code(0);
    for job in ["release-holds", "auto-payout", "submit-transfers", "reconcile-transfers"] {
        place.run(&["job", "run", job]).code(0);
    }
    rail
}

fn a_transfer_that_we_did_not_make_is_shown_until_somebody_closes_it(mut place: Place) {
    let rail = paid(&mut place);
    let now = Clock::System.now();
    let (from, to) = (day(now - TimeDelta::days(1)), day(now + TimeDelta::days(1)));
    let statement =
        ["reconcile", "statement", "--rail", "stripe-connect", "--from", &from, "--to", &to];
    let compared = place.json(&statement);
    assert_eq!((&compared[0]["ours"], &compared[0]["open"]), (&2.into(), &0.into()));

    let body = "amount=4200&currency=usd&destination=acct_by_hand";
    let headers = "authorization: Bearer sk_test_1\r\n\
                   content-type: application/x-www-form-urlencoded\r\n";
    assert_eq!(rail.call_with("POST", "/v1/transfers", headers, body).0, 200);
    for found in [1, 0] {
        let ran = place.run(&[&statement[..], &["--json"]].concat()).code(1).json();
        assert_eq!((&ran[0]["found"], &ran[0]["open"]), (&found.into(), &1.into()));
    }
    let found = breaks(&place, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["kind"], &found[0]["theirs"]), (&"unknown_here".into(), &"42.00".into()));
    let alerts = place.json(&["alert", "list"]);
    assert_eq!((&alerts[0]["kind"], &alerts[0]["times"]), (&"break".into(), &1.into()));

    let id = found[0]["break_id"].as_str().expect("an id");
    place.run(&["reconcile", "close", id]).code(2).says(&["--note"]);
    place.run(&["reconcile", "close", id, "--note", "sent by hand"]).code(0);
    place.run(&["reconcile", "close", id, "--note", "x"]).code(2).says(&["is not open"]);
    assert!(breaks(&place, &[]).is_empty());
    let all = breaks(&place, &["--all"]);
    assert_eq!(
        (&all[0]["note"], &all[0]["closed_by"]),
        (&"sent by hand".into(), &"cli:tester".into())
    );
    assert_eq!(place.json(&["alert", "list"]), Value::Array(Vec::new()));
    let passed = place.json(&["alert", "list", "--all"]);
    let alert = passed[0]["alert_id"].as_str().expect("an id");
    place.run(&["alert", "close", alert, "--note", "x"]).code(2).says(&["is not open"]);
    let again = place.run(&statement).code(0);
    assert!(again.out.contains("OPEN BREAKS"), "{}", again.out);
    for table in [&["reconcile", "breaks", "--all"][..], &["alert", "list", "--all"]] {
        assert!(place.run(table).code(0).out.contains("unknown_here"));
    }
    place.run(&["check"]).code(0);
}

/// A bank's statement of one day with one payment in it.
fn camt_053(reference: &str, amount: &str) -> String {
    format!(
        r#"<?xml version="1.0"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>
<GrpHdr><MsgId>M-1</MsgId><CreDtTm>2026-11-23T23:00:00Z</CreDtTm></GrpHdr>
<Stmt><Id>STATEMENT-1</Id><CreDtTm>2026-11-23T23:00:00Z</CreDtTm>
<FrToDt><FrDtTm>2026-11-23T00:00:00Z</FrDtTm><ToDtTm>2026-11-23T23:59:59Z</ToDtTm></FrToDt>
<Acct><Id><Othr><Id>1000</Id></Othr></Id><Ccy>USD</Ccy></Acct>
<Ntry><Amt Ccy="USD">{amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
<BookgDt><Dt>2026-11-23</Dt></BookgDt><AcctSvcrRef>B-1</AcctSvcrRef>
<NtryDtls><TxDtls><Refs><EndToEndId>{reference}</EndToEndId></Refs>
<Amt Ccy="USD">{amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd></TxDtls></NtryDtls></Ntry>
</Stmt></BkToCstmrStmt></Document>"#
    )
}

fn a_banks_statement_is_held_against_the_books(mut place: Place) {
    let _rail = paid(&mut place);
    let payout = place.json(&["payout", "list"])[0].clone();
    let text = |name: &str| payout[name].as_str().expect("a text").to_owned();
    let (id, amount) = (text("payout_id"), text("amount"));
    let shown = place.json(&["payout", "show", &id]);
    let ours = shown["transfers"][0]["reference"].as_str().expect("a reference").to_owned();
    place.write("ours.xml", camt_053(&ours, &amount));
    place.write("less.xml", camt_053(&ours, "49.99"));
    place.write("theirs.xml", camt_053("SUPPLIER 7", "12.00"));
    let hold = |file: &str| place.run(&["reconcile", "statement", file, "--rail", "wire"]);
    hold("ours.xml").code(0);
    let told = hold("theirs.xml").code(1);
    assert!(told.out.contains("STATEMENT-1") && told.out.contains("payoutd reconcile breaks"));
    hold("less.xml").code(1);
    let found: Vec<_> = breaks(&place, &[]).iter().map(|row| row["kind"].clone()).collect();
    assert_eq!(found, ["unknown_here", "amount_differs"]);
    let why = breaks(&place, &[]).remove(1)["reason"].as_str().expect("words").to_owned();
    assert!(why.contains("49.99 USD") && why.contains(&amount), "{why}");
}

fn what_is_no_statement_is_named_and_ends_with_2(mut place: Place) {
    let _rail = paid(&mut place);
    place.write("other.xml", "<Document><BkToCstmrDbtCdtNtfctn/></Document>");
    place.write("broken.xml", camt_053("X", "1.00").replace("DBIT", "DEBT"));
    let statement = ["reconcile", "statement"];
    for (arguments, code, words) in [
        (&[][..], 2, "a FILE, or --rail"),
        (&["nowhere.xml", "--rail", "ach"], 2, "nowhere.xml"),
        (&["other.xml", "--rail", "ach"], 2, "camt.054, no camt.053"),
        (&["other.xml"], 2, "--rail ach or wire"),
        (&["other.xml", "--rail", "paypal"], 2, "ach or wire"),
        (&["other.xml", "--rail", "pony"], 2, "payout method"),
        (&["broken.xml", "--rail", "wire"], 1, "cannot be read in full"),
        (
            &[
                "--rail",
                "paypal",
                "--from",
                "2026-01-01",
                "--to",
                "2026-02-01",
                "--currency",
                "USD",
            ],
            2,
            "no list",
        ),
        (&["--rail", "wire", "--from", "2026-01-01", "--to", "2026-02-01"], 2, "not configured"),
        (&["--rail", "paypal", "--from", "2026-02-01", "--to", "2026-02-01"], 2, "not before"),
        (&["--rail", "paypal", "--from", "2026-02-01"], 2, "--to"),
    ] {
        place.run(&[&statement[..], arguments].concat()).code(code).says(&[words]);
    }
    assert!(breaks(&place, &["--all"]).is_empty());
}
