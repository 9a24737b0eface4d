//! Stripe's shapes: the form that we send, and what we read of its answers.

use std::collections::BTreeMap;

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use super::units::{from_stripe, to_stripe};
use crate::domain::Money;
use crate::providers::http::Answer;
use crate::providers::{Outgoing, OutgoingItem, Problem};

/// The body of a transfer, form-encoded. Order is wire order, so equal submissions are equal bytes.
///
/// An amount that Stripe cannot send is left empty: it is refused before it is sent, and these
/// bytes could pay nothing.
pub(super) fn render(outgoing: &Outgoing, item: &OutgoingItem) -> String {
    let amount = to_stripe(item.amount).map(|amount| amount.to_string()).unwrap_or_default();
    let fields = [
        ("amount", amount),
        ("currency", item.amount.currency.code().to_ascii_lowercase()),
        ("destination", account(item).to_owned()),
        ("description", format!("Affiliate payout {}", item.payout_id)),
        ("metadata[org_id]", outgoing.org.to_string()),
        ("metadata[payout_id]", item.payout_id.to_string()),
        ("metadata[reference]", item.reference.to_string()),
        ("transfer_group", item.reference.to_string()),
    ];
    let mut form = Url::parse("form://fields").expect("it is an address");
    form.query_pairs_mut().extend_pairs(fields);
    form.query().expect("it has just got its fields").to_owned()
}

/// The connected account that an item goes to. A destination of this rail always has one.
pub(super) fn account(item: &OutgoingItem) -> &str {
    item.destination.get("account").unwrap_or_default()
}

/// The id of the transfer that an answer says was made.
pub(super) fn transfer_id(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    let made: Made = serde_json::from_str(text).ok()?;
    Some(made.id).filter(|id| id.len() > "tr_".len() && id.starts_with("tr_"))
}

/// A transfer, as far as it is read.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Transfer {
    pub(super) id: String,
    amount: i64,
    amount_reversed: i64,
    pub(super) reversed: bool,
    pub(super) currency: String,
    /// Seconds since 1970.
    pub(super) created: i64,
    pub(super) destination: Option<String>,
    pub(super) transfer_group: Option<String>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) reversals: Option<Page<Reversal>>,
}

impl Transfer {
    /// What was sent.
    pub(super) fn money(&self) -> Option<Money> {
        from_stripe(self.amount, &self.currency)
    }

    /// How much of it came back.
    pub(super) fn money_back(&self) -> Option<Money> {
        from_stripe(self.amount_reversed, &self.currency)
    }
}

/// Money of a transfer that came back, as far as it is read.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Reversal {
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) created: i64,
}

/// One page of a list.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// A connected account, as far as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Account {
    #[serde(default)]
    pub(super) deleted: bool,
    pub(super) capabilities: Option<BTreeMap<String, Value>>,
}

/// A payout of a connected account to its bank, as far as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Payout {
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) status: String,
    pub(super) failure_code: Option<String>,
    pub(super) failure_message: Option<String>,
}

/// Our balance, as far as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Balance {
    pub(super) available: Vec<BalanceAmount>,
}

/// A part of the balance: one for each currency, or several.
#[derive(Debug, Deserialize)]
pub(super) struct BalanceAmount {
    pub(super) amount: i64,
    pub(super) currency: String,
}

/// An error in Stripe's shape (`api_errors` of the specification).
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    param: Option<String>,
}

impl Refusal {
    /// Reads an error body; `None` if it has no type, so is none of Stripe's.
    pub(super) fn read(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            error: Refusal,
        }
        let body: Body = serde_json::from_str(text).ok()?;
        Some(body.error).filter(|error| !error.kind.is_empty())
    }

    /// Stripe's code; empty if it gave none.
    pub(super) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    /// The parameter that it is about; empty if it named none.
    pub(super) fn param(&self) -> &str {
        self.param.as_deref().unwrap_or_default()
    }

    /// The error as a whole: its code, or its type where it has none, and its sentence.
    pub(super) fn problem(&self) -> Problem {
        let code = if self.code().is_empty() { self.kind.as_str() } else { self.code() };
        Problem::new(code, self.message.as_deref().unwrap_or_default())
    }
}

/// Stripe's own code and words, or ours where it said nothing readable.
pub(super) fn problem_of(answer: &Answer) -> Problem {
    match Refusal::read(&answer.text) {
        Some(refusal) => refusal.problem(),
        None => Problem::new(
            format!("http_{}", answer.status),
            format!("Stripe answered {} without saying why", answer.status),
        ),
    }
}
