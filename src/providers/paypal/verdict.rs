//! What an answer to a send means. Whatever is not listed here is `Unknown`: the money may have
//! left, and a look-up or the same send again will tell.

use chrono::TimeDelta;

use super::wire::{Refusal, problem_of, receiver, taken_batch_id, text_of};
use crate::domain::Reference;
use crate::providers::http::Answer;
use crate::providers::{Outgoing, Problem, Sent};

/// Errors that are about us, not about a payee: they pass once an operator has seen to them.
const BLOCKING: [&str; 7] = [
    "ACCOUNT_RESTRICTED",
    "AUTHORIZATION_ERROR",
    "CLOSED_MARKET",
    "NON_HOLDING_CURRENCY",
    "REQUIRED_SCOPE_MISSING",
    "USER_COUNTRY_NOT_ALLOWED",
    "USER_FUNDING_SOURCE_INELIGIBLE",
];

/// Errors of PayPal's own making: what it did before it gave up is not said.
const UNCLEAR: [&str; 4] = [
    "INTERNAL_ERROR",
    "INTERNAL_SERVER_ERROR",
    "PREVIOUS_REQUEST_IN_PROGRESS",
    "REQUEST_TIMEOUT_EXCEEDED",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Taken,
    TakenBefore,
    SlowDown,
    Blocked,
    Short,
    Refused,
    Unclear,
}

/// What became of the batch that was answered with `answer`.
pub(super) fn of_send(outgoing: &Outgoing, answer: &Answer) -> Sent {
    let refusal = Refusal::read(&answer.text);
    let problem = problem_of(answer);
    let accepted = |id: Option<String>| match id {
        Some(id) => Sent::Accepted { provider_batch_id: Some(id) },
        None => Sent::Unknown(problem.clone()),
    };
    match meaning(answer.status, refusal.as_ref()) {
        Meaning::Taken => accepted(taken_batch_id(&answer.text)),
        Meaning::TakenBefore => accepted(refusal.and_then(|refusal| refusal.linked_batch_id())),
        Meaning::SlowDown => {
            let retry_after = answer.retry_after.and_then(|wait| TimeDelta::from_std(wait).ok());
            Sent::Throttled { retry_after, problem }
        }
        Meaning::Blocked => Sent::Blocked(problem),
        Meaning::Short => Sent::Short(problem),
        Meaning::Refused => {
            let items = refusal.map(|refusal| refused_items(outgoing, &refusal));
            Sent::Refused { items: items.unwrap_or_default(), problem }
        }
        Meaning::Unclear => Sent::Unknown(problem),
    }
}

/// The table: first match wins.
fn meaning(status: u16, refusal: Option<&Refusal>) -> Meaning {
    let name = refusal.map_or("", |refusal| refusal.name.as_str());
    let duplicate = refusal.is_some_and(Refusal::speaks_of_a_duplicate);
    match (status, name) {
        (200..=299, _) => Meaning::Taken,
        // PayPal says no in words. A status without them is somebody else's, or came after the
        // effect.
        (_, "") => Meaning::Unclear,
        (429, _) => Meaning::SlowDown,
        (401 | 403, _) => Meaning::Blocked,
        (400..=599, "INSUFFICIENT_FUNDS") => Meaning::Short,
        (400..=499, _) if duplicate => Meaning::TakenBefore,
        (400..=499, name) if BLOCKING.contains(&name) => Meaning::Blocked,
        (400..=499, name) if name.starts_with("SENDER_") => Meaning::Blocked,
        (400..=499, name) if name.starts_with("RATE_LIMIT_") => Meaning::SlowDown,
        (400 | 422, name) if UNCLEAR.contains(&name) => Meaning::Unclear,
        // A duplicate is reported under this name. Without a detail to tell it from one it
        // could be one, and a duplicate that is taken for a refusal would be paid twice.
        (400 | 422, "USER_BUSINESS_ERROR") if !says_what(refusal) => Meaning::Unclear,
        (400 | 422, _) => Meaning::Refused,
        _ => Meaning::Unclear,
    }
}

fn says_what(refusal: Option<&Refusal>) -> bool {
    let mut details = refusal.iter().flat_map(|refusal| &refusal.details);
    details.any(|detail| text_of(detail, "issue").is_some())
}

/// The items that the details name, each once, with what is said of it.
fn refused_items(outgoing: &Outgoing, refusal: &Refusal) -> Vec<(Reference, Problem)> {
    let mut refused: Vec<(Reference, Problem)> = Vec::new();
    for detail in &refusal.details {
        let issue = text_of(detail, "issue").unwrap_or_default();
        let field = text_of(detail, "field").unwrap_or_default();
        let problem = Problem::new(refusal.name.clone(), format!("{field} {issue}").trim());
        // What is wrong with an address is wrong with every payment to it.
        let of_method = field.to_ascii_lowercase().ends_with("receiver");
        let problem = if of_method { problem.of_method() } else { problem };
        let items = outgoing.items.iter().enumerate();
        let value = text_of(detail, "value").filter(|value| !value.is_empty());
        let named = items.filter(|(index, item)| match item_index(field) {
            Some(named) => *index == named,
            None => value.is_some_and(|v| v == receiver(item) || v == item.reference.as_str()),
        });
        for (_, item) in named {
            if refused.iter().all(|(reference, _)| *reference != item.reference) {
                refused.push((item.reference.clone(), problem.clone()));
            }
        }
    }
    refused
}

