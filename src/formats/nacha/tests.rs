//! The writer and the reader against each other, and what the checker sees of a broken file.

use proptest::prelude::*;

use super::*;

/// Routing numbers with a right check digit.
const ROUTING: [&str; 4] = ["091000019", "021000021", "999999992", "121042882"];

fn entry(number: u64, amount_minor: i64, name: &str) -> Entry {
    Entry {
        code: if number.is_multiple_of(2) { "22" } else { "32" }.to_owned(),
        routing: ROUTING[number as usize % ROUTING.len()].to_owned(),
        account: format!("ACC-{number}"),
        amount_minor,
        individual_id: format!("REF{number:012}"),
        name: name.to_owned(),
        trace: format!("99999999{number:07}"),
        addenda: Vec::new(),
        line: 0,
    }
}

fn batch(number: u32, sec: &str, entries: Vec<Entry>) -> Batch {
    Batch {
        service_class: ServiceClass::Credits,
        company_name: "ACME AFFILIATES".to_owned(),
        company_id: "1234567890".to_owned(),
        sec: sec.to_owned(),
        description: "COMMISSION".to_owned(),
        effective: "2026-11-24".parse().ok(),
        odfi: "99999999".to_owned(),
        number,
        entries,
        line: 0,
    }
}

fn file(batches: Vec<Batch>) -> File {
    let header = FileHeader {
        destination: "999999992".to_owned(),
        origin: "1234567890".to_owned(),
        date: "261123".to_owned(),
        time: "0930".to_owned(),
        modifier: 'A',
        destination_name: "A BANK".to_owned(),
        origin_name: "ACME".to_owned(),
        reference: "REF00001".to_owned(),
    };
    File { header, batches }
}

fn example() -> String {
    let persons = vec![entry(1, 25_000, "ALEX AFFILIATE"), entry(2, 5_000, "INITECH")];
    let companies = vec![entry(3, 7_550, "BEA BLOGGER LLC")];
    let file = file(vec![batch(1, "PPD", persons), batch(2, "CCD", companies)]);
    write(&file).expect("it fits")
}

/// The file as it was before it was written: without lines.
fn without_lines(mut file: File) -> File {
    for batch in &mut file.batches {
        batch.line = 0;
        batch.entries.iter_mut().for_each(|entry| entry.line = 0);
    }
    file
}

#[test]
fn a_written_file_is_right_to_the_last_column() {
    let text = example();
    assert_eq!(check(text.as_bytes()), []);
    assert!(text.lines().all(|line| line.len() == LINE));
    assert_eq!(text.lines().count() % BLOCK, 0);
}

#[test]
fn lines_that_end_in_crlf_or_are_cut_and_a_missing_tail_are_read_all_the_same() {
    let whole = read(example().as_bytes()).expect("a file");
    let cut: Vec<_> = example().lines().map(str::trim_end).map(str::to_owned).collect();
    let nines = "9".repeat(LINE);
    let records: Vec<_> = cut.iter().filter(|line| **line != nines).cloned().collect();
    for text in [cut.join("\r\n"), records.join("\n"), records.join("\n\n")] {
        let reading = read(text.as_bytes()).expect("a file");
        assert_eq!(without_lines(reading.file), without_lines(whole.file.clone()));
        assert_eq!(reading.faults, []);
    }
}

#[test]
fn a_file_that_was_cut_off_gives_what_is_whole_and_says_what_is_missing() {
    let text = example();
    let end = text.find("BEA").expect("the last entry");
    let reading = read(&text.as_bytes()[..end]).expect("a file");
    assert_eq!(reading.file.batches[0].entries.len(), 2);
    assert_eq!(reading.file.batches[1].entries.len(), 0);
    let faults: Vec<_> = reading.faults.iter().map(Fault::to_string).collect();
    assert_eq!(
        faults,
        [
            "line 7: the trace number (columns 80 to 94) is not 15 digits",
            "line 7: the batch ends without its control",
            "line 7: the file ends without its control"
        ]
    );
}

#[test]
fn an_addenda_of_an_entry_that_cannot_be_read_is_not_taken_for_another_entrys() {
    let text = Addenda::Text("for the one before".to_owned());
    let mut entries = vec![entry(1, 100, "A"), entry(2, 100, "B")];
    entries[1].addenda.push(text);
    let written = write(&file(vec![batch(1, "PPD", entries)])).expect("it fits");
    let broken = written.replace("0000000100REF000000000002", "00000001O0REF000000000002");
    let reading = read(broken.as_bytes()).expect("a file");
    assert_eq!(reading.file.batches[0].entries.len(), 1);
    assert_eq!(reading.file.batches[0].entries[0].addenda, []);
    assert!(reading.faults[0].to_string().contains("the amount (columns 30 to 39)"));
}

