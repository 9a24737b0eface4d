//! Reading what a caller asks to be paid, and every rule that PayPal holds it to.

use serde_json::{Value, json};

use super::Refusal;
use crate::domain::{Currency, Money};

/// Longest texts, in characters (payments_payouts_batch_v1.json).
const RECEIVER: usize = 127;
const ITEM_ID: usize = 63;
const BATCH_ID: usize = 256;
const SUBJECT: usize = 255;
const NOTE: usize = 4_000;
const MAX_ITEMS: usize = 15_000;

/// A batch as it is asked for, within the rules.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) sender_batch_id: Option<String>,
    pub(super) email_subject: Option<String>,
    pub(super) items: Vec<AskedItem>,
}

/// A payment as it is asked for.
#[derive(Debug)]
pub(super) struct AskedItem {
    pub(super) reference: Option<String>,
    pub(super) recipient_type: String,
    pub(super) receiver: String,
    pub(super) amount: Money,
    pub(super) note: Option<String>,
}

/// Collects broken rules as PayPal's details.
#[derive(Default)]
struct Broken(Vec<Value>);

impl Broken {
    fn rule(&mut self, field: impl Into<String>, issue: impl Into<String>) {
        let (field, issue) = (field.into(), issue.into());
        self.0.push(json!({"field": field, "location": "body", "issue": issue}));
    }

    /// An optional text of at most `longest` characters.
    fn text(&mut self, of: &Value, member: &str, at: &str, longest: usize) -> Option<String> {
        match of.get(member)? {
            Value::Null => None,
            Value::String(text) if text.chars().count() <= longest => Some(text.clone()),
            Value::String(_) => {
                self.rule(format!("{at}.{member}"), format!("Longer than {longest} characters"));
                None
            }
            _ => {
                self.rule(format!("{at}.{member}"), "Not a text");
                None
            }
        }
    }
}

/// Reads a batch.
///
/// # Errors
/// The test value's error if the first item's note is one; else every broken rule.
pub(super) fn read(body: &[u8]) -> Result<Ask, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::malformed())?;
    if let Some(simulated) = body["items"][0]["note"].as_str().and_then(Refusal::simulated) {
        return Err(simulated);
    }
    let mut broken = Broken::default();
    let header = &body["sender_batch_header"];
    if !header.is_object() {
        broken.rule("sender_batch_header", "Required field is missing");
    }
    let at = "sender_batch_header";
    let sender_batch_id = broken.text(header, "sender_batch_id", at, BATCH_ID);
    let email_subject = broken.text(header, "email_subject", at, SUBJECT);
    let asked = body["items"].as_array().map_or(&[][..], Vec::as_slice);
    if asked.is_empty() || asked.len() > MAX_ITEMS {
        broken.rule("items", format!("Expected 1 to {MAX_ITEMS} items"));
        return Err(Refusal::invalid(broken.0));
    }
    let default_type = header["recipient_type"].as_str().unwrap_or("EMAIL");
    let items = asked.iter().enumerate();
    let items: Vec<_> = items
        .filter_map(|(index, item)| read_item(&mut broken, index, item, default_type))
        .collect();
    if broken.0.is_empty() {
        check_total(&mut broken, &items);
    }
    if !broken.0.is_empty() {
        return Err(Refusal::invalid(broken.0));
    }
    let sender_batch_id = sender_batch_id.filter(|id| !id.is_empty());
    Ok(Ask { sender_batch_id, email_subject, items })
}

/// `None` if a rule is broken without which there is no item.
fn read_item(
    broken: &mut Broken,
    index: usize,
    item: &Value,
    default_type: &str,
) -> Option<AskedItem> {
    let at = format!("items[{index}]");
    let reference = broken.text(item, "sender_item_id", &at, ITEM_ID);
    let note = broken.text(item, "note", &at, NOTE);
    let recipient_type = match item.get("recipient_type") {
        None => default_type,
        Some(given) => given.as_str().unwrap_or_default(),
    };
    if !matches!(recipient_type, "EMAIL" | "PHONE" | "PAYPAL_ID") {
        broken.rule(format!("{at}.recipient_type"), "Expected EMAIL, PHONE or PAYPAL_ID");
    }
    let receiver = broken.text(item, "receiver", &at, RECEIVER).filter(|text| !text.is_empty());
    match receiver.as_deref() {
        None if matches!(item["receiver"].as_str(), None | Some("")) => {
            broken.rule(format!("{at}.receiver"), "Required field is missing");
        }
        Some(receiver) if receiver.starts_with("refused") => {
            broken
                .rule(format!("{at}.receiver"), "Receiver is invalid or does not match with type");
        }
        _ => {}
    }
    let amount = read_amount(broken, &at, &item["amount"]);
    let recipient_type = recipient_type.to_owned();
    Some(AskedItem { reference, recipient_type, receiver: receiver?, amount: amount?, note })
}

fn read_amount(broken: &mut Broken, at: &str, amount: &Value) -> Option<Money> {
    let code = amount["currency"].as_str().unwrap_or_default();
    let Ok(currency) = code.parse::<Currency>() else {
        broken.rule(format!("{at}.amount.currency"), "Currency code is missing or invalid");
        return None;
    };
    let value = amount["value"].as_str().unwrap_or_default();
    match Money::parse(value, currency) {
        Ok(money) if money.minor > 0 => Some(money),
        Ok(_) => {
            broken.rule(format!("{at}.amount.value"), "Amount must be greater than zero");
            None
        }
        Err(error) => {
            broken.rule(format!("{at}.amount.value"), error.to_string());
            None
        }
    }
}

fn check_total(broken: &mut Broken, items: &[AskedItem]) {
    let Some(first) = items.first() else { return };
    let currency = first.amount.currency;
    for (index, item) in items.iter().enumerate() {
        if item.amount.currency != currency {
            let issue = "Multiple currencies are not supported in one batch";
            broken.rule(format!("items[{index}].amount.currency"), issue);
        }
    }
    let mut amounts = items.iter().map(|item| item.amount);
    let sum = amounts.try_fold(Money::new(0, currency), Money::checked_add);
    if broken.0.is_empty() && sum.is_err() {
        broken.rule("items", "The batch's total is too large");
    }
}
