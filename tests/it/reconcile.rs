//! The provider is asked, and its answer applied: every way an answer can go missing, money that
//! comes back, and what only a person may decide.

use async_trait::async_trait;
use chrono::TimeDelta;
use payoutd::domain::{MethodKind, Money, PayoutId, PayoutStatus, Scope};
use payoutd::engine::{EngineError, EngineSettings, Reach};
use payoutd::providers::{Found, Outgoing, Problem, Provider, Sent, Terms};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::harness::{Harness, Wallet, program};

/// A rail that says it paid a cent more than it was asked.
struct Generous(Arc<dyn Provider>);

#[async_trait]
impl Provider for Generous {
    fn kind(&self) -> MethodKind {
        self.0.kind()
    }
    fn terms(&self) -> Terms {
        self.0.terms()
    }
    fn render(&self, outgoing: &Outgoing) -> String {
        self.0.render(outgoing)
    }
    async fn send(&self, outgoing: &Outgoing, body: &str) -> Sent {
        self.0.send(outgoing, body).await
    }
    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        let Found::Items(mut reports) = self.0.look_up(outgoing).await else {
            panic!("the sandbox knows it")
        };
        for report in &mut reports {
            report.amount =
                report.amount.map(|amount| Money::new(amount.minor + 1, amount.currency));
        }
        Found::Items(reports)
    }
    async fn ping(&self) -> Result<(), Problem> {
        self.0.ping().await
    }
}

/// A rail that takes one call at a time, first come, first served.
struct OneLine {
    rail: Arc<dyn Provider>,
    line: tokio::sync::Mutex<()>,
}

#[async_trait]
impl Provider for OneLine {
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
        let _line = self.line.lock().await;
        self.rail.send(outgoing, body).await
    }
    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        let _line = self.line.lock().await;
        self.rail.look_up(outgoing).await
    }
    async fn ping(&self) -> Result<(), Problem> {
        self.rail.ping().await
    }
}

async fn payout_of(h: &Harness, name: &str) -> PayoutId {
    let payouts = h.payouts().await;
    let payout = payouts.into_iter().find(|payout| payout.affiliate_id.as_str() == name);
    payout.expect("a payout").payout_id
}

async fn payouts_of(h: &Harness, names: &[&str]) {
    h.enrol(program("creator"), names).await;
    for name in names {
        h.earn(name, name, &[1_500]).await;
        h.ask(name, 1_500).await.expect("a payout");
    }
}

/// Whatever went wrong with the answer, everybody is paid, once.
async fn everybody_is_paid_once_despite(h: &Harness, fault: &str, more: Value) {
    let names = ["ana", "ben", "cem", "dan", "eve"];
    payouts_of(h, &names).await;
    h.arm(fault, more).await;
    let settings = json!({"batch_size": 2, "timeout_ms": 400});
    let engine = h.engine_with(vec![h.rail(settings)], EngineSettings::default());
    for _ in 0..12 {
        h.submit_with(&engine).await;
        h.reconcile_with(&engine).await;
        h.check_nobody_is_paid_twice().await;
        h.clock.advance(TimeDelta::minutes(16));
    }
    let outcomes = h.outcomes().await;
    assert!(outcomes.iter().all(|(_, status)| *status == "completed"), "{outcomes:?}");
    assert_eq!(h.at.sandbox.books().paypal.len(), names.len());
}

async fn reference_of(h: &Harness, name: &str) -> String {
    let row = h.payouts().await.into_iter().find(|p| p.affiliate_id.as_str() == name);
    h.references(&row.expect("a payout").payout_id).await.pop().expect("an attempt")
}

async fn status_of(h: &Harness, name: &str) -> &'static str {
    let outcomes = h.outcomes().await;
    outcomes.iter().find(|(affiliate, _)| affiliate == name).expect("a payout").1
}

