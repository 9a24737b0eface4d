//! NACHA files: what a bank is told to pay by ACH, and what it sends back.
//!
//! Lines of 94 ASCII characters in blocks of ten: a file header (1), batches of a header (5),
//! entries (6) with addenda (7) and a control (8), a file control (9), lines of nines. The layout
//! follows moov-io/ach (`*Header.go`, `*Control.go`, `entryDetail.go`, `addenda*.go`).

mod check;
mod read;
mod write;

use chrono::NaiveDate;
use thiserror::Error;

pub use check::{check, sums};
pub use read::{Reading, read};
pub use write::write;

/// Characters of a line.
pub const LINE: usize = 94;
/// Lines of a block.
pub const BLOCK: usize = 10;
/// The largest amount of an entry, in cents: ten digits.
pub const LARGEST_ENTRY_MINOR: i64 = 9_999_999_999;
/// The largest total of a batch or a file, in cents: twelve digits.
pub const LARGEST_TOTAL_MINOR: i64 = 999_999_999_999;
/// Characters of an account number.
pub const LONGEST_ACCOUNT: usize = 17;
/// Characters of a receiver's name.
pub const LONGEST_NAME: usize = 22;

/// A file, without its controls: they follow from the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub header: FileHeader,
    pub batches: Vec<Batch>,
}

/// Record 1: from whom to whom, and which file it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// Routing number of who gets the file; up to 10 characters.
    pub destination: String,
    /// Who made the file, as its bank knows it; up to 10 characters.
    pub origin: String,
    /// `YYMMDD`.
    pub date: String,
    /// `HHMM`.
    pub time: String,
    /// `A` to `Z` or `0` to `9`.
    pub modifier: char,
    /// Up to 23 characters.
    pub destination_name: String,
    /// Up to 23 characters.
    pub origin_name: String,
    /// Up to 8 characters of our own.
    pub reference: String,
}

impl FileHeader {
    /// What a bank tells two files apart by: `<origin>-<YYMMDD><HHMM><modifier>`.
    pub fn identity(&self) -> String {
        format!("{}-{}{}{}", self.origin, self.date, self.time, self.modifier)
    }
}

/// Records 5 and 8: entries of one company, kind and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub service_class: ServiceClass,
    /// Up to 16 characters; the receiver reads it on the statement.
    pub company_name: String,
    /// Up to 10 characters.
    pub company_id: String,
    /// `PPD`, `CCD`, `COR`, …
    pub sec: String,
    /// Up to 10 characters; the receiver reads it on the statement.
    pub description: String,
    /// The day that it should settle; absent in what a bank sends back.
    pub effective: Option<NaiveDate>,
    /// The first 8 digits of the routing number of who brings it in.
    pub odfi: String,
    pub number: u32,
    pub entries: Vec<Entry>,
    /// Where it was read; 0 in a file that was not.
    pub line: usize,
}

/// Which ways a batch moves money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceClass {
    /// 200: both ways.
    Mixed,
    /// 220: to the receivers.
    Credits,
    /// 225: from the receivers.
    Debits,
}

impl ServiceClass {
    /// The three digits.
    pub fn code(self) -> &'static str {
        match self {
            Self::Mixed => "200",
            Self::Credits => "220",
            Self::Debits => "225",
        }
    }

    /// The class of these digits.
    pub fn of(code: &str) -> Option<Self> {
        [Self::Mixed, Self::Credits, Self::Debits].into_iter().find(|class| class.code() == code)
    }
}

/// Record 6: one movement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The transaction code: 22 credits a checking account, 32 a savings account; 21 and 31 are
    /// those come back.
    pub code: String,
    /// All nine digits.
    pub routing: String,
    /// Up to 17 characters.
    pub account: String,
    /// Cents.
    pub amount_minor: i64,
    /// The individual identification number; up to 15 characters of our own.
    pub individual_id: String,
    /// Up to 22 characters.
    pub name: String,
    /// 15 digits: the ODFI and a sequence.
    pub trace: String,
    pub addenda: Vec<Addenda>,
    /// Where it was read; 0 in a file that was not.
    pub line: usize,
}

