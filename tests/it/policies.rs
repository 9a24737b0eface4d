//! What a job's file says about instants that were missed, runs that overlap, fail, are lost or
//! stopped; and what people ask of runs afterwards.

use chrono::{DateTime, TimeDelta, Utc};
use payoutd::domain::RunId;
use payoutd::engine::{EngineError, EngineSettings, Work};
use payoutd::jobs::{Backfill, JobError, Runner};
use payoutd::store::{RunLease, RunRow};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, program};
use crate::runs::{catalog, history, start_and_die, states, work_off};

/// A runner of one job that releases holds, at every full hour unless the keys say otherwise.
fn runner(h: &Harness, keys: &str) -> Runner {
    let schedule = if keys.contains("schedule") { "" } else { "schedule = \"@hourly\"\n" };
    let text = format!("kind = \"release_holds\"\nenabled = true\n{schedule}{keys}");
    h.runner_of(h.engine.clone(), catalog("a-job", &text))
}

async fn look(runner: &Runner) {
    runner.tick().await.expect("a look");
}

/// What became of each instant: its time, state, trigger, and the word of the reason.
async fn told(h: &Harness) -> Vec<String> {
    let one = |run: &RunRow| {
        let word = run.reason.as_deref().unwrap_or_default().split([':', ' ']).next();
        let at = run.scheduled_for.map(|at| at.format("%H:%M").to_string()).unwrap_or_default();
        format!("{at} {} {} {}", run.state, run.trigger_kind, word.unwrap_or_default())
    };
    history(h, "a-job").await.iter().map(|run| one(run).trim_end().to_owned()).collect()
}

/// The daemon is down over three instants, and comes back half an hour after the last.
async fn down_for_three(h: &Harness, keys: &str) -> Runner {
    look(&runner(h, keys)).await;
    h.clock.advance(TimeDelta::minutes(210));
    let back = runner(h, keys);
    look(&back).await;
    back
}

/// Takes the first queued run, for `lease`, as a process that then dies.
async fn take_and_die(h: &Harness, runner: &Runner, lease: TimeDelta) -> RunLease {
    let run = runner.queued().await.expect("runs").remove(0);
    let token = h.clock.mint::<RunId>().to_string();
    let taken = RunLease { run_id: run.run_id, token };
    let until = h.store.database_now().await.expect("a clock") + lease;
    let mut tx = h.store.begin().await.expect("a transaction");
    assert!(tx.run_start(&taken, "gone", until, h.clock.now()).await.expect("a start"));
    tx.commit().await.expect("a commit");
    taken
}

/// While this is so, the job's runs fail.
async fn broken(h: &Harness, is_broken: bool) {
    let (from, to) = if is_broken { ("programs", "away") } else { ("away", "programs") };
    h.database.execute(&format!("ALTER TABLE {from} RENAME TO {to}")).await.expect("renamed");
}

