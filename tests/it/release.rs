//! Held commissions become available when their hold window has passed.

use chrono::TimeDelta;
use payoutd::domain::NewProgram;
use payoutd::engine::Tally;

use crate::harness::{Harness, Wallet, program};

fn with_hold(id: &str, hold_days: i64) -> NewProgram {
    NewProgram { hold_days, ..program(id) }
}

async fn release(h: &Harness, auto_only: bool, batch: i64) -> Tally {
    let mut tally = Tally::default();
    let due = h.engine.programs_to_release(auto_only).await.expect("programs");
    for (org, program) in due {
        let released = h.engine.release_program(&h.work(), &org, &program, batch).await;
        tally.merge(released.expect("a release")).expect("a sum");
    }
    tally
}

on_both! {
    async fn only_what_is_due_is_released_and_the_instant_itself_is_due(h: &Harness) {
        h.enrol(with_hold("creator", 7), &["ana"]).await;
        h.earn("ana", "early", &[500]).await;
        h.clock.advance(TimeDelta::milliseconds(1));
        h.earn("ana", "late", &[700]).await;
        h.clock.advance(TimeDelta::days(7) - TimeDelta::milliseconds(2));
        assert_eq!(release(h, true, 100).await.acted, 0, "a millisecond too early");
        h.clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(release(h, true, 100).await.acted, 1, "at the instant");
        assert_eq!(h.wallet("ana").await, Wallet { held: 700, available: 500, ..Wallet::default() });
        assert_eq!(h.commission_of("early-0").await.status, "qualified");
        assert_eq!(h.commission_of("late-0").await.status, "held");
    }

    async fn the_job_leaves_programs_alone_that_do_not_credit_by_themselves(h: &Harness) {
        h.enrol(with_hold("auto", 1), &["ana"]).await;
        h.enrol(NewProgram { auto_credit: false, ..with_hold("manual", 1) }, &["ben"]).await;
        h.earn("ana", "a", &[500]).await;
        h.earn("ben", "b", &[700]).await;
        h.clock.advance(TimeDelta::days(2));
        assert_eq!(h.tally("release-holds").await.acted, 1);
        assert_eq!((h.wallet("ana").await.held, h.wallet("ben").await.held), (0, 700));
        let asked = release(h, false, 100).await;
        assert_eq!((asked.acted, h.wallet("ben").await.available), (1, 700));
    }

    async fn a_batch_writes_one_entry_per_wallet_whatever_it_releases(h: &Harness) {
        h.enrol(with_hold("creator", 1), &["ana", "ben"]).await;
        h.earn("ana", "a", &[100, 200, 300, 0]).await;
        h.earn("ben", "b", &[0]).await;
        h.clock.advance(TimeDelta::days(1));
        let tally = release(h, true, 100).await;
        assert_eq!((tally.seen, tally.acted), (5, 5));
        assert_eq!(tally.amounts.to_string(), "6.00 USD");
        assert_eq!(h.count("entries WHERE kind = 'release'").await, 1);
        assert_eq!(h.count("commissions WHERE status = 'qualified'").await, 5);
    }

    async fn small_batches_come_to_the_same_end(h: &Harness) {
        let names: Vec<String> = (0..9).map(|i| format!("aff-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        h.enrol(with_hold("creator", 1), &names).await;
        for name in &names {
            h.earn(name, name, &[100, 250, 7]).await;
        }
        h.clock.advance(TimeDelta::days(1));
        let tally = release(h, true, 2).await;
        assert_eq!((tally.acted, tally.amounts.to_string()), (27, "32.13 USD".to_owned()));
        for name in &names {
            assert_eq!(h.wallet(name).await, Wallet { available: 357, ..Wallet::default() });
        }
    }

    async fn releasing_again_changes_nothing(h: &Harness) {
        h.enrol(with_hold("creator", 1), &["ana"]).await;
        h.earn("ana", "a", &[500]).await;
        h.clock.advance(TimeDelta::days(1));
        assert_eq!(h.tally("release-holds").await.acted, 1);
        let again = h.tally("release-holds").await;
        assert_eq!((again.seen, again.acted), (0, 0));
        assert_eq!(h.count("entries").await, 2);
    }

    async fn two_workers_release_everything_once(h: &Harness) {
        let names: Vec<String> = (0..40).map(|i| format!("aff-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        h.enrol(with_hold("creator", 1), &names).await;
        for name in &names {
            h.earn(name, name, &[100, 50]).await;
        }
        h.clock.advance(TimeDelta::days(1));
        let (one, other) = tokio::join!(release(h, true, 3), release(h, true, 3));
        assert_eq!(one.acted + other.acted, 80);
        assert_eq!(h.count("wallets WHERE available_minor = 150 AND held_minor = 0").await, 40);
    }
}
