//! camt.054 and camt.053: what was booked on an account.
//!
//! A debit that is booked under our reference is a payment that was made. A credit is money of
//! ours that came back if it says so: by its return information, as a reversal, or by its code.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};

use super::tree::{Element, children, code, date, find, money, string, text};
use super::{Message, MessageKind};
use crate::domain::{Currency, Direction, Money, Notice, NoticeWord, Statement, StatementLine};

/// What a bank writes where it was given no reference.
const NO_REFERENCE: &str = "NOTPROVIDED";

/// Reads the message's body, whose accounts are elements of that name.
pub(super) fn read(body: Element<'_, '_>, name: &'static str, message: &mut Message) {
    for account in children(body, name) {
        let lines = bookings(account, message);
        let number = number(account);
        let notices = lines.iter().filter_map(|line| line.notice(number.clone()));
        message.notices.extend(notices);
        if message.kind == MessageKind::Statement {
            match statement(account, lines) {
                Ok(statement) => message.statements.push(statement),
                Err(fault) => message.faults.push(fault),
            }
        }
    }
}

/// One movement of one payment.
struct Booking {
    line: StatementLine,
    /// What it says of a transfer of ours, if anything.
    word: Option<NoticeWord>,
    /// Why it came back.
    code: Option<String>,
    message: Option<String>,
}

impl Booking {
    fn notice(&self, account: Option<String>) -> Option<Notice> {
        Some(Notice {
            reference: self.line.reference.clone()?,
            whole: false,
            word: self.word?,
            code: self.code.clone(),
            message: self.message.clone(),
            amount: Some(self.line.amount),
            provider_id: self.line.provider_id.clone(),
            account,
            on: self.line.booked_on,
            correction: Default::default(),
        })
    }
}

fn bookings(account: Element<'_, '_>, message: &mut Message) -> Vec<Booking> {
    let mut bookings = Vec::new();
    for entry in children(account, "Ntry") {
        // Pending and informational entries move nothing yet.
        if code(entry, "Sts").as_deref() != Some("BOOK") {
            continue;
        }
        let details: Vec<_> =
            children(entry, "NtryDtls").flat_map(|details| children(details, "TxDtls")).collect();
        let alone = details.len() <= 1;
        let rows: Vec<_> = match details.is_empty() {
            true => vec![None],
            false => details.into_iter().map(Some).collect(),
        };
        for detail in rows {
            match booking(entry, detail, alone) {
                Ok(booking) => bookings.push(booking),
                Err(fault) => message.faults.push(fault),
            }
        }
    }
    bookings
}

/// A booking by its entry, and the detail in it that is about one payment.
fn booking(
    entry: Element<'_, '_>,
    detail: Option<Element<'_, '_>>,
    alone: bool,
) -> Result<Booking, String> {
    let of_detail = |path| detail.and_then(|detail| string(detail, path));
    let reference = of_detail("Refs/EndToEndId").filter(|id| id != NO_REFERENCE);
    let called = reference.clone().unwrap_or_else(|| "an entry".to_owned());
    let amount = amount(entry, detail, alone).map_err(|fault| format!("{called}: {fault}"))?;
    let side = of_detail("CdtDbtInd").or_else(|| string(entry, "CdtDbtInd"));
    let direction = match side.as_deref() {
        Some("DBIT") => Direction::Out,
        Some("CRDT") => Direction::In,
        _ => return Err(format!("{called}: it is neither DBIT nor CRDT")),
    };
    let is_reversal = text(entry, "RvslInd").is_some_and(|word| word == "true" || word == "1");
    let family = |node| text(node, "BkTxCd/Domn/Fmly/SubFmlyCd");
    let family = detail.and_then(family).or_else(|| family(entry));
    let returned = detail.and_then(|detail| find(detail, "RtrInf"));
    let is_return = is_reversal || returned.is_some() || family == Some("RRTN");
    let word = match (direction, is_return) {
        (Direction::Out, false) => Some(NoticeWord::Booked),
        (Direction::In, true) => Some(NoticeWord::Returned),
        // A return that is taken back, or money from somebody who uses our reference.
        (Direction::Out, true) | (Direction::In, false) => None,
    };
    let why = returned.and_then(|returned| code(returned, "Rsn"));
    let reversed = (is_reversal && word == Some(NoticeWord::Returned)).then(|| "RVSL".to_owned());
    Ok(Booking {
        line: StatementLine {
            reference,
            provider_id: of_detail("Refs/AcctSvcrRef").or_else(|| string(entry, "AcctSvcrRef")),
            direction,
            amount,
            booked_on: date(entry, "BookgDt"),
            is_return,
            text: words(entry, detail),
        },
        word,
        code: why.or(reversed),
        message: returned.and_then(|returned| string(returned, "AddtlInf")),
    })
}

