//! Submissions: how transfers are put together into one call, and taken apart again when the
//! provider refused the whole because of some.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::outcome::{Stamp, end_transfers};
use super::{Engine, EngineError, Tally};
use crate::domain::{
    AffiliateId, Destination, GateCheck, Money, OrgId, PayoutId, PayoutOrigin, Reference,
    SubmissionId, TransferState,
};
use crate::providers::{Leave, Outgoing, OutgoingItem, Problem, Provider};
use crate::store::{
    NewSubmission, NewTransfer, QueuedPayout, StoreError, SubmissionRow, Transfer, TransferNews, Tx,
};

/// A payout that becomes a transfer.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub payout_id: PayoutId,
    pub affiliate_id: AffiliateId,
    pub amount: Money,
}

impl From<&Transfer> for Member {
    fn from(transfer: &Transfer) -> Self {
        Self {
            payout_id: transfer.payout_id.clone(),
            affiliate_id: transfer.affiliate_id.clone(),
            amount: transfer.amount,
        }
    }
}

impl From<QueuedPayout> for Member {
    fn from(queued: QueuedPayout) -> Self {
        Self {
            payout_id: queued.payout_id,
            affiliate_id: queued.candidate.affiliate_id,
            amount: queued.amount,
        }
    }
}

/// The hash of the bytes that are, or were, sent.
pub(super) fn body_hash(body: &str) -> String {
    hex::encode(Sha256::digest(body.as_bytes()))
}

/// A submission as the provider is handed it.
pub(super) fn outgoing(
    row: &SubmissionRow,
    transfers: &[Transfer],
    now: DateTime<Utc>,
) -> Outgoing {
    // What has settled is asked about as well: a webhook may have said that it came back.
    let open = |state| {
        use TransferState::{Accepted, Settled, Unknown};
        matches!(state, Accepted | Settled | Unknown)
    };
    let destination_of = |transfer: &Transfer| {
        let unreadable = || Destination::unreadable(row.method_kind);
        transfer.destination.clone().unwrap_or_else(unreadable)
    };
    let item = |transfer: &Transfer| OutgoingItem {
        reference: transfer.reference.clone(),
        payout_id: transfer.payout_id.clone(),
        destination: destination_of(transfer),
        amount: transfer.amount,
        provider_id: transfer.provider_id.clone(),
        open: open(transfer.state),
        settled: transfer.state == TransferState::Settled,
        heard: Vec::new(),
        proves_account: transfer.origin == PayoutOrigin::Verification,
    };
    Outgoing {
        org: row.org_id.clone(),
        reference: row.reference.clone(),
        currency: row.currency,
        items: transfers.iter().map(item).collect(),
        provider_batch_id: row.provider_batch_id.clone(),
        attempt: row.sends,
        sequence: row.sequence,
        sent_at: row.first_sent_at.unwrap_or(now),
        now,
        leave: Leave::default(),
    }
}

impl Engine {
    /// Puts payouts of one currency together: references are minted. The caller inserts it;
    /// its bytes are fixed when it is taken in hand.
    pub(super) fn compose(
        &self,
        provider: &dyn Provider,
        members: Vec<Member>,
    ) -> Option<NewSubmission> {
        let currency = members.first()?.amount.currency;
        let transfer = |member: Member| NewTransfer {
            transfer_id: self.clock.mint(),
            payout_id: member.payout_id,
            affiliate_id: member.affiliate_id,
            amount: member.amount,
            reference: self.clock.mint(),
        };
        Some(NewSubmission {
            submission_id: self.clock.mint::<SubmissionId>(),
            method_kind: provider.kind(),
            currency,
            reference: self.clock.mint(),
            transfers: members.into_iter().map(transfer).collect(),
        })
    }

