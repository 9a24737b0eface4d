//! What the database itself refuses, whatever the code above it asks for.

use payoutd::domain::{Balances, Bucket, Entry, EntryKind, MethodKind, Movement, PayoutOrigin};
use payoutd::store::{NewPayout, NewSubmission, NewTransfer, StoreError, Tx, WalletMove};

use crate::harness::{Harness, program, usd, week_of};

const INSTANT: &str = "'2026-03-02T09:00:00+00:00'";

async fn ana_with_a_payout(h: &Harness) -> payoutd::domain::PayoutId {
    h.enrol(program("creator"), &["ana"]).await;
    h.earn("ana", "o", &[5_000]).await;
    h.ask("ana", 1_500).await.expect("a payout")
}

/// Moves one cent into ana's wallet as if it stood at `before`.
async fn post(h: &Harness, tx: &mut Tx, key: &str, before: Balances) -> Result<(), StoreError> {
    let wallet = h.wallet_key("ana");
    let movement = Movement {
        wallet: wallet.clone(),
        kind: EntryKind::Adjust,
        from: Bucket::Earned,
        to: Bucket::Available,
        amount_minor: 1,
        entry_key: key.to_owned(),
    };
    let after = before.after(&movement).expect("a cent more");
    let entries = [Entry { movement, after, occurred_at: h.clock.now() }];
    let moves = [WalletMove { wallet, before, after }];
    tx.wallets_move(&h.org, &entries, &moves, &h.work().actor, h.clock.now()).await
}

async fn balances(h: &Harness, tx: &mut Tx) -> Balances {
    let locked = tx.wallets_lock(&h.org, &[h.wallet_key("ana")]).await.expect("a wallet");
    locked[0].1
}

/// One cent for ana, as a schedule asks for it.
fn automatic(h: &Harness, period: &str) -> NewPayout {
    NewPayout {
        payout_id: h.clock.mint(),
        affiliate_id: "ana".parse().expect("an id"),
        program_id: "creator".parse().expect("an id"),
        currency: usd(0).currency,
        amount_minor: 1,
        method_id: h.clock.mint(),
        method_kind: MethodKind::Paypal,
        destination_id: h.clock.mint(),
        origin: PayoutOrigin::Auto,
        approval: Vec::new(),
        period: Some(week_of(period).of(None)),
        run_id: None,
        retry_of: None,
    }
}

/// Changes that no column takes.
const IMPOSSIBLE: &[&str] = &[
    "UPDATE wallets SET held_minor = -1",
    "UPDATE wallets SET in_flight_minor = -1",
    "UPDATE wallets SET paid_minor = -1",
    "UPDATE wallets SET version = -1",
    "UPDATE commissions SET amount_minor = -1",
    "UPDATE commissions SET allocated_minor = amount_minor + 1",
    "UPDATE commissions SET allocated_minor = -amount_minor - 1",
    "UPDATE commissions SET paid_minor = amount_minor + 1",
    "UPDATE commissions SET paid_minor = -amount_minor - 1",
    "UPDATE commissions SET reversed_minor = amount_minor + 1",
    "UPDATE commissions SET reversed_minor = -1",
    "UPDATE commissions SET credited_minor = amount_minor + 1",
    "UPDATE commissions SET credited_minor = -1",
    "UPDATE commissions SET credited_at = NULL",
    "UPDATE payout_lines SET commission_id = NULL",
    "UPDATE payout_lines SET adjustment_id = 'adj'",
    "UPDATE payouts SET requires_approval = 2",
    "UPDATE program_currencies SET approval_minor = -1",
    "UPDATE payouts SET amount_minor = 0",
    "UPDATE payout_lines SET amount_minor = 0",
    "UPDATE transfers SET amount_minor = 0",
    "UPDATE programs SET hold_days = -1",
    "UPDATE programs SET auto_payout = 2",
    "UPDATE programs SET auto_credit = 2",
    "UPDATE program_currencies SET min_payout_minor = -1",
];

