//! Payouts leave through their rail: what is sent, what is refused, and what waits.

use async_trait::async_trait;
use chrono::TimeDelta;
use payoutd::domain::{MethodKind, PayoutStatus, Scope};
use payoutd::engine::{Engine, EngineSettings, Reach, Tally};
use payoutd::providers::{Found, Outgoing, Problem, Provider, Sent, Terms};
use serde_json::json;
use std::sync::Arc;

use crate::harness::{Harness, Wallet, affiliate, program};

/// A rail that answers every batch with one amount in it by itself, and passes all others on.
struct Grump {
    rail: Arc<dyn Provider>,
    dislikes_minor: i64,
    answer: Sent,
}

#[async_trait]
impl Provider for Grump {
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
        if outgoing.items.iter().any(|item| item.amount.minor == self.dislikes_minor) {
            return self.answer.clone();
        }
        self.rail.send(outgoing, body).await
    }
    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        self.rail.look_up(outgoing).await
    }
    async fn ping(&self) -> Result<(), Problem> {
        self.rail.ping().await
    }
}

fn engine(h: &Harness, rail: Arc<dyn Provider>) -> Engine {
    h.engine_with(vec![rail], EngineSettings::default())
}

/// Affiliates with a payout each, of 10.00, 10.01, … USD.
async fn payouts_of(h: &Harness, names: &[&str]) {
    h.enrol(program("creator"), names).await;
    for (minor, name) in (1_000..).zip(names) {
        h.earn(name, name, &[minor]).await;
        h.ask(name, minor).await.expect("a payout");
    }
}

/// `seen` = `acted` + `skipped` + `failed`: nothing is counted twice, nothing is left out.
fn adds_up(tally: &Tally) {
    assert_eq!(tally.seen, tally.acted + tally.skipped_count() + tally.failed, "{tally:?}");
}

