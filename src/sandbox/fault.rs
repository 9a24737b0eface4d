//! Scripted faults: what goes wrong, on which calls, and how often.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::stripe;

/// The call that [`FaultKind::Unclaimed`] and [`FaultKind::Denied`] are about.
const POST_BATCH: &str = "POST /v1/payments/payouts";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection is closed; nothing happened.
    LostRequest,
    /// It happened, then the connection is closed without an answer.
    LostResponse,
    /// 500; nothing happened.
    ErrorBefore,
    /// It happened, then 500.
    ErrorAfter,
    /// 429 with `Retry-After: 1`; nothing happened.
    Throttle,
    /// It happened; the answer takes its time.
    Slow,
    /// It happened; the answer cannot be read: half of it is missing.
    Garbled,
    /// It happened twice, as if the network had repeated the call; the second answer arrives.
    Doubled,
    /// It happened; the answer has another status.
    WrongStatus,
    /// The batch is taken, and its items end unclaimed.
    Unclaimed,
    /// The batch is taken, and ends denied.
    Denied,
}

/// A fault for the next calls that match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Method and path, such as `POST /v1/payments/payouts`; a `*` at the end stands for any
    /// rest.
    pub on: String,
    /// What goes wrong.
    pub fault: FaultKind,
    /// How many calls go wrong.
    #[serde(default = "once")]
    pub times: u32,
    /// How many matching calls pass before.
    #[serde(default)]
    pub after: u32,
    /// How long a slow answer takes, in milliseconds.
    #[serde(default = "five_seconds")]
    pub delay_ms: u64,
    /// What a wrong status is; 404 unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Only calls that name this receiver; an unclaimed fault then meets this receiver alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
}

fn once() -> u32 {
    1
}

fn five_seconds() -> u64 {
    5_000
}

/// A fault that can never happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadFault {
    #[error("\"{0}\" is no call: expected a method and a path, such as \"{POST_BATCH}\"")]
    NotACall(String),
    #[error("a fault happens at least once: times is 0")]
    Never,
    #[error("{0} is no status: expected 200 to 599")]
    NotAStatus(u16),
    #[error("{fault} is about a batch: it goes on \"{POST_BATCH}\", not on \"{on}\"")]
    NotABatch { fault: &'static str, on: String },
}

/// The faults that are armed, in order.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn arm(&mut self, fault: Fault) -> Result<(), BadFault> {
        let call = fault.on.split_once(' ');
        let is_call = |(method, path): (&str, &str)| {
            let verb = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
            verb && path.starts_with('/') && !path.contains(' ')
        };
        if !call.is_some_and(is_call) {
            return Err(BadFault::NotACall(fault.on));
        }
        if fault.times == 0 {
            return Err(BadFault::Never);
        }
        if let Some(status) = fault.status.filter(|status| !(200..600).contains(status)) {
            return Err(BadFault::NotAStatus(status));
        }
        let about_a_batch = match fault.fault {
            FaultKind::Unclaimed => Some("unclaimed"),
            FaultKind::Denied => Some("denied"),
            _ => None,
        };
        if let Some(name) = about_a_batch
            && !matches(&fault.on, POST_BATCH)
        {
            return Err(BadFault::NotABatch { fault: name, on: fault.on });
        }
        self.0.push(fault);
        Ok(())
    }

    /// The fault that meets this call, if any. The first that is due takes it; one that still
    /// lets calls pass counts it and leaves it to the next.
    pub(super) fn strike(&mut self, call: &str, body: &[u8]) -> Option<Fault> {
        let due = self.0.iter_mut().position(|fault| {
            let matching = matches(&fault.on, call) && names_recipient(fault, body);
            let passes = matching && fault.after > 0;
            fault.after -= u32::from(passes);
            matching && !passes
        })?;
        self.0[due].times -= 1;
        let fault = self.0[due].clone();
        self.0.retain(|fault| fault.times > 0);
        Some(fault)
    }

    pub(super) fn armed(&self) -> &[Fault] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn matches(on: &str, call: &str) -> bool {
    match on.strip_suffix('*') {
        Some(start) => call.starts_with(start),
        None => on == call,
    }
}

fn names_recipient(fault: &Fault, body: &[u8]) -> bool {
    let Some(recipient) = &fault.recipient else { return true };
    let quoted = serde_json::Value::from(recipient.as_str()).to_string();
    body.windows(quoted.len()).any(|window| window == quoted.as_bytes())
        || stripe::gives(body, recipient)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> Fault {
        serde_json::from_str(json).expect("a fault")
    }

    #[test]
    fn a_fault_lets_calls_pass_strikes_as_often_as_told_and_is_gone() {
        let mut faults = Faults::default();
        let lost = r#"{"on":"POST /v1/x","fault":"lost_request","times":2,"after":1}"#;
        faults.arm(fault(lost)).expect("a fault that can happen");
        faults.arm(fault(r#"{"on":"POST /v1/*","fault":"slow"}"#)).expect("another");
        let struck: Vec<_> =
            (0..5).map(|_| faults.strike("POST /v1/x", b"").map(|fault| fault.fault)).collect();
        let (lost, slow) = (Some(FaultKind::LostRequest), Some(FaultKind::Slow));
        assert_eq!(struck, [slow, lost, lost, None, None]);
        assert!(faults.armed().is_empty());
    }

    #[test]
    fn a_fault_meets_only_its_own_call_and_receiver() {
        let mut faults = Faults::default();
        let json = r#"{"on":"POST /v1/payments/payouts","fault":"unclaimed","recipient":"a@b.c"}"#;
        faults.arm(fault(json)).expect("a fault that can happen");
        assert_eq!(faults.strike("GET /v1/payments/payouts", b"\"a@b.c\""), None);
        assert_eq!(faults.strike("POST /v1/payments/payouts", b"\"aa@b.c\""), None);
        assert!(faults.strike("POST /v1/payments/payouts", b"\"a@b.c\"").is_some());
    }

    #[test]
    fn faults_that_can_never_happen_are_refused_with_a_sentence() {
        for (json, sentence) in [
            (r#"{"on":"/v1/x","fault":"slow"}"#, "is no call"),
            (r#"{"on":"post /v1/x","fault":"slow"}"#, "is no call"),
            (r#"{"on":"POST /v1/x","fault":"slow","times":0}"#, "at least once"),
            (r#"{"on":"GET /v1/x","fault":"denied"}"#, "about a batch"),
            (r#"{"on":"GET /v1/x","fault":"wrong_status","status":99}"#, "is no status"),
        ] {
            let refused = Faults::default().arm(fault(json)).expect_err("never happens");
            assert!(refused.to_string().contains(sentence), "{refused}");
        }
    }
}
