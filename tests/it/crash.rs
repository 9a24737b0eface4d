//! A process that dies in any of the three beats of a send, and one that comes back too late.

use std::time::Duration;

use chrono::TimeDelta;
use payoutd::domain::Scope;
use payoutd::engine::{AutoRequest, Engine, EngineSettings, Planned, Reach, Rules};
use serde_json::json;

use crate::harness::{Harness, program, week_of};

async fn payout(h: &Harness) {
    h.enrol(program("creator"), &["ana", "ben"]).await;
    for name in ["ana", "ben"] {
        h.earn(name, name, &[1_500]).await;
        h.ask(name, 1_500).await.expect("a payout");
    }
}

/// The first beat, by a process whose lease is over at once.
async fn plan(h: &Harness, engine: &Engine) -> Planned {
    let queues = h.store.queues().await.expect("queues");
    let planned = engine.plan(&h.work(), &queues[0]).await.expect("a plan");
    planned.expect("something to send")
}

async fn reconcile(h: &Harness, reach: Reach) {
    let tally = h.hasty_engine().reconcile(&h.work(), reach, &Scope::default()).await;
    tally.expect("a reconcile that ends");
}

async fn all_completed(h: &Harness) {
    let outcomes = h.outcomes().await;
    assert!(outcomes.iter().all(|(_, status)| *status == "completed"), "{outcomes:?}");
    assert_eq!(h.at.sandbox.books().paypal.len(), 2);
}

/// Works on one thing, and dies after `millis` wherever it is then.
async fn live_briefly(h: &Harness, engine: &Engine, job: u64, millis: u64) {
    let (work, scope) = (h.work(), Scope::default());
    let life = async {
        match job {
            0 => {
                let rules = Rules::unlimited("auto-payout", week_of("2026-W10"), scope);
                let request = AutoRequest { run_id: h.clock.mint(), rules, plan: None, page: 2 };
                engine.request_automatic(&work, &h.org, &request).await.map(drop)
            }
            1 => engine.submit_all(&work, Reach::All, &scope).await.map(drop),
            _ => engine.reconcile(&work, Reach::Due, &scope).await.map(drop),
        }
    };
    if let Ok(ended) = tokio::time::timeout(Duration::from_millis(millis), life).await {
        ended.expect("a life that ends in peace");
    }
}

on_both! {
    async fn dying_anywhere_again_and_again_pays_everybody_once(h: &Harness) {
        let names: Vec<String> = (0..14).map(|i| format!("aff-{i}")).collect();
        h.enrol(program("creator"), &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for name in &names {
            h.earn(name, name, &[1_500, 700]).await;
        }
        let settings =
            EngineSettings { lease: TimeDelta::seconds(-1), ..EngineSettings::default() };
        let engine = h.engine_with(vec![h.rail(json!({"batch_size": 2}))], settings);
        for life in 0..90 {
            live_briefly(h, &engine, life % 3, 1 + life * 7 % 23).await;
            h.check_nobody_is_paid_twice().await;
            h.clock.advance(TimeDelta::minutes(3));
        }
        live_briefly(h, &engine, 0, 60_000).await;
        for _ in 0..8 {
            live_briefly(h, &engine, 1, 60_000).await;
            live_briefly(h, &engine, 2, 60_000).await;
            h.clock.advance(TimeDelta::minutes(30));
        }
        let outcomes = h.outcomes().await;
        assert_eq!(outcomes.len(), 14);
        assert!(outcomes.iter().all(|(_, status)| *status == "completed"), "{outcomes:?}");
    }

    async fn dying_between_plan_and_act_pays_once(h: &Harness) {
        payout(h).await;
        drop(plan(h, &h.hasty_engine()).await);
        assert_eq!(h.count("transfers WHERE state = 'sending'").await, 2);
        reconcile(h, Reach::Due).await;
        all_completed(h).await;
    }

    async fn dying_between_act_and_record_pays_once(h: &Harness) {
        payout(h).await;
        let engine = h.hasty_engine();
        let planned = plan(h, &engine).await;
        drop(engine.act(&planned).await);
        assert_eq!(h.at.sandbox.books().paypal.len(), 2);
        reconcile(h, Reach::Due).await;
        all_completed(h).await;
    }

    async fn dying_in_either_beat_is_found_when_a_person_asks_about_everything(h: &Harness) {
        payout(h).await;
        let engine = h.hasty_engine();
        let planned = plan(h, &engine).await;
        drop(engine.act(&planned).await);
        reconcile(h, Reach::All).await;
        all_completed(h).await;
    }

    async fn dying_after_record_pays_once(h: &Harness) {
        payout(h).await;
        let engine = &h.engine;
        let planned = plan(h, engine).await;
        let sent = engine.act(&planned).await;
        engine.record(&h.work(), &planned, &sent).await.expect("a record");
        reconcile(h, Reach::Due).await;
        all_completed(h).await;
    }

    async fn a_send_in_hand_is_left_to_whoever_has_it(h: &Harness) {
        h.leaves_sends_open();
        payout(h).await;
        let planned = plan(h, &h.engine).await;
        assert_eq!(h.reconcile().await.seen, 0);
        assert_eq!(h.submit().await.seen, 0);
        assert_eq!(h.count("submissions WHERE state = 'sending'").await, 1);
        let sent = h.engine.act(&planned).await;
        h.engine.record(&h.work(), &planned, &sent).await.expect("a record");
        reconcile(h, Reach::Due).await;
        all_completed(h).await;
    }

    async fn asking_about_everything_waits_for_a_send_in_hand(h: &Harness) {
        payout(h).await;
        let lease = TimeDelta::milliseconds(600);
        let settings = EngineSettings { lease, ..EngineSettings::default() };
        let engine = h.engine_with(vec![h.rail(json!({}))], settings);
        drop(plan(h, &engine).await);
        let tally = engine.reconcile(&h.work(), Reach::All, &Scope::default()).await;
        assert_eq!(tally.expect("a reconcile").outcomes["settled"].count, 2);
        all_completed(h).await;
    }

    async fn who_lost_the_lease_writes_nothing(h: &Harness) {
        payout(h).await;
        let engine = h.hasty_engine();
        let planned = plan(h, &engine).await;
        let sent = engine.act(&planned).await;
        reconcile(h, Reach::Due).await;
        let before = h.count("payout_events").await;
        let tally = engine.record(&h.work(), &planned, &sent).await.expect("a record");
        assert!(tally.notes[0].contains("lost its lease"), "{:?}", tally.notes);
        assert_eq!(tally.acted, 0);
        assert_eq!(h.count("payout_events").await, before);
        all_completed(h).await;
    }

    async fn who_comes_back_after_the_lease_ran_out_sends_what_was_already_paid_once(h: &Harness) {
        payout(h).await;
        let engine = h.hasty_engine();
        let planned = plan(h, &engine).await;
        reconcile(h, Reach::Due).await;
        all_completed(h).await;
        let sent = engine.act(&planned).await;
        engine.record(&h.work(), &planned, &sent).await.expect("a record");
        all_completed(h).await;
    }

    async fn a_refusal_heard_after_the_lease_was_lost_fails_nobody(h: &Harness) {
        payout(h).await;
        let engine = h.hasty_engine();
        let planned = plan(h, &engine).await;
        reconcile(h, Reach::Due).await;
        let problem = payoutd::providers::Problem::new("NO", "no");
        let sent = payoutd::providers::Sent::Refused { items: Vec::new(), problem };
        engine.record(&h.work(), &planned, &sent).await.expect("a record");
        all_completed(h).await;
    }
}