impl Entry {
    /// Whether it counts as a debit, by the code's second digit: 5 to 9. Returns count as what
    /// came back.
    pub fn is_debit(&self) -> bool {
        !matches!(self.code.as_bytes().get(1), Some(b'1'..=b'4'))
    }
}

/// Record 7, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addenda {
    /// 05: text about the payment.
    Text(String),
    /// 99: the entry came back.
    Return(Return),
    /// 98: the entry was paid, and something in it is to be changed next time.
    Change(Change),
    /// Of another kind, which is not read.
    Other(String),
}

/// Addenda 99.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Return {
    /// `R01`, …
    pub code: String,
    pub original_trace: String,
    /// 8 digits.
    pub original_rdfi: String,
    pub text: String,
}

/// Addenda 98.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `C01`, …
    pub code: String,
    pub original_trace: String,
    /// 8 digits.
    pub original_rdfi: String,
    /// What is right, in a layout of the code's own; 29 characters at most.
    pub corrected: String,
}

/// What in a file is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    /// From 1.
    pub line: usize,
    pub what: String,
}

impl Fault {
    fn at(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// What the controls repeat of the entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Entries and addenda.
    pub(crate) count: u64,
    /// Sum of the receivers' 8-digit routing numbers, to ten digits.
    pub(crate) hash: u64,
    /// Cents; `None` once a sum is larger than its field.
    pub(crate) debit: Option<i64>,
    pub(crate) credit: Option<i64>,
}

impl Totals {
    const HASH_MODULUS: u64 = 10_000_000_000;

    /// Of nothing.
    pub(crate) fn zero() -> Self {
        Self { debit: Some(0), credit: Some(0), ..Self::default() }
    }

    /// Of a batch.
    pub(crate) fn of(entries: &[Entry]) -> Self {
        entries.iter().fold(Self::zero(), |mut totals, entry| {
            let routing = entry.routing.get(..8).and_then(|digits| digits.parse().ok());
            totals.count += 1 + entry.addenda.len() as u64;
            totals.hash = (totals.hash + routing.unwrap_or(0)) % Self::HASH_MODULUS;
            let side = if entry.is_debit() { &mut totals.debit } else { &mut totals.credit };
            *side = sum(*side, Some(entry.amount_minor));
            totals
        })
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            hash: (self.hash + other.hash) % Self::HASH_MODULUS,
            debit: sum(self.debit, other.debit),
            credit: sum(self.credit, other.credit),
        }
    }
}

/// The sum, unless it is too large for a control's field.
fn sum(left: Option<i64>, right: Option<i64>) -> Option<i64> {
    left?.checked_add(right?).filter(|sum| *sum <= LARGEST_TOTAL_MINOR)
}

/// The ninth digit of a routing number, from its first eight: weights 3-7-1.
pub fn check_digit(first_eight: &str) -> Option<char> {
    let digits: Option<Vec<u32>> = first_eight.chars().map(|c| c.to_digit(10)).collect();
    let digits = digits.filter(|digits| digits.len() == 8)?;
    let weighted =
        digits.iter().zip([3, 7, 1].iter().cycle()).map(|(digit, weight)| digit * weight);
    char::from_digit((10 - weighted.sum::<u32>() % 10) % 10, 10)
}

/// Whether nine digits are a routing number.
pub fn is_routing_number(text: &str) -> bool {
    let parts = text.get(..8).zip(text.get(8..));
    parts.is_some_and(|(eight, ninth)| {
        let mut ninth = ninth.chars();
        let digit = ninth.next();
        digit.is_some() && ninth.next().is_none() && digit == check_digit(eight)
    })
}

#[cfg(test)]
mod tests;
