//! Placing a file, wherever the process died before.

use payoutd::providers::Provider;

use super::*;

fn payment() -> Outgoing {
    outgoing(vec![item("PAYOUT000000001", 100, destination(MethodKind::Ach, &[]))])
}

/// The question about a lost answer.
fn again(outgoing: &Outgoing) -> Outgoing {
    later(outgoing, 1)
}

const NAME: &str = "SUBMISSION00001.ach";
const HIDDEN: &str = ".SUBMISSION00001.ach.tmp";

#[tokio::test]
async fn a_file_is_placed_once_however_often_it_is_sent() {
    let (desk, payment) = (ach(|_| {}), payment());
    assert_eq!(desk.send(&payment).await, Sent::Accepted { provider_batch_id: None });
    assert_eq!(desk.files("outbox"), [NAME]);
    assert_eq!(desk.files("archive/sent"), [NAME]);
    assert!(matches!(desk.send(&again(&payment)).await, Sent::Accepted { .. }));
    desk.pick_up();
    assert!(matches!(desk.send(&again(&payment)).await, Sent::Accepted { .. }));
    assert_eq!(desk.files("outbox"), [] as [&str; 0], "the bank must not find it twice");
}

/// What each crash leaves: hidden, half a copy, copy, shown.
#[tokio::test]
async fn wherever_the_process_died_the_next_send_finishes_and_the_bank_finds_one_file() {
    let payment = payment();
    let body = ach(|_| {}).rail.render(&payment);
    let half = &body[..body.len() / 2];
    let part = ".SUBMISSION00001.ach.part";
    for (at, left) in [
        ("before all", vec![]),
        ("while the hidden file is written", vec![("outbox", HIDDEN, half)]),
        ("after it", vec![("outbox", HIDDEN, body.as_str())]),
        ("while it is copied", vec![("outbox", HIDDEN, &body), ("archive/sent", part, half)]),
        ("after the copy", vec![("outbox", HIDDEN, &body), ("archive/sent", part, &body)]),
        ("once the copy counts", vec![("outbox", HIDDEN, &body), ("archive/sent", NAME, &body)]),
        ("once it is shown", vec![("outbox", NAME, &body), ("archive/sent", NAME, &body)]),
    ] {
        let desk = ach(|_| {});
        fs::create_dir(desk.path("archive/sent")).expect("a folder");
        for (folder, name, bytes) in left {
            fs::write(desk.path(folder).join(name), bytes).expect("it is left behind");
        }
        for _ in 0..2 {
            let sent = desk.send(&again(&payment)).await;
            assert!(matches!(sent, Sent::Accepted { .. }), "{at}: {sent:?}");
        }
        assert_eq!(desk.files("outbox"), [NAME], "{at}");
        assert_eq!(
            fs::read_to_string(desk.path("outbox").join(NAME)).expect("a file"),
            body,
            "{at}"
        );
        let kept = fs::read_to_string(desk.path("archive/sent").join(NAME)).expect("a file");
        assert_eq!(kept, body, "{at}");
    }
    let taken = ach(|_| {});
    fs::create_dir(taken.path("archive/sent")).expect("a folder");
    fs::write(taken.path("archive/sent").join(NAME), &body).expect("it is left behind");
    assert!(matches!(taken.send(&again(&payment)).await, Sent::Accepted { .. }));
    assert_eq!(taken.files("outbox"), [] as [&str; 0], "the bank took it before");
}

#[tokio::test]
async fn other_bytes_under_the_same_reference_are_never_placed() {
    let (desk, payment) = (ach(|_| {}), payment());
    desk.send(&payment).await;
    desk.pick_up();
    let sent = desk.rail.send(&again(&payment), "other bytes").await;
    assert!(
        matches!(&sent, Sent::Unknown(problem) if problem.code == "sent_otherwise"),
        "{sent:?}"
    );
    assert_eq!(desk.files("outbox"), [] as [&str; 0]);
    // Nor is a file that the archive knows nothing of.
    let (desk, body) = (ach(|_| {}), "x");
    fs::write(desk.path("outbox").join(NAME), body).expect("somebody put it there");
    let sent = desk.send(&payment).await;
    assert!(
        matches!(&sent, Sent::Unknown(problem) if problem.code == "not_in_archive"),
        "{sent:?}"
    );
}

