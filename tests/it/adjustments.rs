//! What a person adds to a wallet, takes from it, or freezes.

use payoutd::domain::{Gate, LARGEST_COMMISSION_MINOR, Money, WalletKey};
use payoutd::engine::{Adjustment, EngineError};
use payoutd::store::WalletFilter;

use crate::harness::{Harness, Wallet, program};

fn adjustment(h: &Harness, id: &str, minor: i64) -> Adjustment {
    Adjustment {
        adjustment_id: id.parse().expect("an id"),
        wallet: h.wallet_key("ana"),
        amount_minor: minor,
        reason: "a bonus, or a fee".to_owned(),
    }
}

on_both! {
    async fn a_bonus_is_paid_like_a_commission_first_credited_first(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[800]).await;
        h.clock.advance(chrono::TimeDelta::seconds(1));
        assert!(h.adjust("ana", "bonus", 500).await.expect("adjusted"));
        h.clock.advance(chrono::TimeDelta::seconds(1));
        h.earn("ana", "p", &[800]).await;
        assert_eq!(h.wallet("ana").await, Wallet { available: 2_100, ..Wallet::default() });
        let payout = h.ask("ana", 1_000).await.expect("a payout");
        assert_eq!(h.lines(&payout).await, [("o-0".into(), 800), ("bonus".into(), 200)]);
        h.settle_all().await;
        let rest = h.ask("ana", 1_100).await.expect("a payout");
        assert_eq!(h.lines(&rest).await, [("bonus".into(), 300), ("p-0".into(), 800)]);
        h.settle_all().await;
        assert_eq!(h.count("adjustments WHERE allocated_minor = 500 AND paid_minor = 500").await, 1);
    }

    async fn what_is_taken_and_not_there_is_owed_and_netted(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_000]).await;
        h.adjust("ana", "fee", -1_300).await.expect("adjusted");
        assert_eq!(h.wallet("ana").await, Wallet { available: -300, ..Wallet::default() });
        assert!(matches!(h.ask("ana", 1_000).await, Err(EngineError::Refused { .. })));
        h.earn("ana", "p", &[1_500]).await;
        let payout = h.ask("ana", 1_200).await.expect("a payout");
        assert_eq!(h.lines(&payout).await, [("fee".into(), -1_300), ("o-0".into(), 1_000), ("p-0".into(), 1_500)]);
        h.engine.cancel(&h.work(), &h.org, &payout, "a mistake").await.expect("cancelled");
        assert_eq!(h.count("adjustments WHERE allocated_minor = 0").await, 1);
        h.ask("ana", 1_200).await.expect("a payout");
        h.settle_all().await;
        assert_eq!(h.wallet("ana").await, Wallet { paid: 1_200, ..Wallet::default() });
    }

    async fn a_debt_is_netted_before_money_that_was_credited_earlier(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[2_000]).await;
        h.clock.advance(chrono::TimeDelta::seconds(1));
        h.adjust("ana", "fee", -300).await.expect("adjusted");
        let part = h.ask("ana", 1_000).await.expect("a payout");
        assert_eq!(h.lines(&part).await, [("fee".into(), -300), ("o-0".into(), 1_300)]);
        h.settle_all().await;
    }

    async fn an_id_adjusts_once_and_stands_for_one_content(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        h.earn("ben", "o", &[100]).await;
        let one = adjustment(h, "a-1", 500);
        let answers = futures::future::join_all((0..10).map(|_| h.adjust("ana", "a-1", 500))).await;
        assert_eq!(answers.into_iter().filter(|new| *new.as_ref().expect("adjusted")).count(), 1);
        let others = [
            ("amount", Adjustment { amount_minor: -500, ..one.clone() }),
            ("affiliate", Adjustment { wallet: h.wallet_key("ben"), ..one.clone() }),
            ("reason", Adjustment { reason: "another".to_owned(), ..one.clone() }),
        ];
        for (column, other) in others {
            let refused = h.engine.adjust(&h.work(), &h.org, &other).await.expect_err("refused");
            assert!(matches!(refused, EngineError::OtherContent { differs, .. } if differs == column), "{refused:?}");
        }
        assert_eq!((h.wallet("ana").await.available, h.wallet("ben").await.available), (500, 100));
        assert_eq!(h.acts().await, [("wallet.adjusted".to_owned(), "ana".to_owned())]);
    }

    async fn an_affiliate_without_a_wallet_gets_one_and_nobody_else_does(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.adjust("ana", "a-1", 500).await.expect("adjusted");
        assert_eq!(h.wallet("ana").await.available, 500);
        assert!(matches!(h.adjust("nobody", "a-2", 500).await, Err(EngineError::NoWallet { .. })));
        let yen = "JPY".parse().expect("a currency");
        let wallet = WalletKey { currency: yen, ..h.wallet_key("ana") };
        let other = Adjustment { wallet, ..adjustment(h, "a-3", 500) };
        let refused = h.engine.adjust(&h.work(), &h.org, &other).await;
        assert!(matches!(refused, Err(EngineError::NoWallet { .. })), "{refused:?}");
        for minor in [0, LARGEST_COMMISSION_MINOR + 1, -LARGEST_COMMISSION_MINOR - 1, i64::MIN, i64::MAX] {
            let refused = h.adjust("ana", "a-4", minor).await;
            assert!(matches!(refused, Err(EngineError::BadAmount { .. })), "{refused:?}");
        }
        assert_eq!(h.count("adjustments").await, 1);
    }

    async fn a_frozen_wallet_goes_on_earning_and_is_not_paid_until_it_is_thawed(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_000]).await;
        let wallet = h.wallet_key("ana");
        assert!(h.engine.freeze(&h.work(), &h.org, (&wallet, "looks odd")).await.expect("frozen"));
        assert!(!h.engine.freeze(&h.work(), &h.org, (&wallet, "again")).await.expect("frozen"));
        let row = h.store.wallet(&h.org, &wallet).await.expect("a read").expect("a wallet");
        assert_eq!((row.frozen_by.as_deref(), row.frozen_reason.as_deref()), (Some("cli:ana"), Some("looks odd")));
        let refused = h.ask("ana", 1_000).await.expect_err("refused");
        let EngineError::Refused { failing } = refused else { panic!("{refused:?}") };
        assert_eq!(failing[0].gate, Gate::WalletFrozen);
        h.earn("ana", "p", &[500]).await;
        assert_eq!(h.wallet("ana").await.available, 1_500);
        assert!(h.engine.unfreeze(&h.work(), &h.org, (&wallet, "it was fine")).await.expect("thawed"));
        let row = h.store.wallet(&h.org, &wallet).await.expect("a read").expect("a wallet");
        assert_eq!((row.frozen_by, row.frozen_at, row.frozen_reason), (None, None, None));
        h.ask("ana", 1_500).await.expect("a payout");
        h.settle_all().await;
        let acts: Vec<_> = h.acts().await.into_iter().map(|(action, _)| action).collect();
        assert_eq!(acts, ["payout.requested", "wallet.frozen", "wallet.unfrozen"]);
        let nobody = h.wallet_key("nobody");
        let none = h.engine.freeze(&h.work(), &h.org, (&nobody, "x")).await;
        assert!(matches!(none, Err(EngineError::NoWallet { .. })));
    }

    async fn what_waits_in_a_wallet_that_is_frozen_meanwhile_is_not_sent(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_000]).await;
        h.ask("ana", 1_000).await.expect("a payout");
        h.engine.freeze(&h.work(), &h.org, (&h.wallet_key("ana"), "x")).await.expect("frozen");
        h.submit().await;
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "cancelled")]);
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_000, ..Wallet::default() });
    }

    async fn wallets_are_listed_page_by_page_with_their_entries(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben", "cem"]).await;
        for name in ["ana", "ben", "cem"] {
            h.earn(name, name, &[1_000]).await;
        }
        h.adjust("ben", "fee", -1_500).await.expect("adjusted");
        h.engine.freeze(&h.work(), &h.org, (&h.wallet_key("cem"), "x")).await.expect("frozen");
        let page = |filter: WalletFilter| async move {
            let rows = h.store.wallets(&h.org, &WalletFilter { limit: 2, ..filter }).await.expect("wallets");
            rows.into_iter().map(|row| row.affiliate_id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(page(WalletFilter::default()).await, ["ana", "ben"]);
        let after = ("ben".to_owned(), "USD".to_owned());
        assert_eq!(page(WalletFilter { after, ..WalletFilter::default() }).await, ["cem"]);
        assert_eq!(page(WalletFilter { owing: true, ..WalletFilter::default() }).await, ["ben"]);
        let frozen = "frozen".to_owned();
        assert_eq!(page(WalletFilter { status: frozen, ..WalletFilter::default() }).await, ["cem"]);
        let entries = h.store.wallet_entries(&h.org, &h.wallet_key("ben"), i64::MAX, 10).await;
        let entries: Vec<_> = entries.expect("entries").into_iter()
            .map(|entry| (entry.version, entry.kind.as_str(), entry.available_after, entry.reason)).collect();
        assert_eq!(entries, [
            (2, "adjust", -500, Some("a bonus, or a fee".to_owned())),
            (1, "accrue", 1_000, None),
        ]);
    }

    async fn amounts_keep_the_digits_of_their_currency(h: &Harness) {
        let yen = "JPY".parse().expect("a currency");
        let min_payout = Money::new(1_000, yen);
        h.enrol(payoutd::domain::NewProgram { min_payout, ..program("tokyo") }, &["ana"]).await;
        let wallet = WalletKey { currency: yen, ..h.wallet_key("ana") };
        let bonus = Adjustment { wallet, ..adjustment(h, "a-1", 1_240) };
        h.engine.adjust(&h.work(), &h.org, &bonus).await.expect("adjusted");
        let subject = "ana".to_owned();
        let filter = payoutd::store::AuditFilter { subject, limit: 9, ..Default::default() };
        let acts = h.store.audit_page(&h.org, &filter).await.expect("acts");
        let act = acts.iter().find(|act| act.action == "wallet.adjusted").expect("an act");
        assert!(act.detail.contains(r#""amount":"1240""#), "{}", act.detail);
    }
}
