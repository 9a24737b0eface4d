//! The daemon: a metronome wakes the tick, the tick queues what is due, runs take what is
//! queued. It stops softly on the first signal and at once on the second: nothing more is taken on,
//! what is in hand stops between two batches and goes back into the queue, and what does not within
//! the grace time is cut off and given back.

mod systemd;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::jobs::Runner;

pub use systemd::tell_systemd;

/// How often the metronome beats.
const BEAT: &str = "*/1 * * * * *";
/// How long runs that are cut off may take to say so.
const LONGEST_GOODBYE: Duration = Duration::from_secs(5);

/// Cancels `stop` on SIGTERM or SIGINT; a second signal ends the process at once. Whatever was
/// in hand then is found by its lease.
///
/// # Errors
/// The host does not let signals be heard.
pub fn stop_on_signals(stop: &CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                warn!(event = "daemon.stop.forced");
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(())
}

/// Runs every enabled schedule until `stop`, then waits up to `drain` for what is in hand; whether
/// all of it was finished.
///
/// # Errors
/// The metronome cannot be started.
pub async fn run(
    runner: &Runner,
    drain: Duration,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let beat = Arc::new(Notify::new());
    let mut metronome = start_metronome(&beat).await?;
    announce(runner);
    runner.pulse.expect();
    let runs = TaskTracker::new();
    while !stop.is_cancelled() {
        tokio::select! {
            () = beat.notified() => {}
            () = stop.cancelled() => break,
        }
        look(runner, &runs, stop).await;
    }
    let drain_ms = u64::try_from(drain.as_millis()).unwrap_or(u64::MAX);
    runner.pulse.drain();
    info!(event = "daemon.stopping", drain_ms);
    if let Err(cause) = metronome.shutdown().await {
        warn!(event = "metronome.stop.failed", %cause);
    }
    runs.close();
    let drained = tokio::time::timeout(drain, runs.wait()).await.is_ok();
    if !drained {
        warn!(event = "daemon.drain.timed_out", "what is in hand is cut off and given back");
        runner.abort();
        if tokio::time::timeout(LONGEST_GOODBYE, runs.wait()).await.is_err() {
            warn!(event = "daemon.abort.timed_out", "what is in hand is found by its lease");
        }
    }
    runner.flush().await;
    if let Err(cause) = runner.leave().await {
        warn!(event = "daemon.leave.failed", %cause);
    }
    info!(event = "daemon.stopped");
    Ok(drained)
}

/// The one job that tokio-cron-scheduler has: no business is done in its callback, and it never
/// sees a zone (ARCHITECTURE.md, "The metronome").
async fn start_metronome(beat: &Arc<Notify>) -> anyhow::Result<JobScheduler> {
    let metronome = JobScheduler::new().await?;
    let beat = Arc::clone(beat);
    let job = Job::new_async(BEAT, move |_, _| {
        let beat = Arc::clone(&beat);
        Box::pin(async move { beat.notify_one() })
    })?;
    metronome.add(job).await?;
    metronome.start().await?;
    Ok(metronome)
}

fn announce(runner: &Runner) {
    let now = runner.engine.clock.now();
    let rails: Vec<_> = runner.engine.rails().map(|rail| rail.kind().as_str()).collect();
    info!(
        event = "daemon.started",
        version = env!("CARGO_PKG_VERSION"),
        database = runner.engine.store.database(),
        rails = rails.join(",")
    );
    for job in runner.catalog.iter() {
        let next = job.schedule.next(now).filter(|_| job.enabled).map(|at| at.to_rfc3339());
        info!(
            event = "job.scheduled",
            job_id = job.job_id,
            enabled = job.enabled,
            schedule = job.schedule.pattern(),
            timezone = job.schedule.zone().name(),
            next_run_at = next
        );
        for warning in job.schedule.warnings(now) {
            warn!(event = "job.schedule.doubtful", job_id = job.job_id, warning);
        }
    }
}

/// One look: queue what is due, start what is queued; one job at most once in a look. Whatever fails
/// of it is tried again at the next beat.
async fn look(runner: &Runner, runs: &TaskTracker, stop: &CancellationToken) {
    if let Err(cause) = runner.tick().await {
        error!(
            event = "scheduler.tick.failed",
            cause = format!("{:#}", anyhow::Error::from(cause))
        );
    }
    let queued = match runner.queued().await {
        Ok(queued) => queued,
        Err(cause) => {
            let cause = format!("{:#}", anyhow::Error::from(cause));
            error!(event = "scheduler.queue.unreadable", cause);
            return;
        }
    };
    let mut started = HashSet::new();
    for run in queued {
        if stop.is_cancelled() || !started.insert(run.job_id.clone()) {
            continue;
        }
        let (runner, stop) = (runner.clone(), stop.clone());
        runs.spawn(async move {
            if let Err(cause) = runner.run_queued(&run, &stop).await {
                error!(event = "job.run.not_run", job_id = run.job_id, run_id = %run.run_id, %cause);
            }
        });
    }
}
