//! Every invariant is a check that can fail: a breach of each is planted, and found.

use chrono::TimeDelta;
use payoutd::domain::{NewProgram, PayoutId};
use payoutd::engine::INVARIANTS;

use crate::harness::{Harness, program};

/// Payouts of a small world in which every kind of record exists.
struct World {
    completed: PayoutId,
    processing: PayoutId,
    pending: PayoutId,
}

async fn world(h: &Harness) -> World {
    h.leaves_money_under_way();
    h.enrol(program("creator"), &["ana"]).await;
    h.enrol(NewProgram { hold_days: 1, ..program("patient") }, &["ben"]).await;
    h.earn("ben", "b", &[500]).await;
    h.clock.advance(TimeDelta::days(1));
    h.job("release-holds").await;
    h.earn("ben", "late", &[700]).await;
    h.earn("ana", "a", &[1_500]).await;
    h.job("auto-payout").await;
    h.settle_all().await;
    let completed = h.payouts().await.remove(0).payout_id;
    h.earn("ana", "more", &[2_000, 3_000]).await;
    let processing = h.ask("ana", 2_000).await.expect("a payout");
    h.submit().await;
    let pending = h.ask("ana", 3_000).await.expect("a payout");
    assert_eq!(h.broken().await, [], "the world is sound before anything is planted");
    World { completed, processing, pending }
}

/// Plants a breach of invariant `number` and checks that the audit, and the job, report it and
/// the other invariants in `broken` that it cannot but break, and no others.
async fn plant(h: &Harness, number: u32, statements: &[String], broken: &[u32]) {
    h.ledger_is_broken();
    for statement in statements {
        h.database.execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let found: Vec<u32> = h.broken().await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(found, broken, "I{number}");
    assert!(found.contains(&number));
    let run = h.job("audit-ledger").await;
    assert_eq!((run.state.as_str(), run.failed), ("failed", broken.len() as i64));
    let report = run.report.expect("a report");
    assert!(report.contains(&format!("I{number} broken in org acme")), "{report}");
}

/// Inserts an entry of `wallet`, with the balances after it: held, available, in flight, paid.
fn entry(wallet: &str, version: i64, what: [&str; 4], amount: i64, after: [i64; 4]) -> String {
    let [key, kind, from, to] = what;
    let [held, available, in_flight, paid] = after;
    format!(
        "INSERT INTO entries VALUES ('acme', '{wallet}', 'USD', {version}, '{key}', '{kind}',
         '{from}', '{to}', {amount}, {held}, {available}, {in_flight}, {paid}, 'cli:ana',
         '2026-03-02T09:00:00+00:00')"
    )
}

fn versions(wallet: &str, by: i64) -> String {
    format!("UPDATE wallets SET version = version + {by} WHERE affiliate_id = '{wallet}'")
}

#[test]
fn every_invariant_has_its_breach_below() {
    let numbers: Vec<u32> = INVARIANTS.iter().map(|invariant| invariant.number).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>(), "plant a breach of the new one, too");
}

