//! What every rail has in common, told on a rail of paper: funds, letters, horizons, methods that
//! turn out wrong, and what only a person can say.

use std::sync::Arc;

use chrono::TimeDelta;
use payoutd::domain::{
    AffiliateId, Destination, MethodKind, MethodStatus, NewAffiliate, NewMethod, NoticeWord,
    PayoutId, Scope,
};
use payoutd::engine::{Engine, EngineError, EngineSettings, Finding, Reach};
use payoutd::providers::{Funds, Problem, Sent, Standing, Vetted};
use serde_json::json;

use crate::harness::{Harness, Paper, Wallet, affiliate, program, said, usd};

/// Affiliates with an account at a bank and a payout of 10.00, 20.00, … USD each.
async fn payouts_of(h: &Harness, names: &[&str]) {
    h.enrol_program(program("creator")).await;
    let banked: Vec<_> = names.iter().map(|name| banked(name)).collect();
    h.enrol_affiliates(&banked).await;
    for (i, name) in (1..).zip(names) {
        h.earn(name, name, &[i * 1_000]).await;
        h.ask(name, i * 1_000).await.expect("a payout");
        h.clock.advance(TimeDelta::seconds(1));
    }
}

fn banked(name: &str) -> NewAffiliate {
    let account = json!({
        "routingNumber": "021000021", "accountNumber": "12345678", "accountType": "checking",
        "accountHolderName": name,
    });
    let destination = Destination::parse(MethodKind::Ach, &account.to_string());
    let destination = destination.expect("a destination");
    let method = Some(NewMethod { destination, status: MethodStatus::Verified });
    NewAffiliate { method, ..affiliate(name, "creator") }
}

fn engine(h: &Harness, paper: &Paper) -> Engine {
    h.engine_with(vec![Arc::new(paper.clone())], EngineSettings::default())
}

async fn statuses(h: &Harness) -> Vec<&'static str> {
    h.outcomes().await.into_iter().map(|(_, status)| status).collect()
}

async fn waiting(h: &Harness) -> Vec<String> {
    let payouts = h.payouts().await;
    payouts.into_iter().map(|payout| payout.waiting_for.unwrap_or_default()).collect()
}

async fn first(h: &Harness) -> PayoutId {
    h.payouts().await[0].payout_id.clone()
}

async fn reference(h: &Harness) -> String {
    h.references(&first(h).await).await[0].clone()
}

/// The open alerts: kind and how often.
async fn alerts(h: &Harness) -> Vec<(String, i64)> {
    let rows = h.store.alerts(&h.org, false, "", 100).await.expect("alerts");
    rows.into_iter().map(|row| (row.kind, row.times)).collect()
}

async fn method_status(h: &Harness, name: &str) -> MethodStatus {
    let affiliate: AffiliateId = name.parse().expect("an id");
    h.store.method_of(&h.org, &affiliate).await.expect("a read").expect("a method").status
}

/// The first payout is sent, and its rail has not decided it.
async fn one_open_payout(h: &Harness) -> (Paper, Engine) {
    payouts_of(h, &["ana"]).await;
    let paper = Paper::new();
    paper.told().standing = Some(Standing::Open);
    let engine = engine(h, &paper);
    assert_eq!(h.submit_with(&engine).await.acted, 1);
    h.reconcile_with(&engine).await;
    assert_eq!(statuses(h).await, ["processing"]);
    (paper, engine)
}

