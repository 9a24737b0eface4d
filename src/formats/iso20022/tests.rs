//! pain.001 against its own reader, and what banks write in other ways than the recorded one.

use chrono::{DateTime, NaiveDate, Utc};
use proptest::prelude::*;

use super::*;
use crate::domain::{Direction, Money, NoticeWord};

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a day")
}

fn usd(minor: i64) -> Money {
    Money::new(minor, "USD".parse().expect("a currency"))
}

fn party(name: &str, account: &str) -> Party {
    Party {
        name: name.to_owned(),
        address: Address {
            town: "Boise".to_owned(),
            country: "US".to_owned(),
            ..Address::default()
        },
        routing: "021000021".to_owned(),
        account: account.to_owned(),
    }
}

fn transfer(reference: &str, minor: i64) -> CreditTransfer {
    CreditTransfer {
        end_to_end_id: reference.to_owned(),
        amount: usd(minor),
        creditor: party("ALEX AFFILIATE", "12345678901"),
        remittance: String::new(),
    }
}

fn initiation(transfers: Vec<CreditTransfer>) -> Initiation {
    Initiation {
        message_id: "SUBMISSION00001".to_owned(),
        created_at: instant("2026-11-23T14:00:00Z"),
        execute_on: day("2026-11-23"),
        debtor: party("ACME", "0000000002"),
        transfers,
    }
}

/// A notification in version 02, with a prefixed namespace.
fn camt(inside: &str) -> String {
    format!(
        "<?xml version='1.0'?><n:Document xmlns:n='urn:iso:std:iso:20022:tech:xsd:camt.054.001.02'>\
         <n:BkToCstmrDbtCdtNtfctn><n:Ntfctn>{inside}</n:Ntfctn></n:BkToCstmrDbtCdtNtfctn>\
         </n:Document>"
    )
}

fn entry(amount: &str, side: &str, rest: &str) -> String {
    format!(
        "<n:Ntry><n:Amt Ccy='USD'>{amount}</n:Amt><n:CdtDbtInd>{side}</n:CdtDbtInd>{rest}</n:Ntry>"
    )
}

const BOOKED: &str = "<n:Sts>BOOK</n:Sts><n:BookgDt><n:Dt>2026-11-24</n:Dt></n:BookgDt>";

fn detail(reference: &str, rest: &str) -> String {
    format!(
        "<n:NtryDtls><n:TxDtls><n:Refs><n:EndToEndId>{reference}</n:EndToEndId></n:Refs>{rest}\
         </n:TxDtls></n:NtryDtls>"
    )
}

#[test]
fn a_message_names_its_count_and_its_sum_twice() {
    let text = write(&initiation(vec![transfer("A", 100_050), transfer("B", 1)])).expect("it fits");
    assert_eq!(text.matches("<NbOfTxs>2</NbOfTxs><CtrlSum>1000.51</CtrlSum>").count(), 2);
}

#[test]
fn what_does_not_fit_its_element_is_refused_and_never_cut() {
    let refused = |change: fn(&mut CreditTransfer)| {
        let mut transfer = transfer("A", 1);
        change(&mut transfer);
        write(&initiation(vec![transfer])).expect_err("unfit").to_string()
    };
    assert!(refused(|t| t.amount.minor = 0).starts_with("InstdAmt: it is not above zero"));
    assert!(refused(|t| t.creditor.account = "1".repeat(35)).starts_with("Id: it is longer"));
    assert!(refused(|t| t.creditor.address.country = "usa".into()).starts_with("Ctry"));
    assert!(refused(|t| t.creditor.address.town.clear()).starts_with("TwnNm: it is empty"));
    assert!(refused(|t| t.creditor.routing = "021000022".into()).starts_with("MmbId"));
    assert!(refused(|t| t.creditor.name = "A\u{0}".into()).contains("control character"));
    assert!(write(&initiation(Vec::new())).is_err());
}

#[test]
fn a_notification_in_an_older_version_and_a_prefixed_namespace_is_read() {
    let text = camt(&entry("250.00000", "DBIT", &format!("{BOOKED}{}", detail("PAY1", ""))));
    let message = read(&text).expect("a message");
    assert_eq!(message.faults, [] as [String; 0]);
    let notice = &message.notices[0];
    assert_eq!((notice.word, notice.amount), (NoticeWord::Booked, Some(usd(25_000))));
    assert_eq!(notice.on, Some(day("2026-11-24")));
}

#[test]
fn an_entry_that_is_pending_or_without_our_reference_tells_nothing() {
    let pending = "<n:Sts><n:Cd>PDNG</n:Cd></n:Sts>";
    for rest in [
        format!("{pending}{}", detail("PAY1", "")),
        format!("{BOOKED}{}", detail("NOTPROVIDED", "")),
        BOOKED.to_owned(),
    ] {
        let message = read(&camt(&entry("1", "DBIT", &rest))).expect("a message");
        assert_eq!((message.notices.len(), message.faults.len()), (0, 0), "{rest}");
    }
}

#[test]
fn a_credit_is_a_return_only_if_it_says_so() {
    let returned = "<n:RtrInf><n:Rsn><n:Cd>AC04</n:Cd></n:Rsn></n:RtrInf>";
    let booked = format!("{BOOKED}<n:RvslInd>true</n:RvslInd>");
    for (head, inside, word, code) in [
        (BOOKED, returned, Some(NoticeWord::Returned), Some("AC04")),
        (booked.as_str(), "", Some(NoticeWord::Returned), Some("RVSL")),
        (BOOKED, "", None, None),
    ] {
        let text = camt(&entry("1.00", "CRDT", &format!("{head}{}", detail("PAY1", inside))));
        let message = read(&text).expect("a message");
        let notice = message.notices.first();
        assert_eq!(notice.map(|notice| notice.word), word);
        assert_eq!(notice.and_then(|notice| notice.code.as_deref()), code);
    }
}

