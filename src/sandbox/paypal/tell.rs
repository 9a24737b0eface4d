//! PayPal's events. They are told only while somebody listens: PayPal keeps none for nobody.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::ledger::{Batch, Event, Item, ItemStatus};
use super::{fresh_id, show};
use crate::clock::Clock;
use crate::sandbox::desk::Desk;
use crate::sandbox::host::Host;
use crate::sandbox::life;
use crate::sandbox::told::Told;

/// What is told of a batch that was worked off: the batch's own steps, then its items' ends. A
/// batch that was denied says so for all of them.
pub(super) fn of_batch(desk: &Desk, batch_id: &str, clock: &Clock) -> Vec<life::Event> {
    let Some(batch) = listened_to(desk).then(|| desk.life().paypal.batch(batch_id)).flatten()
    else {
        return Vec::new();
    };
    let mut told = vec![about_batch(desk, batch, "PROCESSING", clock)];
    told.push(about_batch(desk, batch, batch.status(), clock));
    if !batch.is_denied() {
        let items = batch.items.iter();
        told.extend(items.filter_map(|item| about_item(desk, batch, item, None, clock)));
    }
    told.into_iter().map(|told| Event::Told(told).into()).collect()
}

/// What is told of an item that became something else.
pub(super) fn of_item(
    desk: &Desk,
    item_id: &str,
    word: Option<&str>,
    clock: &Clock,
) -> Vec<life::Event> {
    let Some((batch, item)) = listened_to(desk).then(|| desk.life().paypal.item(item_id)).flatten()
    else {
        return Vec::new();
    };
    let told = about_item(desk, batch, item, word, clock);
    told.into_iter().map(|told| Event::Told(told).into()).collect()
}

fn listened_to(desk: &Desk) -> bool {
    desk.webhooks.anybody_listens(Host::Paypal)
}

fn about_batch(desk: &Desk, batch: &Batch, word: &str, clock: &Clock) -> Told {
    let mut resource = show::taken(batch, &desk.address);
    resource["batch_header"]["batch_status"] = word.into();
    let kind = format!("PAYMENT.PAYOUTSBATCH.{word}");
    told(desk, &kind, "payouts", &resource, clock)
}

/// There is no event for an item that was reversed, nor for one that is pending.
fn about_item(
    desk: &Desk,
    batch: &Batch,
    item: &Item,
    word: Option<&str>,
    clock: &Clock,
) -> Option<Told> {
    let word = word.or(match item.status {
        ItemStatus::Success => Some("SUCCEEDED"),
        ItemStatus::Failed => Some("FAILED"),
        ItemStatus::Unclaimed => Some("UNCLAIMED"),
        ItemStatus::Returned => Some("RETURNED"),
        ItemStatus::Onhold => Some("HELD"),
        ItemStatus::Blocked => Some("BLOCKED"),
        ItemStatus::Refunded => Some("REFUNDED"),
        ItemStatus::Pending | ItemStatus::Reversed => None,
    })?;
    let resource = show::item(batch, item, &desk.address);
    let kind = format!("PAYMENT.PAYOUTS-ITEM.{word}");
    Some(told(desk, &kind, "payouts_item", &resource, clock))
}

fn told(desk: &Desk, kind: &str, resource_type: &str, resource: &Value, clock: &Clock) -> Told {
    let (id, created) = (format!("WH-{}", fresh_id(clock)), clock.now());
    let href = format!("{}/v1/notifications/webhooks-events/{id}", desk.address);
    let body = json!({
        "id": id,
        "event_version": "1.0",
        "create_time": time(created),
        "resource_type": resource_type,
        "event_type": kind,
        "summary": format!("{kind} happened"),
        "resource": resource,
        "links": [{"href": href, "rel": "self", "method": "GET"}],
    });
    Told { id, kind: kind.to_owned(), created, account: None, body: body.to_string() }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