#[test]
fn what_does_not_fit_its_field_is_refused_and_never_cut() {
    let refused = |change: fn(&mut Entry)| {
        let mut entry = entry(1, 100, "ALEX");
        change(&mut entry);
        write(&file(vec![batch(1, "PPD", vec![entry])])).expect_err("unfit").to_string()
    };
    assert!(refused(|e| e.account = "1".repeat(18)).contains("longer than 17"));
    assert!(refused(|e| e.amount_minor = 10_000_000_000).contains("amount: it is longer"));
    assert!(refused(|e| e.amount_minor = -1).contains("below zero"));
    assert!(refused(|e| e.name = "Zoë".to_owned()).contains("not printable ASCII"));
    assert!(refused(|e| e.name = "A\nB".to_owned()).contains("not printable ASCII"));
    assert!(refused(|e| e.individual_id = "1".repeat(16)).contains("longer than 15"));
    assert!(refused(|e| e.routing = "12345".to_owned()).contains("not 9 digits"));
}

#[test]
fn totals_that_have_no_room_are_refused() {
    let entries = (1..=101).map(|number| entry(number, LARGEST_ENTRY_MINOR, "A")).collect();
    let error = write(&file(vec![batch(1, "PPD", entries)])).expect_err("too much");
    assert_eq!(error.field, "total credits");
}

/// Fields of the example: line, columns, and what must not stand there.
const MUTATIONS: &[(usize, usize, &str)] = &[
    (1, 2, "02"),
    (1, 5, "999999991"),
    (1, 24, "269923"),
    (1, 30, "2960"),
    (1, 34, "*"),
    (1, 35, "093"),
    (2, 2, "225"),
    (2, 41, "1234567891"),
    (2, 51, "   "),
    (2, 70, "261399"),
    (2, 79, "2"),
    (2, 80, "99999998"),
    (2, 88, "0000002"),
    (3, 2, "99"),
    (3, 2, "27"),
    (3, 12, "0"),
    (3, 30, "0000025001"),
    (3, 30, "0000000000"),
    (3, 55, "                      "),
    (3, 80, "88888888"),
    (3, 88, "0000009"),
    (3, 79, "1"),
    (5, 2, "200"),
    (5, 5, "000003"),
    (5, 11, "0000000001"),
    (5, 21, "000000000001"),
    (5, 33, "000000000001"),
    (5, 45, "9876543210"),
    (5, 88, "0000009"),
    (9, 2, "000003"),
    (9, 8, "000002"),
    (9, 14, "00000009"),
    (9, 22, "0000000001"),
    (9, 32, "000000000001"),
    (9, 44, "000000000001"),
    (9, 60, "X"),
];

#[test]
fn a_file_with_one_wrong_field_is_refused() {
    for (line, column, value) in MUTATIONS {
        let mut lines: Vec<String> = example().lines().map(str::to_owned).collect();
        let columns = column - 1..column - 1 + value.len();
        lines[line - 1].replace_range(columns, value);
        let text = lines.join("\n") + "\n";
        assert!(!check(text.as_bytes()).is_empty(), "line {line}, column {column}: {value}");
    }
}

#[test]
fn returns_and_changes_are_written_and_read() {
    let mut returned = entry(1, 100, "A");
    returned.code = "21".to_owned();
    returned.addenda.push(Addenda::Return(Return {
        code: "R02".to_owned(),
        original_trace: "999999990000007".to_owned(),
        original_rdfi: "09100001".to_owned(),
        text: String::new(),
    }));
    let mut changed = entry(2, 0, "B");
    changed.code = "21".to_owned();
    changed.addenda.push(Addenda::Change(Change {
        code: "C03".to_owned(),
        original_trace: "999999990000008".to_owned(),
        original_rdfi: "09100001".to_owned(),
        corrected: "091000019   12345".to_owned(),
    }));
    let file = file(vec![batch(1, "PPD", vec![returned]), batch(2, "COR", vec![changed])]);
    let text = write(&file).expect("it fits");
    let reading = read(text.as_bytes()).expect("a file");
    assert_eq!(sums(&reading), []);
    assert_eq!(without_lines(reading.file), file);
}

prop_compose! {
    fn any_entry()(
        number in 1u64..9_999_999,
        amount in 1i64..=LARGEST_ENTRY_MINOR / 100,
        account in "[A-Z0-9-]{1,17}",
        name in "[!-~]([ -~]{0,20}[!-~])?",
        text in proptest::option::of("[!-~]([ -~]{0,78}[!-~])?"),
    ) -> Entry {
        let addenda = text.into_iter().map(Addenda::Text).collect();
        Entry { account, addenda, ..entry(number, amount, &name) }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_to_the_same_payments(
        entries in proptest::collection::vec(any_entry(), 1..40),
    ) {
        let ascending = |(index, mut entry): (usize, Entry)| {
            entry.trace = format!("99999999{:07}", index + 1);
            entry
        };
        let entries = entries.into_iter().enumerate().map(ascending).collect();
        let file = file(vec![batch(1, "PPD", entries)]);
        let text = write(&file).expect("it fits");
        prop_assert_eq!(check(text.as_bytes()), []);
        let reading = read(text.as_bytes()).expect("a file");
        prop_assert_eq!(reading.faults, []);
        prop_assert_eq!(without_lines(reading.file), file);
    }

    #[test]
    fn no_bytes_whatever_make_the_reader_or_the_checker_stop(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        at in 0usize..900,
    ) {
        let mut text = example().into_bytes();
        text.splice(at..at, bytes.iter().copied());
        let _ = (read(&text), check(&text), read(&bytes), check(&bytes));
    }
}
