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
    /// A clock that stands still until it is moved, for tests and for the demo.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now`.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(now.timestamp_millis())))
    }

    /// The time, truncated to milliseconds: what both databases keep.
    pub fn now(&self) -> DateTime<Utc> {
        let millis = match self {
            #[expect(clippy::disallowed_methods, reason = "this is the room for the wall clock")]
            Self::System => Utc::now().timestamp_millis(),
            Self::Fixed(millis) => millis.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_millis(millis).expect("a clock stays within chrono's range")
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