on_both! {
    async fn a_balance_pays_the_oldest_and_the_others_wait_for_funds_with_one_alert(h: &Harness) {
        payouts_of(h, &["ana", "ben", "cem"]).await;
        let paper = Paper::new();
        let engine = engine(h, &paper);
        paper.told().funds = Funds::Known(usd(2_900));
        let tally = h.submit_with(&engine).await;
        assert_eq!((tally.acted, tally.skipped["awaiting_funds"].count), (1, 2));
        h.reconcile_with(&engine).await;
        assert_eq!(waiting(h).await, ["", "awaiting_funds", "awaiting_funds"]);
        paper.told().funds = Funds::Known(usd(1_900));
        h.submit_with(&engine).await;
        assert_eq!(paper.told().sends.len(), 1, "nothing is sent that could not be paid");
        assert_eq!(alerts(h).await, [("awaiting_funds".to_owned(), 2)]);
        paper.told().funds = Funds::Known(usd(5_000));
        assert_eq!(h.submit_with(&engine).await.acted, 2);
        h.reconcile_with(&engine).await;
        assert_eq!(statuses(h).await, ["completed"; 3]);
        assert_eq!((waiting(h).await.concat(), alerts(h).await), (String::new(), vec![]));
    }

    async fn what_is_on_its_way_is_not_spent_twice(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        let paper = Paper::new();
        let engine = engine(h, &paper);
        paper.told().funds = Funds::Known(usd(2_000));
        assert_eq!(h.submit_with(&engine).await.acted, 1);
        // The balance does not show the first one yet.
        assert_eq!(h.submit_with(&engine).await.acted, 0);
        h.reconcile_with(&engine).await;
        assert_eq!(h.submit_with(&engine).await.acted, 1);
        h.reconcile_with(&engine).await;
    }

    async fn a_rail_that_is_short_is_left_alone_and_nobody_fails(h: &Harness) {
        payouts_of(h, &["ana", "ben", "cem"]).await;
        let paper = Paper::new();
        let engine = engine(h, &paper);
        paper.told().sent = Sent::Short(Problem::new("balance_insufficient", "too little"));
        h.submit_with(&engine).await;
        for _ in 0..5 {
            h.clock.advance(TimeDelta::minutes(2));
            h.submit_with(&engine).await;
        }
        assert_eq!(paper.told().sends.len(), 1, "no blind retries");
        h.clock.advance(TimeDelta::minutes(10));
        h.submit_with(&engine).await;
        assert_eq!(paper.told().sends.len(), 2, "one try tells whether it is over");
        assert_eq!(alerts(h).await, [("awaiting_funds".to_owned(), 2)]);
        assert_eq!(statuses(h).await, ["processing", "pending", "pending"]);
        h.clock.advance(TimeDelta::minutes(16));
        paper.told().sent = Sent::Accepted { provider_batch_id: None };
        assert_eq!(h.submit_with(&engine).await.acted, 3);
        assert_eq!(alerts(h).await, []);
        h.reconcile_with(&engine).await;
        assert_eq!(statuses(h).await, ["completed"; 3]);
    }

    async fn a_rail_that_cannot_be_reached_is_told_once_and_its_payouts_can_be_cancelled(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        let paper = Paper::new();
        paper.told().terms.batch_size = 2;
        let engine = engine(h, &paper);
        paper.told().sent = Sent::NotSent(Problem::new("no_connection", "refused"));
        for _ in 0..3 {
            h.submit_with(&engine).await;
            h.clock.advance(TimeDelta::hours(1));
        }
        assert_eq!(alerts(h).await, [("rail_unreachable".to_owned(), 3)]);
        assert_eq!(waiting(h).await, ["rail_unreachable"; 2]);
        engine.cancel(&h.work(), &h.org, &first(h).await, "not wanted").await.expect("not sent");
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_000, ..Wallet::default() });
        paper.told().sent = Sent::Accepted { provider_batch_id: None };
        assert_eq!(h.submit_with(&engine).await.acted, 1);
        h.reconcile_with(&engine).await;
        assert_eq!((statuses(h).await, alerts(h).await), (vec!["failed", "completed"], vec![]));
    }

    async fn one_payee_who_cannot_be_asked_about_keeps_no_other_from_being_paid(h: &Harness) {
        payouts_of(h, &["ana", "ben", "cem"]).await;
        let paper = Paper::new();
        let engine = engine(h, &paper);
        let trouble = Problem::new("http_500", "no answer about the account").of_method();
        paper.told().about_one = Some((1_000, Sent::NotSent(trouble)));
        assert_eq!(h.submit_with(&engine).await.acted, 2);
        h.reconcile_with(&engine).await;
        assert_eq!(statuses(h).await, ["processing", "completed", "completed"]);
        assert_eq!((h.submit_with(&engine).await.seen, alerts(h).await), (0, vec![]));
        paper.told().about_one = None;
        h.clock.advance(TimeDelta::minutes(16));
        assert_eq!(h.submit_with(&engine).await.acted, 1);
        h.reconcile_with(&engine).await;
    }

    async fn a_file_that_can_still_be_picked_up_is_not_said_to_be_unpaid(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        h.clock.advance(TimeDelta::days(11));
        h.reconcile_with(&engine).await;
        paper.told().in_the_outbox = true;
        let payout = first(h).await;
        let finding = (Finding::NotPaid, "not at the bank");
        let early = engine.mark(&h.work(), &h.org, &payout, finding).await;
        assert!(matches!(early, Err(EngineError::MayStillLeave { .. })), "{early:?}");
        paper.told().in_the_outbox = false;
        engine.mark(&h.work(), &h.org, &payout, finding).await.expect("taken away");
    }

    async fn a_letter_of_another_rail_moves_nothing(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        let reference = reference(h).await;
        let mut letter = said("return", &reference, NoticeWord::Returned, None);
        letter.about = vec![MethodKind::Wire];
        paper.told().letters = vec![letter];
        h.reconcile_with(&engine).await;
        assert_eq!(h.count("notices").await, 0);
        assert_eq!(alerts(h).await, [("letter".to_owned(), 1)]);
    }

    async fn a_letter_is_heard_once_and_put_away(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        let reference = reference(h).await;
        let letter = said("booked.xml", &reference, NoticeWord::Booked, None);
        paper.told().letters = vec![letter];
        h.reconcile_with(&engine).await;
        assert_eq!(paper.told().heard, [NoticeWord::Booked], "its check was brought forward");
        assert_eq!(paper.told().put_away, ["booked.xml"]);
        h.reconcile_with(&engine).await;
        assert_eq!(h.count("notices").await, 1, "it is known by its hash");
        assert_eq!(h.count("letters").await, 1);
        assert_eq!(statuses(h).await, ["processing"], "a letter moves no money by itself");
    }

    async fn an_inbox_that_cannot_be_read_is_told_and_nothing_stops(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        paper.told().inbox_fails = Some(Problem::new("files", "permission denied"));
        paper.told().standing = Some(Standing::Settled);
        h.clock.advance(TimeDelta::days(1));
        let tally = h.reconcile_with(&engine).await;
        assert!(tally.notes[0].contains("permission denied"), "{:?}", tally.notes);
        assert_eq!(alerts(h).await, [("inbox".to_owned(), 1)]);
        assert_eq!(statuses(h).await, ["completed"]);
    }

    async fn a_letter_about_a_stranger_is_kept_and_told(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        paper.told().letters = vec![said("x", "NOTOURSATALL123", NoticeWord::Returned, None)];
        h.reconcile_with(&engine).await;
        assert_eq!((h.count("letters WHERE unmatched = 1").await, h.count("notices").await), (1, 0));
        assert_eq!(alerts(h).await, [("letter".to_owned(), 1)]);
    }

    async fn a_letter_about_a_whole_file_is_heard_by_each_of_its_transfers(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        let paper = Paper::new();
        paper.told().terms.batch_size = 10;
        paper.told().standing = Some(Standing::Open);
        let engine = engine(h, &paper);
        h.submit_with(&engine).await;
        let rows: Vec<(String,)> = h.database.rows("SELECT reference FROM submissions").await;
        let mut letter = said("refused.txt", &rows[0].0, NoticeWord::Refused, None);
        letter.notices[0].whole = true;
        paper.told().letters = vec![letter];
        h.reconcile_with(&engine).await;
        assert_eq!(paper.told().heard, [NoticeWord::Refused; 2]);
    }

    async fn money_that_arrived_and_came_back_unwatched_was_completed_and_returned(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        paper.told().standing = Some(Standing::Returned);
        let closed = Problem::new("R02", "the account is closed").of_method();
        paper.told().problem = Some(closed);
        h.clock.advance(TimeDelta::days(1));
        h.reconcile_with(&engine).await;
        let story = h.store.events(&h.org, &first(h).await).await.expect("events");
        let story: Vec<_> = story.iter().map(|event| event.status.as_str()).collect();
        assert_eq!(story, ["pending", "processing", "completed", "returned"]);
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_000, ..Wallet::default() });
        assert_eq!(method_status(h, "ana").await, MethodStatus::Failed);
        let again = h.ask("ana", 1_000).await.expect_err("refused");
        assert!(again.to_string().contains("method_unverified"), "{again}");
    }

    async fn a_return_that_blames_nobody_leaves_the_method_verified(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        paper.told().standing = Some(Standing::Rejected);
        paper.told().problem = Some(Problem::new("R06", "at our request"));
        h.clock.advance(TimeDelta::days(1));
        h.reconcile_with(&engine).await;
        assert_eq!(statuses(h).await, ["failed"]);
        assert_eq!(method_status(h, "ana").await, MethodStatus::Verified);
    }

    async fn a_notice_of_change_corrects_the_method_or_unverifies_it(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        let reference = reference(h).await;
        let mut letter = said("noc.ach", &reference, NoticeWord::Corrected, Some("C01"));
        letter.notices[0].correction.insert("accountNumber".to_owned(), "87654321".to_owned());
        paper.told().letters = vec![letter];
        h.reconcile_with(&engine).await;
        let ana: AffiliateId = "ana".parse().expect("an id");
        let method = h.store.method_of(&h.org, &ana).await.expect("a read").expect("a method");
        assert_eq!(method.destination.expect("it opens").get("accountNumber"), Some("87654321"));
        assert_eq!(method.status, MethodStatus::Verified);
        // The payout keeps where it went, so a second correction of it is about another account.
        paper.told().letters = vec![said("noc2.ach", &reference, NoticeWord::Corrected, Some("C09"))];
        h.reconcile_with(&engine).await;
        assert_eq!(method_status(h, "ana").await, MethodStatus::Verified);
        h.earn("ana", "more", &[1_000]).await;
        h.ask("ana", 1_000).await.expect("a payout");
        h.submit_with(&engine).await;
        let second = h.payouts().await[1].payout_id.clone();
        let second = h.references(&second).await[0].clone();
        paper.told().letters = vec![said("noc3.ach", &second, NoticeWord::Corrected, Some("C09"))];
        h.reconcile_with(&engine).await;
        assert_eq!(method_status(h, "ana").await, MethodStatus::Failed);
    }

    async fn past_its_horizon_a_person_is_asked_once_and_a_late_answer_still_counts(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        h.clock.advance(TimeDelta::days(9));
        h.reconcile_with(&engine).await;
        assert_eq!(alerts(h).await, []);
        for _ in 0..3 {
            h.clock.advance(TimeDelta::days(2));
            h.reconcile_with(&engine).await;
        }
        assert_eq!(alerts(h).await, [("review".to_owned(), 3)]);
        assert_eq!(statuses(h).await, ["processing"], "unclear is never failed");
        paper.told().standing = Some(Standing::Settled);
        h.clock.advance(TimeDelta::days(2));
        h.reconcile_with(&engine).await;
        assert_eq!((statuses(h).await, alerts(h).await), (vec!["completed"], vec![]));
    }

    async fn what_is_in_review_still_hears_letters(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        paper.told().terms.finds_by_reference = false;
        h.clock.advance(TimeDelta::days(11));
        h.reconcile_with(&engine).await;
        let reference = reference(h).await;
        paper.told().letters = vec![said("late.xml", &reference, NoticeWord::Booked, None)];
        paper.told().standing = Some(Standing::Settled);
        h.reconcile_with(&engine).await;
        assert_eq!(paper.told().heard, [NoticeWord::Booked]);
        assert_eq!((statuses(h).await, alerts(h).await), (vec!["completed"], vec![]));
    }

    async fn only_what_is_in_review_is_ended_by_a_persons_word(h: &Harness) {
        let (_paper, engine) = one_open_payout(h).await;
        let payout = first(h).await;
        let finding = (Finding::NotPaid, "the bank never had it");
        let early = engine.mark(&h.work(), &h.org, &payout, finding).await;
        assert!(matches!(early, Err(EngineError::NotInReview { .. })), "{early:?}");
        h.clock.advance(TimeDelta::days(11));
        h.reconcile_with(&engine).await;
        engine.mark(&h.work(), &h.org, &payout, finding).await.expect("a payout in review");
        assert_eq!(statuses(h).await, ["failed"]);
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_000, ..Wallet::default() });
        let again = engine.mark(&h.work(), &h.org, &payout, (Finding::Paid, "no")).await;
        assert!(matches!(again, Err(EngineError::NotInReview { .. })), "{again:?}");
    }

    async fn a_payout_in_review_that_was_paid_after_all_is_completed_by_a_persons_word(h: &Harness) {
        let (_paper, engine) = one_open_payout(h).await;
        h.clock.advance(TimeDelta::days(11));
        h.reconcile_with(&engine).await;
        let finding = (Finding::Paid, "seen on the account");
        engine.mark(&h.work(), &h.org, &first(h).await, finding).await.expect("in review");
        assert_eq!(statuses(h).await, ["completed"]);
        assert_eq!(h.wallet("ana").await, Wallet { paid: 1_000, ..Wallet::default() });
    }

    async fn what_a_person_ended_is_never_sent_again(h: &Harness) {
        payouts_of(h, &["ana", "ben", "cem"]).await;
        let paper = Paper::new();
        let mut terms = paper.told().terms;
        (terms.batch_size, terms.resend_window) = (10, TimeDelta::days(365));
        paper.told().terms = terms;
        let engine = engine(h, &paper);
        paper.told().sent = Sent::Unknown(Problem::new("timeout", "no answer"));
        paper.told().standing = None;
        h.submit_with(&engine).await;
        h.clock.advance(TimeDelta::days(11));
        h.reconcile_with(&engine).await;
        assert_eq!(paper.told().sends.len(), 2);
        let payouts: Vec<_> = h.payouts().await.into_iter().map(|p| p.payout_id).collect();
        let finding = (Finding::NotPaid, "not at the provider");
        engine.mark(&h.work(), &h.org, &payouts[0], finding).await.expect("in review");
        paper.told().sent = Sent::Accepted { provider_batch_id: None };
        h.clock.advance(TimeDelta::days(2));
        h.reconcile_with(&engine).await;
        assert_eq!(paper.told().sends.len(), 2, "its bytes hold what is over");
        let again = engine.resend(&h.work(), &h.org, &payouts[1], "nothing there").await;
        assert_eq!(again.expect("in review"), 2);
        paper.told().standing = Some(Standing::Settled);
        h.submit_with(&engine).await;
        h.reconcile_with(&engine).await;
        assert_eq!(statuses(h).await, ["failed", "completed", "completed"]);
        assert_eq!(paper.told().sends[2].len(), 2, "the marked one is not among them");
        assert_eq!(alerts(h).await, []);
    }

    async fn what_is_wrong_with_one_submission_keeps_no_other_waiting(h: &Harness) {
        payouts_of(h, &["ana", "ben"]).await;
        let paper = Paper::new();
        let engine = engine(h, &paper);
        h.submit_with(&engine).await;
        h.change("UPDATE payouts SET status = 'cancelled' WHERE affiliate_id = 'ana'").await;
        h.ledger_is_broken();
        let run = engine.reconcile(&h.work(), Reach::Due, &Scope::default()).await;
        run.expect_err("a payout that is not under way");
        assert_eq!(statuses(h).await, ["cancelled", "completed"]);
    }

    async fn what_a_person_ends_while_it_is_slowly_asked_about_is_not_sent_again(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        let paper = Paper::new();
        let engine = engine(h, &paper);
        paper.told().terms.resend_window = TimeDelta::days(365);
        paper.told().sent = Sent::Unknown(Problem::new("timeout", "no answer"));
        paper.told().standing = None;
        h.submit_with(&engine).await;
        h.clock.advance(TimeDelta::days(11));
        h.reconcile_with(&engine).await;
        assert_eq!(paper.told().sends.len(), 2);
        h.clock.advance(TimeDelta::days(2));
        let (person, clock, work, org) = (engine.clone(), h.clock.clone(), h.work(), h.org.clone());
        let payout = first(h).await;
        paper.told().meanwhile = Some(Box::pin(async move {
            // The look-up takes longer than the claim holds.
            clock.advance(TimeDelta::minutes(3));
            let finding = (Finding::NotPaid, "not at the provider");
            person.mark(&work, &org, &payout, finding).await.expect("in review");
        }));
        h.reconcile_with(&engine).await;
        assert_eq!(paper.told().sends.len(), 2, "its bytes stay here");
        assert_eq!(statuses(h).await, ["failed"]);
    }

    async fn while_the_provider_is_being_asked_a_persons_word_has_to_wait(h: &Harness) {
        let (_paper, engine) = one_open_payout(h).await;
        h.clock.advance(TimeDelta::days(11));
        h.reconcile_with(&engine).await;
        let soon = h.clock.now() + TimeDelta::minutes(2);
        let soon = soon.format("%Y-%m-%dT%H:%M:%S%.3f+00:00");
        h.change(&format!("UPDATE submissions SET claimed_until = '{soon}'")).await;
        let finding = (Finding::NotPaid, "not at the provider");
        let early = engine.mark(&h.work(), &h.org, &first(h).await, finding).await;
        assert!(matches!(early, Err(EngineError::BeingAsked { .. })), "{early:?}");
    }

    async fn a_lost_send_that_is_found_by_its_reference_is_not_repeated(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        let paper = Paper::new();
        let engine = engine(h, &paper);
        paper.told().sent = Sent::Unknown(Problem::new("timeout", "no answer"));
        h.submit_with(&engine).await;
        h.reconcile_with(&engine).await;
        assert_eq!(statuses(h).await, ["completed"]);
        assert_eq!(paper.told().sends.len(), 1);
    }

    async fn past_the_keys_life_nothing_is_sent_again_and_a_person_is_asked(h: &Harness) {
        payouts_of(h, &["ana"]).await;
        let paper = Paper::new();
        let engine = engine(h, &paper);
        paper.told().sent = Sent::Unknown(Problem::new("timeout", "no answer"));
        paper.told().standing = None;
        h.submit_with(&engine).await;
        h.clock.advance(TimeDelta::hours(22));
        h.reconcile_with(&engine).await;
        assert_eq!(paper.told().sends.len(), 2, "the same key is a question within its life");
        h.clock.advance(TimeDelta::hours(2));
        h.reconcile_with(&engine).await;
        assert_eq!(paper.told().sends.len(), 2);
        assert_eq!(alerts(h).await, [("review".to_owned(), 1)]);
        assert_eq!(statuses(h).await, ["processing"]);
    }

    async fn what_nobody_takes_is_called_off_after_its_time(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        paper.told().standing = Some(Standing::Unclaimed);
        paper.told().terms.call_off_after = Some(TimeDelta::days(5));
        h.clock.advance(TimeDelta::days(4));
        h.reconcile_with(&engine).await;
        assert_eq!(statuses(h).await, ["processing"]);
        assert_eq!(paper.told().called_off.len(), 0);
        h.clock.advance(TimeDelta::days(2));
        h.reconcile_with(&engine).await;
        assert_eq!(statuses(h).await, ["failed"]);
        assert_eq!(paper.told().called_off.len(), 1);
        assert_eq!(h.wallet("ana").await, Wallet { available: 1_000, ..Wallet::default() });
    }

    async fn a_rail_says_whether_a_method_can_receive_money(h: &Harness) {
        h.enrol_program(program("creator")).await;
        h.enrol_affiliates(&[banked("ana")]).await;
        let paper = Paper::new();
        let engine = engine(h, &paper);
        let ana: AffiliateId = "ana".parse().expect("an id");
        let inactive = Problem::new("transfers_inactive", "transfers are not active");
        paper.told().vetted = Vetted::Unable(inactive);
        let (status, _) = engine.verify_method(&h.work(), &h.org, &ana).await.expect("an answer");
        assert_eq!((status, method_status(h, "ana").await), (MethodStatus::Failed, status));
        paper.told().vetted = Vetted::Unclear(Problem::new("timeout", "no answer"));
        engine.verify_method(&h.work(), &h.org, &ana).await.expect_err("no answer");
        assert_eq!(method_status(h, "ana").await, MethodStatus::Failed);
        paper.told().vetted = Vetted::Able;
        engine.verify_method(&h.work(), &h.org, &ana).await.expect("an answer");
        assert_eq!(method_status(h, "ana").await, MethodStatus::Verified);
    }

    async fn information_about_a_payout_changes_nothing_but_is_kept(h: &Harness) {
        let (paper, engine) = one_open_payout(h).await;
        paper.told().standing = Some(Standing::Settled);
        paper.told().note = Some("the payee's own payout failed".to_owned());
        h.clock.advance(TimeDelta::days(1));
        h.reconcile_with(&engine).await;
        let attempts = h.store.attempts(&h.org, &first(h).await).await.expect("attempts");
        assert_eq!(attempts[0].note.as_deref(), Some("the payee's own payout failed"));
        assert_eq!(statuses(h).await, ["completed"]);
    }
}