on_both! {
    async fn a_sound_ledger_passes_and_every_invariant_is_counted(h: &Harness) {
        world(h).await;
        let run = h.job("audit-ledger").await;
        assert_eq!((run.state.as_str(), run.seen, run.acted, run.failed), ("succeeded", 20, 20, 0));
    }

    async fn i1_finds_a_wallet_that_is_not_the_sum_of_its_entries(h: &Harness) {
        world(h).await;
        let stray = entry("ben", 4, ["x", "accrue", "earned", "available"], 5, [700, 505, 0, 0]);
        plant(h, 1, &[stray, versions("ben", 1)], &[1]).await;
    }

    async fn i2_finds_a_wallet_ahead_of_its_entries(h: &Harness) {
        world(h).await;
        plant(h, 2, &[versions("ben", 1)], &[2]).await;
    }

    async fn i2_finds_a_wallet_with_a_version_and_no_entries(h: &Harness) {
        world(h).await;
        let wallet = "INSERT INTO wallets (org_id, affiliate_id, currency, program_id, status,
            held_minor, available_minor, in_flight_minor, paid_minor, version, updated_at) VALUES ('acme', 'cem', 'USD', 'creator', 'active', 0, 0,
            0, 0, 3, '2026-03-02T09:00:00+00:00')";
        plant(h, 2, &[wallet.to_owned()], &[2]).await;
    }

    async fn i2_finds_an_entry_without_a_wallet(h: &Harness) {
        world(h).await;
        let stray = entry("ghost", 1, ["x", "accrue", "earned", "held"], 5, [5, 0, 0, 0]);
        plant(h, 2, &[stray], &[2]).await;
    }

    async fn i3_finds_balances_that_do_not_follow(h: &Harness) {
        world(h).await;
        let there = entry("ben", 4, ["x", "accrue", "earned", "available"], 5, [700, 506, 0, 0]);
        let back = entry("ben", 5, ["y", "accrue", "available", "earned"], 5, [700, 500, 0, 0]);
        plant(h, 3, &[there, back, versions("ben", 2)], &[3]).await;
    }

    async fn i4_finds_a_debt_that_nothing_explains(h: &Harness) {
        world(h).await;
        let debt = "UPDATE wallets SET available_minor = -1 WHERE affiliate_id = 'ben'";
        plant(h, 4, &[debt.to_owned()], &[1, 4, 5]).await;
    }

    async fn i5_finds_held_money_without_its_commission(h: &Harness) {
        world(h).await;
        let more = "UPDATE commissions SET amount_minor = 701 WHERE commission_id = 'late-0'";
        plant(h, 5, &[more.to_owned()], &[5]).await;
    }

    async fn i6_finds_money_in_flight_without_its_payout(h: &Harness) {
        world(h).await;
        let more = "UPDATE wallets SET in_flight_minor = in_flight_minor + 1
                    WHERE affiliate_id = 'ana'";
        plant(h, 6, &[more.to_owned()], &[1, 6]).await;
    }

    async fn i7_finds_lines_that_do_not_sum_up(h: &Harness) {
        let World { pending, .. } = world(h).await;
        let less = format!("UPDATE payout_lines SET amount_minor = 2999 WHERE payout_id = '{pending}'");
        plant(h, 7, &[less], &[7, 8]).await;
    }

    async fn i8_finds_a_commission_that_was_paid_and_does_not_say_so(h: &Harness) {
        world(h).await;
        let unpaid = "UPDATE commissions SET status = 'qualified' WHERE commission_id = 'a-0'";
        plant(h, 8, &[unpaid.to_owned()], &[8]).await;
    }

    async fn i9_finds_a_release_that_is_not_its_commissions(h: &Harness) {
        world(h).await;
        let moved = "UPDATE commissions SET release_batch = 'other' WHERE commission_id = 'b-0'";
        plant(h, 9, &[moved.to_owned()], &[9]).await;
    }

    async fn i10_finds_a_transfer_of_another_amount(h: &Harness) {
        let World { processing, .. } = world(h).await;
        let more = format!("UPDATE transfers SET amount_minor = 2001 WHERE payout_id = '{processing}'");
        plant(h, 10, &[more], &[10]).await;
    }

    async fn i10_finds_a_second_live_transfer_even_without_the_index_that_forbids_it(h: &Harness) {
        let World { completed, .. } = world(h).await;
        let copy = format!(
            "INSERT INTO transfers SELECT org_id, 'tr_copy', submission_id, 77, payout_id, affiliate_id,
             currency, amount_minor, 'COPY', state, provider_id, provider_status, problem_code,
             problem_message, created_at, updated_at, settled_at, note
             FROM transfers WHERE payout_id = '{completed}'"
        );
        plant(h, 10, &["DROP INDEX transfers_live".to_owned(), copy], &[10]).await;
        // What was copied is none of the sandbox's business.
        h.change("DELETE FROM transfers WHERE transfer_id = 'tr_copy'").await;
    }

    async fn i11_finds_a_completed_payout_whose_transfer_is_open(h: &Harness) {
        let World { completed, .. } = world(h).await;
        let open = format!("UPDATE transfers SET state = 'accepted' WHERE payout_id = '{completed}'");
        plant(h, 11, &[open], &[11]).await;
    }

    async fn i12_finds_two_automatic_payouts_of_a_period(h: &Harness) {
        let World { completed, pending, .. } = world(h).await;
        let twice = format!(
            "UPDATE payouts SET origin = 'auto',
               period = (SELECT c.period FROM payouts c WHERE c.payout_id = '{completed}')
             WHERE payout_id = '{pending}'"
        );
        plant(h, 12, &["DROP INDEX payouts_period".to_owned(), twice], &[12]).await;
    }

    async fn i13_finds_a_payout_that_nobody_will_ask_about(h: &Harness) {
        world(h).await;
        let forgotten = "UPDATE submissions SET next_check_at = NULL";
        plant(h, 13, &[forgotten.to_owned()], &[13]).await;
    }

    async fn i14_finds_a_step_that_is_not_legal(h: &Harness) {
        let World { completed, .. } = world(h).await;
        let illegal = format!(
            "UPDATE payout_events SET status = 'failed' WHERE payout_id = '{completed}' AND version = 2"
        );
        plant(h, 14, &[illegal], &[14]).await;
    }

    async fn i14_finds_a_gap_in_a_history(h: &Harness) {
        let World { completed, .. } = world(h).await;
        let gap = format!("DELETE FROM payout_events WHERE payout_id = '{completed}' AND version = 2");
        plant(h, 14, &[gap], &[14]).await;
    }

    async fn i15_finds_a_payout_that_is_not_where_its_history_ends(h: &Harness) {
        let World { pending, .. } = world(h).await;
        let ahead = format!("UPDATE payouts SET version = 2 WHERE payout_id = '{pending}'");
        plant(h, 15, &[ahead], &[15]).await;
    }

    async fn i16_finds_a_payout_that_ended_in_the_books_and_not_in_its_status(h: &Harness) {
        let World { pending, .. } = world(h).await;
        let key = format!("restore:{pending}");
        let version: Vec<(i64,)> =
            h.database.rows("SELECT version FROM wallets WHERE affiliate_id = 'ana'").await;
        let next = version[0].0 + 1;
        let there = ["x", "request", "available", "in_flight"];
        let restored = [key.as_str(), "restore", "in_flight", "available"];
        plant(h, 16, &[
            entry("ana", next, restored, 5, [0, 5, 4_995, 1_500]),
            entry("ana", next + 1, there, 5, [0, 0, 5_000, 1_500]),
            versions("ana", 2),
        ], &[16]).await;
    }

    async fn i17_finds_a_decision_that_paid_another_amount(h: &Harness) {
        world(h).await;
        let other = "UPDATE decisions SET available_minor = 1 WHERE payout_id IS NOT NULL";
        plant(h, 17, &[other.to_owned()], &[17]).await;
    }

    async fn i4_finds_a_request_that_made_a_debt(h: &Harness) {
        world(h).await;
        let there = entry("ben", 4, ["x", "request", "available", "in_flight"], 501, [700, -1, 501, 0]);
        let back = entry("ben", 5, ["y", "accrue", "in_flight", "available"], 501, [700, 500, 0, 0]);
        plant(h, 4, &[there, back, versions("ben", 2)], &[4]).await;
    }

    async fn i8_finds_an_adjustment_that_no_payout_paid(h: &Harness) {
        world(h).await;
        h.adjust("ben", "adj-1", 300).await.expect("adjusted");
        h.adjust("ben", "adj-2", 300).await.expect("adjusted");
        let paid = "UPDATE adjustments SET allocated_minor = 300 WHERE adjustment_id = 'adj-1'";
        plant(h, 8, &[paid.to_owned()], &[5, 8]).await;
    }

    async fn i18_finds_a_commission_that_was_reversed_without_a_reversal(h: &Harness) {
        world(h).await;
        h.reverse("b-0", "r-1", Some(200)).await.expect("reversed");
        h.reverse("late-0", "r-1", Some(200)).await.expect("reversed");
        assert_eq!(h.broken().await, []);
        let moved = "UPDATE reversals SET amount_minor = 199 WHERE commission_id = 'b-0'";
        plant(h, 18, &[moved.to_owned()], &[18, 19]).await;
    }

    async fn i18_finds_a_commission_that_was_credited_what_was_reversed_before(h: &Harness) {
        world(h).await;
        let more = "UPDATE commissions SET credited_minor = credited_minor - 1 WHERE commission_id = 'a-0'";
        plant(h, 18, &[more.to_owned()], &[18]).await;
    }

    async fn i19_finds_an_adjustment_without_its_entry_and_an_entry_without_its_adjustment(h: &Harness) {
        world(h).await;
        h.adjust("ben", "adj-1", 300).await.expect("adjusted");
        let renamed = "UPDATE adjustments SET adjustment_id = 'adj-2'";
        plant(h, 19, &[renamed.to_owned()], &[19]).await;
        let found = h.engine.audit().await.expect("an audit");
        assert_eq!(found[18].breaches.len(), 2);
    }

    async fn i19_finds_a_reversal_from_another_bucket_than_its_entry(h: &Harness) {
        world(h).await;
        h.reverse("b-0", "r-1", Some(200)).await.expect("reversed");
        let held = "UPDATE reversals SET from_bucket = 'held'";
        plant(h, 19, &[held.to_owned()], &[18, 19]).await;
    }

    async fn i20_finds_a_payout_that_was_sent_without_its_approval(h: &Harness) {
        let World { completed, .. } = world(h).await;
        let needs = format!("UPDATE payouts SET requires_approval = 1 WHERE payout_id = '{completed}'");
        plant(h, 20, &[needs], &[20]).await;
    }

    async fn i20_finds_an_approval_that_the_history_does_not_know(h: &Harness) {
        let World { pending, .. } = world(h).await;
        let by = format!("UPDATE payouts SET approved_by = 'staff:ann' WHERE payout_id = '{pending}'");
        plant(h, 20, &[by], &[20]).await;
    }
}
