//! ISO 20022 messages from the bank: pain.002, camt.054, camt.053 and pacs.004.

use chrono::{DateTime, NaiveDate, Utc};
use quick_xml::escape::escape;

use super::behaviour::reason;
use super::judge::Judged;
use super::ledger::{Origin, Payment, PaymentStatus, Rail};
use crate::domain::{Currency, Money};

/// What an account held before anything was paid from it, in minor units.
const OPENING_MINOR: i64 = 1_000_000_000;

/// A movement on the account: a payment that left, or one that came back.
#[derive(Clone, Copy)]
pub(super) struct Booking<'a> {
    pub(super) payment: &'a Payment,
    pub(super) comes_back: bool,
}

impl Booking<'_> {
    /// The day that it is booked on.
    pub(super) fn on(&self) -> NaiveDate {
        let payment = self.payment;
        let returned = payment.returned_on.filter(|_| self.comes_back);
        returned.unwrap_or(payment.settle_on)
    }

    /// What it adds to the account, in minor units.
    fn signed(&self) -> i64 {
        if self.comes_back { self.payment.amount } else { -self.payment.amount }
    }

    fn side(&self) -> &'static str {
        if self.comes_back { "CRDT" } else { "DBIT" }
    }
}

fn document(name: &str, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:{name}\">{body}</Document>\n"
    )
}

fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn amount(name: &str, money: Money) -> String {
    format!("<{name} Ccy=\"{}\">{money}</{name}>", money.currency)
}

/// pain.002: what becomes of a pain.001, as a whole and one by one.
pub(super) fn status_report(
    judged: &Judged,
    told: &[&Payment],
    status: &str,
    number: &str,
    now: DateTime<Utc>,
) -> String {
    let original = escape(judged.origin.message_id.as_str());
    let why = |code: &str, words: &str| {
        let words: String = words.chars().take(105).collect();
        let words = escape(words.as_str()).into_owned();
        format!("<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn><AddtlInf>{words}</AddtlInf></StsRsnInf>")
    };
    let fault = judged.fault.as_ref().map(|(code, words)| why(code, words)).unwrap_or_default();
    let one = |one: &&Payment| {
        let (status, why) = match one.status {
            PaymentStatus::Rejected => {
                let (code, words) = reason(one.reason.as_deref(), Rail::Wire);
                ("RJCT", why(&code, words))
            }
            _ => ("ACCP", String::new()),
        };
        let id = escape(one.reference.as_str());
        format!(
            "<TxInfAndSts><OrgnlEndToEndId>{id}</OrgnlEndToEndId><TxSts>{status}</TxSts>{why}\
             </TxInfAndSts>"
        )
    };
    let all: String = told.iter().map(one).collect();
    let payments = match all.is_empty() {
        true => String::new(),
        false => format!(
            "<OrgnlPmtInfAndSts><OrgnlPmtInfId>{original}-1</OrgnlPmtInfId>\
             <PmtInfSts>{status}</PmtInfSts>{all}</OrgnlPmtInfAndSts>"
        ),
    };
    let body = format!(
        "<CstmrPmtStsRpt><GrpHdr><MsgId>{number}</MsgId><CreDtTm>{}</CreDtTm></GrpHdr>\
         <OrgnlGrpInfAndSts><OrgnlMsgId>{original}</OrgnlMsgId>\
         <OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId><GrpSts>{status}</GrpSts>{fault}\
         </OrgnlGrpInfAndSts>{payments}</CstmrPmtStsRpt>",
        instant(now)
    );
    document("pain.002.001.10", &body)
}

