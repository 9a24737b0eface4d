//! `reconcile_transfers`: the providers are asked what became of each transfer.

use crate::domain::Scope;
use crate::engine::{Engine, EngineError, Reach, Tally, Work};

/// Asks about what is due, or about everything open.
pub async fn run(
    engine: &Engine,
    work: &Work,
    reach: Reach,
    scope: &Scope,
) -> Result<Tally, EngineError> {
    engine.reconcile(work, reach, scope).await
}
