//! pain.001.001.09: payments asked of a bank, here urgent credit transfers by wire.

use std::io;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::tree::{Element, children, find, money, string, text};
use super::{MessageKind, Unreadable, message_in, parse};
use crate::domain::Money;
use crate::formats::Unfit;

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09";
/// Digits of an amount, or of the sum.
const LARGEST_MINOR: i64 = 999_999_999_999_999_999;

/// Transfers that leave one account on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initiation {
    /// What the bank knows the message by; up to 35 characters.
    pub message_id: String,
    /// To the second.
    pub created_at: DateTime<Utc>,
    pub execute_on: NaiveDate,
    pub debtor: Party,
    pub transfers: Vec<CreditTransfer>,
}

/// One transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditTransfer {
    /// Our reference, which the bank repeats in all that it says; up to 35 characters.
    pub end_to_end_id: String,
    pub amount: Money,
    pub creditor: Party,
    /// What the creditor reads beside the amount; up to 140 characters. May be empty.
    pub remittance: String,
}

/// Whose account, and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Up to 140 characters.
    pub name: String,
    pub address: Address,
    /// The bank's routing number, 9 digits.
    pub routing: String,
    /// Up to 34 characters.
    pub account: String,
}

/// A postal address. With a town and a country alone it is structured; with lines it is hybrid.
/// What is not known is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// Up to 70 characters.
    pub street: String,
    /// Up to 16 characters.
    pub building: String,
    /// Up to 16 characters.
    pub postal_code: String,
    /// Up to 35 characters.
    pub town: String,
    /// Up to 35 characters.
    pub state: String,
    /// ISO 3166, two letters.
    pub country: String,
    /// Up to 7 of 70 characters; a hybrid address has at most 2.
    pub lines: Vec<String>,
}

/// The message's text.
///
/// # Errors
/// [`Unfit`] for the first value that does not fit its element. Nothing is ever cut.
pub fn write(initiation: &Initiation) -> Result<String, Unfit> {
    let sum = sum(&initiation.transfers)?;
    let count = initiation.transfers.len().to_string();
    let mut xml = Xml::new()?;
    xml.within("CstmrCdtTrfInitn", |xml| {
        xml.within("GrpHdr", |xml| {
            xml.text("MsgId", 35, &initiation.message_id)?;
            let created = initiation.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
            xml.text("CreDtTm", 20, &created)?;
            xml.text("NbOfTxs", 15, &count)?;
            xml.text("CtrlSum", 20, &sum)?;
            xml.within("InitgPty", |xml| xml.text("Nm", 140, &initiation.debtor.name))
        })?;
        xml.within("PmtInf", |xml| {
            // The same as the message: there is one of these in it.
            xml.text("PmtInfId", 35, &initiation.message_id)?;
            xml.text("PmtMtd", 3, "TRF")?;
            xml.text("NbOfTxs", 15, &count)?;
            xml.text("CtrlSum", 20, &sum)?;
            xml.within("PmtTpInf", |xml| xml.within("SvcLvl", |xml| xml.text("Cd", 4, "URGP")))?;
            let day = initiation.execute_on.to_string();
            xml.within("ReqdExctnDt", |xml| xml.text("Dt", 10, &day))?;
            write_debtor(xml, initiation)?;
            xml.text("ChrgBr", 4, "SHAR")?;
            initiation.transfers.iter().try_for_each(|transfer| write_transfer(xml, transfer))
        })
    })?;
    xml.finish()
}

fn write_debtor(xml: &mut Xml, initiation: &Initiation) -> Result<(), Unfit> {
    let debtor = &initiation.debtor;
    xml.within("Dbtr", |xml| write_party(xml, debtor))?;
    xml.within("DbtrAcct", |xml| write_account(xml, debtor))?;
    xml.within("DbtrAgt", |xml| write_agent(xml, debtor))
}

