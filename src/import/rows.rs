//! Fields to records of the domain. What does not fit is refused by its column; nothing is
//! trimmed, rounded, defaulted or guessed.

use std::fmt::Display;

use chrono::{DateTime, Datelike, Utc};
use csv::ByteRecord;

use crate::domain::{
    Currency, Destination, MethodKind, Money, NewAffiliate, NewCommission, NewMethod, NewProgram,
    zone_named,
};

use super::header::{AFFILIATE_COLUMNS, COMMISSION_COLUMNS, PROGRAM_COLUMNS, TIMEZONE};
use super::{FileKind, Header};

/// Most characters of a field.
const LONGEST_FIELD: usize = 256;
/// Most characters of a destination, which is a JSON object of several fields.
const LONGEST_DESTINATION: usize = 4_096;
const LONGEST_HOLD_DAYS: i64 = 3_650;
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2200;

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The column at fault; `None` if it is the row as a whole.
    pub column: Option<&'static str>,
    pub reason: String,
}

impl RowError {
    /// A row refused for what one column holds.
    pub fn new(column: &'static str, reason: impl Into<String>) -> Self {
        Self { column: Some(column), reason: reason.into() }
    }

    /// A row refused as a whole.
    pub fn of_row(reason: impl Into<String>) -> Self {
        Self { column: None, reason: reason.into() }
    }
}

/// What one row of a file brings in.
pub trait Record: Sized {
    /// The kind of file that such rows come from.
    const KIND: FileKind;

    /// Reads the fields of one row below `header`.
    ///
    /// # Errors
    /// [`RowError`] naming the column that does not fit.
    fn parse(fields: &ByteRecord, header: Header) -> Result<Self, RowError>;
}

impl Record for NewProgram {
    const KIND: FileKind = FileKind::Programs;
    fn parse(fields: &ByteRecord, header: Header) -> Result<Self, RowError> {
        let program = parse_program(texts(&PROGRAM_COLUMNS, fields, header)?)?;
        let timezone = match fields.get(PROGRAM_COLUMNS.len()).filter(|_| header.has_timezone) {
            Some(field) => text_of(TIMEZONE, field)?,
            None => "",
        };
        if !timezone.is_empty() {
            at(TIMEZONE, zone_named(timezone))?;
        }
        let timezone = Some(timezone.to_owned()).filter(|name| !name.is_empty());
        Ok(Self { timezone, ..program })
    }
}

impl Record for NewAffiliate {
    const KIND: FileKind = FileKind::Affiliates;
    fn parse(fields: &ByteRecord, header: Header) -> Result<Self, RowError> {
        parse_affiliate(texts(&AFFILIATE_COLUMNS, fields, header)?)
    }
}

impl Record for NewCommission {
    const KIND: FileKind = FileKind::Commissions;
    fn parse(fields: &ByteRecord, header: Header) -> Result<Self, RowError> {
        parse_commission(texts(&COMMISSION_COLUMNS, fields, header)?)
    }
}

/// Reads a program from the fields of a row of `programs.csv`.
///
/// # Errors
/// [`RowError`] naming the column that does not fit.
pub fn parse_program(fields: [&str; 7]) -> Result<NewProgram, RowError> {
    let [program, title, currency, hold_days, min_payout, auto_credit, auto_payout] = fields;
    let currency = at("currency", currency.parse())?;
    Ok(NewProgram {
        program_id: at("program", program.parse())?,
        title: at("title", not_empty(title))?,
        min_payout: at("min_payout", amount(min_payout, currency))?,
        hold_days: at("hold_days", days(hold_days))?,
        auto_credit: at("auto_credit", yes_or_no(auto_credit))?,
        auto_payout: at("auto_payout", yes_or_no(auto_payout))?,
        timezone: None,
    })
}

/// Reads an affiliate, with the method where there is one, from the fields of a row of
/// `affiliates.csv`.
///
/// # Errors
/// [`RowError`] naming the column that does not fit.
pub fn parse_affiliate(fields: [&str; 10]) -> Result<NewAffiliate, RowError> {
    let [affiliate_id, program, partner_id, name, email, code, status, ..] = fields;
    let [.., kind, destination, method_status] = fields;
    Ok(NewAffiliate {
        affiliate_id: at("affiliate_id", affiliate_id.parse())?,
        program_id: at("program", program.parse())?,
        partner_id: at("partner_id", partner_id.parse())?,
        name: name.to_owned(),
        email: email.to_owned(),
        code: code.to_owned(),
        status: at("status", status.parse())?,
        method: method(kind, destination, method_status)?,
    })
}

