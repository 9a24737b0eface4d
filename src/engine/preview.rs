//! Preview: who would be paid if a schedule ran now, and why the others would not. Nothing is
//! locked, and nothing written.

use super::deciding::{Decided, Decider, Rules};
use super::{Engine, EngineError};
use crate::domain::{AffiliateId, GateCheck, Money, OrgId, ProgramId, WalletKey};

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
    /// Shows `see` what a run by `rules` would decide about each wallet of an org, by affiliate and
    /// currency.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn preview_automatic(
        &self,
        org: &OrgId,
        rules: &Rules,
        mut see: impl FnMut(Preview) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let see = |decided: Decided<'_>| {
            see(Preview {
                affiliate_id: decided.candidate.affiliate_id.clone(),
                program_id: decided.candidate.program_id.clone(),
                available: Money::new(
                    decided.candidate.available_minor,
                    decided.candidate.currency,
                ),
                failing: decided.failing,
            })
        };
        self.look_ahead(org, rules, see).await
    }

    /// Shows `see` what a run by `rules` would decide now about each wallet of an org in the job's
    /// scope, in the order of the run.
    pub(super) async fn look_ahead(
        &self,
        org: &OrgId,
        rules: &Rules,
        mut see: impl FnMut(Decided<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let keys = self.store.program_zones(org).await?.keys(&rules.periods);
        let mut decider = Decider::new(rules);
        let mut after: Option<WalletKey> = None;
        loop {
            let page = self.store.candidates_after(org, &keys, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let (affiliate_id, currency) = (last.affiliate_id.clone(), last.currency);
            after = Some(WalletKey { affiliate_id, currency });
            let days = decider.unknown_days(&page, now);
            decider.learn(&days, &self.store.usage(org, &days).await?);
            for candidate in &page {
                if let Some(decided) = decider.decide(candidate, now) {
                    see(decided)?;
                }
            }
        }
    }
}
