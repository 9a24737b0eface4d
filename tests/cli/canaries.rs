//! Canaries: account numbers that stand nowhere else are sent in, paid to, corrected and tampered
//! with at the most talkative level of the log. Afterwards they are in the bank's files and in what
//! was imported, and in nothing that payoutd keeps or says.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::place::Place;
use crate::rail::Rail;

on_both!(an_account_number_is_found_nowhere_but_in_the_banks_own_files);

/// Paid to by ACH.
const ACCOUNT: &str = "70605040302017";
/// What the bank says that it is instead.
const CORRECTED: &str = "70605040302025";
/// In a row that differs from what is on file.
const DIFFERENT: &str = "70605040302033";
/// In a row that is refused.
const REFUSED: &str = "70605040302041";
/// The part that all of them share.
const CANARY: &str = "706050403020";
/// Paid to by PayPal, and not the affiliate's own address.
const PAYEE: &str = "canary.payee@canary.example";
/// The master key of a server's database.
const MASTER_KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

const PROGRAMS: &str = "\
program,title,currency,hold_days,min_payout,auto_credit,auto_payout
creator,Creator,USD,0,1.00,true,true
";
const COMMISSIONS: &str = "\
commission_id,affiliate_id,order_id,order_amount,amount,currency,converted_at
c-1,ana,o-1,100.00,10.00,USD,1997-03-01T12:00:00Z
c-2,ben,o-2,100.00,20.00,USD,1997-03-01T12:00:00Z
c-3,cid,o-3,100.00,30.00,USD,1997-03-01T12:00:00Z
";

fn affiliates(account: &str) -> String {
    let bank = |account: &str, routing: &str| {
        format!(
            r#""{{""routingNumber"":""{routing}"",""accountNumber"":""{account}"",""accountType"":""checking"",""accountHolderName"":""Ana""}}""#
        )
    };
    let (good, bad) = (bank(account, "999999992"), bank(REFUSED, "999999991"));
    format!(
        "affiliate_id,program,partner_id,name,email,code,status,method,destination,method_status\n\
         ana,creator,p-1,Ana,ana@example.com,ANA,active,ach,{good},verified\n\
         ben,creator,p-2,Ben,ben@example.com,BEN,active,paypal,\"{{\"\"email\"\":\"\"{PAYEE}\"\"}}\",verified\n\
         cid,creator,p-3,Cid,cid@example.com,CID,active,ach,{good},verified\n\
         eve,creator,p-4,Eve,eve@example.com,EVE,active,ach,{bad},verified\n"
    )
}

fn with_bank(place: &mut Place) -> Rail {
    for (kind, key) in [("outbox", "OUTBOX"), ("inbox", "INBOX"), ("archive", "ARCHIVE")] {
        let folder = place.path(format!("bank/{kind}"));
        std::fs::create_dir_all(&folder).expect("a folder of ours");
        place.set(&format!("PROVIDERS__ACH__{key}"), folder.display());
    }
    for (key, value) in [
        ("IMMEDIATE_DESTINATION", "999999992"),
        ("IMMEDIATE_DESTINATION_NAME", "BANK"),
        ("IMMEDIATE_ORIGIN", "0000000001"),
        ("IMMEDIATE_ORIGIN_NAME", "SHOP"),
        ("COMPANY_NAME", "SHOP"),
        ("COMPANY_ID", "0000000001"),
        ("ODFI", "99999999"),
    ] {
        place.set(&format!("PROVIDERS__ACH__{key}"), value);
    }
    place.set("LOG__LEVEL", "trace");
    let folder = |kind: &str| place.path(format!("bank/{kind}")).display().to_string();
    let (outbox, inbox) = (folder("outbox"), folder("inbox"));
    let more = ["--bank-outbox", &outbox, "--bank-inbox", &inbox, "--bank-settles-at-once"];
    Rail::start_with(place, &more)
}

/// Where an account number may stand: in what was brought, in what is the bank's, and in the rows
/// that are given back to be mended.
fn is_known_place(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.starts_with("data")
        || path.starts_with("bank")
        || name.ends_with(".rejects.csv")
        // The sandbox's own books.
        || name.starts_with("payoutd-sandbox-")
}