async fn attempts(h: &Harness, run: &RunId) -> Vec<(i64, String)> {
    let rows = h.store.run_attempts(run).await.expect("attempts");
    rows.into_iter().map(|row| (row.attempt, row.state)).collect()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn span(from: &str, upto: &str, max: usize) -> Backfill {
    let reason = Some("the bank was closed".to_owned());
    Backfill { from: at(from), upto: at(upto), max, reason, dry_run: false }
}

on_both! {
    async fn after_being_down_every_missed_instant_is_skipped_if_the_job_says_so(h: &Harness) {
        let back = down_for_three(h, "misfire = { policy = \"skip\" }").await;
        work_off(&back).await;
        let skipped = |hour| format!("{hour}:00 skipped catchup misfire");
        assert_eq!(told(h).await, [skipped(10), skipped(11), skipped(12)]);
    }

    async fn after_being_down_the_latest_instant_runs_late_and_says_that_it_does(h: &Harness) {
        let back = down_for_three(h, "misfire = { policy = \"latest\" }").await;
        work_off(&back).await;
        assert_eq!(
            told(h).await,
            ["10:00 skipped catchup misfire", "11:00 skipped catchup misfire", "12:00 succeeded catchup"]
        );
    }

    async fn after_being_down_all_instants_run_one_after_the_other_oldest_first(h: &Harness) {
        let back = down_for_three(h, "misfire = { policy = \"all\" }").await;
        for hour in [10, 11, 12] {
            let queued = back.queued().await.expect("runs");
            let due: Vec<_> = queued.iter().filter_map(|run| run.scheduled_for).collect();
            assert_eq!(due, [at(&format!("2026-03-02T{hour}:00:00Z"))], "its turn, and nobody else's");
            work_off(&back).await;
        }
        assert_eq!(states(h, "a-job").await, ["succeeded", "succeeded", "succeeded"]);
        // The window and the cap.
        let narrow = "misfire = { policy = \"all\", window = \"100m\", max_runs = 1 }";
        h.clock.advance(TimeDelta::minutes(24 * 60 + 10));
        h.change("DELETE FROM job_runs").await;
        let back = down_for_three(h, narrow).await;
        work_off(&back).await;
        let runs = told(h).await;
        assert_eq!(runs[runs.len() - 3..], ["14:00 skipped catchup misfire_window", "15:00 skipped catchup misfire", "16:00 succeeded catchup"]);
    }

    async fn a_year_of_being_down_is_no_storm(h: &Harness) {
        let keys = "schedule = \"* * * * *\"\nmisfire = { policy = \"all\" }";
        look(&runner(h, keys)).await;
        h.clock.advance(TimeDelta::days(365));
        let back = runner(h, keys);
        look(&back).await;
        assert_eq!(h.count("job_runs").await, 1_001);
        assert_eq!(h.count("job_runs WHERE state = 'queued'").await, 10);
        look(&back).await;
        assert_eq!(h.count("job_runs").await, 1_001, "nothing is noticed twice");
    }

    async fn while_one_runs_one_waits_and_the_next_is_skipped_if_the_job_queues_one(h: &Harness) {
        let runner = runner(h, "overlap = \"queue_one\"");
        look(&runner).await;
        let running = start_and_die(h, "a-job", TimeDelta::minutes(5)).await;
        for _ in 0..2 {
            h.clock.advance(TimeDelta::hours(1));
            look(&runner).await;
            work_off(&runner).await;
        }
        assert_eq!(told(h).await[1..], ["10:00 queued schedule", "11:00 skipped schedule overlap"]);
        let mut tx = h.store.begin().await.expect("a transaction");
        assert!(tx.run_cancel(&running.run_id, "over", h.clock.now()).await.expect("an end"));
        tx.commit().await.expect("a commit");
        work_off(&runner).await;
        assert_eq!(states(h, "a-job").await[1..], ["succeeded", "skipped"]);
    }

    async fn a_run_waits_for_its_jitter_and_is_open_while_it_waits(h: &Harness) {
        let runner = runner(h, "jitter = \"4h\"");
        look(&runner).await;
        h.clock.advance(TimeDelta::hours(1));
        look(&runner).await;
        assert!(runner.queued().await.expect("runs").is_empty(), "its time has not come");
        let run = history(h, "a-job").await.remove(0);
        let not_before = run.not_before.expect("a jitter");
        assert!(not_before > at("2026-03-02T11:00:00Z"), "{not_before}: take another job's name");
        h.clock.advance(TimeDelta::hours(1));
        look(&runner).await;
        assert_eq!(told(h).await, ["10:00 queued schedule", "11:00 skipped schedule overlap"]);
        h.clock.advance(not_before - h.clock.now());
        work_off(&runner).await;
        assert_eq!(states(h, "a-job").await, ["succeeded", "skipped"]);
    }

    async fn a_run_that_failed_is_tried_again_on_its_own_row_after_a_pause(h: &Harness) {
        let keys = "schedule = \"@daily\"\nretry = { max_attempts = 3, base = \"30s\", cap = \"10m\" }";
        let runner = runner(h, keys);
        look(&runner).await;
        h.clock.advance(TimeDelta::hours(15));
        look(&runner).await;
        broken(h, true).await;
        work_off(&runner).await;
        let run = history(h, "a-job").await.remove(0);
        assert_eq!((run.state.as_str(), run.attempt, run.error_code.as_deref()), ("queued", 2, Some("store_failed")));
        assert_eq!(run.not_before, Some(h.clock.now() + TimeDelta::seconds(30)));
        h.clock.advance(TimeDelta::seconds(29));
        assert!(runner.queued().await.expect("runs").is_empty());
        h.clock.advance(TimeDelta::seconds(1));
        broken(h, false).await;
        work_off(&runner).await;
        let run = history(h, "a-job").await.remove(0);
        assert_eq!((run.state.as_str(), run.attempt, run.error_code), ("succeeded", 2, None));
        assert_eq!(attempts(h, &run.run_id).await, [(1, "failed".to_owned())]);
    }

    async fn a_job_that_says_so_is_paused_when_a_run_failed_for_good(h: &Harness) {
        let keys = "pause_on_failure = true\nretry = { max_attempts = 2, base = \"1s\", cap = \"1s\" }";
        let runner = runner(h, keys);
        look(&runner).await;
        h.clock.advance(TimeDelta::hours(1));
        look(&runner).await;
        broken(h, true).await;
        work_off(&runner).await;
        assert_eq!(h.count("job_pauses").await, 0, "it is tried again");
        h.clock.advance(TimeDelta::seconds(1));
        work_off(&runner).await;
        broken(h, false).await;
        let pause = h.store.job_pauses().await.expect("pauses").remove(0);
        assert_eq!((pause.job_id.as_str(), pause.paused_by.as_str()), ("a-job", "system:a-job"));
        h.clock.advance(TimeDelta::hours(1));
        look(&runner).await;
        assert_eq!(told(h).await, ["10:00 failed schedule", "11:00 skipped schedule paused"]);
    }

    async fn a_run_that_was_lost_is_rescued_on_its_own_row_and_its_former_process_is_fenced(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let runner = runner(h, "retry = { max_attempts = 2, base = \"1h\", cap = \"1h\" }");
        look(&runner).await;
        h.clock.advance(TimeDelta::hours(1));
        look(&runner).await;
        let former = take_and_die(h, &runner, TimeDelta::seconds(-1)).await;
        look(&runner).await;
        assert_eq!(told(h).await, ["10:00 queued schedule"]);
        // At once: it is not the run's fault.
        let now = take_and_die(h, &runner, TimeDelta::minutes(5)).await;
        assert_eq!(now.run_id, former.run_id);
        let work = |lease| Work::by_run(payoutd::domain::Actor::job("a-job"), lease, CancellationToken::new());
        let late = h.engine.accrue(&work(former.clone()), &h.org, &[h.commission("c", "ana", 5)]).await;
        assert!(matches!(late, Err(EngineError::LeaseLost { .. })), "{late:?}");
        h.engine.accrue(&work(now.clone()), &h.org, &[h.commission("c", "ana", 5)]).await.expect("it holds the lease");
        assert_eq!(attempts(h, &former.run_id).await, [(1, "lost".to_owned())]);
        // Lost once more: that was the last attempt.
        h.change("UPDATE job_runs SET lease_until = created_at WHERE state = 'running'").await;
        look(&runner).await;
        let run = history(h, "a-job").await.remove(0);
        assert_eq!((run.state.as_str(), run.attempt), ("lost", 2));
    }

    async fn a_run_that_a_shutdown_stops_goes_on_in_another_process(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        for name in ["ana", "ben"] {
            h.earn(name, name, &[1_500]).await;
            h.ask(name, 1_500).await.expect("a payout");
        }
        h.arm("slow", json!({"delay_ms": 1_500})).await;
        let text = "kind = \"submit_transfers\"\nenabled = true\nschedule = \"@hourly\"";
        let engine = h.engine_with(vec![h.rail(json!({"batch_size": 1}))], EngineSettings::default());
        let (one, other) = (h.runner_of(engine.clone(), catalog("a-job", text)), h.runner_of(engine, catalog("a-job", text)));
        look(&one).await;
        h.clock.advance(TimeDelta::hours(1));
        look(&one).await;
        let run = one.queued().await.expect("runs").remove(0);
        let stop = CancellationToken::new();
        let stopping = async {
            while h.count("submissions WHERE state = 'sending'").await == 0 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        let (ran, ()) = tokio::join!(one.run_queued(&run, &stop), stopping);
        ran.expect("a run");
        let run = history(h, "a-job").await.remove(0);
        assert_eq!((run.state.as_str(), run.attempt), ("queued", 1), "the attempt is not counted");
        assert!(run.reason.expect("a reason").starts_with("shutdown: "));
        assert_eq!(h.count("payouts WHERE status = 'pending'").await, 1, "between two sends");
        work_off(&other).await;
        assert_eq!(states(h, "a-job").await, ["succeeded"]);
        assert_eq!(h.count("payouts WHERE status = 'pending'").await, 0);
        h.settle_all().await;
    }

    async fn a_run_that_does_not_stop_in_time_is_cut_off_and_given_back(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "a", &[1_500]).await;
        h.ask("ana", 1_500).await.expect("a payout");
        h.arm("slow", json!({"delay_ms": 20_000})).await;
        let text = "kind = \"submit_transfers\"\nenabled = true\nschedule = \"@hourly\"";
        let settings = EngineSettings { lease: TimeDelta::seconds(1), ..EngineSettings::default() };
        let engine = h.engine_with(vec![h.rail(json!({}))], settings);
        let runner = h.runner_of(engine, catalog("a-job", text));
        look(&runner).await;
        h.clock.advance(TimeDelta::hours(1));
        look(&runner).await;
        let run = runner.queued().await.expect("runs").remove(0);
        let stop = CancellationToken::new();
        let stopping = async {
            while h.count("submissions WHERE state = 'sending'").await == 0 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
            runner.abort();
        };
        let (ran, ()) = tokio::join!(runner.run_queued(&run, &stop), stopping);
        ran.expect("a run");
        assert_eq!(told(h).await, ["10:00 queued schedule shutdown"]);
        assert_eq!(h.count("submissions WHERE state = 'sending'").await, 1, "its lease says when it is asked about");
        h.change("UPDATE submissions SET lease_until = created_at WHERE state = 'sending'").await;
        h.settle_all().await;
    }

    async fn replicas_with_different_definitions_keep_their_own_watermarks_and_are_told_apart(h: &Harness) {
        let (hourly, other) = (runner(h, ""), runner(h, "schedule = \"0 30 * * * *\""));
        look(&hourly).await;
        look(&other).await;
        let drifts = hourly.standings().await.expect("standings").remove(0).drifts;
        assert!(drifts, "each holds another definition");
        h.clock.advance(TimeDelta::minutes(45));
        look(&other).await;
        h.clock.advance(TimeDelta::minutes(15));
        look(&hourly).await;
        look(&other).await;
        let instants: Vec<_> = history(h, "a-job").await.iter().filter_map(|run| run.scheduled_for).collect();
        assert_eq!(instants, [at("2026-03-02T09:30:00Z"), at("2026-03-02T10:00:00Z")]);
        other.leave().await.expect("a good-bye");
        assert!(!hourly.standings().await.expect("standings").remove(0).drifts);
    }

    async fn an_edited_job_starts_now_also_when_it_is_edited_back(h: &Harness) {
        look(&runner(h, "")).await;
        h.clock.advance(TimeDelta::hours(3));
        let edited = runner(h, "description = \"another\"");
        look(&edited).await;
        let is_run = "job_runs WHERE state <> 'skipped'";
        assert_eq!(h.count(is_run).await, 0, "no instant of the time before is run");
        assert_eq!(h.count("job_runs").await, 3, "and each is on record");
        h.clock.advance(TimeDelta::hours(3));
        look(&edited).await;
        assert_eq!(h.count(is_run).await, 1, "the latest of three");
        // The first one was held until ten minutes ago; now its file is back.
        let first = runner(h, "");
        let hash = first.catalog.job("a-job").expect("a job").hash.clone();
        let since = (h.store.database_now().await.expect("a clock") - TimeDelta::minutes(10)).to_rfc3339();
        h.change(&format!("UPDATE job_definitions SET held_until = '{since}' WHERE definition_hash = '{hash}'")).await;
        h.clock.advance(TimeDelta::hours(1));
        look(&first).await;
        assert_eq!(h.count(is_run).await, 1, "nothing of what the other one was there for");
        h.clock.advance(TimeDelta::hours(1));
        look(&first).await;
        let edited = h.count("job_runs WHERE reason LIKE 'edited%'").await;
        assert_eq!((edited, h.count("job_runs").await), (4, 8));
    }

    async fn missed_instants_are_made_up_for_once_when_somebody_asks(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let runner = down_for_three(h, "misfire = { policy = \"skip\" }").await;
        let work = h.work();
        let asked = span("2026-03-02T08:00:00Z", "2026-03-02T11:59:00Z", 10);
        let dry = Backfill { dry_run: true, ..asked.clone() };
        let said = runner.backfill((&work, None), "a-job", &dry).await.expect("a look");
        let outcomes = |said: &[payoutd::jobs::Backfilled]| said.iter().map(|one| one.outcome).collect::<Vec<_>>();
        assert_eq!(outcomes(&said), ["queued", "queued", "reopened", "reopened"]);
        assert_eq!(h.count("job_runs WHERE state = 'queued'").await, 0);
        let done = runner.backfill((&work, None), "a-job", &asked).await.expect("done");
        assert_eq!(outcomes(&done), outcomes(&said));
        let again = runner.backfill((&work, None), "a-job", &asked).await.expect("done");
        assert_eq!(outcomes(&again), ["left"; 4]);
        for _ in 0..4 {
            work_off(&runner).await;
        }
        let made = |hour: &str| format!("{hour}:00 succeeded backfill the");
        assert_eq!(told(h).await, [made("08"), made("09"), made("10"), made("11"), "12:00 skipped catchup misfire".to_owned()]);
        let again = runner.backfill((&work, None), "a-job", &asked).await.expect("done");
        assert_eq!(outcomes(&again), ["left"; 4]);
        assert_eq!(h.acts().await.iter().filter(|(act, _)| act == "job.backfilled").count(), 3);
    }

    async fn a_backfill_is_bounded_and_about_what_is_over(h: &Harness) {
        let runner = runner(h, "");
        let work = h.work();
        let refused = async |asked: Backfill| {
            let refused = runner.backfill((&work, None), "a-job", &asked).await;
            assert!(matches!(refused, Err(JobError::BadSpan(_))), "{refused:?}");
        };
        refused(span("2026-03-01T00:00:00Z", "2026-03-02T08:00:00Z", 10)).await;
        refused(span("2026-03-02T08:00:00Z", "2026-03-02T12:00:00Z", 10)).await;
        refused(span("2026-03-02T08:00:00Z", "2026-03-02T07:00:00Z", 10)).await;
        refused(span("2026-03-02T07:01:00Z", "2026-03-02T07:02:00Z", 10)).await;
        assert_eq!(h.count("job_runs").await, 0);
    }

    async fn a_backfill_holds_up_no_instant_of_the_schedule(h: &Harness) {
        let runner = runner(h, "");
        look(&runner).await;
        let asked = span("2026-03-02T01:00:00Z", "2026-03-02T08:00:00Z", 10);
        runner.backfill((&h.work(), None), "a-job", &asked).await.expect("done");
        h.clock.advance(TimeDelta::hours(1));
        look(&runner).await;
        let queued = runner.queued().await.expect("runs");
        assert_eq!((queued.len(), queued[0].trigger_kind.as_str(), queued[1].scheduled_for), (2, "schedule", Some(at("2026-03-02T01:00:00Z"))));
    }

    async fn a_run_that_somebody_cancels_writes_nothing_more_and_can_be_tried_again(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let runner = runner(h, "");
        look(&runner).await;
        h.clock.advance(TimeDelta::hours(1));
        look(&runner).await;
        let lease = take_and_die(h, &runner, TimeDelta::minutes(5)).await;
        let (work, run) = (h.work(), lease.run_id.clone());
        let early = runner.retry_run((&work, None), &run, None).await;
        assert!(matches!(early, Err(JobError::WrongState { .. })), "{early:?}");
        runner.cancel_run((&work, None), &run, Some("wrong day")).await.expect("cancelled");
        let by_run = Work::by_run(payoutd::domain::Actor::job("a-job"), lease, CancellationToken::new());
        let late = h.engine.accrue(&by_run, &h.org, &[h.commission("c", "ana", 5)]).await;
        assert!(matches!(late, Err(EngineError::LeaseLost { .. })), "{late:?}");
        let over = runner.cancel_run((&work, None), &run, None).await;
        assert!(matches!(over, Err(JobError::WrongState { .. })), "{over:?}");
        runner.retry_run((&work, None), &run, Some("the right day")).await.expect("queued");
        work_off(&runner).await;
        let row = history(h, "a-job").await.remove(0);
        assert_eq!((row.state.as_str(), row.attempt), ("succeeded", 2));
        assert_eq!(attempts(h, &run).await, [(1, "cancelled".to_owned())]);
        let acts: Vec<_> = h.acts().await.into_iter().map(|(act, _)| act).collect();
        assert!(acts.contains(&"run.cancelled".to_owned()) && acts.contains(&"run.retried".to_owned()), "{acts:?}");
    }

    async fn a_job_whose_look_fails_keeps_no_other_from_being_looked_at(h: &Harness) {
        let folder = tempfile::tempdir().expect("a folder");
        for job in ["a-first", "a-job"] {
            let text = "kind = \"release_holds\"\nenabled = true\nschedule = \"@hourly\"";
            std::fs::write(folder.path().join(format!("{job}.toml")), text).expect("written");
        }
        let jobs = payoutd::jobs::Catalog::load(Some(folder.path())).expect("jobs");
        let runner = h.runner_of(h.engine.clone(), jobs);
        look(&runner).await;
        assert!(runner.pulse.last().is_some());
        // Nothing can be put on record of the first one.
        let spoil = match h.store.database() {
            "postgres" => "ALTER TABLE job_definitions ADD CONSTRAINT stuck CHECK (job_id <> 'a-first' OR watermark < '2026-03-02T09:30:00Z')",
            _ => "CREATE TRIGGER stuck BEFORE UPDATE OF watermark ON job_definitions WHEN NEW.job_id = 'a-first' BEGIN SELECT RAISE(ABORT, 'stuck'); END",
        };
        h.database.execute(spoil).await.expect("spoilt");
        let before = runner.pulse.last();
        h.clock.advance(TimeDelta::hours(1));
        runner.tick().await.expect_err("the first one's look failed");
        assert_eq!(told(h).await, ["10:00 queued schedule"]);
        assert_eq!(h.count("job_runs").await, 1);
        assert_eq!(runner.pulse.last(), before, "a look that failed is no sign of health");
    }
}
