//! The runner: turns due instants into runs, and runs them, one at a time per job. The daemon,
//! `job run` and the demo all go through it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use super::seen::{self, Beginning, Seen};
use super::{
    Catalog, CatalogError, Definition, JobKind, MisfirePolicy, Pulse, Task, audit_ledger, prune,
    reconcile_transfers, release_holds, request_payouts, submit_transfers,
};
use crate::domain::{Actor, BatchId, Periods, RunId};
use crate::engine::{Engine, EngineError, Reach, Tally, Work};
use crate::store::{NewRun, PauseRow, RunEnd, RunLease, RunRow, ScheduleRow, StoreError};

/// An instant that is older than this when it is noticed was missed.
const MISSED_AFTER: TimeDelta = TimeDelta::minutes(1);
/// A queued run of a job that nobody knows is given up after this.
const ORPHANED_AFTER: TimeDelta = TimeDelta::hours(1);

/// Who runs, and how often it shows a sign of life.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// Host and process, for people.
    pub worker_id: String,
}

/// Runs jobs. Cloning shares it.
#[derive(Clone)]
pub struct Runner {
    pub engine: Engine,
    pub catalog: Arc<Catalog>,
    /// When the schedules were last looked at.
    pub pulse: Pulse,
    settings: RunnerSettings,
}

/// Why a run did not take place.
#[derive(Debug, Error)]
pub enum RunError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(
        "job {job_id} is running already ({run_id}, worker {worker_id}): wait for it, or until its lease has run out"
    )]
    AlreadyRunning { job_id: String, run_id: String, worker_id: String },
    #[error("the runs cannot be read or written")]
    Store(#[from] StoreError),
}

/// What one run is to do.
struct Assignment {
    lease: RunLease,
    scheduled_for: Option<DateTime<Utc>>,
    trigger: String,
    requested_by: String,
    reach: Reach,
}

impl Runner {
    /// A runner of the catalog's jobs over the engine.
    pub fn new(engine: Engine, catalog: Catalog, settings: RunnerSettings) -> Self {
        Self { engine, catalog: Arc::new(catalog), pulse: Pulse::default(), settings }
    }

    /// Looks at every enabled schedule and queues what has fallen due since the last look, at
    /// most once per instant, however many replicas look.
    ///
    /// # Errors
    /// [`StoreError`]; what was not queued is at the next look.
    pub async fn tick(&self) -> Result<(), StoreError> {
        let now = self.engine.clock.now();
        let known = self.engine.store.schedules().await?;
        let pauses = self.engine.store.job_pauses().await?;
        for job in self.catalog.iter().filter(|job| job.enabled) {
            let row = known
                .iter()
                .find(|row| row.job_id == job.job_id && row.definition_hash == job.hash);
            let pause = pauses.iter().find(|pause| pause.job_id == job.job_id);
            self.look_at(job, row, pause, now).await?;
        }
        self.rescue().await?;
        let done = self.engine.clock.now();
        self.pulse.beat(done);
        seen::ticked(done);
        Ok(())
    }

    async fn look_at(
        &self,
        job: &Definition,
        row: Option<&ScheduleRow>,
        pause: Option<&PauseRow>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        // A new or edited job starts now: no storm of instants it never had.
        let started = row.filter(|row| row.definition_hash == job.hash);
        let instants =
            started.map_or_else(Vec::new, |row| job.schedule.between(row.watermark, now));
        if started.is_some() && instants.is_empty() {
            return Ok(());
        }
        let mut tx = self.engine.store.begin().await?;
        let mut inserted = Vec::new();
        for (scheduled_for, skipped) in sort_out(job.misfire.policy, &instants, now) {
            let skipped = skipped.or_else(|| pause.map(paused));
            let run = self.new_run(job, "schedule", Some(scheduled_for), "schedule");
            let run = NewRun { skipped, ..run };
            if tx.run_insert(&run, now).await? {
                inserted.push(run);
            }
        }
        let (job_id, definition_hash) = (job.job_id.clone(), job.hash.clone());
        let watermark = instants.last().copied().unwrap_or(now);
        tx.schedule_set(&ScheduleRow { job_id, watermark, definition_hash }, now).await?;
        tx.commit().await?;
        for run in &inserted {
            if let Some(reason) = &run.skipped {
                let of = (run.job_id.as_str(), &run.run_id);
                seen::skipped(of, run.trigger_kind, run.scheduled_for, reason);
            }
        }
        Ok(())
    }

