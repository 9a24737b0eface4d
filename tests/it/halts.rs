//! The switch: nothing that is halted is sent, nothing is cancelled by it, and it goes on afterwards.

use async_trait::async_trait;
use chrono::TimeDelta;
use payoutd::domain::{Halt, MethodKind, Scope};
use payoutd::engine::{Engine, EngineSettings, Reach};
use payoutd::providers::{Found, Outgoing, Problem, Provider, Sent, Terms};
use payoutd::store::Queue;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{Harness, affiliate, program, usd};

/// A payout of 10.00 USD for each name.
async fn payouts_of(h: &Harness, names: &[&str]) {
    h.enrol(program("creator"), names).await;
    for name in names {
        h.earn(name, name, &[1_000]).await;
        h.ask(name, 1_000).await.expect("a payout");
    }
}

async fn halt(h: &Harness, halt: &Halt) {
    assert!(h.engine.halt(&h.work(), halt, "looks wrong").await.expect("a halt"));
}

async fn lift(h: &Harness, halt: &Halt) {
    h.engine.lift(&h.work(), halt, "looks right").await.expect("a lift");
}

fn paid(h: &Harness) -> usize {
    h.at.sandbox.books().paypal.len()
}

/// A rail that says "slow down" once; while it is waited for, somebody stops everything.
struct Interrupted {
    rail: Arc<dyn Provider>,
    engine: Engine,
    halt: Halt,
    sends: AtomicU32,
}

#[async_trait]
impl Provider for Interrupted {
    fn kind(&self) -> MethodKind {
        self.rail.kind()
    }
    fn terms(&self) -> Terms {
        self.rail.terms()
    }
    fn render(&self, outgoing: &Outgoing) -> String {
        self.rail.render(outgoing)
    }
    async fn send(&self, outgoing: &Outgoing, body: &str) -> Sent {
        if self.sends.fetch_add(1, Ordering::SeqCst) > 0 {
            return self.rail.send(outgoing, body).await;
        }
        let work = payoutd::engine::Work::by_person(payoutd::domain::Actor::operator("ana"));
        self.engine.halt(&work, &self.halt, "looks wrong").await.expect("a halt");
        let problem = Problem::new("slow_down", "wait");
        Sent::Throttled { retry_after: Some(TimeDelta::milliseconds(1)), problem }
    }
    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        self.rail.look_up(outgoing).await
    }
    async fn ping(&self) -> Result<(), Problem> {
        self.rail.ping().await
    }
}

