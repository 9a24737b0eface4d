//! `request_payouts`: affiliates who have reached their minimum are paid, everybody else gets a
//! reason on record.

use chrono::{DateTime, Utc};

use crate::domain::RunId;
use crate::engine::{AutoRequest, Engine, EngineError, Tally, Work};

use super::{Definition, Task};

/// What a run of the job asks for at `instant`; `None` for a job that requests no payouts.
pub fn request(job: &Definition, run_id: &RunId, instant: DateTime<Utc>) -> Option<AutoRequest> {
    let Task::RequestPayouts { batch: page, reached_only, .. } = job.task else { return None };
    let periods = job.periods(instant)?;
    let (run_id, scope) = (run_id.clone(), job.scope.clone());
    Some(AutoRequest { run_id, periods, scope, reached_only, plan: None, page })
}

/// Decides about every wallet of every org in the job's scope, for the periods of `due`; if the run
/// executes a plan, as the plan says.
pub async fn run(
    engine: &Engine,
    work: &Work,
    job: &Definition,
    run_id: &RunId,
    due: DateTime<Utc>,
) -> Result<Tally, EngineError> {
    let mut tally = Tally::default();
    let Some(request) = request(job, run_id, due) else { return Ok(tally) };
    let plan = engine.store.plan_of_run(run_id).await?;
    let request = AutoRequest { plan: plan.map(|plan| plan.plan_id), ..request };
    for org in engine.store.orgs().await? {
        if job.scope.has_org(&org) {
            tally.merge(engine.request_automatic(work, &org, &request).await?)?;
        }
    }
    Ok(tally)
}