on_both! {
    async fn requests_that_are_lost_are_paid_once(h: &Harness) {
        everybody_is_paid_once_despite(h, "lost_request", json!({"times": 2})).await;
    }

    async fn answers_that_are_lost_are_paid_once(h: &Harness) {
        everybody_is_paid_once_despite(h, "lost_response", json!({"times": 2})).await;
    }

    async fn errors_before_the_effect_are_paid_once(h: &Harness) {
        everybody_is_paid_once_despite(h, "error_before", json!({"times": 4})).await;
    }

    async fn errors_after_the_effect_are_paid_once(h: &Harness) {
        everybody_is_paid_once_despite(h, "error_after", json!({"times": 3, "after": 1})).await;
    }

    async fn unreadable_answers_are_paid_once(h: &Harness) {
        everybody_is_paid_once_despite(h, "garbled", json!({"times": 2})).await;
    }

    async fn slow_answers_are_paid_once(h: &Harness) {
        everybody_is_paid_once_despite(h, "slow", json!({"times": 2, "delay_ms": 1_500})).await;
    }

    async fn a_provider_that_asks_to_slow_down_is_waited_for(h: &Harness) {
        everybody_is_paid_once_despite(h, "throttle", json!({"times": 1})).await;
    }

    async fn look_ups_that_fail_leave_the_payout_open_and_are_made_again(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        h.submit().await;
        h.at.control("POST", "faults", json!({
            "on": "GET /v1/payments/payouts*", "fault": "error_before", "times": 4,
        })).await;
        let tally = h.reconcile().await;
        assert_eq!((tally.acted, tally.failed), (0, 1));
        assert_eq!(status_of(h, "ana").await, "processing");
        h.settle_all().await;
    }

    async fn a_batch_that_is_denied_fails_everybody_in_it_and_gives_the_money_back(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        h.arm("denied", json!({})).await;
        h.settle_all().await;
        assert_eq!((status_of(h, "ana").await, status_of(h, "ben").await), ("failed", "failed"));
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_500, ..Wallet::default() });
        assert_eq!(h.commission_of("ana-0").await.status, "qualified");
        let failed = h.payouts().await.remove(0);
        assert!(failed.failure_code.is_some(), "{failed:?}");
        h.engine.retry(&h.work(), &h.org, &failed.payout_id).await.expect("a new payout");
        h.settle_all().await;
    }

    async fn money_that_nobody_claims_stays_under_way_until_it_comes_back(h: &Harness) {
        payouts_of(h, &["ana", "unregistered-ben"]).await;
        h.submit().await;
        let tally = h.reconcile().await;
        assert_eq!((tally.outcomes["settled"].count, tally.outcomes["open"].count), (1, 1));
        assert_eq!(h.wallet("unregistered-ben").await.in_flight, 1_500);
        h.clock.advance(TimeDelta::days(30));
        h.fate(&reference_of(h, "unregistered-ben").await, "RETURNED").await;
        h.reconcile().await;
        assert_eq!(status_of(h, "unregistered-ben").await, "failed");
        assert_eq!(h.wallet("unregistered-ben").await.available, 1_500);
    }

    async fn a_payee_whose_account_is_locked_fails_alone(h: &Harness) {
        payouts_of(h, &["ana", "locked-ben"]).await;
        h.settle_all().await;
        assert_eq!((status_of(h, "ana").await, status_of(h, "locked-ben").await), ("completed", "failed"));
        let failed = h.payouts().await.into_iter().find(|p| p.status == PayoutStatus::Failed);
        assert_eq!(failed.expect("one").failure_code.as_deref(), Some("RECEIVER_ACCOUNT_LOCKED"));
    }

    async fn money_that_comes_back_is_heard_of_though_others_of_its_batch_are_open(h: &Harness) {
        payouts_of(h, &["ana", "unregistered-ben"]).await;
        h.submit().await;
        h.reconcile().await;
        assert_eq!(status_of(h, "ana").await, "completed");
        let ana = payout_of(h, "ana").await;
        h.fate(&h.references(&ana).await[0], "REFUNDED").await;
        h.clock.advance(TimeDelta::minutes(2));
        h.reconcile().await;
        assert_eq!(status_of(h, "ana").await, "returned");
        assert_eq!(status_of(h, "unregistered-ben").await, "processing");
        h.leaves_money_under_way();
    }

    async fn money_that_comes_back_after_completion_is_paid_in_the_next_period(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        h.job("auto-payout").await;
        h.settle_all().await;
        let first = h.payouts().await.remove(0).payout_id;
        h.fate(&h.references(&first).await[0], "REFUNDED").await;
        h.clock.advance(TimeDelta::days(2));
        assert_eq!(h.reconcile().await.outcomes["returned"].count, 1);
        assert_eq!(h.payout(&first).await.status, PayoutStatus::Returned);
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_500, ..Wallet::default() });
        let again = h.commission_of("o-0").await;
        assert_eq!((again.status.as_str(), again.allocated, again.paid), ("qualified", 0, 0));
        h.clock.advance(TimeDelta::days(6));
        assert_eq!(h.tally("auto-payout").await.acted, 1);
        h.settle_all().await;
        assert_eq!(h.commission_of("o-0").await.status, "paid");
        assert_eq!(h.payouts().await.len(), 2);
    }

    async fn money_that_comes_back_is_noticed_beside_a_payment_that_stays_open(h: &Harness) {
        h.leaves_money_under_way();
        payouts_of(h, &["ana", "ben", "unregistered-cem"]).await;
        h.submit().await;
        h.reconcile().await;
        assert_eq!(status_of(h, "ana").await, "completed");
        h.fate(&reference_of(h, "ana").await, "REVERSED").await;
        for _ in 0..12 {
            h.clock.advance(TimeDelta::hours(12));
            h.reconcile().await;
        }
        assert_eq!((status_of(h, "ana").await, status_of(h, "ben").await), ("returned", "completed"));
        assert_eq!(status_of(h, "unregistered-cem").await, "processing");
    }

    async fn completed_payouts_are_watched_for_a_month_and_then_left_in_peace(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        h.settle_all().await;
        assert_eq!(h.count("submissions WHERE next_check_at IS NOT NULL").await, 1);
        for _ in 0..40 {
            h.clock.advance(TimeDelta::days(1));
            h.reconcile().await;
        }
        assert_eq!(h.count("submissions WHERE next_check_at IS NOT NULL").await, 0);
    }

    async fn another_amount_than_was_asked_is_never_settled(h: &Harness) {
        h.leaves_money_under_way();
        payouts_of(h, &["ana"]).await;
        h.submit().await;
        let generous = Arc::new(Generous(h.rail(json!({}))));
        let engine = h.engine_with(vec![generous], EngineSettings::default());
        let tally = h.reconcile_with(&engine).await;
        assert!(tally.notes[0].contains("look it up by hand"), "{:?}", tally.notes);
        assert_eq!(status_of(h, "ana").await, "processing");
        assert_eq!(h.count("transfers WHERE problem_code = 'amount_mismatch'").await, 1);
        assert_eq!(h.wallet("ana").await, Wallet { in_flight: 1_500, ..Wallet::default() });
    }

    async fn past_the_window_nothing_is_sent_again_and_a_person_has_to_look(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        h.arm("lost_request", json!({})).await;
        h.submit().await;
        h.clock.advance(TimeDelta::days(29));
        let tally = h.reconcile().await;
        assert!(tally.notes[0].contains("by hand"), "{:?}", tally.notes);
        for _ in 0..5 {
            h.clock.advance(TimeDelta::days(2));
            h.reconcile().await;
        }
        assert_eq!(h.count("submissions WHERE state = 'review'").await, 1);
        assert_eq!(h.at.sandbox.books().paypal, []);
        assert_eq!(h.wallet("ana").await.in_flight, 1_500);
    }

    async fn bytes_that_would_differ_are_not_sent_again(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        h.arm("lost_response", json!({})).await;
        h.submit().await;
        let changed = h.rail(json!({"note": "Another note"}));
        let engine = h.engine_with(vec![changed], EngineSettings::default());
        h.clock.advance(TimeDelta::hours(1));
        let tally = h.reconcile_with(&engine).await;
        assert!(tally.notes[0].contains("put the rail's settings"), "{:?}", tally.notes);
        assert_eq!(h.count("submissions WHERE state = 'review'").await, 1);
        assert_eq!(h.at.sandbox.books().paypal.len(), 1);
        h.settle_all().await;
    }

    async fn a_send_that_stays_refused_is_a_persons_to_clear_up(h: &Harness) {
        payouts_of(h, &["ana", "refused-ben"]).await;
        h.arm("lost_request", json!({})).await;
        h.submit().await;
        for _ in 0..2 {
            h.reconcile().await;
            let early = h.engine.resend(&h.work(), &h.org, &payout_of(h, "ana").await, "x").await;
            assert!(matches!(early, Err(EngineError::NotInReview { .. })), "{early:?}");
            h.clock.advance(TimeDelta::minutes(10));
        }
        for _ in 0..3 {
            h.clock.advance(TimeDelta::hours(2));
            h.reconcile().await;
        }
        assert_eq!(h.count("submissions WHERE state = 'review'").await, 1);
        assert_eq!(h.wallet("ana").await.in_flight, 1_500);
        let ana = payout_of(h, "ana").await;
        let sent = h.engine.resend(&h.work(), &h.org, &ana, "not in PayPal's list").await;
        assert_eq!(sent.expect("sent again"), 2);
        h.submit().await;
        h.settle_all().await;
        assert_eq!((status_of(h, "ana").await, status_of(h, "refused-ben").await), ("completed", "failed"));
        let again = h.engine.resend(&h.work(), &h.org, &ana, "x").await;
        assert!(matches!(again, Err(EngineError::NotInReview { .. })), "{again:?}");
    }

    async fn calls_that_wait_for_one_another_do_not_stand_still(h: &Harness) {
        let names = ["ana", "ben", "cem", "dan", "eve", "fay", "gus", "hal"];
        payouts_of(h, &names).await;
        h.arm("lost_response", json!({"times": 8})).await;
        let one_by_one = h.rail(json!({"batch_size": 1}));
        let sender = h.engine_with(vec![Arc::clone(&one_by_one)], EngineSettings::default());
        for _ in 0..3 {
            h.submit_with(&sender).await;
        }
        let line = tokio::sync::Mutex::default();
        let rail: Arc<dyn Provider> = Arc::new(OneLine { rail: one_by_one, line });
        let engine = h.engine_with(vec![rail], EngineSettings::default());
        let long = std::time::Duration::from_secs(20);
        tokio::time::timeout(long, h.reconcile_with(&engine)).await.expect("it does not stand still");
    }

    async fn asking_again_changes_nothing(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        h.settle_all().await;
        let books = h.at.sandbox.books();
        let before = (h.count("entries").await, h.count("payout_events").await);
        for _ in 0..3 {
            let all = h.engine.reconcile(&h.work(), Reach::All, &Scope::default()).await;
            assert_eq!(all.expect("a reconcile").acted, 0);
        }
        assert_eq!((h.count("entries").await, h.count("payout_events").await), before);
        assert_eq!(h.at.sandbox.books(), books);
    }

    async fn two_workers_settle_each_payout_once(h: &Harness) {
        let names: Vec<String> = (0..20).map(|i| format!("aff-{i}")).collect();
        payouts_of(h, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let few = h.engine_with(vec![h.rail(json!({"batch_size": 2}))], EngineSettings::default());
        h.submit_with(&few).await;
        let (work, scope) = (h.work(), Scope::default());
        let (one, other) = tokio::join!(
            few.reconcile(&work, Reach::All, &scope),
            few.reconcile(&work, Reach::All, &scope),
        );
        assert_eq!(one.expect("a reconcile").acted + other.expect("a reconcile").acted, 20);
    }
}
