//! Audit: every invariant, held against the whole ledger.

use super::{Engine, EngineError};
use crate::store::Breach;

pub use crate::store::INVARIANTS;

/// Breaches shown per invariant.
const SHOWN: i64 = 10;

/// What became of one invariant.
#[derive(Debug, Clone)]
pub struct AuditLine {
    pub number: u32,
    pub rule: &'static str,
    /// Where it does not hold; the first few.
    pub breaches: Vec<Breach>,
}

impl Engine {
    /// Checks every invariant; reads only.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn audit(&self) -> Result<Vec<AuditLine>, EngineError> {
        let mut lines = Vec::with_capacity(INVARIANTS.len());
        for invariant in INVARIANTS {
            let breaches = self.store.breaches(invariant, SHOWN).await?;
            lines.push(AuditLine { number: invariant.number, rule: invariant.rule, breaches });
        }
        Ok(lines)
    }
}
