//! What the rails write for what they are handed.

use payoutd::formats::{iso20022, nacha};
use payoutd::providers::Provider;
use proptest::prelude::*;

use super::*;

fn to(fields: &[(&str, &str)]) -> Destination {
    destination(MethodKind::Ach, fields)
}

fn file_of(desk: &Desk<Ach>, outgoing: &Outgoing) -> nacha::File {
    let text = desk.rail.render(outgoing);
    assert_eq!(nacha::check(text.as_bytes()), [], "{text}");
    nacha::read(text.as_bytes()).expect("a file").file
}

#[test]
fn persons_and_companies_leave_in_batches_of_their_own() {
    let desk = ach(|_| {});
    let file = file_of(
        &desk,
        &outgoing(vec![
            item("PAYOUT000000001", 100, to(&[("accountHolderType", "individual")])),
            item("PAYOUT000000002", 200, to(&[("accountHolderType", "company")])),
            item("PAYOUT000000003", 300, to(&[("accountType", "savings")])),
        ]),
    );
    let shape: Vec<_> = file
        .batches
        .iter()
        .map(|batch| {
            let entries = batch.entries.iter();
            let entries = entries.map(|e| format!("{} {}", e.code, e.individual_id));
            (batch.sec.as_str(), batch.service_class.code(), entries.collect::<Vec<_>>().join(", "))
        })
        .collect();
    assert_eq!(
        shape,
        [
            ("CCD", "220", "22 PAYOUT000000002".to_owned()),
            ("PPD", "220", "22 PAYOUT000000001, 32 PAYOUT000000003".to_owned()),
        ]
    );
    let effective = file.batches[0].effective.map(|day| day.to_string());
    assert_eq!(effective.as_deref(), Some("2026-11-24"));
}

#[test]
fn a_balanced_file_ends_each_batch_with_the_debit_of_our_account() {
    let desk = ach(|settings| {
        settings.offset_routing = "999999992".to_owned();
        settings.offset_account = "0000000001".to_owned();
    });
    let items = vec![
        item("PAYOUT000000001", 9_999_999_998, to(&[])),
        item("PAYOUT000000002", 1, to(&[])),
        item("PAYOUT000000003", 1, to(&[])),
    ];
    let file = file_of(&desk, &outgoing(items));
    let sums: Vec<_> = file
        .batches
        .iter()
        .map(|batch| {
            assert_eq!(batch.service_class.code(), "200");
            let last = batch.entries.last().expect("an entry");
            assert_eq!((last.code.as_str(), last.account.as_str()), ("27", "0000000001"));
            last.amount_minor
        })
        .collect();
    assert_eq!(sums, [9_999_999_999, 1], "a debit has ten digits, so there are two");
}

#[test]
fn what_leaves_early_settles_today_if_that_is_wanted_and_allowed() {
    let desk = ach(|settings| settings.same_day = true);
    for (now, days) in [
        ("2026-11-23T15:00:00Z", "2026-11-23 2026-11-24"),
        // 16:00 in New York, less than 45 minutes and a moment before 16:45.
        ("2026-11-23T20:59:59Z", "2026-11-23 2026-11-24"),
        ("2026-11-23T21:00:00Z", "2026-11-24"),
        // Thanksgiving, and the Sunday after.
        ("2026-11-26T15:00:00Z", "2026-11-27"),
        ("2026-11-29T15:00:00Z", "2026-11-30"),
        // Still Monday in New York.
        ("2026-11-24T03:00:00Z", "2026-11-24"),
    ] {
        let mut outgoing = outgoing(vec![
            item("PAYOUT000000001", 100_000_000, to(&[])),
            item("PAYOUT000000002", 100_000_001, to(&[])),
        ]);
        outgoing.sent_at = instant(now);
        let file = file_of(&desk, &outgoing);
        let found: Vec<_> =
            file.batches.iter().filter_map(|batch| Some(batch.effective?.to_string())).collect();
        assert_eq!(found.join(" "), days, "{now}");
    }
}

