//! How often somebody may call: each caller, and each address that proofs fail from.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::Limits;
use super::problem::Problem;
use crate::clock::Clock;
use crate::domain::Caller;

/// How long failed proofs are remembered.
const WINDOW: TimeDelta = TimeDelta::seconds(60);
/// Callers and addresses that are kept in mind before what is over is swept out.
const KEPT: usize = 10_000;

/// The counts of one server. Replicas count each for itself.
pub(super) struct Rates {
    callers: DefaultKeyedRateLimiter<String>,
    most_failures: u32,
    failures: Mutex<HashMap<IpAddr, Failures>>,
    swept_at: Mutex<DateTime<Utc>>,
    clock: Clock,
}

/// Failed proofs since the first of them.
struct Failures {
    since: DateTime<Utc>,
    count: u32,
}

impl Rates {
    pub fn new(limits: Limits, clock: Clock) -> Self {
        let per_minute = NonZeroU32::new(limits.requests_per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            callers: RateLimiter::keyed(Quota::per_minute(per_minute)),
            most_failures: limits.failed_proofs_per_minute,
            failures: Mutex::default(),
            swept_at: Mutex::new(clock.now()),
            clock,
        }
    }

    /// Counts a request of a caller.
    ///
    /// # Errors
    /// 429 once it is one too many.
    pub fn count_request(&self, caller: &Caller) -> Result<(), Problem> {
        self.sweep();
        let key = format!("{} {}", caller.org, caller.actor());
        self.callers.check_key(&key).map_err(|wait| {
            let wait = wait.wait_time_from(DefaultClock::default().now());
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            let detail = "the caller asks more often than it may";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail)
                .retry_after(seconds)
        })
    }

    /// Whether an address may try to prove somebody.
    ///
    /// # Errors
    /// 429 while too many proofs failed from there.
    pub fn may_try(&self, address: Option<IpAddr>) -> Result<(), Problem> {
        let Some(address) = address.map(neighbourhood) else { return Ok(()) };
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failed) = failures.get(&address) else { return Ok(()) };
        let left = WINDOW - (self.clock.now() - failed.since);
        if failed.count < self.most_failures || left <= TimeDelta::zero() {
            return Ok(());
        }
        let seconds = u32::try_from(left.num_seconds()).unwrap_or(0).saturating_add(1);
        let detail = "too many tokens or keys from this address were refused";
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail)
            .retry_after(seconds))
    }

    /// Counts a proof that failed.
    pub fn count_failure(&self, address: Option<IpAddr>) {
        let Some(address) = address.map(neighbourhood) else { return };
        self.sweep();
        let now = self.clock.now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failures.entry(address).or_insert(Failures { since: now, count: 0 });
        if now - failed.since >= WINDOW {
            *failed = Failures { since: now, count: 0 };
        }
        failed.count = failed.count.saturating_add(1);
    }

    /// Forgets whoever was not heard of for a while, so that many addresses fill no memory. At most
    /// once in a window; addresses beyond ten times what is kept are not remembered.
    fn sweep(&self) {
        let now = self.clock.now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() > 10 * KEPT {
            failures.clear();
        }
        if failures.len() <= KEPT && self.callers.len() <= KEPT {
            return;
        }
        let mut swept_at = self.swept_at.lock().unwrap_or_else(PoisonError::into_inner);
        if now - *swept_at >= WINDOW {
            *swept_at = now;
            failures.retain(|_, failed| now - failed.since < WINDOW);
            self.callers.retain_recent();
            self.callers.shrink_to_fit();
        }
    }
}

/// Whom an address is counted as: a host of IPv6 has a whole /64 to choose from.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Role;

    fn rates(requests_per_minute: u32) -> (Rates, Clock) {
        let clock = Clock::fixed("2026-03-02T09:00:00Z".parse().expect("a time"));
        let limits = Limits {
            body_bytes: 1,
            body_time: Duration::ZERO,
            answer_time: Duration::ZERO,
            requests_per_minute,
            failed_proofs_per_minute: 3,
        };
        (Rates::new(limits, clock.clone()), clock)
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn an_address_that_failed_too_often_waits_for_the_rest_of_the_minute() {
        let (rates, clock) = rates(1);
        let (bad, good) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..3 {
            rates.may_try(bad).expect("not yet too often");
            rates.count_failure(bad);
        }
        clock.advance(TimeDelta::seconds(59));
        assert_eq!(rates.may_try(bad).expect_err("too often").code, "too_many_failures");
        rates.may_try(good).expect("another address");
        rates.may_try(None).expect("an address that nobody knows");
        clock.advance(TimeDelta::seconds(1));
        rates.may_try(bad).expect("the minute is over");
        rates.count_failure(bad);
        rates.may_try(bad).expect("counted from one again");
    }

    #[test]
    fn a_host_of_ipv6_has_one_count_for_all_of_its_addresses() {
        let (rates, _) = rates(1);
        for host in 0..3 {
            rates.count_failure(address(&format!("2001:db8:0:1::{host}")));
        }
        rates.may_try(address("2001:db8:0:1:ffff::9")).expect_err("the same network");
        rates.may_try(address("2001:db8:0:2::1")).expect("another one");
        for _ in 0..3 {
            rates.count_failure(address("::ffff:192.0.2.7"));
        }
        rates.may_try(address("192.0.2.7")).expect_err("the same address");
    }

    #[test]
    fn addresses_without_end_fill_no_memory() {
        let (rates, clock) = rates(1);
        let kept = |rates: &Rates| rates.failures.lock().expect("nobody panicked").len();
        for number in 0..(10 * KEPT + 5) {
            let number = u32::try_from(number).expect("small");
            rates.count_failure(Some(IpAddr::V4(std::net::Ipv4Addr::from_bits(number))));
        }
        assert!(kept(&rates) <= 10 * KEPT);
        for number in 0..(2 * KEPT) {
            let number = u32::try_from(number).expect("small");
            rates.count_failure(Some(IpAddr::V4(std::net::Ipv4Addr::from_bits(number))));
        }
        clock.advance(WINDOW);
        rates.count_failure(address("192.0.2.1"));
        assert_eq!(kept(&rates), 1);
    }

    #[test]
    fn a_caller_that_asks_too_often_is_told_when_to_come_back_and_bothers_nobody_else() {
        let (rates, _) = rates(2);
        let caller = |id: &str| Caller {
            org: "acme".parse().expect("an id"),
            id: id.to_owned(),
            roles: vec![Role::Partner],
            permissions: Vec::new(),
        };
        rates.count_request(&caller("ana")).expect("the first");
        rates.count_request(&caller("ana")).expect("the second");
        let refused = rates.count_request(&caller("ana")).expect_err("the third");
        assert_eq!((refused.status.as_u16(), refused.code), (429, "too_many_requests"));
        rates.count_request(&caller("ben")).expect("somebody else");
    }
}
