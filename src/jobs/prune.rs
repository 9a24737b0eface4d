//! `prune`: old records of runs and decisions go; money's own records never do.

use chrono::TimeDelta;

use crate::engine::{Engine, EngineError, Tally, Work};

/// Deletes what is older than told, in days.
pub async fn run(
    engine: &Engine,
    work: &Work,
    keep_runs_days: i64,
    keep_decisions_days: i64,
) -> Result<Tally, EngineError> {
    let (runs, decisions) = (TimeDelta::days(keep_runs_days), TimeDelta::days(keep_decisions_days));
    engine.prune(work, runs, decisions).await
}
