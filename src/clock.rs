//! The one room for the wall clock and for randomness. Everybody else is handed a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Minted;

/// Tells the time, in whole milliseconds of UTC, and mints ids. Cloning shares the same clock.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The host's clock.
    System,
    /// The host's clock, put right by what was measured of the database's: one installation has
    /// one time, however many hosts it has. Holds the correction, in milliseconds.
    Corrected(Arc<AtomicI64>),
    /// A clock that stands still until it is moved, for tests and for the demo.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now`.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(now.timestamp_millis())))
    }

    /// The host's clock, to be corrected as soon as another one was asked.
    pub fn corrected() -> Self {
        Self::Corrected(Arc::default())
    }

    /// The time, truncated to milliseconds: what both databases keep.
    pub fn now(&self) -> DateTime<Utc> {
        let millis = match self {
            Self::System => host_millis(),
            Self::Corrected(by) => host_millis().saturating_add(by.load(Ordering::SeqCst)),
            Self::Fixed(millis) => millis.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_millis(millis).expect("a clock stays within chrono's range")
    }

    /// Has the clock agree with another one that showed `there` between `before` and `after` of this
    /// one. A measure that took too long says nothing, and what lies within its own error is left
    /// alone, so that time does not tremble.
    pub fn agree(&self, there: DateTime<Utc>, (before, after): (DateTime<Utc>, DateTime<Utc>)) {
        let Self::Corrected(by) = self else { return };
        let took = (after - before).num_milliseconds();
        let middle = before.timestamp_millis() + took / 2;
        let off = there.timestamp_millis() - middle;
        if (0..=SLOWEST_MEASURE).contains(&took) && off.abs() > (took / 2).max(SMALLEST_STEP) {
            by.fetch_add(off, Ordering::SeqCst);
        }
    }

    /// How far the host's clock is behind (or, below zero, ahead of) the time it is corrected to.
    pub fn correction(&self) -> TimeDelta {
        match self {
            Self::Corrected(by) => TimeDelta::milliseconds(by.load(Ordering::SeqCst)),
            Self::System | Self::Fixed(_) => TimeDelta::zero(),
        }
    }

    /// Moves a fixed clock; the host's clock goes by itself.
    pub fn advance(&self, by: TimeDelta) {
        if let Self::Fixed(millis) = self {
            millis.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }

    /// A new id of now.
    pub fn mint<T: Minted>(&self) -> T {
        Self::mint_at(self.now())
    }

    /// A new id of `at`, for who writes at an instant that was read before.
    pub fn mint_at<T: Minted>(at: DateTime<Utc>) -> T {
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
        T::from_parts(millis, random_bits())
    }

    /// `N` bytes that nobody can guess, for keys and secrets.
    pub fn secret<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        fill(&mut bytes);
        bytes
    }

    /// `base`, give or take a fifth at random, so that checks of one batch spread out.
    pub fn jittered(&self, base: TimeDelta) -> TimeDelta {
        let permille = i64::try_from(random_bits() % 401).expect("below 401") - 200;
        base + TimeDelta::milliseconds(base.num_milliseconds() / 1000 * permille)
    }
}

/// A difference that is not worth a step, in milliseconds.
const SMALLEST_STEP: i64 = 50;
/// The longest that a measure of another clock may take, in milliseconds.
const SLOWEST_MEASURE: i64 = 2_000;

fn host_millis() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the room for the wall clock")]
    Utc::now().timestamp_millis()
}

/// 128 bits from the operating system.
fn random_bits() -> u128 {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

fn fill(bytes: &mut [u8]) {
    #[expect(clippy::disallowed_methods, reason = "this is the room for randomness")]
    getrandom::fill(bytes).expect("the operating system has randomness");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_agrees_with_the_one_that_was_asked_and_a_fixed_one_with_nobody() {
        let clock = Clock::corrected();
        let minutes = TimeDelta::minutes(10);
        let now = clock.now();
        clock.agree(now - minutes, (now, now + TimeDelta::milliseconds(20)));
        let off = (clock.now() - (now - minutes)).num_milliseconds();
        assert!((-100..10_000).contains(&off), "{off} ms");
        assert_eq!(clock.correction().num_minutes(), -10);

        let kept = clock.correction();
        let now = clock.now();
        clock.agree(now + minutes, (now, now + TimeDelta::seconds(3)));
        clock.agree(now + TimeDelta::milliseconds(30), (now, now));
        assert_eq!(clock.correction(), kept, "too slow a measure, and too small a difference");

        let fixed = Clock::fixed(now);
        fixed.agree(now + minutes, (now, now));
        assert_eq!((fixed.now(), fixed.correction()), (now, TimeDelta::zero()));
    }
}
