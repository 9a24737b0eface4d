//! What a send comes to: patience within it, what is kept of it, how it is counted, and when a run
//! stops sending on a rail.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use super::submission::named;
use super::{EngineError, Tally};
use crate::domain::{Currency, MethodKind, Money, OrgId, Scope, SubmissionState};
use crate::providers::{Outgoing, Problem, Provider, Sent};
use crate::store::{CircuitRow, Queue, SendRecord, SubmissionRow, Transfer};

/// A provider that asks for a pause of at most this long is waited for within the send.
const PATIENCE: TimeDelta = TimeDelta::seconds(10);
/// A provider that asks for a longer pause than this is tried again all the same.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);
/// Pauses waited for within one send.
const MOST_PAUSES: u32 = 5;
/// After a refusal of us (funds, permission) the rail is left alone for this long.
pub(super) const BLOCKED_FOR: TimeDelta = TimeDelta::minutes(15);
/// What payouts wait for where our balance at the provider is too small.
pub(super) const AWAITING_FUNDS: &str = "awaiting_funds";
/// What payouts wait for where the provider, or its folder, cannot be reached.
pub(super) const RAIL_UNREACHABLE: &str = "rail_unreachable";
/// What payouts wait for where the provider refuses us.
pub(super) const RAIL_BLOCKED: &str = "rail_blocked";
/// What payouts wait for that a person stopped.
pub(super) const HALTED: &str = "halted";
/// Unclear answers in a row after which a run stops sending on a rail.
const MOST_UNKNOWN: u32 = 3;

/// One org's money on one rail: what is sent, funded and left alone together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane {
    pub org: OrgId,
    pub kind: MethodKind,
    pub currency: Currency,
}

impl Lane {
    /// The lane of a submission.
    pub fn of(row: &SubmissionRow) -> Self {
        Self { org: row.org_id.clone(), kind: row.method_kind, currency: row.currency }
    }

    /// Whether it is within a job's scope.
    pub fn is_in(&self, scope: &Scope) -> bool {
        scope.has_org(&self.org) && scope.has_method(self.kind) && scope.has_currency(self.currency)
    }
}

/// What a run learns of the rails: which to leave alone, and what each can still spend.
pub(super) struct Rails {
    /// Submissions and circuits that wait for a later instant than this are left alone.
    pub due_by: DateTime<Utc>,
    /// As they stood when the run began.
    circuits: HashMap<Lane, CircuitRow>,
    /// Rails that gave no clear answer or none at all: left alone for the rest of the run.
    silent: HashSet<(OrgId, MethodKind)>,
    unknown: HashMap<(OrgId, MethodKind), u32>,
    /// Lanes that stopped because of us, and why.
    stopped: HashMap<Lane, (&'static str, Problem)>,
    /// What is left to hand out; `None` where nobody can say.
    budgets: HashMap<(MethodKind, Currency), Option<i64>>,
}

impl Rails {
    /// Rails of which nothing is known but their circuits.
    pub fn new(due_by: DateTime<Utc>, circuits: Vec<CircuitRow>) -> Self {
        let lane = |circuit: &CircuitRow| Lane {
            org: circuit.org_id.clone(),
            kind: circuit.method_kind,
            currency: circuit.currency,
        };
        Self {
            due_by,
            circuits: circuits.into_iter().map(|circuit| (lane(&circuit), circuit)).collect(),
            silent: HashSet::new(),
            unknown: HashMap::new(),
            stopped: HashMap::new(),
            budgets: HashMap::new(),
        }
    }

    /// The circuit of a lane that has to be left alone still.
    pub fn closed(&self, lane: &Lane) -> Option<&CircuitRow> {
        self.circuits.get(lane).filter(|circuit| circuit.retry_at > self.due_by)
    }

    /// Whether a lane was left alone before: then one send tells whether that is over.
    pub fn is_on_trial(&self, lane: &Lane) -> bool {
        self.circuits.contains_key(lane)
    }

