//! Whole files through the reader: what goes in, what is rejected, and that nothing is lost.

use std::fs;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use proptest::prelude::*;

use super::{FileKind, OpenError, Reader, Record, Reject, Row, RowError, header_of};
use crate::domain::{NewAffiliate, NewCommission, NewProgram};

const HEADER: &str =
    "commission_id,affiliate_id,order_id,order_amount,amount,currency,converted_at";
const LONGEST_LINE: usize = 2_048;

fn good(number: usize) -> String {
    format!("c-{number},aff-1,o-{number},29.33,2.93,USD,1997-01-01T12:00:00Z")
}

/// What an import of one file came to.
struct Imported<T> {
    rows: Vec<Row<T>>,
    rejects: Vec<Reject>,
    /// The rejects file, if one was written.
    rejected: Option<Vec<u8>>,
}

impl<T> Imported<T> {
    fn messages(&self) -> Vec<String> {
        self.rejects.iter().map(ToString::to_string).collect()
    }

    fn lines(&self) -> Vec<u64> {
        self.rows.iter().map(|row| row.line).collect()
    }
}

fn import_as<T: Record>(input: impl AsRef<[u8]>) -> Result<Imported<T>, OpenError> {
    let input = input.as_ref();
    let folder = tempfile::tempdir().expect("a folder");
    let path = Path::new("commissions.csv");
    let size = input.len() as u64;
    let mut reader = Reader::<T, _>::over(Cursor::new(input), path, size, LONGEST_LINE)?;
    let mut rejects = reader.rejects_in(folder.path());
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    while let Some(batch) = reader.next_batch(3, &mut rejects)? {
        assert!((1..=3).contains(&(batch.rows.len() + batch.rejects.len())));
        rows.extend(batch.rows);
        bad.extend(batch.rejects);
    }
    assert_eq!((reader.bytes_read(), reader.total_bytes()), (size, size));
    let written = rejects.finish()?;
    assert_eq!(written.as_ref().map_or(0, |written| written.count), bad.len() as u64);
    let rejected = written.map(|written| fs::read(written.path).expect("it was written"));
    Ok(Imported { rows, rejects: bad, rejected })
}

fn import(input: impl AsRef<[u8]>) -> Imported<NewCommission> {
    import_as(input).expect("a right header")
}

#[test]
fn files_of_each_kind_are_read() {
    let programs = import_as::<NewProgram>(
        "program,title,currency,hold_days,min_payout,auto_credit,auto_payout\n\
         creator,Creator program,USD,30,50.00,true,true\n",
    );
    assert_eq!(programs.expect("a right header").rows[0].record.hold_days, 30);
    let affiliates = import_as::<NewAffiliate>(concat!(
        "affiliate_id,program,partner_id,name,email,code,status,method,destination,method_status\n",
        "aff-1,creator,p-1,A,a@b.c,C1,active,paypal,\"{\"\"email\"\":\"\"a@b.c\"\"}\",verified\n",
        "aff-2,creator,p-2,B,,,active,,,\n",
    ));
    let affiliates = affiliates.expect("a right header");
    let methods: Vec<_> = affiliates.rows.iter().map(|row| row.record.method.is_some()).collect();
    assert_eq!(methods, [true, false]);
    let commissions = import(format!("{HEADER}\n{}\n{}\n", good(1), good(2)));
    assert_eq!(commissions.lines(), [2, 3]);
    assert_eq!(commissions.rows[1].raw, good(2).as_bytes());
    assert_eq!(commissions.rejected, None, "no bad row, no file");
}

#[test]
fn an_empty_file_is_refused_and_one_with_a_header_only_brings_in_nothing() {
    for empty in ["", "\n\r\n", "\u{feff}"] {
        let refused = import_as::<NewCommission>(empty).err().expect("no header").to_string();
        assert!(refused.starts_with("commissions.csv: there is no header"), "{refused}");
    }
    let imported = import(HEADER);
    assert!(imported.rows.is_empty() && imported.rejects.is_empty());
}

#[test]
fn a_wrong_header_is_refused_before_any_row() {
    for header in [HEADER.replace("amount", "amt"), "x".repeat(10 * LONGEST_LINE)] {
        let refused = import_as::<NewCommission>(format!("{header}\n{}", good(1)));
        let message = refused.err().expect("a wrong header").to_string();
        assert!(message.contains("of the header is") && message.len() < 1_500, "{message}");
    }
}

