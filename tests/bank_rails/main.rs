//! The rails that work by file, without a database: formats against the samples of others, the
//! recorded exchanges with a bank, the outbox under crashes, letters of every kind.

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use payoutd::domain::{Destination, MethodKind, Money, Reference};
use payoutd::providers::{
    Ach, AchSettings, Found, ItemReport, Letter, Outgoing, OutgoingItem, Provider, Sent, Wire,
    WireSettings,
};

mod files;
mod letters;
mod outbox;
mod replay;
mod samples;

/// A file of `tests/contracts`.
fn contract(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/contracts").join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A rail with folders of its own.
struct Desk<P> {
    rail: P,
    folder: tempfile::TempDir,
}

/// The settings that the recorded exchange was made with.
fn ach_settings(folder: &std::path::Path) -> AchSettings {
    let path = |name: &str| folder.join(name).display().to_string();
    let text = str::to_owned;
    AchSettings {
        outbox: path("outbox"),
        inbox: path("inbox"),
        archive: path("archive"),
        batch_size: 500,
        immediate_destination: text("999999992"),
        immediate_destination_name: text("MOCK BANK"),
        immediate_origin: text("0000000001"),
        immediate_origin_name: text("ACME AFFILIATES"),
        company_name: text("ACME AFFILIATES"),
        company_id: text("0000000001"),
        odfi: text("99999999"),
        entry_description: text("COMMISSION"),
        same_day: false,
        same_day_margin_min: 45,
        offset_routing: String::new(),
        offset_account: String::new(),
        offset_account_type: text("checking"),
        settle_after_banking_days: 2,
    }
}

fn wire_settings(folder: &std::path::Path) -> WireSettings {
    let path = |name: &str| folder.join(name).display().to_string();
    let text = str::to_owned;
    WireSettings {
        outbox: path("outbox"),
        inbox: path("inbox"),
        archive: path("archive"),
        batch_size: 100,
        debtor_name: text("ACME AFFILIATES"),
        debtor_account: text("0000000002"),
        debtor_routing: text("999999992"),
        debtor_street: text("Main Street"),
        debtor_building: text("1"),
        debtor_postal_code: text("83702"),
        debtor_city: text("Boise"),
        debtor_state: text("ID"),
        debtor_country: text("US"),
        address: text("structured"),
        remittance: text("Affiliate commission"),
    }
}

fn folders() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["outbox", "inbox", "archive"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    folder
}

fn ach(change: impl FnOnce(&mut AchSettings)) -> Desk<Ach> {
    let folder = folders();
    let mut settings = ach_settings(folder.path());
    change(&mut settings);
    Desk { rail: Ach::new(settings).expect("usable settings"), folder }
}

fn wire(change: impl FnOnce(&mut WireSettings)) -> Desk<Wire> {
    let folder = folders();
    let mut settings = wire_settings(folder.path());
    change(&mut settings);
    Desk { rail: Wire::new(settings).expect("usable settings"), folder }
}

impl<P: Provider> Desk<P> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Files of a folder, in the order of their names.
    fn files(&self, folder: &str) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let name = |file: fs::DirEntry| file.file_name().into_string().expect("a name");
        let mut names: Vec<String> = files.map(|file| name(file.expect("a file"))).collect();
        names.retain(|name| name != ".lock");
        names.sort();
        names
    }

    async fn send(&self, outgoing: &Outgoing) -> Sent {
        self.rail.send(outgoing, &self.rail.render(outgoing)).await
    }

    /// The bank takes what lies in the outbox.
    fn pick_up(&self) {
        for name in self.files("outbox") {
            fs::remove_file(self.path("outbox").join(name)).expect("it is taken");
        }
    }

    /// The bank drops a file.
    fn drop_in(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path("inbox").join(name), bytes).expect("it is dropped");
    }

    /// The one letter that these bytes are; it is put away.
    async fn letter(&self, name: &str, bytes: impl AsRef<[u8]>) -> Letter {
        self.drop_in(name, bytes);
        let mut letters = self.rail.collect().await.expect("an inbox");
        assert_eq!(letters.len(), 1);
        let letter = letters.remove(0);
        self.rail.put_away(&letter).await.expect("it is put away");
        assert_eq!(self.files("inbox"), [] as [&str; 0]);
        letter
    }

    async fn reports(&self, outgoing: &Outgoing) -> Vec<ItemReport> {
        match self.rail.look_up(outgoing).await {
            Found::Items(reports) => reports,
            found => panic!("{found:?}"),
        }
    }
}

/// Gives each item what a letter says of it.
fn hear(outgoing: &mut Outgoing, letter: &Letter) {
    let whole = outgoing.reference.to_string();
    for item in &mut outgoing.items {
        let own = item.reference.to_string();
        let about = |notice: &&payoutd::domain::Notice| {
            notice.reference == if notice.whole { &whole } else { &own }.as_str()
        };
        item.heard.extend(letter.notices.iter().filter(about).cloned());
    }
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

fn usd(minor: i64) -> Money {
    Money::new(minor, "USD".parse().expect("a currency"))
}

fn destination(kind: MethodKind, fields: &[(&str, &str)]) -> Destination {
    let mut all = std::collections::BTreeMap::from([
        ("routingNumber", "021000021"),
        ("accountNumber", "12345678901"),
        ("accountHolderName", "Alex Affiliate"),
    ]);
    match kind {
        MethodKind::Ach => all.extend([("accountType", "checking")]),
        _ => all.extend([("city", "Boise"), ("country", "US")]),
    }
    all.extend(fields.iter().copied());
    Destination::stored(kind, &serde_json::to_string(&all).expect("text")).expect("an object")
}

fn item(name: &str, minor: i64, destination: Destination) -> OutgoingItem {
    let payout_id = "po_1".parse().expect("an id");
    OutgoingItem::new(reference(name), payout_id, destination, usd(minor))
}

/// A submission, sent on the Monday before Thanksgiving in 2026 at 10:00 in New York.
fn outgoing(items: Vec<OutgoingItem>) -> Outgoing {
    let org = "acme".parse().expect("an id");
    let currency = "USD".parse().expect("a currency");
    let now = instant("2026-11-23T15:00:00Z");
    Outgoing::new(org, reference("SUBMISSION00001"), items, currency, now)
}

/// The same, some days later.
fn later(outgoing: &Outgoing, days: i64) -> Outgoing {
    Outgoing { now: outgoing.sent_at + TimeDelta::days(days), ..outgoing.clone() }
}
