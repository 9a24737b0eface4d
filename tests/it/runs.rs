//! Runs: one per job and instant, one at a time, fenced by their lease.

use std::time::Duration;

use chrono::TimeDelta;
use payoutd::domain::Actor;
use payoutd::engine::{EngineError, EngineSettings, Reach, Tally, Work};
use payoutd::jobs::{Catalog, RunError, Runner};
use payoutd::store::{NewRun, RunLease, RunRow};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, program};

/// A catalog of one job, written by hand.
pub fn catalog(job_id: &str, text: &str) -> Catalog {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join(format!("{job_id}.toml")), text).expect("written");
    Catalog::load(Some(dir.path())).expect("a job")
}

fn hourly() -> Catalog {
    catalog("hourly", "kind = \"release_holds\"\nenabled = true\nschedule = \"0 0 * * * *\"")
}

fn runner(h: &Harness) -> Runner {
    h.runner_of(h.engine.clone(), hourly())
}

pub async fn history(h: &Harness, job_id: &str) -> Vec<RunRow> {
    let mut runs = h.store.runs_history(job_id, "", 100).await.expect("runs");
    runs.sort_by_key(|run| run.scheduled_for);
    runs
}

pub async fn states(h: &Harness, job_id: &str) -> Vec<String> {
    history(h, job_id).await.into_iter().map(|run| run.state).collect()
}

pub async fn work_off(runner: &Runner) {
    for run in runner.queued().await.expect("runs") {
        runner.run_queued(&run, &CancellationToken::new()).await.expect("a run");
    }
}

/// Takes a run of a job in hand, for `lease`, as a process that then dies.
pub async fn start_and_die(h: &Harness, job_id: &str, lease: TimeDelta) -> RunLease {
    let run = NewRun {
        run_id: h.clock.mint(),
        job_id: job_id.to_owned(),
        kind: "release_holds",
        trigger_kind: "manual",
        scheduled_for: None,
        skipped: None,
        not_before: None,
        max_attempts: 1,
        requested_by: "cli:ana".to_owned(),
        reason: None,
        definition_hash: String::new(),
        plan_hash: None,
    };
    let lease_until = h.store.database_now().await.expect("a clock") + lease;
    let now = h.clock.now();
    let lease = RunLease { run_id: run.run_id.clone(), token: run.run_id.to_string() };
    let mut tx = h.store.begin().await.expect("a transaction");
    assert!(tx.run_insert(&run, now).await.expect("an insert"));
    assert!(tx.run_start(&lease, "gone", lease_until, now).await.expect("a start"));
    tx.commit().await.expect("a commit");
    lease
}

fn on_behalf_of(lease: RunLease) -> Work {
    Work::by_run(Actor::job("hourly"), lease, CancellationToken::new())
}

