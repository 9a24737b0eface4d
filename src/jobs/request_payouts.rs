//! `request_payouts`: affiliates who have reached their minimum are paid, everybody else gets a
//! reason on record.

use chrono::{DateTime, Utc};

use crate::domain::RunId;
use crate::engine::{AutoRequest, Engine, EngineError, Tally, Work};

use super::{Definition, Task, planning};

/// Decides about every wallet of every org in the job's scope, for the periods of `due`; if the run
/// executes a plan, as the plan says.
pub async fn run(
    engine: &Engine,
    work: &Work,
    job: &Definition,
    (run_id, plan_hash): (&RunId, Option<&str>),
    due: DateTime<Utc>,
) -> Result<Tally, EngineError> {
    let mut tally = Tally::default();
    let Task::RequestPayouts { batch: page, .. } = job.task else { return Ok(tally) };
    let Some(rules) = job.rules(due) else { return Ok(tally) };
    let plan = match plan_hash {
        Some(hash) => Some(planning::plan_of(engine, job, (run_id, hash), due).await?),
        None => None,
    };
    let request = AutoRequest { run_id: run_id.clone(), rules, plan, page };
    let mut orgs = engine.store.orgs().await?;
    orgs.retain(|org| job.scope.has_org(org));
    // Somebody has looked at a plan.
    if request.plan.is_none() {
        engine.hold_back_unusual(&orgs, &request).await?;
    }
    for org in &orgs {
        tally.merge_of(org, engine.request_automatic(work, org, &request).await?)?;
    }
    Ok(tally)
}