#[test]
fn a_file_from_a_spreadsheet_with_mark_and_returns_is_read() {
    let imported = import(format!("\u{feff}{HEADER}\r\n{}\r\n\r\n{}", good(1), good(2)));
    assert_eq!(imported.lines(), [2, 4]);
    assert_eq!(imported.rows[0].raw, good(1).as_bytes());
}

#[test]
fn bad_rows_are_named_and_kept_while_the_good_ones_around_them_go_in() {
    let three_digits = good(2).replace("2.93", "2.934");
    let short = "c-3,aff-1";
    let unclosed = good(4).replace("o-4", "\"o-4");
    let input = [HEADER, &good(1), &three_digits, short, &unclosed, &good(5)].join("\n");
    let imported = import(input);
    assert_eq!(imported.lines(), [2, 6]);
    let messages = [
        "commissions.csv line 3, column amount: \"2.934\" has 3 digits after the point, USD has 2",
        "commissions.csv line 4: expected 7 columns, found 2",
        "commissions.csv line 5, column order_id: the quote opened here is not closed on this line",
    ];
    assert_eq!(imported.messages(), messages);
    let reason = |index: usize| {
        let (_, reason) = messages[index].split_once(' ').expect("a file name");
        format!(",\"{}\"", reason.replace('"', "\"\""))
    };
    let expected = format!(
        "{HEADER},reject_reason\n{three_digits}{}\n{short}{}\n{unclosed}{}\n",
        reason(0),
        reason(1),
        reason(2)
    );
    assert_eq!(String::from_utf8(imported.rejected.expect("written")).expect("text"), expected);
}

