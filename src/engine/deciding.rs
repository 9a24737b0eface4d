//! Deciding: what a schedule asks for each wallet, and why not. Pure, so that a run, a preview and a
//! plan cannot differ.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::limits::Spent;
use crate::clock::Clock;
use crate::domain::{
    Allowance, ApprovalReason, ApprovalRules, Breaker, Candidate, CandidateMethod, Gate, GateCheck,
    Intent, Limits, PayoutId, Period, Periods, RunId, Scope, check_gates,
};
use crate::store::{AskedByRun, NewDecision, NewPayout, UsageDay, UsageRow};

/// What a job goes by when it decides about wallets.
#[derive(Debug, Clone)]
pub struct Rules {
    pub job_id: String,
    /// The periods that its payouts belong to: one per wallet and period.
    pub periods: Periods,
    pub scope: Scope,
    /// Look only at wallets that have reached their minimum and were not paid in the period.
    pub reached_only: bool,
    pub limits: Limits,
    pub approval: ApprovalRules,
    /// Stops a run that would ask for unusually much; `None`: nothing does.
    pub breaker: Option<Breaker>,
}

impl Rules {
    /// Rules of a job that limits nothing and that nothing stops.
    pub fn unlimited(job_id: &str, periods: Periods, scope: Scope) -> Self {
        let (limits, approval) = (Limits::default(), ApprovalRules::default());
        Self {
            job_id: job_id.to_owned(),
            periods,
            scope,
            reached_only: false,
            limits,
            approval,
            breaker: None,
        }
    }
}

impl Rules {
    /// Whether a candidate is any business of the job.
    pub fn is_about(&self, candidate: &Candidate) -> bool {
        let kind = candidate.method.as_ref().map(|method| method.kind);
        self.scope.has_program(&candidate.program_id)
            && self.scope.has_currency(candidate.currency)
            && kind.is_none_or(|kind| self.scope.has_method(kind))
    }
}

/// Walks the wallets of one org in their order, by affiliate and currency, and carries what it asked
/// for so far. A page that may have to be done again works on a copy, which takes the original's
/// place once it is committed.
#[derive(Debug, Clone)]
pub(super) struct Decider<'r> {
    rules: &'r Rules,
    spent: Spent,
    /// Limits that somebody met, by gate and what it wants.
    met: BTreeSet<(Gate, String)>,
    /// Those that were met since they were last told.
    untold: Vec<GateCheck>,
}

/// What was decided about one wallet.
#[derive(Debug)]
pub(super) struct Decided<'c> {
    pub candidate: &'c Candidate,
    /// Every gate that fails, in order; empty if it is paid.
    pub failing: Vec<GateCheck>,
    /// What is asked for, if every gate lets it pass.
    pub ask: Option<Ask<'c>>,
}

/// A payout to be asked for.
#[derive(Debug)]
pub(super) struct Ask<'c> {
    pub method: &'c CandidateMethod,
    pub intent: Intent,
    /// Why it waits for a person; empty if it need not.
    pub approval: Vec<ApprovalReason>,
    /// Of an automatic payout.
    pub period: Option<Period>,
}

impl<'r> Decider<'r> {
    /// A walk that has asked for nothing yet.
    pub fn new(rules: &'r Rules) -> Self {
        Self { rules, spent: Spent::default(), met: BTreeSet::new(), untold: Vec::new() }
    }

    /// Takes up what the run asked for before, in an attempt that did not come to its end.
    pub fn resume(&mut self, asked: &[AskedByRun]) {
        self.spent.resume(&self.rules.job_id, asked);
    }

    /// The days whose usage has to be known before a page is decided about, in the order in which
    /// they are held.
    pub fn days(&self, page: &[Candidate], at: DateTime<Utc>) -> Vec<UsageDay> {
        Spent::days(Some(self.rules), page, at)
    }

    /// Those of them that a walk which writes nothing does not know yet: what it asked for itself is
    /// in no database.
    pub fn unknown_days(&self, page: &[Candidate], at: DateTime<Utc>) -> Vec<UsageDay> {
        self.spent.unknown(self.days(page, at))
    }

    /// Takes up what was asked for in `days` so far, as the database has it.
    pub fn learn(&mut self, days: &[UsageDay], rows: &[UsageRow]) {
        self.spent.learn(days, rows);
    }