    /// Whether nothing more is to be sent on a lane in this run.
    pub fn is_over(&self, lane: &Lane) -> bool {
        self.silent.contains(&(lane.org.clone(), lane.kind)) || self.stopped.contains_key(lane)
    }

    /// Why a lane stopped because of us, if it did.
    pub fn stopped(&self, lane: &Lane) -> Option<&(&'static str, Problem)> {
        self.stopped.get(lane)
    }

    /// Stops a lane for lack of funds, before anything is sent that could not be paid.
    pub fn run_dry(&mut self, lane: &Lane, wants: Money) {
        let left = self.budget(lane).unwrap_or(0);
        let words = format!(
            "the next payouts are {wants} {}, the balance at the provider less what is on its way \
             is {} {}",
            wants.currency,
            Money::new(left, wants.currency),
            wants.currency
        );
        let problem = Problem::new("balance_too_small", words);
        self.stopped.insert(lane.clone(), (AWAITING_FUNDS, problem));
    }

    /// What may still be sent on a lane, in minor units; `None` where nobody can say.
    pub fn budget(&self, lane: &Lane) -> Option<i64> {
        self.budgets.get(&(lane.kind, lane.currency)).copied().flatten()
    }

    /// Whether the funds of a rail were asked about in this run.
    pub fn knows_budget(&self, lane: &Lane) -> bool {
        self.budgets.contains_key(&(lane.kind, lane.currency))
    }

    /// Keeps what a rail can spend.
    pub fn set_budget(&mut self, lane: &Lane, minor: Option<i64>) {
        self.budgets.insert((lane.kind, lane.currency), minor);
    }

    /// Takes what is about to be sent from the budget.
    pub fn spend(&mut self, lane: &Lane, amount_minor: i64) {
        if let Some(Some(left)) = self.budgets.get_mut(&(lane.kind, lane.currency)) {
            *left = left.saturating_sub(amount_minor);
        }
    }

