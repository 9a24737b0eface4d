//! `submit_transfers`: requested payouts leave through their rails.

use crate::domain::Scope;
use crate::engine::{Engine, EngineError, Reach, Tally, Work};

/// Sends everything that waits on a configured rail.
pub async fn run(
    engine: &Engine,
    work: &Work,
    reach: Reach,
    scope: &Scope,
) -> Result<Tally, EngineError> {
    engine.submit_all(work, reach, scope).await
}
