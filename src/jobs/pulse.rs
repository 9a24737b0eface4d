//! The pulse of a process: when it last looked at the schedules, and whether it is stopping. What
//! tells others that the process is well reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// The last look that succeeded. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Heart>);

#[derive(Debug)]
struct Heart {
    /// In milliseconds since 1970; [`NEVER`] before the first look.
    last: AtomicI64,
    /// Whether the process looks at all: one that only serves the API does not.
    expected: AtomicBool,
    draining: AtomicBool,
}

/// A look that is longer ago than this went wrong, or hangs.
const STALE_AFTER: TimeDelta = TimeDelta::seconds(30);
const NEVER: i64 = i64::MIN;

impl Default for Heart {
    fn default() -> Self {
        let no = || AtomicBool::new(false);
        Self { last: AtomicI64::new(NEVER), expected: no(), draining: no() }
    }
}

impl Pulse {
    /// A look at the schedules succeeded at `now`.
    pub fn beat(&self, now: DateTime<Utc>) {
        self.0.last.store(now.timestamp_millis(), Ordering::SeqCst);
    }

    /// When the last look succeeded; `None` before the first one.
    pub fn last(&self) -> Option<DateTime<Utc>> {
        match self.0.last.load(Ordering::SeqCst) {
            NEVER => None,
            millis => DateTime::from_timestamp_millis(millis),
        }
    }

    /// How long ago that was; `None` before the first one.
    pub fn age(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        self.last().map(|last| now - last)
    }

    /// From now on the process is expected to look: until it has, it is not ready.
    pub fn expect(&self) {
        self.0.expected.store(true, Ordering::SeqCst);
    }

    /// Whether it looked lately, or need not look at all.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        let expected = self.0.expected.load(Ordering::SeqCst);
        !expected || self.age(now).is_some_and(|age| age <= STALE_AFTER)
    }

    /// From now on the process is stopping: it takes on nothing more.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the process is stopping.
    pub fn draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_age_before_the_first_look_and_then_that_of_the_last() {
        let (pulse, now) = (Pulse::default(), DateTime::UNIX_EPOCH);
        assert_eq!((pulse.last(), pulse.age(now), pulse.draining()), (None, None, false));
        pulse.beat(now);
        pulse.clone().drain();
        let later = now + TimeDelta::seconds(31);
        assert_eq!(pulse.age(later), Some(TimeDelta::seconds(31)));
        assert!(pulse.draining());
    }

    #[test]
    fn a_pulse_is_fresh_for_thirty_seconds_and_not_before_the_first_look() {
        let (pulse, now) = (Pulse::default(), DateTime::UNIX_EPOCH);
        assert!(pulse.is_fresh(now), "who does not look is not waited for");
        pulse.expect();
        assert!(!pulse.is_fresh(now));
        pulse.beat(now);
        assert!(pulse.is_fresh(now + TimeDelta::seconds(30)));
        assert!(!pulse.is_fresh(now + TimeDelta::milliseconds(30_001)));
    }
}