/// No canary is in any file, or row, that is payoutd's.
#[track_caller]
fn search(place: &Place, when: &str) {
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let mut known = 0;
    for (path, bytes) in place.files() {
        let found = holds(&bytes, CANARY) || holds(&bytes, PAYEE);
        if is_known_place(&path) {
            known += u32::from(found);
            continue;
        }
        assert!(!found, "{when}: {} holds an account number", path.display());
        let is_key = path.to_string_lossy().ends_with(".master-key");
        assert!(is_key || !holds(&bytes, MASTER_KEY), "{when}: {} holds the key", path.display());
    }
    assert!(known > 0, "{when}: the canaries are nowhere, so this proves nothing");
    for row in place.rows() {
        assert!(!row.contains(CANARY) && !row.contains(PAYEE), "{when}: {row}");
        assert!(!row.contains(MASTER_KEY), "{when}: {row}");
    }
}

fn an_account_number_is_found_nowhere_but_in_the_banks_own_files(mut place: Place) {
    let rail = with_bank(&mut place);
    place.write("data/programs.csv", PROGRAMS);
    place.write("data/commissions.csv", COMMISSIONS);
    place.write("data/affiliates.csv", affiliates(ACCOUNT));
    place.write("data/other/affiliates.csv", affiliates(DIFFERENT));
    place.run(&["import", "data", "--org", "acme"]).code(3);
    // The same people with another account: told, and not taken over.
    place.run(&["import", "data/other/affiliates.csv", "--org", "acme"]).code(3);
    let rejects: Vec<_> = place
        .files()
        .into_iter()
        .filter(|(path, _)| path.ends_with("affiliates.rejects.csv"))
        .collect();
    assert!(!rejects.is_empty());
    for (path, bytes) in rejects {
        assert!(String::from_utf8_lossy(&bytes).contains(REFUSED), "{}", path.display());
        let mode = std::fs::metadata(place.path(&path)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: for its owner alone", path.display());
    }
    search(&place, "after the import");

    for job in ["release-holds", "auto-payout"] {
        place.run(&["job", "run", job]).code(0);
    }
    // Somebody changed what is sealed, or took its key away: what is said of it tells nothing.
    place.tamper("UPDATE destinations SET sealed = sealed || 'AAAA'");
    assert!(place.run(&["method", "list"]).code(0).out.contains("(unreadable)"));
    place.run(&["vault", "status"]).code(0);
    place.tamper("UPDATE destinations SET sealed = substr(sealed, 1, length(sealed) - 4)");
    place.tamper("UPDATE destinations SET sealed = 'x' || sealed, key_id = 'x' || key_id");
    place.run(&["job", "run", "submit-transfers"]).code(3);
    place.tamper("UPDATE destinations SET sealed = substr(sealed, 2), key_id = substr(key_id, 2)");
    search(&place, "after an error");

    let noc = json!({"for": ACCOUNT, "behaviour": "noc", "code": "C01", "corrected": CORRECTED});
    assert_eq!(rail.call("POST", "/_sandbox/bank/behaviours", &noc.to_string()).0, 204);
    place.run(&["job", "run", "submit-transfers"]).code(0);
    assert_eq!(rail.call("POST", "/_sandbox/bank/scan", "").0, 204);
    place.run(&["job", "run", "reconcile-transfers"]).code(0);
    place.write("bank/inbox/broken.xml", format!("<Document><A>{ACCOUNT}</A>"));
    place.run(&["job", "run", "reconcile-transfers"]);
    let payouts = place.json(&["payout", "list"]);
    for payout in payouts.as_array().expect("a list") {
        let id = payout["payout_id"].as_str().expect("an id");
        place.run(&["payout", "show", id]).code(0);
    }
    for arguments in [
        &["affiliate", "explain", "ana"][..],
        &["summary"],
        &["alert", "list"],
        &["reconcile", "breaks"],
        &["doctor"],
        &["config", "show"],
        &["check"],
        &["vault", "status"],
        &["vault", "rotate"],
    ] {
        place.run(arguments);
    }
    search(&place, "after the cycle");
    for (folder, account) in [("sent", ACCOUNT), ("received", CORRECTED), ("unreadable", ACCOUNT)] {
        let folder = Path::new("bank/archive").join(folder);
        let mut files = place.files().into_iter().filter(|(path, _)| path.starts_with(&folder));
        let found = files.any(|(_, bytes)| String::from_utf8_lossy(&bytes).contains(account));
        assert!(found, "{account} went by {}", folder.display());
    }

    // While a daemon has the database open, with its write-ahead log beside it.
    let daemon = place.start(&["run"]);
    crate::process::soon("the daemon is up", || daemon.err().contains("daemon").then_some(()));
    place.run(&["vault", "rotate"]).code(0);
    search(&place, "while the daemon runs");
    daemon.signal("TERM");
    daemon.ended().code(0);
    search(&place, "at the end");
}