fn write_transfer(xml: &mut Xml, transfer: &CreditTransfer) -> Result<(), Unfit> {
    let creditor = &transfer.creditor;
    xml.within("CdtTrfTxInf", |xml| {
        xml.within("PmtId", |xml| xml.text("EndToEndId", 35, &transfer.end_to_end_id))?;
        xml.within("Amt", |xml| xml.amount("InstdAmt", transfer.amount))?;
        xml.within("CdtrAgt", |xml| write_agent(xml, creditor))?;
        xml.within("Cdtr", |xml| write_party(xml, creditor))?;
        xml.within("CdtrAcct", |xml| write_account(xml, creditor))?;
        match transfer.remittance.is_empty() {
            true => Ok(()),
            false => xml.within("RmtInf", |xml| xml.text("Ustrd", 140, &transfer.remittance)),
        }
    })
}

fn write_party(xml: &mut Xml, party: &Party) -> Result<(), Unfit> {
    xml.text("Nm", 140, &party.name)?;
    let address = &party.address;
    if *address == Address::default() {
        return Ok(());
    }
    let country = address.country.as_bytes();
    if country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase) {
        return Err(Unfit::new("Ctry", "it is not two capital letters"));
    }
    xml.within("PstlAdr", |xml| {
        xml.text_if_any("StrtNm", 70, &address.street)?;
        xml.text_if_any("BldgNb", 16, &address.building)?;
        xml.text_if_any("PstCd", 16, &address.postal_code)?;
        xml.text("TwnNm", 35, &address.town)?;
        xml.text_if_any("CtrySubDvsn", 35, &address.state)?;
        xml.text("Ctry", 2, &address.country)?;
        address.lines.iter().try_for_each(|line| xml.text("AdrLine", 70, line))
    })
}

fn write_agent(xml: &mut Xml, party: &Party) -> Result<(), Unfit> {
    if !crate::formats::nacha::is_routing_number(&party.routing) {
        return Err(Unfit::new("MmbId", "it is no routing number"));
    }
    xml.within("FinInstnId", |xml| {
        xml.within("ClrSysMmbId", |xml| {
            xml.within("ClrSysId", |xml| xml.text("Cd", 5, "USABA"))?;
            xml.text("MmbId", 9, &party.routing)
        })
    })
}

fn write_account(xml: &mut Xml, party: &Party) -> Result<(), Unfit> {
    xml.within("Id", |xml| xml.within("Othr", |xml| xml.text("Id", 34, &party.account)))
}

/// The sum of amounts in one currency.
fn sum(transfers: &[CreditTransfer]) -> Result<String, Unfit> {
    let unfit = |reason: &str| Unfit::new("CtrlSum", reason);
    let (first, rest) = transfers.split_first().ok_or_else(|| unfit("there is no transfer"))?;
    let sum = rest.iter().try_fold(first.amount, |sum, t| sum.checked_add(t.amount));
    let sum = sum.map_err(|error| unfit(&error.to_string()))?;
    match sum.minor <= LARGEST_MINOR {
        true => Ok(sum.to_string()),
        false => Err(unfit("it has more than 18 digits")),
    }
}

/// A message under construction.
struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn new() -> Result<Self, Unfit> {
        let mut xml = Self(Writer::new(Vec::new()));
        xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let document = BytesStart::new("Document").with_attributes([("xmlns", NAMESPACE)]);
        xml.event(Event::Start(document))?;
        Ok(xml)
    }

    fn event(&mut self, event: Event<'_>) -> Result<(), Unfit> {
        let written: io::Result<()> = self.0.write_event(event);
        written.map_err(|error| Unfit::new("Document", error.to_string()))
    }

    fn within(
        &mut self,
        name: &str,
        content: impl FnOnce(&mut Self) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        self.event(Event::Start(BytesStart::new(name)))?;
        content(self)?;
        self.event(Event::End(BytesEnd::new(name)))
    }

    /// An element with a text, which must not be empty.
    fn text(&mut self, name: &'static str, most: usize, value: &str) -> Result<(), Unfit> {
        if value.trim().is_empty() || value.chars().any(char::is_control) {
            return Err(Unfit::new(name, "it is empty or holds a control character"));
        }
        if value.chars().count() > most {
            return Err(Unfit::new(name, format!("it is longer than {most} characters")));
        }
        self.within(name, |xml| xml.event(Event::Text(BytesText::new(value))))
    }

    fn text_if_any(&mut self, name: &'static str, most: usize, value: &str) -> Result<(), Unfit> {
        if value.is_empty() { Ok(()) } else { self.text(name, most, value) }
    }

    fn amount(&mut self, name: &'static str, amount: Money) -> Result<(), Unfit> {
        if !(1..=LARGEST_MINOR).contains(&amount.minor) {
            return Err(Unfit::new(name, "it is not above zero, or has more than 18 digits"));
        }
        let start = BytesStart::new(name).with_attributes([("Ccy", amount.currency.code())]);
        self.event(Event::Start(start))?;
        self.event(Event::Text(BytesText::new(&amount.to_string())))?;
        self.event(Event::End(BytesEnd::new(name)))
    }

    fn finish(mut self) -> Result<String, Unfit> {
        self.event(Event::End(BytesEnd::new("Document")))?;
        Ok(String::from_utf8(self.0.into_inner()).expect("text was written"))
    }
}

