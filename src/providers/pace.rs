//! The pace of calls that a provider counts: never faster than it allows.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Lets calls leave one by one, evenly spaced, so that no period of the provider's sees more than
/// it allows, wherever the period begins. Whoever shares a rail shares its pace; another process
/// has its own, and the provider's 429 for the rest.
pub(super) struct Pace {
    apart: Duration,
    /// The first instant that nobody has taken.
    next: Mutex<Instant>,
}

impl Pace {
    /// At most `calls` in each `period`. Zero calls count as one.
    pub(super) fn new(calls: u32, period: Duration) -> Self {
        Self { apart: period / calls.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Waits for this call's turn, in the order of asking.
    pub(super) async fn turn(&self) {
        let at = self.taken(&mut *self.next.lock().await, Instant::now());
        sleep_until(at).await;
    }

    /// The turn of who asks `now`, which nobody else gets.
    fn taken(&self, next: &mut Instant, now: Instant) -> Instant {
        let at = now.max(*next);
        *next = at + self.apart;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn no_minute_sees_more_than_the_pace_allows_wherever_it_begins() {
        let (pace, mut next) = (Pace::new(400, MINUTE), Instant::now());
        let mut now = next + 60 * MINUTE;
        let mut left = Vec::new();
        for call in 0..1_000 {
            left.push(pace.taken(&mut next, now));
            // Now and then somebody is late.
            now += Duration::from_millis(if call % 100 == 0 { 3_000 } else { 10 });
        }
        for (index, start) in left.iter().enumerate() {
            let within = left[index..].iter().take_while(|at| **at - *start < MINUTE);
            assert!(within.count() <= 400, "from call {index}");
        }
    }

    #[test]
    fn who_asks_late_has_no_wait_and_saves_none_up_for_others() {
        let (pace, start) = (Pace::new(2, Duration::from_secs(1)), Instant::now());
        let (mut next, late) = (start, start + MINUTE);
        assert_eq!(pace.taken(&mut next, late), late);
        assert_eq!(pace.taken(&mut next, late), late + Duration::from_millis(500));
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_pace() {
        let (start, pace) = (Instant::now(), Pace::new(100, Duration::from_secs(1)));
        tokio::join!(pace.turn(), pace.turn(), pace.turn(), pace.turn());
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}
