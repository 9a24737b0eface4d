//! A submission as a NACHA file.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::{AchSettings, eastern, effective_on};
use crate::domain::{Destination, MethodKind};
use crate::formats::nacha::{
    self, Batch, Entry, File, FileHeader, LARGEST_ENTRY_MINOR, LONGEST_ACCOUNT, LONGEST_NAME,
    ServiceClass,
};
use crate::formats::{Unfit, ascii};
use crate::providers::{Outgoing, OutgoingItem, Problem, Sent};

/// What tells files of one minute apart.
const MODIFIERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// What Nacha's rules call an entry that only proves an account.
const PROVES_ACCOUNT: &str = "ACCTVERIFY";
const MINUTES_A_DAY: i64 = 24 * 60;
/// Trace numbers of one file, and files until they begin again.
const TRACES_A_FILE: i64 = 10_000;
const FILES_A_ROUND: i64 = 1_000;

/// The file's text.
///
/// # Errors
/// [`Unfit`] for the first value that has no room in it.
pub(super) fn render(settings: &AchSettings, outgoing: &Outgoing) -> Result<String, Unfit> {
    let mut traces = Traces::of(settings, outgoing.sequence);
    let mut batches = Vec::new();
    for ((effective, sec, proves_account), items) in grouped(settings, outgoing) {
        for items in parts(items) {
            let number = batches.len() as u32 + 1;
            let header = Header { effective, sec, proves_account, number };
            batches.push(batch(settings, outgoing, header, &items, &mut traces));
        }
    }
    nacha::write(&File { header: file_header(settings, outgoing), batches })
}

/// Why a submission cannot be sent by ACH at all, with the payees at fault.
pub(super) fn refusal(settings: &AchSettings, outgoing: &Outgoing) -> Option<Sent> {
    let items: Vec<_> = outgoing
        .items
        .iter()
        .filter_map(|item| Some((item.reference.clone(), problem_of(item)?)))
        .collect();
    if let Some((_, first)) = items.first() {
        let problem = Problem { of_method: false, ..first.clone() };
        return Some(Sent::Refused { items, problem });
    }
    // Each payee fits, so it is their sum: then two files do what one cannot.
    let unfit = render(settings, outgoing).err()?;
    Some(Sent::Refused { items: Vec::new(), problem: Problem::new("unfit", unfit.to_string()) })
}

/// Whether any bank would take a file of these settings: one is made, and held to the rules.
///
/// # Errors
/// [`Problem`] `bad_settings`.
pub(super) fn check_settings(settings: &AchSettings) -> Result<(), Problem> {
    let bad = |words: String| Problem::new("bad_settings", format!("[providers.ach] {words}"));
    let folders = [&settings.outbox, &settings.inbox, &settings.archive];
    if folders.iter().any(|folder| folder.is_empty()) {
        return Err(bad("outbox, inbox and archive have to be set".to_owned()));
    }
    if is_balanced(settings) && settings.offset_account.is_empty() {
        return Err(bad("offset_routing is set, and offset_account is not".to_owned()));
    }
    let text = render(settings, &specimen()).map_err(|unfit| bad(unfit.to_string()))?;
    match nacha::check(text.as_bytes()).first() {
        None => Ok(()),
        Some(fault) => Err(bad(format!("would make a file that no bank takes: {}", fault.what))),
    }
}

/// A submission of one payment, for trying settings out.
fn specimen() -> Outgoing {
    let destination = r#"{"routingNumber":"021000021","accountNumber":"1",
        "accountType":"checking","accountHolderName":"SPECIMEN"}"#;
    let destination = Destination::parse(MethodKind::Ach, destination).expect("a destination");
    let reference = || "SPECIMEN0000000".parse().expect("a reference");
    let currency = "USD".parse().expect("a currency");
    let amount = crate::domain::Money::new(1, currency);
    let payout_id = "po_specimen".parse().expect("an id");
    let item = OutgoingItem::new(reference(), payout_id, destination, amount);
    let org = "specimen".parse().expect("an id");
    Outgoing::new(org, reference(), vec![item], currency, chrono::DateTime::UNIX_EPOCH)
}

/// Why a payment cannot be written.
fn problem_of(item: &OutgoingItem) -> Option<Problem> {
    let at_fault = |words: &str| Some(Problem::new("bad_destination", words).of_method());
    let field = |name| item.destination.get(name).unwrap_or_default();
    let account = field("accountNumber");
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if item.amount.currency.code() != "USD" {
        return Some(Problem::new("currency", "ACH pays US dollars only"));
    }
    if !(1..=LARGEST_ENTRY_MINOR).contains(&item.amount.minor) {
        return Some(Problem::new("amount", "an ACH entry pays from 0.01 to 99999999.99"));
    }
    if !nacha::is_routing_number(field("routingNumber")) {
        return at_fault("the routing number is none");
    }
    if account.is_empty() || account.len() > LONGEST_ACCOUNT || !account.bytes().all(is_allowed) {
        return at_fault("the account number is not one to 17 letters, digits and hyphens");
    }
    if transaction_code(field("accountType")).is_none() {
        return at_fault("the account is neither checking nor savings");
    }
    if ascii::is_blank(&name_of(item)) {
        return at_fault("the holder's name cannot be written in ASCII");
    }
    None
}

