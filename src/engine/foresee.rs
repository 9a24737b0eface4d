//! Foreseeing: what a run would decide, wallet by wallet, by the function by which it decides.
//! Nothing is locked, and nothing written.

use super::deciding::{Decided, decide, in_scope};
use super::{AutoRequest, Engine, EngineError};
use crate::domain::{Candidate, GateCheck, OrgId, PlanLine, Planned, WalletKey};
use crate::store::ZonePeriod;

/// What a run would decide about one wallet.
pub(super) struct Foreseen {
    pub line: PlanLine,
    /// Every gate that fails, with its numbers.
    pub failing: Vec<GateCheck>,
}

/// A look at an org's wallets, page by page.
pub(super) struct Foresight<'a> {
    engine: &'a Engine,
    org: &'a OrgId,
    request: &'a AutoRequest,
    keys: Vec<ZonePeriod>,
    /// The last wallet that was looked at.
    pub after: Option<WalletKey>,
}

impl Engine {
    /// Begins a look at what a run of `request` would decide in an org.
    pub(super) async fn foresee<'a>(
        &'a self,
        org: &'a OrgId,
        request: &'a AutoRequest,
    ) -> Result<Foresight<'a>, EngineError> {
        let keys = self.store.program_zones(org).await?.keys(&request.periods);
        Ok(Foresight { engine: self, org, request, keys, after: None })
    }
}

impl Foresight<'_> {
    /// The next page; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Foreseen>>, EngineError> {
        let Self { engine, org, request, keys, after } = self;
        let page = engine
            .store
            .candidates_after(org, (keys, request.reached_only), after.as_ref(), request.page)
            .await?;
        let Some(last) = page.last() else { return Ok(None) };
        *after = Some(wallet_of(last));
        let at = request.periods.instant;
        let foresee = |candidate: &Candidate| {
            let decided = decide(candidate, request, &engine.clock, at);
            let line = line_of(candidate, &decided, request);
            Foreseen { line, failing: decided.decision.failing }
        };
        let candidates = page.iter().filter(|candidate| in_scope(&request.scope, candidate));
        Ok(Some(candidates.map(foresee).collect()))
    }
}

/// The wallet of a candidate.
pub(super) fn wallet_of(candidate: &Candidate) -> WalletKey {
    WalletKey { affiliate_id: candidate.affiliate_id.clone(), currency: candidate.currency }
}

/// What was decided about a candidate, as a line of a plan.
pub(super) fn line_of(
    candidate: &Candidate,
    decided: &Decided,
    request: &AutoRequest,
) -> PlanLine {
    let pays = decided.payout.as_ref().map(|payout| Planned {
        amount_minor: payout.amount_minor,
        method_kind: payout.method_kind,
        destination_id: payout.destination_id.clone(),
        approval: if payout.requires_approval { "above_limit".to_owned() } else { String::new() },
    });
    PlanLine {
        affiliate_id: candidate.affiliate_id.clone(),
        currency: candidate.currency,
        program_id: candidate.program_id.clone(),
        period: request.periods.of(candidate.timezone.as_deref()).key,
        available_minor: candidate.available_minor,
        pays,
        failing: decided.decision.failing.iter().map(|check| check.gate).collect(),
    }
}
