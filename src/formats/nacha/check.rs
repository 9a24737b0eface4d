//! What a bank holds a file to. [`sums`] is for what came from a bank: does it add up? [`check`]
//! is for what goes to one, which has to be right to the last column.

use std::collections::HashSet;

use super::read::{BatchControl, FileControl, WrittenTotals, filled};
use super::{
    Addenda, Batch, Entry, Fault, FileHeader, LINE, Reading, ServiceClass, Totals, check_digit,
    read,
};

/// Every way in which a file that we would send is wrong; empty if it is right.
pub fn check(bytes: &[u8]) -> Vec<Fault> {
    let reading = match read(bytes) {
        Ok(reading) => reading,
        Err(fault) => return vec![fault],
    };
    let mut faults = reading.faults.clone();
    faults.extend(check_lines(bytes));
    faults.extend(check_constants(bytes));
    faults.extend(check_addenda_flags(bytes));
    faults.extend(check_file_header(&reading.file.header));
    for batch in &reading.file.batches {
        check_batch(batch, &mut faults);
    }
    faults.extend(sums(&reading));
    faults.sort_by_key(|fault| fault.line);
    faults.dedup();
    faults
}

/// Where counts, hashes and sums of a file's controls disagree with its entries.
pub fn sums(reading: &Reading) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut totals = Totals::zero();
    for (batch, control) in reading.file.batches.iter().zip(&reading.batch_controls) {
        let of_batch = Totals::of(&batch.entries);
        totals = totals.plus(of_batch);
        if let Some(control) = control {
            compare(control.line, &control.totals, of_batch, &mut faults);
            check_agreement(batch, control, &mut faults);
        }
    }
    if let Some(control) = &reading.file_control {
        compare(control.line, &control.totals, totals, &mut faults);
        check_file_control(reading, control, &mut faults);
    }
    faults
}

/// Lines of 94 printable ASCII characters, in whole blocks.
fn check_lines(bytes: &[u8]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let lines: Vec<&[u8]> = body.split(|b| *b == b'\n').collect();
    for (index, line) in lines.iter().enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() != LINE {
            let what = format!("it has {} characters instead of {LINE}", line.len());
            faults.push(Fault::at(index + 1, what));
        }
        if let Some(column) = line.iter().position(|b| !(b' '..=b'~').contains(b)) {
            let what = format!("column {} is not printable ASCII", column + 1);
            faults.push(Fault::at(index + 1, what));
        }
    }
    let is_padding = |line: &&&[u8]| line.iter().all(|b| *b == b'9' || *b == b'\r');
    let padding = lines.iter().rev().take_while(is_padding).count();
    let records = lines.len() - padding;
    if lines.len() != filled(records) {
        let what = format!("{records} records need {} lines, not {}", filled(records), lines.len());
        faults.push(Fault::at(lines.len(), what));
    }
    faults
}

/// The columns that are the same in every file of ours, or have to be blank.
fn check_constants(bytes: &[u8]) -> Vec<Fault> {
    const CONSTANTS: &[(u8, usize, &str)] = &[
        (b'1', 2, "01"),
        (b'1', 35, "094101"),
        (b'5', 76, "   1"),
        (b'8', 55, "                         "),
        (b'9', 56, "                                       "),
    ];
    let mut faults = Vec::new();
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(|b| *b == b'9') {
            continue;
        }
        for (kind, first, constant) in CONSTANTS {
            let columns = first - 1..first - 1 + constant.len();
            let differs = line.get(columns).is_some_and(|there| there != constant.as_bytes());
            if line.first() == Some(kind) && differs {
                let what = format!("columns from {first} are not \"{constant}\"");
                faults.push(Fault::at(index + 1, what));
            }
        }
    }
    faults
}

/// Column 79 of an entry says whether an addenda follows.
fn check_addenda_flags(bytes: &[u8]) -> Vec<Fault> {
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    let pairs = lines.windows(2).enumerate().filter(|(_, pair)| pair[0].first() == Some(&b'6'));
    let wrong = pairs.filter(|(_, pair)| {
        let flag = if pair[1].first() == Some(&b'7') { b'1' } else { b'0' };
        pair[0].get(78) != Some(&flag)
    });
    let what = "column 79 does not say whether an addenda follows";
    wrong.map(|(index, _)| Fault::at(index + 1, what)).collect()
}

fn check_file_header(header: &FileHeader) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            faults.push(Fault::at(1, what));
        }
    };
    let digits = |text: &str, width| text.len() == width && all_digits(text);
    let modifier = header.modifier;
    expect(super::is_routing_number(&header.destination), "the destination is no routing number");
    expect(!header.origin.is_empty(), "the origin is blank");
    expect(digits(&header.date, 6) && is_date(&header.date), "the date is no YYMMDD");
    expect(digits(&header.time, 4) && is_time(&header.time), "the time is no HHMM");
    expect(
        modifier.is_ascii_uppercase() || modifier.is_ascii_digit(),
        "the modifier is not A-Z0-9",
    );
    faults
}