/// The payments by effective day, kind of receiver (persons: PPD, companies: CCD) and whether they
/// only prove an account.
fn grouped<'a>(
    settings: &AchSettings,
    outgoing: &'a Outgoing,
) -> BTreeMap<(NaiveDate, &'static str, bool), Vec<&'a OutgoingItem>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in &outgoing.items {
        let sec = match item.destination.get("accountHolderType") {
            Some("company" | "business") => "CCD",
            _ => "PPD",
        };
        let effective = effective_on(settings, outgoing.sent_at, item.amount.minor);
        groups.entry((effective, sec, item.proves_account)).or_default().push(item);
    }
    groups
}

/// Parts whose sums have room in a batch's totals, and in one offsetting entry.
fn parts(items: Vec<&OutgoingItem>) -> Vec<Vec<&OutgoingItem>> {
    let mut parts: Vec<Vec<&OutgoingItem>> = Vec::new();
    let mut sum = 0_i64;
    for item in items {
        sum = sum.saturating_add(item.amount.minor);
        match parts.last_mut().filter(|_| sum <= LARGEST_ENTRY_MINOR) {
            Some(part) => part.push(item),
            None => {
                sum = item.amount.minor;
                parts.push(vec![item]);
            }
        }
    }
    parts
}

/// What a batch's header says beside the settings.
struct Header {
    effective: NaiveDate,
    sec: &'static str,
    proves_account: bool,
    number: u32,
}

fn batch(
    settings: &AchSettings,
    outgoing: &Outgoing,
    header: Header,
    items: &[&OutgoingItem],
    traces: &mut Traces,
) -> Batch {
    let mut entries: Vec<Entry> = items.iter().map(|item| entry(item, traces.next())).collect();
    let description = match header.proves_account {
        true => PROVES_ACCOUNT,
        false => settings.entry_description.as_str(),
    };
    let mut service_class = ServiceClass::Credits;
    if is_balanced(settings) {
        let sum = items.iter().fold(0_i64, |sum, item| sum.saturating_add(item.amount.minor));
        entries.push(offset(settings, outgoing, sum, traces.next()));
        service_class = ServiceClass::Mixed;
    }
    Batch {
        service_class,
        company_name: settings.company_name.clone(),
        company_id: settings.company_id.clone(),
        sec: header.sec.to_owned(),
        description: description.to_owned(),
        effective: Some(header.effective),
        odfi: settings.odfi.clone(),
        number: header.number,
        entries,
        line: 0,
    }
}

fn entry(item: &OutgoingItem, trace: String) -> Entry {
    let field = |name| item.destination.get(name).unwrap_or_default().to_owned();
    Entry {
        code: transaction_code(&field("accountType")).unwrap_or_default().to_owned(),
        routing: field("routingNumber"),
        account: field("accountNumber"),
        amount_minor: item.amount.minor,
        individual_id: item.reference.to_string(),
        name: name_of(item),
        trace,
        addenda: Vec::new(),
        line: 0,
    }
}

/// The debit of our own account that balances a batch.
fn offset(settings: &AchSettings, outgoing: &Outgoing, sum: i64, trace: String) -> Entry {
    let code = if settings.offset_account_type == "savings" { "37" } else { "27" };
    Entry {
        code: code.to_owned(),
        routing: settings.offset_routing.clone(),
        account: settings.offset_account.clone(),
        amount_minor: sum,
        individual_id: outgoing.reference.to_string(),
        name: ascii::cut(&settings.company_name, LONGEST_NAME).to_owned(),
        trace,
        addenda: Vec::new(),
        line: 0,
    }
}

/// A bank tells files apart by origin, date, time and modifier, and refuses one that it takes for
/// another. Thirty-six modifiers a minute are too few for many orgs that pay at once, so the time
/// is no time of day: it counts, with the modifier, 51,840 files until it begins again.
fn file_header(settings: &AchSettings, outgoing: &Outgoing) -> FileHeader {
    let count = outgoing.sequence.saturating_sub(1).max(0);
    let modifiers = MODIFIERS.len() as i64;
    let minute = count / modifiers % MINUTES_A_DAY;
    let modifier = MODIFIERS[(count % modifiers) as usize];
    FileHeader {
        destination: settings.immediate_destination.clone(),
        origin: settings.immediate_origin.clone(),
        date: eastern(outgoing.sent_at).format("%y%m%d").to_string(),
        time: format!("{:02}{:02}", minute / 60, minute % 60),
        modifier: char::from(modifier),
        destination_name: settings.immediate_destination_name.clone(),
        origin_name: settings.immediate_origin_name.clone(),
        // What has room of it; the file's name has all.
        reference: ascii::cut(outgoing.reference.as_str(), 8).to_owned(),
    }
}

/// Trace numbers: the originating bank, three digits that say which file, four that say which
/// entry of it. They ascend in a file, and come again after a thousand files.
struct Traces {
    odfi: String,
    next: i64,
}

impl Traces {
    fn of(settings: &AchSettings, sequence: i64) -> Self {
        let file = sequence.rem_euclid(FILES_A_ROUND);
        Self { odfi: settings.odfi.clone(), next: file * TRACES_A_FILE }
    }

    fn next(&mut self) -> String {
        self.next += 1;
        format!("{}{:07}", self.odfi, self.next)
    }
}

fn is_balanced(settings: &AchSettings) -> bool {
    !settings.offset_routing.is_empty()
}

/// The code that credits such an account.
fn transaction_code(account_type: &str) -> Option<&'static str> {
    match account_type {
        "checking" => Some("22"),
        "savings" => Some("32"),
        _ => None,
    }
}

/// The holder's name as it has room: cutting it does not change who is paid.
fn name_of(item: &OutgoingItem) -> String {
    let name = ascii::printable(item.destination.get("accountHolderName").unwrap_or_default());
    ascii::cut(&name, LONGEST_NAME).to_owned()
}