on_both! {
    async fn a_wallet_that_moved_since_it_was_read_is_not_overwritten(h: &Harness) {
        ana_with_a_payout(h).await;
        let mut tx = h.store.begin().await.expect("a transaction");
        let current = balances(h, &mut tx).await;
        let stale = Balances { version: current.version + 1, ..current };
        let refused = post(h, &mut tx, "stale", stale).await.expect_err("refused");
        assert!(matches!(refused, StoreError::WalletChanged { .. }), "{refused:?}");
        assert!(refused.is_transient());
    }

    async fn an_entrys_key_is_used_once_for_ever(h: &Harness) {
        let payout = ana_with_a_payout(h).await;
        let mut tx = h.store.begin().await.expect("a transaction");
        let current = balances(h, &mut tx).await;
        let again = post(h, &mut tx, &format!("request:{payout}"), current).await;
        assert!(again.expect_err("refused").is_duplicate());
    }

    async fn two_entries_of_a_wallet_never_have_one_version(h: &Harness) {
        ana_with_a_payout(h).await;
        let mut tx = h.store.begin().await.expect("a transaction");
        let current = balances(h, &mut tx).await;
        let behind = Balances { version: current.version - 1, ..current };
        let again = post(h, &mut tx, "another", behind).await;
        assert!(again.expect_err("refused").is_duplicate());
    }

    async fn a_payout_never_has_two_live_transfers(h: &Harness) {
        let payout_id = ana_with_a_payout(h).await;
        h.settle_all().await;
        let submission = NewSubmission {
            submission_id: h.clock.mint(),
            method_kind: MethodKind::Paypal,
            currency: usd(0).currency,
            reference: h.clock.mint(),
            transfers: vec![NewTransfer {
                transfer_id: h.clock.mint(),
                payout_id,
                affiliate_id: "ana".parse().expect("an id"),
                amount: usd(1_500),
                reference: h.clock.mint(),
            }],
        };
        let mut tx = h.store.begin().await.expect("a transaction");
        let again = tx.submission_insert(&h.org, &submission, h.clock.now()).await;
        assert!(again.expect_err("refused").is_duplicate());
    }

    async fn a_wallet_never_has_two_automatic_payouts_of_one_period(h: &Harness) {
        ana_with_a_payout(h).await;
        let auto = |period: &str| automatic(h, period);
        let (actor, now) = (h.work().actor, h.clock.now());
        for (periods, allowed) in [(["2026-W10", "2026-W11"], true), (["2026-W10", "2026-W10"], false)] {
            let mut tx = h.store.begin().await.expect("a transaction");
            let inserted = tx.payouts_insert(&h.org, &periods.map(auto), &actor, now).await;
            assert_eq!(inserted.is_ok(), allowed, "{periods:?}");
            assert!(inserted.err().is_none_or(|error| error.is_duplicate()));
        }
        h.settle_all().await;
    }

    async fn a_payouts_lines_are_its_amount_or_there_is_no_payout(h: &Harness) {
        h.ledger_is_broken();
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[5_000]).await;
        h.change("UPDATE commissions SET amount_minor = 4999, credited_minor = 4999").await;
        let refused = h.ask("ana", 5_000).await.expect_err("refused");
        let cause = std::error::Error::source(&refused).expect("a cause").to_string();
        assert!(cause.contains("does not sum up"), "{cause}");
        assert_eq!((h.wallet("ana").await.available, h.count("payouts").await), (5_000, 0));
    }

    async fn the_schema_refuses_what_can_never_be(h: &Harness) {
        let payout = ana_with_a_payout(h).await;
        h.settle_all().await;
        let entry = |amount: i64| format!(
            "INSERT INTO entries VALUES ('acme', 'ana', 'USD', 99, 'k', 'adjust', 'earned',
             'available', {amount}, 0, 0, 0, 0, 'cli:ana', {INSTANT})"
        );
        let adjustment = |amount: i64, allocated: i64, paid: i64| format!(
            "INSERT INTO adjustments VALUES ('acme', 'a', 'ana', 'USD', {amount}, {allocated}, {paid},
             'x', 'cli:ana', {INSTANT})"
        );
        let reversal = |amount: i64, from: &str| format!(
            "INSERT INTO reversals VALUES ('acme', 'o-0', 'r', {amount}, 0, '{from}', 'x', 'cli:ana',
             {INSTANT})"
        );
        let run = |id: &str, instant: &str, state: &str| format!(
            "INSERT INTO job_runs (run_id, job_id, kind, trigger_kind, scheduled_for, state,
             requested_by, definition_hash, app_version, created_at, seen, acted, skipped, failed)
             VALUES ('{id}', 'j', 'prune', 'schedule', {instant}, '{state}', 'x', '', '', {INSTANT},
             0, 0, 0, 0)"
        );
        for allowed in [run("r1", INSTANT, "running"), run("r2", "NULL", "queued")] {
            h.change(&allowed).await;
        }
        for impossible in [
            adjustment(0, 0, 0),
            adjustment(5, 6, 0),
            adjustment(5, 3, 4),
            adjustment(5, -1, -1),
            adjustment(-5, 1, 0),
            adjustment(-5, -6, 0),
            adjustment(-5, -3, -4),
            reversal(0, "held"),
            reversal(1, "paid"),
            entry(0),
            entry(-5),
            run("r3", "NULL", "running"),
            run("r4", INSTANT, "queued"),
            "INSERT INTO payout_methods (org_id, method_id, affiliate_id, kind, destination_id, status,
             is_default, created_at) SELECT org_id, 'pm_2', affiliate_id, kind, destination_id, status,
             is_default, created_at FROM payout_methods".to_owned(),
            format!("INSERT INTO payouts SELECT * FROM payouts WHERE payout_id = '{payout}'"),
        ]
        .into_iter()
        .chain(IMPOSSIBLE.iter().map(|text| (*text).to_owned()))
        {
            let refused = h.database.execute(&impossible).await;
            assert!(refused.is_err(), "{impossible} was allowed");
        }
    }
}
