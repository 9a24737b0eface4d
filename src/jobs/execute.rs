//! How a run goes: its work beside its sign of life, its time-out, the end that is put on record.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use super::seen::{Beginning, Seen};
use super::tick::in_time;
use super::{
    Definition, JobKind, PREVIEW, RunError, Runner, Task, announce, audit_ledger, prune,
    reconcile_transfers, release_holds, request_payouts, submit_transfers,
};
use crate::domain::{Actor, Gate};
use crate::engine::{Counts, EngineError, Reach, Tally, Work};
use crate::store::{NewRun, RunEnd, RunLease, RunRow, StoreError};

/// How long a run may take to stop between two batches after it was told to; then it is cut off.
const WIND_DOWN: Duration = Duration::from_secs(60);
/// How often the end of a run is written again while the database is away.
const MOST_TRIES: u32 = 8;

/// What one run is to do.
#[derive(Debug)]
pub(super) struct Assignment {
    pub lease: RunLease,
    pub scheduled_for: Option<DateTime<Utc>>,
    pub trigger: String,
    pub requested_by: String,
    pub attempt: i64,
    pub max_attempts: i64,
    /// The plan that it does, and nothing else.
    pub plan_hash: Option<String>,
    pub reach: Reach,
    /// Whether a shutdown leaves it for the next process; a person who stops it wants it stopped.
    goes_on: bool,
}

impl Assignment {
    /// A run that waited in the queue.
    pub fn of(run: &RunRow, lease: RunLease, reach: Reach) -> Self {
        Self {
            lease,
            scheduled_for: run.scheduled_for,
            trigger: run.trigger_kind.clone(),
            requested_by: run.requested_by.clone(),
            attempt: run.attempt,
            max_attempts: run.max_attempts,
            plan_hash: run.plan_hash.clone(),
            reach,
            goes_on: true,
        }
    }

    /// A run that a person started and waits for.
    pub fn by_person(run: &NewRun, lease: RunLease, reach: Reach) -> Self {
        Self {
            lease,
            scheduled_for: run.scheduled_for,
            trigger: run.trigger_kind.to_owned(),
            requested_by: run.requested_by.clone(),
            attempt: 1,
            max_attempts: run.max_attempts,
            plan_hash: run.plan_hash.clone(),
            reach,
            goes_on: false,
        }
    }
}

impl Assignment {
    /// What is seen of it from outside, as it begins.
    fn beginning<'a>(&'a self, job: &'a Definition, replica_id: &'a str) -> Beginning<'a> {
        Beginning {
            job,
            lease: &self.lease,
            attempt: self.attempt,
            trigger: &self.trigger,
            scheduled_for: self.scheduled_for,
            requested_by: &self.requested_by,
            replica_id,
            plan_hash: self.plan_hash.as_deref(),
        }
    }
}

/// What stopped a run before it was done by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    No,
    TimedOut,
    /// It did not stop when its time was over, and was dropped where it was.
    CutOff,
    Shutdown,
}

/// What is put on record of an attempt.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Final,
    /// It is queued again, not before this.
    Again(DateTime<Utc>),
    /// It goes on in another process.
    Released,
}

impl Runner {
    pub(super) async fn execute(
        &self,
        job: &Definition,
        assignment: Assignment,
        outer: &CancellationToken,
    ) -> Result<RunRow, RunError> {
        let seen = Seen::started(assignment.beginning(job, self.worker_id()), self);
        // Its own token: a time-out or a lost lease stops this run and no other.
        let stop = outer.child_token();
        let lease = assignment.lease.clone();
        let mut work = Work::by_run(Actor::job(&job.job_id), lease.clone(), stop.clone());
        work.progress = seen.progress.clone();
        let mut tally = Tally::default();
        let mut stopped = Stopped::No;
        let outcome = {
            let task = self.perform(job, &work, &assignment, &mut tally);
            let task = task.instrument(seen.span.clone());
            let signs_of_life = self.show_signs_of_life(&lease, &seen, &stop);
            let timeout = tokio::time::sleep(job.timeout.to_std());
            let cut_off = tokio::time::sleep(job.timeout.to_std().saturating_add(WIND_DOWN));
            tokio::pin!(task, signs_of_life, timeout, cut_off);
            loop {
                tokio::select! {
                    outcome = &mut task => break outcome,
                    () = &mut signs_of_life => unreachable!("they end with the run"),
                    () = &mut timeout, if stopped == Stopped::No => {
                        stopped = Stopped::TimedOut;
                        stop.cancel();
                    }
                    () = &mut cut_off => {
                        stopped = Stopped::CutOff;
                        break Ok(());
                    }
                    () = self.abort.cancelled() => break Ok(()),
                }
            }
        };
        if stopped == Stopped::No && outer.is_cancelled() {
            stopped = Stopped::Shutdown;
        }
        let early = stop.is_cancelled() || self.abort.is_cancelled();
        let cut_off = self.abort.is_cancelled() || stopped == Stopped::CutOff;
        let mut end = run_end(job.kind, &outcome, tally, (stopped, early));
        if cut_off || outcome.is_err() {
            count_so_far(&mut end.0, seen.progress.counts());
        }
        let verdict = self.judge(job, &assignment, &outcome, &end.0, stopped);
        self.finish(job, &assignment, &end, verdict, &seen).await?;
        let row = self.engine.store.run(&lease.run_id).await?;
        row.ok_or_else(|| StoreError::Gone { what: "run", id: lease.run_id.to_string() }.into())
    }