/// The detail's own amount, or the entry's where that is the amount of this one detail.
fn amount(
    entry: Element<'_, '_>,
    detail: Option<Element<'_, '_>>,
    alone: bool,
) -> Result<Money, String> {
    let of_detail =
        detail.and_then(|detail| find(detail, "Amt").or_else(|| find(detail, "AmtDtls/TxAmt/Amt")));
    let of_entry = find(entry, "Amt").filter(|_| alone);
    money(of_detail.or(of_entry).ok_or("it has no amount of its own")?)
}

/// What the booking says about itself.
fn words(entry: Element<'_, '_>, detail: Option<Element<'_, '_>>) -> String {
    let of_detail = |path| detail.and_then(|detail| text(detail, path));
    let parts = [
        of_detail("RltdPties/Cdtr/Pty/Nm").or_else(|| of_detail("RltdPties/Cdtr/Nm")),
        of_detail("RmtInf/Ustrd"),
        of_detail("AddtlTxInf").or_else(|| text(entry, "AddtlNtryInf")),
        of_detail("Refs/PmtInfId").or_else(|| text(entry, "NtryDtls/Btch/PmtInfId")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// The account's own number.
fn number(account: Element<'_, '_>) -> Option<String> {
    let id = find(account, "Acct/Id")?;
    ["IBAN", "Othr/Id"].into_iter().find_map(|path| text(id, path)).map(str::to_owned)
}

fn statement(account: Element<'_, '_>, bookings: Vec<Booking>) -> Result<Statement, String> {
    let id = string(account, "Id").ok_or("a statement without its Id")?;
    let fault = |what: &str| format!("statement {id}: {what}");
    let closing = balance(account, &["CLBD", "CLAV"]).map_err(|error| fault(&error))?;
    let lines: Vec<_> = bookings.into_iter().map(|booking| booking.line).collect();
    let currency = currency(account, closing, &lines).ok_or_else(|| fault("no currency"))?;
    if lines.iter().any(|line| line.amount.currency != currency) {
        return Err(fault("its lines are in several currencies"));
    }
    let (from, to) =
        covered(account).ok_or_else(|| fault("it does not say which time it is of"))?;
    let account = number(account).unwrap_or_default();
    Ok(Statement { id, account, currency, from, to, lines, closing })
}

fn currency(
    account: Element<'_, '_>,
    closing: Option<Money>,
    lines: &[StatementLine],
) -> Option<Currency> {
    let named = text(account, "Acct/Ccy").and_then(|code| code.parse().ok());
    let money = closing.or_else(|| lines.first().map(|line| line.amount));
    named.or(money.map(|money| money.currency))
}

/// The balance of the first of these types that is there; below zero if it is a debit.
fn balance(account: Element<'_, '_>, types: &[&str]) -> Result<Option<Money>, String> {
    let of_type = |wanted: &str| {
        children(account, "Bal").find(|balance| text(*balance, "Tp/CdOrPrtry/Cd") == Some(wanted))
    };
    let Some(balance) = types.iter().find_map(|wanted| of_type(wanted)) else { return Ok(None) };
    let amount = money(find(balance, "Amt").ok_or("a balance without an amount")?)?;
    let is_debit = text(balance, "CdtDbtInd") == Some("DBIT");
    Ok(Some(if is_debit { Money::new(-amount.minor, amount.currency) } else { amount }))
}

/// From when to before when a statement goes: as it says, or from its opening balance's day to
/// its closing balance's, or the day that it was made.
fn covered(account: Element<'_, '_>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    if let Some(span) = find(account, "FrToDt") {
        let instant = |path| text(span, path).and_then(instant);
        let from = instant("FrDtTm").or_else(|| date(span, "FrDt").map(start_of))?;
        let to = instant("ToDtTm").map(end_of);
        let to = to.or_else(|| date(span, "ToDt").and_then(day_after).map(start_of))?;
        return Some((from, to));
    }
    let day_of = |types: &[&str]| {
        children(account, "Bal")
            .find(|b| text(*b, "Tp/CdOrPrtry/Cd").is_some_and(|code| types.contains(&code)))
            .and_then(|balance| date(balance, "Dt"))
    };
    let last = day_of(&["CLBD", "CLAV"]).or_else(|| date(account, "CreDtTm"))?;
    let first = day_of(&["OPBD"]).unwrap_or(last).min(last);
    Some((start_of(first), start_of(day_after(last)?)))
}

/// An instant of the text; one without an offset is taken as UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let with_offset = text.parse::<DateTime<chrono::FixedOffset>>().ok();
    let without = || text.parse::<chrono::NaiveDateTime>().ok().map(|local| local.and_utc());
    with_offset.map(|instant| instant.to_utc()).or_else(without)
}

/// The first instant after the last one that is named: `23:59:59` is meant to be midnight.
fn end_of(last: DateTime<Utc>) -> DateTime<Utc> {
    match last.second() {
        59 => last.with_nanosecond(0).unwrap_or(last) + TimeDelta::seconds(1),
        _ => last,
    }
}

fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn day_after(day: NaiveDate) -> Option<NaiveDate> {
    day.checked_add_days(Days::new(1))
}
