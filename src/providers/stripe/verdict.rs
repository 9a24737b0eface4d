//! What an answer to a transfer means. Whatever is not listed here is `Unknown`: the money may
//! have left, and a look-up by its group, or the same send again, will tell.

use chrono::TimeDelta;

use super::wire::{Refusal, problem_of, transfer_id};
use crate::providers::http::Answer;
use crate::providers::{OutgoingItem, Problem, Sent};

/// Errors that blame the connected account (docs.stripe.com/error-codes).
const OF_THE_PAYEE: [&str; 4] = [
    "account_closed",
    "account_invalid",
    "insufficient_capabilities_for_transfer",
    "transfers_not_allowed",
];

/// Errors that are about us and our key, not about a payee.
const BLOCKING: [&str; 7] = [
    "api_key_expired",
    "livemode_mismatch",
    "platform_account_required",
    "platform_api_key_expired",
    "secret_key_required",
    "testmode_charges_only",
    "tls_version_unsupported",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Taken,
    SlowDown,
    Short,
    PayeeRefused,
    Refused,
    Blocked,
    Unclear,
}

/// What became of the transfer that was answered with `answer`.
pub(super) fn of_send(item: &OutgoingItem, answer: &Answer) -> Sent {
    let refusal = Refusal::read(&answer.text).unwrap_or_default();
    let problem = problem_of(answer);
    match meaning(answer.status, &refusal) {
        Meaning::Taken => match transfer_id(&answer.text) {
            Some(id) => Sent::Accepted { provider_batch_id: Some(id) },
            None => Sent::Unknown(problem),
        },
        Meaning::SlowDown => throttled(answer, problem),
        Meaning::Short => Sent::Short(problem),
        Meaning::PayeeRefused => refused(item, problem.of_method()),
        Meaning::Refused => refused(item, problem),
        Meaning::Blocked => Sent::Blocked(problem),
        Meaning::Unclear => Sent::Unknown(problem),
    }
}

/// The one item is refused.
pub(super) fn refused(item: &OutgoingItem, problem: Problem) -> Sent {
    Sent::Refused { items: vec![(item.reference.clone(), problem.clone())], problem }
}

fn throttled(answer: &Answer, problem: Problem) -> Sent {
    let retry_after = answer.retry_after.and_then(|wait| TimeDelta::from_std(wait).ok());
    Sent::Throttled { retry_after, problem }
}

/// The table: first match wins.
fn meaning(status: u16, refusal: &Refusal) -> Meaning {
    let (kind, code) = (refusal.kind.as_str(), refusal.code());
    match (status, kind, code) {
        (200..=299, _, _) => Meaning::Taken,
        // Stripe says no in words. A status without them is somebody else's, or came after the
        // effect: a new key on the strength of it could pay twice.
        (_, "", _) => Meaning::Unclear,
        // Another call holds the key, or the key was used for something else: either way there
        // may be a transfer under it.
        (_, "idempotency_error", _) | (_, _, "idempotency_key_in_use" | "idempotency_error") => {
            Meaning::Unclear
        }
        (429, _, _) | (400..=499, _, "rate_limit" | "lock_timeout") => Meaning::SlowDown,
        (400..=499, _, "balance_insufficient") => Meaning::Short,
        (400..=404, _, _) if blames_the_payee(refusal) => Meaning::PayeeRefused,
        (401 | 403, _, _) => Meaning::Blocked,
        (400, _, code) if BLOCKING.contains(&code) => Meaning::Blocked,
        // Stripe says what is wrong with a request before it does anything with it.
        (400, "invalid_request_error", _) if says_what(refusal) => Meaning::Refused,
        _ => Meaning::Unclear,
    }
}

pub(super) fn blames_the_payee(refusal: &Refusal) -> bool {
    OF_THE_PAYEE.contains(&refusal.code())
        || (refusal.code() == "resource_missing" && refusal.param() == "destination")
}