#[test]
fn the_same_submission_is_the_same_bytes_and_no_two_files_have_one_identity() {
    let desk = ach(|_| {});
    let payment = outgoing(vec![item("PAYOUT000000001", 100, to(&[]))]);
    let body = desk.rail.render(&payment);
    assert_eq!(desk.rail.render(&later(&payment, 5)), body);
    let mut identities = std::collections::HashSet::new();
    for sequence in 1..=2_000 {
        let mut outgoing = payment.clone();
        outgoing.sequence = sequence;
        let file = file_of(&desk, &outgoing);
        let trace = &file.batches[0].entries[0].trace;
        assert!(identities.insert(file.header.identity()), "{sequence}");
        assert_eq!(trace, &format!("99999999{:03}0001", sequence % 1_000));
    }
}

/// Cents, fields of the destination, and whether the destination is at fault.
type Case<'a> = (i64, &'a [(&'a str, &'a str)], bool);

#[tokio::test]
async fn payees_that_cannot_be_written_are_refused_by_name_and_nothing_is_placed() {
    let desk = ach(|_| {});
    let cases: [Case<'_>; 7] = [
        (10_000_000_000, &[], false),
        (0, &[], false),
        (1, &[("accountNumber", "123456789012345678")], true),
        (1, &[("accountNumber", "12 34")], true),
        (1, &[("routingNumber", "021000022")], true),
        (1, &[("accountType", "loan")], true),
        (1, &[("accountHolderName", "\u{200b}")], true),
    ];
    for (minor, fields, of_method) in cases {
        let good = item("PAYOUT000000001", 100, to(&[]));
        let bad = item("PAYOUT000000002", minor, to(fields));
        let Sent::Refused { items, .. } = desk.send(&outgoing(vec![good, bad])).await else {
            panic!("{minor} {fields:?}")
        };
        assert_eq!(items.len(), 1, "{fields:?}");
        assert_eq!(items[0].0.as_str(), "PAYOUT000000002");
        assert_eq!(items[0].1.of_method, of_method, "{fields:?}");
    }
    let mut euros = item("PAYOUT000000001", 100, to(&[]));
    euros.amount.currency = "EUR".parse().expect("a currency");
    assert!(matches!(desk.send(&outgoing(vec![euros])).await, Sent::Refused { .. }));
    assert_eq!(desk.files("outbox"), [] as [&str; 0]);
}

#[tokio::test]
async fn a_wire_that_cannot_be_written_is_refused_by_name() {
    let desk = wire(|_| {});
    let cases: [Case<'_>; 6] = [
        (1_000_000_000_000, &[], false),
        (1, &[("accountNumber", "1234:5678")], true),
        (1, &[("routingNumber", "1")], true),
        (1, &[("country", "usa")], true),
        (1, &[("city", "…\u{200b}<>")], true),
        (1, &[("accountHolderName", "<>")], true),
    ];
    for (minor, fields, of_method) in cases {
        let bad = item("WPAYXX000000002", minor, destination(MethodKind::Wire, fields));
        let Sent::Refused { items, .. } = desk.send(&outgoing(vec![bad])).await else {
            panic!("{minor} {fields:?}")
        };
        assert_eq!(items[0].1.of_method, of_method, "{fields:?}");
    }
    assert_eq!(desk.files("outbox"), [] as [&str; 0]);
}

#[test]
fn names_and_addresses_are_written_in_the_characters_of_banks() {
    let fields = [
        ("accountHolderName", "Zoë & Żółć <GmbH>"),
        ("street", "Großer Weg"),
        ("buildingNumber", "12a"),
        ("postalCode", "90-001"),
        ("city", "Łódź"),
        ("country", "PL"),
    ];
    let payment =
        || outgoing(vec![item("WPAYXX000000001", 1, destination(MethodKind::Wire, &fields))]);
    let creditor = |desk: &Desk<Wire>| {
        let message = iso20022::read_initiation(&desk.rail.render(&payment()));
        message.expect("a message").transfers.remove(0).creditor
    };
    let structured = creditor(&wire(|_| {}));
    assert_eq!(structured.name, "Zoe + Zolc GmbH");
    let address = &structured.address;
    assert_eq!((address.street.as_str(), address.building.as_str()), ("Grosser Weg", "12a"));
    assert_eq!((address.town.as_str(), address.country.as_str()), ("Lodz", "PL"));
    let hybrid = creditor(&wire(|settings| settings.address = "hybrid".to_owned()));
    assert_eq!(hybrid.address.lines, ["12a Grosser Weg"]);
    assert_eq!((hybrid.address.street.as_str(), hybrid.address.town.as_str()), ("", "Lodz"));
}

