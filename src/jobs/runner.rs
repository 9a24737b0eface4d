//! The runner: takes queued runs, one at a time per job. The daemon, `job run` and the demo all go
//! through it. What is queued is the tick's (`tick.rs`), how a run goes is in `execute.rs`.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::execute::Assignment;
use super::look::MISSED_AFTER;
use super::tick::{Mind, in_time, paused};
use super::{
    Catalog, CatalogError, Definition, MisfirePolicy, Overlap, PREVIEW, Pulse, planning, seen,
};
use crate::domain::{Actor, BatchId, RunId};
use crate::engine::{Engine, EngineError, Reach};
use crate::notify::Pings;
use crate::store::{NewRun, PlanRow, RunLease, RunRow, StoreError};

/// A queued run of a job that nobody knows is given up after this.
const ORPHANED_AFTER: TimeDelta = TimeDelta::hours(1);
/// Most queued runs that are looked at at once.
const MOST_QUEUED: i64 = 1_000;

/// Who runs.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// Host and process, for people; no two processes have the same.
    pub worker_id: String,
}

/// Runs jobs. Cloning shares it.
#[derive(Clone)]
pub struct Runner {
    pub engine: Engine,
    pub catalog: Arc<Catalog>,
    /// When this process last looked, and whether it is stopping.
    pub pulse: Pulse,
    pub(super) settings: RunnerSettings,
    pub(super) mind: Mind,
    pub(super) pings: Pings,
    pub(super) abort: CancellationToken,
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
    #[error("the plan cannot be executed")]
    Plan(#[source] EngineError),
}

impl Runner {
    /// A runner of the catalog's jobs over the engine.
    pub fn new(engine: Engine, catalog: Catalog, settings: RunnerSettings) -> Self {
        let (pulse, mind, abort) = (Pulse::default(), Mind::default(), CancellationToken::new());
        let (catalog, pings) = (Arc::new(catalog), Pings::default());
        Self { engine, catalog, pulse, settings, mind, pings, abort }
    }

    /// The same runner, which sends signs of life.
    pub fn with_pings(self, pings: Pings) -> Self {
        Self { pings, ..self }
    }

    /// Waits for the signs of life that are on their way.
    pub async fn flush(&self) {
        self.pings.flush().await;
    }

    /// Who runs, as it is on record.
    pub fn worker_id(&self) -> &str {
        &self.settings.worker_id
    }

    /// Cuts off what is in hand: each run is dropped where it is and given back. What it had not
    /// committed is undone, what it was sending is found by its lease.
    pub fn abort(&self) {
        self.abort.cancel();
    }

    /// The queued runs that this worker could take now, in the order in which it should.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn queued(&self) -> Result<Vec<RunRow>, StoreError> {
        let now = self.engine.clock.now();
        in_time("the queued runs", self.engine.store.runs_queued(MOST_QUEUED, now)).await
    }

