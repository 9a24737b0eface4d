//! Money is asked out: the gates, the lines, one payout per period, and what a person may do.

use chrono::TimeDelta;
use payoutd::domain::{
    AffiliateStatus, Gate, MethodStatus, Money, NewAffiliate, NewProgram, PayoutStatus,
};
use payoutd::engine::{EngineError, PersonRequest};
use payoutd::store::DecisionRow;

use crate::harness::{Harness, Wallet, affiliate, program};

async fn decision(h: &Harness, name: &str) -> DecisionRow {
    let id = name.parse().expect("an id");
    let mut decisions = h.store.decisions_of(&h.org, &id, 1).await.expect("decisions");
    decisions.pop().unwrap_or_else(|| panic!("{name} has no decision"))
}

async fn failing(h: &Harness, name: &str) -> Vec<Gate> {
    let decision = decision(h, name).await;
    let gates: Vec<_> = decision.failing().expect("gates").iter().map(|check| check.gate).collect();
    assert_eq!(decision.first_gate, gates.first().copied(), "{name}");
    gates
}

fn changed(name: &str, change: impl FnOnce(&mut NewAffiliate)) -> NewAffiliate {
    let mut affiliate = affiliate(name, "creator");
    change(&mut affiliate);
    affiliate
}

on_both! {
    async fn weekly_run_pays_who_reached_the_minimum_and_says_why_it_skipped_the_others(h: &Harness) {
        h.enrol(program("creator"), &["paid", "low"]).await;
        h.enrol(NewProgram { auto_payout: false, ..program("quiet") }, &["off"]).await;
        h.enrol(program("paused"), &["rests"]).await;
        h.enrol_affiliates(&[
            changed("suspended", |a| a.status = AffiliateStatus::Suspended),
            changed("homeless", |a| a.method = None),
            changed("unproven", |a| a.method.as_mut().expect("one").status = MethodStatus::Pending),
            changed("hopeless", |a| {
                a.status = AffiliateStatus::Pending;
                a.method = None;
            }),
        ]).await;
        for name in ["paid", "off", "rests", "suspended", "homeless", "unproven"] {
            h.earn(name, name, &[1_000]).await;
        }
        h.earn("low", "low", &[999]).await;
        h.earn("hopeless", "hopeless", &[1]).await;
        h.change("UPDATE programs SET status = 'paused' WHERE program_id = 'paused'").await;

        let tally = h.tally("auto-payout").await;
        assert_eq!((tally.seen, tally.acted, tally.skipped_count()), (8, 1, 7));
        assert_eq!(failing(h, "paid").await, []);
        assert_eq!(failing(h, "low").await, [Gate::BelowMinimum]);
        assert_eq!(failing(h, "off").await, [Gate::AutoPayoutOff]);
        assert_eq!(failing(h, "rests").await, [Gate::ProgramNotActive]);
        assert_eq!(failing(h, "suspended").await, [Gate::NotActive]);
        assert_eq!(failing(h, "homeless").await, [Gate::NoMethod]);
        assert_eq!(failing(h, "unproven").await, [Gate::MethodUnverified]);
        assert_eq!(failing(h, "hopeless").await, [Gate::NotActive, Gate::NoMethod, Gate::BelowMinimum]);
        let low = decision(h, "low").await.failing().expect("gates").remove(0);
        assert_eq!((low.wants.as_str(), low.found.as_str()), ("at least 10.00 USD", "9.99 USD"));
        assert_eq!(h.wallet("paid").await, Wallet { in_flight: 1_000, ..Wallet::default() });
        assert_eq!(h.wallet("low").await.available, 999);
        assert_eq!(tally.skipped["not_active"].count, 2);
        h.settle_all().await;
    }

    async fn a_frozen_wallet_a_debt_and_a_currency_that_was_taken_away_are_skipped(h: &Harness) {
        h.ledger_is_broken();
        h.enrol(program("creator"), &["frozen", "owing"]).await;
        h.enrol(program("yen"), &["tokyo"]).await;
        for name in ["frozen", "owing", "tokyo"] {
            h.earn(name, name, &[1_000]).await;
        }
        h.change("UPDATE wallets SET status = 'frozen' WHERE affiliate_id = 'frozen'").await;
        h.change("UPDATE wallets SET available_minor = -5 WHERE affiliate_id = 'owing'").await;
        h.change("DELETE FROM program_currencies WHERE program_id = 'yen'").await;
        let (_, tally) = h.ask_all("2026-W10", 100).await;
        assert_eq!((tally.seen, tally.acted), (3, 0));
        assert_eq!(failing(h, "frozen").await, [Gate::WalletFrozen]);
        assert_eq!(failing(h, "owing").await, [Gate::NegativeBalance, Gate::BelowMinimum]);
        assert_eq!(failing(h, "tokyo").await, [Gate::CurrencyNotEnabled]);
    }

    async fn a_balance_of_exactly_zero_leaves_no_decision(h: &Harness) {
        h.enrol(NewProgram { hold_days: 7, ..program("creator") }, &["ana"]).await;
        h.earn("ana", "held", &[5_000]).await;
        assert_eq!(h.tally("auto-payout").await.seen, 0);
        assert_eq!(h.count("decisions").await, 0);
    }

    async fn lines_are_first_credited_first_and_the_last_may_be_a_part(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        for order in ["z", "y", "x"] {
            h.earn("ana", order, &[600]).await;
            h.clock.advance(TimeDelta::seconds(1));
        }
        let first = h.ask("ana", 1_000).await.expect("a payout");
        assert_eq!(h.lines(&first).await, [("z-0".into(), 600), ("y-0".into(), 400)]);
        assert_eq!(h.wallet("ana").await, Wallet { available: 800, in_flight: 1_000, ..Wallet::default() });
        h.settle_all().await;
        assert_eq!(h.commission_of("z-0").await.status, "paid");
        let y = h.commission_of("y-0").await;
        assert_eq!((y.status.as_str(), y.allocated, y.paid), ("qualified", 400, 400));
        h.earn("ana", "w", &[200]).await;
        let second = h.ask("ana", 1_000).await.expect("a payout");
        let rest = [("y-0".into(), 200), ("x-0".into(), 600), ("w-0".into(), 200)];
        assert_eq!(h.lines(&second).await, rest);
        h.settle_all().await;
        for order in ["z-0", "y-0", "x-0", "w-0"] {
            assert_eq!(h.commission_of(order).await.status, "paid");
        }
    }

    async fn a_commission_of_two_open_payouts_is_paid_when_both_are(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[5_000]).await;
        let one = h.ask("ana", 2_000).await.expect("a payout");
        let other = h.ask("ana", 3_000).await.expect("a payout");
        assert_eq!(h.lines(&one).await, [("o-0".into(), 2_000)]);
        assert_eq!(h.lines(&other).await, [("o-0".into(), 3_000)]);
        h.engine.cancel(&h.work(), &h.org, &one, "asked by the partner").await.expect("cancelled");
        h.settle_all().await;
        let half = h.commission_of("o-0").await;
        assert_eq!((half.status.as_str(), half.allocated, half.paid), ("qualified", 3_000, 3_000));
        h.ask("ana", 2_000).await.expect("a payout");
        h.settle_all().await;
        assert_eq!(h.commission_of("o-0").await.status, "paid");
    }

    async fn a_wallet_has_one_automatic_payout_per_period(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "one", &[1_000]).await;
        assert_eq!(h.tally("auto-payout").await.acted, 1);
        h.clock.advance(TimeDelta::seconds(1));
        h.earn("ana", "two", &[1_000]).await;
        let again = h.tally("auto-payout").await;
        assert_eq!((again.acted, again.skipped_count()), (0, 1));
        assert_eq!(failing(h, "ana").await, [Gate::PeriodTaken]);
        h.clock.advance(TimeDelta::days(7));
        assert_eq!(h.tally("auto-payout").await.acted, 1);
        h.settle_all().await;
    }

    async fn two_runs_at_once_pay_a_wallet_once(h: &Harness) {
        let names: Vec<String> = (0..30).map(|i| format!("aff-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        h.enrol(program("creator"), &names).await;
        for name in &names {
            h.earn(name, name, &[1_500]).await;
        }
        let (one, other) = tokio::join!(h.ask_all("2026-W10", 4), h.ask_all("2026-W10", 7));
        assert_eq!(one.1.acted + other.1.acted, 30);
        assert_eq!(h.payouts().await.len(), 30);
        h.settle_all().await;
    }

    async fn of_fifty_requests_for_the_money_of_one_only_one_is_granted(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        let requests = (0..50).map(|_| h.ask("ana", 1_500));
        let answers = futures::future::join_all(requests).await;
        let granted = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(granted, 1);
        for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            let EngineError::Refused { failing } = refused else { panic!("{refused:?}") };
            assert!(failing.iter().any(|check| check.gate == Gate::NotEnoughAvailable));
        }
        h.settle_all().await;
    }

    async fn a_person_is_refused_with_every_failing_gate(h: &Harness) {
        h.enrol(program("creator"), &[]).await;
        h.enrol_affiliates(&[changed("ana", |a| a.status = AffiliateStatus::Suspended)]).await;
        h.earn("ana", "o", &[500]).await;
        let error = h.ask("ana", 600).await.expect_err("refused");
        let EngineError::Refused { failing } = &error else { panic!("{error:?}") };
        let gates: Vec<_> = failing.iter().map(|check| check.gate).collect();
        assert_eq!(gates, [Gate::NotActive, Gate::BelowMinimum, Gate::NotEnoughAvailable]);
        assert!(error.is_refusal() && error.code() == "refused");
        for nothing in [0, -1] {
            assert!(matches!(h.ask("ana", nothing).await, Err(EngineError::Refused { .. })));
        }
        assert!(matches!(h.ask("nobody", 1).await, Err(EngineError::NoWallet { .. })));
        assert_eq!(h.wallet("ana").await.available, 500);
    }

    async fn cancelling_gives_everything_back_and_a_retry_asks_again_once(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        let payout = h.ask("ana", 1_500).await.expect("a payout");
        h.engine.cancel(&h.work(), &h.org, &payout, "a mistake").await.expect("cancelled");
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_500, ..Wallet::default() });
        let row = h.payout(&payout).await;
        assert_eq!((row.status, row.failure_message.as_deref()), (PayoutStatus::Cancelled, Some("a mistake")));
        let again = h.engine.cancel(&h.work(), &h.org, &payout, "again").await;
        assert!(matches!(again, Err(EngineError::WrongStatus { .. })));

        let retried = h.engine.retry(&h.work(), &h.org, &payout).await.expect("a new payout");
        assert_eq!(h.payout(&retried).await.retry_of, Some(payout.clone()));
        let twice = h.engine.retry(&h.work(), &h.org, &payout).await;
        assert!(matches!(twice, Err(EngineError::AlreadyRetried { retried_as, .. }) if retried_as == retried));
        let open = h.engine.retry(&h.work(), &h.org, &retried).await;
        assert!(matches!(open, Err(EngineError::WrongStatus { .. })));
        h.settle_all().await;
        for verb in [h.engine.retry(&h.work(), &h.org, &retried).await.map(drop),
                     h.engine.cancel(&h.work(), &h.org, &retried, "late").await] {
            assert!(matches!(verb, Err(EngineError::WrongStatus { .. })));
        }
        let nobody = "po_none".parse().expect("an id");
        let unknown = h.engine.retry(&h.work(), &h.org, &nobody).await;
        assert!(matches!(unknown, Err(EngineError::NoPayout { .. })));
    }

    async fn of_two_retries_at_once_one_is_told_of_the_other(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[5_000]).await;
        let payout = h.ask("ana", 1_500).await.expect("a payout");
        h.engine.cancel(&h.work(), &h.org, &payout, "a mistake").await.expect("cancelled");
        let request = PersonRequest {
            wallet: h.wallet_key("ana"),
            amount_minor: 1_500,
            retry_of: Some(payout.clone()),
        };
        let work = h.work();
        let (one, other) = tokio::join!(
            h.engine.request(&work, &h.org, &request),
            h.engine.request(&work, &h.org, &request),
        );
        let (granted, refused) = match (one, other) {
            (Ok(granted), Err(refused)) | (Err(refused), Ok(granted)) => (granted, refused),
            both => panic!("{both:?}"),
        };
        assert!(matches!(refused, EngineError::AlreadyRetried { retried_as, .. } if retried_as == granted));
        h.settle_all().await;
    }

    async fn cancelling_a_payout_that_may_be_on_its_way_is_refused(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        let payout = h.ask("ana", 1_500).await.expect("a payout");
        h.arm("lost_response", serde_json::json!({})).await;
        h.submit().await;
        let cancel = h.engine.cancel(&h.work(), &h.org, &payout, "please").await.expect_err("refused");
        assert!(cancel.to_string().contains("on its way"), "{cancel}");
        h.settle_all().await;
    }

    async fn pages_of_two_decide_the_same(h: &Harness) {
        let names: Vec<String> = (0..11).map(|i| format!("aff-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        h.enrol(program("creator"), &names).await;
        for (i, name) in (0..).zip(&names) {
            h.earn(name, name, &[500 + 100 * i]).await;
        }
        let (run, tally) = h.ask_all("2026-W10", 2).await;
        assert_eq!((tally.seen, tally.acted, tally.skipped["below_minimum"].count), (11, 6, 5));
        assert_eq!(tally.amounts.to_string(), "75.00 USD");
        let counts = h.store.decision_counts(&h.org, &run).await.expect("counts");
        let counts: Vec<_> = counts.iter().map(|c| (c.first_gate, c.decisions, c.amount_minor)).collect();
        assert!(counts.contains(&(None, 6, 7_500)), "{counts:?}");
        assert!(counts.contains(&(Some(Gate::BelowMinimum), 5, 3_500)), "{counts:?}");
        h.settle_all().await;
    }

    async fn another_org_is_never_touched(h: &Harness) {
        let other = "other".parse().expect("an id");
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        let work = h.work();
        h.engine.enrol_programs(&work, &other, &[program("creator")]).await.expect("enrolled");
        h.engine.enrol_affiliates(&work, &other, &[affiliate("ana", "creator")]).await.expect("enrolled");
        h.engine.accrue(&work, &other, &[h.commission("o-0", "ana", 2_000)]).await.expect("accrued");
        let payout = h.ask("ana", 1_500).await.expect("a payout");
        assert!(matches!(h.engine.cancel(&work, &other, &payout, "x").await, Err(EngineError::NoPayout { .. })));
        assert!(h.store.payout(&other, &payout).await.expect("a read").is_none());
        let sums = h.store.wallet_sums(&other).await.expect("sums");
        assert_eq!(Money::new(sums[0].available_minor, sums[0].currency).to_string(), "20.00");
        h.settle_all().await;
    }
}
