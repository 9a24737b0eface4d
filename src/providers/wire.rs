//! Wires: ISO 20022 pain.001 messages, placed in an outbox.
//!
//! A bank's acceptance (pain.002) moves nothing yet. A wire is settled once the bank books it
//! (camt.054 or camt.053), and comes back by pacs.004 or a credit that says so.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Deserialize;

use super::bank::{Folders, Silence, eastern, found};
use super::{Found, Letter, Outgoing, OutgoingItem, Problem, Provider, Sent, Terms};
use crate::domain::banking::{is_banking_day, next_banking_day};
use crate::domain::{Destination, MethodKind, Money};
use crate::formats::iso20022::{self, Address, CreditTransfer, Initiation, Party};
use crate::formats::{Unfit, ascii, nacha};

/// How messages reach the bank, and what stands in them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireSettings {
    /// The folder that the bank picks up from; empty if the rail is not used.
    pub outbox: String,
    /// The folder that the bank drops into.
    pub inbox: String,
    /// The folder that keeps what went and what came.
    pub archive: String,
    /// The most transfers that leave in one message, 1 to 10,000.
    pub batch_size: usize,
    /// Whose account pays; what payees read as the sender.
    pub debtor_name: String,
    pub debtor_account: String,
    /// The routing number of the bank that keeps the account.
    pub debtor_routing: String,
    pub debtor_street: String,
    pub debtor_building: String,
    pub debtor_postal_code: String,
    pub debtor_city: String,
    pub debtor_state: String,
    /// ISO 3166, two letters.
    pub debtor_country: String,
    /// `structured`, or `hybrid`: town and country structured, the rest in lines.
    pub address: String,
    /// What payees read beside the amount.
    pub remittance: String,
}

impl WireSettings {
    /// Whether the rail is to be used at all.
    pub fn is_configured(&self) -> bool {
        !self.outbox.is_empty()
    }
}

/// When banks stop taking wires for the same day, in Eastern time; some do so earlier, and roll
/// what comes late to the next day.
const CUTOFF: NaiveTime = NaiveTime::from_hms_opt(17, 0, 0).expect("a time of day");
/// The largest amount of a Fedwire transfer, in cents: one less than ten billion dollars.
const LARGEST_MINOR: i64 = 999_999_999_999;
const LONGEST_NAME: usize = 140;
const LONGEST_LINE: usize = 70;
const LONGEST_TOWN: usize = 35;
const LONGEST_SHORT_PART: usize = 16;

/// The wire rail.
pub struct Wire {
    settings: WireSettings,
    folders: Folders,
}

impl Wire {
    /// The rail of these settings. No file is touched yet.
    ///
    /// # Errors
    /// [`Problem`] `bad_settings` if no bank would take a message that they make.
    pub fn new(settings: WireSettings) -> Result<Self, Problem> {
        let bad =
            |words: &str| Err(Problem::new("bad_settings", format!("[providers.wire] {words}")));
        if settings.batch_size == 0 {
            return bad("batch_size is 0");
        }
        if [&settings.outbox, &settings.inbox, &settings.archive].iter().any(|f| f.is_empty()) {
            return bad("outbox, inbox and archive have to be set");
        }
        let debtor = debtor(&settings);
        let dollar = Money::new(100, "USD".parse().expect("the dollar is a currency"));
        let specimen = Initiation {
            message_id: "SPECIMEN".to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            execute_on: NaiveDate::default(),
            transfers: vec![transfer("SPECIMEN".to_owned(), dollar, debtor.clone(), &settings)],
            debtor,
        };
        if let Err(unfit) = iso20022::write(&specimen) {
            return bad(&format!("would make a message that no bank takes: debtor {unfit}"));
        }
        let folders = Folders {
            outbox: settings.outbox.clone().into(),
            inbox: settings.inbox.clone().into(),
            archive: settings.archive.clone().into(),
        };
        Ok(Self { settings, folders })
    }