/// Reads a commission from the fields of a row of `commissions.csv`. Whether its currency is
/// its program's, and its affiliate known, only the store can tell.
///
/// # Errors
/// [`RowError`] naming the column that does not fit.
pub fn parse_commission(fields: [&str; 7]) -> Result<NewCommission, RowError> {
    let [commission_id, affiliate_id, order_id, order_amount, earned, currency, converted_at] =
        fields;
    let currency = at("currency", currency.parse())?;
    Ok(NewCommission {
        commission_id: at("commission_id", commission_id.parse())?,
        affiliate_id: at("affiliate_id", affiliate_id.parse())?,
        order_id: at("order_id", not_empty(order_id))?,
        order_amount: at("order_amount", amount(order_amount, currency))?,
        amount: at("amount", amount(earned, currency))?,
        converted_at: at("converted_at", instant(converted_at))?,
    })
}

/// Says in which column an error was found.
fn at<T, E: Display>(column: &'static str, result: Result<T, E>) -> Result<T, RowError> {
    result.map_err(|error| RowError::new(column, error.to_string()))
}

/// The fields of a row as text, without the reason that a rejects file ends with.
fn texts<'a, const N: usize>(
    columns: &'static [&'static str; N],
    fields: &'a ByteRecord,
    header: Header,
) -> Result<[&'a str; N], RowError> {
    let (expected, found) = (header.width(), fields.len());
    if found != expected {
        return Err(RowError::of_row(format!("expected {expected} columns, found {found}")));
    }
    let mut texts = [""; N];
    for ((text, field), column) in texts.iter_mut().zip(fields).zip(columns) {
        *text = text_of(column, field)?;
    }
    Ok(texts)
}

/// A field as text that is safe to store, to print and to repeat in a reason.
fn text_of<'a>(column: &'static str, field: &'a [u8]) -> Result<&'a str, RowError> {
    let text = std::str::from_utf8(field).map_err(|error| {
        let byte = error.valid_up_to();
        let reason = format!("byte {} (0x{:02X}) is not UTF-8", byte + 1, field[byte]);
        RowError::new(column, reason)
    })?;
    let is_destination = column == "destination";
    let longest = if is_destination { LONGEST_DESTINATION } else { LONGEST_FIELD };
    let length = text.chars().count();
    if length > longest {
        let reason = format!("it has {length} characters, at most {longest} are allowed");
        return Err(RowError::new(column, reason));
    }
    // JSON has its own say on control characters, and allows tabs between its fields.
    let control = text.chars().find(|c| c.is_control()).filter(|_| !is_destination);
    control.map_or(Ok(text), |control| {
        let code = u32::from(control);
        Err(RowError::new(column, format!("it holds the control character U+{code:04X}")))
    })
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("it is empty") } else { Ok(text.to_owned()) }
}

/// An amount of 0 or more.
fn amount(text: &str, currency: Currency) -> Result<Money, String> {
    let money = Money::parse(text, currency).map_err(|error| error.to_string())?;
    if money.minor < 0 {
        return Err(format!("\"{text}\" is below 0"));
    }
    Ok(money)
}

fn days(text: &str) -> Result<i64, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let days = text.parse().ok().filter(|days| digits && *days <= LONGEST_HOLD_DAYS);
    days.ok_or_else(|| {
        format!("\"{text}\" is not a whole number of days from 0 to {LONGEST_HOLD_DAYS}")
    })
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("\"{text}\" is neither true nor false"))
}

/// An RFC 3339 instant of any offset, in UTC, truncated to the milliseconds that are stored.
fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let parsed = DateTime::parse_from_rfc3339(text);
    let instant = parsed.ok().and_then(|at| DateTime::from_timestamp_millis(at.timestamp_millis()));
    let instant = instant.ok_or_else(|| {
        format!("\"{text}\" is not an RFC 3339 date and time, such as 2026-01-31T12:00:00Z")
    })?;
    if !YEARS.contains(&instant.year()) {
        return Err(format!("\"{text}\" is not in the years {} to {}", YEARS.start(), YEARS.end()));
    }
    Ok(instant)
}

/// The method of an affiliate: its three columns are all filled or all empty.
fn method(kind: &str, destination: &str, status: &str) -> Result<Option<NewMethod>, RowError> {
    if kind.is_empty() {
        for (column, text) in [("destination", destination), ("method_status", status)] {
            if !text.is_empty() {
                return Err(RowError::new(column, "it is filled although there is no method"));
            }
        }
        return Ok(None);
    }
    let kind: MethodKind = at("method", kind.parse())?;
    for (column, text) in [("destination", destination), ("method_status", status)] {
        if text.is_empty() {
            return Err(RowError::new(
                column,
                format!("it is empty although there is a {kind} method"),
            ));
        }
    }
    Ok(Some(NewMethod {
        destination: at("destination", Destination::parse(kind, destination))?,
        status: at("method_status", status.parse())?,
    }))
}
