//! Plans: what a dry run wrote down is what is done, or nothing is.

use chrono::TimeDelta;
use payoutd::domain::{Actor, AffiliateStatus, Gate, Limits, MethodStatus, RunId};
use payoutd::engine::{AutoRequest, EngineError, PlanError, Rules, Work};
use payoutd::jobs::{Catalog, Runner};
use payoutd::store::{PlanRow, RunRow};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::{Api, Harness, affiliate, program};

const JOB: &str = "auto-payout";

fn runner(h: &Harness) -> Runner {
    h.runner()
}

async fn plan(h: &Harness) -> PlanRow {
    let runner = runner(h);
    let job = runner.catalog.job(JOB).expect("a job");
    runner.make_plan(&h.work(), job, None).await.expect("a plan").expect("a job that has plans")
}

async fn ready(h: &Harness, hash: &str) -> Result<PlanRow, EngineError> {
    let runner = runner(h);
    let job = runner.catalog.job(JOB).expect("a job");
    runner.ready_plan(job, hash, 20).await
}

async fn execute(h: &Harness, plan: &PlanRow) -> RunRow {
    let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
    runner(h).run_plan(JOB, &actor, plan, &stop).await.expect("a run")
}

/// What differs, as words: `ana amount`.
async fn stale(h: &Harness, plan: &PlanRow) -> Vec<String> {
    match ready(h, &plan.plan_hash).await {
        Err(EngineError::Plan(PlanError::Stale { differences, .. })) => {
            let word = |one: &payoutd::domain::LineDifference| {
                format!("{} {}", one.affiliate_id, one.what)
            };
            differences.lines.iter().map(word).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The payouts that a plan names, and those of a run: (affiliate, amount, rail, destination, period).
type Line = (String, i64, String, String, Option<String>);

async fn planned(h: &Harness, plan: &PlanRow) -> Vec<Line> {
    let lines = h.store.plan_lines(&h.org, &plan.plan_id, ("", ""), "paid", 10_000).await;
    let line = |line: payoutd::domain::PlanLine| {
        let pays = line.pays.expect("paid");
        let (rail, to) = (pays.method_kind.to_string(), pays.destination_id.to_string());
        (line.affiliate_id.to_string(), pays.amount_minor, rail, to, Some(line.period))
    };
    let mut lines: Vec<_> = lines.expect("lines").into_iter().map(line).collect();
    lines.sort();
    lines
}

async fn paid(h: &Harness, run: &RunId) -> Vec<Line> {
    let mut lines: Vec<Line> = h
        .database
        .rows(&format!(
            "SELECT affiliate_id, amount_minor, method_kind, destination_id, period FROM payouts
             WHERE run_id = '{run}'"
        ))
        .await;
    lines.sort();
    lines
}

/// Affiliates who fail each gate beside some who pass, as a number says.
async fn mixed(h: &Harness, count: i64, seed: i64) {
    h.enrol_program(program("creator")).await;
    let name = |i: i64| format!("aff-{i:04}");
    let people: Vec<_> = (0..count)
        .map(|i| {
            let mut one = affiliate(&name(i), "creator");
            match (i * 7 + seed) % 6 {
                0 => one.status = AffiliateStatus::Suspended,
                1 => one.method = None,
                2 => one.method.as_mut().expect("there").status = MethodStatus::Pending,
                _ => {}
            }
            one
        })
        .collect();
    h.enrol_affiliates(&people).await;
    let earned: Vec<_> = (0..count)
        .map(|i| h.commission(&format!("c-{i}"), &name(i), 400 + (i * 131 + seed * 977) % 3_000))
        .collect();
    h.accrue(&earned).await;
}

on_both! {
    async fn what_a_plan_says_is_what_its_run_does_one_to_one(h: &Harness) {
        mixed(h, 300, 1).await;
        let plan = plan(h).await;
        assert_eq!(h.count("payouts").await, 0, "a dry run asks for nothing");
        let lines = planned(h, &plan).await;
        assert!((50..250).contains(&lines.len()), "{}", lines.len());
        let ready = ready(h, &plan.plan_hash[..12]).await.expect("nothing changed");
        let run = execute(h, &ready).await;
        assert_eq!(run.state, "succeeded");
        assert_eq!(paid(h, &run.run_id).await, lines);
        assert_eq!(h.count("decisions").await, h.count("plan_lines").await);
        h.settle_all().await;
    }

    async fn a_plan_is_executed_once_and_the_second_is_told_by_which_run(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[5_000]).await;
        let plan = plan(h).await;
        let run = execute(h, &plan).await;
        match ready(h, &plan.plan_hash).await {
            Err(EngineError::Plan(PlanError::Executed { run_id, .. })) => assert_eq!(run_id, run.run_id),
            other => panic!("{other:?}"),
        }
        let (actor, stop) = (Actor::operator("ben"), CancellationToken::new());
        let again = runner(h).run_plan(JOB, &actor, &plan, &stop).await;
        assert!(again.is_err(), "{again:?}");
        assert_eq!(h.payouts().await.len(), 1);
        h.settle_all().await;
    }

    async fn the_same_plan_made_twice_is_one_plan(h: &Harness) {
        mixed(h, 20, 2).await;
        let first = plan(h).await;
        h.clock.advance(TimeDelta::minutes(5));
        let second = plan(h).await;
        assert_eq!((&first.plan_id, &first.plan_hash), (&second.plan_id, &second.plan_hash));
        assert!(second.made_at > first.made_at);
        assert_eq!(h.count("plans").await, 1);
        let of_it = format!("plan_lines WHERE plan_id = '{}'", first.plan_id);
        assert_eq!(h.count("plan_lines").await, h.count(&of_it).await, "no draft stays behind");
    }

    async fn a_world_that_changed_refuses_the_plan_and_says_how(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben", "cid", "dot", "eve"]).await;
        for name in ["ana", "ben", "cid", "dot"] {
            h.earn(name, name, &[5_000]).await;
        }
        h.earn("eve", "eve", &[10]).await;
        let plan = plan(h).await;
        h.earn("eve", "crumb", &[10]).await;
        ready(h, &plan.plan_hash).await.expect("who is not paid may earn");
        h.earn("ana", "more", &[1]).await;
        h.change("UPDATE affiliates SET status = 'suspended' WHERE affiliate_id = 'ben'").await;
        h.change("UPDATE wallets SET status = 'frozen' WHERE affiliate_id = 'eve'").await;
        h.change("UPDATE program_currencies SET approval_minor = 5000").await;
        h.enrol_affiliates(&[affiliate("new", "creator")]).await;
        h.earn("new", "new", &[2_000]).await;
        let expected = ["ana amount", "ana approval", "ben paid", "ben gates", "eve gates", "new wallet"];
        assert_eq!(stale(h, &plan).await, expected);
        assert_eq!(h.payouts().await.len(), 0);
        assert_eq!(h.count("job_runs").await, 0, "nothing was done");
    }

    async fn a_plan_of_another_period_is_stale_and_an_old_one_is_refused(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[5_000]).await;
        let plan = plan(h).await;
        h.clock.advance(TimeDelta::days(7));
        assert_eq!(stale(h, &plan).await, ["ana period"]);
        h.clock.advance(TimeDelta::milliseconds(1));
        let old = ready(h, &plan.plan_hash).await;
        assert!(matches!(old, Err(EngineError::Plan(PlanError::TooOld { .. }))), "{old:?}");
    }

    async fn a_job_that_was_edited_has_another_plan(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[5_000]).await;
        let plan = plan(h).await;
        let dir = tempfile::tempdir().expect("a folder");
        let text = "kind = \"request_payouts\"\nenabled = false\nschedule = \"@weekly\"";
        std::fs::write(dir.path().join("auto-payout.toml"), text).expect("written");
        let catalog = Catalog::load(Some(dir.path())).expect("a job");
        let edited = h.runner_of(h.engine.clone(), catalog);
        let job = edited.catalog.job(JOB).expect("a job");
        let refused = edited.ready_plan(job, &plan.plan_hash, 20).await;
        let Err(EngineError::Plan(PlanError::Stale { differences, .. })) = refused else {
            panic!("{refused:?}")
        };
        assert!(differences.definition.is_some());
        assert_eq!(differences.count, 0);
    }

    async fn what_changes_between_the_look_and_the_lock_is_passed_over_and_nobody_else_is_paid(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben", "cid", "eve"]).await;
        for name in ["ana", "ben", "cid"] {
            h.earn(name, name, &[5_000]).await;
        }
        let plan = ready(h, &plan(h).await.plan_hash).await.expect("ready");
        h.earn("ana", "more", &[1]).await;
        h.earn("eve", "eve", &[9_000]).await;
        h.ask("cid", 5_000).await.expect("a payout that empties the wallet");
        // As a run that looked before all that: it looks at the whole once, when it begins.
        let runner = runner(h);
        let job = runner.catalog.job(JOB).expect("a job");
        let ask = runner.plan_ask(job, h.clock.now(), &Actor::operator("ana")).expect("plans");
        let (run_id, plan): (RunId, _) = (h.clock.mint(), Some(plan.plan_id.clone()));
        let request = AutoRequest { run_id: run_id.clone(), rules: ask.rules, plan, page: 10 };
        let tally = h.engine.request_automatic(&h.work(), &h.org, &request).await.expect("a run");
        assert_eq!(tally.skipped["plan_changed"].count, 3, "{tally:?}");
        let paid: Vec<_> = paid(h, &run_id).await.into_iter().map(|line| line.0).collect();
        assert_eq!(paid, ["ben"]);
        for name in ["ana", "cid", "eve"] {
            let about = name.parse().expect("an id");
            let decision = h.store.decisions_of(&h.org, &about, 1).await.expect("read").remove(0);
            assert_eq!(decision.first_gate, Some(Gate::PlanChanged), "{name}");
        }
        h.settle_all().await;
    }

    async fn worlds_of_all_kinds_are_paid_as_planned(h: &Harness) {
        mixed(h, 40, 3).await;
        for round in 0..6_i64 {
            for i in (0..40).filter(|i| (i * 5 + round) % 3 == 0) {
                h.earn(&format!("aff-{i:04}"), &format!("r{round}-{i}"), &[(i * 311 + round * 97) % 2_500 + 1]).await;
            }
            let plan = plan(h).await;
            let lines = planned(h, &plan).await;
            let run = execute(h, &ready(h, &plan.plan_hash).await.expect("ready")).await;
            assert_eq!(paid(h, &run.run_id).await, lines, "round {round}");
            h.clock.advance(TimeDelta::days(3));
        }
        h.settle_all().await;
    }

    async fn over_http_a_plan_is_made_looked_at_and_executed_once(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        mixed(h, 12, 4).await;
        let made = api.post(&staff, "/jobs/auto-payout/plan", json!({})).await;
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        let hash = made["plan"].as_str().expect("a hash");
        let pays = made["pays"]["count"].as_i64().expect("a count");
        let page = api.get(&staff, &format!("/plans/{}?which=paid&limit=1", &hash[..8])).await.ok();
        assert!(page["nextCursor"].is_string() && page["data"][0]["amount"].is_number(), "{page}");
        let skipped = api.get(&staff, &format!("/plans/{hash}?which=skipped")).await.ok();
        assert!(skipped["data"].as_array().expect("rows").iter().all(|row| row["amount"].is_null()));
        let queued = api.post(&staff, "/jobs/auto-payout/run", json!({ "plan": hash })).await;
        assert_eq!(queued.status, 202, "{queued:?}");
        let again = api.post(&staff, "/jobs/auto-payout/run", json!({ "plan": hash })).await;
        assert_eq!((again.status, again.code().as_str()), (409, "plan_executed"));
        let (runner, stop) = (runner(h), CancellationToken::new());
        for run in runner.queued().await.expect("runs") {
            runner.run_queued(&run, &stop).await.expect("a run");
        }
        assert_eq!(h.count("payouts").await, pays);
        h.earn("aff-0003", "more", &[5_000]).await;
        let made = api.post(&staff, "/jobs/auto-payout/plan", json!({})).await.json();
        h.change("UPDATE wallets SET status = 'frozen'").await;
        let run = json!({ "plan": made["plan"] });
        let stale = api.post(&staff, "/jobs/auto-payout/run", run).await;
        assert_eq!((stale.status, stale.code().as_str()), (409, "stale_plan"));
        assert!(stale.json()["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{stale:?}");
        let other = "0123456789";
        assert_eq!(api.get(&staff, &format!("/plans/{other}")).await.status, 404);
        h.change("UPDATE wallets SET status = 'active'").await;
        h.settle_all().await;
    }

    async fn a_run_that_is_tried_again_keeps_within_its_limits(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben", "cid"]).await;
        for name in ["ana", "ben", "cid"] {
            h.earn(name, name, &[5_000]).await;
        }
        let runner = runner(h);
        let job = runner.catalog.job(JOB).expect("a job");
        let ask = runner.plan_ask(job, h.clock.now(), &Actor::operator("ana")).expect("plans");
        let limits = Limits { payouts_per_run: Some(2), ..Limits::default() };
        let rules = Rules { limits, ..ask.rules };
        let request = AutoRequest { run_id: h.clock.mint(), rules, plan: None, page: 10 };
        let first = h.engine.request_automatic(&h.work(), &h.org, &request).await.expect("a run");
        assert_eq!((first.acted, first.skipped["run_limit_reached"].count), (2, 1));
        // As if the process had died before the decision about the third one.
        h.change("DELETE FROM decisions WHERE affiliate_id = 'cid'").await;
        let again = h.engine.request_automatic(&h.work(), &h.org, &request).await.expect("a run");
        let counts = (again.acted, again.skipped["run_limit_reached"].count, h.payouts().await.len());
        assert_eq!(counts, (2, 1, 2), "it counts as a whole, and asks for nothing more");
        h.settle_all().await;
    }

    async fn a_run_that_is_tried_again_goes_on_with_its_plan(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        h.earn("ana", "ana", &[5_000]).await;
        h.earn("ben", "ben", &[5_000]).await;
        let plan = plan(h).await;
        let runner = runner(h);
        let job = runner.catalog.job(JOB).expect("a job");
        let ask = runner.plan_ask(job, h.clock.now(), &Actor::operator("ana")).expect("plans");
        let request = AutoRequest {
            run_id: h.clock.mint(), rules: ask.rules, plan: Some(plan.plan_id.clone()), page: 1,
        };
        let stop = CancellationToken::new();
        let work = Work { stop: stop.clone(), ..h.work() };
        let (first, ()) = tokio::join!(h.engine.request_automatic(&work, &h.org, &request), async {
            stop.cancel();
        });
        first.expect("a page or none");
        let again = h.engine.request_automatic(&h.work(), &h.org, &request).await.expect("the rest");
        assert_eq!(again.acted, 2, "it counts as a whole");
        assert!(again.skipped.is_empty(), "{again:?}");
        let twice = h.engine.request_automatic(&h.work(), &h.org, &request).await.expect("nothing");
        assert_eq!((twice.seen, h.payouts().await.len()), (2, 2));
        h.settle_all().await;
    }
}
