//! What was refunded is taken back: before the hold ends, after it, and after it was paid.

use std::sync::Arc;

use chrono::TimeDelta;
use payoutd::domain::{Bucket, CommissionStatus, Gate, Money, NewProgram, PayoutId, PayoutStatus};
use payoutd::engine::{EngineError, EngineSettings, Reversal};
use payoutd::providers::Standing;

use crate::harness::{Harness, Paper, Wallet, affiliate, banked, program};

fn with_hold(id: &str, hold_days: i64) -> NewProgram {
    NewProgram { hold_days, ..program(id) }
}

/// ana with money of 15.00 USD, at a bank that is a rail of paper; it settles at once.
async fn at_a_bank(h: &Harness) -> (Paper, payoutd::engine::Engine) {
    h.enrol_program(program("creator")).await;
    h.enrol_affiliates(&[banked(affiliate("ana", "creator"))]).await;
    h.earn("ana", "o", &[1_500]).await;
    let paper = Paper::new();
    let engine = h.engine_with(vec![Arc::new(paper.clone())], EngineSettings::default());
    (paper, engine)
}

async fn status(h: &Harness, commission: &str) -> (String, i64, i64) {
    let commission = h.commission_of(commission).await;
    (commission.status, commission.allocated, commission.paid)
}

fn at(status: &str, allocated: i64, paid: i64) -> (String, i64, i64) {
    (status.to_owned(), allocated, paid)
}

/// A commission of ana's that is in flight and reversed, and a later payout that nets it.
async fn two_payouts_of_one_commission(
    h: &Harness,
) -> (Paper, payoutd::engine::Engine, PayoutId, PayoutId) {
    let (paper, engine) = at_a_bank(h).await;
    paper.told().standing = Some(Standing::Open);
    let first = h.ask("ana", 1_500).await.expect("a payout");
    h.submit_with(&engine).await;
    h.reverse("o-0", "r-1", None).await.expect("reversed");
    h.clock.advance(TimeDelta::seconds(1));
    h.earn("ana", "p", &[4_000]).await;
    let second = h.ask("ana", 2_500).await.expect("a payout");
    assert_eq!(h.lines(&second).await, [("o-0".into(), -1_500), ("p-0".into(), 4_000)]);
    assert_eq!(status(h, "o-0").await, at("reversed", 0, 0));
    (paper, engine, first, second)
}

