//! What a send comes to: patience within it, what is kept of it, how it is counted, and when a run
//! stops sending on a rail.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use super::submission::named;
use super::{EngineError, Tally};
use crate::domain::{MethodKind, OrgId, SubmissionState};
use crate::providers::{Outgoing, Problem, Provider, Sent};
use crate::store::{Queue, SendRecord, SubmissionRow, Transfer};

/// A provider that asks for a pause of at most this long is waited for within the send.
const PATIENCE: TimeDelta = TimeDelta::seconds(10);
/// A provider that asks for a longer pause than this is tried again all the same.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);
/// Pauses waited for within one send.
const MOST_PAUSES: u32 = 5;
/// After a refusal of us (funds, permission) the rail is left alone for this long.
const BLOCKED_FOR: TimeDelta = TimeDelta::minutes(15);
/// Unclear answers in a row after which a run stops sending on a rail.
const MOST_UNKNOWN: u32 = 3;

/// Rails that a run stopped sending on, and unclear answers in a row.
#[derive(Default)]
pub(super) struct Breaker {
    /// Submissions that wait for a later instant than this are left alone.
    pub due_by: DateTime<Utc>,
    open: HashSet<(OrgId, MethodKind)>,
    unknown: HashMap<(OrgId, MethodKind), u32>,
}

impl Breaker {
    /// A breaker that trusts every rail.
    pub fn new(due_by: DateTime<Utc>) -> Self {
        Self { due_by, ..Self::default() }
    }

    /// Whether the rail is to be left alone for the rest of the run.
    pub fn is_open(&self, org: &OrgId, kind: MethodKind) -> bool {
        self.open.contains(&(org.clone(), kind))
    }

    /// Takes note of what a send came to.
    pub fn hear(&mut self, row: &SubmissionRow, sent: &Sent) {
        let rail = (row.org_id.clone(), row.method_kind);
        let unknown = self.unknown.entry(rail.clone()).or_default();
        match sent {
            Sent::Accepted { .. } | Sent::Refused { .. } => *unknown = 0,
            Sent::Unknown(_) => {
                *unknown += 1;
                if *unknown >= MOST_UNKNOWN {
                    self.open.insert(rail);
                }
            }
            Sent::NotSent(_) | Sent::Throttled { .. } | Sent::Blocked(_) | Sent::Short(_) => {
                self.open.insert(rail);
            }
        }
    }
}

/// Sends once, and again only while the provider says "slow down": a 429 took nothing.
pub(super) async fn send_patiently(
    provider: &dyn Provider,
    outgoing: &Outgoing,
    body: &str,
) -> Sent {
    let mut pauses = 0;
    loop {
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

/// Counts payouts that wait for a rail that is not configured.
pub(super) fn not_configured(tally: &mut Tally, queue: &Queue) -> Result<(), EngineError> {
    let payouts = u64::try_from(queue.payouts).unwrap_or(0);
    tally.seen += payouts;
    let skips = tally.skipped.entry("rail_not_configured".to_owned()).or_default();
    skips.count += payouts;
    skips.amount.add(queue.amount())?;
    tally.note(format!(
        "{payouts} payouts of org {} wait for {} ({} {}): the rail is not configured, see [providers.{}]",
        queue.org_id, queue.method_kind, queue.amount(), queue.currency, queue.method_kind
    ));
    Ok(())
}