on_both! {
    async fn an_instant_is_run_once_whoever_looks(h: &Harness) {
        let (one, other) = (runner(h), runner(h));
        one.tick().await.expect("a look");
        other.tick().await.expect("a look");
        assert!(history(h, "hourly").await.is_empty(), "a new job starts now");
        h.clock.advance(TimeDelta::hours(1));
        let (first, second) = tokio::join!(one.tick(), other.tick());
        first.and(second).expect("both look");
        tokio::join!(work_off(&one), work_off(&other));
        assert_eq!(states(h, "hourly").await, ["succeeded"]);
        let run = history(h, "hourly").await.remove(0);
        assert_eq!(run.scheduled_for.expect("an instant").to_rfc3339(), "2026-03-02T10:00:00+00:00");
        assert_eq!((run.trigger_kind.as_str(), run.requested_by.as_str()), ("schedule", "schedule"));
    }

    async fn missed_instants_are_on_record_and_the_latest_is_run(h: &Harness) {
        let runner = runner(h);
        runner.tick().await.expect("a look");
        h.clock.advance(TimeDelta::hours(3));
        runner.tick().await.expect("a look");
        work_off(&runner).await;
        assert_eq!(states(h, "hourly").await, ["skipped", "skipped", "succeeded"]);
        let skipped = history(h, "hourly").await.remove(0);
        assert!(skipped.reason.expect("a reason").contains("misfire"));
    }

    async fn an_instant_that_meets_a_run_in_hand_is_skipped_and_says_so(h: &Harness) {
        let runner = runner(h);
        runner.tick().await.expect("a look");
        start_and_die(h, "hourly", TimeDelta::minutes(5)).await;
        h.clock.advance(TimeDelta::hours(1));
        runner.tick().await.expect("a look");
        work_off(&runner).await;
        let runs = history(h, "hourly").await;
        assert_eq!((runs[0].state.as_str(), runs[1].state.as_str()), ("running", "skipped"));
        assert!(runs[1].reason.as_deref().is_some_and(|reason| reason.contains("overlap")));
    }

    async fn a_run_whose_process_died_is_lost_and_blocks_nobody(h: &Harness) {
        let runner = runner(h);
        runner.tick().await.expect("a look");
        start_and_die(h, "hourly", TimeDelta::seconds(-1)).await;
        h.clock.advance(TimeDelta::hours(1));
        runner.tick().await.expect("a look");
        work_off(&runner).await;
        assert_eq!(states(h, "hourly").await, ["lost", "succeeded"]);
        let lost = history(h, "hourly").await.remove(0);
        assert_eq!(lost.error_code.as_deref(), Some("lease_expired"));
    }

    async fn a_person_is_not_blocked_by_a_run_that_died_either(h: &Harness) {
        start_and_die(h, "release-holds", TimeDelta::seconds(-1)).await;
        assert_eq!(h.job("release-holds").await.state, "succeeded");
    }

    async fn a_person_is_refused_while_the_job_is_running(h: &Harness) {
        let lease = start_and_die(h, "release-holds", TimeDelta::minutes(5)).await;
        let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
        let refused = h.runner().run_now("release-holds", &actor, Reach::Due, &stop).await;
        let Err(RunError::AlreadyRunning { run_id, worker_id, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((run_id, worker_id), (lease.run_id.to_string(), "gone".to_owned()));
        assert_eq!(h.count("job_runs").await, 1, "a refused run leaves no row");
        let unknown = h.runner().run_now("no-such-job", &actor, Reach::Due, &stop).await;
        assert!(matches!(unknown, Err(RunError::Catalog(_))));
    }

    async fn of_two_people_at_once_one_runs_the_job(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
        let (one, other) = (h.runner(), h.runner());
        let (one, other) = tokio::join!(
            one.run_now("auto-payout", &actor, Reach::Due, &stop),
            other.run_now("auto-payout", &actor, Reach::Due, &stop),
        );
        // Either they met, or one came when the other had ended: the money is asked for once.
        let acted: i64 = [one, other].into_iter().flatten().map(|run| run.acted).sum();
        assert_eq!((acted, h.payouts().await.len()), (1, 1));
        h.settle_all().await;
    }

    async fn a_run_that_lost_its_lease_writes_nothing_more(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        h.ask("ana", 1_500).await.expect("a payout");
        let work = on_behalf_of(start_and_die(h, "hourly", TimeDelta::seconds(-1)).await);
        runner(h).tick().await.expect("a look");
        let sent = h.engine.submit_all(&work, Reach::Due, &Default::default()).await;
        assert!(matches!(sent, Err(EngineError::LeaseLost { .. })), "{sent:?}");
        let brought = h.engine.accrue(&work, &h.org, &[h.commission("c", "ana", 5)]).await;
        assert!(matches!(brought, Err(EngineError::LeaseLost { .. })), "{brought:?}");
        assert_eq!((h.count("submissions").await, h.count("commissions").await), (0, 1));
        h.settle_all().await;
    }

    async fn a_run_that_lost_its_lease_cannot_say_how_it_ended(h: &Harness) {
        let lease = start_and_die(h, "hourly", TimeDelta::seconds(-1)).await;
        let runner = runner(h);
        runner.tick().await.expect("a look");
        let mut tx = h.store.begin().await.expect("a transaction");
        let until = h.store.database_now().await.expect("a clock") + TimeDelta::hours(1);
        assert!(!tx.run_renew(&lease, until).await.expect("a renewal"));
        let end = payoutd::store::RunEnd {
            state: "succeeded",
            seen: 0,
            acted: 0,
            skipped: 0,
            failed: 0,
            report: String::new(),
            error: None,
        };
        assert!(!tx.run_finish(&lease, &end, h.clock.now()).await.expect("an end"));
        tx.commit().await.expect("a commit");
        assert_eq!(states(h, "hourly").await, ["lost"]);
    }

    async fn a_disabled_job_is_never_due_and_runs_when_a_person_asks(h: &Harness) {
        let runner = h.runner();
        runner.tick().await.expect("a look");
        h.clock.advance(TimeDelta::days(8));
        runner.tick().await.expect("a look");
        assert!(history(h, "auto-payout").await.is_empty());
        assert_eq!(h.job("auto-payout").await.state, "succeeded");
    }

    async fn a_run_shows_a_sign_of_life_while_its_transactions_are_open(h: &Harness) {
        let names: Vec<String> = (0..60).map(|i| format!("aff-{i}")).collect();
        h.enrol(program("creator"), &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for name in &names {
            h.earn(name, name, &[1_500]).await;
        }
        let heartbeat = TimeDelta::milliseconds(1);
        let settings = EngineSettings { heartbeat, ..EngineSettings::default() };
        let engine = h.engine_with(vec![h.rail(json!({}))], settings);
        let text = "kind = \"request_payouts\"\nenabled = true\nschedule = \"@weekly\"\n[params]\nbatch = 1";
        let runner = h.runner_of(engine, catalog("small-pages", text));
        let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
        let run = runner.run_now("small-pages", &actor, Reach::Due, &stop);
        let run = tokio::time::timeout(Duration::from_secs(60), run).await;
        assert_eq!(run.expect("no standstill").expect("a run").acted, 60);
        h.settle_all().await;
    }

    async fn a_run_that_takes_too_long_is_stopped_between_two_batches(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        for name in ["ana", "ben"] {
            h.earn(name, name, &[1_500]).await;
            h.ask(name, 1_500).await.expect("a payout");
        }
        h.arm("slow", json!({"delay_ms": 1_800})).await;
        let text = "kind = \"submit_transfers\"\nenabled = true\nschedule = \"@daily\"\ntimeout = \"1s\"";
        let engine = h.engine_with(vec![h.rail(json!({"batch_size": 1}))], EngineSettings::default());
        let runner = h.runner_of(engine, catalog("impatient", text));
        let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
        let run = runner.run_now("impatient", &actor, Reach::Due, &stop).await.expect("a run");
        assert_eq!((run.state.as_str(), run.acted), ("timed_out", 1));
        assert_eq!(h.count("payouts WHERE status = 'pending'").await, 1);
        h.settle_all().await;
    }

    async fn a_run_reports_counts_and_amounts(h: &Harness) {
        h.enrol(program("creator"), &["ana", "low"]).await;
        h.earn("ana", "a", &[1_500]).await;
        h.earn("low", "l", &[20]).await;
        let run = h.job("auto-payout").await;
        assert_eq!((run.seen, run.acted, run.skipped, run.failed), (2, 1, 1, 0));
        assert_eq!((run.state.as_str(), run.requested_by.as_str()), ("succeeded", "cli:ana"));
        let report: serde_json::Value =
            serde_json::from_str(&run.report.expect("a report")).expect("JSON");
        assert_eq!(report["amounts"], json!({"USD": "15.00"}));
        assert_eq!(report["skipped"]["below_minimum"], json!({"count": 1, "amount": {"USD": "0.20"}}));
        let last = h.store.last_deciding_run(&h.org).await.expect("a read");
        assert_eq!(last, Some(run.run_id));
        h.settle_all().await;
    }

    async fn a_rail_that_fails_leaves_the_run_partly_done(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "a", &[1_500]).await;
        h.ask("ana", 1_500).await.expect("a payout");
        h.arm("error_before", json!({})).await;
        let run = h.job("submit-transfers").await;
        assert_eq!((run.state.as_str(), run.failed), ("partial", 1));
        h.settle_all().await;
    }

    async fn old_runs_and_decisions_are_pruned_and_money_never_is(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "a", &[1_500]).await;
        h.job("auto-payout").await;
        h.settle_all().await;
        let rows = "SELECT COUNT(*) FROM entries UNION ALL SELECT COUNT(*) FROM payout_events";
        let before: Vec<(i64,)> = h.database.rows(rows).await;
        h.clock.advance(TimeDelta::days(401));
        let tally: Tally = h.tally("prune").await;
        // The run that paid stays with its payout, beside the one that prunes.
        assert_eq!((tally.acted, h.count("decisions").await, h.count("job_runs").await), (1, 0, 2));
        assert_eq!(h.database.rows::<(i64,)>(rows).await, before);
    }
}
