//! `prune`: old records of work go (runs, decisions, webhooks); money's own records never do.

use crate::engine::{Engine, EngineError, Keep, Tally, Work};

/// Deletes what is older than told.
pub async fn run(engine: &Engine, work: &Work, keep: Keep) -> Result<Tally, EngineError> {
    engine.prune(work, keep).await
}
