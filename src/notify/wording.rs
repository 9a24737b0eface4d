//! What an operator reads: an event as the subject and the text of a mail.

use std::fmt::Write;

use serde_json::Value;

/// The longest subject, in characters.
const LONGEST_SUBJECT: usize = 150;

/// The subject and the text of a mail about an event of an org, from the very bytes that others are
/// sent.
pub(super) fn of(org: &str, event_id: &str, body: &str) -> (String, String) {
    let event: Value = serde_json::from_str(body).unwrap_or_default();
    let (kind, data) = (word(&event["type"]), &event["data"]);
    let what = what(&kind, data);
    let subject: String = format!("[payoutd {org}] {what}").chars().take(LONGEST_SUBJECT).collect();
    let mut text = format!("{what}\n\n");
    lines(&mut text, "", data);
    writeln!(text, "\nevent: {kind}\nat: {}", word(&event["timestamp"])).expect("text");
    writeln!(text, "org: {org}\nid: {event_id}").expect("text can be written to");
    (subject, text)
}

/// The event in one sentence.
fn what(kind: &str, data: &Value) -> String {
    let of = |name: &str| word(&data[name]);
    match kind {
        "run.finished" => {
            let counts = &data["counts"];
            let (acted, seen) = (word(&counts["acted"]), word(&counts["seen"]));
            let moved = sums(&data["amounts"]);
            format!("{} {}: {acted} of {seen}{moved}", of("jobId"), of("state"))
        }
        "run.failed" => match &data["errorCode"] {
            Value::Null => format!("{} {}", of("jobId"), of("state")),
            code => format!("{} {}: {}", of("jobId"), of("state"), word(code)),
        },
        "run.announced" => {
            let pays = &data["wouldPay"];
            let (count, sums) = (word(&pays["count"]), sums(&pays["amounts"]));
            format!("{} at {} would pay {count}{sums}", of("jobId"), of("scheduledFor"))
        }
        "payout.approval_needed" => {
            let (amount, currency) = (of("amount"), of("currency"));
            format!("a payout of {amount} {currency} waits for an approval ({})", of("payoutId"))
        }
        "funding.short" => match &data["waiting"] {
            Value::Null => format!("{} is short of {}", of("provider"), of("currency")),
            waiting => format!(
                "{} is short of {}: payouts of {} wait",
                of("provider"),
                of("currency"),
                word(&waiting["amount"])
            ),
        },
        "limit.hit" => format!(
            "{}: {} kept payouts back (wants {}, found {})",
            of("jobId"),
            of("limit"),
            of("wants"),
            of("found")
        ),
        _ => match &data["payoutId"] {
            Value::Null => kind.to_owned(),
            payout => format!("{kind}: {}", word(payout)),
        },
    }
}

fn sums(amounts: &Value) -> String {
    let sum = |one: &Value| format!(", {} {}", word(&one["amount"]), word(&one["currency"]));
    amounts.as_array().into_iter().flatten().map(sum).collect()
}

/// A value in words: no quotes around text, and no control characters in it.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}

/// One line for each value, with the path that leads to it.
fn lines(text: &mut String, path: &str, value: &Value) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| lines(text, &below(name), value));
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                lines(text, &below(&(at + 1).to_string()), value);
            }
        }
        Value::Null => {}
        value => writeln!(text, "{path}: {}", word(value)).expect("text can be written to"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(kind: &str, data: Value) -> String {
        let event = json!({ "type": kind, "timestamp": "2026-03-02T09:00:00.000Z", "data": data });
        of("acme", "evt_1", &event.to_string()).0
    }

    #[test]
    fn a_subject_says_what_happened() {
        let counts = json!({ "seen": 40, "acted": 12, "skipped": 28, "failed": 0 });
        let amounts = json!([{ "currency": "USD", "amount": 120.5 }]);
        let run = json!({ "jobId": "auto-payout", "state": "succeeded", "counts": counts,
                          "amounts": amounts.clone() });
        let said = "[payoutd acme] auto-payout succeeded: 12 of 40, 120.5 USD";
        assert_eq!(subject("run.finished", run), said);
        let run = json!({ "jobId": "auto-payout", "state": "failed", "errorCode": "anomaly" });
        assert_eq!(subject("run.failed", run), "[payoutd acme] auto-payout failed: anomaly");
        let limit = json!({ "jobId": "auto-payout", "limit": "run_limit_reached",
                            "wants": "at most 100.00 USD", "found": "120.00 USD" });
        let said = "[payoutd acme] auto-payout: run_limit_reached kept payouts back (wants at most \
                    100.00 USD, found 120.00 USD)";
        assert_eq!(subject("limit.hit", limit), said);
        let plan = json!({ "jobId": "auto-payout", "scheduledFor": "2026-03-09T09:00:00.000Z",
                           "wouldPay": { "count": 2, "amounts": amounts } });
        let said = "[payoutd acme] auto-payout at 2026-03-09T09:00:00.000Z would pay 2, 120.5 USD";
        assert_eq!(subject("run.announced", plan), said);
        let payout = json!({ "payoutId": "po_1", "amount": 50, "currency": "EUR" });
        let said = "[payoutd acme] a payout of 50 EUR waits for an approval (po_1)";
        assert_eq!(subject("payout.approval_needed", payout.clone()), said);
        assert_eq!(subject("payout.failed", payout), "[payoutd acme] payout.failed: po_1");
    }

    #[test]
    fn what_others_wrote_makes_no_lines_of_its_own() {
        let data = json!({ "jobId": "x\r\nBcc: y@example.com", "state": "failed" });
        let event = json!({ "type": "run.failed", "data": data }).to_string();
        let (subject, text) = of("acme", "evt_1", &event);
        assert!(!subject.contains(['\r', '\n']), "{subject:?}");
        assert!(text.contains("jobId: xBcc: y@example.com\n"), "{text}");
    }
}