on_both! {
    async fn what_is_halted_waits_and_leaves_once_that_is_lifted(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        let creator = "creator".parse().expect("an id");
        let halts = [
            Halt::everything(),
            Halt::org(&h.org),
            Halt::provider(MethodKind::Paypal, None),
            Halt::provider(MethodKind::Paypal, Some(&h.org)),
            Halt::program(&h.org, &creator),
        ];
        for one in &halts {
            halt(h, one).await;
            let tally = h.submit().await;
            assert_eq!((tally.acted, tally.seen, paid(h)), (0, 2, 0), "{one}");
            let waits = &tally.skipped["halted"];
            assert_eq!((waits.count, waits.amount.to_string()), (2, "20.00 USD".to_owned()));
            assert!(h.outcomes().await.iter().all(|(_, status)| *status == "pending"), "{one}");
            lift(h, one).await;
        }
        let elsewhere = [
            Halt::provider(MethodKind::Ach, None),
            Halt::org(&"other".parse().expect("an id")),
        ];
        for one in &elsewhere {
            halt(h, one).await;
        }
        assert_eq!(h.submit().await.acted, 2);
        h.settle_all().await;
        assert_eq!(paid(h), 2);
        let acts = h.acts().await;
        let of = |action: &str| acts.iter().filter(|(act, _)| act == action).count();
        assert_eq!((of("halt.set"), of("halt.lifted")), (6, 5));
    }

    async fn a_halt_is_set_once_and_lifted_once(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        let all = Halt::everything();
        halt(h, &all).await;
        assert!(!h.engine.halt(&h.work(), &all, "again").await.expect("no second halt"));
        let rows = h.store.halts(None).await.expect("halts");
        assert_eq!((rows.len(), rows[0].reason.as_str()), (1, "looks wrong"));
        lift(h, &all).await;
        let none = h.engine.lift(&h.work(), &all, "again").await.expect_err("there is none");
        assert_eq!(none.code(), "not_halted");
        let nobodys = Halt::program(&h.org, &"nobodys".parse().expect("an id"));
        let unknown = h.engine.halt(&h.work(), &nobodys, "why").await.expect_err("no program");
        assert_eq!(unknown.code(), "no_program");
    }

    async fn of_a_halted_program_nothing_is_sent_and_the_others_are(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        h.enrol_program(program("gold")).await;
        h.enrol_affiliates(&[affiliate("cem", "gold")]).await;
        h.earn("cem", "cem", &[1_000]).await;
        h.ask("cem", 1_000).await.expect("a payout");
        // They are put together, and certainly not sent.
        let nowhere = h.rail(json!({"base_url": "http://127.0.0.1:9"}));
        let nowhere = h.engine_with(vec![nowhere], EngineSettings::default());
        assert_eq!(h.submit_with(&nowhere).await.failed, 3);
        let gold = Halt::program(&h.org, &"gold".parse().expect("an id"));
        halt(h, &gold).await;
        let tally = h.submit().await;
        assert_eq!((tally.acted, tally.skipped["halted"].count), (2, 1));
        let waits = h.outcomes().await;
        assert_eq!(waits[2], ("cem".to_owned(), "processing"), "it is still put together");
        assert_eq!((h.submit().await.acted, paid(h)), (0, 2));
        lift(h, &gold).await;
        h.settle_all().await;
        assert_eq!(paid(h), 3);
        assert!(h.outcomes().await.iter().all(|(_, status)| *status == "completed"));
    }

    async fn a_halt_between_the_plan_and_the_send_keeps_the_bytes(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        let queue = Queue {
            org_id: h.org.clone(),
            method_kind: MethodKind::Paypal,
            currency: usd(0).currency,
            payouts: 1,
            amount_minor: 1_000,
        };
        let planned = h.engine.plan(&h.work(), &queue).await.expect("a plan").expect("one");
        halt(h, &Halt::everything()).await;
        let sent = h.engine.act(&planned).await;
        assert!(matches!(&sent, Sent::NotSent(problem) if problem.code == "halted"), "{sent:?}");
        h.engine.record(&h.work(), &planned, &sent).await.expect("a record");
        assert_eq!((h.submit().await.skipped["halted"].count, paid(h)), (1, 0));
        // No circuit opened: the rail is not to blame.
        assert!(h.store.circuits().await.expect("circuits").is_empty());
        lift(h, &Halt::everything()).await;
        h.settle_all().await;
        assert_eq!(paid(h), 1);
    }

    async fn a_halt_while_the_provider_is_waited_for_ends_the_send(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        let interrupted = Arc::new(Interrupted {
            rail: h.rail(json!({})),
            engine: h.engine.clone(),
            halt: Halt::org(&h.org),
            sends: AtomicU32::new(0),
        });
        let rail: Arc<dyn Provider> = interrupted.clone();
        let engine = h.engine_with(vec![rail], EngineSettings::default());
        let tally = h.submit_with(&engine).await;
        assert_eq!((tally.acted, tally.skipped["halted"].count), (0, 1), "{tally:?}");
        assert_eq!((interrupted.sends.load(Ordering::SeqCst), paid(h)), (1, 0));
        lift(h, &Halt::org(&h.org)).await;
        h.settle_all().await;
    }

    async fn a_halt_while_calls_wait_for_their_turn_keeps_them(h: &Harness) {
        payouts_of(h, &["ana", "ben", "cem"]).await;
        let slow = h.rail(json!({"posts_per_minute": 20, "batch_size": 1}));
        let engine = h.engine_with(vec![slow], EngineSettings::default());
        let stop = async {
            // The first went at once; the others wait for three seconds, and for six.
            while h.count("submissions WHERE state = 'sending'").await < 2 {
                tokio::task::yield_now().await;
            }
            halt(h, &Halt::everything()).await;
        };
        let (tally, ()) = tokio::join!(h.submit_with(&engine), stop);
        assert_eq!((tally.acted, tally.skipped["halted"].count, paid(h)), (1, 2, 1), "{tally:?}");
        lift(h, &Halt::everything()).await;
        h.settle_all().await;
    }

    async fn under_a_halt_a_lost_answer_is_looked_up_and_never_sent_again(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        h.arm("lost_request", json!({})).await;
        h.submit().await;
        let posts = || h.at.sandbox.books().paypal.len();
        halt(h, &Halt::provider(MethodKind::Paypal, None)).await;
        for _ in 0..4 {
            h.reconcile().await;
            h.clock.advance(TimeDelta::minutes(20));
        }
        assert_eq!(posts(), 0, "the same bytes are a send as well");
        lift(h, &Halt::provider(MethodKind::Paypal, None)).await;
        h.settle_all().await;
        assert_eq!(posts(), 1);
    }

    async fn approval_does_not_get_round_a_halt(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let creator = "creator".parse().expect("an id");
        let limit = (usd(0).currency, Some(0));
        h.engine.approve_above(&h.work(), &h.org, &creator, limit).await.expect("a limit");
        h.earn("ana", "ana", &[1_000]).await;
        let payout = h.ask("ana", 1_000).await.expect("a payout");
        halt(h, &Halt::org(&h.org)).await;
        let ben = payoutd::engine::Work::by_person(payoutd::domain::Actor::operator("ben"));
        h.engine.approve(&ben, &h.org, &payout, "").await.expect("an approval");
        assert_eq!((h.submit().await.acted, paid(h)), (0, 0));
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "approved")]);
        lift(h, &Halt::org(&h.org)).await;
        h.settle_all().await;
    }

    async fn a_schedule_asks_for_nothing_that_is_halted_and_a_person_may(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        h.earn("ana", "ana", &[2_000]).await;
        h.earn("ben", "ben", &[2_000]).await;
        halt(h, &Halt::org(&h.org)).await;
        let (_, tally) = h.ask_all("2026-W10", 10).await;
        assert_eq!((tally.acted, tally.skipped["halted"].count), (0, 2));
        let decisions = h.store.decisions_of(&h.org, &"ana".parse().expect("an id"), 1).await;
        let failing = decisions.expect("a decision")[0].failing().expect("gates");
        assert_eq!(failing[0].found, "halted: org");
        h.ask("ana", 1_000).await.expect("a person's request is taken, and waits");
        assert_eq!(h.submit().await.acted, 0);
        lift(h, &Halt::org(&h.org)).await;
        assert_eq!(h.ask_all("2026-W10", 10).await.1.acted, 2);
        h.settle_all().await;
    }

    async fn a_halt_outlives_the_process(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        halt(h, &Halt::everything()).await;
        let store = payoutd::store::Store::open(&h.database.url, 2).await.expect("a database");
        let store = store.with_vault(h.vault());
        let rails = vec![h.rail(json!({}))];
        let next = Engine::new(store, h.clock.clone(), rails, EngineSettings::default());
        let tally = next.submit_all(&h.work(), Reach::All, &Scope::default()).await;
        assert_eq!((tally.expect("a submit").acted, paid(h)), (0, 0));
        next.store.close().await;
        lift(h, &Halt::everything()).await;
        h.settle_all().await;
    }
}