/// The item that a field names: `items[3].receiver`, `/items/3/receiver`, `ITEMS[3]`.
fn item_index(field: &str) -> Option<usize> {
    let field = field.to_ascii_lowercase();
    let (_, rest) = field.split_once("items")?;
    let rest = rest.strip_prefix(['[', '/', '.'])?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{Destination, MethodKind, Money};
    use crate::providers::OutgoingItem;
    use chrono::DateTime;

    fn outgoing() -> Outgoing {
        let currency = "USD".parse().expect("a currency");
        let item = |index: usize| {
            let destination = format!(r#"{{"email":"payee-{index}@example.com"}}"#);
            OutgoingItem::new(
                format!("ITEM0000000000{index}").parse().expect("a reference"),
                "po_01JMAGWPW0000000000000000A".parse().expect("an id"),
                Destination::parse(MethodKind::Paypal, &destination).expect("a destination"),
                Money::new(1_234, currency),
            )
        };
        let (org, reference) = ("acme".parse(), "BATCH0000000001".parse());
        let (org, reference) = (org.expect("an id"), reference.expect("a reference"));
        let items = (0..4).map(item).collect();
        Outgoing::new(org, reference, items, currency, DateTime::UNIX_EPOCH)
    }

    fn verdict(status: u16, text: &str) -> Sent {
        of_send(&outgoing(), &Answer { status, retry_after: None, text: text.to_owned() })
    }

    fn named(status: u16, name: &str) -> Sent {
        verdict(status, &json!({"name": name, "message": "m", "debug_id": "d"}).to_string())
    }

    /// The outcome in one word.
    fn word(sent: &Sent) -> &'static str {
        match sent {
            Sent::Accepted { .. } => "accepted",
            Sent::NotSent(_) => "not sent",
            Sent::Throttled { .. } => "throttled",
            Sent::Blocked(_) => "blocked",
            Sent::Short(_) => "short",
            Sent::Refused { .. } => "refused",
            Sent::Unknown(_) => "unknown",
        }
    }

    #[test]
    fn no_status_says_anything_without_words() {
        for status in 100..1000 {
            for text in ["", "<html>", "{}", "[]", "null", r#"{"name":""}"#, r#"{"name":7}"#] {
                assert_eq!(word(&verdict(status, text)), "unknown", "{status} {text}");
            }
        }
    }

    #[test]
    fn only_a_2xx_with_a_batch_id_is_accepted() {
        let body = r#"{"batch_header":{"payout_batch_id":"B1","batch_status":"PENDING"}}"#;
        for status in 100..1000 {
            let accepted = word(&verdict(status, body)) == "accepted";
            assert_eq!(accepted, (200..300).contains(&status), "{status}");
        }
        let empty = r#"{"batch_header":{"payout_batch_id":""}}"#;
        assert_eq!(word(&verdict(201, empty)), "unknown");
    }

    #[test]
    fn every_named_error_has_its_one_meaning() {
        for (status, name, expected) in [
            (400, "VALIDATION_ERROR", "refused"),
            (422, "VALIDATION_ERROR", "refused"),
            (400, "MALFORMED_REQUEST_JSON", "refused"),
            (400, "SYNC_MODE_NOT_APPLICABLE", "refused"),
            (400, "SOMETHING_NEW", "refused"),
            (400, "USER_BUSINESS_ERROR", "unknown"),
            (400, "NON_HOLDING_CURRENCY", "blocked"),
            (422, "NON_HOLDING_CURRENCY", "blocked"),
            (400, "CLOSED_MARKET", "blocked"),
            (400, "SENDER_LOCKED", "blocked"),
            (403, "SENDER_RESTRICTED", "blocked"),
            (403, "SENDER_EMAIL_UNCONFIRMED", "blocked"),
            (403, "AUTHORIZATION_ERROR", "blocked"),
            (403, "REQUIRED_SCOPE_MISSING", "blocked"),
            (400, "REQUIRED_SCOPE_MISSING", "blocked"),
            (403, "SOMETHING_NEW", "blocked"),
            (400, "INSUFFICIENT_FUNDS", "short"),
            (422, "INSUFFICIENT_FUNDS", "short"),
            (500, "INSUFFICIENT_FUNDS", "short"),
            (429, "RATE_LIMIT_REACHED", "throttled"),
            (400, "RATE_LIMIT_VALIDATION", "throttled"),
            (400, "PREVIOUS_REQUEST_IN_PROGRESS", "unknown"),
            (500, "PREVIOUS_REQUEST_IN_PROGRESS", "unknown"),
            (400, "REQUEST_TIMEOUT_EXCEEDED", "unknown"),
            (504, "REQUEST_TIMEOUT_EXCEEDED", "unknown"),
            (400, "INTERNAL_ERROR", "unknown"),
            (500, "INTERNAL_ERROR", "unknown"),
            (500, "VALIDATION_ERROR", "unknown"),
            (404, "INVALID_RESOURCE_ID", "unknown"),
            (409, "RESOURCE_CONFLICT", "unknown"),
            (415, "UNSUPPORTED_MEDIA_TYPE", "unknown"),
            (302, "VALIDATION_ERROR", "unknown"),
            (200, "VALIDATION_ERROR", "unknown"),
        ] {
            assert_eq!(word(&named(status, name)), expected, "{status} {name}");
        }
    }

    fn duplicate(link: Value) -> String {
        let issue = "Batch with given sender_batch_id already exists";
        let detail = json!({"field": "SENDER_BATCH_ID", "location": "body", "issue": issue});
        let mut body = json!({"name": "USER_BUSINESS_ERROR", "message": "m", "details": [detail]});
        body["details"][0]["link"] = link;
        body.to_string()
    }

    #[test]
    fn a_duplicate_is_our_own_batch_if_it_says_which_and_unknown_if_not() {
        let href = "https://api.paypal.com/v1/payments/payouts/B7?page=1";
        for link in [json!([{"href": href, "rel": "self"}]), json!({"href": href})] {
            let adopted = Sent::Accepted { provider_batch_id: Some("B7".into()) };
            assert_eq!(verdict(400, &duplicate(link)), adopted);
        }
        for link in [json!([]), json!(null), json!([{"href": "https://api.paypal.com/"}])] {
            assert_eq!(word(&verdict(400, &duplicate(link))), "unknown");
        }
    }

    #[test]
    fn a_business_error_that_says_what_is_wrong_is_a_refusal() {
        let body = json!({"name": "USER_BUSINESS_ERROR", "details": [{"issue": "Too many"}]});
        assert_eq!(word(&verdict(400, &body.to_string())), "refused");
    }

    #[test]
    fn a_refusal_names_the_items_that_its_details_name() {
        for (detail, expected) in [
            (json!({"field": "items[3].receiver", "issue": "i"}), vec![3]),
            (json!({"field": "/items/2/receiver", "issue": "i"}), vec![2]),
            (json!({"field": "ITEMS[1]", "issue": "i"}), vec![1]),
            (json!({"field": "x", "value": "payee-2@example.com", "issue": "i"}), vec![2]),
            (json!({"value": "ITEM00000000001", "issue": "i"}), vec![1]),
            (json!({"field": "items[9].receiver", "issue": "i"}), vec![]),
            (json!({"field": "items", "issue": "i"}), vec![]),
            (json!({"field": "items[]", "value": "", "issue": "i"}), vec![]),
            (json!({"field": "items[99999999999999999999]", "issue": "i"}), vec![]),
            (json!("free text"), vec![]),
        ] {
            let body = json!({"name": "VALIDATION_ERROR", "details": [detail.clone(), detail]});
            let Sent::Refused { items, .. } = verdict(400, &body.to_string()) else {
                panic!("{body} is a refusal");
            };
            let outgoing = outgoing();
            let expected: Vec<_> =
                expected.iter().map(|i: &usize| &outgoing.items[*i].reference).collect();
            assert_eq!(items.iter().map(|(reference, _)| reference).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_refusal_of_the_receiver_is_the_methods_fault_and_one_of_anything_else_is_not() {
        for (field, of_method) in [
            ("items[0].receiver", true),
            ("/items/0/receiver", true),
            ("items[0].amount.value", false),
            ("items[0].note", false),
            ("items[0]", false),
        ] {
            let detail = json!({"field": field, "issue": "i"});
            let body = json!({"name": "VALIDATION_ERROR", "details": [detail]});
            let Sent::Refused { items, problem } = verdict(400, &body.to_string()) else {
                panic!("{body} is a refusal");
            };
            assert_eq!(items[0].1.of_method, of_method, "{field}");
            assert!(!problem.of_method, "{field}: it is not the whole batch's");
        }
    }

    #[test]
    fn a_throttle_says_how_long_to_wait_if_paypal_does() {
        let text = json!({"name": "RATE_LIMIT_REACHED", "message": "m"}).to_string();
        let answer = Answer { status: 429, retry_after: Some(Duration::from_secs(7)), text };
        let Sent::Throttled { retry_after, .. } = of_send(&outgoing(), &answer) else {
            panic!("429 is a throttle");
        };
        assert_eq!(retry_after, Some(TimeDelta::seconds(7)));
    }
}
