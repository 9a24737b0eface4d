//! What people ask of jobs: pause and resume a schedule, run it now. Jobs belong to the installation,
//! so over the API the staff of one of several orgs may not; whoever is at the command line runs the
//! installation. What is asked of runs is in `again.rs`.

use chrono::{DateTime, Utc};
use serde_json::json;
use thiserror::Error;
use tracing::info;

use super::planning::MOST_NAMED;
use super::{CatalogError, Definition, NotPlanned, Runner};
use crate::domain::{OrgId, RunId};
use crate::engine::{EngineError, PlanError, Work, short_hash};
use crate::store::{NewRun, PlanRow, StoreError, Tx};

/// Why something was not done to a job.
#[derive(Debug, Error)]
pub enum JobError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "job {job_id} works for other orgs too: who runs the installation does this, at the command \
         line"
    )]
    Shared { job_id: String },
    #[error("job {job_id} is waiting or running already ({run_id}): look at that run")]
    UnderWay { job_id: String, run_id: RunId },
    #[error("job {job_id} is paused already: resume it first to give another reason")]
    Paused { job_id: String },
    #[error(transparent)]
    NotPlanned(#[from] NotPlanned),
    #[error("job {job_id} is not paused")]
    NotPaused { job_id: String },
    #[error("run {run_id} does not exist")]
    NoRun { run_id: RunId },
    #[error("run {run_id} is {state}, so it cannot be {verb}")]
    WrongState { run_id: RunId, state: String, verb: &'static str },
    #[error("{0}")]
    BadSpan(String),
}

impl From<StoreError> for JobError {
    fn from(cause: StoreError) -> Self {
        Self::Engine(cause.into())
    }
}

impl Runner {
    /// Stops a job's schedule, for every replica, until somebody resumes it. What is running ends as
    /// it would; a person may still run it.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn pause(
        &self,
        work: &Work,
        org: impl Into<Option<&OrgId>>,
        (job_id, reason): (&str, &str),
    ) -> Result<(), JobError> {
        let (job, orgs) = self.own_job(org.into(), job_id).await?;
        let mut tx = self.engine.store.begin().await?;
        if !tx.job_pause(&job.job_id, (&work.actor, reason), self.engine.clock.now()).await? {
            return Err(JobError::Paused { job_id: job.job_id.clone() });
        }
        let act = ("job.paused", job.job_id.as_str());
        self.keep_acts(&mut tx, &orgs, work, act, &json!({ "reason": reason })).await?;
        tx.commit().await?;
        info!(event = "job.paused", job_id = job.job_id, reason, actor = %work.actor);
        Ok(())
    }

    /// Lets a paused job's schedule go on. What fell due meanwhile stays skipped.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn resume(
        &self,
        work: &Work,
        org: impl Into<Option<&OrgId>>,
        job_id: &str,
    ) -> Result<(), JobError> {
        let (job, orgs) = self.own_job(org.into(), job_id).await?;
        let mut tx = self.engine.store.begin().await?;
        if !tx.job_resume(&job.job_id).await? {
            return Err(JobError::NotPaused { job_id: job.job_id.clone() });
        }
        let act = ("job.resumed", job.job_id.as_str());
        self.keep_acts(&mut tx, &orgs, work, act, &json!({})).await?;
        tx.commit().await?;
        info!(event = "job.resumed", job_id = job.job_id, actor = %work.actor);
        Ok(())
    }

    /// Queues a run of a job for the next worker that looks, enabled or not, paused or not; with the
    /// hash of a plan, one that executes it.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn queue_now(
        &self,
        work: &Work,
        org: impl Into<Option<&OrgId>>,
        (job_id, plan): (&str, Option<&str>),
    ) -> Result<RunId, JobError> {
        let (job, orgs) = self.own_job(org.into(), job_id).await?;
        let plan = match plan {
            Some(hash) => Some(self.ready_plan(job, hash, MOST_NAMED).await?),
            None => None,
        };
        let mut tx = self.engine.store.begin().await?;
        if let Some(run_id) = tx.run_open(&job.job_id).await? {
            return Err(JobError::UnderWay { job_id: job.job_id.clone(), run_id });
        }
        let plan_hash = plan.as_ref().map(|plan| plan.plan_hash.clone());
        let run = self.new_run(job, "manual", None, work.actor.as_str());
        let run = NewRun { plan_hash, ..run };
        tx.run_insert(&run, self.engine.clock.now()).await?;
        let act = ("job.run_requested", job.job_id.as_str());
        if let Some(plan) = &plan
            && !tx.plan_take(&plan.plan_hash, &run.run_id).await?
        {
            let hash = short_hash(&plan.plan_hash).to_owned();
            return Err(EngineError::from(PlanError::Taken { hash }).into());
        }
        let detail = json!({ "runId": run.run_id, "plan": run.plan_hash });
        self.keep_acts(&mut tx, &orgs, work, act, &detail).await?;
        tx.commit().await?;
        info!(event = "job.run.requested", job_id = job.job_id, run_id = %run.run_id,
              actor = %work.actor);
        Ok(run.run_id)
    }

    /// Plans a run of a job for an instant, now if none is named.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn plan_now(
        &self,
        work: &Work,
        org: &OrgId,
        (job_id, instant): (&str, Option<DateTime<Utc>>),
    ) -> Result<PlanRow, JobError> {
        let (job, orgs) = self.own_job(Some(org), job_id).await?;
        let plan = self.make_plan(work, job, instant).await??;
        let mut tx = self.engine.store.begin().await?;
        let act = ("job.planned", job.job_id.as_str());
        let detail = json!({ "plan": plan.plan_hash, "plannedFor": plan.planned_for });
        self.keep_acts(&mut tx, &orgs, work, act, &detail).await?;
        tx.commit().await?;
        Ok(plan)
    }

    /// Whether what a job does is about one org and no other.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_own(&self, org: &OrgId, job: &Definition) -> Result<bool, StoreError> {
        let orgs = self.engine.store.orgs().await?;
        Ok(orgs.iter().all(|other| other == org || !job.scope.has_org(other)))
    }

    /// A job that `org` may touch, or anybody's where no org is named; and the orgs that are told.
    pub(super) async fn own_job(
        &self,
        org: Option<&OrgId>,
        job_id: &str,
    ) -> Result<(&Definition, Vec<OrgId>), JobError> {
        let job = self.catalog.job(job_id)?;
        let Some(org) = org else {
            let orgs = self.engine.store.orgs().await?;
            return Ok((job, orgs.into_iter().filter(|org| job.scope.has_org(org)).collect()));
        };
        if self.is_own(org, job).await? {
            return Ok((job, vec![org.clone()]));
        }
        Err(JobError::Shared { job_id: job_id.to_owned() })
    }

    /// Keeps an act in the audit log of each org that it is about.
    pub(super) async fn keep_acts(
        &self,
        tx: &mut Tx,
        orgs: &[OrgId],
        work: &Work,
        act: (&'static str, &str),
        detail: &serde_json::Value,
    ) -> Result<(), JobError> {
        for org in orgs {
            self.engine.keep_act(tx, org, work, act, detail.clone()).await?;
        }
        Ok(())
    }
}
