//! `release_holds`: commissions whose hold window has passed become available.

use crate::domain::Scope;
use crate::engine::{Engine, EngineError, Tally, Work};

/// Releases what is due in programs that credit by themselves; with `auto_only` off, in every
/// program (a person asked: `commission process-held`).
pub async fn run(
    engine: &Engine,
    work: &Work,
    scope: &Scope,
    batch: i64,
    auto_only: bool,
) -> Result<Tally, EngineError> {
    let mut tally = Tally::default();
    for (org, program) in engine.programs_to_release(auto_only).await? {
        if scope.has_org(&org) && scope.has_program(&program) {
            let released = engine.release_program(work, &org, &program, batch).await?;
            tally.merge_of(&org, released)?;
        }
    }
    Ok(tally)
}
