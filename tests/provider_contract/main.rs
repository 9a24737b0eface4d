//! What every rail promises the engine, told once and held against each of them: it pays what it
//! was asked, once, whatever becomes of the answer, and never says "failed" when it does not know.
//!
//! A new rail joins with a [`Stand`]: a stand-in that it pays into, with books of its own.

#[path = "../loopback/mod.rs"]
mod loopback;
#[path = "../loopback/spoil.rs"]
mod spoil;

mod ach;
mod bank;
mod paypal;
mod stand;
mod stripe;
mod wire;

use payoutd::providers::{Found, Outgoing, Sent, Standing};
use serde_json::json;
use stand::Stand;

/// Holds one rail to every promise.
macro_rules! holds_to_the_contract {
    ($rail:ident: $($promise:ident)+) => {
        mod $rail {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&super::super::$rail::open().await).await;
            })+
        }
    };
    ($($rail:ident)+) => { mod promises {
        use super::*;
        $(holds_to_the_contract! { $rail:
            the_same_submission_is_always_the_same_bytes
            what_is_sent_arrives_once_in_the_amount_that_was_asked
            sending_the_same_again_pays_nothing_again
            a_lost_answer_is_unknown_and_asking_again_pays_nothing_again
            a_doubled_call_pays_once
            whatever_status_an_answer_has_nothing_is_paid_twice
            a_provider_that_cannot_be_reached_took_nothing
            a_payee_who_is_refused_is_named_and_nothing_is_paid
            what_was_never_sent_is_never_said_to_have_failed
            terms_leave_time_to_ask_and_to_come_back
            no_secret_and_no_account_is_told_in_words
        })+
    } };
}

holds_to_the_contract! { paypal stripe ach wire }

