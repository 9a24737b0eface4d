//! NACHA files from the bank: returns (addenda 99) and notifications of change (addenda 98).

use chrono::{DateTime, NaiveDate, Utc};

use super::behaviour::reason;
use super::ledger::{Origin, Payment, Rail};
use crate::formats::Unfit;
use crate::formats::nacha::{
    Addenda, Batch, Change, Entry, File, FileHeader, Return, ServiceClass, write,
};

/// Entries that come back, each with its reason.
pub(super) fn returns(
    origin: &Origin,
    payments: &[&Payment],
    on: NaiveDate,
    number: &str,
    now: DateTime<Utc>,
) -> Result<String, Unfit> {
    let addenda = |one: &Payment| {
        let (code, _) = reason(one.reason.as_deref(), Rail::Ach);
        Addenda::Return(Return {
            code,
            original_trace: one.trace.clone(),
            original_rdfi: rdfi(one),
            text: String::new(),
        })
    };
    let mut batches: Vec<Batch> = Vec::new();
    for sec in kinds(payments) {
        let of_kind = payments.iter().filter(|one| one.sec == sec);
        let entries = of_kind.map(|one| (one.amount, addenda(one), *one)).collect();
        batches.push(batch(origin, &sec, "RETURN", Some(on), entries, batches.len()));
    }
    write(&file(origin, batches, number, now))
}

/// Entries that were paid, each with what is to be changed.
pub(super) fn changes(
    origin: &Origin,
    payments: &[(&Payment, String, String)],
    number: &str,
    now: DateTime<Utc>,
) -> Result<String, Unfit> {
    let entry = |(one, code, corrected): &(&Payment, String, String)| {
        Addenda::Change(Change {
            code: code.clone(),
            original_trace: one.trace.clone(),
            original_rdfi: rdfi(one),
            corrected: corrected.clone(),
        })
    };
    // Nothing moves by a notification: its amounts are zero.
    let entries = payments.iter().map(|one| (0, entry(one), one.0)).collect();
    let batches = vec![batch(origin, "COR", "NOC", None, entries, 0)];
    write(&file(origin, batches, number, now))
}

fn kinds(payments: &[&Payment]) -> Vec<String> {
    let mut kinds: Vec<_> = payments.iter().map(|one| one.sec.clone()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn rdfi(payment: &Payment) -> String {
    payment.routing.get(..8).unwrap_or("00000000").to_owned()
}

/// The first eight digits of the bank's own routing number.
fn odfi(origin: &Origin) -> String {
    origin.bank.get(..8).unwrap_or("00000000").to_owned()
}

fn file(origin: &Origin, batches: Vec<Batch>, number: &str, now: DateTime<Utc>) -> File {
    let header = FileHeader {
        destination: origin.sender.clone(),
        origin: origin.bank.clone(),
        date: now.format("%y%m%d").to_string(),
        time: now.format("%H%M").to_string(),
        // Files of one minute differ by it, so it comes from what is different in all of them.
        modifier: number.chars().last().unwrap_or('A'),
        destination_name: origin.name.clone(),
        origin_name: "SANDBOX BANK".to_owned(),
        reference: String::new(),
    };
    File { header, batches }
}

fn batch(
    origin: &Origin,
    sec: &str,
    description: &str,
    effective: Option<NaiveDate>,
    entries: Vec<(i64, Addenda, &Payment)>,
    index: usize,
) -> Batch {
    let name: String = origin.name.chars().take(16).collect();
    let number = u32::try_from(index + 1).expect("a file has few batches");
    let entry = |(at, (amount_minor, addenda, one)): (usize, (i64, Addenda, &Payment))| Entry {
        // Codes of entries that come back: 21 for checking, 31 for savings.
        code: if one.code.starts_with('3') { "31" } else { "21" }.to_owned(),
        routing: one.routing.clone(),
        account: one.account.clone(),
        amount_minor,
        individual_id: one.reference.clone(),
        name: one.name.clone(),
        trace: format!("{}{:03}{:04}", odfi(origin), number, at + 1),
        addenda: vec![addenda],
        line: 0,
    };
    Batch {
        service_class: ServiceClass::Credits,
        company_name: name.trim_end().to_owned(),
        company_id: origin.sender.clone(),
        sec: sec.to_owned(),
        description: description.to_owned(),
        effective,
        odfi: odfi(origin),
        number,
        entries: entries.into_iter().enumerate().map(entry).collect(),
        line: 0,
    }
}
