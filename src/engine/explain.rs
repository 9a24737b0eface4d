//! Explain: why an affiliate was paid or not, and what the next run is expected to do, with every
//! gate and its numbers.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::deciding::Rules;
use super::limits::Spent;
use super::{Engine, EngineError};
use crate::domain::{
    AffiliateId, ApprovalReason, Candidate, Currency, GateCheck, Intent, Money, OrgId, ProgramId,
    check_gates,
};
use crate::store::{DecisionRow, ProgramZones};

/// How many of the latest decisions are told.
const DECISIONS: i64 = 3;

/// The state of one affiliate as the gates will see it, and the latest decisions about it.
#[derive(Debug)]
pub struct Explanation {
    pub affiliate_id: AffiliateId,
    /// The instant that it is told for: when the next run is due, or now.
    pub as_of: DateTime<Utc>,
    /// What is taken for granted, one sentence each.
    pub assumptions: Vec<&'static str>,
    pub wallets: Vec<WalletExplanation>,
    pub decisions: Vec<DecisionRow>,
}

/// One wallet, held against every gate as if the schedule ran at the instant.
#[derive(Debug)]
pub struct WalletExplanation {
    pub program_id: ProgramId,
    /// Now.
    pub available: Money,
    /// What is held now, and will have been released by then.
    pub released_by_then: Money,
    /// What a run would ask for: both of them.
    pub expected: Money,
    /// The period that it would be paid in; `None` if no job pays.
    pub period: Option<String>,
    /// Whether the job that pays is about this wallet at all.
    pub in_scope: bool,
    /// Why the payout would wait for a person; empty if it would not.
    pub approval: Vec<ApprovalReason>,
    pub gates: Vec<GateCheck>,
}

impl WalletExplanation {
    /// Whether a run would pay it. A balance of exactly 0 is no candidate.
    pub fn would_be_paid(&self) -> bool {
        self.in_scope && self.expected.minor != 0 && self.gates.iter().all(|check| check.passed)
    }
}

impl Engine {
    /// Explains one affiliate as of the instant of `rules`, those of the job that pays, or as of now
    /// if none does.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn explain(
        &self,
        org: &OrgId,
        affiliate: &AffiliateId,
        rules: Option<&Rules>,
    ) -> Result<Explanation, EngineError> {
        let as_of = rules.map_or_else(|| self.clock.now(), |rules| rules.periods.instant);
        let keys = match rules {
            Some(rules) => self.store.program_zones(org).await?.keys(&rules.periods),
            None => ProgramZones::no_keys(),
        };
        let candidates = self.store.candidates_of(org, affiliate, &keys).await?;
        let released = self.store.held_until(org, affiliate, as_of).await?;
        let released: HashMap<Currency, i64> = released.into_iter().collect();
        let mut spent = Spent::default();
        let days = Spent::days(rules, &candidates, as_of);
        spent.learn(&days, &self.store.usage(org, &days).await?);
        let wallet = |candidate: Candidate| {
            let by_then = released.get(&candidate.currency).copied().unwrap_or(0);
            explain_wallet(candidate, by_then, (rules, &spent, as_of))
        };
        Ok(Explanation {
            affiliate_id: affiliate.clone(),
            as_of,
            assumptions: vec![
                "nothing more is earned, refunded, adjusted or asked for until then",
                "what is held is released when its hold passes, where the program credits by itself",
                "nothing of this run's own limits is used up by others before",
            ],
            wallets: candidates.into_iter().map(wallet).collect(),
            decisions: self.store.decisions_of(org, affiliate, DECISIONS).await?,
        })
    }
}

fn explain_wallet(
    candidate: Candidate,
    released_minor: i64,
    (rules, spent, as_of): (Option<&Rules>, &Spent, DateTime<Utc>),
) -> WalletExplanation {
    let currency = candidate.currency;
    let expected_minor = candidate.available_minor.saturating_add(released_minor);
    let then = Candidate { available_minor: expected_minor, ..candidate.clone() };
    let allowed = spent.allowed(rules, &then, as_of);
    let gates = check_gates(&then, Intent::auto(&then, as_of), &allowed);
    let approval = then.method.as_ref().filter(|_| expected_minor > 0).map(|method| {
        let of_job = rules.map(|rules| &rules.approval);
        then.approval_reasons(expected_minor, method, of_job)
    });
    WalletExplanation {
        period: rules.map(|rules| rules.periods.of(then.timezone.as_deref()).key),
        in_scope: rules.is_none_or(|rules| rules.is_about(&then)),
        approval: approval.unwrap_or_default(),
        program_id: candidate.program_id,
        available: Money::new(candidate.available_minor, currency),
        released_by_then: Money::new(released_minor, currency),
        expected: Money::new(expected_minor, currency),
        gates,
    }
}
