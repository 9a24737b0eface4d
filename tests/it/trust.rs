//! What must not become a payment by a detour, and what must not vanish: runs that waited while the
//! world went on, plans in other hands, clocks that were wrong.

use chrono::{DateTime, TimeDelta, Utc};
use payoutd::domain::{Actor, ApprovalRules, Scope};
use payoutd::engine::{AutoRequest, PersonRequest, Rules, Work};
use payoutd::jobs::Runner;
use payoutd::store::{NewRun, RunRow};
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, program, week_of};
use crate::runs::{catalog, history, work_off};

const JOB: &str = "payday";

/// A runner of one job that pays, Mondays at ten.
fn runner(h: &Harness, keys: &str) -> Runner {
    let head = "kind = \"request_payouts\"\nschedule = \"0 0 10 * * MON\"\n";
    let enabled = if keys.contains("enabled") { "" } else { "enabled = true\n" };
    h.runner_of(h.engine.clone(), catalog(JOB, &format!("{head}{enabled}{keys}")))
}

async fn owed(h: &Harness) {
    h.enrol(program("creator"), &["ana", "ben"]).await;
    h.earn("ana", "ana", &[5_000]).await;
    h.earn("ben", "ben", &[5_000]).await;
}

async fn look(runner: &Runner) {
    runner.tick().await.expect("a look");
}

/// The one run of an instant: its state, and the word of its reason.
async fn told(h: &Harness) -> Vec<(String, String)> {
    let word = |run: &RunRow| {
        let reason = run.reason.clone().unwrap_or_default();
        (run.state.clone(), reason.split(':').next().unwrap_or_default().to_owned())
    };
    history(h, JOB).await.iter().map(word).collect()
}

fn skipped(word: &str) -> Vec<(String, String)> {
    vec![("skipped".to_owned(), word.to_owned())]
}

/// The instant of this Monday falls due and is queued, and nobody runs it.
async fn queued_and_left(h: &Harness, keys: &str) {
    let before = runner(h, keys);
    look(&before).await;
    h.clock.advance(TimeDelta::minutes(60));
    look(&before).await;
    assert_eq!(before.queued().await.expect("runs").len(), 1);
}