/// Settles everything of a submission that the rail has accepted.
async fn settled(stand: &dyn Stand, outgoing: &mut Outgoing) {
    for _ in 0..5 {
        stand.work().await;
        stand.deliver(outgoing).await;
        match stand.rail().look_up(outgoing).await {
            Found::Items(reports) if reports.iter().all(|r| r.standing == Standing::Settled) => {
                assert_eq!(reports.len(), outgoing.items.len());
                for (report, item) in reports.iter().zip(&outgoing.items) {
                    assert_eq!(report.reference, item.reference);
                    assert!(report.amount.is_none_or(|amount| amount == item.amount), "{report:?}");
                }
                return;
            }
            Found::Items(reports) => {
                assert!(reports.iter().all(|r| r.standing == Standing::Open), "{reports:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("nothing settles");
}

async fn send(stand: &dyn Stand, outgoing: &mut Outgoing) -> Sent {
    let rail = stand.rail();
    let sent = rail.send(outgoing, &rail.render(outgoing)).await;
    if let Sent::Accepted { provider_batch_id } = &sent {
        outgoing.provider_batch_id =
            provider_batch_id.clone().or(outgoing.provider_batch_id.take());
    }
    sent
}

async fn accepted(stand: &dyn Stand, outgoing: &mut Outgoing) {
    let sent = send(stand, outgoing).await;
    assert!(matches!(sent, Sent::Accepted { .. }), "{sent:?}");
}

/// Each item is in the books as often as `times`, in its own amount.
async fn paid(stand: &dyn Stand, outgoing: &Outgoing, times: usize) {
    let books = stand.books().await;
    for item in &outgoing.items {
        let rows = books.iter().filter(|(reference, _)| reference == item.reference.as_str());
        let amounts: Vec<_> = rows.map(|(_, amount)| amount.clone()).collect();
        assert_eq!(amounts, vec![item.amount.to_string(); times], "{}", item.reference);
    }
    assert_eq!(books.len(), outgoing.items.len() * times, "{books:?}");
}

async fn the_same_submission_is_always_the_same_bytes(stand: &impl Stand) {
    let (rail, outgoing) = (stand.rail(), stand.outgoing(stand::few(stand)));
    let bytes = rail.render(&outgoing);
    assert!(!bytes.is_empty());
    let mut later = outgoing.clone();
    later.now += chrono::TimeDelta::days(3);
    later.provider_batch_id = Some("known by now".to_owned());
    later.items.iter_mut().for_each(|item| (item.open, item.settled) = (false, true));
    assert_eq!(bytes, rail.render(&later), "nothing that changes later may change the bytes");
}

async fn what_is_sent_arrives_once_in_the_amount_that_was_asked(stand: &impl Stand) {
    let mut outgoing = stand.outgoing(stand::few(stand));
    accepted(stand, &mut outgoing).await;
    settled(stand, &mut outgoing).await;
    paid(stand, &outgoing, 1).await;
}

async fn sending_the_same_again_pays_nothing_again(stand: &impl Stand) {
    let mut outgoing = stand.outgoing(stand::few(stand));
    accepted(stand, &mut outgoing).await;
    stand.work().await;
    for _ in 0..3 {
        accepted(stand, &mut outgoing).await;
        stand.work().await;
    }
    settled(stand, &mut outgoing).await;
    paid(stand, &outgoing, 1).await;
}

async fn a_lost_answer_is_unknown_and_asking_again_pays_nothing_again(stand: &impl Stand) {
    for fault in ["lost_response", "error_after", "garbled", "wrong_status", "lost_request"] {
        let mut outgoing = stand.outgoing(stand::few(stand));
        if !stand.spoil_the_next_send(fault, json!({})).await {
            return;
        }
        let sent = send(stand, &mut outgoing).await;
        assert!(matches!(sent, Sent::Unknown(_)), "{fault}: {sent:?}");
        let found = stand.rail().terms().finds_by_reference;
        let known = match stand.rail().look_up(&outgoing).await {
            Found::Items(reports) if found => !reports.is_empty(),
            _ => false,
        };
        if !known {
            accepted(stand, &mut outgoing).await;
        }
        settled(stand, &mut outgoing).await;
        once_each(stand, &outgoing, fault).await;
    }
}

async fn a_doubled_call_pays_once(stand: &impl Stand) {
    let mut outgoing = stand.outgoing(stand::few(stand));
    if !stand.spoil_the_next_send("doubled", json!({})).await {
        return;
    }
    accepted(stand, &mut outgoing).await;
    settled(stand, &mut outgoing).await;
    paid(stand, &outgoing, 1).await;
}

/// Whatever the rail makes of it, what the engine does next on that word pays nothing again.
async fn whatever_status_an_answer_has_nothing_is_paid_twice(stand: &impl Stand) {
    for status in [202, 302, 400, 401, 402, 403, 404, 409, 418, 422, 429, 500, 503] {
        let mut outgoing = stand.outgoing(stand::few(stand));
        if !stand.spoil_the_next_send("wrong_status", json!({"status": status})).await {
            return;
        }
        match send(stand, &mut outgoing).await {
            Sent::Accepted { .. } => {}
            Sent::Unknown(_) => {
                if !matches!(stand.rail().look_up(&outgoing).await, Found::Items(_)) {
                    accepted(stand, &mut outgoing).await;
                }
            }
            Sent::NotSent(_) | Sent::Throttled { .. } | Sent::Blocked(_) | Sent::Short(_) => {
                outgoing.attempt += 1;
                accepted(stand, &mut outgoing).await;
            }
            refused @ Sent::Refused { .. } => panic!("{status} is no proof: {refused:?}"),
        }
        settled(stand, &mut outgoing).await;
        once_each(stand, &outgoing, &format!("status {status}")).await;
    }
}

async fn once_each(stand: &dyn Stand, outgoing: &Outgoing, after: &str) {
    let books = stand.books().await;
    for item in &outgoing.items {
        let rows = books.iter().filter(|(reference, _)| reference == item.reference.as_str());
        assert_eq!(rows.count(), 1, "{after}: {}", item.reference);
    }
}

async fn a_provider_that_cannot_be_reached_took_nothing(stand: &impl Stand) {
    let outgoing = stand.outgoing(stand::few(stand));
    let nowhere = stand.rail_to_nowhere();
    let sent = nowhere.send(&outgoing, &nowhere.render(&outgoing)).await;
    assert!(matches!(sent, Sent::NotSent(_)), "{sent:?}");
    assert!(nowhere.ping().await.is_err());
    if let Found::Items(reports) = nowhere.look_up(&outgoing).await {
        assert!(reports.iter().all(|report| report.standing == Standing::Open), "{reports:?}");
    }
    assert_eq!(stand.books().await, []);
}

async fn a_payee_who_is_refused_is_named_and_nothing_is_paid(stand: &impl Stand) {
    let mut outgoing = stand.outgoing(stand::few(stand));
    let last = outgoing.items.len() - 1;
    outgoing.items[last].destination = stand.refused_payee();
    let sent = send(stand, &mut outgoing).await;
    let Sent::Refused { items, .. } = sent else { panic!("{sent:?}") };
    let named: Vec<_> = items.iter().map(|(reference, _)| reference).collect();
    assert_eq!(named, [&outgoing.items[last].reference]);
    stand.work().await;
    assert_eq!(stand.books().await, []);
}

async fn what_was_never_sent_is_never_said_to_have_failed(stand: &impl Stand) {
    let mut outgoing = stand.outgoing(stand::few(stand));
    for id in [None, Some("NOBODYKNOWSTHIS".to_owned())] {
        outgoing.provider_batch_id = id;
        match stand.rail().look_up(&outgoing).await {
            Found::Nothing(_) | Found::Unclear(_) => {}
            Found::Items(reports) => {
                assert!(reports.iter().all(|r| r.standing == Standing::Open), "{reports:?}");
            }
        }
    }
}

async fn terms_leave_time_to_ask_and_to_come_back(stand: &impl Stand) {
    let terms = stand.rail().terms();
    assert!(terms.batch_size >= 1);
    assert!(terms.resend_window > chrono::TimeDelta::zero());
    assert!(terms.horizon > chrono::TimeDelta::zero());
    assert!(terms.watch > chrono::TimeDelta::zero(), "money can come back on every rail");
}

async fn no_secret_and_no_account_is_told_in_words(stand: &impl Stand) {
    let mut outgoing = stand.outgoing(stand::few(stand));
    let last = outgoing.items.len() - 1;
    outgoing.items[last].destination = stand.refused_payee();
    let refused = send(stand, &mut outgoing).await;
    let nowhere = stand.rail_to_nowhere();
    let unsent = nowhere.send(&outgoing, &nowhere.render(&outgoing)).await;
    let words = format!("{refused:?} {unsent:?} {outgoing:?}");
    for secret in stand.secrets() {
        assert!(!words.contains(&secret), "{secret} is told in: {words}");
    }
}