    /// Takes a refused submission apart: the transfers in `failing` are rejected, and their
    /// payouts failed; the others' attempts are over too, but their payouts go into a new
    /// submission, under new references. With nobody named, the whole is split in two, so that
    /// the culprit is found in a few sends; a culprit alone is rejected.
    ///
    /// Only ever called on proof that nothing of the submission was paid.
    pub(super) async fn dismantle(
        &self,
        tx: &mut Tx,
        stamp: Stamp<'_>,
        provider: &dyn Provider,
        transfers: &[Transfer],
        refusal: &Refusal,
    ) -> Result<Tally, EngineError> {
        let mut tally = Tally::default();
        let (failing, surviving): (Vec<_>, Vec<_>) =
            transfers.iter().partition(|transfer| refusal.names(transfer, transfers.len()));
        let news: Vec<_> =
            failing.iter().map(|transfer| note(transfer, refusal.problem_of(transfer))).collect();
        for moved in end_transfers(tx, stamp, TransferState::Rejected, &news).await? {
            // The survivors are seen when they are sent again.
            let amount = Money::new(moved.amount_minor, moved.currency);
            tally.outcome("rejected", amount)?;
            tally.seen += 1;
            tally.act(amount)?;
        }
        let again = Problem::new("batch_refused", "refused with others; sent again without them");
        let parts = if failing.is_empty() { 2 } else { 1 };
        let width = surviving.len().div_ceil(parts).max(1);
        let groups: Vec<_> = surviving.chunks(width).collect();
        self.send_again(tx, stamp, provider, &groups, &again).await?;
        Ok(tally)
    }

    /// Ends attempts that certainly paid nothing, and puts their payouts into new submissions,
    /// one for each group, under new references.
    pub(super) async fn send_again(
        &self,
        tx: &mut Tx,
        stamp: Stamp<'_>,
        provider: &dyn Provider,
        groups: &[&[&Transfer]],
        why: &Problem,
    ) -> Result<(), EngineError> {
        let ended = groups.iter().copied().flatten();
        let news: Vec<_> = ended.map(|transfer| note(transfer, why)).collect();
        let over = tx.transfers_move(stamp.org, TransferState::Rejected, &news, stamp.now).await?;
        if over.len() != news.len() {
            // A payout leaves again only if its attempt was live until now.
            let (wanted, changed) = (news.len() as u64, over.len() as u64);
            return Err(StoreError::Changed { what: "transfers", wanted, changed }.into());
        }
        for group in groups {
            let members = group.iter().map(|transfer| Member::from(*transfer)).collect();
            if let Some(submission) = self.compose(provider, members) {
                tx.submission_insert(stamp.org, &submission, stamp.now).await?;
            }
        }
        Ok(())
    }
}

/// Payouts that the gates hold back, and why.
pub(super) type Failing = Vec<(QueuedPayout, Vec<GateCheck>)>;

/// Why a submission was refused, and because of whom.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub items: HashMap<Reference, Problem>,
    pub problem: Problem,
}

impl Refusal {
    /// Alone in it, it is that one, whoever was named: nothing is split or sent for ever.
    fn names(&self, transfer: &Transfer, members: usize) -> bool {
        self.items.contains_key(&transfer.reference) || members == 1
    }

    fn problem_of(&self, transfer: &Transfer) -> &Problem {
        self.items.get(&transfer.reference).unwrap_or(&self.problem)
    }

    /// By the gates, before anything was sent.
    pub fn of_gates(transfers: &[Transfer], failing: &Failing) -> Self {
        let problem = Problem::new("gate", "a member may no longer be paid");
        let named = |transfer: &Transfer| {
            let (_, checks) =
                failing.iter().find(|(queued, _)| queued.payout_id == transfer.payout_id)?;
            Some((transfer.reference.clone(), gate_problem(checks)))
        };
        Self { items: transfers.iter().filter_map(named).collect(), problem }
    }
}

/// The gates that failed, as a problem.
pub(super) fn gate_problem(checks: &[GateCheck]) -> Problem {
    let code = checks.first().map_or("gate", |check| check.gate.as_str());
    let words =
        |check: &GateCheck| format!("{}: wants {}, found {}", check.gate, check.wants, check.found);
    Problem::new(code, checks.iter().map(words).collect::<Vec<_>>().join("; "))
}

fn note(transfer: &Transfer, problem: &Problem) -> TransferNews {
    TransferNews {
        transfer_id: transfer.transfer_id.clone(),
        provider_id: None,
        provider_status: None,
        code: Some(problem.code.clone()),
        message: Some(problem.message.clone()),
        note: None,
        of_method: problem.of_method,
    }
}

/// Which org a submission belongs to, for messages.
pub(super) fn named(org: &OrgId, row: &SubmissionRow) -> String {
    format!("submission {} of org {org} ({})", row.submission_id, row.method_kind)
}
