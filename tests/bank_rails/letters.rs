//! What banks drop, and what is made of it.

use std::collections::BTreeMap;

use payoutd::domain::NoticeWord;
use payoutd::formats::nacha::{
    self, Addenda, Batch, Change, Entry, FileHeader, Return, ServiceClass,
};
use payoutd::providers::{Provider, Standing};

use super::*;

const OURS: &str = "PAYOUT000000001";

fn payment() -> Outgoing {
    outgoing(vec![item(OURS, 10_000, destination(MethodKind::Ach, &[]))])
}

/// A file of one entry that comes back from a bank.
fn from_the_bank(sec: &str, code: &str, individual_id: &str, addenda: Addenda) -> String {
    let amount_minor = if sec == "COR" { 0 } else { 10_000 };
    let entry = Entry {
        code: code.to_owned(),
        routing: "999999992".to_owned(),
        account: "12345678901".to_owned(),
        amount_minor,
        individual_id: individual_id.to_owned(),
        name: "ALEX AFFILIATE".to_owned(),
        trace: "999999990000001".to_owned(),
        addenda: vec![addenda],
        line: 0,
    };
    let batch = Batch {
        service_class: if entry.is_debit() { ServiceClass::Debits } else { ServiceClass::Credits },
        company_name: "ACME AFFILIATES".to_owned(),
        company_id: "0000000001".to_owned(),
        sec: sec.to_owned(),
        description: "RETURN".to_owned(),
        effective: "2026-11-25".parse().ok(),
        odfi: "99999999".to_owned(),
        number: 1,
        entries: vec![entry],
        line: 0,
    };
    let header = FileHeader {
        destination: "0000000001".to_owned(),
        origin: "999999992".to_owned(),
        date: "261125".to_owned(),
        time: "0900".to_owned(),
        modifier: 'A',
        destination_name: "ACME AFFILIATES".to_owned(),
        origin_name: "A BANK".to_owned(),
        reference: String::new(),
    };
    nacha::write(&nacha::File { header, batches: vec![batch] }).expect("it fits")
}

fn returned(code: &str) -> Addenda {
    Addenda::Return(Return {
        code: code.to_owned(),
        original_trace: "999999990010001".to_owned(),
        original_rdfi: "02100002".to_owned(),
        text: String::new(),
    })
}

fn changed(code: &str, corrected: &str) -> Addenda {
    Addenda::Change(Change {
        code: code.to_owned(),
        original_trace: "999999990010001".to_owned(),
        original_rdfi: "02100002".to_owned(),
        corrected: corrected.to_owned(),
    })
}

#[tokio::test]
async fn a_return_says_why_and_whether_the_account_is_at_fault() {
    for (code, of_method) in [
        ("R02", true),
        ("R03", true),
        ("R04", true),
        ("R14", true),
        ("R15", true),
        ("R16", true),
        ("R17", true),
        ("R20", true),
        ("R06", false),
        ("R23", false),
        ("R01", false),
        ("R97", false),
    ] {
        let desk = ach(|_| {});
        let mut payment = payment();
        desk.send(&payment).await;
        let file = from_the_bank("PPD", "21", OURS, returned(code));
        let letter = desk.letter("returns.ach", file).await;
        assert_eq!((letter.kind.as_str(), letter.problem.clone()), ("nacha_return", None));
        hear(&mut payment, &letter);
        let report = desk.reports(&payment).await.remove(0);
        assert_eq!((report.standing, report.amount), (Standing::Returned, Some(usd(10_000))));
        let problem = report.problem.expect("a reason");
        assert_eq!((problem.code.as_str(), problem.of_method), (code, of_method));
    }
}

#[tokio::test]
async fn a_notification_of_change_brings_the_right_fields_and_moves_nothing() {
    let desk = ach(|_| {});
    let mut payment = payment();
    desk.send(&payment).await;
    desk.pick_up();
    let file = from_the_bank("COR", "21", OURS, changed("C03", "091000019   1918171614"));
    let letter = desk.letter("changes.ach", file).await;
    assert_eq!((letter.kind.as_str(), letter.problem.clone()), ("nacha_change", None));
    let notice = &letter.notices[0];
    let right = BTreeMap::from([
        ("accountNumber".to_owned(), "1918171614".to_owned()),
        ("routingNumber".to_owned(), "091000019".to_owned()),
    ]);
    assert_eq!((notice.word, &notice.correction), (NoticeWord::Corrected, &right));
    hear(&mut payment, &letter);
    let report = desk.reports(&payment).await.remove(0);
    assert_eq!(report.standing, Standing::Open);
    assert!(report.note.expect("a note").contains("C03"));
    let settled = desk.reports(&later(&payment, 30)).await.remove(0);
    assert_eq!(settled.standing, Standing::Settled);
}

