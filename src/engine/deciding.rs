//! Deciding: what a schedule asks for each wallet, and why not. Pure, so that a run, a preview and a
//! plan cannot differ.

use chrono::{DateTime, Utc};

use super::AutoRequest;
use crate::clock::Clock;
use crate::domain::{Candidate, CandidateMethod, GateCheck, Intent, Period, Scope, check_gates};
use crate::store::{NewDecision, NewPayout};

/// What was decided about one wallet: on record, and the payout it leads to.
pub(super) struct Decided {
    pub decision: NewDecision,
    pub payout: Option<NewPayout>,
}

/// Whether a candidate is any business of a job with this scope.
pub(super) fn in_scope(scope: &Scope, candidate: &Candidate) -> bool {
    let kind = candidate.method.as_ref().map(|method| method.kind);
    scope.has_program(&candidate.program_id)
        && scope.has_currency(candidate.currency)
        && kind.is_none_or(|kind| scope.has_method(kind))
}

/// The method to pay by, if every gate lets the candidate pass; otherwise all that fail.
pub(super) fn pass(
    candidate: &Candidate,
    intent: Intent,
) -> Result<&CandidateMethod, Vec<GateCheck>> {
    let failing: Vec<_> =
        check_gates(candidate, intent).into_iter().filter(|check| !check.passed).collect();
    match &candidate.method {
        Some(method) if failing.is_empty() => Ok(method),
        _ => Err(failing),
    }
}

/// Decides about one wallet, for the run of `request`.
pub(super) fn decide(
    candidate: &Candidate,
    request: &AutoRequest,
    clock: &Clock,
    now: DateTime<Utc>,
) -> Decided {
    let intent = Intent::auto(candidate, now);
    let (payout, failing) = match pass(candidate, intent) {
        Err(failing) => (None, failing),
        Ok(method) => {
            let payout = new_payout(candidate, method, intent, clock);
            let period = Some(request.periods.of(candidate.timezone.as_deref()));
            let run_id = Some(request.run_id.clone());
            (Some(NewPayout { period, run_id, ..payout }), Vec::new())
        }
    };
    let decision = NewDecision {
        affiliate_id: candidate.affiliate_id.clone(),
        currency: candidate.currency,
        program_id: candidate.program_id.clone(),
        available_minor: candidate.available_minor,
        payout_id: payout.as_ref().map(|payout| payout.payout_id.clone()),
        failing,
    };
    Decided { decision, payout }
}

/// A payout of what the intent asks, by `method`; without a period, a run or one that it retries.
pub(super) fn new_payout(
    candidate: &Candidate,
    method: &CandidateMethod,
    intent: Intent,
    clock: &Clock,
) -> NewPayout {
    NewPayout {
        payout_id: clock.mint(),
        affiliate_id: candidate.affiliate_id.clone(),
        program_id: candidate.program_id.clone(),
        currency: candidate.currency,
        amount_minor: intent.amount_minor,
        method_id: method.method_id.clone(),
        method_kind: method.kind,
        destination_id: method.destination_id.clone(),
        origin: intent.origin,
        requires_approval: candidate
            .approval_minor
            .is_some_and(|limit| intent.amount_minor > limit),
        period: None::<Period>,
        run_id: None,
        retry_of: None,
    }
}
