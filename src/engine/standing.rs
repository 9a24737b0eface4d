//! What a page of a run is held to before it asks for anything: what the run has decided already,
//! when it is tried again; and what its plan says, when it executes one.

use std::collections::{HashMap, HashSet};

use super::deciding::{Decided, Rules};
use super::foresee::{line_of, wallet_of};
use super::{AutoRequest, EngineError};
use crate::domain::{Candidate, Gate, GateCheck, LineDifference, OrgId, PlanLine, WalletKey};
use crate::store::{NewDecision, Tx};

/// What is known of the wallets of one page.
pub(super) struct Standing {
    decided: HashSet<WalletKey>,
    /// `None` for a run without a plan.
    planned: Option<HashMap<WalletKey, PlanLine>>,
    /// The last wallet of the page; `None` beyond the last page.
    pub last: Option<WalletKey>,
}

impl Standing {
    /// What stands about the wallets after `after`: those of `candidates`, and those that the plan
    /// names among or beyond them.
    pub async fn of(
        tx: &mut Tx,
        org: &OrgId,
        request: &AutoRequest,
        after: Option<&WalletKey>,
        candidates: &[Candidate],
    ) -> Result<Self, EngineError> {
        let upto = candidates.last().map(wallet_of);
        let planned = match (&request.plan, &upto) {
            (None, _) => None,
            (Some(plan), Some(upto)) => Some(tx.plan_lines_upto(org, plan, after, upto).await?),
            (Some(plan), None) => Some(tx.plan_lines_beyond(org, plan, after, request.page).await?),
        };
        let beyond = planned.as_ref().and_then(|lines| lines.last()).map(PlanLine::wallet);
        let last = upto.or(beyond);
        let decided = match &last {
            None => Vec::new(),
            Some(last) => tx.decided_wallets(org, &request.run_id, after, last).await?,
        };
        let by_wallet =
            |lines: Vec<PlanLine>| lines.into_iter().map(|line| (line.wallet(), line)).collect();
        Ok(Self { decided: decided.into_iter().collect(), planned: planned.map(by_wallet), last })
    }

    /// Whether the run has decided about a candidate already: what it decided stands.
    pub fn is_decided(&self, candidate: &Candidate) -> bool {
        self.decided.contains(&wallet_of(candidate))
    }

    /// Why what was decided is not done: the plan says something else. `None` if it says the same,
    /// or there is none.
    pub fn changed(
        &mut self,
        org: &OrgId,
        decided: &Decided<'_>,
        rules: &Rules,
    ) -> Option<GateCheck> {
        let planned = self.planned.as_mut()?;
        let line = line_of(decided, rules);
        let differences = match planned.remove(&line.wallet()) {
            None => vec![line.unplanned(org)],
            Some(planned) => planned.differences(org, &line),
        };
        if differences.is_empty() {
            return None;
        }
        let words = |of: fn(&LineDifference) -> &str| {
            let words = differences.iter().map(|one| format!("{} {}", one.what, of(one)));
            words.collect::<Vec<_>>().join(", ")
        };
        Some(changed(words(|one| &one.planned), words(|one| &one.found)))
    }

    /// Decisions about the wallets that the plan names and that there is nothing to decide about
    /// any more.
    pub fn gone(self) -> Vec<NewDecision> {
        let Self { decided, planned, last: _ } = self;
        let lines = planned.into_iter().flatten().filter(|(wallet, _)| !decided.contains(wallet));
        let mut gone: Vec<_> = lines
            .map(|(_, line)| NewDecision {
                affiliate_id: line.affiliate_id,
                currency: line.currency,
                program_id: line.program_id,
                available_minor: 0,
                payout_id: None,
                failing: vec![changed(
                    "the wallet to be decided about".to_owned(),
                    "nothing to pay, or out of scope".to_owned(),
                )],
            })
            .collect();
        gone.sort_by(|a, b| a.affiliate_id.as_str().cmp(b.affiliate_id.as_str()));
        gone
    }
}

fn changed(wants: String, found: String) -> GateCheck {
    GateCheck { gate: Gate::PlanChanged, passed: false, wants, found }
}