on_both! {
    async fn a_queued_run_of_a_job_that_was_switched_off_pays_nobody(h: &Harness) {
        owed(h).await;
        queued_and_left(h, "").await;
        work_off(&runner(h, "enabled = false")).await;
        assert_eq!((told(h).await, h.count("payouts").await), (skipped("disabled"), 0));
    }

    async fn a_queued_run_that_nobody_ran_in_time_is_missed_as_one_that_nobody_queued(h: &Harness) {
        owed(h).await;
        let keys = "misfire = { policy = \"latest\", window = \"1h\" }";
        queued_and_left(h, keys).await;
        h.clock.advance(TimeDelta::minutes(61));
        work_off(&runner(h, keys)).await;
        assert_eq!((told(h).await, h.count("payouts").await), (skipped("misfire_window"), 0));
    }

    async fn a_queued_run_of_a_job_that_makes_up_for_nothing_is_not_run_late(h: &Harness) {
        owed(h).await;
        let keys = "misfire = { policy = \"skip\" }";
        queued_and_left(h, keys).await;
        h.clock.advance(TimeDelta::minutes(2));
        work_off(&runner(h, keys)).await;
        assert_eq!((told(h).await, h.count("payouts").await), (skipped("misfire"), 0));
    }

    async fn a_preview_that_is_tried_again_stays_one_and_pays_nobody(h: &Harness) {
        owed(h).await;
        let runner = runner(h, "announce = \"2d\"");
        look(&runner).await;
        let preview = runner.queued().await.expect("runs").remove(0);
        assert_eq!(preview.trigger_kind, "preview");
        runner.cancel_run((&h.work(), None), &preview.run_id, None).await.expect("cancelled");
        runner.retry_run((&h.work(), None), &preview.run_id, None).await.expect("queued");
        work_off(&runner).await;
        let run = h.store.run(&preview.run_id).await.expect("read").expect("a run");
        assert_eq!((run.trigger_kind.as_str(), run.state.as_str()), ("preview", "succeeded"));
        assert_eq!(h.count("payouts").await, 0);
    }

    async fn a_run_whose_plan_somebody_else_executed_pays_nobody(h: &Harness) {
        owed(h).await;
        let runner = runner(h, "");
        let job = runner.catalog.job(JOB).expect("a job");
        let plan = runner.make_plan(&h.work(), job, None).await.expect("made").expect("a plan");
        let hash = plan.plan_hash.as_str();
        let waits = runner.queue_now(&h.work(), None, (JOB, Some(hash))).await.expect("queued");
        runner.cancel_run((&h.work(), None), &waits, None).await.expect("cancelled");
        let ready = runner.ready_plan(job, hash, 20).await.expect("free again");
        let (actor, stop) = (Actor::operator("ben"), CancellationToken::new());
        let run = runner.run_plan(JOB, &actor, &ready, &stop).await.expect("a run");
        assert_eq!((run.state.as_str(), run.acted), ("succeeded", 2));
        h.earn("ana", "more", &[70_000]).await;
        h.clock.advance(TimeDelta::weeks(1));
        runner.retry_run((&h.work(), None), &waits, None).await.expect("queued");
        work_off(&runner).await;
        let run = h.store.run(&waits).await.expect("read").expect("a run");
        assert_eq!(run.error_code.as_deref(), Some("plan_executed"), "{run:?}");
        assert_eq!(h.count("payouts").await, 2);
        h.settle_all().await;
    }

    async fn a_run_whose_plan_grew_stale_while_it_waited_pays_nobody(h: &Harness) {
        owed(h).await;
        let runner = runner(h, "");
        let job = runner.catalog.job(JOB).expect("a job");
        let plan = runner.make_plan(&h.work(), job, None).await.expect("made").expect("a plan");
        let asked = (JOB, Some(plan.plan_hash.as_str()));
        let waits = runner.queue_now(&h.work(), None, asked).await.expect("queued");
        h.earn("ana", "more", &[1]).await;
        work_off(&runner).await;
        let run = h.store.run(&waits).await.expect("read").expect("a run");
        assert_eq!(run.error_code.as_deref(), Some("stale_plan"), "{run:?}");
        assert!(run.error_message.expect("words").contains("ana"));
        assert_eq!(h.count("payouts").await, 0);
    }

    async fn a_payout_that_takes_the_place_of_one_nobody_approved_waits_as_it_did(h: &Harness) {
        owed(h).await;
        let periods = week_of("2026-W10");
        let approval = ApprovalRules { first_payout: true, ..ApprovalRules::default() };
        let rules = Rules { approval, ..Rules::unlimited(JOB, periods, Scope::default()) };
        let request = AutoRequest { run_id: h.clock.mint(), rules, plan: None, page: 10 };
        h.engine.request_automatic(&h.work(), &h.org, &request).await.expect("a run");
        let first = h.payouts().await.remove(0);
        h.engine.cancel(&h.work(), &h.org, &first.payout_id, "by detour").await.expect("cancelled");
        let again = PersonRequest {
            wallet: h.wallet_key(first.affiliate_id.as_str()),
            amount_minor: first.amount_minor,
            retry_of: Some(first.payout_id.clone()),
        };
        let again = h.engine.request(&h.work(), &h.org, &again).await.expect("a payout");
        assert_eq!(h.payout(&again).await.approval_reasons(), ["first_payout"]);
        h.submit().await;
        assert_eq!(h.count("transfers").await, 0, "nobody approved it");
        let ben = Work::by_person(Actor::operator("ben"));
        for payout in h.payouts().await.iter().filter(|payout| payout.status.is_open()) {
            h.engine.approve(&ben, &h.org, &payout.payout_id, "").await.expect("an approval");
        }
        h.settle_all().await;
    }

    async fn a_look_by_a_clock_that_was_ahead_does_not_stop_a_schedule(h: &Harness) {
        owed(h).await;
        let runner = runner(h, "");
        look(&runner).await;
        h.change("UPDATE job_definitions SET watermark = '2027-06-01T00:00:00.000Z'").await;
        look(&runner).await;
        h.clock.advance(TimeDelta::minutes(60));
        look(&runner).await;
        work_off(&runner).await;
        assert_eq!(told(h).await, [("succeeded".to_owned(), String::new())]);
        h.settle_all().await;
    }

    async fn what_fell_due_while_a_job_was_edited_is_on_record(h: &Harness) {
        owed(h).await;
        look(&runner(h, "")).await;
        h.clock.advance(TimeDelta::minutes(61));
        let edited = runner(h, "timeout = \"1h\"");
        look(&edited).await;
        work_off(&edited).await;
        assert_eq!((told(h).await, h.count("payouts").await), (skipped("edited"), 0));
    }

    async fn runs_that_paid_are_kept_as_long_as_their_payouts(h: &Harness) {
        let run = |kind: &'static str| NewRun {
            run_id: h.clock.mint(),
            job_id: kind.to_owned(),
            kind,
            trigger_kind: "manual",
            scheduled_for: None,
            skipped: None,
            not_before: None,
            max_attempts: 1,
            requested_by: "cli:ana".to_owned(),
            reason: None,
            definition_hash: "x".to_owned(),
            plan_hash: None,
        };
        let runs = [run("request_payouts"), run("release_holds")];
        let mut tx = h.store.begin().await.expect("a transaction");
        tx.runs_insert(&runs, h.clock.now()).await.expect("inserted");
        tx.commit().await.expect("a commit");
        h.change("UPDATE job_runs SET state = 'succeeded', acted = 3, finished_at = created_at").await;
        let later: DateTime<Utc> = h.clock.now() + TimeDelta::days(1);
        let mut tx = h.store.begin().await.expect("a transaction");
        assert_eq!(tx.runs_prune(later, 100).await.expect("pruned"), 1);
        tx.commit().await.expect("a commit");
        assert_eq!(h.count("job_runs WHERE kind = 'request_payouts'").await, 1);
    }
}
