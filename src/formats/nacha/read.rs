//! The reader: takes what banks write. Lines may end in CRLF, be cut behind their last
//! character, or lack the nines at the end; what cannot be read is a fault, and the rest is given.

use chrono::NaiveDate;

use super::{
    Addenda, BLOCK, Batch, Change, Entry, Fault, File, FileHeader, LINE, Return, ServiceClass,
};

/// What a file says, and what of it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub file: File,
    pub faults: Vec<Fault>,
    /// The control of each batch, in the order of the batches.
    pub(super) batch_controls: Vec<Option<BatchControl>>,
    pub(super) file_control: Option<FileControl>,
}

/// Record 8, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BatchControl {
    pub(super) line: usize,
    pub(super) service_class: String,
    pub(super) totals: WrittenTotals,
    pub(super) company_id: String,
    pub(super) odfi: String,
    pub(super) number: Option<i64>,
}

/// Record 9, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileControl {
    pub(super) line: usize,
    pub(super) batches: Option<i64>,
    pub(super) blocks: Option<i64>,
    pub(super) totals: WrittenTotals,
}

/// Counts and sums of a control; `None` where no number stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenTotals {
    pub(super) count: Option<i64>,
    pub(super) hash: Option<i64>,
    pub(super) debit: Option<i64>,
    pub(super) credit: Option<i64>,
}

/// Reads a file.
///
/// # Errors
/// [`Fault`] if the first line is no file header: then it is no NACHA file.
pub fn read(bytes: &[u8]) -> Result<Reading, Fault> {
    let text = one_column_a_character(bytes);
    let mut lines = lines_of(&text);
    let first = lines.next().ok_or_else(|| Fault::at(1, "the file is empty"))?;
    let header = file_header(&first)?;
    let mut reader = Reader {
        reading: Reading {
            file: File { header, batches: Vec::new() },
            faults: Vec::new(),
            batch_controls: Vec::new(),
            file_control: None,
        },
        open: false,
        entry_is_last: false,
        last_line: first.number,
    };
    for line in lines {
        if let Err(fault) = reader.take(&line) {
            reader.reading.faults.push(fault);
        }
    }
    Ok(reader.finish())
}

/// The text with one character for each byte, so that columns stay where they are: a byte that is
/// not ASCII becomes a question mark.
fn one_column_a_character(bytes: &[u8]) -> String {
    let is_plain = |b: u8| b == b'\n' || b == b'\r' || (b' '..=b'~').contains(&b);
    bytes.iter().map(|b| if is_plain(*b) { char::from(*b) } else { '?' }).collect()
}

/// The lines that hold anything, each with its number.
fn lines_of(text: &str) -> impl Iterator<Item = Line<'_>> {
    let lines = text.split('\n').enumerate();
    let lines = lines.map(|(index, text)| (index + 1, text.trim_end_matches('\r')));
    lines.filter(|(_, text)| !text.trim().is_empty()).map(|(number, text)| Line { number, text })
}

/// A line, by its columns.
struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn kind(&self) -> &'a str {
        self.field(1, 1)
    }

    /// The columns from `first` to `last`, counted from 1, without the spaces around; what lies
    /// behind the line's end is blank.
    fn field(&self, first: usize, last: usize) -> &'a str {
        let last = last.min(self.text.len());
        self.text.get(first - 1..last).unwrap_or_default().trim()
    }

    fn number(&self, first: usize, last: usize) -> Option<i64> {
        let digits = self.field(first, last);
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    }

    fn digits(&self, first: usize, last: usize, what: &str) -> Result<String, Fault> {
        let digits = self.field(first, last);
        let width = last + 1 - first;
        if digits.len() != width || !digits.bytes().all(|b| b.is_ascii_digit()) {
            let what = format!("{what} (columns {first} to {last}) is not {width} digits");
            return Err(Fault::at(self.number, what));
        }
        Ok(digits.to_owned())
    }

    fn text(&self, first: usize, last: usize) -> String {
        self.field(first, last).to_owned()
    }

    fn is_padding(&self) -> bool {
        self.text.trim_end().bytes().all(|b| b == b'9')
    }
}

fn file_header(line: &Line<'_>) -> Result<FileHeader, Fault> {
    if line.field(1, 3) != "101" {
        return Err(Fault::at(line.number, "it is no NACHA file header: it begins without 101"));
    }
    let modifier = line.text.as_bytes().get(33).copied().unwrap_or(b' ');
    Ok(FileHeader {
        destination: line.text(4, 13),
        origin: line.text(14, 23),
        date: line.text(24, 29),
        time: line.text(30, 33),
        modifier: char::from(modifier),
        destination_name: line.text(41, 63),
        origin_name: line.text(64, 86),
        reference: line.text(87, 94),
    })
}

struct Reader {
    reading: Reading,
    /// Whether the last batch still waits for its control.
    open: bool,
    /// Whether the last record was an entry that could be read, or an addenda of such a one.
    entry_is_last: bool,
    last_line: usize,
}

impl Reader {
    fn take(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        if self.reading.file_control.is_some() {
            return match line.is_padding() {
                true => Ok(()),
                false => Err(Fault::at(line.number, "it stands behind the file control")),
            };
        }
        self.last_line = line.number;
        let follows_an_entry = std::mem::replace(&mut self.entry_is_last, false);
        match line.kind() {
            "5" => self.batch_header(line),
            "6" => self.entry(line),
            "7" if follows_an_entry => self.addenda(line),
            "7" => Err(Fault::at(line.number, "an addenda without its entry")),
            "8" => self.batch_control(line),
            "9" => self.file_control(line),
            kind => Err(Fault::at(line.number, format!("\"{kind}\" is no record type"))),
        }
    }

