//! PayPal's shapes: what we send, and what we read of its answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PaypalSettings;
use crate::domain::{Currency, Money};
use crate::providers::http::Answer;
use crate::providers::{Outgoing, OutgoingItem, Problem};

#[derive(Serialize)]
struct Batch<'a> {
    sender_batch_header: BatchHeader<'a>,
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct BatchHeader<'a> {
    sender_batch_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    email_subject: &'a str,
}

#[derive(Serialize)]
struct Item<'a> {
    recipient_type: &'static str,
    amount: Amount,
    receiver: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'a str,
    sender_item_id: &'a str,
}

/// An amount as PayPal writes it: a decimal in a string.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Amount {
    value: String,
    currency: String,
}

impl Amount {
    /// The amount, if it is one that the currency can have.
    pub(super) fn money(&self) -> Option<Money> {
        let currency: Currency = self.currency.parse().ok()?;
        Money::parse(&self.value, currency).ok()
    }
}

/// The body of a batch. Struct order is wire order, so equal submissions are equal bytes.
pub(super) fn render(settings: &PaypalSettings, outgoing: &Outgoing) -> String {
    let batch = Batch {
        sender_batch_header: BatchHeader {
            sender_batch_id: outgoing.reference.as_str(),
            email_subject: &settings.email_subject,
        },
        items: outgoing.items.iter().map(|item| render_item(settings, item)).collect(),
    };
    serde_json::to_string(&batch).expect("text and lists are always JSON")
}

fn render_item<'a>(settings: &'a PaypalSettings, item: &'a OutgoingItem) -> Item<'a> {
    Item {
        recipient_type: "EMAIL",
        amount: Amount {
            value: item.amount.to_string(),
            currency: item.amount.currency.code().to_owned(),
        },
        receiver: receiver(item),
        note: &settings.note,
        sender_item_id: item.reference.as_str(),
    }
}

/// Where an item goes. A PayPal destination always has an address; without one PayPal refuses
/// the item by its number, and nothing is paid.
pub(super) fn receiver(item: &OutgoingItem) -> &str {
    item.destination.get("email").unwrap_or_default()
}

/// The answer to a batch that was taken.
#[derive(Deserialize)]
struct Taken {
    batch_header: TakenHeader,
}

#[derive(Deserialize)]
struct TakenHeader {
    payout_batch_id: String,
}

/// The id of the batch that an answer says was taken.
pub(super) fn taken_batch_id(text: &str) -> Option<String> {
    let taken: Taken = serde_json::from_str(text).ok()?;
    Some(taken.batch_header.payout_batch_id).filter(|id| !id.is_empty())
}

/// One page of a batch, as far as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct BatchPage {
    pub(super) batch_header: PageHeader,
    #[serde(default)]
    pub(super) items: Vec<ItemState>,
    pub(super) total_pages: Option<usize>,
    pub(super) total_items: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PageHeader {
    pub(super) batch_status: String,
}

/// One item of a batch, as far as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct ItemState {
    pub(super) payout_item_id: Option<String>,
    /// Absent while PayPal has not looked at the item.
    #[serde(default)]
    pub(super) transaction_status: String,
    pub(super) payout_item: ItemDetail,
    errors: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ItemDetail {
    pub(super) sender_item_id: Option<String>,
    pub(super) amount: Option<Amount>,
    pub(super) receiver: Option<String>,
}

impl ItemState {
    /// Why the item stands as it does, where PayPal says so.
    pub(super) fn problem(&self) -> Option<Problem> {
        let errors = self.errors.as_ref()?;
        let error = errors.get(0).unwrap_or(errors);
        let text = |field| error.get(field).and_then(Value::as_str).unwrap_or_default();
        Some(text("name")).filter(|name| !name.is_empty()).map(|name| {
            let message = text("message");
            Problem::new(name, message)
        })
    }
}

/// PayPal's own code and words, or ours where it said nothing readable.
pub(super) fn problem_of(answer: &Answer) -> Problem {
    match Refusal::read(&answer.text) {
        Some(refusal) => refusal.problem(),
        None => Problem::new(
            format!("http_{}", answer.status),
            format!("PayPal answered {} without saying why", answer.status),
        ),
    }
}

/// An error in PayPal's shape: a name, a sentence, and details that differ from error to error.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) name: String,
    message: String,
    pub(super) details: Vec<Value>,
    links: Value,
}

impl Refusal {
    /// Reads an error body, or that of a refused token (`error`, `error_description`); `None` if it
    /// has no name, so is none of PayPal's.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut body: Value = serde_json::from_str(text).ok()?;
        let text_of = |name, other| body.get(name).or_else(|| body.get(other))?.as_str();
        let name = text_of("name", "error").filter(|name| !name.is_empty())?.to_owned();
        let message = text_of("message", "error_description").unwrap_or_default().to_owned();
        let details = match body.get_mut("details").map(Value::take) {
            Some(Value::Array(details)) => details,
            _ => Vec::new(),
        };
        let links = body.get_mut("links").map(Value::take).unwrap_or_default();
        Some(Self { name, message, details, links })
    }

    /// The error as a whole: its name and sentence, and the first detail's issue.
    pub(super) fn problem(&self) -> Problem {
        let issue = self.details.iter().find_map(|detail| text_of(detail, "issue"));
        let sentences = [Some(self.message.as_str()), issue];
        let words: Vec<_> = sentences.into_iter().flatten().filter(|s| !s.is_empty()).collect();
        Problem::new(self.name.clone(), words.join(" "))
    }

    /// Whether PayPal says that it has our `sender_batch_id` already.
    pub(super) fn speaks_of_a_duplicate(&self) -> bool {
        let mut issues = self.details.iter().filter_map(|detail| text_of(detail, "issue"));
        issues.any(|issue| issue.to_ascii_lowercase().contains("already exists"))
    }

    /// The batch that a link of the error leads to.
    pub(super) fn linked_batch_id(&self) -> Option<String> {
        let in_details = self.details.iter().flat_map(|detail| [&detail["link"], &detail["links"]]);
        let mut hrefs = in_details.chain([&self.links]).flat_map(hrefs);
        hrefs.find_map(|href| id_behind(href, "/payments/payouts/"))
    }
}

/// A text member of an error's detail.
pub(super) fn text_of<'a>(detail: &'a Value, member: &str) -> Option<&'a str> {
    detail.get(member).and_then(Value::as_str)
}

/// The id that a link has behind `path`.
pub(super) fn id_behind(href: &str, path: &str) -> Option<String> {
    let (_, id) = href.split_once(path)?;
    let id = id.split(['?', '/', '#']).next()?;
    Some(id.to_owned()).filter(|id| !id.is_empty())
}

/// A link is written alone or in a list.
pub(super) fn hrefs(links: &Value) -> impl Iterator<Item = &str> {
    let alone = std::slice::from_ref(links);
    let list = links.as_array().map_or(alone, Vec::as_slice);
    list.iter().filter_map(|link| text_of(link, "href"))
}