#[test]
fn settings_that_no_bank_would_take_are_refused_at_the_start() {
    let folder = folders();
    let ach: [fn(&mut AchSettings); 9] = [
        |s| s.immediate_destination = "999999991".to_owned(),
        |s| s.immediate_origin.clear(),
        |s| s.company_name.clear(),
        |s| s.company_name = "A NAME OF SEVENTEEN".to_owned(),
        |s| s.company_id.clear(),
        |s| s.odfi = "1234567".to_owned(),
        |s| s.inbox.clear(),
        |s| s.offset_routing = "999999992".to_owned(),
        |s| s.batch_size = 9_001,
    ];
    for change in ach {
        let mut settings = ach_settings(folder.path());
        change(&mut settings);
        let problem = Ach::new(settings).err().expect("refused");
        assert_eq!(problem.code, "bad_settings");
    }
    let wire: [fn(&mut WireSettings); 5] = [
        |s| s.debtor_name.clear(),
        |s| s.debtor_routing = "1".to_owned(),
        |s| s.debtor_account.clear(),
        |s| s.debtor_city.clear(),
        |s| s.archive.clear(),
    ];
    for change in wire {
        let mut settings = wire_settings(folder.path());
        change(&mut settings);
        assert_eq!(Wire::new(settings).err().expect("refused").code, "bad_settings");
    }
}

prop_compose! {
    fn any_item(kind: MethodKind)(
        name in "[A-Z0-9]{15}",
        minor in 1i64..=9_999_999_999,
        holder in "[A-Za-zÀ-ž一-十][\\PC]{0,40}",
        account in "[A-Za-z0-9]{1,17}",
        savings in any::<bool>(),
        company in any::<bool>(),
    ) -> OutgoingItem {
        let fields = [
            ("accountHolderName", holder.as_str()),
            ("accountNumber", account.as_str()),
            ("accountType", if savings { "savings" } else { "checking" }),
            ("accountHolderType", if company { "company" } else { "individual" }),
        ];
        item(&name, minor, destination(kind, &fields))
    }
}

proptest! {
    #[test]
    fn every_payment_is_in_the_nacha_file_once_with_its_amount_and_its_account(
        items in proptest::collection::vec(any_item(MethodKind::Ach), 1..30),
        balanced in any::<bool>(),
    ) {
        let desk = ach(|settings| if balanced {
            settings.offset_routing = "999999992".to_owned();
            settings.offset_account = "0000000001".to_owned();
        });
        let outgoing = outgoing(items);
        let file = file_of(&desk, &outgoing);
        let entries = file.batches.iter().flat_map(|batch| &batch.entries);
        let mut written: Vec<_> = entries
            .filter(|entry| !entry.is_debit())
            .map(|e| (e.individual_id.clone(), e.amount_minor, e.account.clone(), e.code.clone()))
            .collect();
        let mut asked: Vec<_> = outgoing.items.iter().map(|item| {
            let savings = item.destination.get("accountType") == Some("savings");
            let code = if savings { "32" } else { "22" }.to_owned();
            let account = item.destination.get("accountNumber").expect("an account").to_owned();
            (item.reference.to_string(), item.amount.minor, account, code)
        }).collect();
        written.sort();
        asked.sort();
        prop_assert_eq!(written, asked);
    }

    #[test]
    fn every_payment_is_in_the_message_once_with_its_amount_and_its_account(
        items in proptest::collection::vec(any_item(MethodKind::Wire), 1..30),
    ) {
        let desk = wire(|_| {});
        let outgoing = outgoing(items);
        let message = iso20022::read_initiation(&desk.rail.render(&outgoing)).expect("a message");
        let written: Vec<_> = message.transfers.into_iter().map(|transfer| {
            (transfer.end_to_end_id, transfer.amount, transfer.creditor.account)
        }).collect();
        let asked: Vec<_> = outgoing.items.iter().map(|item| {
            let account = item.destination.get("accountNumber").expect("an account").to_owned();
            (item.reference.to_string(), item.amount, account)
        }).collect();
        prop_assert_eq!(written, asked);
    }
}