    /// Does a run's work; `tally` has what was done, also when it fails.
    async fn perform(
        &self,
        job: &Definition,
        work: &Work,
        assignment: &Assignment,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let (engine, scope, reach) = (&self.engine, &job.scope, assignment.reach);
        let done = match job.task {
            Task::ReleaseHolds { batch } => {
                return release_holds::run(engine, work, scope, batch, tally).await;
            }
            Task::RequestPayouts { .. } => {
                let due = assignment.scheduled_for.unwrap_or_else(|| engine.clock.now());
                if assignment.trigger == PREVIEW {
                    announce::run(engine, work, job, due).await
                } else {
                    let run = (&assignment.lease.run_id, assignment.plan_hash.as_deref());
                    request_payouts::run(engine, work, job, run, due).await
                }
            }
            Task::SubmitTransfers => submit_transfers::run(engine, work, reach, scope).await,
            Task::ReconcileTransfers => reconcile_transfers::run(engine, work, reach, scope).await,
            Task::AuditLedger => audit_ledger::run(engine).await,
            Task::Prune(keep) => prune::run(engine, work, keep).await,
        };
        Ok(tally.merge(done?)?)
    }

    /// Renews the lease for as long as it is polled. It goes on beside the run, never instead of
    /// it: a transaction of the run may hold what the renewal waits for.
    async fn show_signs_of_life(&self, lease: &RunLease, seen: &Seen, stop: &CancellationToken) {
        let heartbeat = self.engine.settings.heartbeat.to_std().unwrap_or(Duration::from_secs(5));
        let trusted = self.engine.settings.lease.to_std().unwrap_or_default();
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(heartbeat).await;
            seen.goes_on(self.engine.clock.now());
            match in_time("a sign of life", self.renew(lease)).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => stop.cancel(),
                Err(error) => {
                    // The lease may still hold; every transaction of the run checks for itself.
                    warn!(event = "job.run.lease_not_renewed", run_id = %lease.run_id, %error);
                    if renewed.elapsed() > trusted {
                        stop.cancel();
                    }
                }
            }
        }
    }

    async fn renew(&self, lease: &RunLease) -> Result<bool, StoreError> {
        let until = self.lease_until().await?;
        let mut tx = self.engine.store.begin().await?;
        let held = tx.run_renew(lease, until).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Whether an attempt was the last one.
    fn judge(
        &self,
        job: &Definition,
        assignment: &Assignment,
        outcome: &Result<(), EngineError>,
        end: &RunEnd,
        stopped: Stopped,
    ) -> Verdict {
        if stopped == Stopped::Shutdown && outcome.is_ok() && assignment.goes_on {
            return Verdict::Released;
        }
        let failed = match outcome {
            Err(error) => is_worth_another_try(error),
            Ok(()) => end.state == "timed_out",
        };
        if !failed || assignment.attempt >= assignment.max_attempts {
            return Verdict::Final;
        }
        match job.retry.pause_after(assignment.attempt) {
            Some(pause) => Verdict::Again(self.engine.clock.now() + pause),
            None => Verdict::Final,
        }
    }

    async fn finish(
        &self,
        job: &Definition,
        assignment: &Assignment,
        (end, tally): &(RunEnd, Tally),
        verdict: Verdict,
        seen: &Seen,
    ) -> Result<(), StoreError> {
        let now = self.engine.clock.now();
        let lease = &assignment.lease;
        let held = self.record(job, lease, (end, tally), (verdict, now), seen).await?;
        let outcome = match (held, verdict) {
            (true, Verdict::Released) => "released",
            (true, _) => end.state,
            // Somebody took it away: a person, or whoever rescued it.
            (false, _) => match self.engine.store.run(&lease.run_id).await?.map(|row| row.state) {
                Some(state) if state == "cancelled" => "cancelled",
                _ => "lost",
            },
        };
        let again = if let Verdict::Again(at) = verdict { Some(at).filter(|_| held) } else { None };
        seen.ended((end, tally), outcome, (now, again));
        Ok(())
    }

    /// Puts the end of an attempt on record, patiently: while the database is away the lease holds,
    /// and what was done is done. False if the lease is no longer held.
    async fn record(
        &self,
        job: &Definition,
        lease: &RunLease,
        (end, tally): (&RunEnd, &Tally),
        (verdict, now): (Verdict, DateTime<Utc>),
        seen: &Seen,
    ) -> Result<bool, StoreError> {
        let mut tries = 1;
        loop {
            let write = async {
                let mut tx = self.engine.store.begin().await?;
                let held = match verdict {
                    Verdict::Final => tx.run_finish(lease, end, now).await?,
                    Verdict::Again(at) => tx.run_requeue(lease, end, (now, at)).await?,
                    Verdict::Released => tx.run_release(lease, SHUTDOWN).await?,
                };
                let failed = matches!(end.state, "failed" | "timed_out");
                if held && failed && matches!(verdict, Verdict::Final) {
                    let words = format!("run {} {}", lease.run_id, end.state);
                    self.pause_after_failure(&mut tx, &job.job_id, &words, now).await?;
                }
                if held {
                    let ended = matches!(verdict, Verdict::Final).then_some((end, tally));
                    seen.keep(&mut tx, job, ended, now).await?;
                }
                tx.commit().await?;
                Ok(held)
            };
            match in_time("the end of a run", write).await {
                Err(error) if tries < MOST_TRIES && may_pass(&error) => {
                    warn!(event = "job.run.end_not_written", run_id = %lease.run_id, tries, %error);
                    tokio::time::sleep(Duration::from_millis(100 << tries)).await;
                    tries += 1;
                }
                done => return done,
            }
        }
    }
}