/// Reads a message that asks for credit transfers, as far as [`write`] writes it.
///
/// # Errors
/// [`Unreadable`], with the first element that is missing or cannot be read.
pub fn read_initiation(source: &str) -> Result<Initiation, Unreadable> {
    let document = parse(source)?;
    let (_, body) = message_in(&document)
        .filter(|(kind, _)| *kind == MessageKind::Initiation)
        .ok_or(Unreadable::OtherMessage)?;
    let missing = |what: &'static str| Unreadable::Missing(what);
    let created = text(body, "GrpHdr/CreDtTm").ok_or(missing("CreDtTm"))?;
    let payment = find(body, "PmtInf").ok_or(missing("PmtInf"))?;
    let day = text(payment, "ReqdExctnDt/Dt").and_then(|day| day.parse().ok());
    let transfers = children(body, "PmtInf").flat_map(|payment| children(payment, "CdtTrfTxInf"));
    Ok(Initiation {
        message_id: string(body, "GrpHdr/MsgId").ok_or(missing("MsgId"))?,
        created_at: created.parse().map_err(|_| missing("CreDtTm"))?,
        execute_on: day.ok_or(missing("ReqdExctnDt"))?,
        debtor: read_party(payment, ["Dbtr", "DbtrAgt", "DbtrAcct"])?,
        transfers: transfers.map(read_transfer).collect::<Result<_, _>>()?,
    })
}

fn read_transfer(transfer: Element<'_, '_>) -> Result<CreditTransfer, Unreadable> {
    let amount = find(transfer, "Amt/InstdAmt").and_then(|amount| money(amount).ok());
    Ok(CreditTransfer {
        end_to_end_id: string(transfer, "PmtId/EndToEndId")
            .ok_or(Unreadable::Missing("EndToEndId"))?,
        amount: amount.ok_or(Unreadable::Missing("InstdAmt"))?,
        creditor: read_party(transfer, ["Cdtr", "CdtrAgt", "CdtrAcct"])?,
        remittance: string(transfer, "RmtInf/Ustrd").unwrap_or_default(),
    })
}

fn read_party(
    node: Element<'_, '_>,
    [party, agent, account]: [&'static str; 3],
) -> Result<Party, Unreadable> {
    let missing = Unreadable::Missing;
    let party_element = find(node, party).ok_or(missing(party))?;
    let agent_element = find(node, agent).ok_or(missing(agent))?;
    let account_element = find(node, account).ok_or(missing(account))?;
    let address = find(party_element, "PstlAdr");
    let part = |path| address.and_then(|address| string(address, path)).unwrap_or_default();
    let lines = address.into_iter().flat_map(|address| children(address, "AdrLine"));
    Ok(Party {
        name: string(party_element, "Nm").ok_or(missing("Nm"))?,
        address: Address {
            street: part("StrtNm"),
            building: part("BldgNb"),
            postal_code: part("PstCd"),
            town: part("TwnNm"),
            state: part("CtrySubDvsn"),
            country: part("Ctry"),
            lines: lines.filter_map(|line| line.text()).map(str::to_owned).collect(),
        },
        routing: string(agent_element, "FinInstnId/ClrSysMmbId/MmbId").ok_or(missing("MmbId"))?,
        account: string(account_element, "Id/Othr/Id").ok_or(missing("Othr/Id"))?,
    })
}
