//! `audit_ledger`: every invariant, held against the whole ledger.

use crate::engine::{Engine, EngineError, Tally};

/// Checks every invariant; a breach counts as failed and is noted.
pub async fn run(engine: &Engine) -> Result<Tally, EngineError> {
    let mut tally = Tally::default();
    for line in engine.audit().await? {
        tally.seen += 1;
        if line.breaches.is_empty() {
            tally.acted += 1;
            continue;
        }
        tally.failed += 1;
        for breach in &line.breaches {
            tally.note(format!(
                "I{} broken in org {}: {}: {} ({})",
                line.number, breach.org_id, line.rule, breach.subject, breach.found
            ));
        }
    }
    Ok(tally)
}
