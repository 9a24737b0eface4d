//! Large payouts wait until somebody other than their requester lets them go.

use payoutd::clock::Clock;
use payoutd::domain::{Actor, PayoutId, PayoutStatus, ProgramId};
use payoutd::engine::{EngineError, EngineSettings, Work};

use serde_json::json;

use crate::harness::{Api, Harness, Wallet, answer, program, token};

fn as_ben() -> Work {
    Work::by_person(Actor::caller("staff", "ben"))
}

/// Payouts of more than 20.00 USD wait; ana has 30.00.
async fn with_a_limit(h: &Harness) {
    h.enrol(program("creator"), &["ana"]).await;
    set_limit(h, Some(2_000)).await.expect("a limit");
    h.earn("ana", "o", &[3_000]).await;
}

async fn set_limit(h: &Harness, minor: Option<i64>) -> Result<(), EngineError> {
    let program: ProgramId = "creator".parse().expect("an id");
    let currency = h.wallet_key("ana").currency;
    h.engine.approve_above(&h.work(), &h.org, &program, (currency, minor)).await
}

async fn large(h: &Harness) -> PayoutId {
    with_a_limit(h).await;
    h.ask("ana", 2_001).await.expect("a payout")
}

on_both! {
    async fn only_what_is_above_the_limit_waits_and_it_leaves_once_approved(h: &Harness) {
        with_a_limit(h).await;
        let small = h.ask("ana", 1_000).await.expect("a payout");
        h.earn("ana", "p", &[3_000]).await;
        let (_, tally) = h.ask_all("2026-W10", 10).await;
        assert_eq!(tally.acted, 1);
        let waiting = h.payouts().await.into_iter().find(|payout| payout.payout_id != small);
        let waiting = waiting.expect("a payout");
        assert_eq!((waiting.amount_minor, waiting.requires_approval), (5_000, 1));
        assert_eq!(h.submit().await.acted, 1);
        h.reconcile().await;
        assert_eq!(h.payout(&small).await.status, PayoutStatus::Completed);
        assert_eq!(h.payout(&waiting.payout_id).await.status, PayoutStatus::Pending);
        assert_eq!(h.store.queues().await.expect("queues").len(), 0);

        h.engine.approve(&as_ben(), &h.org, &waiting.payout_id, "seen the orders").await.expect("approved");
        let approved = h.payout(&waiting.payout_id).await;
        assert_eq!((approved.status, approved.approved_by.as_deref()), (PayoutStatus::Approved, Some("staff:ben")));
        let history = h.store.events(&h.org, &waiting.payout_id).await.expect("a history");
        assert_eq!((history[1].actor.as_str(), history[1].reason.as_str()), ("staff:ben", "seen the orders"));
        h.settle_all().await;
        assert_eq!(h.wallet("ana").await, Wallet { paid: 6_000, ..Wallet::default() });
    }

    async fn a_payout_of_exactly_the_limit_needs_no_approval(h: &Harness) {
        with_a_limit(h).await;
        let payout = h.ask("ana", 2_000).await.expect("a payout");
        assert_eq!(h.payout(&payout).await.requires_approval, 0);
        h.settle_all().await;
    }

    async fn who_requested_cannot_approve_whichever_door_they_come_by(h: &Harness) {
        let payout = large(h).await;
        for actor in [Actor::operator("ana"), Actor::caller("staff", "ana")] {
            let work = Work::by_person(actor);
            let refused = h.engine.approve(&work, &h.org, &payout, "").await.expect_err("refused");
            assert!(matches!(refused, EngineError::FourEyes { .. }), "{refused:?}");
            assert!(refused.is_refusal() && refused.code() == "four_eyes");
        }
        assert_eq!(h.payout(&payout).await.status, PayoutStatus::Pending);
        let one = EngineSettings { four_eyes: false, ..EngineSettings::default() };
        let trusting = h.engine_with(vec![h.rail(serde_json::json!({}))], one);
        trusting.approve(&h.work(), &h.org, &payout, "").await.expect("approved");
        h.settle_all().await;
    }

    async fn who_is_paid_or_made_the_key_that_asked_cannot_approve(h: &Harness) {
        let payout = large(h).await;
        let payee = Work::by_person(Actor::caller("staff", "partner-ana"));
        let refused = h.engine.approve(&payee, &h.org, &payout, "").await.expect_err("refused");
        assert!(matches!(refused, EngineError::FourEyes { .. }), "{refused:?}");
        h.engine.cancel(&h.work(), &h.org, &payout, "again").await.expect("cancelled");
        // Somebody else asks again: it is still the money that ana asked for.
        let again = h.engine.retry(&as_ben(), &h.org, &payout).await.expect("a payout");
        for hand in [h.work(), as_ben()] {
            let refused = h.engine.approve(&hand, &h.org, &again, "").await.expect_err("refused");
            assert!(matches!(refused, EngineError::FourEyes { .. }), "{refused:?}");
        }
        h.engine.cancel(&h.work(), &h.org, &again, "again").await.expect("cancelled");
        let api = Api::open(h).await;
        let key = json!({ "name": "shop", "permissions": ["payouts:request"] });
        let made = api.post(&h.staff(), "/keys", key).await.ok();
        let ask = api.bare("POST", "/finance/payouts/request").header("orgid", "acme");
        let ask = ask.header("x-api-key", made["key"].as_str().expect("a key")).json(&json!({
            "amount": 25, "currency": "USD", "method": "paypal",
            "source": { "type": "affiliate", "affiliateId": "ana", "program": "creator" },
        }));
        let asked = answer(ask).await.ok();
        let path = format!("/finance/payouts/{}/approve", asked["payoutId"].as_str().expect("an id"));
        let own = api.post(&token(h, "sam", &["approver"]), &path, json!({})).await;
        assert_eq!((own.status, own.code().as_str()), (403, "four_eyes"), "{own:?}");
        assert_eq!(api.post(&token(h, "zoe", &["approver"]), &path, json!({})).await.status, 200);
        h.settle_all().await;
    }

    async fn it_is_approved_once_and_only_while_it_waits(h: &Harness) {
        let payout = large(h).await;
        let (ben, cem) = (as_ben(), Work::by_person(Actor::caller("staff", "cem")));
        let (one, other) = tokio::join!(
            h.engine.approve(&ben, &h.org, &payout, ""),
            h.engine.approve(&cem, &h.org, &payout, ""),
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1);
        h.settle_all().await;
        let late = h.engine.approve(&as_ben(), &h.org, &payout, "").await;
        assert!(matches!(late, Err(EngineError::WrongStatus { verb: "approved", .. })));
        let nobody = Clock::System.mint::<PayoutId>();
        let unknown = h.engine.approve(&as_ben(), &h.org, &nobody, "").await;
        assert!(matches!(unknown, Err(EngineError::NoPayout { .. })));
        let acts: Vec<_> = h.acts().await.into_iter().map(|(action, _)| action).collect();
        assert_eq!(acts, ["payout.approved", "payout.requested", "program.approval_changed"]);
    }

    async fn a_payout_that_waits_can_be_cancelled_and_asked_again(h: &Harness) {
        let payout = large(h).await;
        h.engine.cancel(&h.work(), &h.org, &payout, "too much").await.expect("cancelled");
        let again = h.engine.retry(&h.work(), &h.org, &payout).await.expect("a payout");
        assert_eq!(h.payout(&again).await.requires_approval, 1);
        h.engine.approve(&as_ben(), &h.org, &again, "").await.expect("approved");
        h.engine.cancel(&h.work(), &h.org, &again, "after all").await.expect("cancelled");
        let acts: Vec<_> = h.acts().await.into_iter().map(|(action, _)| action).collect();
        assert_eq!(acts, ["payout.approved", "payout.cancelled", "payout.cancelled", "payout.requested",
                          "payout.retried", "program.approval_changed"]);
    }

    async fn a_limit_that_is_taken_away_or_means_nothing(h: &Harness) {
        with_a_limit(h).await;
        assert!(matches!(set_limit(h, Some(-1)).await, Err(EngineError::BadAmount { .. })));
        set_limit(h, None).await.expect("no limit");
        let payout = h.ask("ana", 3_000).await.expect("a payout");
        assert_eq!(h.payout(&payout).await.requires_approval, 0);
        let other: ProgramId = "other".parse().expect("an id");
        let currency = h.wallet_key("ana").currency;
        let none = h.engine.approve_above(&h.work(), &h.org, &other, (currency, None)).await;
        assert!(matches!(none, Err(EngineError::NoProgram { .. })));
        h.settle_all().await;
    }
}