/// camt.054: bookings as they happen.
pub(super) fn notification(
    origin: &Origin,
    bookings: &[Booking<'_>],
    number: &str,
    now: DateTime<Utc>,
) -> String {
    let currency = bookings.first().map(|one| one.payment.currency);
    let account = account(origin, currency);
    let entries: String = bookings.iter().map(entry).collect();
    let at = instant(now);
    let body = format!(
        "<BkToCstmrDbtCdtNtfctn><GrpHdr><MsgId>{number}</MsgId><CreDtTm>{at}</CreDtTm></GrpHdr>\
         <Ntfctn><Id>{number}</Id><CreDtTm>{at}</CreDtTm>{account}{entries}</Ntfctn>\
         </BkToCstmrDbtCdtNtfctn>"
    );
    document("camt.054.001.08", &body)
}

fn account(origin: &Origin, currency: Option<Currency>) -> String {
    let id = escape(origin.account.as_str());
    let name = escape(origin.name.as_str());
    let currency = currency.map(|code| format!("<Ccy>{code}</Ccy>")).unwrap_or_default();
    format!(
        "<Acct><Id><Othr><Id>{id}</Id></Othr></Id>{currency}<Ownr><Nm>{name}</Nm></Ownr></Acct>"
    )
}

fn entry(booking: &Booking<'_>) -> String {
    let one = booking.payment;
    let (side, money) = (booking.side(), amount("Amt", one.money()));
    let on = booking.on();
    let (number, family) = match booking.comes_back {
        true => (format!("SB-RTR-{}", one.id), "RRTN"),
        false => (format!("SB-PMT-{}", one.id), "ESCT"),
    };
    let code = |family: &str| {
        format!(
            "<Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>{family}</SubFmlyCd></Fmly></Domn>"
        )
    };
    let returned = match booking.comes_back {
        false => String::new(),
        true => {
            let (why, _) = reason(one.reason.as_deref(), Rail::Wire);
            let original = code("ESCT");
            format!(
                "<RtrInf><OrgnlBkTxCd>{original}</OrgnlBkTxCd><Rsn><Cd>{why}</Cd></Rsn></RtrInf>"
            )
        }
    };
    let (message, reference) =
        (escape(one.origin.message_id.as_str()), escape(one.reference.as_str()));
    let trace = match one.trace.is_empty() {
        true => String::new(),
        false => format!("<InstrId>{}</InstrId>", one.trace),
    };
    let (name, account) = (escape(one.name.as_str()), escape(one.account.as_str()));
    let (code, batch) = (code(family), one.batch);
    format!(
        "<Ntry>{money}<CdtDbtInd>{side}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>\
         <BookgDt><Dt>{on}</Dt></BookgDt><ValDt><Dt>{on}</Dt></ValDt>\
         <AcctSvcrRef>{number}</AcctSvcrRef><BkTxCd>{code}</BkTxCd><NtryDtls><TxDtls>\
         <Refs><MsgId>{message}</MsgId><PmtInfId>{message}-{batch}</PmtInfId>{trace}\
         <EndToEndId>{reference}</EndToEndId></Refs>{money}<CdtDbtInd>{side}</CdtDbtInd>\
         <RltdPties><Cdtr><Pty><Nm>{name}</Nm></Pty></Cdtr>\
         <CdtrAcct><Id><Othr><Id>{account}</Id></Othr></Id></CdtrAcct></RltdPties>{returned}\
         </TxDtls></NtryDtls></Ntry>"
    )
}

/// camt.053: every booking of an account from the first day to the last.
pub(super) fn statement(
    origin: &Origin,
    bookings: &[Booking<'_>],
    (from, to): (NaiveDate, NaiveDate),
    number: &str,
    now: DateTime<Utc>,
) -> String {
    let usd = || "USD".parse().expect("USD is a currency");
    let currency = bookings.first().map_or_else(usd, |one| one.payment.currency);
    let before: i64 = bookings.iter().filter(|one| one.on() < from).map(Booking::signed).sum();
    let within: Vec<_> =
        bookings.iter().filter(|one| (from..=to).contains(&one.on())).copied().collect();
    let opening = OPENING_MINOR + before;
    let closing = opening + within.iter().map(Booking::signed).sum::<i64>();
    let entries: String = within.iter().map(entry).collect();
    let account = account(origin, Some(currency));
    let balance = |kind: &str, minor: i64, on: NaiveDate| {
        let side = if minor < 0 { "DBIT" } else { "CRDT" };
        let amount = amount("Amt", Money::new(minor.abs(), currency));
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>{amount}\
             <CdtDbtInd>{side}</CdtDbtInd><Dt><Dt>{on}</Dt></Dt></Bal>"
        )
    };
    let (opening, closing) = (balance("OPBD", opening, from), balance("CLBD", closing, to));
    let at = instant(now);
    let body = format!(
        "<BkToCstmrStmt><GrpHdr><MsgId>{number}</MsgId><CreDtTm>{at}</CreDtTm></GrpHdr><Stmt>\
         <Id>{number}</Id><CreDtTm>{at}</CreDtTm><FrToDt><FrDtTm>{from}T00:00:00Z</FrDtTm>\
         <ToDtTm>{to}T23:59:59Z</ToDtTm></FrToDt>{account}{opening}{closing}{entries}</Stmt>\
         </BkToCstmrStmt>"
    );
    document("camt.053.001.08", &body)
}

/// pacs.004: payments that come back.
pub(super) fn payment_return(
    origin: &Origin,
    payments: &[&Payment],
    on: NaiveDate,
    number: &str,
    now: DateTime<Utc>,
) -> String {
    let original = escape(origin.message_id.as_str());
    let one = |one: &&Payment| {
        let (code, _) = reason(one.reason.as_deref(), Rail::Wire);
        let (id, reference) = (&one.id, escape(one.reference.as_str()));
        let (was, is) =
            (amount("OrgnlIntrBkSttlmAmt", one.money()), amount("RtrdIntrBkSttlmAmt", one.money()));
        let settled = one.settle_on;
        format!(
            "<TxInf><RtrId>SB-RTR-{id}</RtrId><OrgnlEndToEndId>{reference}</OrgnlEndToEndId>{was}\
             <OrgnlIntrBkSttlmDt>{settled}</OrgnlIntrBkSttlmDt>{is}\
             <IntrBkSttlmDt>{on}</IntrBkSttlmDt><RtrRsnInf><Rsn><Cd>{code}</Cd></Rsn></RtrRsnInf>\
             </TxInf>"
        )
    };
    let all: String = payments.iter().map(one).collect();
    let (count, at) = (payments.len(), instant(now));
    let body = format!(
        "<PmtRtr><GrpHdr><MsgId>{number}</MsgId><CreDtTm>{at}</CreDtTm><NbOfTxs>{count}</NbOfTxs>\
         <SttlmInf><SttlmMtd>INDA</SttlmMtd></SttlmInf></GrpHdr><OrgnlGrpInf>\
         <OrgnlMsgId>{original}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>\
         </OrgnlGrpInf>{all}</PmtRtr>"
    );
    document("pacs.004.001.09", &body)
}
