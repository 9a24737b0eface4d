//! The daemon: it goes through the cycle by itself, says so in its log, and stops when told to.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::orders;
use crate::place::Place;
use crate::process::{Process, soon};
use crate::rail::Rail;

on_both!(
    the_daemon_goes_through_the_whole_cycle_by_itself,
    a_stop_waits_for_the_send_in_hand_and_loses_nothing,
    a_stop_waits_no_longer_than_its_drain_time,
    a_second_signal_ends_it_at_once,
);

const KINDS: [(&str, &str); 4] = [
    ("release-holds", "release_holds"),
    ("auto-payout", "request_payouts"),
    ("submit-transfers", "submit_transfers"),
    ("reconcile-transfers", "reconcile_transfers"),
];

/// Writes the four jobs of the cycle, due every second.
pub fn write_jobs(place: &mut Place) {
    for (job, kind) in KINDS {
        let text = format!("kind = \"{kind}\"\nenabled = true\nschedule = \"* * * * * *\"\n");
        place.write(&format!("jobs/{job}.toml"), text);
    }
    place.set("JOBS__DIR", "jobs");
}

/// Everything that is to be paid waits for its job.
fn prepared(place: &mut Place, affiliates: usize) -> Rail {
    let rail = Rail::start(place);
    write_jobs(place);
    orders::write_payable(place, "data", affiliates);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    rail
}

fn start(place: &Place) -> Process {
    place.start(&["run", "--log-format", "json"])
}

/// The log so far, every line of which is one JSON object.
fn log(text: &str) -> Vec<Value> {
    let line =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    // The last line may be half written.
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    whole.lines().map(line).collect()
}

fn count(place: &Place, status: &str) -> usize {
    let list = place.json(&["payout", "list", "--status", status, "--limit", "1000"]);
    list.as_array().expect("a list").len()
}

fn the_daemon_goes_through_the_whole_cycle_by_itself(mut place: Place) {
    let rail = prepared(&mut place, 40);
    let mut daemon = start(&place);
    soon("everybody is paid", || (count(&place, "completed") == 40).then_some(()));
    assert_eq!(rail.paid().len(), 40);
    assert!(daemon.is_up());
    daemon.signal("TERM");
    let ran = daemon.ended().code(0);
    assert_eq!(ran.out, "");

    let log = log(&ran.err);
    assert_eq!(log[0]["event"], "daemon.started");
    assert_eq!(log.last().expect("a line")["event"], "daemon.stopped");
    let of = |event: &str, job: &str| -> Vec<&Value> {
        log.iter().filter(|line| line["event"] == event && line["job_id"] == job).collect()
    };
    for (job, kind) in KINDS {
        let (started, finished) = (of("job.run.started", job), of("job.run.finished", job));
        assert!(!started.is_empty(), "{job} never ran");
        assert_eq!(started.len(), finished.len(), "{job}");
        for (start, end) in started.iter().zip(&finished) {
            assert_eq!(start["run_id"], end["run_id"], "runs of {job} overlap");
            assert!(start["scheduled_for"].is_string(), "{start}");
            assert_eq!((&start["trigger"], &start["job_kind"]), (&json!("schedule"), &json!(kind)));
            for count in ["counts.seen", "counts.acted", "counts.skipped", "counts.failed"] {
                assert!(end[count].is_u64() || end[count].is_i64(), "{count}: {end}");
            }
            assert!(end["duration_seconds"].is_number() && end["outcome"].is_string(), "{end}");
            assert!(end["report"].as_str().is_some_and(|report| report.contains("amounts")));
        }
        let instants: Vec<_> = started.iter().map(|line| line["scheduled_for"].as_str()).collect();
        assert!(instants.windows(2).all(|pair| pair[0] < pair[1]), "an instant ran twice");
    }
    let warnings: Vec<_> = log
        .iter()
        .filter(|line| line["level"] != "info" && line["event"] != "job.run.skipped")
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    place.run(&["check"]).code(0);
}

/// Starts the daemon, and waits until the sandbox holds the answer to its first send.
fn with_a_send_in_hand(place: &mut Place, delay_ms: u64) -> (Rail, Process) {
    let rail = prepared(place, 10);
    rail.slow(1, delay_ms);
    let daemon = start(place);
    rail.takes(10);
    (rail, daemon)
}

fn a_stop_waits_for_the_send_in_hand_and_loses_nothing(mut place: Place) {
    let (rail, daemon) = with_a_send_in_hand(&mut place, 3_000);
    daemon.signal("TERM");
    let ran = daemon.ended().code(0);
    let log = log(&ran.err);
    let end = log.iter().rfind(|line| line["job_id"] == "submit-transfers").expect("a run");
    assert_eq!(end["event"], "job.run.finished", "{end}");
    assert_eq!(end["counts.acted"], 10, "its answer was written down: {end}");
    assert!(!ran.err.contains("drain.timed_out"), "{}", ran.err);
    place.run(&["job", "run", "reconcile-transfers"]).code(0);
    assert_eq!(count(&place, "completed"), 10);
    assert_eq!(rail.paid().len(), 10);
}

fn a_stop_waits_no_longer_than_its_drain_time(mut place: Place) {
    place.set("JOBS__DRAIN_MS", 300);
    place.set("ENGINE__LEASE_MS", 2_000);
    place.set("ENGINE__HEARTBEAT_MS", 200);
    let (rail, daemon) = with_a_send_in_hand(&mut place, 60_000);
    let begun = Instant::now();
    daemon.signal("TERM");
    let ran = daemon.ended().code(0).says(&["daemon.drain.timed_out"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // What was cut off is cut off: it does not go on to fail against a database that is closed.
    assert_eq!(log(&ran.err).last().expect("a line")["event"], "daemon.stopped");
    assert!(!ran.err.contains("\"level\":\"error\""), "{}", ran.err);
    settle(&place, &rail);
}

fn a_second_signal_ends_it_at_once(mut place: Place) {
    place.set("ENGINE__LEASE_MS", 2_000);
    place.set("ENGINE__HEARTBEAT_MS", 200);
    let (rail, mut daemon) = with_a_send_in_hand(&mut place, 60_000);
    daemon.signal("TERM");
    daemon.says("daemon.stopping");
    assert!(daemon.is_up());
    let begun = Instant::now();
    daemon.signal("INT");
    daemon.ended().code(130).says(&["daemon.stop.forced"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    settle(&place, &rail);
}

/// What was in hand is found by its lease, and paid exactly once.
fn settle(place: &Place, rail: &Rail) {
    soon("the run that was cut off lets go", || {
        let ran = place.run(&["job", "run", "reconcile-transfers", "--now"]);
        (ran.status.code() != Some(4)).then(|| ran.code(0))
    });
    assert_eq!(count(place, "completed"), 10);
    assert_eq!(rail.paid().len(), 10);
    place.run(&["check"]).code(0);
}
