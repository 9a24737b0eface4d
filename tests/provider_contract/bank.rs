//! The two rails that work by file, against the sandbox's bank.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use payoutd::clock::Clock;
use payoutd::domain::{Destination, MethodKind};
use payoutd::providers::{Ach, Outgoing, Provider, Wire};
use payoutd::sandbox::Sandbox;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stand::{Stand, settings};

/// The routing number of the sandbox's bank.
const BANK: &str = "999999992";

pub struct AtBank {
    kind: MethodKind,
    sandbox: Sandbox,
    folder: TempDir,
}

impl AtBank {
    pub fn open(kind: MethodKind) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["outbox", "inbox", "archive"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let sandbox = Sandbox::new(Clock::System);
        sandbox.open_bank(folder.path().join("outbox"), folder.path().join("inbox"));
        sandbox.settle_at_once(true);
        Self { kind, sandbox, folder }
    }
}

fn rail(kind: MethodKind, folder: &Path) -> Arc<dyn Provider> {
    let path = |name: &str| folder.join(name).display().to_string();
    let section = if kind == MethodKind::Ach { "ach" } else { "wire" };
    let folders = ["outbox", "inbox", "archive"];
    let mut set: Vec<(String, String)> =
        folders.iter().map(|name| (format!("providers.{section}.{name}"), path(name))).collect();
    let more: &[(&str, &str)] = match kind {
        MethodKind::Ach => &[
            ("immediate_destination", BANK),
            ("immediate_destination_name", "BANK"),
            ("immediate_origin", "0000000001"),
            ("immediate_origin_name", "ACME"),
            ("company_name", "ACME"),
            ("company_id", "0000000001"),
            ("odfi", "99999999"),
        ],
        _ => &[
            ("debtor_name", "Acme"),
            ("debtor_account", "1"),
            ("debtor_routing", BANK),
            ("debtor_city", "New York"),
        ],
    };
    let more =
        more.iter().map(|(key, value)| (format!("providers.{section}.{key}"), (*value).to_owned()));
    set.extend(more);
    let set: Vec<(&str, &str)> =
        set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let config = settings(&set);
    match kind {
        MethodKind::Ach => Arc::new(Ach::new(config.providers.ach).expect("a rail")),
        _ => Arc::new(Wire::new(config.providers.wire).expect("a rail")),
    }
}

#[async_trait]
impl Stand for AtBank {
    fn rail(&self) -> Arc<dyn Provider> {
        rail(self.kind, self.folder.path())
    }

    fn rail_to_nowhere(&self) -> Arc<dyn Provider> {
        rail(self.kind, &self.folder.path().join("nowhere"))
    }

    fn payee(&self, number: usize) -> Destination {
        let account = json!({
            "routingNumber": BANK, "accountNumber": format!("55501234{number}"),
            "accountType": "checking", "accountHolderName": format!("Zoë Müller {number}"),
            "city": "Austin", "country": "US",
        });
        Destination::parse(self.kind, &account.to_string()).expect("a destination")
    }

    fn refused_payee(&self) -> Destination {
        let account = json!({
            "routingNumber": "123456789", "accountNumber": "5550123499",
            "accountType": "checking", "accountHolderName": "Nobody", "city": "Austin",
            "country": "US",
        });
        Destination::stored(self.kind, &account.to_string()).expect("a destination")
    }

    fn secrets(&self) -> Vec<String> {
        vec!["5550123".to_owned()]
    }

    /// A file has no answer that could be lost: what can go wrong on the way to a folder is
    /// held against the rail itself, in `tests/bank_rails`.
    async fn spoil_the_next_send(&self, _fault: &str, _more: Value) -> bool {
        false
    }

    async fn work(&self) {
        self.sandbox.scan_bank().expect("folders");
    }

    async fn deliver(&self, outgoing: &mut Outgoing) {
        let rail = self.rail();
        for letter in rail.collect().await.expect("an inbox") {
            assert_eq!(letter.problem, None, "{}", letter.name);
            for item in &mut outgoing.items {
                let own = |reference: &str, whole: bool| match whole {
                    true => reference == outgoing.reference.as_str(),
                    false => reference == item.reference.as_str(),
                };
                let notices = letter.notices.iter();
                let notices = notices.filter(|notice| own(&notice.reference, notice.whole));
                item.heard.extend(notices.cloned());
            }
            rail.put_away(&letter).await.expect("an archive");
        }
    }

    async fn books(&self) -> Vec<(String, String)> {
        let rows = self.sandbox.books().bank.into_iter();
        rows.map(|row| (row.reference, row.amount)).collect()
    }
}