fn says_what(refusal: &Refusal) -> bool {
    !refusal.code().is_empty() || !refusal.param().is_empty()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::domain::{Destination, MethodKind, Money};

    fn item() -> OutgoingItem {
        let destination = Destination::parse(MethodKind::StripeConnect, r#"{"account":"acct_1"}"#);
        OutgoingItem::new(
            "ITEM00000000001".parse().expect("a reference"),
            "po_01JMAGWPW0000000000000000A".parse().expect("an id"),
            destination.expect("a destination"),
            Money::new(1_234, "USD".parse().expect("a currency")),
        )
    }

    fn verdict(status: u16, text: &str) -> Sent {
        of_send(&item(), &Answer { status, retry_after: None, text: text.to_owned() })
    }

    fn error(kind: &str, code: &str, param: &str) -> String {
        let mut error = json!({"type": kind, "message": "m"});
        for (member, text) in [("code", code), ("param", param)] {
            if !text.is_empty() {
                error[member] = text.into();
            }
        }
        json!({ "error": error }).to_string()
    }

    /// The outcome in one word; a refusal says whom it blames.
    fn word(sent: &Sent) -> &'static str {
        match sent {
            Sent::Accepted { .. } => "accepted",
            Sent::NotSent(_) => "not sent",
            Sent::Throttled { .. } => "throttled",
            Sent::Blocked(_) => "blocked",
            Sent::Short(_) => "short",
            Sent::Refused { items, problem } => {
                let blamed: Vec<_> = items.iter().map(|(reference, p)| (reference, p)).collect();
                assert_eq!(blamed, [(&item().reference, problem)]);
                if problem.of_method { "method refused" } else { "refused" }
            }
            Sent::Unknown(_) => "unknown",
        }
    }

    #[test]
    fn no_status_says_anything_without_words() {
        for status in 100..1000 {
            for text in ["", "<html>", "{}", "[]", "null", r#"{"error":7}"#, r#"{"error":{}}"#] {
                assert_eq!(word(&verdict(status, text)), "unknown", "{status} {text}");
            }
        }
    }

    #[test]
    fn only_a_2xx_with_the_id_of_a_transfer_is_accepted() {
        let body = r#"{"id":"tr_1","object":"transfer"}"#;
        for status in 100..1000 {
            let accepted = word(&verdict(status, body)) == "accepted";
            assert_eq!(accepted, (200..300).contains(&status), "{status}");
        }
        let made = Sent::Accepted { provider_batch_id: Some("tr_1".into()) };
        assert_eq!(verdict(200, body), made);
        for body in [r#"{"id":""}"#, r#"{"id":"tr_"}"#, r#"{"id":"po_1"}"#, r#"{"id":7}"#] {
            assert_eq!(word(&verdict(200, body)), "unknown", "{body}");
        }
    }

    #[test]
    fn every_named_error_has_its_one_meaning() {
        let invalid = "invalid_request_error";
        for (status, kind, code, param, expected) in [
            (400, invalid, "balance_insufficient", "", "short"),
            (402, invalid, "balance_insufficient", "", "short"),
            (400, invalid, "account_invalid", "", "method refused"),
            (403, invalid, "account_invalid", "", "method refused"),
            (400, invalid, "insufficient_capabilities_for_transfer", "", "method refused"),
            (400, invalid, "transfers_not_allowed", "", "method refused"),
            (400, invalid, "resource_missing", "destination", "method refused"),
            (404, invalid, "resource_missing", "destination", "method refused"),
            (400, invalid, "parameter_invalid_integer", "amount", "refused"),
            (400, invalid, "amount_too_small", "", "refused"),
            (400, invalid, "", "currency", "refused"),
            (400, invalid, "resource_missing", "source_transaction", "refused"),
            (400, invalid, "", "", "unknown"),
            (400, "something_new", "amount_too_small", "amount", "unknown"),
            (404, invalid, "resource_missing", "transfer", "unknown"),
            (400, invalid, "secret_key_required", "", "blocked"),
            (400, invalid, "testmode_charges_only", "", "blocked"),
            (401, invalid, "api_key_expired", "", "blocked"),
            (403, invalid, "more_permissions_required", "", "blocked"),
            (429, invalid, "rate_limit", "", "throttled"),
            (429, invalid, "lock_timeout", "", "throttled"),
            (400, invalid, "lock_timeout", "", "throttled"),
            (429, "api_error", "", "", "throttled"),
            (409, "idempotency_error", "idempotency_key_in_use", "", "unknown"),
            (409, invalid, "idempotency_key_in_use", "", "unknown"),
            (429, invalid, "idempotency_key_in_use", "", "unknown"),
            (400, "idempotency_error", "", "", "unknown"),
            (400, "idempotency_error", "parameter_invalid", "amount", "unknown"),
            (402, "card_error", "card_declined", "", "unknown"),
            (402, invalid, "amount_too_small", "amount", "unknown"),
            (409, invalid, "amount_too_small", "amount", "unknown"),
            (424, "api_error", "", "", "unknown"),
            (500, "api_error", "", "", "unknown"),
            (500, invalid, "balance_insufficient", "", "unknown"),
            (500, invalid, "account_invalid", "", "unknown"),
            (503, invalid, "rate_limit", "", "unknown"),
            (302, invalid, "amount_too_small", "amount", "unknown"),
            (200, invalid, "amount_too_small", "amount", "unknown"),
        ] {
            let body = error(kind, code, param);
            assert_eq!(word(&verdict(status, &body)), expected, "{status} {body}");
        }
    }

    #[test]
    fn no_5xx_says_anything_whatever_its_body() {
        for status in 500..600 {
            for code in OF_THE_PAYEE.iter().chain(&BLOCKING) {
                let body = error("invalid_request_error", code, "amount");
                assert_eq!(word(&verdict(status, &body)), "unknown", "{status} {code}");
            }
        }
    }

    #[test]
    fn a_throttle_says_how_long_to_wait_if_stripe_does() {
        let retry_after = Some(Duration::from_secs(7));
        let text = error("invalid_request_error", "rate_limit", "");
        let answer = Answer { status: 429, retry_after, text };
        let Sent::Throttled { retry_after, .. } = of_send(&item(), &answer) else {
            panic!("429 is a throttle");
        };
        assert_eq!(retry_after, Some(TimeDelta::seconds(7)));
    }
}