    /// The days that changed since they were learnt, as they stand now.
    pub fn changed_days(&self) -> Vec<UsageRow> {
        self.spent.changed()
    }

    /// What limits there are over a payout of this candidate, and what was asked for so far.
    pub fn allowed(&self, candidate: &Candidate, at: DateTime<Utc>) -> Vec<Allowance> {
        self.spent.allowed(Some(self.rules), candidate, at)
    }

    /// Decides about the next wallet; `None` if it is none of the job's business.
    pub fn decide<'c>(
        &mut self,
        candidate: &'c Candidate,
        at: DateTime<Utc>,
    ) -> Option<Decided<'c>> {
        if !self.rules.is_about(candidate) {
            return None;
        }
        let intent = Intent::auto(candidate, at);
        let allowed = self.spent.allowed(Some(self.rules), candidate, at);
        let (ask, failing) = match pass(candidate, intent, &allowed) {
            Err(failing) => (None, failing),
            Ok(method) => {
                let amount_minor = intent.amount_minor;
                self.spent.take(Some(self.rules), candidate, (amount_minor, at));
                let approval =
                    candidate.approval_reasons(amount_minor, method, Some(&self.rules.approval));
                let period = Some(self.rules.periods.of(candidate.timezone.as_deref()));
                (Some(Ask { method, intent, approval, period }), Vec::new())
            }
        };
        self.note_limits(&failing);
        Some(Decided { candidate, failing, ask })
    }

    /// The limits that somebody met for the first time in this walk, and that nothing else kept
    /// from being paid; each is told once.
    pub fn new_limits(&mut self) -> Vec<GateCheck> {
        std::mem::take(&mut self.untold)
    }

    fn note_limits(&mut self, failing: &[GateCheck]) {
        let only_limits = |check: &GateCheck| Gate::LIMITS.contains(&check.gate);
        if !failing.iter().all(only_limits) {
            return;
        }
        for check in failing {
            if self.met.insert((check.gate, check.wants.clone())) {
                self.untold.push(check.clone());
            }
        }
    }
}

impl Decided<'_> {
    /// The payout that it leads to, in the run `run_id`.
    pub fn payout(&self, clock: &Clock, run_id: &RunId) -> Option<NewPayout> {
        let ask = self.ask.as_ref()?;
        let run_id = Some(run_id.clone());
        Some(NewPayout { run_id, ..new_payout(self.candidate, ask, clock) })
    }

    /// What is kept of it; `payout` is the one that it led to.
    pub fn on_record(self, payout: Option<&PayoutId>) -> NewDecision {
        NewDecision {
            affiliate_id: self.candidate.affiliate_id.clone(),
            currency: self.candidate.currency,
            program_id: self.candidate.program_id.clone(),
            available_minor: self.candidate.available_minor,
            payout_id: payout.cloned(),
            failing: self.failing,
        }
    }
}

/// The method to pay by, if every gate lets the candidate pass; otherwise all that fail.
pub(super) fn pass<'c>(
    candidate: &'c Candidate,
    intent: Intent,
    allowed: &[Allowance],
) -> Result<&'c CandidateMethod, Vec<GateCheck>> {
    let checks = check_gates(candidate, intent, allowed);
    let failing: Vec<_> = checks.into_iter().filter(|check| !check.passed).collect();
    match &candidate.method {
        Some(method) if failing.is_empty() => Ok(method),
        _ => Err(failing),
    }
}

/// A payout of what is asked; without a run or one that it retries.
pub(super) fn new_payout(candidate: &Candidate, ask: &Ask<'_>, clock: &Clock) -> NewPayout {
    NewPayout {
        payout_id: clock.mint(),
        affiliate_id: candidate.affiliate_id.clone(),
        program_id: candidate.program_id.clone(),
        currency: candidate.currency,
        amount_minor: ask.intent.amount_minor,
        method_id: ask.method.method_id.clone(),
        method_kind: ask.method.kind,
        destination_id: ask.method.destination_id.clone(),
        origin: ask.intent.origin,
        approval: ask.approval.clone(),
        period: ask.period.clone(),
        run_id: None,
        retry_of: None,
    }
}