    fn name(outgoing: &Outgoing) -> String {
        format!("{}.xml", outgoing.reference)
    }

    fn message(&self, outgoing: &Outgoing) -> Result<String, Unfit> {
        let settings = &self.settings;
        let one = |item: &OutgoingItem| {
            let creditor = creditor(settings, &item.destination);
            transfer(item.reference.to_string(), item.amount, creditor, settings)
        };
        iso20022::write(&Initiation {
            message_id: outgoing.reference.to_string(),
            created_at: outgoing.sent_at,
            execute_on: execute_on(outgoing.sent_at),
            debtor: debtor(settings),
            transfers: outgoing.items.iter().map(one).collect(),
        })
    }

    /// Why a submission cannot be sent by wire at all, with the payees at fault.
    fn refusal(&self, outgoing: &Outgoing) -> Option<Sent> {
        let problem = |item: &OutgoingItem| problem_of(&self.settings, item);
        let items: Vec<_> = outgoing
            .items
            .iter()
            .filter_map(|item| Some((item.reference.clone(), problem(item)?)))
            .collect();
        if let Some((_, first)) = items.first() {
            let problem = Problem { of_method: false, ..first.clone() };
            return Some(Sent::Refused { items, problem });
        }
        // Each payee fits, so it is their sum: then two messages do what one cannot.
        let problem = Problem::new("unfit", self.message(outgoing).err()?.to_string());
        Some(Sent::Refused { items: Vec::new(), problem })
    }
}

fn transfer(
    end_to_end_id: String,
    amount: Money,
    creditor: Party,
    settings: &WireSettings,
) -> CreditTransfer {
    let remittance = ascii::swift(&settings.remittance);
    let remittance = ascii::cut(&remittance, LONGEST_NAME).to_owned();
    CreditTransfer { end_to_end_id, amount, creditor, remittance }
}

/// Why a payment cannot be written.
fn problem_of(settings: &WireSettings, item: &OutgoingItem) -> Option<Problem> {
    let at_fault = |words: &str| Some(Problem::new("bad_destination", words).of_method());
    if item.amount.currency.code() != "USD" {
        return Some(Problem::new("currency", "wires pay US dollars only"));
    }
    if !(1..=LARGEST_MINOR).contains(&item.amount.minor) {
        return Some(Problem::new("amount", "a wire pays from 0.01 to 9999999999.99"));
    }
    let creditor = creditor(settings, &item.destination);
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !nacha::is_routing_number(&creditor.routing) {
        return at_fault("the routing number is none");
    }
    let account = creditor.account.as_bytes();
    if account.is_empty() || account.len() > 34 || !account.iter().all(|b| is_allowed(*b)) {
        return at_fault("the account number is not one to 34 letters, digits and hyphens");
    }
    if ascii::is_blank(&creditor.name) || ascii::is_blank(&creditor.address.town) {
        return at_fault("the holder's name or town cannot be written in the characters of banks");
    }
    let country = creditor.address.country.as_bytes();
    if country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase) {
        return at_fault("the country is no code of two capital letters");
    }
    None
}

/// The day that the bank is asked to pay on: today, or the next banking day.
fn execute_on(sent_at: DateTime<Utc>) -> NaiveDate {
    let local = eastern(sent_at);
    let today = local.date();
    let is_in_time = is_banking_day(today) && local.time() < CUTOFF;
    if is_in_time { today } else { next_banking_day(today) }
}

fn debtor(settings: &WireSettings) -> Party {
    let name = ascii::swift(&settings.debtor_name);
    Party {
        name: ascii::cut(&name, LONGEST_NAME).to_owned(),
        address: address(settings, |part| match part {
            Part::Street => &settings.debtor_street,
            Part::Building => &settings.debtor_building,
            Part::PostalCode => &settings.debtor_postal_code,
            Part::Town => &settings.debtor_city,
            Part::State => &settings.debtor_state,
            Part::Country => &settings.debtor_country,
        }),
        routing: settings.debtor_routing.clone(),
        account: settings.debtor_account.clone(),
    }
}

