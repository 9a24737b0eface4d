//! Periods, and what jobs that pay look at: who is paid once in which, what is told before, and what
//! is expected of the next run.

use chrono::TimeDelta;
use payoutd::domain::{Actor, NewProgram, ProgramId, Wants};
use payoutd::engine::{ProgramChange, Reach};
use payoutd::jobs::{Backfill, Catalog, Runner};
use payoutd::notify::{By, NewEndpoint};
use payoutd::store::RunRow;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, program};

/// A job that pays, with its schedule and what else its file says.
fn payer(h: &Harness, more: &str) -> Runner {
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!("kind = \"request_payouts\"\nenabled = true\n{more}");
    std::fs::write(dir.path().join("pays.toml"), text).expect("written");
    h.runner_of(h.engine.clone(), Catalog::load(Some(dir.path())).expect("a job"))
}

async fn run(runner: &Runner) -> RunRow {
    let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
    let run = runner.run_now("pays", &actor, Reach::Due, &stop).await.expect("a run");
    assert_eq!(run.state, "succeeded", "{run:?}");
    run
}

/// Looks at the schedules, and works off what is queued.
async fn look(runner: &Runner) {
    runner.tick().await.expect("a look");
    for run in runner.queued().await.expect("runs") {
        runner.run_queued(&run, &CancellationToken::new()).await.expect("a run");
    }
}

async fn zoned(h: &Harness, id: &str, zone: &str) {
    let id: ProgramId = id.parse().expect("an id");
    let timezone = Some(Some(zone.to_owned()));
    let change = ProgramChange { timezone, ..ProgramChange::default() };
    h.engine.change_program(&h.work(), &h.org, &id, &change).await.expect("a change");
}

/// Each automatic payout: affiliate, period and its interval.
async fn periods(h: &Harness) -> Vec<(String, String, String)> {
    let mut rows: Vec<_> = h
        .payouts()
        .await
        .into_iter()
        .map(|row| {
            let until = |at: Option<chrono::DateTime<chrono::Utc>>| {
                at.expect("an interval").format("%m-%dT%H:%M").to_string()
            };
            let span = format!("{} to {}", until(row.period_from), until(row.period_until));
            (row.affiliate_id.to_string(), row.period.expect("a period"), span)
        })
        .collect();
    rows.sort();
    rows
}

async fn states(h: &Harness, trigger: &str) -> Vec<String> {
    let mut runs = h.store.runs_history("pays", "", 100).await.expect("runs");
    runs.retain(|run| run.trigger_kind == trigger);
    runs.into_iter().map(|run| run.state).collect()
}

const DAILY: &str = "schedule = \"0 0 8 * * *\"\n[params]\nperiod = \"day\"";
const WEEKLY: &str = "schedule = \"0 0 9 * * MON\"\ntimezone = \"UTC\"";

