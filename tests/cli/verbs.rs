//! Every verb: exit codes, messages, and what it prints for eyes and for machines.

use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::orders;
use crate::place::Place;
use crate::rail::{POST_BATCH, Rail};

on_both!(
    what_does_not_exist_is_named_and_ends_with_2,
    a_refusal_ends_with_4_and_says_why,
    a_job_that_is_running_already_is_left_alone_with_4,
    what_is_partly_done_ends_with_3_and_says_what_is_open,
    payouts_of_a_rail_that_is_not_configured_wait_and_say_so,
    an_affiliate_is_told_every_gate_with_its_numbers,
    a_breach_of_the_books_is_named_and_ends_with_1,
    every_read_prints_json_that_parses_and_tables_that_line_up,
    a_reader_that_goes_away_is_no_error,
);

/// A place with payouts of `affiliates`, requested and not yet sent.
fn with_payouts(place: &mut Place, affiliates: usize) -> Rail {
    let rail = Rail::start(place);
    orders::write_payable(place, "data", affiliates);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    for job in ["release-holds", "auto-payout"] {
        place.run(&["job", "run", job]).code(0);
    }
    rail
}

fn payout_ids(place: &Place) -> Vec<String> {
    let rows = place.json(&["payout", "list"]);
    let id = |row: &Value| row["payout_id"].as_str().expect("an id").to_owned();
    rows.as_array().expect("a list").iter().map(id).collect()
}

fn status(place: &Place, id: &str) -> String {
    place.json(&["payout", "show", id])["status"].as_str().expect("a status").to_owned()
}