#[tokio::test]
async fn what_is_not_about_a_payment_of_ours_is_kept_for_a_person() {
    for (name, file) in [
        ("a dispute over a return", from_the_bank("PPD", "21", OURS, returned("R68"))),
        ("a debit of ours came back", from_the_bank("PPD", "26", OURS, returned("R01"))),
        ("no reference", from_the_bank("PPD", "21", "", returned("R03"))),
    ] {
        let desk = ach(|_| {});
        let letter = desk.letter("file", file).await;
        assert_eq!(letter.notices, [], "{name}");
        assert!(letter.problem.is_some(), "{name}");
        assert_eq!(desk.files("archive/received"), ["file"], "{name}");
    }
}

/// A bank may be about to pick it up there: two folders may have been mixed up.
#[tokio::test]
async fn a_file_of_payments_in_an_inbox_is_told_and_left_where_it_lies() {
    let message = contract("recorded/wire/outbound-pain001.xml");
    for file in [ach(|_| {}).rail.render(&payment()).into_bytes(), message] {
        let desk = ach(|_| {});
        desk.drop_in("file", file);
        let letters = desk.rail.collect().await.expect("an inbox");
        assert!(letters[0].problem.is_some() && letters[0].notices.is_empty());
        desk.rail.put_away(&letters[0]).await.expect("it is left");
        assert_eq!(desk.files("inbox"), ["file"]);
    }
}

#[tokio::test]
async fn a_file_that_nobody_can_read_is_kept_apart_and_one_that_nobody_needs_is_kept() {
    let bai2 = contract("recorded/ach/bai2.statement-1.bai2");
    for (name, bytes, kind, folder) in [
        ("empty", Vec::new(), "unreadable", "archive/unreadable"),
        ("noise", vec![0xff; 300], "unreadable", "archive/unreadable"),
        ("words", b"Dear customer,".to_vec(), "unreadable", "archive/unreadable"),
        ("broken.xml", b"<Document><a></Document>".to_vec(), "unreadable", "archive/unreadable"),
        ("other.xml", b"<Document/>".to_vec(), "unreadable", "archive/unreadable"),
        ("statement.bai2", bai2, "bai2", "archive/received"),
    ] {
        let desk = ach(|_| {});
        let letter = desk.letter(name, bytes).await;
        assert_eq!(letter.kind, kind, "{name}");
        assert_eq!(letter.problem.is_some(), kind == "unreadable", "{name}");
        assert_eq!(desk.files(folder), [name]);
    }
}

#[tokio::test]
async fn a_file_that_is_readable_in_part_gives_that_part_and_a_problem() {
    let desk = ach(|_| {});
    let whole = contract("recorded/ach/nacha.return-1.ach");
    let cut = &whole[..whole.len() / 3];
    let letter = desk.letter("cut.ach", cut).await;
    assert_eq!(letter.notices.len(), 1);
    let problem = letter.problem.expect("a problem");
    assert_eq!(problem.code, "partly_unreadable");
    assert!(problem.message.contains("without its control"), "{problem}");
    // Latin-1 that says so is read; what says UTF-8 and is not, is not.
    let latin = |encoding: &str| {
        let text = format!(
            "<?xml version='1.0' encoding='{encoding}'?><Document><PmtRtr><TxInf>\
            <OrgnlEndToEndId>{OURS}</OrgnlEndToEndId><RtrRsnInf><AddtlInf>Zo@</AddtlInf></RtrRsnInf>\
            </TxInf></PmtRtr></Document>"
        );
        text.bytes().map(|b| if b == b'@' { 0xeb } else { b }).collect::<Vec<_>>()
    };
    let letter = desk.letter("latin.xml", latin("ISO-8859-1")).await;
    assert_eq!(letter.notices[0].message.as_deref(), Some("Zoë"));
    assert_eq!(desk.letter("wrong.xml", latin("UTF-8")).await.kind, "unreadable");
}