/// Why a run is queued again that had begun.
const SHUTDOWN: &str = "shutdown: the process that ran it was stopped, and another goes on";

fn may_pass(error: &StoreError) -> bool {
    let slow = matches!(error, StoreError::TooSlow { .. });
    slow || error.is_transient() || error.is_out_of_reach()
}

/// What was refused once is refused again, and what is unusual waits for a person; what failed may
/// pass.
fn is_worth_another_try(error: &EngineError) -> bool {
    !error.is_refusal() && !error.is_final()
}

fn run_end(
    kind: JobKind,
    outcome: &Result<(), EngineError>,
    tally: Tally,
    (stopped, early): (Stopped, bool),
) -> (RunEnd, Tally) {
    let error = match outcome {
        Ok(()) if stopped == Stopped::CutOff => {
            let words = "it did not stop when its time was over, and was cut off";
            Some(("timed_out".to_owned(), words.to_owned()))
        }
        Ok(()) => None,
        Err(error) => Some((error.code().to_owned(), chain(error))),
    };
    let state = match outcome {
        Err(_) => "failed",
        Ok(()) if matches!(stopped, Stopped::TimedOut | Stopped::CutOff) => "timed_out",
        Ok(()) if kind == JobKind::AuditLedger && tally.failed > 0 => "failed",
        Ok(()) if early || tally.failed > 0 => "partial",
        // A plan that was not done as it says is not done.
        Ok(()) if tally.skipped.contains_key(Gate::PlanChanged.as_str()) => "partial",
        Ok(()) => "succeeded",
    };
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let end = RunEnd {
        state,
        seen: count(tally.seen),
        acted: count(tally.acted),
        skipped: count(tally.skipped_count()),
        failed: count(tally.failed),
        report: serde_json::to_string(&tally).unwrap_or_default(),
        error,
    };
    (end, tally)
}

/// What a run did before it failed stays done, and is counted.
fn count_so_far(end: &mut RunEnd, so_far: Counts) {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    end.seen = end.seen.max(count(so_far.seen));
    end.acted = end.acted.max(count(so_far.acted));
    end.skipped = end.skipped.max(count(so_far.skipped));
    end.failed = end.failed.max(count(so_far.failed));
}

/// An error and its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unusual_waits_for_a_person_and_is_not_tried_again() {
        let (job_id, findings) = ("weekly".to_owned(), "too much".to_owned());
        assert!(!is_worth_another_try(&EngineError::Anomaly { job_id, findings }));
        let run_id = "run_1".to_owned();
        assert!(is_worth_another_try(&EngineError::LeaseLost { run_id }));
    }
}