    /// Takes note of what a send came to.
    pub fn hear(&mut self, row: &SubmissionRow, sent: &Sent) {
        let lane = Lane::of(row);
        let rail = (row.org_id.clone(), row.method_kind);
        let unknown = self.unknown.entry(rail.clone()).or_default();
        match sent {
            Sent::Accepted { .. } | Sent::Refused { .. } => *unknown = 0,
            Sent::Unknown(_) | Sent::NotSent(Problem { of_method: true, .. }) => {
                *unknown += 1;
                if *unknown >= MOST_UNKNOWN {
                    self.silent.insert(rail);
                }
            }
            Sent::Throttled { .. } => {
                self.silent.insert(rail);
            }
            // The next one may be of a program that is not halted.
            Sent::NotSent(problem) if problem.code == HALTED => {}
            Sent::NotSent(problem) => {
                self.silent.insert(rail);
                self.stopped.insert(lane, (RAIL_UNREACHABLE, problem.clone()));
            }
            Sent::Blocked(problem) => {
                self.stopped.insert(lane, (RAIL_BLOCKED, problem.clone()));
            }
            Sent::Short(problem) => {
                self.stopped.insert(lane, (AWAITING_FUNDS, problem.clone()));
            }
        }
    }
}

/// Sends once, and again only while the provider says "slow down": a 429 took nothing. Before each
/// try it asks for leave, as the rail does once it has waited for its turn: nothing leaves after a
/// halt.
pub(super) async fn send_patiently(
    provider: &dyn Provider,
    outgoing: &Outgoing,
    body: &str,
) -> Sent {
    let mut pauses = 0;
    loop {
        if let Some(problem) = outgoing.leave.held().await {
            return Sent::NotSent(problem);
        }
        let sent = provider.send(outgoing, body).await;
        match &sent {
            Sent::Throttled { retry_after: Some(pause), .. }
                if *pause <= PATIENCE && pauses < MOST_PAUSES =>
            {
                pauses += 1;
                tokio::time::sleep(pause.to_std().unwrap_or_default()).await;
            }
            _ => return sent,
        }
    }
}

/// What a send came to, as it is kept with its submission.
pub(super) fn send_record(sent: &Sent, now: DateTime<Utc>) -> SendRecord {
    let record = |state, problem: Option<&Problem>| SendRecord {
        state,
        provider_batch_id: None,
        problem: problem.map(|problem| (problem.code.clone(), problem.message.clone())),
        next_attempt_at: None,
        next_check_at: None,
    };
    let prepared = |problem, wait| SendRecord {
        next_attempt_at: Some(now + wait),
        ..record(SubmissionState::Prepared, Some(problem))
    };
    match sent {
        Sent::Accepted { provider_batch_id } => SendRecord {
            provider_batch_id: provider_batch_id.clone(),
            next_check_at: Some(now),
            ..record(SubmissionState::Accepted, None)
        },
        Sent::Unknown(problem) => SendRecord {
            next_check_at: Some(now),
            ..record(SubmissionState::Unknown, Some(problem))
        },
        // One payee's trouble has to stand behind the others.
        Sent::NotSent(problem) if problem.of_method => prepared(problem, BLOCKED_FOR),
        // The next run tries again: how often jobs run is the pause between tries.
        Sent::NotSent(problem) => prepared(problem, TimeDelta::zero()),
        Sent::Throttled { retry_after, problem } => {
            let pause = retry_after.unwrap_or(TimeDelta::minutes(1));
            prepared(problem, pause.min(LONGEST_PAUSE))
        }
        Sent::Blocked(problem) | Sent::Short(problem) => prepared(problem, BLOCKED_FOR),
        Sent::Refused { problem, .. } => record(SubmissionState::Refused, Some(problem)),
    }
}

/// Counts what a send came to.
pub(super) fn count(
    tally: &mut Tally,
    row: &SubmissionRow,
    transfers: &[Transfer],
    sent: &Sent,
) -> Result<(), EngineError> {
    let (outcome, problem) = match sent {
        Sent::Accepted { .. } => ("accepted", None),
        Sent::Unknown(problem) => ("unknown", Some(problem)),
        // It is counted with all that waits under a halt, at the end.
        Sent::NotSent(problem) if problem.code == HALTED => return Ok(()),
        Sent::NotSent(problem) => ("not_sent", Some(problem)),
        Sent::Throttled { problem, .. } => ("throttled", Some(problem)),
        Sent::Blocked(problem) => ("blocked", Some(problem)),
        Sent::Short(problem) => ("awaiting_funds", Some(problem)),
        Sent::Refused { problem, .. } => ("refused", Some(problem)),
    };
    for transfer in transfers {
        tally.seen += 1;
        tally.outcome(outcome, transfer.amount)?;
        match problem {
            None => tally.act(transfer.amount)?,
            Some(_) => tally.failed += 1,
        }
    }
    if let Some(problem) = problem {
        let name = named(&row.org_id, row);
        tally.note(format!("{name}: {outcome}: {problem}"));
        warn!(event = "submission.not_accepted", submission_id = %row.submission_id,
              provider = %row.method_kind, outcome, code = problem.code.as_str(),
              message = problem.message.as_str());
    }
    Ok(())
}

/// Counts payouts that stay in their queue, and why.
pub(super) fn count_waiting(
    tally: &mut Tally,
    queue: &Queue,
    (reason, words): (&str, &str),
) -> Result<(), EngineError> {
    let payouts = u64::try_from(queue.payouts).unwrap_or(0);
    tally.seen += payouts;
    let skips = tally.skipped.entry(reason.to_owned()).or_default();
    skips.count += payouts;
    skips.amount.add(queue.amount())?;
    tally.note(format!(
        "{payouts} payouts of org {} wait for {} ({} {}): {words}",
        queue.org_id,
        queue.method_kind,
        queue.amount(),
        queue.currency
    ));
    Ok(())
}