#[test]
fn broken_text_is_named_by_its_column_wherever_it_stands() {
    for (bytes, part) in [
        (&b"\xE9t\xE9"[..], "byte 1 (0xE9) is not UTF-8"),
        (b"abc\xC3", "byte 4 (0xC3) is not UTF-8"),
        (b"a\0b", "the control character U+0000"),
        (b"a\rb", "the control character U+000D"),
        (b"a\x7Fb", "the control character U+007F"),
        ("é".repeat(257).as_bytes(), "it has 257 characters, at most 256"),
    ] {
        for (index, column) in FileKind::Commissions.columns().iter().enumerate() {
            let row = good(2);
            let mut fields: Vec<_> = row.split(',').map(str::as_bytes).collect();
            fields[index] = bytes;
            let bad = fields.join(&b","[..]);
            let (before, after) = (good(1), good(3));
            let input = [HEADER.as_bytes(), before.as_bytes(), &bad, after.as_bytes()];
            let imported = import(input.join(&b"\n"[..]));
            assert_eq!(imported.lines(), [2, 4]);
            let message = imported.rejects[0].to_string();
            assert_eq!(imported.rejects[0].column, Some(*column), "{message}");
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn a_mended_rejects_file_goes_in_as_it_is_and_an_unmended_one_comes_back_with_one_reason() {
    let bad = [good(2).replace("2.93", "-2.93"), "c-3,\"x".to_owned()];
    let first = import([HEADER, &bad[0], &bad[1]].join("\n"));
    let rejected = String::from_utf8(first.rejected.expect("written")).expect("text");
    let again = import(&rejected);
    let again = String::from_utf8(again.rejected.expect("still bad")).expect("text");
    // The reason itself now closes the quote, but not so that the row could pass for a good one.
    let reasons = (
        "the closing quote is followed by text",
        "the quote opened here is not closed on this line",
    );
    assert_eq!(again.replace(reasons.0, reasons.1), rejected);
    let mended = rejected.replace("-2.93", "2.93").replace("c-3,\"x", &good(3));
    let imported = import(mended);
    assert_eq!((imported.lines(), imported.rejected), (vec![2, 3], None));
}

#[test]
fn a_row_that_the_store_refuses_can_still_be_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("commissions.csv");
    fs::write(&path, format!("{HEADER}\n{}\n", good(1))).expect("written");
    assert_eq!(header_of(&path).expect("known").kind, FileKind::Commissions);
    let mut reader = Reader::<NewCommission>::open(&path).expect("a right header");
    let mut rejects = reader.rejects_in(folder.path());
    let batch = reader.next_batch(10, &mut rejects).expect("readable").expect("one row");
    let row = &batch.rows[0];
    let error = RowError::new("affiliate_id", "there is no affiliate \"aff-1\"");
    let reject = rejects.push(row.line, &row.raw, error).expect("written");
    assert_eq!(
        reject.to_string(),
        "commissions.csv line 2, column affiliate_id: there is no affiliate \"aff-1\""
    );
    assert!(reader.next_batch(10, &mut rejects).expect("readable").is_none());
    assert_eq!(rejects.finish().expect("flushed").expect("one").count, 1);
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().join("programs.csv"), folder.path().to_owned()] {
        let error = Reader::<NewProgram>::open(&path).err().expect("no file").to_string();
        assert_eq!(error, format!("cannot read {}", path.display()));
    }
}

#[test]
fn a_line_of_100_megabytes_costs_its_own_row_only_and_is_copied_whole() {
    const LENGTH: u64 = 100_000_000;
    let start = format!("{HEADER}\n{}\n", good(1));
    let end = format!("\r\n{}", good(3));
    let input = start.as_bytes().chain(std::io::repeat(b'x').take(LENGTH)).chain(end.as_bytes());
    let folder = tempfile::tempdir().expect("a folder");
    let input = BufReader::with_capacity(1 << 16, input);
    let path = Path::new("commissions.csv");
    let mut reader =
        Reader::<NewCommission, _>::over(input, path, 0, 1 << 20).expect("a right header");
    let mut rejects = reader.rejects_in(folder.path());
    let batch = reader.next_batch(10, &mut rejects).expect("readable").expect("rows");
    let lines: Vec<_> = batch.rows.iter().map(|row| row.line).collect();
    assert_eq!(lines, [2, 4]);
    let reason = "line 3: it has more than 1048576 bytes";
    assert_eq!(batch.rejects[0].to_string(), format!("commissions.csv {reason}"));
    let written = rejects.finish().expect("flushed").expect("one bad row");
    let around = format!("{HEADER},reject_reason\n,\"{reason}\"\n").len() as u64;
    assert_eq!(fs::metadata(written.path).expect("there").len(), LENGTH + around);
}

#[test]
fn a_batch_of_long_rows_ends_before_it_fills_the_memory() {
    // Rows that are good, but come with a megabyte of reason each.
    let row = format!("{},{}\n", good(1), "x".repeat(1 << 19));
    let input = format!("{HEADER},reject_reason\n{}", row.repeat(40));
    let folder = tempfile::tempdir().expect("a folder");
    let path = Path::new("commissions.csv");
    let mut reader = Reader::<NewCommission, _>::over(Cursor::new(input), path, 0, 1 << 20)
        .expect("a right header");
    let mut rejects = reader.rejects_in(folder.path());
    let batch = reader.next_batch(10_000, &mut rejects).expect("readable").expect("rows");
    assert_eq!(batch.rows.len(), 32);
}

fn hostile_line() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"c-1,aff-1,o-1,29.33,2.93,USD,1997-01-01T12:00:00Z",
        b",",
        b"\"",
        b"\r",
        b"\0",
        b"\xFF",
        b"x",
        b" ",
        b"\xEF\xBB\xBF",
        b"-1",
        b",\"line 2, column x: y\"",
        b"\"\"",
    ];
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(prop::sample::select(pieces), 0..6).prop_map(|line| line.concat()),
        Just(b"y".repeat(LONGEST_LINE + 1)),
    ]
}

proptest! {
    #[test]
    fn random_bytes_never_panic_as_a_whole_file(
        input in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(import_as::<NewCommission>(input).is_err(), "no header comes by chance");
    }

    #[test]
    fn every_line_is_a_row_a_reject_or_blank_and_a_second_import_finds_the_same(
        lines in prop::collection::vec(hostile_line(), 0..12),
        has_reason in any::<bool>(),
    ) {
        let header = if has_reason { format!("{HEADER},reject_reason") } else { HEADER.to_owned() };
        let body = lines.join(&b'\n');
        let input = [header.as_bytes(), &body].join(&b'\n');
        let written = body.split(|byte| *byte == b'\n');
        let filled = written.filter(|line| !line.trim_ascii().is_empty()).count();
        let imported = import(input);
        prop_assert_eq!(imported.rows.len() + imported.rejects.len(), filled);
        if let Some(rejected) = imported.rejected {
            // What was kept is a file that reads line by line to as many rows again.
            let again = import(rejected);
            prop_assert_eq!(again.rows.len() + again.rejects.len(), imported.rejects.len());
        }
    }
}