fn what_does_not_exist_is_named_and_ends_with_2(mut place: Place) {
    place.run(&["summary"]).code(2).says(&["there is no org yet: import one first"]);
    let _rail = with_payouts(&mut place, 1);
    for (arguments, words) in [
        (
            &["job", "run", "weekly"][..],
            "no job \"weekly\": the jobs are release-holds, auto-payout",
        ),
        (&["job", "next", "weekly"], "no job \"weekly\""),
        (&["job", "history", "weekly"], "no job \"weekly\""),
        (&["job", "show", "run_9"], "no run run_9: see `payoutd job history`"),
        (&["payout", "show", "po_9"], "no payout po_9 in org acme"),
        (&["payout", "cancel", "po_9"], "payout po_9 does not exist"),
        (&["payout", "retry", "po_9"], "payout po_9 does not exist"),
        (&["payout", "list", "--status", "lost"], "expected one of pending, approved"),
        (&["affiliate", "explain", "aff-9"], "no affiliate aff-9 in org acme"),
        (&["affiliate", "explain", "a b"], "a space"),
        (&["summary", "--org", "acne"], "no org \"acne\": the orgs are acme"),
        (&["commission", "process-held", "--org", "acne"], "no org \"acne\""),
        (&["payout", "list", "--org", "acne"], "no org \"acne\""),
    ] {
        let ran = place.run(arguments).code(2).says(&[words]);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
    place.run(&["import", "data", "--org", "other"]).code(0);
    place.run(&["summary"]).code(2).says(&["several orgs (acme, other)", "--org"]);
}

fn a_refusal_ends_with_4_and_says_why(mut place: Place) {
    let rail = with_payouts(&mut place, 3);
    let ids = payout_ids(&place);
    let retry = |id: &str| place.run(&["payout", "retry", id]);
    let cancel = |id: &str| place.run(&["payout", "cancel", id]);
    retry(&ids[0]).code(4).says(&["is pending, so it cannot be retried", "waiting to be sent"]);
    let reason = ["payout", "cancel", &ids[0], "--reason", "wrong address", "--json"];
    assert_eq!(place.run(&reason).code(0).json()["status"], "cancelled");
    let shown = place.json(&["payout", "show", &ids[0]]);
    let last = shown["history"].as_array().and_then(|events| events.last()).expect("a history");
    assert_eq!(last["reason"], "wrong address");
    assert_eq!(last["actor"], "cli:tester");
    cancel(&ids[0]).code(4).says(&["is cancelled, so it cannot be cancelled"]);
    let again = place.json(&["payout", "retry", &ids[0]]);
    let again = again["payout_id"].as_str().expect("an id");
    retry(&ids[0]).code(4).says(&["was retried already, as", again]);
    for job in ["submit-transfers", "reconcile-transfers"] {
        place.run(&["job", "run", job]).code(0);
    }
    assert_eq!(status(&place, again), "completed");
    for id in [&ids[1], again] {
        cancel(id).code(4).says(&["is completed, so it cannot be cancelled"]);
        retry(id).code(4).says(&["is completed, so it cannot be retried: it was paid"]);
    }
    assert_eq!(rail.paid().len(), 3);
    place.run(&["check"]).code(0);
}

fn a_job_that_is_running_already_is_left_alone_with_4(mut place: Place) {
    let rail = with_payouts(&mut place, 1);
    rail.slow(1, 60_000);
    let submit = place.start(&["job", "run", "submit-transfers"]);
    rail.takes(1);
    let second = place.run(&["job", "run", "submit-transfers"]).code(4);
    let second = second.says(&["job submit-transfers is running already (run_"]);
    assert_eq!(second.out, "");
    let id = &payout_ids(&place)[0];
    place.run(&["payout", "cancel", id]).code(4).says(&["its money may be on its way"]);
    place.run(&["payout", "retry", id]).code(4).says(&["could pay twice"]);
    place.run(&["job", "run", "release-holds"]).code(0);
    submit.kill();
}

fn what_is_partly_done_ends_with_3_and_says_what_is_open(mut place: Place) {
    let rail = with_payouts(&mut place, 2);
    rail.fault(json!({"on": POST_BATCH, "fault": "error_after"}));
    let run = place.run(&["job", "run", "submit-transfers", "--json"]).code(3).json();
    assert_eq!(run["state"], "partial");
    assert_eq!(run["counts"]["failed"], 2);
    assert_eq!(run["outcomes"]["unknown"]["count"], 2);
    assert_eq!(rail.books().len(), 2, "the money left before the answer was lost");
    let mut shown = place.json(&["job", "show", run["run_id"].as_str().expect("an id")]);
    let before = shown.as_object_mut().and_then(|shown| shown.remove("attempts"));
    assert_eq!(before, Some(json!([])));
    assert_eq!(shown, run, "a run is shown as it was printed");
    place.run(&["job", "run", "reconcile-transfers", "--now"]).code(0);
    assert!(payout_ids(&place).iter().all(|id| status(&place, id) == "completed"));
    assert_eq!(rail.books().len(), 2);
}

fn payouts_of_a_rail_that_is_not_configured_wait_and_say_so(place: Place) {
    orders::write_payable(&place, "data", 2);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    for job in ["release-holds", "auto-payout", "submit-transfers", "reconcile-transfers"] {
        place.run(&["job", "run", job]).code(0);
    }
    let history = place.json(&["job", "history", "submit-transfers"]);
    assert_eq!(history[0]["skipped_by_reason"]["rail_not_configured"]["count"], 2);
    let note = history[0]["notes"][0].as_str().expect("a note");
    assert!(note.contains("2 payouts of org acme wait for paypal (100.07 USD)"), "{note}");
    let id = &payout_ids(&place)[0];
    assert_eq!(status(&place, id), "pending");
    let shown = place.run(&["payout", "show", id]).code(0);
    assert!(
        shown.out.contains("paypal is not configured, see [providers.paypal]"),
        "{}",
        shown.out
    );
}

fn an_affiliate_is_told_every_gate_with_its_numbers(place: Place) {
    orders::write(&place, "data", 90, 900);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    let fresh = place.json(&["affiliate", "explain", "aff-00000"]);
    assert_eq!(fresh["decisions"], json!([]));
    for job in ["release-holds", "auto-payout"] {
        place.run(&["job", "run", job]).code(0);
    }
    // Suspended, below its minimum, and of a program that pays by hand.
    let told = place.json(&["affiliate", "explain", "aff-00072"]);
    let gates = told["wallets"][0]["gates"].as_array().expect("gates");
    let of = |name: &str| gates.iter().find(|gate| gate["gate"] == name).expect("a gate");
    assert_eq!(of("not_active")["found"], "suspended");
    assert_eq!(of("below_minimum")["wants"], "at least 100.00 USD");
    assert_eq!(of("below_minimum")["passed"], false);
    assert_eq!(of("auto_payout_off")["found"], "off");
    assert_eq!(of("negative_balance")["passed"], true);
    let decision = &told["decisions"][0];
    assert_eq!(decision["paid"], false);
    assert_eq!(decision["failing_gates"].as_array().map(Vec::len), Some(3));
    assert!(told["job"]["next_due"].is_null() && told["job"]["next_instant"].is_string(), "{told}");
    assert!(told["job"]["why_none"].as_str().is_some_and(|why| why.contains("off")), "{told}");
    assert!(decision["run_id"].is_string() && told["wallets"][0]["expected"].is_string(), "{told}");
    let table = place.run(&["affiliate", "explain", "aff-00072"]).code(0);
    for words in ["next due: ", "would not be paid", "at least 100.00 USD", "FAIL"] {
        assert!(table.out.contains(words), "{}", table.out);
    }
    // Enrolled, and without any commission: there is nothing to explain, and that is said.
    let nothing = place.run(&["affiliate", "explain", "aff-00089"]).code(0);
    assert!(nothing.out.contains("earned nothing yet"), "{}", nothing.out);
}

fn a_breach_of_the_books_is_named_and_ends_with_1(mut place: Place) {
    let _rail = with_payouts(&mut place, 2);
    assert_eq!(place.json(&["check"])["ok"], true);
    place.tamper("UPDATE wallets SET paid_minor = 7 WHERE affiliate_id = 'aff-00001'");
    let ran = place.run(&["check"]).code(1);
    assert!(ran.out.contains("BROKEN I") && ran.out.contains("aff-00001 USD"), "{}", ran.out);
    let lines =
        ran.out.lines().filter(|line| line.starts_with("ok ") || line.starts_with("BROKEN"));
    let report = place.run(&["check", "--json"]).code(1).json();
    assert_eq!(report["ok"], false);
    assert_eq!(report["invariants"].as_array().map(Vec::len), Some(lines.count()));
    place.run(&["job", "run", "audit-ledger"]).code(1);
}

fn every_read_prints_json_that_parses_and_tables_that_line_up(mut place: Place) {
    let _rail = with_payouts(&mut place, 12);
    place.run(&["job", "run", "submit-transfers"]).code(0);
    let id = payout_ids(&place).remove(0);
    let run = place.json(&["job", "history"])[0]["run_id"].as_str().expect("an id").to_owned();
    for (arguments, tables) in [
        (&["job", "list"][..], 1),
        (&["job", "next", "auto-payout"], 1),
        (&["job", "history"], 1),
        (&["job", "show", &run], 0),
        (&["payout", "list"], 1),
        (&["payout", "show", &id], 4),
        (&["affiliate", "explain", "aff-00003"], 2),
        (&["summary"], 4),
        (&["check"], 0),
        (&["config", "show"], 1),
        (&["config", "check"], 1),
        (&["doctor"], 1),
        (&["import", "data", "--org", "acme"], 1),
        (&["db", "migrate"], 0),
        (&["commission", "process-held"], 0),
    ] {
        let eyes = place.run(arguments).code(0);
        assert!(!eyes.out.is_empty() && !eyes.out.contains('\u{1b}'), "{}", eyes.out);
        assert_eq!(eyes.err, "", "{arguments:?}");
        let aligned = eyes.out.split("\n\n").filter(|part| is_aligned(part)).count();
        assert!(aligned >= tables, "{arguments:?}: {aligned} of {tables} tables\n{}", eyes.out);
        let machine = place.run(&[arguments, &["--json"]].concat()).code(0);
        assert!(!machine.json().is_null());
        assert_eq!(machine.err, "", "{arguments:?}");
    }
}

/// Whether a part holds a table that lines up: below a line of capitals, its cells stand in as
/// many columns, with two free ones between each.
fn is_aligned(part: &str) -> bool {
    let is_heading = |line: &&str| {
        line.contains("  ") && line.chars().any(char::is_alphabetic) && *line == line.to_uppercase()
    };
    let lines: Vec<_> = part.lines().skip_while(|line| !is_heading(line)).collect();
    let Some(heading) = lines.first() else { return false };
    let headings = heading.split("  ").filter(|words| !words.trim().is_empty()).count();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let is_free =
        |at: &usize| lines.iter().all(|line| line.chars().nth(*at).is_none_or(|c| c == ' '));
    let taken: Vec<_> = (0..width).filter(|at| !is_free(at)).collect();
    let columns = 1 + taken.windows(2).filter(|pair| pair[1] - pair[0] > 2).count();
    columns >= headings
}

fn a_reader_that_goes_away_is_no_error(mut place: Place) {
    let _rail = with_payouts(&mut place, 50);
    for arguments in [&["payout", "list"][..], &["payout", "list", "--json"], &["summary"]] {
        let mut command = place.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is built");
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
        assert_eq!(child.wait().expect("ours").code(), Some(0), "{arguments:?}");
        assert_eq!(err, "");
    }
}