#[test]
fn an_amount_that_is_not_exact_or_not_its_own_is_a_fault_and_no_notice() {
    let two = "<n:TxDtls><n:Refs><n:EndToEndId>PAY2</n:EndToEndId></n:Refs></n:TxDtls>";
    let two = format!("{BOOKED}<n:NtryDtls>{two}{two}</n:NtryDtls>");
    for (amount, rest) in [
        ("1.001", format!("{BOOKED}{}", detail("PAY1", ""))),
        ("1e3", format!("{BOOKED}{}", detail("PAY1", ""))),
        ("300.00", two),
    ] {
        let message = read(&camt(&entry(amount, "DBIT", &rest))).expect("a message");
        assert_eq!(message.notices.len(), 0, "{amount}");
        assert!(!message.faults.is_empty(), "{amount}");
    }
}

#[test]
fn a_status_report_about_the_whole_is_about_our_submission() {
    let report = |inside: &str| {
        let text = format!(
            "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:pain.002.001.03'><CstmrPmtStsRpt>\
             <OrgnlGrpInfAndSts><OrgnlMsgId>SUBMISSION00001</OrgnlMsgId>{inside}\
             </OrgnlGrpInfAndSts></CstmrPmtStsRpt></Document>"
        );
        read(&text).expect("a message")
    };
    let reason = |code: &str| {
        format!("<GrpSts>RJCT</GrpSts><StsRsnInf><Rsn><Cd>{code}</Cd></Rsn></StsRsnInf>")
    };
    for (inside, word) in [
        (reason("FF01"), Some(NoticeWord::Refused)),
        (reason("DUPL"), Some(NoticeWord::Duplicate)),
        (reason("AM05"), Some(NoticeWord::Duplicate)),
        ("<GrpSts>ACSC</GrpSts>".to_owned(), Some(NoticeWord::Accepted)),
        ("<GrpSts>PART</GrpSts>".to_owned(), None),
    ] {
        let message = report(&inside);
        let notice = message.notices.first();
        assert_eq!(notice.map(|notice| notice.word), word, "{inside}");
        assert!(notice.is_none_or(|n| n.whole && n.reference == "SUBMISSION00001"));
    }
    assert_eq!(report("<GrpSts>WHAT</GrpSts>").faults.len(), 1);
}

#[test]
fn a_statement_says_of_which_time_it_is_and_what_is_left() {
    let text = "<Document><BkToCstmrStmt><Stmt><Id>S1</Id><CreDtTm>2026-11-24T06:00:00</CreDtTm>\
        <FrToDt><FrDtTm>2026-11-23T00:00:00+00:00</FrDtTm><ToDtTm>2026-11-23T23:59:59Z</ToDtTm>\
        </FrToDt><Acct><Id><Othr><Id>0000000002</Id></Othr></Id><Ccy>USD</Ccy></Acct>\
        <Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy='USD'>8.50</Amt>\
        <CdtDbtInd>DBIT</CdtDbtInd><Dt><Dt>2026-11-23</Dt></Dt></Bal>\
        <Ntry><Amt Ccy='USD'>3.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>\
        <BookgDt><Dt>2026-11-23</Dt></BookgDt><AcctSvcrRef>FEE-1</AcctSvcrRef>\
        <AddtlNtryInf>wire fees</AddtlNtryInf></Ntry></Stmt></BkToCstmrStmt></Document>";
    let message = read(text).expect("a message");
    assert_eq!(message.faults, [] as [String; 0]);
    let statement = &message.statements[0];
    assert_eq!((statement.id.as_str(), statement.account.as_str()), ("S1", "0000000002"));
    assert_eq!(statement.from, instant("2026-11-23T00:00:00Z"));
    assert_eq!(statement.to, instant("2026-11-24T00:00:00Z"));
    assert_eq!(statement.closing, Some(usd(-850)));
    let line = &statement.lines[0];
    assert_eq!((line.direction, line.amount, &line.reference), (Direction::Out, usd(300), &None));
    assert_eq!((line.text.as_str(), line.is_return), ("wire fees", false));
}

#[test]
fn what_is_no_message_of_a_bank_is_unreadable() {
    let expansion = "<!DOCTYPE d [<!ENTITY a 'b'>]><Document>&a;</Document>";
    for text in ["", "01,MOCKBANK,ACME", "<Document/>", "<Document>", expansion] {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(read(&"<a>".repeat(500_000)).is_err());
    let deep = "<a>".repeat(100_000) + &"</a>".repeat(100_000);
    assert_eq!(read(&deep), Err(Unreadable::OtherMessage));
}

prop_compose! {
    fn any_transfer()(
        reference in "[A-Z0-9]{15}",
        minor in 1i64..1_000_000_000_000,
        name in "[!-~]([ -~]{0,138}[!-~])?",
        account in "[A-Z0-9-]{1,34}",
        street in "([A-Za-z0-9]{1,70})?",
        line in proptest::option::of("[A-Za-z0-9]{1,70}"),
    ) -> CreditTransfer {
        let mut transfer = transfer(&reference, minor);
        transfer.creditor.name = name;
        transfer.creditor.account = account;
        transfer.creditor.address.street = street;
        transfer.creditor.address.lines.extend(line);
        transfer
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_to_the_same_transfers(
        transfers in proptest::collection::vec(any_transfer(), 1..20),
    ) {
        let initiation = initiation(transfers);
        let text = write(&initiation).expect("it fits");
        prop_assert_eq!(read_initiation(&text), Ok(initiation));
    }
}
