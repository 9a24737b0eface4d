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
    draining: AtomicBool,
}

const NEVER: i64 = i64::MIN;

impl Default for Heart {
    fn default() -> Self {
        Self { last: AtomicI64::new(NEVER), draining: AtomicBool::new(false) }
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
}
