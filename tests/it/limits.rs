//! What a job and a program may spend, what waits for a person, and what stops a run.

use chrono::TimeDelta;
use payoutd::domain::{
    Actor, ApprovalReason, ApprovalRules, Breaker, Currency, Limits, Money, PayoutId,
    ProgramLimits, RunId, Scope, Wants,
};
use payoutd::engine::{AutoRequest, EngineError, Reach, Rules, Tally};
use payoutd::jobs::{Catalog, Runner};
use payoutd::notify::{By, NewEndpoint};
use payoutd::store::RunRow;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, Receiver, affiliate, program, usd, week_of};

fn rules(job_id: &str, week: &str) -> Rules {
    Rules::unlimited(job_id, week_of(week), Scope::default())
}

async fn run_by(h: &Harness, rules: Rules, page: i64) -> (RunId, Tally) {
    let run_id: RunId = h.clock.mint();
    let request = AutoRequest { run_id: run_id.clone(), rules, plan: None, page };
    let tally = h.engine.request_automatic(&h.work(), &h.org, &request).await;
    (run_id, tally.expect("a run that ends"))
}

fn amounts(minor: i64) -> payoutd::domain::Caps {
    [usd(minor)].into_iter().collect()
}

/// Says what the program `creator` may spend.
async fn limit(h: &Harness, limits: Limits) {
    let new = ProgramLimits { limits, ..ProgramLimits::default() };
    set(h, &new).await.expect("limits");
}

async fn set(h: &Harness, new: &ProgramLimits) -> Result<(), EngineError> {
    let creator = "creator".parse().expect("an id");
    h.engine.limit_program(&h.work(), &h.org, &creator, new).await
}

/// Affiliates of `creator` who have earned so many US cents each, in alphabetical order.
async fn earners(h: &Harness, earned: &[(&str, i64)]) {
    let names: Vec<&str> = earned.iter().map(|(name, _)| *name).collect();
    h.enrol(program("creator"), &names).await;
    for (name, minor) in earned {
        h.earn(name, name, &[*minor]).await;
    }
}

async fn paid(h: &Harness) -> Vec<String> {
    h.outcomes().await.into_iter().map(|(name, _)| name).collect()
}

/// Who was skipped under which gate, in a run.
async fn skipped(h: &Harness, run: &RunId) -> Vec<(String, String)> {
    let rows = h.store.decisions_page(&h.org, run, ("", ""), "", 100).await.expect("decisions");
    let skipped = rows.into_iter().filter(|row| row.payout_id.is_none());
    let name = |gate: Option<payoutd::domain::Gate>| gate.expect("a gate").to_string();
    skipped.map(|row| (row.affiliate_id.to_string(), name(row.first_gate))).collect()
}

