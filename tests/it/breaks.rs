//! A provider's statement beside our books: what differs is found once, and stays until somebody
//! closes it. Nothing moves.

use chrono::{DateTime, TimeDelta, Utc};
use payoutd::domain::{
    BreakId, BreakKind, Direction, MethodKind, Money, OrgId, Statement, StatementLine,
};
use payoutd::engine::{Against, Compared, EngineError};
use payoutd::store::BreakRow;

use crate::harness::{Harness, program, usd};

/// A line of 15.00 USD that went out under a reference.
fn out(reference: &str) -> StatementLine {
    StatementLine {
        reference: Some(reference.to_owned()),
        provider_id: None,
        direction: Direction::Out,
        amount: usd(1_500),
        booked_on: "2026-03-02".parse().ok(),
        is_return: false,
        text: "a payment".to_owned(),
    }
}

/// The same money, come back.
fn back(reference: &str) -> StatementLine {
    StatementLine { direction: Direction::In, is_return: true, ..out(reference) }
}

/// A statement of three days around the story's beginning.
fn statement(lines: Vec<StatementLine>) -> Statement {
    Statement {
        id: "S-1".to_owned(),
        account: "1".to_owned(),
        currency: usd(0).currency,
        from: at("2026-03-01T00:00:00Z"),
        to: at("2026-03-04T00:00:00Z"),
        lines,
        closing: None,
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// Everybody was paid 15.00 USD over PayPal an hour after the beginning; their references.
async fn paid(h: &Harness, names: &[&str]) -> Vec<String> {
    h.enrol(program("creator"), names).await;
    let mut payouts = Vec::new();
    for name in names {
        h.earn(name, name, &[1_500]).await;
        payouts.push(h.ask(name, 1_500).await.expect("a payout"));
    }
    h.submit().await;
    h.clock.advance(TimeDelta::hours(1));
    h.reconcile().await;
    let mut references = Vec::new();
    for payout in payouts {
        references.push(h.references(&payout).await.remove(0));
    }
    references
}

async fn hold(h: &Harness, kind: MethodKind, statement: &Statement) -> Compared {
    let against = Against { kind, org: None, statement, source: "the statement", told: false };
    h.engine.hold_against(&h.work(), against).await.expect("a comparison")
}

/// The same of a statement that came in a letter.
async fn arrived(h: &Harness, kind: MethodKind, statement: &Statement) -> Compared {
    let against = Against { kind, org: None, statement, source: "a letter", told: true };
    h.engine.hold_against(&h.work(), against).await.expect("a comparison")
}

async fn breaks(h: &Harness) -> Vec<BreakRow> {
    h.store.breaks(&h.org, false, "", 100).await.expect("breaks")
}

/// The one break there is: its kind, subject and amounts.
async fn one(h: &Harness) -> (BreakKind, String, Option<i64>, Option<i64>) {
    let mut breaks = breaks(h).await;
    assert_eq!(breaks.len(), 1, "{breaks:?}");
    let found = breaks.remove(0);
    assert!(!found.reason.is_empty() && found.source == "the statement", "{found:?}");
    (found.kind, found.subject, found.ours_minor, found.theirs_minor)
}

/// Turns what was sent over PayPal into what was sent over a rail of letters.
async fn as_if_by(h: &Harness, kind: &str) {
    h.change(&format!("UPDATE submissions SET method_kind = '{kind}'")).await;
}

/// A letter's word about a transfer.
async fn letter(h: &Harness, reference: &str, word: &str, on: &str) {
    let mut tx = h.store.begin().await.expect("a transaction");
    let index = tx.vault_of(&h.org).await.expect("keys").fingerprint("our account", "1");
    tx.commit().await.expect("a commit");
    h.change(&format!(
        "INSERT INTO notices (org_id, notice_id, transfer_id, submission_id, letter_hash, word,
                              account_index, said_on, received_at)
         SELECT org_id, 'no_{word}{on}', transfer_id, submission_id, 'hash', '{word}', '{}', '{on}',
                updated_at
         FROM transfers WHERE reference = '{reference}'",
        index.expect("a fingerprint")
    ))
    .await;
}

on_both! {
    async fn a_statement_covers_its_own_account_and_no_other(h: &Harness) {
        let references = paid(h, &["ana", "ben"]).await;
        as_if_by(h, "ach").await;
        letter(h, &references[0], "booked", "2026-03-02").await;
        let of_another = Statement { account: "2".to_owned(), ..statement(Vec::new()) };
        for kind in [MethodKind::Ach, MethodKind::Wire] {
            assert_eq!(arrived(h, kind, &of_another).await.found, 0);
        }
        // Whichever of the two rails collects it: ben has no booking, so nobody knows his account.
        assert_eq!(arrived(h, MethodKind::Wire, &statement(Vec::new())).await.found, 1);
        let found = &breaks(h).await[0];
        assert_eq!((found.method_kind, &found.subject), (MethodKind::Ach, &references[0]));
    }

    async fn another_amount_of_what_was_closed_is_another_break(h: &Harness) {
        let references = paid(h, &["ana"]).await;
        let other = |minor: i64| StatementLine { amount: usd(minor), ..out(&references[0]) };
        hold(h, MethodKind::Paypal, &statement(vec![other(1_600)])).await;
        let found = breaks(h).await[0].break_id.clone();
        h.engine.close_break(&h.work(), &h.org, &found, "a fee").await.expect("open");
        assert_eq!(hold(h, MethodKind::Paypal, &statement(vec![other(1_600)])).await.found, 0);
        let twice = statement(vec![other(1_600), other(1_600)]);
        assert_eq!(hold(h, MethodKind::Paypal, &twice).await.found, 1);
        assert_eq!(one(h).await.3, Some(3_200));
    }

    async fn a_statement_that_agrees_shows_nothing(h: &Harness) {
        let references = paid(h, &["ana", "ben"]).await;
        let fee = StatementLine { reference: None, ..out("") };
        let income = StatementLine { direction: Direction::In, ..out("INVOICE 7") };
        let mut lines: Vec<_> = references.iter().map(|reference| out(reference)).collect();
        lines.extend([fee, income]);
        let compared = hold(h, MethodKind::Paypal, &statement(lines)).await;
        let expected = Compared { lines: 4, ours: 2, not_ours: 2, ..Compared::default() };
        assert_eq!(compared, expected);
        assert_eq!(h.count("breaks").await + h.count("alerts").await, 0);
    }

    async fn what_they_have_and_we_do_not_is_a_break(h: &Harness) {
        let mut lines: Vec<_> = paid(h, &["ana"]).await.iter().map(|name| out(name)).collect();
        lines.push(StatementLine { amount: usd(99), ..out("SOMEBODY ELSE") });
        let compared = hold(h, MethodKind::Paypal, &statement(lines)).await;
        assert_eq!((compared.ours, compared.found, compared.open), (1, 1, 1));
        let expected = (BreakKind::UnknownHere, "SOMEBODY ELSE".to_owned(), None, Some(99));
        assert_eq!(one(h).await, expected);
    }

    async fn in_a_list_of_transfers_one_without_a_reference_is_a_break_too(h: &Harness) {
        let mut lines: Vec<_> = paid(h, &["ana"]).await.iter().map(|name| out(name)).collect();
        let by_hand = StatementLine { reference: None, provider_id: Some("tr_9".into()), ..out("") };
        lines.push(by_hand);
        hold(h, MethodKind::Paypal, &statement(lines)).await;
        assert_eq!(one(h).await.1, "tr_9");
    }

    async fn what_we_have_and_they_do_not_is_a_break(h: &Harness) {
        let references = paid(h, &["ana", "ben"]).await;
        let compared = hold(h, MethodKind::Paypal, &statement(vec![out(&references[0])])).await;
        assert_eq!((compared.ours, compared.found), (1, 1));
        let expected = (BreakKind::MissingThere, references[1].clone(), Some(1_500), None);
        assert_eq!(one(h).await, expected);
        assert!(breaks(h).await[0].payout_id.as_ref().is_some_and(|id| id.starts_with("po_")));
    }

    async fn what_may_have_moved_before_or_after_the_statement_is_not_missed(h: &Harness) {
        paid(h, &["ana"]).await;
        for (from, to) in [
            ("2026-03-02T09:01:00Z", "2026-03-04T00:00:00Z"),
            ("2026-03-01T00:00:00Z", "2026-03-02T10:01:00Z"),
            ("2026-03-01T00:00:00Z", "2026-03-02T09:30:00Z"),
            ("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z"),
        ] {
            let narrow = Statement { from: at(from), to: at(to), ..statement(Vec::new()) };
            assert_eq!(hold(h, MethodKind::Paypal, &narrow).await.found, 0, "{from} {to}");
        }
        let other = Statement { currency: "EUR".parse().expect("a currency"), ..statement(Vec::new()) };
        assert_eq!(hold(h, MethodKind::Paypal, &other).await.found, 0);
        assert_eq!(hold(h, MethodKind::Wire, &statement(Vec::new())).await.found, 0);
        assert_eq!(hold(h, MethodKind::Paypal, &statement(Vec::new())).await.found, 1);
    }

    async fn amounts_and_currencies_that_differ_are_breaks(h: &Harness) {
        let references = paid(h, &["ana", "ben", "cem"]).await;
        let euros = Money::new(1_500, "EUR".parse().expect("a currency"));
        let lines = vec![
            StatementLine { amount: usd(1_501), ..out(&references[0]) },
            StatementLine { amount: euros, ..out(&references[1]) },
            out(&references[2]),
        ];
        let compared = hold(h, MethodKind::Paypal, &statement(lines)).await;
        assert_eq!((compared.ours, compared.found), (3, 2));
        let found = breaks(h).await;
        assert!(found.iter().all(|row| row.kind == BreakKind::AmountDiffers), "{found:?}");
        let theirs = |reference: &str| {
            let row = found.iter().find(|row| row.subject == reference).expect("a break");
            (row.theirs_minor, row.reason.contains("1500 ") || row.reason.contains("15.00 EUR"))
        };
        assert_eq!(theirs(&references[0]), (Some(1_501), false));
        assert_eq!(theirs(&references[1]), (None, true));
    }

    async fn a_payment_that_the_statement_has_twice_is_a_break(h: &Harness) {
        let references = paid(h, &["ana", "ben"]).await;
        let twice_once_back = [out(&references[1]), back(&references[1]), out(&references[1])];
        let lines = [vec![out(&references[0]), out(&references[0])], twice_once_back.to_vec()];
        hold(h, MethodKind::Paypal, &statement(lines.concat())).await;
        let expected = (BreakKind::AmountDiffers, references[0].clone(), Some(1_500), Some(3_000));
        assert_eq!(one(h).await, expected);
    }

    async fn what_they_paid_and_we_hold_as_rejected_is_a_break(h: &Harness) {
        let references = paid(h, &["ana", "locked-ben"]).await;
        assert_eq!(h.outcomes().await[1], ("locked-ben".to_owned(), "failed"));
        let lines: Vec<_> = references.iter().map(|reference| out(reference)).collect();
        hold(h, MethodKind::Paypal, &statement(lines)).await;
        let expected = (BreakKind::PaidThere, references[1].clone(), Some(1_500), Some(1_500));
        assert_eq!(one(h).await, expected);
    }

    async fn what_went_out_and_came_back_is_no_break_of_a_rejected_one(h: &Harness) {
        let references = paid(h, &["locked-ana", "locked-ben"]).await;
        as_if_by(h, "ach").await;
        letter(h, &references[1], "returned", "2026-03-03").await;
        let lines = vec![out(&references[0]), back(&references[0]), out(&references[1])];
        assert_eq!(hold(h, MethodKind::Ach, &statement(lines)).await.found, 0);
    }

    async fn a_return_of_what_we_hold_as_settled_is_looked_into(h: &Harness) {
        let references = paid(h, &["ana"]).await;
        h.fate(&references[0], "REFUNDED").await;
        assert_eq!(h.reconcile().await.seen, 0, "it is not due yet");
        let lines = vec![out(&references[0]), back(&references[0])];
        let compared = hold(h, MethodKind::Paypal, &statement(lines)).await;
        assert_eq!((compared.checked_soon, compared.found), (1, 0));
        assert_eq!(h.outcomes().await[0].1, "completed", "a statement moves nothing itself");
        assert_eq!(h.reconcile().await.outcomes["returned"].count, 1);
    }

    async fn what_we_do_not_know_to_be_paid_yet_is_looked_into(h: &Harness) {
        h.leaves_money_under_way();
        let references = paid(h, &["unregistered-ana"]).await;
        h.reconcile().await;
        let compared = hold(h, MethodKind::Paypal, &statement(vec![out(&references[0])])).await;
        assert_eq!((compared.checked_soon, compared.found), (1, 0));
        assert_eq!(h.store.orgs_to_check(h.clock.now()).await.expect("orgs").len(), 1);
    }

    async fn a_return_that_no_letter_told_is_a_break_where_nobody_can_be_asked(h: &Harness) {
        let references = paid(h, &["ana", "ben"]).await;
        as_if_by(h, "wire").await;
        letter(h, &references[1], "returned", "2026-03-03").await;
        let lines: Vec<_> = references.iter().map(|reference| back(reference)).collect();
        let compared = hold(h, MethodKind::Wire, &statement(lines)).await;
        assert_eq!((compared.ours, compared.found), (2, 1));
        let expected = (BreakKind::ReturnedThere, references[0].clone());
        let found = one(h).await;
        assert_eq!((found.0, found.1), expected);
    }

    async fn a_return_that_is_kept_as_a_notice_too_is_no_break(h: &Harness) {
        let references = paid(h, &["ana"]).await;
        as_if_by(h, "wire").await;
        let statement = statement(vec![back(&references[0])]);
        let (kind, source) = (MethodKind::Wire, "the statement");
        let against = Against { kind, org: None, statement: &statement, source, told: true };
        let compared = h.engine.hold_against(&h.work(), against).await.expect("a comparison");
        assert_eq!((compared.ours, compared.found), (1, 0));
    }

    async fn a_banks_fee_is_no_break_and_its_booking_day_says_where_a_payment_belongs(h: &Harness) {
        let references = paid(h, &["ana", "ben"]).await;
        as_if_by(h, "ach").await;
        letter(h, &references[0], "booked", "2026-03-03").await;
        letter(h, &references[1], "booked", "2026-03-04").await;
        let fee = StatementLine { reference: None, provider_id: Some("FEE-1".into()), ..out("") };
        let compared = hold(h, MethodKind::Ach, &statement(vec![fee])).await;
        assert_eq!((compared.not_ours, compared.found), (1, 1));
        let found = one(h).await;
        assert_eq!((found.0, found.1), (BreakKind::MissingThere, references[0].clone()));
    }

    async fn a_batch_that_is_booked_in_one_sum_is_held_against_its_transfers(h: &Harness) {
        paid(h, &["ana", "ben"]).await;
        as_if_by(h, "ach").await;
        let whole: Vec<(String,)> = h.database.rows("SELECT reference FROM submissions").await;
        let sum = |minor| StatementLine { amount: usd(minor), ..out(&whole[0].0) };
        let compared = hold(h, MethodKind::Ach, &statement(vec![sum(3_000)])).await;
        assert_eq!((compared.ours, compared.found), (1, 0));
        hold(h, MethodKind::Ach, &statement(vec![sum(2_999)])).await;
        let expected = (BreakKind::AmountDiffers, whole[0].0.clone(), Some(3_000), Some(2_999));
        assert_eq!(one(h).await, expected);
    }

    async fn a_break_is_found_once_raises_one_alert_and_stays_closed(h: &Harness) {
        paid(h, &["ana", "ben"]).await;
        let empty = statement(Vec::new());
        let first = hold(h, MethodKind::Paypal, &empty).await;
        let second = hold(h, MethodKind::Paypal, &empty).await;
        assert_eq!(((first.found, first.open), (second.found, second.open)), ((2, 2), (0, 2)));
        let alerts = h.store.alerts(&h.org, false, "", 10).await.expect("alerts");
        assert_eq!((alerts.len(), alerts[0].kind.as_str(), alerts[0].times), (1, "break", 1));

        let found = breaks(h).await;
        for (left, row) in [(1, &found[0]), (0, &found[1])] {
            let closed = h.engine.close_break(&h.work(), &h.org, &row.break_id, "a late list").await;
            closed.expect("it is open");
            let again = h.engine.close_break(&h.work(), &h.org, &row.break_id, "x").await;
            assert!(matches!(again, Err(EngineError::NoBreak { .. })), "{again:?}");
            assert_eq!(h.store.alerts(&h.org, false, "", 10).await.expect("alerts").len(), left);
        }
        let third = hold(h, MethodKind::Paypal, &empty).await;
        assert_eq!((third.found, third.open), (0, 0));
        assert_eq!(breaks(h).await.len(), 0);
        let all = h.store.breaks(&h.org, true, "", 10).await.expect("breaks");
        assert_eq!((all.len(), all[0].note.as_deref()), (2, Some("a late list")));
        assert_eq!(all[0].closed_by.as_deref(), Some("cli:ana"));
    }

    async fn a_later_statement_that_has_it_closes_what_was_missed(h: &Harness) {
        let references = paid(h, &["ana"]).await;
        hold(h, MethodKind::Paypal, &statement(Vec::new())).await;
        assert_eq!(one(h).await.0, BreakKind::MissingThere);
        let compared = hold(h, MethodKind::Paypal, &statement(vec![out(&references[0])])).await;
        assert_eq!((compared.passed, compared.open), (1, 0));
        assert_eq!(breaks(h).await.len(), 0);
        assert_eq!(h.store.alerts(&h.org, false, "", 10).await.expect("alerts").len(), 0);
    }

    async fn a_statement_is_of_all_orgs_unless_one_is_named(h: &Harness) {
        let references = paid(h, &["ana"]).await;
        let zeta: OrgId = "zeta".parse().expect("an id");
        h.change("INSERT INTO orgs (org_id, created_at) VALUES ('zeta', '2026-03-02T09:00:00+00:00')").await;
        h.change("INSERT INTO submissions (org_id, submission_id, method_kind, currency, reference,
                      state, body_hash, sends, checks, refusals, sequence, created_at, updated_at)
                  VALUES ('zeta', 'sub_1', 'paypal', 'USD', 'ZETASUBMISSION1', 'refused', '', 1, 0, 0, 9,
                      '2026-03-02T09:00:00+00:00', '2026-03-02T09:00:00+00:00')").await;
        let lines = vec![out(&references[0]), out("SOMEBODY ELSE")];
        hold(h, MethodKind::Paypal, &statement(lines.clone())).await;
        let found = breaks(h).await.remove(0);
        assert!(found.reason.contains("several orgs use paypal"), "{found:?}");
        let against = Against {
            kind: MethodKind::Paypal, org: Some(&zeta), statement: &statement(lines), source: "zeta's",
            told: false,
        };
        let compared = h.engine.hold_against(&h.work(), against).await.expect("a comparison");
        assert_eq!((compared.ours, compared.found), (0, 2), "zeta knows neither");
        let id: BreakId = found.break_id;
        let closed = h.engine.close_break(&h.work(), &zeta, &id, "another org's").await;
        assert!(matches!(closed, Err(EngineError::NoBreak { .. })), "{closed:?}");
    }

    async fn a_long_statement_is_taken_page_by_page(h: &Harness) {
        let references = paid(h, &["ana", "ben"]).await;
        let mut lines: Vec<_> = (0..2_500).map(|i| out(&format!("OTHER {i}"))).collect();
        lines.insert(1_700, out(&references[0]));
        lines.push(out(&references[1]));
        let compared = hold(h, MethodKind::Paypal, &statement(lines)).await;
        assert_eq!((compared.lines, compared.ours, compared.found), (2_502, 2, 2_500));
        let alerts = h.store.alerts(&h.org, false, "", 10).await.expect("alerts");
        assert_eq!(alerts.len(), 1);
    }
}
