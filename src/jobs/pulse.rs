//! The pulse: when this process last looked at its schedules, and whether it is on its way out. It
//! is what readiness and the watchdog go by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// A look that is longer ago than this went wrong, or hangs.
const STALE_AFTER: TimeDelta = TimeDelta::seconds(30);
/// No look yet.
const NEVER: i64 = i64::MIN;

/// When this process last looked at its schedules. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Signs>);

#[derive(Debug)]
struct Signs {
    expected: AtomicBool,
    /// Milliseconds since 1970.
    beaten_at: AtomicI64,
    draining: AtomicBool,
}

impl Default for Signs {
    fn default() -> Self {
        let no = || AtomicBool::new(false);
        Self { expected: no(), beaten_at: AtomicI64::new(NEVER), draining: no() }
    }
}

impl Pulse {
    /// From now on this process is expected to look: one that only serves the API never does.
    pub fn expect(&self) {
        self.0.expected.store(true, Ordering::SeqCst);
    }

    /// It looked, and the look was done at `now`.
    pub fn beat(&self, now: DateTime<Utc>) {
        self.0.beaten_at.store(now.timestamp_millis(), Ordering::SeqCst);
    }

    /// When it last looked; `None` before the first time.
    pub fn beaten_at(&self) -> Option<DateTime<Utc>> {
        let millis = Some(self.0.beaten_at.load(Ordering::SeqCst)).filter(|at| *at != NEVER)?;
        DateTime::from_timestamp_millis(millis)
    }

    /// How long ago it last looked; `None` before the first time.
    pub fn age(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        self.beaten_at().map(|at| now - at)
    }

    /// Whether it looked lately, or need not look at all.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        let expected = self.0.expected.load(Ordering::SeqCst);
        !expected || self.age(now).is_some_and(|age| age <= STALE_AFTER)
    }

    /// From now on nothing new is begun: the process is on its way out.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the process is on its way out.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_fresh_for_thirty_seconds_and_not_before_the_first_beat() {
        let now: DateTime<Utc> = "2026-11-23T09:00:00Z".parse().expect("an instant");
        let pulse = Pulse::default();
        assert!(pulse.is_fresh(now), "who does not look is not waited for");
        pulse.expect();
        assert!(!pulse.is_fresh(now));
        pulse.beat(now);
        assert!(pulse.is_fresh(now + TimeDelta::seconds(30)));
        assert!(!pulse.is_fresh(now + TimeDelta::milliseconds(30_001)));
        assert_eq!(pulse.age(now + TimeDelta::seconds(3)), Some(TimeDelta::seconds(3)));
    }
}