fn creditor(settings: &WireSettings, destination: &Destination) -> Party {
    let field = |name| destination.get(name).unwrap_or_default();
    let name = ascii::swift(field("accountHolderName"));
    Party {
        name: ascii::cut(&name, LONGEST_NAME).to_owned(),
        address: address(settings, |part| match part {
            Part::Street => field("street"),
            Part::Building => field("buildingNumber"),
            Part::PostalCode => field("postalCode"),
            Part::Town => field("city"),
            Part::State => field("state"),
            Part::Country => field("country"),
        }),
        routing: field("routingNumber").to_owned(),
        account: field("accountNumber").to_owned(),
    }
}

/// A part of an address.
#[derive(Clone, Copy)]
enum Part {
    Street,
    Building,
    PostalCode,
    Town,
    State,
    Country,
}

/// An address in the characters of banks. A hybrid one has street and building in a line: not
/// every bank takes them apart.
fn address<'a>(settings: &WireSettings, part: impl Fn(Part) -> &'a str) -> Address {
    let text = |of: Part, most: usize| {
        let text = ascii::swift(part(of));
        ascii::cut(&text, most).to_owned()
    };
    let mut address = Address {
        street: text(Part::Street, LONGEST_LINE),
        building: text(Part::Building, LONGEST_SHORT_PART),
        postal_code: text(Part::PostalCode, LONGEST_SHORT_PART),
        town: text(Part::Town, LONGEST_TOWN),
        state: text(Part::State, LONGEST_TOWN),
        country: part(Part::Country).to_owned(),
        lines: Vec::new(),
    };
    if settings.address == "hybrid" {
        let (street, building) =
            (std::mem::take(&mut address.street), std::mem::take(&mut address.building));
        let line = format!("{building} {street}");
        let line = ascii::cut(line.trim(), LONGEST_LINE);
        address.lines.extend(Some(line.to_owned()).filter(|line| !line.is_empty()));
    }
    address
}

#[async_trait]
impl Provider for Wire {
    fn kind(&self) -> MethodKind {
        MethodKind::Wire
    }

    fn terms(&self) -> Terms {
        Terms {
            batch_size: self.settings.batch_size,
            // The archive proves for ever what was placed.
            resend_window: TimeDelta::days(365),
            finds_by_reference: false,
            horizon: TimeDelta::days(7),
            watch: TimeDelta::days(30),
            call_off_after: None,
        }
    }

    /// The bytes depend on the settings too: changing them changes what a submission renders to.
    /// Empty if a payment in it cannot be written; then [`Provider::send`] refuses it.
    fn render(&self, outgoing: &Outgoing) -> String {
        self.message(outgoing).unwrap_or_default()
    }

    async fn send(&self, outgoing: &Outgoing, body: &str) -> Sent {
        if let Some(refused) = self.refusal(outgoing) {
            return refused;
        }
        self.folders.place(outgoing, Self::name(outgoing), body).await
    }

    async fn look_up(&self, outgoing: &Outgoing) -> Found {
        match self.folders.whereabouts(outgoing, Self::name(outgoing)).await {
            Ok(whereabouts) => found(outgoing, whereabouts, |_| Silence::ProvesNothing),
            Err(problem) => Found::Unclear(problem),
        }
    }

    async fn ping(&self) -> Result<(), Problem> {
        self.folders.ping().await
    }

    async fn may_still_leave(&self, outgoing: &Outgoing) -> Option<Problem> {
        self.folders.may_still_leave(Self::name(outgoing)).await
    }

    async fn collect(&self) -> Result<Vec<Letter>, Problem> {
        self.folders.collect().await
    }

    async fn put_away(&self, letter: &Letter) -> Result<(), Problem> {
        self.folders.put_away(letter).await
    }
}
