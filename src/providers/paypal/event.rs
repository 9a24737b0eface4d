//! What a PayPal event is about.

use serde_json::Value;

use super::wire::{hrefs, id_behind};
use crate::providers::ProviderEvent;

/// Reads an event; `None` if it has no id or no type. What it says of the state is not read: the
/// item itself is asked.
pub(super) fn event_of(text: &str) -> Option<ProviderEvent> {
    let event: Value = serde_json::from_str(text).ok()?;
    let named = |member: &str| text_of(&event[member]);
    let (event_id, event_type) = (named("id")?, named("event_type")?);
    let (references, provider_ids) = match event_type.starts_with("PAYMENT.PAYOUTS") {
        true => (references(&event["resource"]), provider_ids(&event)),
        false => (Vec::new(), Vec::new()),
    };
    Some(ProviderEvent { event_id, event_type, references, provider_ids })
}

/// Our references of an item, or of a batch.
fn references(resource: &Value) -> Vec<String> {
    distinct([
        text_of(&resource["payout_item"]["sender_item_id"]),
        text_of(&resource["sender_batch_id"]),
        text_of(&resource["batch_header"]["sender_batch_header"]["sender_batch_id"]),
    ])
}

/// PayPal's ids. Some of its events have an item's id nowhere but in a link.
fn provider_ids(event: &Value) -> Vec<String> {
    let resource = &event["resource"];
    let links = [&resource["links"], &event["links"]].into_iter().flat_map(hrefs);
    let linked = links.flat_map(|href| {
        [id_behind(href, "/payments/payouts-item/"), id_behind(href, "/payments/payouts/")]
    });
    let named = [
        text_of(&resource["payout_item_id"]),
        text_of(&resource["payout_batch_id"]),
        text_of(&resource["batch_header"]["payout_batch_id"]),
    ];
    distinct(named.into_iter().chain(linked))
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn distinct(texts: impl IntoIterator<Item = Option<String>>) -> Vec<String> {
    let mut distinct: Vec<String> = texts.into_iter().flatten().collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subjects(event_type: &str, resource: Value) -> (Vec<String>, Vec<String>) {
        let event = json!({"id": "WH-1", "event_type": event_type, "resource": resource});
        let event = event_of(&event.to_string()).expect("an event");
        assert_eq!((event.event_id.as_str(), event.event_type.as_str()), ("WH-1", event_type));
        (event.references, event.provider_ids)
    }

    fn of(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn an_items_event_names_it_by_our_reference_and_by_every_id_it_carries() {
        let kind = "PAYMENT.PAYOUTS-ITEM.SUCCEEDED";
        let resource = json!({
            "payout_item_id": "ITEM1", "payout_batch_id": "BATCH1", "sender_batch_id": "OURS",
            "transaction_status": "SUCCESS", "payout_item": {"sender_item_id": "MINE"},
        });
        assert_eq!(subjects(kind, resource), (of(&["MINE", "OURS"]), of(&["BATCH1", "ITEM1"])));
        let old = json!({
            "payout_batch_id": "BATCH1", "payout_item": {"sender_item_id": "MINE"},
            "links": [
                {"href": "https://api.paypal.com/v1/payments/payouts-item/ITEM1", "rel": "self"},
                {"href": "https://api.paypal.com/v1/payments/payouts/BATCH1?page=1"},
            ],
        });
        assert_eq!(subjects(kind, old), (of(&["MINE"]), of(&["BATCH1", "ITEM1"])));
    }

    #[test]
    fn a_batchs_event_names_the_batch() {
        let resource = json!({"batch_header": {
            "payout_batch_id": "BATCH1", "sender_batch_header": {"sender_batch_id": "OURS"},
        }});
        let kind = "PAYMENT.PAYOUTSBATCH.SUCCESS";
        assert_eq!(subjects(kind, resource), (of(&["OURS"]), of(&["BATCH1"])));
    }

    #[test]
    fn an_event_of_another_kind_is_kept_and_is_about_nothing_of_ours() {
        let resource = json!({"payout_item_id": "ITEM1", "sender_batch_id": "OURS"});
        assert_eq!(subjects("PAYMENT.SALE.COMPLETED", resource), (of(&[]), of(&[])));
        assert_eq!(subjects("PAYMENT.PAYOUTSBATCH.DENIED", json!(7)), (of(&[]), of(&[])));
    }

    #[test]
    fn what_has_no_id_or_no_type_is_no_event() {
        for text in ["", "{}", "[]", "7", r#"{"id":"WH-1"}"#, r#"{"id":"","event_type":"X"}"#] {
            assert_eq!(event_of(text), None, "{text}");
        }
    }
}
