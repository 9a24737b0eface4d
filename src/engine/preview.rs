//! Preview: who would be paid if a schedule ran now, and why the others would not. Nothing is
//! locked, and nothing written.

use super::deciding::{in_scope, pass};
use super::{Engine, EngineError};
use crate::domain::{
    AffiliateId, GateCheck, Intent, Money, OrgId, Periods, ProgramId, Scope, WalletKey,
};

/// Wallets that are read at once.
const PAGE: i64 = 1_000;

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
    /// Shows `see` what a run for `periods` would decide about each wallet of an org, by affiliate
    /// and currency.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn preview_automatic(
        &self,
        org: &OrgId,
        (periods, scope): (&Periods, &Scope),
        mut see: impl FnMut(Preview) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let keys = self.store.program_zones(org).await?.keys(periods);
        let mut after: Option<WalletKey> = None;
        loop {
            let page = self.store.candidates_after(org, &keys, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let (affiliate_id, currency) = (last.affiliate_id.clone(), last.currency);
            after = Some(WalletKey { affiliate_id, currency });
            for candidate in page.iter().filter(|candidate| in_scope(scope, candidate)) {
                see(Preview {
                    affiliate_id: candidate.affiliate_id.clone(),
                    program_id: candidate.program_id.clone(),
                    available: Money::new(candidate.available_minor, candidate.currency),
                    failing: pass(candidate, Intent::auto(candidate, now))
                        .err()
                        .unwrap_or_default(),
                })?;
            }
        }
    }
}