on_both! {
    async fn a_payout_goes_from_pending_to_completed_and_its_commissions_are_paid(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        let submitted = h.tally("submit-transfers").await;
        assert_eq!((submitted.seen, submitted.acted), (2, 2));
        assert_eq!(submitted.amounts.to_string(), "20.01 USD");
        let sent = [("ana".to_owned(), "processing"), ("ben".to_owned(), "processing")];
        assert_eq!(h.outcomes().await, sent);
        let settled = h.tally("reconcile-transfers").await;
        assert_eq!((settled.seen, settled.acted), (2, 2));
        assert_eq!(settled.outcomes["settled"].count, 2);
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "completed"), ("ben".to_owned(), "completed")]);
        assert_eq!(h.wallet("ana").await, Wallet { paid: 1_000, ..Wallet::default() });
        assert_eq!(h.commission_of("ana-0").await.status, "paid");
        let id = h.payouts().await[0].payout_id.clone();
        let story = h.store.events(&h.org, &id).await.expect("events");
        let story: Vec<_> = story.iter().map(|event| event.status.as_str()).collect();
        assert_eq!(story, ["pending", "processing", "completed"]);
    }

    async fn submitting_again_sends_nothing_again(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        assert_eq!(h.submit().await.acted, 1);
        assert_eq!(h.submit().await.seen, 0);
        h.settle_all().await;
        assert_eq!(h.submit().await.seen, 0);
        assert_eq!(h.count("submissions").await, 1);
    }

    async fn two_workers_send_each_payout_once(h: &Harness) {
        let names: Vec<String> = (0..24).map(|i| format!("aff-{i}")).collect();
        payouts_of(h, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let few = engine(h, h.rail(json!({"batch_size": 3})));
        let (one, other) = tokio::join!(h.submit_with(&few), h.submit_with(&few));
        assert_eq!(one.acted + other.acted, 24);
        h.settle_all().await;
        assert_eq!(h.at.sandbox.books().paypal.len(), 24);
    }

    async fn a_payee_whom_the_provider_names_fails_and_the_others_are_paid(h: &Harness) {
        payouts_of(h, &["ana", "refused-ben", "cem", "refused-dan"]).await;
        let tally = h.submit().await;
        adds_up(&tally);
        assert_eq!((tally.outcomes["rejected"].count, tally.outcomes["accepted"].count), (2, 2));
        h.settle_all().await;
        let outcomes = h.outcomes().await;
        let status = |name: &str| outcomes.iter().find(|(n, _)| n == name).expect("there").1;
        assert_eq!((status("ana"), status("cem")), ("completed", "completed"));
        assert_eq!((status("refused-ben"), status("refused-dan")), ("failed", "failed"));
        assert_eq!(h.wallet("refused-ben").await, Wallet { available: 1_001, ..Wallet::default() });
        let failed = h.payouts().await.into_iter().find(|p| p.status == PayoutStatus::Failed);
        let failed = failed.expect("a failed payout");
        assert_eq!(failed.failure_code.as_deref(), Some("VALIDATION_ERROR"));
        // The address is at fault: nothing is paid to it until it is verified again.
        let retried = h.engine.retry(&h.work(), &h.org, &failed.payout_id).await;
        let refused = retried.expect_err("refused").to_string();
        assert!(refused.contains("method_unverified"), "{refused}");
    }

    async fn a_payee_whom_the_provider_does_not_name_is_found_by_halves(h: &Harness) {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        payouts_of(h, &names).await;
        let answer = Sent::Refused { items: Vec::new(), problem: Problem::new("GRUMP", "no") };
        let rail = h.rail(json!({}));
        let grump = engine(h, Arc::new(Grump { rail, dislikes_minor: 1_003, answer }));
        let tally = h.submit_with(&grump).await;
        adds_up(&tally);
        assert_eq!((tally.outcomes["rejected"].count, tally.outcomes["accepted"].count), (1, 6));
        h.settle_all().await;
        for (name, status) in h.outcomes().await {
            assert_eq!(status, if name == "d" { "failed" } else { "completed" }, "{name}");
        }
        assert_eq!(h.wallet("d").await, Wallet { available: 1_003, ..Wallet::default() });
        assert_eq!(h.commission_of("d-0").await.allocated, 0);
    }

    async fn what_never_reached_the_provider_is_sent_later_under_the_same_reference(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        let nowhere = engine(h, h.rail(json!({"base_url": "http://127.0.0.1:9"})));
        let tally = h.submit_with(&nowhere).await;
        assert_eq!((tally.acted, tally.failed, tally.outcomes["not_sent"].count), (0, 1, 1));
        assert_eq!(h.count("transfers WHERE state = 'prepared'").await, 1);
        let id = h.payouts().await[0].payout_id.clone();
        let before = h.references(&id).await;
        h.settle_all().await;
        assert_eq!(h.references(&id).await, before);
        assert_eq!(h.at.sandbox.books().paypal[0].reference, before[0]);
    }

    async fn without_funds_nobody_fails_and_everybody_is_paid_later(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        let poor = engine(h, h.rail(json!({"note": "ERRPYO005"})));
        let tally = h.submit_with(&poor).await;
        assert_eq!((tally.acted, tally.failed, tally.outcomes["awaiting_funds"].count), (0, 2, 2));
        assert!(tally.notes[0].contains("INSUFFICIENT_FUNDS"), "{:?}", tally.notes);
        assert_eq!(h.count("payouts WHERE status = 'processing'").await, 2);
        assert_eq!(h.submit().await.seen, 0, "the rail is left alone for a while");
        h.clock.advance(TimeDelta::minutes(15));
        assert_eq!(h.submit().await.acted, 2);
        h.settle_all().await;
    }

    async fn a_person_may_try_a_blocked_rail_at_once(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        h.submit_with(&engine(h, h.rail(json!({"note": "ERRPYO005"})))).await;
        let tally = h.engine.submit_all(&h.work(), Reach::All, &Scope::default()).await;
        assert_eq!(tally.expect("a submit").acted, 1);
        h.settle_all().await;
    }

    async fn a_rail_that_asks_for_a_long_pause_is_left_alone_for_it(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        let answer = Sent::Throttled {
            retry_after: Some(TimeDelta::minutes(3)),
            problem: Problem::new("SLOW_DOWN", "later"),
        };
        let rail = h.rail(json!({}));
        let tired = engine(h, Arc::new(Grump { rail, dislikes_minor: 1_000, answer }));
        let tally = h.submit_with(&tired).await;
        adds_up(&tally);
        assert_eq!(tally.outcomes["throttled"].count, 1);
        h.clock.advance(TimeDelta::minutes(3) - TimeDelta::milliseconds(1));
        assert_eq!(h.submit().await.seen, 0);
        h.clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(h.submit().await.acted, 1);
        h.settle_all().await;
    }

    async fn a_job_with_a_scope_touches_nobody_else(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        h.submit_with(&engine(h, h.rail(json!({"base_url": "http://127.0.0.1:9"})))).await;
        h.earn("ana", "more", &[2_000]).await;
        h.ask("ana", 2_000).await.expect("a payout");
        for scope in [json!({"orgs": ["other"]}), json!({"methods": ["ach"]}), json!({"currencies": ["EUR"]})] {
            let scope: Scope = serde_json::from_value(scope).expect("a scope");
            let tally = h.engine.submit_all(&h.work(), Reach::All, &scope).await;
            assert_eq!(tally.expect("a submit").seen, 0, "{scope:?}");
        }
        let scope = json!({"orgs": ["acme"], "methods": ["paypal"], "currencies": ["USD"]});
        let scope: Scope = serde_json::from_value(scope).expect("a scope");
        let tally = h.engine.submit_all(&h.work(), Reach::All, &scope).await;
        assert_eq!(tally.expect("a submit").acted, 2);
        h.settle_all().await;
    }

    async fn payouts_wait_while_their_rail_is_not_configured(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        let tally = h.submit_with(&h.engine_with(Vec::new(), EngineSettings::default())).await;
        adds_up(&tally);
        assert_eq!(tally.skipped["rail_not_configured"].count, 2);
        assert!(tally.notes[0].contains("[providers.paypal]"), "{:?}", tally.notes);
        assert_eq!(h.count("payouts WHERE status = 'pending'").await, 2);
        h.settle_all().await;
    }

    async fn who_is_suspended_before_the_send_is_not_paid(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        h.change("UPDATE affiliates SET status = 'suspended' WHERE affiliate_id = 'ana'").await;
        let tally = h.submit().await;
        adds_up(&tally);
        assert_eq!((tally.acted, tally.skipped["not_active"].count), (1, 1));
        let ana = &h.payouts().await.into_iter().find(|p| p.affiliate_id.as_str() == "ana").expect("hers");
        assert_eq!((ana.status, ana.failure_code.as_deref()), (PayoutStatus::Cancelled, Some("not_active")));
        assert!(ana.failure_message.as_deref().is_some_and(|words| words.contains("suspended")));
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_000, ..Wallet::default() });
        h.settle_all().await;
    }

    async fn who_is_suspended_after_a_send_that_never_left_is_not_paid_either(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        h.submit_with(&engine(h, h.rail(json!({"base_url": "http://127.0.0.1:9"})))).await;
        h.change("UPDATE payout_methods SET status = 'disabled' WHERE affiliate_id = 'ana'").await;
        let tally = h.submit().await;
        adds_up(&tally);
        h.settle_all().await;
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "failed"), ("ben".to_owned(), "completed")]);
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_000, ..Wallet::default() });
    }

    async fn a_method_that_is_gone_stops_its_own_payout_and_no_other(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        h.change("DELETE FROM payout_methods WHERE affiliate_id = 'ana'").await;
        assert_eq!(h.submit().await.acted, 1);
        h.settle_all().await;
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "cancelled"), ("ben".to_owned(), "completed")]);
    }

    async fn a_run_stops_sending_after_unclear_answers_in_a_row(h: &Harness) {
        payouts_of(h, &["a", "b", "c", "d", "e"]).await;
        h.arm("error_before", json!({"times": 9})).await;
        let one_each = engine(h, h.rail(json!({"batch_size": 1})));
        let tally = h.submit_with(&one_each).await;
        assert_eq!(tally.outcomes["unknown"].count, 3);
        assert_eq!(h.count("payouts WHERE status = 'pending'").await, 2);
        h.at.control("DELETE", "faults", json!({})).await;
        h.settle_all().await;
        assert_eq!(h.at.sandbox.books().paypal.len(), 5);
    }

    async fn each_currency_leaves_in_batches_of_its_own(h: &Harness) {
        h.enrol(program("dollars"), &["ana"]).await;
        let yen = |minor| payoutd::domain::Money::new(minor, "JPY".parse().expect("a currency"));
        h.enrol_program(payoutd::domain::NewProgram { min_payout: yen(100), ..program("yen") }).await;
        h.enrol_affiliates(&[affiliate("ken", "yen")]).await;
        h.earn("ana", "a", &[1_500]).await;
        h.accrue(&[crate::harness::commission("k", "ken", yen(700), h.clock.now())]).await;
        assert_eq!(h.tally("auto-payout").await.amounts.to_string(), "700 JPY, 15.00 USD");
        h.settle_all().await;
        let mut amounts: Vec<_> =
            h.at.sandbox.books().paypal.into_iter().map(|row| row.amount).collect();
        amounts.sort();
        assert_eq!(amounts, ["15.00", "700"]);
        assert_eq!(h.count("submissions").await, 2);
    }

    async fn a_big_batch_is_paid_completely(h: &Harness) {
        let names: Vec<String> = (0..1_200).map(|i| format!("aff-{i:04}")).collect();
        h.enrol(program("creator"), &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let commissions: Vec<_> = (1_000..)
            .zip(&names)
            .map(|(minor, name)| h.commission(&format!("c-{name}"), name, minor))
            .collect();
        h.accrue(&commissions).await;
        assert_eq!(h.tally("auto-payout").await.acted, 1_200);
        let paged = engine(h, h.rail(json!({"page_size": 100})));
        assert_eq!(h.submit_with(&paged).await.acted, 1_200);
        assert_eq!(h.count("submissions").await, 3);
        assert_eq!(h.reconcile_with(&paged).await.outcomes["settled"].count, 1_200);
        assert_eq!(h.count("commissions WHERE status = 'paid'").await, 1_200);
    }
}