    /// Runs a queued run, if it can still be taken; else it stays for a later look.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn run_queued(&self, run: &RunRow, stop: &CancellationToken) -> Result<(), RunError> {
        let Ok(job) = self.catalog.job(&run.job_id) else {
            // Another replica may know the job, but not for ever.
            let waits = self.engine.clock.now() - run.created_at;
            if waits > ORPHANED_AFTER {
                self.skip(run, ("skipped", "orphaned: no replica has this job any more")).await?;
            }
            return Ok(());
        };
        if let Some(reason) = self.overtaken(job, run).await? {
            // One that was tried did take place.
            let state = if run.attempt > 1 { "cancelled" } else { "skipped" };
            self.skip(run, (state, &reason)).await?;
            return Ok(());
        }
        let lease = self.new_lease(run.run_id.clone());
        if stop.is_cancelled() || !in_time("a claim", self.start(&lease)).await? {
            return Ok(());
        }
        let assignment = Assignment::of(run, lease, Reach::Due);
        self.execute(job, assignment, stop).await?;
        Ok(())
    }

    /// Why a run that the schedule queued is not run any more: the job was paused or switched off
    /// since, or nobody was there to run it in time. What a person asked for is run.
    async fn overtaken(
        &self,
        job: &Definition,
        run: &RunRow,
    ) -> Result<Option<String>, StoreError> {
        let by_schedule = ["schedule", "catchup", PREVIEW].contains(&run.trigger_kind.as_str());
        let Some(instant) = run.scheduled_for.filter(|_| by_schedule) else { return Ok(None) };
        if !job.enabled {
            return Ok(Some("disabled: the job was switched off since".to_owned()));
        }
        let pauses = self.engine.store.job_pauses().await?;
        if let Some(pause) = pauses.iter().find(|pause| pause.job_id == job.job_id) {
            return Ok(Some(paused(pause)));
        }
        if run.trigger_kind == PREVIEW {
            return Ok(None);
        }
        let late = self.engine.clock.now() - run.not_before.unwrap_or(instant).max(instant);
        if late > job.misfire.window.0 {
            let window = job.misfire.window;
            return Ok(Some(format!("misfire_window: nobody ran it within {window}")));
        }
        // It waited for nobody but a process: the one that queued it went away.
        let alone =
            job.overlap == Overlap::Skip && run.attempt == 1 && run.trigger_kind == "schedule";
        if alone && late > MISSED_AFTER {
            if job.misfire.policy == MisfirePolicy::Skip {
                return Ok(Some("misfire: nobody ran it in time".to_owned()));
            }
            if job.misfire.policy == MisfirePolicy::Latest
                && self.engine.store.run_follows(&job.job_id, instant).await?
            {
                return Ok(Some("misfire: the latest instant is made up for".to_owned()));
            }
        }
        Ok(None)
    }

    async fn skip(&self, run: &RunRow, words: (&'static str, &str)) -> Result<(), StoreError> {
        let mut tx = self.engine.store.begin().await?;
        tx.run_skip(&run.run_id, words, self.engine.clock.now()).await?;
        tx.commit().await?;
        seen::given_up(run, words.1);
        Ok(())
    }

    /// Runs a job now because a person asked, enabled or not, and returns its ended run. It is
    /// tried once: the person sees how it ends.
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
        self.run_asked(job_id, requested_by, (reach, None), stop).await
    }

    pub(super) async fn run_asked(
        &self,
        job_id: &str,
        requested_by: &Actor,
        (reach, plan): (Reach, Option<&PlanRow>),
        stop: &CancellationToken,
    ) -> Result<RunRow, RunError> {
        let job = self.catalog.job(job_id)?;
        self.rescue().await?;
        let run = self.new_run(job, "manual", None, requested_by.as_str());
        let plan_hash = plan.map(|plan| plan.plan_hash.clone());
        let run = NewRun { max_attempts: 1, plan_hash, ..run };
        let lease = self.new_lease(run.run_id.clone());
        let now = self.engine.clock.now();
        let until = self.lease_until().await?;
        let mut tx = self.engine.store.begin().await?;
        tx.run_insert(&run, now).await?;
        if let Some(plan) = plan {
            planning::take(&mut tx, plan, &run.run_id).await?;
        }
        match tx.run_start(&lease, &self.settings.worker_id, until, now).await {
            Ok(true) => tx.commit().await?,
            Ok(false) => return Err(self.already_running(job_id, tx).await),
            Err(error) if error.is_duplicate() => {
                return Err(self.already_running(job_id, tx).await);
            }
            Err(error) => return Err(error.into()),
        }
        let ended = self.execute(job, Assignment::by_person(&run, lease, reach), stop).await;
        self.flush().await;
        ended
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
            not_before: None,
            max_attempts: i64::from(job.retry.max_attempts),
            requested_by: requested_by.to_owned(),
            reason: None,
            definition_hash: job.hash.clone(),
            plan_hash: None,
        }
    }

    fn new_lease(&self, run_id: RunId) -> RunLease {
        RunLease { run_id, token: self.engine.clock.mint::<BatchId>().to_string() }
    }

    pub(super) async fn lease_until(&self) -> Result<DateTime<Utc>, StoreError> {
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
}
