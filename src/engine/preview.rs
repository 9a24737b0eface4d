//! Preview: who would be paid if a schedule ran now, and why the others would not. Nothing is
//! locked, and nothing written.

use super::deciding::Rules;
use super::{Engine, EngineError};
use crate::domain::{AffiliateId, GateCheck, Money, OrgId, ProgramId};

/// What a run would decide about one wallet.
#[derive(Debug, Clone)]
pub struct Preview {
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub available: Money,
    /// Every gate that fails; empty if it would be paid.
    pub failing: Vec<GateCheck>,
}

impl Engine {
    /// Shows `see` what a run by `rules` would decide about each wallet of an org, by affiliate and
    /// currency, at the instant of its periods.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn preview_automatic(
        &self,
        org: &OrgId,
        rules: &Rules,
        mut see: impl FnMut(Preview) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut foresight = self.foresee(org, rules, rules.periods.instant).await?;
        while let Some(page) = foresight.next().await? {
            for foreseen in page {
                see(Preview {
                    available: foreseen.line.available(),
                    affiliate_id: foreseen.line.affiliate_id,
                    program_id: foreseen.line.program_id,
                    failing: foreseen.failing,
                })?;
            }
        }
        Ok(())
    }
}