    /// Marks the runs whose process stopped as lost, so that they block nobody.
    async fn rescue(&self) -> Result<(), StoreError> {
        let database_now = self.engine.store.database_now().await?;
        if !self.engine.store.runs_expired(database_now).await? {
            return Ok(());
        }
        let mut tx = self.engine.store.begin().await?;
        let lost = tx.runs_lose(database_now, self.engine.clock.now()).await?;
        tx.commit().await?;
        for (run_id, job_id) in lost {
            seen::lost(&job_id, &run_id, (1, "schedule"));
        }
        Ok(())
    }

    /// The queued runs that this worker could take, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn queued(&self) -> Result<Vec<RunRow>, StoreError> {
        self.engine.store.runs_queued(100).await
    }

    /// Runs a queued run, if it can still be taken. A job that is still running skips the
    /// instant, and says so.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn run_queued(&self, run: &RunRow, stop: &CancellationToken) -> Result<(), RunError> {
        let Ok(job) = self.catalog.job(&run.job_id) else {
            // Another replica may know the job, but not for ever.
            let waits = self.engine.clock.now() - run.created_at;
            if waits > ORPHANED_AFTER {
                self.skip(run, "no replica has this job any more").await?;
            }
            return Ok(());
        };
        // It was queued before somebody paused the job.
        let pauses = self.engine.store.job_pauses().await?;
        let pause = pauses.iter().find(|pause| pause.job_id == job.job_id);
        if let Some(pause) = pause.filter(|_| run.trigger_kind == "schedule") {
            self.skip(run, &paused(pause)).await?;
            return Ok(());
        }
        let lease = self.new_lease(run.run_id.clone());
        if !self.start(&lease).await? {
            self.skip(run, "overlap: the run before it was still running").await?;
            return Ok(());
        }
        let assignment = Assignment {
            lease,
            scheduled_for: run.scheduled_for,
            trigger: run.trigger_kind.clone(),
            requested_by: run.requested_by.clone(),
            reach: Reach::Due,
        };
        self.execute(job, assignment, stop).await?;
        Ok(())
    }

    async fn skip(&self, run: &RunRow, reason: &str) -> Result<(), StoreError> {
        let mut tx = self.engine.store.begin().await?;
        tx.run_skip(&run.run_id, reason, self.engine.clock.now()).await?;
        tx.commit().await?;
        let of = (run.job_id.as_str(), &run.run_id);
        seen::skipped(of, &run.trigger_kind, run.scheduled_for, reason);
        Ok(())
    }

    /// Runs a job now because a person asked, enabled or not, and returns its ended run.
    ///
    /// # Errors
    /// [`RunError::Catalog`] for an unknown job, [`RunError::AlreadyRunning`].
    pub async fn run_now(
        &self,
        job_id: &str,
        requested_by: &Actor,
        reach: Reach,
        stop: &CancellationToken,
    ) -> Result<RunRow, RunError> {
        let job = self.catalog.job(job_id)?;
        self.rescue().await?;
        let run = self.new_run(job, "manual", None, requested_by.as_str());
        let lease = self.new_lease(run.run_id.clone());
        let now = self.engine.clock.now();
        let until = self.lease_until().await?;
        let mut tx = self.engine.store.begin().await?;
        tx.run_insert(&run, now).await?;
        match tx.run_start(&lease, &self.settings.worker_id, until, now).await {
            Ok(true) => tx.commit().await?,
            Ok(false) => return Err(self.already_running(job_id, tx).await),
            Err(error) if error.is_duplicate() => {
                return Err(self.already_running(job_id, tx).await);
            }
            Err(error) => return Err(error.into()),
        }
        let assignment = Assignment {
            lease,
            scheduled_for: None,
            trigger: "manual".to_owned(),
            requested_by: requested_by.to_string(),
            reach,
        };
        self.execute(job, assignment, stop).await
    }

    async fn already_running(&self, job_id: &str, tx: crate::store::Tx) -> RunError {
        drop(tx);
        let row = self.engine.store.run_of_job(job_id).await.ok().flatten();
        RunError::AlreadyRunning {
            job_id: job_id.to_owned(),
            run_id: row
                .as_ref()
                .map_or_else(|| "it just ended".to_owned(), |r| r.run_id.to_string()),
            worker_id: row.and_then(|row| row.worker_id).unwrap_or_default(),
        }
    }

    pub(super) fn new_run(
        &self,
        job: &Definition,
        trigger_kind: &'static str,
        scheduled_for: Option<DateTime<Utc>>,
        requested_by: &str,
    ) -> NewRun {
        NewRun {
            run_id: self.engine.clock.mint(),
            job_id: job.job_id.clone(),
            kind: job.kind.as_str(),
            trigger_kind,
            scheduled_for,
            skipped: None,
            requested_by: requested_by.to_owned(),
            definition_hash: job.hash.clone(),
        }
    }

    fn new_lease(&self, run_id: RunId) -> RunLease {
        RunLease { run_id, token: self.engine.clock.mint::<BatchId>().to_string() }
    }

    async fn lease_until(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(self.engine.store.database_now().await? + self.engine.settings.lease)
    }

    async fn start(&self, lease: &RunLease) -> Result<bool, StoreError> {
        let until = self.lease_until().await?;
        let mut tx = self.engine.store.begin().await?;
        let now = self.engine.clock.now();
        match tx.run_start(lease, &self.settings.worker_id, until, now).await {
            Ok(started) => {
                tx.commit().await?;
                Ok(started)
            }
            Err(error) if error.is_duplicate() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn execute(
        &self,
        job: &Definition,
        assignment: Assignment,
        stop: &CancellationToken,
    ) -> Result<RunRow, RunError> {
        let Assignment { lease, scheduled_for, trigger, requested_by, reach } = assignment;
        let seen = Seen::started(
            Beginning {
                job,
                lease: &lease,
                attempt: 1,
                trigger: &trigger,
                scheduled_for,
                requested_by: &requested_by,
                replica_id: &self.settings.worker_id,
                dry_run: false,
            },
            &self.engine.clock,
        );
        // Its own token: a time-out or a lost lease stops this run and no other.
        let stop = stop.child_token();
        let mut work = Work::by_run(Actor::job(&job.job_id), lease.clone(), stop.clone());
        work.progress = seen.progress.clone();
        let mut timed_out = false;
        let outcome = {
            let task = self.perform(job, &work, scheduled_for, reach).instrument(seen.span.clone());
            let signs_of_life = self.show_signs_of_life(&lease, &seen, &stop);
            let timeout = tokio::time::sleep(job.timeout.to_std());
            tokio::pin!(task, signs_of_life, timeout);
            loop {
                tokio::select! {
                    outcome = &mut task => break outcome,
                    () = &mut signs_of_life => unreachable!("they end with the run"),
                    () = &mut timeout, if !timed_out => {
                        timed_out = true;
                        stop.cancel();
                    }
                }
            }
        };
        let end = run_end(job.kind, outcome, timed_out, stop.is_cancelled());
        self.finish(job, &lease, &end, &seen).await?;
        let row = self.engine.store.run(&lease.run_id).await?;
        row.ok_or_else(|| StoreError::Gone { what: "run", id: lease.run_id.to_string() }.into())
    }

    async fn perform(
        &self,
        job: &Definition,
        work: &Work,
        scheduled_for: Option<DateTime<Utc>>,
        reach: Reach,
    ) -> Result<Tally, EngineError> {
        let (engine, scope) = (&self.engine, &job.scope);
        match job.task {
            Task::ReleaseHolds { batch } => {
                release_holds::run(engine, work, scope, batch, true).await
            }
            Task::RequestPayouts { batch, period } => {
                let Some(lease) = &work.run else { return Ok(Tally::default()) };
                let due = scheduled_for.unwrap_or_else(|| engine.clock.now());
                let periods = Periods { length: period, instant: due, zone: job.schedule.zone() };
                request_payouts::run(engine, work, job, &lease.run_id, periods, batch).await
            }
            Task::SubmitTransfers => submit_transfers::run(engine, work, reach, scope).await,
            Task::ReconcileTransfers => reconcile_transfers::run(engine, work, reach, scope).await,
            Task::AuditLedger => audit_ledger::run(engine).await,
            Task::Prune(keep) => prune::run(engine, work, keep).await,
        }
    }

    /// Renews the lease for as long as it is polled. It goes on beside the run, never instead of
    /// it: a transaction of the run may hold what the renewal waits for.
    async fn show_signs_of_life(&self, lease: &RunLease, seen: &Seen, stop: &CancellationToken) {
        let heartbeat = self.engine.settings.heartbeat.to_std().unwrap_or(Duration::from_secs(5));
        loop {
            tokio::time::sleep(heartbeat).await;
            seen.goes_on(self.engine.clock.now());
            if !self.renew(lease).await {
                stop.cancel();
            }
        }
    }

    async fn renew(&self, lease: &RunLease) -> bool {
        let renewed: Result<bool, StoreError> = async {
            let until = self.lease_until().await?;
            let mut tx = self.engine.store.begin().await?;
            let held = tx.run_renew(lease, until).await?;
            tx.commit().await?;
            Ok(held)
        }
        .await;
        match renewed {
            Ok(held) => held,
            Err(error) => {
                // The lease may still hold; every transaction of the run checks for itself.
                warn!(event = "job.run.lease_not_renewed", run_id = %lease.run_id, %error);
                true
            }
        }
    }

    async fn finish(
        &self,
        job: &Definition,
        lease: &RunLease,
        (end, tally): &(RunEnd, Tally),
        seen: &Seen,
    ) -> Result<(), StoreError> {
        let now = self.engine.clock.now();
        let mut tx = self.engine.store.begin().await?;
        let held = tx.run_finish(lease, end, now).await?;
        seen.keep(&mut tx, lease, (end, tally), now).await?;
        tx.commit().await?;
        let outcome = if held { end.state } else { "lost" };
        let next = job.schedule.next(now).filter(|_| job.enabled);
        seen.finished((end, tally), (outcome, false), (now, next));
        Ok(())
    }
}

fn paused(pause: &PauseRow) -> String {
    format!("paused by {}: {}", pause.paused_by, pause.reason)
}

/// Which instants are run and which are only recorded, by the misfire policy.
fn sort_out(
    policy: MisfirePolicy,
    instants: &[DateTime<Utc>],
    now: DateTime<Utc>,
) -> Vec<(DateTime<Utc>, Option<String>)> {
    let Some((latest, earlier)) = instants.split_last() else { return Vec::new() };
    let missed = |instant: &DateTime<Utc>| now - *instant > MISSED_AFTER;
    let skipped =
        |instant: &DateTime<Utc>| (*instant, Some("misfire: noticed too late".to_owned()));
    let runs = policy != MisfirePolicy::Skip || !missed(latest);
    earlier
        .iter()
        .map(skipped)
        .chain([if runs { (*latest, None) } else { skipped(latest) }])
        .collect()
}

fn run_end(
    kind: JobKind,
    outcome: Result<Tally, EngineError>,
    timed_out: bool,
    stopped: bool,
) -> (RunEnd, Tally) {
    let (tally, error) = match outcome {
        Ok(tally) => (tally, None),
        Err(error) => {
            let chain = chain(&error);
            (Tally::default(), Some((error.code().to_owned(), chain)))
        }
    };
    let state = match &error {
        Some(_) => "failed",
        None if timed_out => "timed_out",
        None if kind == JobKind::AuditLedger && tally.failed > 0 => "failed",
        None if stopped || tally.failed > 0 => "partial",
        None => "succeeded",
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

/// An error and its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn after_a_week_off_the_latest_instant_runs_once_and_the_others_are_on_record() {
        let instants =
            [at("2026-11-20T00:00:00Z"), at("2026-11-21T00:00:00Z"), at("2026-11-22T00:00:00Z")];
        let now = at("2026-11-22T17:00:00Z");
        let runs = |policy| -> Vec<_> {
            sort_out(policy, &instants, now)
                .into_iter()
                .map(|(_, skipped)| skipped.is_none())
                .collect()
        };
        assert_eq!(runs(MisfirePolicy::Latest), [false, false, true]);
        assert_eq!(runs(MisfirePolicy::Skip), [false, false, false]);
        let punctual = sort_out(MisfirePolicy::Skip, &instants[2..], at("2026-11-22T00:00:01Z"));
        assert_eq!(punctual.len(), 1);
        assert!(punctual[0].1.is_none());
    }
}
