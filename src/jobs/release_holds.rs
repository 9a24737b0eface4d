//! `release_holds`: commissions whose hold window has passed become available.

use crate::domain::Scope;
use crate::engine::{Engine, EngineError, Tally, Work};

/// Releases what is due in programs that credit by themselves. `tally` has what was done, also when
/// it fails.
pub async fn run(
    engine: &Engine,
    work: &Work,
    scope: &Scope,
    batch: i64,
    tally: &mut Tally,
) -> Result<(), EngineError> {
    for (org, program) in engine.programs_to_release(true).await? {
        if scope.has_org(&org) && scope.has_program(&program) {
            let released = engine.release_program(work, &org, &program, batch).await?;
            tally.merge_of(&org, released)?;
        }
    }
    Ok(())
}
