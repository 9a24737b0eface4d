//! What a bank makes of a file before it pays anything of it.

use std::collections::HashSet;

use chrono::NaiveDate;

use super::ledger::{Origin, Payment, PaymentStatus, Rail};
use crate::clock::Clock;
use crate::domain::Reference;
use crate::domain::banking::{is_banking_day, next_banking_day};
use crate::formats::iso20022::{CreditTransfer, Initiation, read_initiation};
use crate::formats::nacha::{self, Batch, Entry};

/// Transaction codes that pay somebody: credits to checking and to savings accounts.
const CREDITS: [&str; 2] = ["22", "32"];

/// A file as the bank sees it.
pub(super) struct Judged {
    /// What two files are told apart by.
    pub(super) origin: Origin,
    /// Accepted so far; each may still be rejected.
    pub(super) payments: Vec<Payment>,
    /// Why nothing of it is paid: a code and a sentence.
    pub(super) fault: Option<(&'static str, String)>,
}

/// When things are paid.
#[derive(Clone, Copy)]
pub(super) struct Days {
    pub(super) today: NaiveDate,
    pub(super) at_once: bool,
}

impl Days {
    /// An ACH credit settles on its effective date, but not before the next banking day, unless
    /// that is today: same-day ACH.
    fn of_ach(self, effective: Option<NaiveDate>) -> NaiveDate {
        let next = next_banking_day(self.today);
        match effective {
            _ if self.at_once => self.today,
            Some(day) if day == self.today && is_banking_day(day) => day,
            Some(day) if day > next => on_banking_day(day),
            _ => next,
        }
    }

    /// A wire leaves on the day that it is asked for, or on the first banking day after.
    fn of_wire(self, asked: NaiveDate) -> NaiveDate {
        if self.at_once { self.today } else { on_banking_day(asked.max(self.today)) }
    }
}

fn on_banking_day(day: NaiveDate) -> NaiveDate {
    if is_banking_day(day) { day } else { next_banking_day(day) }
}

/// Reads and checks a file, by what it looks like.
pub(super) fn judge(bytes: &[u8], inbox: &str, days: Days, clock: &Clock) -> Judged {
    let text = String::from_utf8_lossy(bytes);
    match nacha::read(bytes) {
        Ok(reading) => judge_nacha(bytes, reading.file, inbox, days, clock),
        Err(_) => judge_iso(&text, inbox, days, clock),
    }
}

fn judge_nacha(bytes: &[u8], file: nacha::File, inbox: &str, days: Days, clock: &Clock) -> Judged {
    let origin = Origin {
        rail: Rail::Ach,
        inbox: inbox.to_owned(),
        message_id: file.header.identity(),
        account: file.header.origin.trim().to_owned(),
        name: file.header.origin_name.trim().to_owned(),
        bank: file.header.destination.trim().to_owned(),
        sender: file.header.origin.trim().to_owned(),
    };
    let faults = nacha::check(bytes);
    if let Some(fault) = faults.first() {
        let fault = Some(("FF01", fault.to_string()));
        return Judged { origin, payments: Vec::new(), fault };
    }
    let entries = file.batches.iter().flat_map(|batch| {
        let credits = batch.entries.iter().filter(|one| CREDITS.contains(&one.code.as_str()));
        credits.map(move |entry| (batch, entry))
    });
    let payments =
        entries.map(|(batch, entry)| of_entry(&origin, batch, entry, days, clock)).collect();
    Judged { origin, payments, fault: None }
}

fn of_entry(origin: &Origin, batch: &Batch, entry: &Entry, days: Days, clock: &Clock) -> Payment {
    Payment {
        id: clock.mint::<Reference>().into(),
        origin: origin.clone(),
        reference: entry.individual_id.trim().to_owned(),
        name: entry.name.trim().to_owned(),
        routing: entry.routing.clone(),
        account: entry.account.trim().to_owned(),
        amount: entry.amount_minor,
        currency: "USD".parse().expect("USD is a currency"),
        code: entry.code.clone(),
        sec: batch.sec.clone(),
        batch: batch.number,
        trace: entry.trace.clone(),
        settle_on: days.of_ach(batch.effective),
        status: PaymentStatus::Accepted,
        reason: None,
        returned_on: None,
        told: HashSet::new(),
    }
}

fn judge_iso(text: &str, inbox: &str, days: Days, clock: &Clock) -> Judged {
    let origin = |message_id: &str, account: &str, name: &str| Origin {
        rail: Rail::Wire,
        inbox: inbox.to_owned(),
        message_id: message_id.to_owned(),
        account: account.to_owned(),
        name: name.to_owned(),
        bank: String::new(),
        sender: String::new(),
    };
    let initiation = match read_initiation(text) {
        Ok(initiation) => initiation,
        Err(error) => {
            let message_id = element(text, "MsgId").unwrap_or_else(|| "NOTPROVIDED".to_owned());
            let fault = Some(("FF01", error.to_string()));
            return Judged { origin: origin(&message_id, "", ""), payments: Vec::new(), fault };
        }
    };
    let debtor = &initiation.debtor;
    let origin = origin(&initiation.message_id, &debtor.account, &debtor.name);
    let pay = |one: &CreditTransfer| of_transfer(&origin, &initiation, one, days, clock);
    let payments: Vec<_> = initiation.transfers.iter().map(pay).collect();
    let fault = totals(text, &payments);
    Judged { origin, payments, fault }
}

fn of_transfer(
    origin: &Origin,
    initiation: &Initiation,
    transfer: &CreditTransfer,
    days: Days,
    clock: &Clock,
) -> Payment {
    Payment {
        id: clock.mint::<Reference>().into(),
        origin: origin.clone(),
        reference: transfer.end_to_end_id.clone(),
        name: transfer.creditor.name.clone(),
        routing: transfer.creditor.routing.clone(),
        account: transfer.creditor.account.clone(),
        amount: transfer.amount.minor,
        currency: transfer.amount.currency,
        code: String::new(),
        sec: String::new(),
        batch: 1,
        trace: String::new(),
        settle_on: days.of_wire(initiation.execute_on),
        status: PaymentStatus::Accepted,
        reason: None,
        returned_on: None,
        told: HashSet::new(),
    }
}

/// What is wrong with a message's own count and sum.
fn totals(text: &str, payments: &[Payment]) -> Option<(&'static str, String)> {
    let count = element(text, "NbOfTxs")?;
    if count.parse() != Ok(payments.len()) {
        return Some(("AM18", format!("NbOfTxs is {count}, there are {}", payments.len())));
    }
    let sum = element(text, "CtrlSum")?;
    let amounts = payments.iter().map(|one| one.money().to_decimal());
    let there: rust_decimal::Decimal = amounts.sum();
    if sum.parse() != Ok(there) {
        return Some(("AM10", format!("CtrlSum is {sum}, the amounts sum to {there}")));
    }
    None
}

/// The text of the first element of that name.
fn element(text: &str, name: &str) -> Option<String> {
    let document = roxmltree::Document::parse(text.trim_start()).ok()?;
    let found = document.descendants().find(|node| node.tag_name().name() == name)?;
    found.text().map(|text| text.trim().to_owned())
}
