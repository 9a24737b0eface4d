//! `request_payouts`: affiliates who have reached their minimum are paid, everybody else gets a
//! reason on record.

use crate::domain::{Periods, RunId};
use crate::engine::{AutoRequest, Engine, EngineError, Tally, Work};

use super::Definition;

/// Decides about every wallet of every org in the job's scope, for `periods`.
pub async fn run(
    engine: &Engine,
    work: &Work,
    job: &Definition,
    run_id: &RunId,
    periods: Periods,
    batch: i64,
) -> Result<Tally, EngineError> {
    let request =
        AutoRequest { run_id: run_id.clone(), periods, scope: job.scope.clone(), page: batch };
    let mut tally = Tally::default();
    for org in engine.store.orgs().await? {
        if job.scope.has_org(&org) {
            tally.merge_of(&org, engine.request_automatic(work, &org, &request).await?)?;
        }
    }
    Ok(tally)
}
