//! Plans of jobs: made by a dry run, and executed as they are.

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::runner::RunError;
use super::{Definition, Runner};
use crate::domain::{Actor, PlanId, RunId};
use crate::engine::{
    Engine, EngineError, PlanAsk, PlanDifferences, PlanError, Reach, Work, short_hash,
};
use crate::store::{PlanRow, RunRow, Tx};

/// Differences between a plan and the world that are named.
pub(super) const MOST_NAMED: usize = 20;

/// Why there is no plan of a job.
#[derive(Debug, thiserror::Error)]
#[error("job {job_id} requests no payouts: only such a job says beforehand what it would do")]
pub struct NotPlanned {
    pub job_id: String,
}

impl Runner {
    /// What a plan of the job is made of, or held against; `None` for a job that requests no
    /// payouts.
    pub fn plan_ask(
        &self,
        job: &Definition,
        instant: DateTime<Utc>,
        made_by: &Actor,
    ) -> Option<PlanAsk> {
        Some(PlanAsk {
            definition_hash: job.hash.clone(),
            rules: job.rules(instant)?,
            made_by: made_by.to_string(),
        })
    }

    /// Writes down what a run of the job would do at `instant`, now if there is none.
    ///
    /// # Errors
    /// [`NotPlanned`] inside, or why it could not be written.
    pub async fn make_plan(
        &self,
        work: &Work,
        job: &Definition,
        instant: Option<DateTime<Utc>>,
    ) -> Result<Result<PlanRow, NotPlanned>, EngineError> {
        let instant = instant.unwrap_or_else(|| self.engine.clock.now());
        match self.plan_ask(job, instant, &work.actor) {
            None => Ok(Err(NotPlanned { job_id: job.job_id.clone() })),
            Some(ask) => self.engine.make_plan(work, &ask).await.map(Ok),
        }
    }

    /// The plan that a hash (or its beginning) names, if it could be executed by the job now.
    ///
    /// # Errors
    /// [`PlanError`]; up to `most` differences are named.
    pub async fn ready_plan(
        &self,
        job: &Definition,
        hash: &str,
        most: usize,
    ) -> Result<PlanRow, EngineError> {
        let plan = self.engine.find_plan(hash).await?;
        let now = self.engine.clock.now();
        let other_job = || {
            let hash = short_hash(&plan.plan_hash).to_owned();
            PlanError::OtherJob { hash, job_id: plan.job_id.clone() }
        };
        let ask = self.plan_ask(job, now, &Actor::job(&job.job_id)).ok_or_else(other_job)?;
        self.engine.plan_is_free(&plan).await?;
        self.engine.check_plan(&plan, &ask, most).await?;
        Ok(plan)
    }

    /// Executes a plan that is ready, and returns its ended run.
    ///
    /// # Errors
    /// As [`Runner::run_now`]; [`RunError::Plan`] if somebody else executed it meanwhile.
    pub async fn run_plan(
        &self,
        job_id: &str,
        requested_by: &Actor,
        plan: &PlanRow,
        stop: &CancellationToken,
    ) -> Result<RunRow, RunError> {
        self.run_asked(job_id, requested_by, (Reach::Due, Some(plan)), stop).await
    }
}

/// The plan that a run executes, held against the world once more: the run may have waited, or been
/// cancelled and tried again after somebody else took the plan. A run that has asked for something
/// already goes on, as long as its job is the same; each wallet is held to its line under lock.
pub(super) async fn plan_of(
    engine: &Engine,
    job: &Definition,
    (run, hash): (&RunId, &str),
    due: DateTime<Utc>,
) -> Result<PlanId, EngineError> {
    let plan = engine.store.plan_of_run(run).await?.filter(|plan| plan.plan_hash == hash);
    let gone = || PlanError::Taken { hash: short_hash(hash).to_owned() };
    let (plan, rules) = (plan.ok_or_else(gone)?, job.rules(due).ok_or_else(gone)?);
    let made_by = Actor::job(&job.job_id).to_string();
    let ask = PlanAsk { definition_hash: job.hash.clone(), rules, made_by };
    let mut begun = false;
    for org in engine.store.orgs().await? {
        begun |= !engine.store.asked_by_run(&org, run).await?.is_empty();
    }
    if !begun {
        engine.check_plan(&plan, &ask, MOST_NAMED).await?;
    } else if plan.definition_hash != ask.definition_hash {
        let definition = Some((plan.definition_hash, ask.definition_hash));
        let differences = PlanDifferences { definition, ..PlanDifferences::default() };
        return Err(PlanError::Stale { hash: short_hash(hash).to_owned(), differences }.into());
    }
    Ok(plan.plan_id)
}

/// Takes a plan for a run, within the transaction that makes the run.
pub(super) async fn take(tx: &mut Tx, plan: &PlanRow, run: &RunId) -> Result<(), RunError> {
    if tx.plan_take(&plan.plan_hash, run).await? {
        return Ok(());
    }
    let hash = short_hash(&plan.plan_hash).to_owned();
    Err(RunError::Plan(PlanError::Taken { hash }.into()))
}
