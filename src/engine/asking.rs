//! Asking: which submissions are due for a question, and what their provider answers.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::submission::{body_hash, outgoing};
use super::{Engine, EngineError, Reach, Work};
use crate::domain::{Notice, OrgId, SubmissionState, TransferId, TransferState};
use crate::providers::{Found, Outgoing, OutgoingItem, Problem, Provider, Sent, Standing};
use crate::store::{SubmissionRow, Transfer};

/// Submissions claimed at a time.
const CLAIM: i64 = 32;
/// For how long a claimed submission is not claimed by another worker.
pub(super) const CLAIMED_FOR: TimeDelta = TimeDelta::minutes(2);

/// A submission that is being asked about, as it was when it was claimed.
pub(super) struct Claimed {
    pub row: SubmissionRow,
    pub transfers: Vec<Transfer>,
    /// What its rail told of its transfers so far.
    pub heard: HashMap<TransferId, Vec<Notice>>,
    /// Until when no other worker asks about it.
    pub until: DateTime<Utc>,
}

/// What the provider answered about one submission.
pub(super) enum Answer {
    /// About a send whose answer was lost: what sending the same bytes again said.
    Resent(Sent),
    Looked(Found),
    /// It cannot be asked at all.
    Unaskable(Problem),
}

impl Engine {
    /// Takes the next submissions to ask about, so that no other worker asks meanwhile.
    pub(super) async fn claim(
        &self,
        work: &Work,
        org: &OrgId,
        reach: Reach,
        after: &str,
    ) -> Result<Vec<Claimed>, EngineError> {
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            let rows = match reach {
                Reach::Due => tx.submissions_due(org, now, CLAIM).await?,
                Reach::All => tx.submissions_open(org, after, CLAIM).await?,
            };
            let ids: Vec<_> = rows.iter().map(|row| &row.submission_id).collect();
            let until = now + CLAIMED_FOR;
            tx.submissions_check_later(org, &ids, until).await?;
            let mut heard = HashMap::<_, HashMap<_, Vec<_>>>::new();
            for said in tx.notices_of(org, &ids).await? {
                let of_submission = heard.entry(said.submission_id).or_default();
                of_submission.entry(said.transfer_id).or_default().push(said.notice);
            }
            let mut claimed = Vec::with_capacity(rows.len());
            for row in rows {
                let transfers = tx.transfers_of(org, &row.submission_id).await?;
                let heard = heard.remove(&row.submission_id).unwrap_or_default();
                claimed.push(Claimed { row, transfers, heard, until });
            }
            tx.commit().await?;
            Ok(claimed)
        })
        .await
    }

    /// Asks the provider, with no transaction in scope.
    pub(super) async fn ask(&self, claimed: &Claimed) -> Answer {
        let row = &claimed.row;
        let Some(provider) = self.provider(row.method_kind) else {
            let words =
                format!("the rail {} is not configured, so nobody can be asked", row.method_kind);
            return Answer::Unaskable(Problem::new("rail_not_configured", words));
        };
        let outgoing = self.outgoing_of(claimed);
        if row.provider_batch_id.is_some() || row.state == SubmissionState::Accepted {
            return Answer::Looked(self.look_up(provider.as_ref(), row, &outgoing).await);
        }
        if provider.terms().finds_by_reference {
            match provider.look_up(&outgoing).await {
                Found::Nothing(_) => {}
                found => return Answer::Looked(found),
            }
        }
        // A person may have ended some of its payments: bytes that hold one of these never leave.
        let ended = |transfer: &Transfer| transfer.state != TransferState::Unknown;
        if claimed.transfers.iter().any(ended) {
            let words = "some of its payments were ended by a person, so it is not sent again: \
                         say what became of the others";
            return Answer::Unaskable(Problem::new("partly_ended", words));
        }
        self.ask_by_sending_again(provider.as_ref(), row, &outgoing).await
    }

    fn outgoing_of(&self, claimed: &Claimed) -> Outgoing {
        let Claimed { row, transfers, heard, .. } = claimed;
        let mut outgoing = outgoing(row, transfers, self.clock.now());
        for (item, transfer) in outgoing.items.iter_mut().zip(transfers) {
            item.heard = heard.get(&transfer.transfer_id).cloned().unwrap_or_default();
        }
        outgoing
    }

    /// Looks a submission up. What nobody took for too long is called off, and looked up again.
    async fn look_up(
        &self,
        provider: &dyn Provider,
        row: &SubmissionRow,
        outgoing: &Outgoing,
    ) -> Found {
        let found = provider.look_up(outgoing).await;
        let (Found::Items(reports), Some(after)) = (&found, provider.terms().call_off_after) else {
            return found;
        };
        if outgoing.now < outgoing.sent_at + after {
            return found;
        }
        let unclaimed = |reference| {
            let report = reports.iter().find(|report| report.reference == reference);
            report.filter(|report| report.standing == Standing::Unclaimed)
        };
        let mut called_off = 0;
        for item in &outgoing.items {
            let Some(report) = unclaimed(item.reference.clone()) else { continue };
            let provider_id = report.provider_id.clone().or_else(|| item.provider_id.clone());
            let item = OutgoingItem { provider_id, ..item.clone() };
            match provider.call_off(&item).await {
                Ok(()) => called_off += 1,
                Err(problem) => warn!(event = "transfer.not_called_off", org_id = %row.org_id,
                    reference = %item.reference, code = problem.code.as_str(),
                    message = problem.message.as_str()),
            }
        }
        if called_off == 0 {
            return found;
        }
        info!(event = "submission.called_off", submission_id = %row.submission_id, called_off);
        provider.look_up(outgoing).await
    }

    /// The answer to the send was lost. Within its window the provider recognises our reference,
    /// so the same bytes again are a question, not a second payment.
    async fn ask_by_sending_again(
        &self,
        provider: &dyn Provider,
        row: &SubmissionRow,
        outgoing: &Outgoing,
    ) -> Answer {
        let window_ends = row.first_sent_at.map(|at| at + provider.terms().resend_window);
        if window_ends.is_none_or(|ends| outgoing.now >= ends) {
            let words = "the provider no longer recognises its reference, so it cannot be asked: \
                         look it up at the provider by hand";
            return Answer::Unaskable(Problem::new("window_passed", words));
        }
        let body = provider.render(outgoing);
        if body_hash(&body) != row.body_hash {
            let words = "its bytes would differ from those that were sent: put the rail's settings \
                         back to what they were";
            return Answer::Unaskable(Problem::new("body_changed", words));
        }
        Answer::Resent(provider.send(outgoing, &body).await)
    }
}