#[tokio::test]
async fn without_its_folders_a_first_send_did_nothing_and_a_second_one_is_unknown() {
    let payment = payment();
    for folder in ["outbox", "archive"] {
        let desk = ach(|_| {});
        fs::remove_dir(desk.path(folder)).expect("it is gone");
        let sent = desk.send(&payment).await;
        assert!(matches!(sent, Sent::NotSent(_)), "{folder}: {sent:?}");
        desk.rail.ping().await.expect_err("a folder is missing");
    }
    // An archive that is not mounted looks empty: that proves nothing about an earlier send.
    let desk = ach(|_| {});
    desk.send(&payment).await;
    desk.pick_up();
    fs::remove_dir_all(desk.path("archive")).expect("it is gone");
    fs::create_dir(desk.path("archive")).expect("a mount point");
    let sent = desk.send(&again(&payment)).await;
    assert!(matches!(sent, Sent::Unknown(_)), "{sent:?}");
    assert_eq!(desk.files("outbox"), [] as [&str; 0]);
}

#[tokio::test]
async fn an_outbox_that_is_gone_is_no_proof_that_the_bank_took_the_file() {
    let (desk, payment) = (ach(|_| {}), payment());
    desk.send(&payment).await;
    fs::remove_dir_all(desk.path("outbox")).expect("it is gone");
    assert!(matches!(desk.send(&again(&payment)).await, Sent::Unknown(_)));
    assert!(matches!(desk.rail.look_up(&later(&payment, 30)).await, Found::Unclear(_)));
}

#[tokio::test]
async fn a_file_that_the_bank_can_still_have_is_said_to_wait_even_where_nobody_can_look() {
    let (desk, payment) = (ach(|_| {}), payment());
    assert!(desk.rail.may_still_leave(&payment).await.is_none());
    desk.rail.send(&payment, &desk.rail.render(&payment)).await;
    assert!(desk.rail.may_still_leave(&payment).await.is_some());
    let aside = desk.path("aside");
    fs::rename(desk.path("outbox"), &aside).expect("an outbox");
    assert!(desk.rail.may_still_leave(&payment).await.is_some(), "it may be mounted again");
    fs::rename(&aside, desk.path("outbox")).expect("an outbox");
    desk.pick_up();
    assert!(desk.rail.may_still_leave(&payment).await.is_none());
}

#[tokio::test]
async fn replicas_that_send_the_same_file_at_once_place_one() {
    let (desk, payment) = (ach(|_| {}), payment());
    let again = again(&payment);
    fs::create_dir(desk.path("archive/sent")).expect("a folder");
    let sends = futures::future::join_all((0..16).map(|_| desk.send(&again))).await;
    assert!(sends.iter().all(|sent| matches!(sent, Sent::Accepted { .. })), "{sends:?}");
    assert_eq!(desk.files("outbox"), [NAME]);
    assert_eq!(desk.files("archive/sent"), [NAME]);
}

#[tokio::test]
async fn a_rail_with_its_folders_is_ready_and_leaves_nothing_behind_by_saying_so() {
    let desk = ach(|_| {});
    desk.rail.ping().await.expect("ready");
    assert_eq!(desk.files("outbox"), [] as [&str; 0]);
    assert_eq!(desk.files("inbox"), [] as [&str; 0]);
}

#[tokio::test]
async fn a_file_that_was_never_placed_is_not_found_and_never_said_to_have_failed() {
    let (desk, payment) = (ach(|_| {}), payment());
    assert!(matches!(desk.rail.look_up(&payment).await, Found::Nothing(_)));
    fs::write(desk.path("outbox").join(HIDDEN), "half").expect("it is left behind");
    assert!(matches!(desk.rail.look_up(&again(&payment)).await, Found::Nothing(_)));
}