#[tokio::test]
async fn unfinished_files_are_left_alone_and_letters_of_one_name_are_both_kept() {
    let desk = ach(|_| {});
    for name in [".hidden.ach", "half.part", "half.TMP"] {
        desk.drop_in(name, "half");
    }
    assert_eq!(desk.rail.collect().await, Ok(Vec::new()));
    for name in [".hidden.ach", "half.part", "half.TMP"] {
        fs::remove_file(desk.path("inbox").join(name)).expect("it is there");
    }
    let first = desk.letter("returns.ach", from_the_bank("PPD", "21", OURS, returned("R02"))).await;
    let second =
        desk.letter("returns.ach", from_the_bank("PPD", "21", OURS, returned("R03"))).await;
    assert_ne!(first.hash, second.hash);
    let same = desk.letter("returns.ach", from_the_bank("PPD", "21", OURS, returned("R03"))).await;
    assert_eq!(same, second);
    let kept = desk.files("archive/received");
    assert_eq!(kept, [format!("{}-returns.ach", &second.hash[..16]), "returns.ach".to_owned()]);
    desk.rail.put_away(&second).await.expect("what is away is away");
}

#[tokio::test]
async fn a_letter_that_changed_since_it_was_read_is_not_put_away() {
    let desk = ach(|_| {});
    desk.drop_in("growing", "half");
    let letter = desk.rail.collect().await.expect("an inbox").remove(0);
    desk.drop_in("growing", "half and the other half");
    let problem = desk.rail.put_away(&letter).await.expect_err("it is another file");
    assert_eq!(problem.code, "letter_changed");
    assert_eq!(desk.files("inbox"), ["growing"]);
}

/// What an acknowledgement says, and where the payment stands after it.
async fn acknowledged(text: &str) -> (Letter, ItemReport) {
    let desk = ach(|_| {});
    let mut payment = payment();
    desk.send(&payment).await;
    desk.pick_up();
    let letter = desk.letter("ack.txt", text).await;
    assert_eq!(letter.kind, "nacha_ack");
    hear(&mut payment, &letter);
    let report = desk.reports(&later(&payment, 30)).await.remove(0);
    (letter, report)
}

#[tokio::test]
async fn an_acknowledgement_of_the_whole_finds_our_file_by_its_name_or_its_identity() {
    for file in ["FILE 0000000001-2611230000A", "FILE x\nNAME SUBMISSION00001.ach"] {
        let text = format!("Acknowledgement 7\n{file}\nSTATUS RJCT FF01 the file is broken\n");
        let (letter, report) = acknowledged(&text).await;
        assert_eq!(letter.notices[0].reference, "SUBMISSION00001", "{file}");
        assert_eq!(report.standing, Standing::Rejected);
        let problem = report.problem.expect("a reason");
        assert_eq!(
            (problem.code.as_str(), problem.message.as_str()),
            ("FF01", "the file is broken")
        );
    }
    let (letter, report) = acknowledged("FILE 0000000001-2611239999A\nSTATUS RJCT FF01\n").await;
    assert_eq!(letter.notices[0].reference, "0000000001-2611239999A");
    assert_eq!(report.standing, Standing::Settled, "it is about another file");
}

#[tokio::test]
async fn a_refusal_of_the_whole_puts_no_payees_account_at_fault() {
    let (letter, report) =
        acknowledged("FILE x\nNAME SUBMISSION00001.ach\nSTATUS RJCT AC04\n").await;
    assert_eq!(letter.notices[0].code, None);
    let problem = report.problem.expect("a reason");
    assert!(!problem.of_method && problem.message.starts_with("AC04"), "{problem}");
}

#[tokio::test]
async fn a_duplicate_says_neither_paid_nor_refused_and_silence_does_not_settle_it() {
    for text in [
        "FILE x\nNAME SUBMISSION00001.ach\nSTATUS RJCT DUPL we have had this file\n".to_owned(),
        format!("FILE x\nSTATUS PART\nENTRY 1 {OURS} 100.00 REJECTED AM05 we have had this\n"),
    ] {
        let (_, report) = acknowledged(&text).await;
        assert_eq!(report.standing, Standing::Open, "{text}");
        assert!(report.problem.is_some());
    }
}

