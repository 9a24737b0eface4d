//! The recorded exchanges, told to the rails letter by letter.

use payoutd::providers::{Provider, Standing};

use super::*;

/// What the recording calls a payment, as a reference of ours; equally wide in fixed columns.
fn renamed(bytes: Vec<u8>) -> Vec<u8> {
    let mut text = String::from_utf8(bytes).expect("the recording is UTF-8");
    for number in 1..=3 {
        let ours = |prefix: &str| format!("{prefix}{number:09}");
        text = text.replace(&format!("PAYOUT-000{number}    "), &ours("PAYOUT"));
        text = text.replace(&format!("PAYOUT-000{number}"), &ours("PAYOUT"));
        text = text.replace(&format!("WPAY-000{number}"), &ours("WPAYXX"));
    }
    text.into_bytes()
}

fn recorded(name: &str) -> Vec<u8> {
    renamed(contract(&format!("recorded/{name}")))
}

const ACH_LETTERS: [&str; 5] = [
    "ach/nacha.ack-1.txt",
    "ach/nacha.return-1.ach",
    "ach/camt.054.001.08-2.xml",
    "ach/nacha.return-2.ach",
    "ach/camt.054.001.08-1.xml",
];
const WIRE_LETTERS: [&str; 6] = [
    "wire/pain.002.001.10-1.xml",
    "wire/camt.054.001.08-1.xml",
    "wire/camt.053.001.08-1.xml",
    "wire/pacs.004.001.09-1.xml",
    "wire/camt.054.001.08-2.xml",
    "wire/camt.053.001.08-2.xml",
];

fn ach_payments() -> Outgoing {
    let to = |fields| destination(MethodKind::Ach, fields);
    outgoing(vec![
        item("PAYOUT000000001", 25_000, to(&[("routingNumber", "091000019")])),
        item("PAYOUT000000002", 5_000, to(&[("accountType", "savings")])),
        item("PAYOUT000000003", 7_550, to(&[])),
    ])
}

fn wire_payments() -> Outgoing {
    let to = || destination(MethodKind::Wire, &[]);
    outgoing(vec![
        item("WPAYXX000000001", 100_050, to()),
        item("WPAYXX000000002", 25_025, to()),
        item("WPAYXX000000003", 50_000, to()),
    ])
}

async fn standings<P: Provider>(desk: &Desk<P>, outgoing: &Outgoing) -> Vec<Standing> {
    desk.reports(outgoing).await.iter().map(|report| report.standing).collect()
}

/// Places the file, lets the bank take it, and hears these letters one after the other; where
/// each payment stands after each.
async fn told<P: Provider>(
    desk: &Desk<P>,
    outgoing: &mut Outgoing,
    letters: impl IntoIterator<Item = &str>,
) -> Vec<Vec<Standing>> {
    assert!(matches!(desk.send(outgoing).await, Sent::Accepted { .. }));
    desk.pick_up();
    let mut course = Vec::new();
    for name in letters {
        let letter = desk.letter(name.rsplit('/').next().expect("a name"), recorded(name)).await;
        assert_eq!(letter.problem, None, "{name}");
        hear(outgoing, &letter);
        course.push(standings(desk, outgoing).await);
    }
    course
}

#[tokio::test]
async fn the_recorded_ach_exchange_ends_paid_refused_and_returned() {
    use Standing::{Open, Rejected, Returned, Settled};
    let desk = ach(|settings| settings.settle_after_banking_days = 0);
    let mut payments = ach_payments();
    assert_eq!(
        told(&desk, &mut payments, ACH_LETTERS).await,
        [
            [Open, Rejected, Open],
            [Open, Rejected, Open],
            [Settled, Rejected, Settled],
            [Settled, Rejected, Returned],
            [Settled, Rejected, Returned],
        ]
    );
    let reports = desk.reports(&payments).await;
    assert_eq!(reports[0].amount, Some(usd(25_000)));
    let problem = |index: usize| {
        let problem = reports[index].problem.as_ref().expect("a reason");
        (problem.code.clone(), problem.of_method)
    };
    assert_eq!(problem(1), ("R02".to_owned(), true));
    // The largest amount, and of equal ones the last: the bank's booking.
    assert_eq!(problem(2), ("AC01".to_owned(), true));
}

#[tokio::test]
async fn the_recorded_wire_exchange_ends_paid_refused_and_returned() {
    use Standing::{Open, Rejected, Returned, Settled};
    let desk = wire(|_| {});
    let mut payments = wire_payments();
    assert_eq!(
        told(&desk, &mut payments, WIRE_LETTERS).await,
        [
            [Open, Rejected, Open],
            [Settled, Rejected, Settled],
            [Settled, Rejected, Settled],
            [Settled, Rejected, Returned],
            [Settled, Rejected, Returned],
            [Settled, Rejected, Returned],
        ]
    );
    let reports = desk.reports(&payments).await;
    assert_eq!(reports[1].problem.as_ref().map(|p| p.code.as_str()), Some("AC04"));
    assert!(reports.iter().all(|report| report.note.is_none()));
}

