//! Connected accounts: any `acct_…` exists and can receive transfers, unless its name or a
//! control call says otherwise. And what we can spend.

use std::collections::{BTreeSet, HashMap};

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::Caller;
use super::{Refusal, Shown, show, units};
use crate::domain::{Currency, Money};
use crate::sandbox::Sandbox;
use crate::sandbox::desk::Desk;

/// A capability's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Capability {
    Active,
    Inactive,
    Pending,
    Disabled,
    Unrequested,
}

impl Capability {
    /// The word in an account's summary, which has fewer of them.
    pub(super) fn in_summary(self) -> Self {
        match self {
            Self::Active | Self::Pending => self,
            _ => Self::Inactive,
        }
    }
}

/// What is asked of a connected account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) struct Account {
    pub(super) transfers: Capability,
    pub(super) payouts_enabled: bool,
    /// Closed, or never ours to pay to.
    pub(super) gone: bool,
}

impl Account {
    /// An account as its name makes it.
    fn named(id: &str) -> Self {
        let inactive = id.contains("inactive");
        let transfers = if inactive { Capability::Inactive } else { Capability::Active };
        let gone = id.contains("closed") || id.contains("invalid");
        Self { transfers, payouts_enabled: !inactive, gone }
    }
}

/// The accounts that were told to be other than their names make them.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Accounts(HashMap<String, Account>);

impl Accounts {
    pub(super) fn get(&self, id: &str) -> Account {
        self.0.get(id).copied().unwrap_or_else(|| Account::named(id))
    }

    pub(super) fn set(&mut self, id: &str, account: Account) {
        self.0.insert(id.to_owned(), account);
    }
}

fn known(desk: &Desk, id: &str) -> Result<Account, Refusal> {
    let account = desk.accounts.get(id);
    if account.gone || !id.starts_with("acct_") {
        return Err(Refusal::account_invalid(id));
    }
    Ok(account)
}

pub(super) async fn show_account(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
) -> Shown {
    caller.query()?.end()?;
    let account = known(&sandbox.desk(), &id)?;
    Ok(Json(show::account(&id, &account)))
}

pub(super) async fn show_capability(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    Path((id, name)): Path<(String, String)>,
) -> Shown {
    caller.query()?.end()?;
    let account = known(&sandbox.desk(), &id)?;
    if name != "transfers" {
        return Err(Refusal::not_found("capability", &name));
    }
    Ok(Json(show::capability(&id, &account)))
}

/// What a balance without end shows: larger than anything that anybody pays.
const WITHOUT_END: i64 = 100_000_000_000_000;
/// Currencies that a balance shows even if nothing was ever said about them.
const HELD: [&str; 24] = [
    "USD", "EUR", "GBP", "CAD", "AUD", "NZD", "JPY", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK",
    "HUF", "RON", "SGD", "HKD", "MXN", "BRL", "INR", "KRW", "TWD", "KWD", "BHD",
];

pub(super) async fn show_balance(caller: Caller, State(sandbox): State<Sandbox>) -> Shown {
    caller.query()?.end()?;
    let desk = sandbox.desk();
    let held = HELD.iter().map(|code| code.parse().expect("a table of currencies"));
    let moved = desk.life().stripe.transfers().iter().map(|transfer| transfer.currency);
    let limited = desk.stripe_funds.limited();
    let currencies: BTreeSet<Currency> = held.chain(moved).chain(limited).collect();
    let available = |currency: &Currency| -> Value {
        let left = desk.stripe_funds.of(*currency).map(|minor| Money::new(minor, *currency));
        // What Stripe cannot count cannot be spent there.
        let amount = left.map_or(WITHOUT_END, |left| units::amount(left).unwrap_or_default());
        let code = show::code(*currency);
        json!({"amount": amount, "currency": code, "source_types": {"card": amount}})
    };
    let nothing = |currency: &Currency| json!({"amount": 0, "currency": show::code(*currency)});
    Ok(Json(json!({
        "object": "balance",
        "available": currencies.iter().map(available).collect::<Vec<_>>(),
        "livemode": false,
        "pending": currencies.iter().map(nothing).collect::<Vec<_>>(),
    })))
}