#[tokio::test]
async fn an_acknowledgement_with_lines_that_make_no_sense_gives_the_others() {
    let text = format!(
        "ACKNOWLEDGEMENT 7\nFILE x\nSTATUS WHAT\nENTRY\nENTRY 1 {OURS} 1e2 ACCEPTED 2026-11-24\n\
         ENTRY 1 {OURS} MAYBE\nENTRY 1 {OURS} 100.00 accepted 2026-11-24\n"
    );
    let (letter, report) = acknowledged(&text).await;
    assert_eq!(letter.notices.len(), 1);
    assert_eq!(letter.notices[0].amount, Some(usd(10_000)));
    assert_eq!(letter.problem.map(|problem| problem.message.matches("line").count()), Some(4));
    assert_eq!(report.standing, Standing::Settled);
}

/// A pacs.004 or camt.054 in its shortest form.
fn came_back(amount: &str) -> String {
    format!(
        "<Document><PmtRtr><TxInf><OrgnlEndToEndId>{OURS}</OrgnlEndToEndId>\
         <RtrdIntrBkSttlmAmt Ccy='USD'>{amount}</RtrdIntrBkSttlmAmt></TxInf></PmtRtr></Document>"
    )
}

fn booked(amount: &str, number: &str) -> String {
    format!(
        "<Document><BkToCstmrDbtCdtNtfctn><Ntfctn><Ntry><Amt Ccy='USD'>{amount}</Amt>\
         <CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><AcctSvcrRef>{number}</AcctSvcrRef>\
         <NtryDtls><TxDtls><Refs><EndToEndId>{OURS}</EndToEndId></Refs></TxDtls></NtryDtls></Ntry>\
         </Ntfctn></BkToCstmrDbtCdtNtfctn></Document>"
    )
}

async fn after(letters: &[String]) -> ItemReport {
    let desk = wire(|_| {});
    let mut payment = outgoing(vec![item(OURS, 10_000, destination(MethodKind::Wire, &[]))]);
    desk.send(&payment).await;
    desk.pick_up();
    for letter in letters {
        hear(&mut payment, &desk.letter("letter.xml", letter).await);
    }
    desk.reports(&payment).await.remove(0)
}

#[tokio::test]
async fn what_comes_back_in_part_and_what_is_booked_otherwise_is_for_a_person() {
    let report = after(&[booked("100.00", "1"), came_back("85.00")]).await;
    assert_eq!((report.standing, report.amount), (Standing::Settled, Some(usd(10_000))));
    let problem = report.problem.expect("a problem");
    assert_eq!(problem.code, "partly_returned");
    assert!(problem.message.starts_with("85.00 USD of 100.00 USD came back"), "{problem}");
    let report = after(&[booked("99.00", "1")]).await;
    assert_eq!((report.standing, report.amount), (Standing::Settled, Some(usd(9_900))));
    let report = after(&[booked("100.00", "1"), booked("100.00", "2")]).await;
    assert!(report.note.expect("a note").contains("several numbers (1, 2)"));
}

#[tokio::test]
async fn a_booking_outweighs_a_refusal_and_the_contradiction_is_noted() {
    let refusal = format!(
        "<Document><CstmrPmtStsRpt><OrgnlPmtInfAndSts><TxInfAndSts><OrgnlEndToEndId>{OURS}\
         </OrgnlEndToEndId><TxSts>RJCT</TxSts></TxInfAndSts></OrgnlPmtInfAndSts></CstmrPmtStsRpt>\
         </Document>"
    );
    let report = after(&[refusal, booked("100.00", "1")]).await;
    assert_eq!(report.standing, Standing::Settled);
    assert!(report.note.expect("a note").starts_with("refused"));
}

/// What a fault of a line may do to a letter: bytes cut out, and others put in.
#[tokio::test]
async fn no_letter_whatever_stops_the_collector() {
    let letters = [
        "ach/nacha.ack-1.txt",
        "ach/nacha.return-1.ach",
        "ach/camt.054.001.08-2.xml",
        "wire/pain.002.001.10-1.xml",
        "wire/camt.053.001.08-1.xml",
        "wire/pacs.004.001.09-1.xml",
    ];
    let desk = ach(|_| {});
    for name in letters {
        let whole = contract(&format!("recorded/{name}"));
        for at in (0..whole.len()).step_by(23) {
            let mut bytes = whole.clone();
            bytes.drain(at..(at + 7).min(whole.len()));
            desk.drop_in("cut", &bytes);
            bytes.splice(at.min(bytes.len())..at.min(bytes.len()), [0xff, b'9', b' ', 0]);
            desk.drop_in("spoilt", &bytes);
            desk.drop_in("end", &whole[..at]);
            assert_eq!(desk.rail.collect().await.expect("an inbox").len(), 3, "{name} at {at}");
        }
    }
}
