//! What happens and is told to others: its kinds, and who wants which.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::PayoutStatus;
use super::words::words;

words! {
    /// What happened, in the words of the API.
    EventKind as "event" {
        PayoutRequested = "payout.requested",
        PayoutApproved = "payout.approved",
        PayoutProcessing = "payout.processing",
        PayoutCompleted = "payout.completed",
        PayoutFailed = "payout.failed",
        PayoutCancelled = "payout.cancelled",
        PayoutReturned = "payout.returned",
        /// Its money may be on its way, and nobody but a person can say.
        PayoutReview = "payout.review",
        MethodCreated = "method.created",
        MethodVerified = "method.verified",
        MethodFailed = "method.failed",
        MethodChanged = "method.changed",
        MethodDisabled = "method.disabled",
        CommissionReversed = "commission.reversed",
        /// It waits until a person lets it go.
        PayoutApprovalNeeded = "payout.approval_needed",
        /// What a run at a coming instant would do.
        RunAnnounced = "run.announced",
        /// A run is over: what it did.
        RunFinished = "run.finished",
        /// A run failed, was lost or was stopped, and is not tried again.
        RunFailed = "run.failed",
        /// A limit kept somebody from being paid.
        LimitHit = "limit.hit",
        /// A rail has less money than waits for it.
        FundingShort = "funding.short",
    }
}

words! {
    /// How far an event got on its way to one endpoint.
    DeliveryStatus as "delivery status" {
        /// It is tried until it arrives or too many tries have failed.
        Pending = "pending",
        /// The endpoint answered that it has it.
        Delivered = "delivered",
        /// Every try failed; it is tried again only if somebody asks for it.
        Failed = "failed",
        /// The endpoint was deleted before it arrived.
        Dropped = "dropped",
    }
}

impl EventKind {
    /// What is told of a payout that has come to `status`.
    pub fn of_payout(status: PayoutStatus) -> Self {
        match status {
            PayoutStatus::Pending => Self::PayoutRequested,
            PayoutStatus::Approved => Self::PayoutApproved,
            PayoutStatus::Processing => Self::PayoutProcessing,
            PayoutStatus::Completed => Self::PayoutCompleted,
            PayoutStatus::Failed => Self::PayoutFailed,
            PayoutStatus::Cancelled => Self::PayoutCancelled,
            PayoutStatus::Returned => Self::PayoutReturned,
        }
    }

    /// The word before the dot.
    fn family(self) -> &'static str {
        self.as_str().split('.').next().unwrap_or_default()
    }
}

/// Which kinds are wanted: `payout.completed`, all of a family (`payout.*`), or all (`*`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Wants(Vec<String>);

/// A list of wanted kinds that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WantsError {
    #[error("it wants nothing: name kinds of events, \"payout.*\" or \"*\"")]
    Nothing,
    #[error("\"{pattern}\" is no kind of event: expected \"*\", {expected}")]
    Unknown { pattern: String, expected: String },
}

impl Wants {
    /// The wish for all kinds.
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// Whether events of this kind are wanted.
    pub fn covers(&self, kind: EventKind) -> bool {
        self.0.iter().any(|pattern| matches(pattern, kind))
    }

    /// The kinds as they were named.
    pub fn patterns(&self) -> &[String] {
        &self.0
    }
}

fn matches(pattern: &str, kind: EventKind) -> bool {
    match pattern.strip_suffix(".*") {
        Some(family) => family == kind.family(),
        None => pattern == "*" || pattern == kind.as_str(),
    }
}

impl TryFrom<Vec<String>> for Wants {
    type Error = WantsError;

    fn try_from(mut patterns: Vec<String>) -> Result<Self, WantsError> {
        patterns.sort();
        patterns.dedup();
        if patterns.is_empty() {
            return Err(WantsError::Nothing);
        }
        let known = |pattern: &&String| EventKind::ALL.iter().any(|kind| matches(pattern, *kind));
        if let Some(pattern) = patterns.iter().find(|pattern| !known(pattern)) {
            let mut expected: Vec<_> =
                EventKind::ALL.iter().map(|kind| format!("\"{}.*\"", kind.family())).collect();
            expected.dedup();
            expected.extend(EventKind::ALL.iter().map(|kind| format!("\"{kind}\"")));
            let (pattern, expected) = (pattern.clone(), expected.join(", "));
            return Err(WantsError::Unknown { pattern, expected });
        }
        Ok(Self(patterns))
    }
}

impl From<Wants> for Vec<String> {
    fn from(wants: Wants) -> Self {
        wants.0
    }
}

/// Kinds between commas.
impl FromStr for Wants {
    type Err = WantsError;

    fn from_str(text: &str) -> Result<Self, WantsError> {
        let patterns = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        Self::try_from(patterns.map(str::to_owned).collect::<Vec<_>>())
    }
}

impl fmt::Display for Wants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(text: &str) -> Wants {
        text.parse().expect("kinds of events")
    }

    #[test]
    fn kinds_are_wanted_one_by_one_by_family_or_all() {
        assert!(wants("*").covers(EventKind::CommissionReversed));
        assert!(wants("payout.*").covers(EventKind::PayoutReview));
        assert!(!wants("payout.*").covers(EventKind::MethodCreated));
        let two = wants("payout.failed, method.failed");
        let covered: Vec<_> = EventKind::ALL.iter().filter(|kind| two.covers(**kind)).collect();
        assert_eq!(covered, [&EventKind::PayoutFailed, &EventKind::MethodFailed]);
    }

    #[test]
    fn a_wish_for_nothing_or_for_what_does_not_exist_is_refused() {
        assert_eq!("".parse::<Wants>(), Err(WantsError::Nothing));
        for text in ["payout", "payout.", ".*", "payout.paid", "payouts.*", "**", "PAYOUT.*"] {
            let refused = text.parse::<Wants>().expect_err(text);
            assert!(refused.to_string().contains("\"payout.*\""), "{refused}");
        }
    }

    #[test]
    fn a_wish_is_kept_once_each_and_in_order() {
        assert_eq!(wants("payout.*,*,payout.*").to_string(), "*,payout.*");
    }
}
