//! What a job's file says about instants that were missed, runs that overlap, fail or take too long.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

/// What to do about instants that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Misfire {
    pub policy: MisfirePolicy,
    /// An instant that is older than this when it is noticed is not made up for.
    #[serde(default = "a_week")]
    pub window: Span,
    /// Most instants that `all` makes up for at once: the latest.
    #[serde(default = "ten")]
    pub max_runs: usize,
}

impl Default for Misfire {
    fn default() -> Self {
        Self { policy: MisfirePolicy::default(), window: a_week(), max_runs: ten() }
    }
}

/// Which of the missed instants are made up for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MisfirePolicy {
    /// Run once for the latest; the earlier ones are recorded as skipped.
    #[default]
    Latest,
    /// Record them all as skipped.
    Skip,
    /// Run once for each, oldest first.
    All,
}

/// What to do about an instant at which the run before it is not over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Record it as skipped.
    #[default]
    Skip,
    /// Let it wait; while one waits, the next is recorded as skipped.
    QueueOne,
}

/// How often a run that failed, timed out or was lost is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The first attempt is one of them.
    pub max_attempts: u32,
    /// The pause before the second attempt; it doubles each time.
    pub base: Span,
    /// The longest pause.
    pub cap: Span,
}

impl Default for Retry {
    fn default() -> Self {
        let (base, cap) = (Span(TimeDelta::seconds(30)), Span(TimeDelta::minutes(10)));
        Self { max_attempts: 3, base, cap }
    }
}

impl Retry {
    /// The pause after attempt `attempt`, which failed; `None` if it was the last.
    pub fn pause_after(&self, attempt: i64) -> Option<TimeDelta> {
        if attempt >= i64::from(self.max_attempts) {
            return None;
        }
        let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(30);
        let pause = self.base.0.checked_mul(1 << doublings).unwrap_or(self.cap.0);
        Some(pause.min(self.cap.0))
    }
}

/// A span of time, written as people do: `90s`, `5m`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub TimeDelta);

impl Span {
    /// For tokio's timers.
    pub fn to_std(self) -> std::time::Duration {
        self.0.to_std().unwrap_or_default()
    }

    /// An offset below this span, the same each time for one job and instant, so that replicas and
    /// retries agree on it.
    pub fn jitter(self, job_id: &str, instant: DateTime<Utc>) -> TimeDelta {
        let most = self.0.num_milliseconds().unsigned_abs();
        if most == 0 {
            return TimeDelta::zero();
        }
        let digest = Sha256::digest(format!("{job_id} {}", instant.timestamp_millis()));
        let number = u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"));
        TimeDelta::milliseconds(i64::try_from(number % most).unwrap_or(0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&humantime::format_duration(self.to_std()).to_string())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(from)?;
        let wants = |why: String| D::Error::custom(format!("\"{text}\" is no span of time: {why}"));
        let span = humantime::parse_duration(&text).map_err(|error| wants(error.to_string()))?;
        // A century: sums with instants stay within what a clock can say.
        match TimeDelta::from_std(span) {
            Ok(span) if span <= TimeDelta::days(36_500) => Ok(Self(span)),
            _ => Err(wants("it is longer than a century".to_owned())),
        }
    }
}

fn a_week() -> Span {
    Span(TimeDelta::days(7))
}

fn ten() -> usize {
    10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_before_a_retry_doubles_up_to_its_cap_and_ends_with_the_last_attempt() {
        let retry = Retry {
            max_attempts: 5,
            base: Span(TimeDelta::seconds(30)),
            cap: Span(TimeDelta::seconds(100)),
        };
        let pauses: Vec<_> = (1..=5)
            .map(|attempt| retry.pause_after(attempt).map(|pause| pause.num_seconds()))
            .collect();
        assert_eq!(pauses, [Some(30), Some(60), Some(100), Some(100), None]);
    }

    #[test]
    fn jitter_is_the_same_for_the_same_job_and_instant_and_spreads_the_others() {
        let span = Span(TimeDelta::minutes(10));
        let instant: DateTime<Utc> = "2026-11-23T09:00:00Z".parse().expect("an instant");
        let of = |job: &str| span.jitter(job, instant);
        assert_eq!(of("auto-payout"), of("auto-payout"));
        assert_ne!(of("auto-payout"), of("release-holds"));
        assert!(of("auto-payout") < span.0 && of("auto-payout") >= TimeDelta::zero());
        assert_eq!(Span::default().jitter("auto-payout", instant), TimeDelta::zero());
    }
}