fn check_batch(batch: &Batch, faults: &mut Vec<Fault>) {
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            faults.push(Fault::at(batch.line, what));
        }
    };
    let sec = &batch.sec;
    expect(!batch.company_name.is_empty(), "the company name is blank");
    expect(!batch.company_id.is_empty(), "the company identification is blank");
    expect(!batch.description.is_empty(), "the entry description is blank");
    expect(sec.len() == 3 && sec.bytes().all(|b| b.is_ascii_uppercase()), "no entry class code");
    expect(batch.odfi.len() == 8 && all_digits(&batch.odfi), "the originating DFI is not 8 digits");
    expect(batch.effective.is_some() || sec == "COR", "the effective entry date is no YYMMDD");
    expect(batch.number > 0, "the batch number is no number above 0");
    expect(!batch.entries.is_empty(), "the batch has no entries");
    let (debits, credits): (Vec<_>, Vec<_>) = batch.entries.iter().partition(|e| e.is_debit());
    let fits = match batch.service_class {
        ServiceClass::Mixed => true,
        ServiceClass::Credits => debits.is_empty(),
        ServiceClass::Debits => credits.is_empty(),
    };
    expect(fits, "the service class does not fit the entries");
    let mut seen = HashSet::new();
    let mut last = "";
    for entry in &batch.entries {
        check_entry(batch, entry, faults);
        if !seen.insert(&entry.trace) || entry.trace.as_str() <= last {
            faults.push(Fault::at(entry.line, "the trace numbers do not ascend"));
        }
        last = &entry.trace;
    }
}

fn check_entry(batch: &Batch, entry: &Entry, faults: &mut Vec<Fault>) {
    const CODES: [&str; 17] = [
        "21", "22", "23", "26", "27", "28", "31", "32", "33", "36", "37", "38", "41", "42", "47",
        "51", "52",
    ];
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            faults.push(Fault::at(entry.line, what));
        }
    };
    let ninth = entry.routing.chars().nth(8);
    let is_prenote = entry.code.ends_with('3') || entry.code.ends_with('8');
    let may_be_zero = is_prenote || batch.sec == "COR";
    expect(CODES.contains(&entry.code.as_str()), "the transaction code is none of NACHA's");
    expect(check_digit(&entry.routing[..8]) == ninth, "the routing number's check digit is wrong");
    expect(!entry.account.is_empty(), "the account number is blank");
    expect((entry.amount_minor == 0) == may_be_zero, "the amount does not fit the code");
    expect(!entry.name.is_empty(), "the name is blank");
    expect(entry.trace.starts_with(&batch.odfi), "the trace number is not the batch's DFI's");
    let comes_back = matches!(entry.code.as_str(), "21" | "26" | "31" | "36" | "41" | "51");
    let says_why =
        entry.addenda.iter().any(|a| matches!(a, Addenda::Return(_) | Addenda::Change(_)));
    expect(
        comes_back == says_why,
        "a return needs an addenda that says why, and nothing else has one",
    );
}

fn check_agreement(batch: &Batch, control: &BatchControl, faults: &mut Vec<Fault>) {
    let mut expect = |agrees: bool, what: &str| {
        if !agrees {
            let what = format!("the batch control's {what} is not its header's");
            faults.push(Fault::at(control.line, what));
        }
    };
    expect(control.service_class == batch.service_class.code(), "service class");
    expect(control.company_id == batch.company_id, "company identification");
    expect(control.odfi == batch.odfi, "originating DFI");
    expect(control.number == Some(i64::from(batch.number)), "batch number");
}

fn check_file_control(reading: &Reading, control: &FileControl, faults: &mut Vec<Fault>) {
    let batches = reading.file.batches.len() as i64;
    if control.batches != Some(batches) {
        faults.push(Fault::at(control.line, format!("the file has {batches} batches")));
    }
    let blocks = (control.line.div_ceil(super::BLOCK)) as i64;
    if control.blocks != Some(blocks) {
        faults.push(Fault::at(control.line, format!("the file has {blocks} blocks")));
    }
}

fn compare(line: usize, written: &WrittenTotals, there: Totals, faults: &mut Vec<Fault>) {
    let mut expect = |what: &str, written: Option<i64>, there: Option<i64>| {
        if written.is_none() || written != there {
            let there = there.map_or("more than its field holds".to_owned(), |n| n.to_string());
            faults.push(Fault::at(line, format!("the {what} is not {there}")));
        }
    };
    expect("count of entries and addenda", written.count, i64::try_from(there.count).ok());
    expect("entry hash", written.hash, i64::try_from(there.hash).ok());
    expect("sum of debits", written.debit, there.debit);
    expect("sum of credits", written.credit, there.credit);
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    chrono::NaiveDate::parse_from_str(text, "%y%m%d").is_ok()
}

fn is_time(text: &str) -> bool {
    chrono::NaiveTime::parse_from_str(text, "%H%M").is_ok()
}
