//! What systemd is told: that the process is ready, that it is alive for as long as it looks at its
//! schedules, and how long it still needs once it is to stop. Elsewhere nobody listens, and nothing
//! is sent.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::jobs::Runner;

/// How often it is looked whether there is something to say.
const GLANCE: Duration = Duration::from_millis(500);
/// How often a stop that takes its time asks for more of it, and how much.
const ASK_EVERY: Duration = Duration::from_secs(5);
const MORE_USEC: u32 = 20_000_000;
/// How often it is said in words how things are.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// How the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    /// It looks at its schedules, or need not.
    Fresh,
    /// It should look, and does not.
    Stale,
    /// It is on its way out.
    Stopping,
}

/// What was said, and when, since the beginning.
#[derive(Debug, Default)]
struct Told {
    ready: bool,
    stopping: bool,
    watchdog: Option<Duration>,
    status: Option<(Duration, Health)>,
    asked: Option<Duration>,
}

impl Told {
    /// What is to be said at `at`; `half`: half of what the watchdog waits.
    fn next(
        &mut self,
        at: Duration,
        health: Health,
        half: Option<Duration>,
    ) -> Vec<NotifyState<'static>> {
        let due = |last: Option<Duration>, every| last.is_none_or(|last| at >= last + every);
        let mut says = Vec::new();
        if health == Health::Fresh && !self.ready {
            self.ready = true;
            says.push(NotifyState::Ready);
        }
        if health == Health::Stopping && !self.stopping {
            self.stopping = true;
            says.push(NotifyState::Stopping);
        }
        if health == Health::Stopping && due(self.asked, ASK_EVERY) {
            self.asked = Some(at);
            says.push(NotifyState::ExtendTimeoutUsec(MORE_USEC));
        }
        if health != Health::Stale && half.is_some_and(|half| due(self.watchdog, half)) {
            self.watchdog = Some(at);
            says.push(NotifyState::Watchdog);
        }
        let is_news = self.status.is_none_or(|(_, was)| was != health);
        if is_news || due(self.status.map(|(last, _)| last), STATUS_EVERY) {
            self.status = Some((at, health));
            says.push(NotifyState::Status(match health {
                Health::Fresh => "looking at the schedules",
                Health::Stale if !self.ready => "starting: the schedules were not looked at yet",
                Health::Stale => "the schedules are not being looked at: see the log",
                Health::Stopping => "finishing what is in hand",
            }));
        }
        says
    }
}

/// Tells systemd how the process is, until it is `over`. Beginning with `stop` it is on its way out,
/// and that is said in any case.
pub async fn tell_systemd(runner: Runner, stop: CancellationToken, over: CancellationToken) {
    let half = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    let glance = half.map_or(GLANCE, |half| GLANCE.min(half / 2)).max(Duration::from_millis(10));
    let (began, mut told, mut failed) = (Instant::now(), Told::default(), false);
    loop {
        let stops = stop.is_cancelled() || over.is_cancelled() || runner.pulse.draining();
        let health = if stops {
            Health::Stopping
        } else if runner.pulse.is_fresh(runner.engine.clock.now()) {
            Health::Fresh
        } else {
            Health::Stale
        };
        let says = told.next(began.elapsed(), health, half);
        if !says.is_empty()
            && let Err(cause) = sd_notify::notify(&says)
            && !std::mem::replace(&mut failed, true)
        {
            warn!(event = "systemd.failed", %cause);
        }
        if over.is_cancelled() && told.stopping {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(glance) => {}
            () = stop.cancelled(), if !told.stopping => {}
            () = over.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said in words, at each of these seconds.
    fn said(health: &[(u64, Health)]) -> Vec<String> {
        let (mut told, half) = (Told::default(), Some(Duration::from_secs(10)));
        let at = |(at, health): &(u64, Health)| {
            let says = told.next(Duration::from_secs(*at), *health, half);
            says.iter()
                .map(|one| one.to_string().split('=').next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        health.iter().map(at).collect()
    }

    #[test]
    fn the_watchdog_hears_of_it_only_while_the_schedules_are_looked_at() {
        use Health::{Fresh, Stale, Stopping};
        let said = said(&[
            (0, Stale),
            (1, Fresh),
            (5, Fresh),
            (11, Fresh),
            (40, Stale),
            (60, Stale),
            (61, Stopping),
            (64, Stopping),
            (71, Stopping),
        ]);
        assert_eq!(
            said,
            [
                "STATUS",
                "READY WATCHDOG STATUS",
                "",
                "WATCHDOG",
                "STATUS",
                "",
                "STOPPING EXTEND_TIMEOUT_USEC WATCHDOG STATUS",
                "",
                "EXTEND_TIMEOUT_USEC WATCHDOG",
            ]
        );
    }
}
