//! The writer: fields to their places, controls from what they control.

use super::{Addenda, BLOCK, Batch, Change, Entry, File, FileHeader, LINE, Return, Totals};
use crate::formats::Unfit;

/// The file's text: lines that end in a newline, in whole blocks.
///
/// # Errors
/// [`Unfit`] for the first value that does not fit its field. Nothing is ever cut.
pub fn write(file: &File) -> Result<String, Unfit> {
    let mut lines = vec![file_header(&file.header)?];
    let mut totals = Totals::zero();
    for batch in &file.batches {
        let of_batch = Totals::of(&batch.entries);
        totals = totals.plus(of_batch);
        write_batch(&mut lines, batch, of_batch)?;
    }
    let blocks = (lines.len() + 1).div_ceil(BLOCK);
    lines.push(file_control(file.batches.len(), blocks, totals)?);
    lines.resize(blocks * BLOCK, "9".repeat(LINE));
    lines.push(String::new());
    Ok(lines.join("\n"))
}

fn write_batch(lines: &mut Vec<String>, batch: &Batch, totals: Totals) -> Result<(), Unfit> {
    lines.push(batch_header(batch)?);
    for entry in &batch.entries {
        lines.push(write_entry(entry)?);
        for (index, addenda) in entry.addenda.iter().enumerate() {
            lines.push(write_addenda(addenda, index + 1, entry)?);
        }
    }
    lines.push(batch_control(batch, totals)?);
    Ok(())
}

fn file_header(header: &FileHeader) -> Result<String, Unfit> {
    let modifier = header.modifier.to_string();
    Record::of("1")
        .text("priority code", 2, "01")?
        .party("immediate destination", &header.destination)?
        .party("immediate origin", &header.origin)?
        .digits("file creation date", 6, &header.date)?
        .digits("file creation time", 4, &header.time)?
        .text("file id modifier", 1, &modifier)?
        .text("record size, blocking factor, format code", 6, "094101")?
        .text("immediate destination name", 23, &header.destination_name)?
        .text("immediate origin name", 23, &header.origin_name)?
        .text("reference code", 8, &header.reference)?
        .finish()
}

fn batch_header(batch: &Batch) -> Result<String, Unfit> {
    let effective = batch.effective.map(|day| day.format("%y%m%d").to_string());
    Record::of("5")
        .text("service class code", 3, batch.service_class.code())?
        .text("company name", 16, &batch.company_name)?
        .text("company discretionary data", 20, "")?
        .text("company identification", 10, &batch.company_id)?
        .text("standard entry class code", 3, &batch.sec)?
        .text("company entry description", 10, &batch.description)?
        .text("company descriptive date", 6, "")?
        .text("effective entry date", 6, &effective.unwrap_or_default())?
        .text("settlement date", 3, "")?
        .text("originator status code", 1, "1")?
        .digits("originating DFI", 8, &batch.odfi)?
        .number("batch number", 7, u64::from(batch.number))?
        .finish()
}

fn write_entry(entry: &Entry) -> Result<String, Unfit> {
    Record::of("6")
        .digits("transaction code", 2, &entry.code)?
        .digits("receiving DFI", 9, &entry.routing)?
        .text("account number", 17, &entry.account)?
        .amount("amount", 10, Some(entry.amount_minor))?
        .text("individual identification number", 15, &entry.individual_id)?
        .text("individual name", 22, &entry.name)?
        .text("discretionary data", 2, "")?
        .text("addenda record indicator", 1, if entry.addenda.is_empty() { "0" } else { "1" })?
        .digits("trace number", 15, &entry.trace)?
        .finish()
}

