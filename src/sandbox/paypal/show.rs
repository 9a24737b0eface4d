//! Batches and items as PayPal shows them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::ledger::{Batch, Item, ItemStatus};
use crate::domain::{Currency, Money};

/// What PayPal takes for one payment, in minor units of USD.
const FEE_MINOR: i64 = 25;

/// Which items of a batch are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// From 1.
    pub(super) number: usize,
    pub(super) size: usize,
    /// Whether the totals are wanted.
    pub(super) with_totals: bool,
}

/// The answer to a batch that was taken.
pub(super) fn taken(batch: &Batch, base: &str) -> Value {
    json!({"batch_header": short_header(batch), "links": [batch_link(batch, base)]})
}

/// One page of a batch.
pub(super) fn page(batch: &Batch, page: Page, base: &str) -> Value {
    let skipped = (page.number - 1).saturating_mul(page.size);
    let items = batch.items.iter().skip(skipped).take(page.size);
    let mut shown = json!({
        "batch_header": full_header(batch),
        "items": items.map(|item| Value::Object(item_of(batch, item, base))).collect::<Vec<_>>(),
        "links": [batch_link(batch, base)],
    });
    if page.with_totals {
        shown["total_items"] = batch.items.len().into();
        shown["total_pages"] = batch.items.len().div_ceil(page.size).into();
    }
    shown
}

/// One item by itself.
pub(super) fn item(batch: &Batch, item: &Item, base: &str) -> Value {
    let mut shown = item_of(batch, item, base);
    if let Some(id) = &batch.sender_batch_id {
        shown.insert("sender_batch_id".into(), id.as_str().into());
    }
    Value::Object(shown)
}

/// What `GET /v1/payments/payouts/ERRPYO015` shows: a batch whose payment met a closed market.
pub(super) fn closed_market(now: DateTime<Utc>, base: &str) -> Value {
    let item = Item {
        id: "ERRPYO015ITEM".into(),
        transaction_id: "ERRPYO015TRANSACTION".into(),
        reference: None,
        recipient_type: "EMAIL".into(),
        receiver: "payouts-simulator-receiver@paypal.com".into(),
        amount: "1.00".into(),
        currency: usd(),
        note: None,
        status: ItemStatus::Failed,
        fate: ItemStatus::Failed,
        error: Some("CLOSED_MARKET".into()),
    };
    let batch = Batch {
        id: "ERRPYO015".into(),
        sender_batch_id: None,
        email_subject: None,
        created_at: now,
        processed_at: Some(now),
        doomed: false,
        items: vec![item],
    };
    page(&batch, Page { number: 1, size: 1, with_totals: true }, base)
}

fn short_header(batch: &Batch) -> Value {
    let mut sender = Map::new();
    if let Some(id) = &batch.sender_batch_id {
        sender.insert("sender_batch_id".into(), id.as_str().into());
    }
    if let Some(subject) = &batch.email_subject {
        sender.insert("email_subject".into(), subject.as_str().into());
    }
    json!({
        "payout_batch_id": batch.id,
        "batch_status": batch.status(),
        "time_created": time(batch.created_at),
        "sender_batch_header": sender,
    })
}

fn full_header(batch: &Batch) -> Value {
    let mut header = short_header(batch);
    let fees = batch.items.iter().map(fee_minor).sum();
    header["amount"] = amount(batch.total());
    header["fees"] = amount(Money::new(fees, usd()));
    header["funding_source"] = "BALANCE".into();
    if let Some(at) = batch.processed_at {
        header["time_completed"] = time(at).into();
    }
    header
}

fn item_of(batch: &Batch, item: &Item, base: &str) -> Map<String, Value> {
    let mut detail = json!({
        "recipient_type": item.recipient_type,
        "amount": {"currency": item.currency.code(), "value": item.amount},
        "receiver": item.receiver,
        "recipient_wallet": "PAYPAL",
    });
    if let Some(note) = &item.note {
        detail["note"] = note.as_str().into();
    }
    if let Some(reference) = &item.reference {
        detail["sender_item_id"] = reference.as_str().into();
    }
    let href = format!("{base}/v1/payments/payouts-item/{}", item.id);
    let mut shown = json!({
        "payout_item_id": item.id,
        "transaction_status": item.status,
        "payout_item_fee": amount(Money::new(fee_minor(item), usd())),
        "payout_batch_id": batch.id,
        "payout_item": detail,
        "links": [{"href": href, "rel": "item", "method": "GET"}],
    });
    if let Some(at) = batch.processed_at {
        shown["transaction_id"] = item.transaction_id.as_str().into();
        shown["time_processed"] = time(at).into();
    }
    if let Some(name) = item.visible_error() {
        shown["errors"] = error(name);
    }
    match shown {
        Value::Object(shown) => shown,
        _ => Map::new(),
    }
}

fn error(name: &str) -> Value {
    let message = match name {
        "RECEIVER_UNREGISTERED" => "Receiver is unregistered.",
        "RECEIVER_ACCOUNT_LOCKED" => "Receiver's account is locked or inactive.",
        "INSUFFICIENT_FUNDS" => "Sender does not have sufficient funds.",
        "CLOSED_MARKET" => "The market is closed.",
        _ => "The payment was not made.",
    };
    json!({"name": name, "message": message, "debug_id": "sandbox", "details": []})
}

/// Nothing is taken for a payment that was not made.
fn fee_minor(item: &Item) -> i64 {
    if item.status.took_money() { FEE_MINOR } else { 0 }
}

fn amount(money: Money) -> Value {
    json!({"currency": money.currency.code(), "value": money.to_string()})
}

fn batch_link(batch: &Batch, base: &str) -> Value {
    json!({"href": batch_href(batch, base), "rel": "self", "method": "GET"})
}

/// Where a batch is found.
pub(super) fn batch_href(batch: &Batch, base: &str) -> String {
    format!("{base}/v1/payments/payouts/{}", batch.id)
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn usd() -> Currency {
    "USD".parse().expect("USD is a currency")
}