fn refused(outcome: Result<PayoutId, EngineError>) -> (String, String) {
    match outcome {
        Err(EngineError::Refused { failing }) => {
            (failing[0].gate.to_string(), failing[0].found.clone())
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Everything that is told to others is kept from now on.
async fn listen(h: &Harness) -> Receiver {
    let receiver = Receiver::open().await;
    let by = By { actor: Actor::operator("ana"), request_id: None };
    let new = NewEndpoint {
        url: receiver.url.clone(),
        description: "a test".into(),
        wants: Wants::all(),
    };
    h.notifier().add(&by, &h.org, &new).await.expect("an endpoint");
    receiver
}

/// What was told of a kind, oldest first.
async fn told(h: &Harness, kind: &str) -> Vec<Value> {
    let text = format!("SELECT body FROM webhook_events WHERE kind = '{kind}' ORDER BY event_id");
    let rows: Vec<(String,)> = h.database.rows(&text).await;
    let data = |(body,): (String,)| -> Value {
        let body: Value = serde_json::from_str(&body).expect("JSON");
        body["data"].clone()
    };
    rows.into_iter().map(data).collect()
}

on_both! {
    async fn a_run_spends_what_its_job_may_and_says_who_is_left_out(h: &Harness) {
        let earned = [("a", 3_000), ("b", 2_000), ("c", 9_000), ("d", 1_500), ("e", 1_000)];
        earners(h, &earned).await;
        let limits = Limits {
            amount_per_run: amounts(6_500),
            amount_per_payout: amounts(8_000),
            payouts_per_run: Some(3),
            ..Limits::default()
        };
        let _receiver = listen(h).await;
        let by_two = Rules { limits, ..rules("weekly", "2026-W10") };
        let (run, tally) = run_by(h, by_two.clone(), 2).await;
        assert_eq!((tally.acted, tally.seen), (3, 5));
        assert_eq!(paid(h).await, ["a", "b", "d"], "in the order of the wallets, whoever fits");
        let expected = [("c", "above_payout_limit"), ("e", "run_limit_reached")];
        let expected = expected.map(|(name, gate)| (name.to_owned(), gate.to_owned()));
        assert_eq!(skipped(h, &run).await, expected);
        let mut hits = told(h, "limit.hit").await;
        hits.sort_by_key(|hit| hit["limit"].to_string());
        let limits: Vec<_> = hits.iter().map(|hit| hit["limit"].as_str()).collect();
        // Of the large one both limits kept it: each is told once, with its numbers.
        assert_eq!(limits, [Some("above_payout_limit"), Some("run_limit_reached")], "{hits:?}");
        assert_eq!(hits[0]["wants"], "at most 80.00 USD a payout of job:weekly");
        assert_eq!(hits[1]["runId"], run.as_str());
        // The next run begins anew; who was paid is not due in this period again.
        let (_, tally) = run_by(h, by_two, 2).await;
        assert_eq!((tally.acted, tally.skipped["above_payout_limit"].count), (1, 1));
    }

    async fn a_run_that_is_tried_again_has_spent_what_it_asked_for_before(h: &Harness) {
        earners(h, &[("a", 2_000), ("b", 2_000), ("c", 2_000)]).await;
        let limits = Limits { amount_per_run: amounts(4_000), ..Limits::default() };
        let rules = Rules { limits, ..rules("weekly", "2026-W10") };
        let (run_id, tally) = run_by(h, rules.clone(), 10).await;
        assert_eq!(tally.acted, 2);
        h.change("DELETE FROM decisions WHERE affiliate_id = 'c'").await;
        let again = AutoRequest { run_id, rules, plan: None, page: 10 };
        let tally = h.engine.request_automatic(&h.work(), &h.org, &again).await.expect("an end");
        assert_eq!((tally.acted, tally.skipped["run_limit_reached"].count), (2, 1));
        assert_eq!(h.payouts().await.len(), 2, "it counts as a whole, and asks for nothing more");
    }

    async fn a_day_is_that_of_the_holders_zone_and_counts_what_was_asked(h: &Harness) {
        earners(h, &[("a", 2_000), ("b", 2_000), ("c", 2_000)]).await;
        h.change("UPDATE programs SET timezone = 'America/New_York'").await;
        limit(h, Limits { amount_per_day: amounts(4_000), ..Limits::default() }).await;
        let (run, tally) = run_by(h, rules("weekly", "2026-W10"), 1).await;
        assert_eq!((tally.acted, tally.skipped["day_limit_reached"].count), (2, 1));
        assert_eq!(skipped(h, &run).await[0].0, "c");
        // What is cancelled was asked for all the same.
        let payout = h.payouts().await[0].payout_id.clone();
        h.engine.cancel(&h.work(), &h.org, &payout, "a mistake").await.expect("cancelled");
        // 2026-03-03T04:00Z is still the 2nd of March in New York.
        h.clock.advance(TimeDelta::hours(19));
        assert_eq!(run_by(h, rules("weekly", "2026-W11"), 10).await.1.acted, 0);
        h.clock.advance(TimeDelta::hours(1));
        assert_eq!(run_by(h, rules("weekly", "2026-W11"), 10).await.1.acted, 2);
    }

    async fn a_person_is_held_to_the_limits_of_a_payout_and_of_the_day(h: &Harness) {
        earners(h, &[("ana", 9_000), ("ben", 9_000)]).await;
        let limits = Limits {
            amount_per_payout: amounts(5_000),
            amount_per_day: amounts(6_000),
            payouts_per_run: Some(1),
            ..Limits::default()
        };
        limit(h, limits).await;
        let (gate, found) = refused(h.ask("ana", 5_001).await);
        assert_eq!((gate.as_str(), found.as_str()), ("above_payout_limit", "50.01 USD"));
        h.ask("ana", 5_000).await.expect("a payout");
        h.ask("ana", 1_000).await.expect("a person asks in no run");
        let (gate, found) = refused(h.ask("ben", 1_000).await);
        assert_eq!(gate, "day_limit_reached");
        assert_eq!(found, "10.00 USD more after 60.00 USD and 2 payouts");
        // The schedule is held to the same day.
        let (_, tally) = run_by(h, rules("weekly", "2026-W10"), 10).await;
        assert_eq!(tally.acted, 0, "{tally:?}");
    }

    async fn many_at_once_do_not_exceed_a_day_together(h: &Harness) {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        earners(h, &names.map(|name| (name, 2_000))).await;
        limit(h, Limits { payouts_per_day: Some(3), ..Limits::default() }).await;
        let asked = futures::future::join_all(names.iter().map(|name| h.ask(name, 1_000))).await;
        let (taken, left): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
        assert_eq!(taken.len(), 3);
        for one in left {
            assert_eq!(refused(one).0, "day_limit_reached");
        }
        assert_eq!(h.count("payouts").await, 3);
    }

    async fn two_runs_at_once_do_not_exceed_a_day_together(h: &Harness) {
        h.enrol(program("creator"), &[]).await;
        let names: Vec<String> = (0..20).map(|i| format!("aff-{i:02}")).collect();
        let people: Vec<_> = names.iter().map(|name| affiliate(name, "creator")).collect();
        h.enrol_affiliates(&people).await;
        for name in &names {
            h.earn(name, name, &[1_000]).await;
        }
        limit(h, Limits { amount_per_day: amounts(7_500), ..Limits::default() }).await;
        let runs = ["one", "other", "third"].map(|job| run_by(h, rules(job, "2026-W10"), 3));
        let tallies = futures::future::join_all(runs).await;
        let acted: u64 = tallies.iter().map(|(_, tally)| tally.acted).sum();
        assert_eq!((acted, h.count("payouts").await), (7, 7));
    }

    async fn limits_are_set_for_currencies_that_the_program_has_and_are_on_record(h: &Harness) {
        h.enrol(program("creator"), &[]).await;
        let euros: Currency = "EUR".parse().expect("a currency");
        let limits = Limits {
            amount_per_day: [Money::new(1, euros)].into_iter().collect(),
            ..Limits::default()
        };
        let new = ProgramLimits { limits, approve_first: true, ..ProgramLimits::default() };
        assert_eq!(set(h, &new).await.expect_err("no euros").code(), "no_program");
        let new = ProgramLimits {
            limits: Limits { amount_per_day: amounts(5), ..Limits::default() },
            ..new
        };
        set(h, &new).await.expect("limits");
        let creator = "creator".parse().expect("an id");
        assert_eq!(h.engine.program_limits(&h.org, &creator).await.expect("limits"), new);
        let acts = h.acts().await;
        assert_eq!(acts, [("program.limits_changed".to_owned(), "creator".to_owned())]);
    }

    async fn a_first_payout_and_a_changed_method_wait_for_a_person(h: &Harness) {
        earners(h, &[("ana", 2_000), ("ben", 2_000)]).await;
        let _receiver = listen(h).await;
        let new = ProgramLimits { approve_first: true, ..ProgramLimits::default() };
        set(h, &new).await.expect("limits");
        let first = h.ask("ana", 1_000).await.expect("a payout");
        assert_eq!(h.payout(&first).await.approval_reasons(), ["first_payout"]);
        let asked = told(h, "payout.approval_needed").await;
        assert_eq!(asked[0]["payoutId"], first.as_str());
        assert_eq!(asked[0]["approvalReasons"], serde_json::json!(["first_payout"]));
        let ben = payoutd::engine::Work::by_person(Actor::operator("ben"));
        h.engine.approve(&ben, &h.org, &first, "").await.expect("an approval");
        h.settle_all().await;
        // It has arrived: the next goes by itself, as long as it goes to the same place.
        let approval = ApprovalRules {
            above: amounts(1_500),
            changed_method: true,
            first_payout: false,
        };
        let by_job = Rules { approval, ..rules("weekly", "2026-W10") };
        h.clock.advance(TimeDelta::minutes(1));
        assert_eq!(run_by(h, by_job, 10).await.1.acted, 2);
        let payouts = h.payouts().await;
        let of = |name: &str| payouts.iter().rev().find(|row| row.affiliate_id.as_str() == name);
        assert_eq!(of("ana").expect("a payout").requires_approval, 0);
        let expected = [ApprovalReason::AboveLimit, ApprovalReason::FirstPayout].map(|r| r.as_str());
        assert_eq!(of("ben").expect("a payout").approval_reasons(), expected);
        h.change(
            "UPDATE payout_methods SET destination_id =
                 (SELECT o.destination_id FROM payout_methods o WHERE o.affiliate_id = 'ben')
             WHERE affiliate_id = 'ana'",
        )
        .await;
        h.earn("ana", "more", &[1_000]).await;
        h.clock.advance(TimeDelta::weeks(1));
        let next = Rules { periods: week_of("2026-W11"), ..rules("weekly", "2026-W11") };
        let approval = ApprovalRules { changed_method: true, ..ApprovalRules::default() };
        run_by(h, Rules { approval, ..next }, 10).await;
        let payouts = h.payouts().await;
        let last = payouts.iter().rfind(|row| row.affiliate_id.as_str() == "ana");
        assert_eq!(last.expect("a payout").approval_reasons(), ["changed_method"]);
    }

    async fn a_run_beyond_the_factor_of_the_median_asks_for_nothing(h: &Harness) {
        let runner = runner_with_breaker(h);
        earners(h, &[("ana", 1_000), ("ben", 1_000)]).await;
        for week in 0..3 {
            let run = run_now(&runner).await;
            assert_eq!((run.state.as_str(), run.acted), ("succeeded", 2), "{run:?}");
            h.clock.advance(TimeDelta::weeks(1));
            h.earn("ana", &format!("a-{week}"), &[1_000]).await;
            h.earn("ben", &format!("b-{week}"), &[1_000]).await;
        }
        // Each 10.00 USD a week so far: 60.01 USD is more than three times the median.
        h.earn("ana", "burst", &[4_001]).await;
        let before = h.count("payouts").await;
        let run = run_now(&runner).await;
        assert_eq!((run.state.as_str(), run.error_code.as_deref()), ("failed", Some("anomaly")));
        let message = run.error_message.expect("words");
        for words in ["org acme", "60.01 USD", "20.00 USD", "factor 3", "--plan"] {
            assert!(message.contains(words), "no {words} in {message}");
        }
        assert_eq!(h.count("payouts").await, before);
        // A cent less is at the factor, and goes.
        h.adjust("ana", "fee", -1).await.expect("a fee");
        let run = run_now(&runner).await;
        assert_eq!((run.state.as_str(), run.acted), ("succeeded", 2), "{run:?}");
    }

    async fn a_breaker_counts_people_as_well_as_money(h: &Harness) {
        let runner = runner_with_breaker(h);
        earners(h, &[("ana", 9_000)]).await;
        for week in 0..3 {
            assert_eq!(run_now(&runner).await.acted, 1);
            h.clock.advance(TimeDelta::weeks(1));
            h.earn("ana", &format!("a-{week}"), &[9_000]).await;
        }
        let more: Vec<_> =
            ["ben", "cem", "dan"].iter().map(|name| affiliate(name, "creator")).collect();
        h.enrol_affiliates(&more).await;
        for name in ["ben", "cem", "dan"] {
            h.earn(name, name, &[1_000]).await;
        }
        let run = run_now(&runner).await;
        let message = run.error_message.expect("words");
        assert!(message.contains("4 payouts, the median of 3 runs is 1"), "{message}");
    }
}

fn runner_with_breaker(h: &Harness) -> Runner {
    let dir = tempfile::tempdir().expect("a folder");
    let text = "kind = \"request_payouts\"\nenabled = true\nschedule = \"0 0 9 * * MON\"\n\
                [breaker]\nfactor = \"3\"\nruns = 8\nat_least = 3\n";
    std::fs::write(dir.path().join("weekly.toml"), text).expect("written");
    h.runner_of(h.engine.clone(), Catalog::load(Some(dir.path())).expect("a job"))
}

async fn run_now(runner: &Runner) -> RunRow {
    let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
    runner.run_now("weekly", &actor, Reach::Due, &stop).await.expect("a run that took place")
}

#[test]
fn a_breaker_is_read_from_the_jobs_file() {
    let breaker: Breaker = toml::from_str("factor = \"2.5\"").expect("a breaker");
    assert_eq!((breaker.runs, breaker.at_least), (8, 3));
    assert!(toml::from_str::<Breaker>("factor = \"1\"").is_err());
}
