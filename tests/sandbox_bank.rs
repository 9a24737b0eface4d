//! The sandbox's bank: files out of one folder, answers into another.

mod loopback;

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use loopback::Loopback;
use payoutd::clock::Clock;
use payoutd::domain::{Notice, NoticeWord};
use payoutd::formats::iso20022::{
    self, Address, CreditTransfer, Initiation, Party, write as write_initiation,
};
use payoutd::formats::nacha::{
    self, Addenda, Batch, Entry, File, FileHeader, ServiceClass, write as write_nacha,
};
use payoutd::sandbox::{PaymentStatus, Sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A Monday, as every day of that week a banking day but for Thursday.
const MONDAY: &str = "2026-11-23";

/// The sandbox's bank between two folders.
struct Bank {
    at: Loopback,
    folder: TempDir,
}

impl Bank {
    async fn open() -> Self {
        let now: DateTime<Utc> = format!("{MONDAY}T14:00:00Z").parse().expect("an instant");
        Self::of(Sandbox::new(Clock::fixed(now)), tempfile::tempdir().expect("a folder")).await
    }

    async fn of(sandbox: Sandbox, folder: TempDir) -> Self {
        sandbox.open_bank(folder.path().join("out"), folder.path().join("in"));
        fs::create_dir_all(folder.path().join("out")).expect("a folder");
        Self { at: Loopback::of(sandbox).await, folder }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    /// Places a finished file.
    fn place(&self, name: &str, text: &str) {
        fs::write(self.out(".unfinished"), text).expect("a file");
        fs::rename(self.out(".unfinished"), self.out(name)).expect("a folder");
    }

    async fn control(&self, path: &str, body: Value) {
        self.at.control("POST", &format!("bank/{path}"), body).await;
    }

    async fn behaves(&self, body: Value) {
        self.control("behaviours", body).await;
    }

    /// Scans, and takes what came as (kind, text), in the order of the kinds.
    async fn answers(&self) -> Vec<(String, String)> {
        self.control("scan", json!({})).await;
        self.taken()
    }

    /// The same after so many more days.
    async fn after(&self, days: u32) -> Vec<(String, String)> {
        self.control("advance", json!({"days": days})).await;
        self.taken()
    }

    fn taken(&self) -> Vec<(String, String)> {
        let Ok(entries) = fs::read_dir(self.folder.path().join("in")) else { return Vec::new() };
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let take = |path: PathBuf| {
            let text = fs::read_to_string(&path).expect("a text");
            fs::remove_file(&path).expect("a file");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(!name.starts_with('.'), "{name}: what is not finished is gone");
            (name.split("-SB-").next().expect("a kind").to_owned(), text)
        };
        paths.into_iter().map(take).collect()
    }

    fn statuses(&self) -> Vec<(String, PaymentStatus)> {
        let rows = self.at.sandbox.books().bank;
        rows.into_iter().map(|row| (row.reference, row.status)).collect()
    }
}

fn kinds(answers: &[(String, String)]) -> Vec<&str> {
    answers.iter().map(|(kind, _)| kind.as_str()).collect()
}

/// References, words and codes of a message.
fn said(text: &str) -> Vec<(String, NoticeWord, Option<String>)> {
    let message = iso20022::read(text).expect("a message");
    assert_eq!(message.faults, Vec::<String>::new());
    let say = |notice: Notice| (notice.reference, notice.word, notice.code);
    message.notices.into_iter().map(say).collect()
}

fn credit(number: usize, account: &str, amount_minor: i64) -> Entry {
    Entry {
        code: "22".to_owned(),
        routing: "021000021".to_owned(),
        account: account.to_owned(),
        amount_minor,
        individual_id: format!("REF{number:012}"),
        name: format!("PAYEE {number}"),
        trace: format!("99999999{number:07}"),
        addenda: Vec::new(),
        line: 0,
    }
}

fn reference(number: usize) -> String {
    format!("REF{number:012}")
}

fn nacha_file(modifier: char, effective: Option<&str>, entries: Vec<Entry>) -> String {
    let header = FileHeader {
        destination: "999999992".to_owned(),
        origin: "1234567890".to_owned(),
        date: "261123".to_owned(),
        time: "0930".to_owned(),
        modifier,
        destination_name: "SANDBOX BANK".to_owned(),
        origin_name: "ACME AFFILIATES".to_owned(),
        reference: String::new(),
    };
    let batch = Batch {
        service_class: ServiceClass::Credits,
        company_name: "ACME AFFILIATES".to_owned(),
        company_id: "1234567890".to_owned(),
        sec: "PPD".to_owned(),
        description: "COMMISSION".to_owned(),
        effective: effective.map(|day| day.parse::<NaiveDate>().expect("a day")),
        odfi: "99999999".to_owned(),
        number: 1,
        entries,
        line: 0,
    };
    write_nacha(&File { header, batches: vec![batch] }).expect("it fits")
}

fn three_credits() -> String {
    let entries = vec![credit(1, "111", 25_000), credit(2, "222", 5_000), credit(3, "333", 7_550)];
    nacha_file('A', Some("2026-11-24"), entries)
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

fn wires(message_id: &str) -> String {
    let wire = |(number, account, minor): (usize, &str, i64)| CreditTransfer {
        end_to_end_id: reference(number),
        amount: payoutd::domain::Money::new(minor, "USD".parse().expect("a currency")),
        creditor: party("Zoe & Söhne <GmbH>", account),
        remittance: String::new(),
    };
    let transfers = [(1, "111", 100_050), (2, "222", 25_025), (3, "333", 50_000)];
    write_initiation(&Initiation {
        message_id: message_id.to_owned(),
        created_at: format!("{MONDAY}T10:00:00Z").parse().expect("an instant"),
        execute_on: MONDAY.parse().expect("a day"),
        debtor: party("ACME AFFILIATES", "0000000002"),
        transfers: transfers.map(wire).into(),
    })
    .expect("it fits")
}

#[tokio::test]
async fn a_nacha_file_is_taken_answered_and_settled_on_the_next_banking_day() {
    let bank = Bank::open().await;
    bank.behaves(json!({"for": "222", "behaviour": "reject", "code": "R02"})).await;
    bank.place("BATCH.ach", &three_credits());
    let answers = bank.answers().await;
    assert_eq!(kinds(&answers), ["nacha.ack"]);
    assert!(!bank.out("BATCH.ach").exists());
    let lines: Vec<_> = answers[0].1.lines().collect();
    assert_eq!(
        lines[2..],
        [
            "FILE 1234567890-2611230930A",
            "NAME BATCH.ach",
            "STATUS PART",
            "ENTRY 999999990000001 REF000000000001 250.00 ACCEPTED 2026-11-24",
            "ENTRY 999999990000002 REF000000000002 50.00 REJECTED R02 the account is closed",
            "ENTRY 999999990000003 REF000000000003 75.50 ACCEPTED 2026-11-24",
        ]
    );
    let accepted = |number| (reference(number), PaymentStatus::Accepted);
    assert_eq!(bank.statuses(), [accepted(1), accepted(3)]);
    assert_eq!(bank.answers().await, [], "nothing happens before its day");

    let answers = bank.after(1).await;
    assert_eq!(kinds(&answers), ["camt.054", "nacha.return"]);
    let booked = |number| (reference(number), NoticeWord::Booked, None);
    assert_eq!(said(&answers[0].1), [booked(1), booked(3)]);
    let returns = nacha::read(answers[1].1.as_bytes()).expect("a file");
    assert_eq!((returns.faults.len(), nacha::sums(&returns).len()), (0, 0));
    let entry = &returns.file.batches[0].entries[0];
    assert_eq!((entry.individual_id.as_str(), entry.amount_minor), ("REF000000000002", 5_000));
    let Addenda::Return(reason) = &entry.addenda[0] else { panic!("{entry:?}") };
    assert_eq!((reason.code.as_str(), reason.original_trace.as_str()), ("R02", "999999990000002"));
    let settled = |number| (reference(number), PaymentStatus::Settled);
    assert_eq!(bank.statuses(), [settled(1), settled(3)]);
    assert_eq!(bank.after(30).await, []);
}

#[tokio::test]
async fn a_credit_comes_back_days_after_it_settled() {
    let bank = Bank::open().await;
    let back = json!({"for": reference(3), "behaviour": "return", "code": "R03", "days": 2});
    bank.behaves(back).await;
    bank.place("BATCH.ach", &three_credits());
    assert_eq!(kinds(&bank.answers().await), ["nacha.ack"]);
    assert_eq!(kinds(&bank.after(1).await), ["camt.054"]);
    // Two banking days, with Thanksgiving between them.
    assert_eq!(bank.after(2).await, []);
    let answers = bank.after(1).await;
    assert_eq!(kinds(&answers), ["camt.054", "nacha.return"]);
    let returned = (reference(3), NoticeWord::Returned, Some("AC01".to_owned()));
    assert_eq!(said(&answers[0].1), [returned]);
    assert!(answers[1].1.contains("799R03999999990000003"));
    assert_eq!(bank.statuses()[2].1, PaymentStatus::Returned);
    assert_eq!(bank.statuses()[0].1, PaymentStatus::Settled);
}

#[tokio::test]
async fn a_correction_comes_beside_the_booking_and_moves_no_money() {
    let bank = Bank::open().await;
    let noc = json!({"for": "111", "behaviour": "noc", "code": "C01", "corrected": "1918171614"});
    bank.behaves(noc).await;
    bank.place("BATCH.ach", &three_credits());
    bank.answers().await;
    let answers = bank.after(1).await;
    assert_eq!(kinds(&answers), ["camt.054", "nacha.noc"]);
    let changes = nacha::read(answers[1].1.as_bytes()).expect("a file");
    assert_eq!((changes.faults.len(), nacha::sums(&changes).len()), (0, 0));
    let batch = &changes.file.batches[0];
    assert_eq!((batch.sec.as_str(), batch.entries[0].amount_minor), ("COR", 0));
    let Addenda::Change(change) = &batch.entries[0].addenda[0] else { panic!("{batch:?}") };
    assert_eq!((change.code.as_str(), change.corrected.as_str()), ("C01", "1918171614"));
    assert_eq!(bank.statuses()[0].1, PaymentStatus::Settled);
    assert_eq!(bank.after(1).await, []);
}

#[tokio::test]
async fn a_silent_bank_pays_and_says_nothing_until_it_speaks_again() {
    let bank = Bank::open().await;
    bank.behaves(json!({"for": "*", "behaviour": "silent"})).await;
    bank.place("BATCH.ach", &three_credits());
    assert_eq!(bank.answers().await, []);
    assert!(!bank.out("BATCH.ach").exists());
    assert_eq!(bank.after(5).await, []);
    assert_eq!(bank.statuses()[0].1, PaymentStatus::Settled);
    bank.behaves(json!({"for": "*", "behaviour": "accept"})).await;
    let answers = bank.answers().await;
    assert_eq!(kinds(&answers), ["camt.054"]);
    assert_eq!(said(&answers[0].1).len(), 3);
}

#[tokio::test]
async fn the_same_file_again_is_refused_and_pays_nothing() {
    let bank = Bank::open().await;
    for (name, text, kind) in
        [("A.ach", three_credits(), "nacha.ack"), ("A.xml", wires("MESSAGE00000001"), "pain.002")]
    {
        bank.place(name, &text);
        bank.answers().await;
        let before = bank.statuses();
        bank.place(name, &text);
        let answers = bank.answers().await;
        assert_eq!(kinds(&answers), [kind]);
        assert!(answers[0].1.contains("RJCT") && answers[0].1.contains("DUPL"), "{answers:?}");
        assert_eq!(bank.statuses(), before);
    }
    let duplicate = wires("MESSAGE00000001");
    bank.place("B.xml", &duplicate);
    let refused = ("MESSAGE00000001".to_owned(), NoticeWord::Duplicate, Some("DUPL".to_owned()));
    assert_eq!(said(&bank.answers().await[0].1), [refused]);
}

#[tokio::test]
async fn a_broken_file_is_refused_as_a_whole_and_may_come_again() {
    let bank = Bank::open().await;
    let good = three_credits();
    bank.place("A.ach", &good.replacen("0000025000", "0000025001", 1));
    let answers = bank.answers().await;
    assert!(answers[0].1.contains("STATUS RJCT FF01"), "{}", answers[0].1);
    bank.place("A.ach", &good);
    assert!(bank.answers().await[0].1.contains("STATUS ACCP"));

    let good = wires("MESSAGE00000001");
    for (broken, code) in [
        (good.replacen("<NbOfTxs>3<", "<NbOfTxs>4<", 1), "AM18"),
        (good.replacen("<CtrlSum>1750.75<", "<CtrlSum>1750.76<", 1), "AM10"),
        (good.replace("EndToEndId", "EndToEnd"), "FF01"),
        ("what is this?".to_owned(), "FF01"),
    ] {
        bank.place("A.xml", &broken);
        let answers = bank.answers().await;
        assert_eq!(kinds(&answers), ["pain.002"]);
        assert_eq!(said(&answers[0].1)[0].2.as_deref(), Some(code));
    }
    bank.place("A.xml", &good);
    assert_eq!(said(&bank.answers().await[1].1).len(), 4);
    assert_eq!(bank.statuses().len(), 6);
}

#[tokio::test]
async fn wires_are_answered_and_booked_on_the_same_day_and_may_come_back() {
    let bank = Bank::open().await;
    bank.behaves(json!({"for": "222", "behaviour": "reject", "code": "AC04"})).await;
    bank.behaves(json!({"for": "333", "behaviour": "return", "code": "AC04", "days": 2})).await;
    bank.place("WIRES.xml", &wires("MESSAGE00000001"));
    let answers = bank.answers().await;
    assert_eq!(kinds(&answers), ["camt.054", "pain.002"]);
    let code = Some("AC04".to_owned());
    assert_eq!(
        said(&answers[1].1),
        [
            (reference(1), NoticeWord::Accepted, None),
            (reference(2), NoticeWord::Refused, code.clone()),
            (reference(3), NoticeWord::Accepted, None),
        ]
    );
    let booked = |number| (reference(number), NoticeWord::Booked, None);
    assert_eq!(said(&answers[0].1), [booked(1), booked(3)]);
    let answers = bank.after(2).await;
    assert_eq!(kinds(&answers), ["camt.054", "pacs.004"]);
    let returned = [(reference(3), NoticeWord::Returned, code)];
    assert_eq!((said(&answers[0].1), said(&answers[1].1)), (returned.to_vec(), returned.to_vec()));
}

#[tokio::test]
async fn a_statement_holds_every_booking_of_its_days_and_balances() {
    let bank = Bank::open().await;
    bank.behaves(json!({"for": "333", "behaviour": "return", "days": 1})).await;
    bank.place("WIRES.xml", &wires("MESSAGE00000001"));
    bank.answers().await;
    bank.after(1).await;
    for (from, to, lines, closing) in [
        ("2026-11-23", "2026-11-24", 4, 1_000_000_000 - 125_075),
        ("2026-11-24", "2026-11-24", 1, 1_000_000_000 - 125_075),
        ("2026-11-25", "2026-11-26", 0, 1_000_000_000 - 125_075),
        ("2026-11-20", "2026-11-23", 3, 1_000_000_000 - 175_075),
    ] {
        bank.control("statement", json!({"from": from, "to": to})).await;
        let answers = bank.taken();
        assert_eq!(kinds(&answers), ["camt.053"]);
        let message = iso20022::read(&answers[0].1).expect("a message");
        assert_eq!(message.faults, Vec::<String>::new());
        let statement = &message.statements[0];
        assert_eq!((statement.account.as_str(), statement.lines.len()), ("0000000002", lines));
        assert_eq!(statement.closing.map(|money| money.minor), Some(closing));
    }
}

#[tokio::test]
async fn everything_may_settle_at_once_and_without_being_told_to_look() {
    let bank = Bank::open().await;
    bank.at.sandbox.settle_at_once(true);
    bank.place("BATCH.ach", &three_credits());
    for _ in 0..300 {
        if !bank.out("BATCH.ach").exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(kinds(&bank.answers().await), ["camt.054", "nacha.ack"]);
    assert_eq!(bank.statuses()[0].1, PaymentStatus::Settled);
}

#[tokio::test]
async fn unfinished_files_are_left_alone() {
    let bank = Bank::open().await;
    let names = [".BATCH.ach.tmp", ".BATCH.ach", "BATCH.ach.tmp", "BATCH.ach.part"];
    names.iter().for_each(|name| bank.place(name, &three_credits()));
    assert_eq!(bank.answers().await, []);
    assert!(names.iter().all(|name| bank.out(name).exists()));
}

#[tokio::test]
async fn days_are_the_banks_own() {
    let bank = Bank::open().await;
    let credit = |modifier, effective| nacha_file(modifier, effective, vec![credit(1, "1", 1)]);
    // Same day; too early; over Thanksgiving; on a Saturday.
    for (modifier, effective, on) in [
        ('A', Some("2026-11-23"), "2026-11-23"),
        ('B', Some("2026-11-20"), "2026-11-24"),
        ('C', Some("2026-11-26"), "2026-11-27"),
        ('D', Some("2026-11-28"), "2026-11-30"),
    ] {
        bank.place("BATCH.ach", &credit(modifier, effective));
        let answers = bank.answers().await;
        let ack = answers.iter().find(|(kind, _)| kind == "nacha.ack").expect("an answer");
        assert!(ack.1.contains(&format!("ACCEPTED {on}")), "{}", ack.1);
    }
}

#[tokio::test]
async fn a_killed_bank_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("sandbox.journal");
    let now: DateTime<Utc> = format!("{MONDAY}T14:00:00Z").parse().expect("an instant");
    let life = || {
        let clock = Clock::fixed(now);
        Sandbox::with_journal(clock, Some(journal.clone())).expect("a journal")
    };
    let first = Bank::of(life(), tempfile::tempdir().expect("a folder")).await;
    first.place("BATCH.ach", &three_credits());
    first.answers().await;
    let Bank { at, folder } = first;
    drop(at);
    let second = Bank::of(life(), folder).await;
    second.place("BATCH.ach", &three_credits());
    assert!(second.answers().await[0].1.contains("DUPL"));
    let answers = second.after(1).await;
    assert_eq!(kinds(&answers), ["camt.054"]);
    assert_eq!(second.statuses().len(), 3);
}

#[tokio::test]
async fn the_bank_shows_its_day_its_manners_and_what_it_was_handed() {
    let nobody = Loopback::open().await;
    let shown = nobody.control("GET", "bank", json!(null)).await;
    assert_eq!((&shown["folders"], &shown["payments"]), (&json!([]), &json!([])));
    let bank = Bank::open().await;
    bank.behaves(json!({"for": "1", "behaviour": "return", "days": 2})).await;
    bank.place("BATCH.ach", &three_credits());
    bank.after(1).await;
    let shown = bank.at.control("GET", "bank", json!(null)).await;
    assert_eq!(shown["today"], "2026-11-24");
    assert_eq!(shown["behaviours"][0]["for"], "1");
    assert_eq!(shown["payments"].as_array().map(Vec::len), Some(3));
    let books = bank.at.control("GET", "books", json!(null)).await;
    let row = json!({"reference": "REF000000000001", "recipient": "111", "currency": "USD",
                     "amount": "250.00", "status": "settled"});
    assert_eq!(books["bank"][0], row);
}

#[tokio::test]
async fn letters_are_lost_doubled_and_torn_like_answers_over_a_wire() {
    let bank = Bank::open().await;
    let fault = |on: &str, fault: &str| json!({"on": on, "fault": fault});
    for fault in [
        fault("DROP /nacha.ack", "lost_response"),
        fault("DROP /camt.054", "doubled"),
        fault("DROP /pain.002", "garbled"),
    ] {
        bank.at.control("POST", "faults", fault).await;
    }
    bank.place("BATCH.ach", &three_credits());
    assert_eq!(bank.answers().await, []);
    let answers = bank.after(1).await;
    assert_eq!(kinds(&answers), ["camt.054", "camt.054"]);
    assert_eq!(answers[0].1, answers[1].1);
    bank.place("WIRES.xml", &wires("MESSAGE00000001"));
    let answers = bank.answers().await;
    assert_eq!(kinds(&answers), ["camt.054", "pain.002"]);
    assert!(iso20022::read(&answers[1].1).is_err());
}