on_both! {
    async fn before_the_hold_ends_it_never_becomes_available(h: &Harness) {
        h.enrol(with_hold("creator", 7), &["ana"]).await;
        h.earn("ana", "o", &[500, 700, 300]).await;
        let whole = h.reverse("o-0", "r-1", None).await.expect("reversed");
        assert_eq!((whole.from, whole.amount.minor, whole.status), (Bucket::Held, 500, CommissionStatus::Reversed));
        let part = h.reverse("o-1", "r-2", Some(200)).await.expect("reversed");
        assert_eq!((part.from, part.status), (Bucket::Held, CommissionStatus::Held));
        assert_eq!(h.wallet("ana").await, Wallet { held: 800, ..Wallet::default() });
        h.clock.advance(TimeDelta::days(7));
        let released = h.tally("release-holds").await;
        assert_eq!((released.acted, released.amounts.to_string()), (2, "8.00 USD".to_owned()));
        assert_eq!(h.wallet("ana").await, Wallet { available: 800, ..Wallet::default() });
        assert_eq!(status(h, "o-0").await, at("reversed", 0, 0));
        assert_eq!(status(h, "o-1").await, at("qualified", 0, 0));
    }

    async fn after_the_hold_it_is_taken_from_what_is_available(h: &Harness) {
        h.enrol(with_hold("creator", 7), &["ana"]).await;
        h.earn("ana", "o", &[500, 700]).await;
        h.reverse("o-1", "r-0", Some(100)).await.expect("reversed");
        h.clock.advance(TimeDelta::days(7));
        h.job("release-holds").await;
        let part = h.reverse("o-1", "r-1", Some(250)).await.expect("reversed");
        assert_eq!((part.from, part.status), (Bucket::Available, CommissionStatus::Qualified));
        assert_eq!(h.wallet("ana").await, Wallet { available: 850, ..Wallet::default() });
        h.reverse("o-1", "r-2", None).await.expect("reversed");
        assert_eq!(h.wallet("ana").await, Wallet { available: 500, ..Wallet::default() });
        assert_eq!(status(h, "o-1").await, at("reversed", 0, 0));
        let told = h.store.reversals(&h.org, &"o-1".parse().expect("an id")).await.expect("reversals");
        let told: Vec<_> = told.iter().map(|one| (one.refund_id.as_str(), one.amount_minor, one.from_bucket)).collect();
        assert_eq!(told, [("r-0", 100, Bucket::Held), ("r-1", 250, Bucket::Available), ("r-2", 350, Bucket::Available)]);
    }

    async fn after_payment_the_balance_goes_below_zero_and_the_next_payout_nets_it(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        h.ask("ana", 1_500).await.expect("a payout");
        h.settle_all().await;
        let back = h.reverse("o-0", "r-1", None).await.expect("reversed");
        assert_eq!((back.from, back.status), (Bucket::Available, CommissionStatus::Reversed));
        assert_eq!(h.wallet("ana").await, Wallet { available: -1_500, paid: 1_500, ..Wallet::default() });
        let (_, skipped) = h.ask_all("2026-W10", 10).await;
        assert_eq!(skipped.skipped[Gate::NegativeBalance.as_str()].count, 1);
        assert!(matches!(h.ask("ana", 1_000).await, Err(EngineError::Refused { .. })));
        h.earn("ana", "p", &[4_000]).await;
        let (_, tally) = h.ask_all("2026-W11", 10).await;
        assert_eq!((tally.acted, tally.amounts.to_string()), (1, "25.00 USD".to_owned()));
        let open = h.payouts().await.into_iter().find(|payout| payout.status == PayoutStatus::Pending);
        let netting = open.expect("a payout").payout_id;
        assert_eq!(h.lines(&netting).await, [("o-0".into(), -1_500), ("p-0".into(), 4_000)]);
        assert_eq!(status(h, "o-0").await, at("reversed", 0, 1_500));
        h.settle_all().await;
        assert_eq!(h.wallet("ana").await, Wallet { paid: 4_000, ..Wallet::default() });
        assert_eq!(status(h, "o-0").await, at("reversed", 0, 0));
        assert_eq!(status(h, "p-0").await, at("paid", 4_000, 4_000));
    }

    async fn a_part_of_what_was_paid_is_owed_and_the_commission_stays_paid(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        h.ask("ana", 1_500).await.expect("a payout");
        h.settle_all().await;
        h.reverse("o-0", "r-1", Some(400)).await.expect("reversed");
        assert_eq!(h.wallet("ana").await.available, -400);
        assert_eq!(status(h, "o-0").await, at("paid", 1_500, 1_500));
        h.earn("ana", "p", &[1_400]).await;
        h.ask("ana", 1_000).await.expect("a payout");
        h.settle_all().await;
        assert_eq!(status(h, "o-0").await, at("paid", 1_100, 1_100));
        h.reverse("o-0", "r-2", None).await.expect("reversed");
        assert_eq!((h.wallet("ana").await.available, status(h, "o-0").await), (-1_100, at("reversed", 1_100, 1_100)));
    }

    async fn a_payout_under_way_goes_on_and_the_next_one_pays_less(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        let first = h.ask("ana", 1_500).await.expect("a payout");
        h.reverse("o-0", "r-1", Some(600)).await.expect("reversed");
        assert_eq!(h.wallet("ana").await, Wallet { available: -600, in_flight: 1_500, ..Wallet::default() });
        h.settle_all().await;
        let paid = h.payout(&first).await;
        assert_eq!((paid.status, paid.amount_minor), (PayoutStatus::Completed, 1_500));
        h.earn("ana", "p", &[2_000]).await;
        assert!(matches!(h.ask("ana", 1_401).await, Err(EngineError::Refused { .. })));
        h.ask("ana", 1_400).await.expect("a payout");
        h.settle_all().await;
        assert_eq!(h.wallet("ana").await, Wallet { paid: 2_900, ..Wallet::default() });
    }

    async fn a_payout_that_fails_after_its_reversal_leaves_nothing(h: &Harness) {
        let (paper, engine) = at_a_bank(h).await;
        paper.told().standing = Some(Standing::Rejected);
        h.ask("ana", 1_500).await.expect("a payout");
        h.submit_with(&engine).await;
        h.reverse("o-0", "r-1", None).await.expect("reversed");
        h.reconcile_with(&engine).await;
        assert_eq!(h.wallet("ana").await, Wallet::default());
        assert_eq!(status(h, "o-0").await, at("reversed", 0, 0));
    }

    async fn a_payout_that_comes_back_after_its_reversal_leaves_what_was_not_reversed(h: &Harness) {
        let (paper, engine) = at_a_bank(h).await;
        h.ask("ana", 1_500).await.expect("a payout");
        h.submit_with(&engine).await;
        h.reconcile_with(&engine).await;
        h.reverse("o-0", "r-1", Some(400)).await.expect("reversed");
        paper.told().standing = Some(Standing::Returned);
        h.clock.advance(TimeDelta::days(2));
        h.reconcile_with(&engine).await;
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_100, ..Wallet::default() });
        assert_eq!(status(h, "o-0").await, at("qualified", 0, 0));
        let again = h.ask("ana", 1_100).await.expect("a payout");
        assert_eq!(h.lines(&again).await, [("o-0".into(), 1_100)]);
    }

    async fn a_netting_payout_that_fails_owes_the_debt_again(h: &Harness) {
        let (paper, engine, first, second) = two_payouts_of_one_commission(h).await;
        h.engine.cancel(&h.work(), &h.org, &second, "a mistake").await.expect("cancelled");
        assert_eq!(h.wallet("ana").await, Wallet { available: 2_500, in_flight: 1_500, ..Wallet::default() });
        assert_eq!(status(h, "o-0").await, at("reversed", 1_500, 0));
        paper.told().standing = Some(Standing::Settled);
        h.reconcile_with(&engine).await;
        assert_eq!(h.payout(&first).await.status, PayoutStatus::Completed);
        let third = h.ask("ana", 1_000).await.expect("a payout");
        assert_eq!(h.lines(&third).await, [("o-0".into(), -1_500), ("p-0".into(), 2_500)]);
    }

    async fn what_was_netted_and_then_never_paid_is_paid_again(h: &Harness) {
        let (paper, engine, first, second) = two_payouts_of_one_commission(h).await;
        paper.told().standing = Some(Standing::Rejected);
        h.reconcile_with(&engine).await;
        assert_eq!(h.payout(&first).await.status, PayoutStatus::Failed);
        // The second payout took 15.00 too little, and the first one never paid them.
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_500, in_flight: 2_500, ..Wallet::default() });
        assert_eq!(status(h, "o-0").await, at("reversed", -1_500, 0));
        paper.told().standing = Some(Standing::Settled);
        h.submit_with(&engine).await;
        h.reconcile_with(&engine).await;
        assert_eq!(h.payout(&second).await.status, PayoutStatus::Completed);
        assert_eq!(status(h, "o-0").await, at("reversed", -1_500, -1_500));
        let third = h.ask("ana", 1_500).await.expect("a payout");
        assert_eq!(h.lines(&third).await, [("o-0".into(), 1_500)]);
        h.submit_with(&engine).await;
        h.reconcile_with(&engine).await;
        assert_eq!(h.wallet("ana").await, Wallet { paid: 4_000, ..Wallet::default() });
        assert_eq!(status(h, "o-0").await, at("reversed", 0, 0));
    }

    async fn a_request_for_a_part_nets_every_debt_whole(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500, 1_000]).await;
        h.ask("ana", 2_500).await.expect("a payout");
        h.settle_all().await;
        h.reverse("o-0", "r-1", Some(300)).await.expect("reversed");
        h.reverse("o-1", "r-2", Some(200)).await.expect("reversed");
        h.clock.advance(TimeDelta::seconds(1));
        h.earn("ana", "p", &[1_000, 2_000]).await;
        let part = h.ask("ana", 1_200).await.expect("a payout");
        let lines = [("o-0", -300), ("o-1", -200), ("p-0", 1_000), ("p-1", 700)];
        assert_eq!(h.lines(&part).await, lines.map(|(item, minor)| (item.to_owned(), minor)));
        assert_eq!(h.wallet("ana").await.available, 1_300);
        h.settle_all().await;
    }

    async fn a_refund_takes_back_once_however_often_it_is_told(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[500, 700]).await;
        let first = h.reverse("o-0", "r-1", Some(200)).await.expect("reversed");
        let again = h.reverse("o-0", "r-1", Some(200)).await.expect("known");
        assert!(!first.repeated && again.repeated);
        assert_eq!((again.amount, again.from, again.status), (first.amount, first.from, first.status));
        // The same refund of another commission is another reversal.
        assert!(!h.reverse("o-1", "r-1", None).await.expect("reversed").repeated);
        assert!(h.reverse("o-1", "r-1", None).await.expect("known").repeated);
        for other in [h.reverse("o-0", "r-1", Some(201)).await, h.reverse("o-0", "r-1", None).await] {
            assert!(matches!(other, Err(EngineError::OtherContent { differs: "amount", .. })), "{other:?}");
        }
        assert!(h.reverse("o-1", "r-1", Some(700)).await.expect("known").repeated, "it was as much");
        assert_eq!((h.wallet("ana").await.available, h.count("reversals").await), (300, 2));
        assert_eq!(h.acts().await.len(), 2, "what changes nothing is no act");
    }

    async fn another_reason_under_a_known_refund_is_refused(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[500]).await;
        h.reverse("o-0", "r-1", None).await.expect("reversed");
        let reversal = Reversal {
            commission_id: "o-0".parse().expect("an id"),
            refund_id: "r-1".parse().expect("an id"),
            amount: None,
            reason: "charged back".to_owned(),
        };
        let other = h.engine.reverse(&h.work(), &h.org, &reversal).await.expect_err("refused");
        assert!(matches!(other, EngineError::OtherContent { differs: "reason", .. }), "{other:?}");
        assert!(other.is_refusal());
    }

    async fn no_more_is_taken_back_than_was_earned(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[500, 0]).await;
        h.reverse("o-0", "r-1", Some(200)).await.expect("reversed");
        let more = h.reverse("o-0", "r-2", Some(301)).await.expect_err("refused");
        assert!(matches!(&more, EngineError::NothingLeft { left, .. } if left.minor == 300), "{more:?}");
        h.reverse("o-0", "r-2", Some(300)).await.expect("reversed");
        for nothing in ["o-0", "o-1"] {
            let nothing = h.reverse(nothing, "r-3", None).await;
            assert!(matches!(nothing, Err(EngineError::NothingLeft { .. })), "{nothing:?}");
        }
        for minor in [0, -1] {
            let meaningless = h.reverse("o-0", "r-4", Some(minor)).await;
            assert!(matches!(meaningless, Err(EngineError::BadAmount { .. })), "{meaningless:?}");
        }
        let reversal = Reversal {
            commission_id: "o-0".parse().expect("an id"),
            refund_id: "r-5".parse().expect("an id"),
            amount: Some(Money::new(1, "JPY".parse().expect("a currency"))),
            reason: "refunded".to_owned(),
        };
        let yen = h.engine.reverse(&h.work(), &h.org, &reversal).await;
        assert!(matches!(yen, Err(EngineError::BadAmount { .. })), "{yen:?}");
        assert!(matches!(h.reverse("x", "r", None).await, Err(EngineError::NoCommission { .. })));
        let other = "other".parse().expect("an id");
        let reversal = Reversal { amount: None, ..reversal };
        let elsewhere = h.engine.reverse(&h.work(), &other, &reversal).await;
        assert!(matches!(elsewhere, Err(EngineError::NoCommission { .. })), "{elsewhere:?}");
        assert_eq!(h.wallet("ana").await, Wallet::default());
    }

    async fn ids_that_hold_colons_never_meet_in_one_key(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let commissions = [h.commission("a", "ana", 500), h.commission("a:b", "ana", 500)];
        h.accrue(&commissions).await;
        h.reverse("a:b", "c", None).await.expect("reversed");
        h.reverse("a", "b:c", None).await.expect("reversed");
        assert_eq!(h.wallet("ana").await, Wallet::default());
    }

    async fn of_twenty_tellings_at_once_one_takes_back(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[500]).await;
        let told = futures::future::join_all((0..20).map(|_| h.reverse("o-0", "r-1", None))).await;
        let told: Vec<_> = told.into_iter().map(|told| told.expect("reversed or known")).collect();
        assert_eq!(told.iter().filter(|told| !told.repeated).count(), 1);
        let two = h.commission("p-0", "ana", 500);
        h.accrue(&[two]).await;
        let refunds = (0..20).map(|i| async move { h.reverse("p-0", &format!("r-{i}"), Some(400)).await });
        let answers = futures::future::join_all(refunds).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert_eq!(h.wallet("ana").await.available, 100);
    }

    async fn reversals_race_with_releases_and_requests_and_the_ledger_holds(h: &Harness) {
        h.leaves_money_under_way();
        let names: Vec<String> = (0..24).map(|i| format!("aff-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        h.enrol(with_hold("creator", 1), &names).await;
        for name in &names {
            h.earn(name, name, &[1_000, 700, 300]).await;
        }
        h.clock.advance(TimeDelta::days(1));
        let (org, creator) = (h.org.clone(), "creator".parse().expect("an id"));
        let work = h.work();
        let release = async {
            for _ in 0..2 {
                h.engine.release_program(&work, &org, &creator, 5).await.expect("released");
            }
        };
        let requests = async {
            for week in 10..14 {
                h.ask_all(&format!("2026-W{week}"), 7).await;
            }
        };
        let asked = futures::future::join_all(names.iter().map(|name| h.ask(name, 1_000)));
        let refund = |name| async move {
            h.reverse(&format!("{name}-0"), "r-1", Some(400)).await.expect("reversed");
            h.reverse(&format!("{name}-1"), "r-1", None).await.expect("reversed");
            h.reverse(&format!("{name}-0"), "r-2", None).await.expect("reversed");
        };
        let refunds = futures::future::join_all(names.iter().map(|name| refund(*name)));
        tokio::join!(release, requests, asked, refunds);
        for name in &names {
            let wallet = h.wallet(name).await;
            assert_eq!(wallet.held + wallet.available + wallet.in_flight, 300, "{name}: {wallet:?}");
        }
        assert_eq!(h.count("entries WHERE kind = 'reverse'").await, 72);
    }
}
