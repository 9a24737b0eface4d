//! Commissions come in.

use chrono::TimeDelta;
use payoutd::domain::Money;
use payoutd::engine::Verdict;

use crate::harness::{Harness, Wallet, commission, program, usd};

fn refused_column(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Refused { column, .. } | Verdict::Differs { column, .. } => column,
        other => panic!("{other:?} is no refusal"),
    }
}

on_both! {
    async fn a_program_with_a_hold_keeps_what_is_earned_held(h: &Harness) {
        h.enrol(payoutd::domain::NewProgram { hold_days: 14, ..program("creator") }, &["ana"]).await;
        h.earn("ana", "o", &[500, 700]).await;
        assert_eq!(h.wallet("ana").await, Wallet { held: 1_200, ..Wallet::default() });
        assert_eq!(h.commission_of("o-0").await.status, "held");
        assert_eq!(h.count("entries").await, 1, "one entry per wallet and batch");
    }

    async fn a_program_without_a_hold_credits_at_once(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[500]).await;
        assert_eq!(h.wallet("ana").await, Wallet { available: 500, ..Wallet::default() });
        assert_eq!(h.commission_of("o-0").await.status, "qualified");
        assert_eq!(h.count("commissions WHERE credited_at IS NOT NULL").await, 1);
    }

    async fn a_commission_of_zero_is_stored_and_moves_nothing(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[0]).await;
        assert_eq!(h.wallet("ana").await, Wallet::default());
        assert_eq!(h.count("entries").await, 0);
        assert_eq!(h.commission_of("o-0").await.status, "qualified");
    }

    async fn bringing_the_same_again_changes_nothing(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        let commissions = [h.commission("c1", "ana", 500), h.commission("c2", "ben", 700)];
        assert_eq!(h.accrue(&commissions).await, [Verdict::New, Verdict::New]);
        assert_eq!(h.accrue(&commissions).await, [Verdict::Unchanged, Verdict::Unchanged]);
        let twice_in_one = [h.commission("c3", "ana", 1), h.commission("c3", "ana", 1)];
        assert_eq!(h.accrue(&twice_in_one).await, [Verdict::New, Verdict::Unchanged]);
        assert_eq!(h.wallet("ana").await.available, 501);
        assert_eq!((h.count("entries").await, h.count("commissions").await), (3, 3));
    }

    async fn the_same_id_with_other_content_is_refused_by_column(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        let first = h.commission("c1", "ana", 500);
        h.accrue(std::slice::from_ref(&first)).await;
        let mut others = vec![first.clone(); 5];
        others[0].affiliate_id = "ben".parse().expect("an id");
        others[1].order_id = "another".to_owned();
        others[2].order_amount = usd(1);
        others[3].amount = usd(501);
        others[4].converted_at += TimeDelta::milliseconds(1);
        let verdicts = h.accrue(&others).await;
        let columns: Vec<_> = verdicts.iter().map(refused_column).collect();
        assert_eq!(columns, ["affiliate_id", "order_id", "order_amount", "amount", "converted_at"]);
        assert_eq!(h.wallet("ana").await.available, 500);
    }

    async fn an_unknown_affiliate_and_another_currency_are_refused_and_the_rest_goes_in(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let yen = Money::new(900, "JPY".parse().expect("a currency"));
        let verdicts = h.accrue(&[
            h.commission("c1", "nobody", 500),
            commission("c2", "ana", yen, h.clock.now()),
            h.commission("c3", "ana", 700),
        ]).await;
        assert_eq!(refused_column(&verdicts[0]), "affiliate_id");
        assert_eq!(refused_column(&verdicts[1]), "currency");
        assert_eq!(verdicts[2], Verdict::New);
        assert_eq!((h.wallet("ana").await.available, h.count("commissions").await), (700, 1));
    }

    async fn two_imports_of_the_same_at_once_count_it_once(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let commissions: Vec<_> =
            (0..50).map(|i| h.commission(&format!("c{i}"), "ana", 100)).collect();
        let (one, other) = tokio::join!(h.accrue(&commissions), h.accrue(&commissions));
        let new = one.iter().chain(&other).filter(|verdict| **verdict == Verdict::New).count();
        assert_eq!((new, h.wallet("ana").await.available), (50, 5_000));
    }

    async fn a_batch_wider_than_one_statement_goes_in_whole(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        let commissions: Vec<_> =
            (0..10_500).map(|i| h.commission(&format!("c{i}"), "ana", 1)).collect();
        assert_eq!(h.accrue(&commissions).await.len(), 10_500);
        assert_eq!((h.wallet("ana").await.available, h.count("entries").await), (10_500, 1));
    }
}