    fn finish(mut self) -> Reading {
        let end = self.last_line;
        if self.open {
            self.reading.faults.push(Fault::at(end, "the batch ends without its control"));
        }
        if self.reading.file_control.is_none() {
            self.reading.faults.push(Fault::at(end, "the file ends without its control"));
        }
        self.reading
    }

    fn batch_header(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        let unclosed = self.open;
        self.open = true;
        let class = ServiceClass::of(line.field(2, 4));
        self.reading.file.batches.push(Batch {
            service_class: class.unwrap_or(ServiceClass::Mixed),
            company_name: line.text(5, 20),
            company_id: line.text(41, 50),
            sec: line.text(51, 53),
            description: line.text(54, 63),
            effective: NaiveDate::parse_from_str(line.field(70, 75), "%y%m%d").ok(),
            odfi: line.text(80, 87),
            number: line.number(88, 94).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            entries: Vec::new(),
            line: line.number,
        });
        self.reading.batch_controls.push(None);
        if unclosed {
            return Err(Fault::at(line.number, "the batch before it has no control"));
        }
        class.map(|_| ()).ok_or_else(|| {
            Fault::at(line.number, "the service class (columns 2 to 4) is not 200, 220 or 225")
        })
    }

    fn entry(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        let open = self.open;
        let batch = self.reading.file.batches.last_mut().filter(|_| open);
        let batch = batch.ok_or_else(|| Fault::at(line.number, "an entry outside of a batch"))?;
        if batch.sec == "IAT" {
            return Err(Fault::at(line.number, "an international entry (IAT) is not read"));
        }
        let amount = line.digits(30, 39, "the amount")?;
        batch.entries.push(Entry {
            code: line.digits(2, 3, "the transaction code")?,
            routing: line.digits(4, 12, "the routing number")?,
            account: line.text(13, 29),
            amount_minor: amount.parse().expect("ten digits are a number"),
            individual_id: line.text(40, 54),
            name: line.text(55, 76),
            trace: line.digits(80, 94, "the trace number")?,
            addenda: Vec::new(),
            line: line.number,
        });
        self.entry_is_last = true;
        Ok(())
    }

    fn addenda(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        let entry = self.reading.file.batches.last_mut().and_then(|b| b.entries.last_mut());
        let entry = entry.expect("an entry was read before its addenda");
        self.entry_is_last = true;
        let (addenda, fault) = read_addenda(line);
        entry.addenda.push(addenda);
        fault.map_or(Ok(()), Err)
    }

    fn batch_control(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.open, false) {
            return Err(Fault::at(line.number, "a batch control without a batch"));
        }
        let control = BatchControl {
            line: line.number,
            service_class: line.text(2, 4),
            totals: WrittenTotals {
                count: line.number(5, 10),
                hash: line.number(11, 20),
                debit: line.number(21, 32),
                credit: line.number(33, 44),
            },
            company_id: line.text(45, 54),
            odfi: line.text(80, 87),
            number: line.number(88, 94),
        };
        let last = self.reading.batch_controls.last_mut();
        *last.expect("an open batch has its place") = Some(control);
        Ok(())
    }

    fn file_control(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        if line.is_padding() && line.text.len() == LINE {
            return Err(Fault::at(line.number, "lines of nines before the file control"));
        }
        self.reading.file_control = Some(FileControl {
            line: line.number,
            batches: line.number(2, 7),
            blocks: line.number(8, 13),
            totals: WrittenTotals {
                count: line.number(14, 21),
                hash: line.number(22, 31),
                debit: line.number(32, 43),
                credit: line.number(44, 55),
            },
        });
        if std::mem::replace(&mut self.open, false) {
            return Err(Fault::at(line.number, "the batch before it has no control"));
        }
        Ok(())
    }
}

/// An addenda keeps its place even if it cannot be read, so that the next one keeps its own.
fn read_addenda(line: &Line<'_>) -> (Addenda, Option<Fault>) {
    let kind = line.field(2, 3);
    let trace = |what| line.digits(7, 21, what);
    let rdfi = line.text(28, 35);
    let read = match kind {
        "05" => Ok(Addenda::Text(line.text(4, 83))),
        "99" => trace("the original trace number").map(|original_trace| {
            let (code, text) = (line.text(4, 6), line.text(36, 79));
            Addenda::Return(Return { code, original_trace, original_rdfi: rdfi, text })
        }),
        "98" => trace("the original trace number").map(|original_trace| {
            let (code, corrected) = (line.text(4, 6), corrected(line));
            Addenda::Change(Change { code, original_trace, original_rdfi: rdfi, corrected })
        }),
        _ => Ok(Addenda::Other(kind.to_owned())),
    };
    match read {
        Ok(addenda) => (addenda, None),
        Err(fault) => (Addenda::Other(kind.to_owned()), Some(fault)),
    }
}

/// The corrected data keeps its leading spaces: its parts stand at fixed places.
fn corrected(line: &Line<'_>) -> String {
    let last = line.text.len().min(64);
    line.text.get(35..last).unwrap_or_default().trim_end().to_owned()
}

/// Lines that a file of so many records has once it is filled with nines.
pub(super) fn filled(records: usize) -> usize {
    records.div_ceil(BLOCK) * BLOCK
}
