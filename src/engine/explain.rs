//! Explain: why an affiliate was paid or not, with every gate and its numbers.

use super::{Engine, EngineError};
use crate::domain::{AffiliateId, GateCheck, Intent, Money, OrgId, Periods, check_gates};
use crate::store::{DecisionRow, ProgramZones};

/// The state of one affiliate as the gates see it now, and the latest decisions about it.
#[derive(Debug)]
pub struct Explanation {
    pub affiliate_id: AffiliateId,
    pub wallets: Vec<WalletExplanation>,
    pub decisions: Vec<DecisionRow>,
}

/// One wallet, held against every gate as if the schedule ran now.
#[derive(Debug)]
pub struct WalletExplanation {
    pub available: Money,
    pub gates: Vec<GateCheck>,
}

impl WalletExplanation {
    /// Whether a run now would pay it. A balance of exactly 0 is no candidate.
    pub fn would_be_paid(&self) -> bool {
        self.available.minor != 0 && self.gates.iter().all(|check| check.passed)
    }
}

impl Engine {
    /// Explains one affiliate, as of the automatic `periods`, if a job pays it.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn explain(
        &self,
        org: &OrgId,
        affiliate: &AffiliateId,
        periods: Option<&Periods>,
    ) -> Result<Explanation, EngineError> {
        let keys = match periods {
            Some(periods) => self.store.program_zones(org).await?.keys(periods),
            None => ProgramZones::no_keys(),
        };
        let candidates = self.store.candidates_of(org, affiliate, &keys).await?;
        let now = self.clock.now();
        let explain = |candidate: &crate::domain::Candidate| WalletExplanation {
            available: Money::new(candidate.available_minor, candidate.currency),
            gates: check_gates(candidate, Intent::auto(candidate, now)),
        };
        Ok(Explanation {
            affiliate_id: affiliate.clone(),
            wallets: candidates.iter().map(explain).collect(),
            decisions: self.store.decisions_of(org, affiliate, 3).await?,
        })
    }
}