#[tokio::test]
async fn the_end_is_the_same_in_whatever_order_and_however_often_letters_come() {
    use Standing::{Rejected, Returned, Settled};
    for turn in 0..ACH_LETTERS.len() {
        let mut letters = ACH_LETTERS.to_vec();
        letters.rotate_left(turn);
        letters.reverse();
        letters.extend(ACH_LETTERS);
        let desk = ach(|_| {});
        let course = told(&desk, &mut ach_payments(), letters).await;
        assert_eq!(course.last(), Some(&vec![Settled, Rejected, Returned]), "turn {turn}");
    }
    for turn in 0..WIRE_LETTERS.len() {
        let mut letters = WIRE_LETTERS.to_vec();
        letters.rotate_left(turn);
        let desk = wire(|_| {});
        let course = told(&desk, &mut wire_payments(), letters).await;
        assert_eq!(course.last(), Some(&vec![Settled, Rejected, Returned]), "turn {turn}");
    }
}

#[tokio::test]
async fn either_rail_reads_the_letters_of_both() {
    let (ach, wire) = (ach(|_| {}), wire(|_| {}));
    for name in ACH_LETTERS.iter().chain(&WIRE_LETTERS) {
        let file = name.replace('/', "-");
        let (left, right) =
            (ach.letter(&file, recorded(name)).await, wire.letter(&file, recorded(name)).await);
        assert_eq!(left, right);
        assert!(!left.notices.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn silence_settles_an_ach_payment_only_once_its_file_was_taken_and_the_days_have_passed() {
    use Standing::{Open, Settled};
    let desk = ach(|_| {});
    let payments = ach_payments();
    assert!(matches!(desk.send(&payments).await, Sent::Accepted { .. }));
    let status =
        |reports: Vec<ItemReport>| (reports[0].standing, reports[0].provider_status.clone());
    desk.pick_up();
    // Effective on Tuesday the 24th; Thursday is Thanksgiving, so two banking days later is Friday.
    for (days, standing) in [(0, Open), (3, Open), (4, Settled), (30, Settled)] {
        let found = standings(&desk, &later(&payments, days)).await;
        assert_eq!(found, [standing; 3], "{days} days later");
    }
    desk.drop_in("unread", "a return, maybe");
    assert_eq!(standings(&desk, &later(&payments, 30)).await, [Open; 3]);
}

#[tokio::test]
async fn silence_never_settles_a_wire_nor_an_ach_payment_where_it_is_told_not_to() {
    let never = ach(|settings| settings.settle_after_banking_days = 0);
    let payments = ach_payments();
    never.send(&payments).await;
    never.pick_up();
    assert_eq!(standings(&never, &later(&payments, 60)).await, [Standing::Open; 3]);
    let desk = wire(|_| {});
    let payments = wire_payments();
    desk.send(&payments).await;
    desk.pick_up();
    assert_eq!(standings(&desk, &later(&payments, 60)).await, [Standing::Open; 3]);
}

#[tokio::test]
async fn the_days_of_silence_begin_when_the_bank_takes_the_file_and_not_before() {
    use Standing::{Open, Settled};
    let desk = ach(|_| {});
    let payments = ach_payments();
    assert!(matches!(desk.send(&payments).await, Sent::Accepted { .. }));
    // It lies there over Thanksgiving, and until Monday the 30th.
    for days in [0, 2, 7] {
        let report = desk.reports(&later(&payments, days)).await.remove(0);
        assert_eq!((report.standing, report.provider_status.as_str()), (Open, "not_picked_up"));
    }
    desk.pick_up();
    for (days, standing) in [(7, Open), (9, Open), (10, Settled)] {
        let found = standings(&desk, &later(&payments, days)).await;
        assert_eq!(found, [standing; 3], "{days} days later");
    }
}

#[tokio::test]
async fn a_file_that_is_placed_long_after_it_was_dated_is_not_settled_by_its_date() {
    let desk = ach(|_| {});
    let payments = ach_payments();
    fs::create_dir(desk.path("archive/sent")).expect("a folder");
    assert!(matches!(desk.send(&later(&payments, 30)).await, Sent::Accepted { .. }));
    desk.pick_up();
    assert_eq!(standings(&desk, &later(&payments, 31)).await, [Standing::Open; 3]);
}
