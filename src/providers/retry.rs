//! The retry policy of calls that are safe to repeat: look-ups and tokens. A call that moves
//! money is never made through here. The only file that knows the backoff crate.

use std::time::Duration;

use backoff::ExponentialBackoffBuilder;

/// Calls in all, the first one included.
const MAX_CALLS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// No further call is begun after this long: whoever asked has other work, and asks again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a call did not give what was asked.
#[derive(Debug)]
pub(super) enum Setback<E> {
    /// It may pass; `wait` is what the other side asked for.
    Passing { error: E, wait: Option<Duration> },
    /// Repeating the call changes nothing.
    Lasting(E),
}

/// Makes `call` until it succeeds, fails for good, or patience runs out.
///
/// # Errors
/// The last call's error.
pub(super) async fn patiently<T, E, F, Fut>(mut call: F) -> Result<T, E>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Setback<E>>>,
{
    let policy = ExponentialBackoffBuilder::new()
        .with_initial_interval(FIRST_WAIT)
        .with_max_interval(LONGEST_WAIT)
        .with_max_elapsed_time(Some(PATIENCE))
        .build();
    let mut calls = 0;
    let attempt = || {
        calls += 1;
        let last = calls >= MAX_CALLS;
        let outcome = call();
        async move { outcome.await.map_err(|setback| judge(setback, last)) }
    };
    backoff::future::retry(policy, attempt).await
}

/// A wait that the other side asked for is taken as it is by the crate, whatever its length;
/// one beyond our own longest is therefore the end.
fn judge<E>(setback: Setback<E>, last: bool) -> backoff::Error<E> {
    match setback {
        Setback::Lasting(error) => backoff::Error::permanent(error),
        Setback::Passing { error, .. } if last => backoff::Error::permanent(error),
        Setback::Passing { error, wait: None } => backoff::Error::transient(error),
        Setback::Passing { error, wait: Some(wait) } if wait > LONGEST_WAIT => {
            backoff::Error::permanent(error)
        }
        Setback::Passing { error, wait: Some(wait) } => backoff::Error::retry_after(error, wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn calls_made(setback: fn() -> Setback<&'static str>) -> u32 {
        let mut calls = 0;
        let outcome: Result<(), _> = patiently(|| {
            calls += 1;
            async move { Err(setback()) }
        })
        .await;
        assert_eq!(outcome, Err("down"));
        calls
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_a_few_times_and_no_more() {
        let no_wait = || Setback::Passing { error: "down", wait: Some(Duration::ZERO) };
        assert_eq!(calls_made(no_wait).await, MAX_CALLS);
    }

    #[tokio::test]
    async fn what_lasts_or_asks_for_too_long_a_wait_is_not_tried_again() {
        assert_eq!(calls_made(|| Setback::Lasting("down")).await, 1);
        let an_hour = || Setback::Passing { error: "down", wait: Some(Duration::from_secs(3600)) };
        assert_eq!(calls_made(an_hour).await, 1);
    }

    #[tokio::test]
    async fn a_call_that_recovers_gives_its_answer() {
        let mut calls = 0;
        let outcome: Result<u32, &str> = patiently(|| {
            calls += 1;
            let now = calls;
            async move {
                let wait = Some(Duration::ZERO);
                if now < 3 { Err(Setback::Passing { error: "down", wait }) } else { Ok(now) }
            }
        })
        .await;
        assert_eq!(outcome, Ok(3));
    }
}