on_both! {
    async fn around_midnight_each_program_is_in_its_own_day(h: &Harness) {
        for (id, zone, who) in [("berlin", "Europe/Berlin", "ana"), ("york", "America/New_York", "ben")] {
            h.enrol(program(id), &[who]).await;
            zoned(h, id, zone).await;
            h.earn(who, who, &[5_000]).await;
        }
        let runner = payer(h, DAILY);
        // 2026-03-02T23:30Z is half past midnight in Berlin, and half past six in New York.
        h.clock.advance(TimeDelta::minutes(14 * 60 + 30));
        run(&runner).await;
        let expected = [
            ("ana".to_owned(), "2026-03-03".to_owned(), "03-02T23:00 to 03-03T23:00".to_owned()),
            ("ben".to_owned(), "2026-03-02".to_owned(), "03-02T05:00 to 03-03T05:00".to_owned()),
        ];
        assert_eq!(periods(h).await, expected);
        h.clock.advance(TimeDelta::minutes(5 * 60 + 30));
        for who in ["ana", "ben"] {
            h.earn(who, &format!("{who}-2"), &[5_000]).await;
        }
        // Now it is past midnight in New York too.
        let again = run(&runner).await;
        assert_eq!((again.acted, again.skipped), (1, 1));
        assert_eq!(periods(h).await[1].1, "2026-03-02");
        assert_eq!(periods(h).await[2].1, "2026-03-03");
        h.settle_all().await;
    }

    async fn a_zone_that_was_changed_pays_nobody_a_second_time(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "one", &[5_000]).await;
        // 2026-03-02T03:00Z: Monday in UTC, still Sunday in New York.
        h.clock.advance(TimeDelta::hours(-6));
        assert_eq!(run(&payer(h, WEEKLY)).await.acted, 1);
        h.earn("ana", "two", &[5_000]).await;
        let west = WEEKLY.replace("UTC", "America/New_York");
        assert_eq!(run(&payer(h, &west)).await.acted, 0, "the job's zone");
        zoned(h, "creator", "America/Los_Angeles").await;
        assert_eq!(run(&payer(h, WEEKLY)).await.acted, 0, "the program's zone");
        h.clock.advance(TimeDelta::days(7));
        assert_eq!(run(&payer(h, WEEKLY)).await.acted, 0, "in Los Angeles it is still Sunday");
        h.clock.advance(TimeDelta::hours(10));
        assert_eq!(run(&payer(h, WEEKLY)).await.acted, 1);
        h.settle_all().await;
    }

    async fn run_now_a_due_instant_and_a_plan_pay_a_period_once_between_them(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let runner = payer(h, WEEKLY);
        look(&runner).await;
        h.clock.advance(TimeDelta::days(7));
        h.earn("ana", "one", &[5_000]).await;
        look(&runner).await;
        assert_eq!(states(h, "schedule").await, ["succeeded"]);
        h.earn("ana", "two", &[5_000]).await;
        assert_eq!(run(&runner).await.acted, 0);
        let job = runner.catalog.job("pays").expect("a job");
        let plan = runner.make_plan(&h.work(), job, None).await.expect("a plan").expect("a plan");
        let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
        let planned = runner.run_plan("pays", &actor, &plan, &stop).await.expect("a run");
        assert_eq!((planned.state.as_str(), planned.acted), ("succeeded", 0));
        let other = payer(h, WEEKLY);
        look(&other).await;
        assert_eq!(h.payouts().await.len(), 1);
        h.settle_all().await;
    }

    async fn an_older_instant_that_is_made_up_for_pays_its_own_period_once(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let runner = payer(h, WEEKLY);
        look(&runner).await;
        h.clock.advance(TimeDelta::days(7));
        h.earn("ana", "one", &[5_000]).await;
        look(&runner).await;
        h.earn("ana", "two", &[5_000]).await;
        h.clock.advance(TimeDelta::minutes(1));
        let at = |text: &str| text.parse().expect("an instant");
        let (from, upto) = (at("2026-02-16T09:00:00Z"), at("2026-02-23T09:00:00Z"));
        let asked = Backfill { from, upto, max: 10, reason: None, dry_run: false };
        for _ in 0..2 {
            runner.backfill((&h.work(), None), "pays", &asked).await.expect("queued");
            look(&runner).await;
            look(&runner).await;
        }
        assert_eq!(states(h, "backfill").await, ["succeeded", "succeeded"]);
        let weeks: Vec<_> = periods(h).await.into_iter().map(|row| row.1).collect();
        assert_eq!(weeks, ["2026-W08", "2026-W11"], "the second of them found nothing left");
        h.settle_all().await;
    }

    async fn who_reaches_the_minimum_is_paid_at_once_and_once_a_day_and_nobody_else_is_looked_at(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben", "cid"]).await;
        let runner = payer(h, "schedule = \"0 */5 * * * *\"\n[params]\nreached_only = true");
        h.earn("ana", "ana", &[1_000]).await;
        h.earn("ben", "ben", &[999]).await;
        let first = run(&runner).await;
        assert_eq!((first.seen, first.acted), (1, 1));
        assert_eq!(h.count("decisions").await, 1, "who is below the minimum leaves no row");
        h.earn("ana", "more", &[5_000]).await;
        h.earn("ben", "cent", &[1]).await;
        h.clock.advance(TimeDelta::minutes(5));
        let second = run(&runner).await;
        assert_eq!((second.seen, second.acted), (1, 1), "ana was paid today, ben was not");
        h.clock.advance(TimeDelta::minutes(5));
        assert_eq!(run(&runner).await.seen, 0);
        h.clock.advance(TimeDelta::days(1));
        assert_eq!(run(&runner).await.acted, 1);
        let days: Vec<_> = periods(h).await.into_iter().map(|row| row.1).collect();
        assert_eq!(days, ["2026-03-02", "2026-03-03", "2026-03-02"]);
        h.settle_all().await;
    }

    async fn what_a_run_will_do_is_told_once_before_it_and_is_no_payment(h: &Harness) {
        let wants: Wants = "run.announced".parse().expect("a kind");
        let by = By { actor: Actor::operator("ana"), request_id: None };
        let (url, description) = ("http://127.0.0.1:9443/hook".to_owned(), "a test".to_owned());
        let new = NewEndpoint { url, description, wants };
        h.notifier().add(&by, &h.org, &new).await.expect("an endpoint");
        h.enrol(program("creator"), &["ana", "ben"]).await;
        h.earn("ana", "ana", &[5_000]).await;
        h.earn("ben", "ben", &[10]).await;
        let runner = payer(h, "schedule = \"0 0 9 * * WED\"\nannounce = \"24h\"");
        look(&runner).await;
        assert_eq!(h.count("plans").await, 0, "it is two days ahead");
        h.clock.advance(TimeDelta::days(1));
        for _ in 0..2 {
            look(&runner).await;
            assert_eq!(states(h, "preview").await, ["succeeded"]);
        }
        assert_eq!(h.payouts().await.len(), 0);
        let told: Vec<(String,)> =
            h.database.rows("SELECT body FROM webhook_events WHERE kind = 'run.announced'").await;
        let [told] = told.as_slice() else { panic!("{told:?}") };
        let told: serde_json::Value = serde_json::from_str(&told.0).expect("JSON");
        assert_eq!(told["data"]["jobId"], "pays");
        assert_eq!(told["data"]["scheduledFor"], "2026-03-04T09:00:00.000Z");
        assert_eq!(told["data"]["wouldPay"]["count"], 1);
        assert_eq!(told["data"]["wouldSkip"]["below_minimum"]["count"], 1);
        let hash = told["data"]["planHash"].as_str().expect("a hash");
        let plan = h.store.plan(hash).await.expect("a read").expect("the plan");
        assert_eq!(plan.planned_for.to_rfc3339(), "2026-03-04T09:00:00+00:00");
        h.clock.advance(TimeDelta::days(1));
        look(&runner).await;
        assert_eq!(states(h, "schedule").await, ["succeeded"]);
        assert_eq!(h.payouts().await.len(), 1);
        h.settle_all().await;
    }

    async fn an_explanation_is_about_the_next_run(h: &Harness) {
        h.enrol(NewProgram { hold_days: 1, ..program("creator") }, &["ana"]).await;
        h.earn("ana", "one", &[600]).await;
        h.clock.advance(TimeDelta::days(1));
        h.job("release-holds").await;
        h.earn("ana", "two", &[700]).await;
        let runner = payer(h, WEEKLY);
        let ana = "ana".parse().expect("an id");
        let (outlook, told) = runner.explain(&h.org, &ana).await.expect("an explanation");
        let outlook = outlook.expect("a job");
        assert_eq!(outlook.next_due.expect("due").to_rfc3339(), "2026-03-09T09:00:00+00:00");
        assert_eq!(told.as_of, outlook.next_due.expect("due"));
        let wallet = &told.wallets[0];
        let minors = [wallet.available, wallet.released_by_then, wallet.expected].map(|money| money.minor);
        assert_eq!(minors, [600, 700, 1_300]);
        assert!(wallet.would_be_paid(), "{wallet:?}");
        assert_eq!(wallet.period.as_deref(), Some("2026-W11"));
        // Whoever was paid this week is paid next week all the same.
        h.ask("ana", 600).await.expect_err("below the minimum");
        let mut tx = h.store.begin().await.expect("a transaction");
        tx.job_pause("pays", (&Actor::operator("ana"), "a look first"), h.clock.now()).await.expect("paused");
        tx.commit().await.expect("a commit");
        let (outlook, _) = runner.explain(&h.org, &ana).await.expect("an explanation");
        let outlook = outlook.expect("a job");
        assert_eq!(outlook.next_due, None);
        assert!(outlook.why_none.expect("why").contains("a look first"));
    }
}
