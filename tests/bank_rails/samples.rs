//! The formats against files of others.

use payoutd::formats::{iso20022, nacha};

use super::contract;

#[test]
fn nacha_files_that_others_take_are_read_and_found_right() {
    for (name, entries) in [
        ("nacha/moov/ppd-credit.ach", 1),
        ("nacha/moov/ccd-debit.ach", 2),
        ("nacha/moov/web-credit.ach", 1),
        ("nacha/moov/segmentFile-ppd-credit.ach", 2),
        ("nacha/moov/ppd-mixedDebitCredit.ach", 3),
        ("nacha/moov/two-micro-deposits.ach", 6),
        ("recorded/ach/outbound-ppd.ach", 3),
    ] {
        let bytes = contract(name);
        let reading = nacha::read(&bytes).expect(name);
        assert_eq!(reading.faults, [], "{name}");
        assert_eq!(nacha::check(&bytes), [], "{name}");
        let read: usize = reading.file.batches.iter().map(|batch| batch.entries.len()).sum();
        assert_eq!(read, entries, "{name}");
    }
}

#[test]
fn nacha_files_that_are_broken_on_purpose_are_refused_by_line() {
    for (name, fault) in [
        (
            "ppd-debit-invalid-entryDetail-checkDigit",
            "line 3: the routing number's check digit is wrong",
        ),
        ("invalid-two-micro-deposits", "line 15: the amount (columns 30 to 39) is not 10 digits"),
        ("20110729A-invalid", "line"),
        ("short-line", "line 5: it has 74 characters instead of 94"),
        ("long-line", "line 3: it has 98 characters instead of 94"),
        ("nonascii", "line 3: column 67 is not printable ASCII"),
    ] {
        let faults = nacha::check(&contract(&format!("nacha/moov/{name}.ach")));
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert!(faults.iter().any(|found| found.starts_with(fault)), "{name}: {faults:#?}");
    }
}

#[test]
fn returns_and_notifications_of_change_are_read_with_their_codes() {
    for (name, codes) in [
        ("nacha/moov/return-WEB.ach", "R01 R03"),
        ("nacha/moov/return-PPD-custom-reason-code.ach", "R97"),
        ("nacha/moov/dishonored-return.ach", "R68 R68"),
        ("nacha/moov/cor-example.ach", "C01"),
        ("nacha/moov/cor-read.ach", "C01"),
        ("recorded/ach/nacha.return-1.ach", "R02"),
        ("recorded/ach/nacha.return-2.ach", "R03"),
    ] {
        let reading = nacha::read(&contract(name)).expect(name);
        assert_eq!(reading.faults, [], "{name}");
        let entries = reading.file.batches.iter().flat_map(|batch| &batch.entries);
        let read: Vec<_> = entries
            .flat_map(|entry| &entry.addenda)
            .map(|addenda| match addenda {
                nacha::Addenda::Return(returned) => returned.code.clone(),
                nacha::Addenda::Change(change) => change.code.clone(),
                other => panic!("{name}: {other:?}"),
            })
            .collect();
        assert_eq!(read.join(" "), codes, "{name}");
    }
}

#[test]
fn every_recorded_message_of_the_bank_is_read_without_a_fault() {
    for (name, kind, notices, statements) in [
        ("ach/camt.054.001.08-1.xml", "camt.054", 1, 0),
        ("ach/camt.054.001.08-2.xml", "camt.054", 2, 0),
        ("wire/pain.002.001.10-1.xml", "pain.002", 3, 0),
        ("wire/camt.054.001.08-1.xml", "camt.054", 2, 0),
        ("wire/camt.054.001.08-2.xml", "camt.054", 1, 0),
        ("wire/camt.053.001.08-1.xml", "camt.053", 2, 1),
        ("wire/camt.053.001.08-2.xml", "camt.053", 1, 1),
        ("wire/pacs.004.001.09-1.xml", "pacs.004", 1, 0),
        ("wire/outbound-pain001.xml", "pain.001", 0, 0),
    ] {
        let text = String::from_utf8(contract(&format!("recorded/{name}"))).expect("UTF-8");
        let message = iso20022::read(&text).expect(name);
        let found = (message.kind.as_str(), message.notices.len(), message.statements.len());
        assert_eq!(found, (kind, notices, statements), "{name}");
        assert_eq!(message.faults, [] as [String; 0], "{name}");
    }
}