fn write_addenda(addenda: &Addenda, number: usize, entry: &Entry) -> Result<String, Unfit> {
    match addenda {
        Addenda::Text(text) => {
            let sequence = entry.trace.get(8..).unwrap_or_default();
            Record::of("7")
                .text("addenda type code", 2, "05")?
                .text("payment related information", 80, text)?
                .number("addenda sequence number", 4, number as u64)?
                .digits("entry detail sequence number", 7, sequence)?
                .finish()
        }
        Addenda::Return(Return { code, original_trace, original_rdfi, text }) => Record::of("7")
            .text("addenda type code", 2, "99")?
            .text("return reason code", 3, code)?
            .digits("original entry trace number", 15, original_trace)?
            .text("date of death", 6, "")?
            .digits("original receiving DFI", 8, original_rdfi)?
            .text("addenda information", 44, text)?
            .digits("trace number", 15, &entry.trace)?
            .finish(),
        Addenda::Change(Change { code, original_trace, original_rdfi, corrected }) => {
            Record::of("7")
                .text("addenda type code", 2, "98")?
                .text("change code", 3, code)?
                .digits("original entry trace number", 15, original_trace)?
                .text("reserved", 6, "")?
                .digits("original receiving DFI", 8, original_rdfi)?
                .text("corrected data", 29, corrected)?
                .text("reserved", 15, "")?
                .digits("trace number", 15, &entry.trace)?
                .finish()
        }
        Addenda::Other(_) => Err(Unfit::new("addenda type code", "only 05, 98 and 99 are written")),
    }
}

fn batch_control(batch: &Batch, totals: Totals) -> Result<String, Unfit> {
    Record::of("8")
        .text("service class code", 3, batch.service_class.code())?
        .number("entry/addenda count", 6, totals.count)?
        .number("entry hash", 10, totals.hash)?
        .amount("total debits", 12, totals.debit)?
        .amount("total credits", 12, totals.credit)?
        .text("company identification", 10, &batch.company_id)?
        .text("message authentication code", 19, "")?
        .text("reserved", 6, "")?
        .digits("originating DFI", 8, &batch.odfi)?
        .number("batch number", 7, u64::from(batch.number))?
        .finish()
}

fn file_control(batches: usize, blocks: usize, totals: Totals) -> Result<String, Unfit> {
    Record::of("9")
        .number("batch count", 6, batches as u64)?
        .number("block count", 6, blocks as u64)?
        .number("entry/addenda count", 8, totals.count)?
        .number("entry hash", 10, totals.hash)?
        .amount("total debits", 12, totals.debit)?
        .amount("total credits", 12, totals.credit)?
        .text("reserved", 39, "")?
        .finish()
}

/// A line under construction.
struct Record(String);

impl Record {
    fn of(kind: &str) -> Self {
        let mut line = String::with_capacity(LINE);
        line.push_str(kind);
        Self(line)
    }

    /// Left-justified, filled with spaces.
    fn text(mut self, field: &'static str, width: usize, value: &str) -> Result<Self, Unfit> {
        if value.len() > width {
            return Err(Unfit::new(field, format!("it is longer than {width} characters")));
        }
        if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(Unfit::new(field, "it holds a character that is not printable ASCII"));
        }
        self.0.push_str(&format!("{value:<width$}"));
        Ok(self)
    }

    /// Exactly so many digits.
    fn digits(self, field: &'static str, width: usize, value: &str) -> Result<Self, Unfit> {
        if value.len() != width || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Unfit::new(field, format!("it is not {width} digits")));
        }
        self.text(field, width, value)
    }

    /// Right-justified, filled with zeros.
    fn number(self, field: &'static str, width: usize, value: u64) -> Result<Self, Unfit> {
        self.text(field, width, &format!("{value:0width$}"))
    }

    /// Cents, not below zero.
    fn amount(self, field: &'static str, width: usize, minor: Option<i64>) -> Result<Self, Unfit> {
        match minor.and_then(|minor| u64::try_from(minor).ok()) {
            Some(minor) => self.number(field, width, minor),
            None => Err(Unfit::new(field, "it is below zero or too large")),
        }
    }

    /// A bank or a company in ten characters: a routing number stands behind a space.
    fn party(self, field: &'static str, value: &str) -> Result<Self, Unfit> {
        if value.is_empty() {
            return Err(Unfit::new(field, "it is empty"));
        }
        self.text(field, 10, &format!("{value:>10}"))
    }

    fn finish(self) -> Result<String, Unfit> {
        assert_eq!(self.0.len(), LINE, "the fields of a record fill its line");
        Ok(self.0)
    }
}
