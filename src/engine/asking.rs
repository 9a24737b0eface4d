//! Asking: which submissions are due for a question, and what their provider answers.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::submission::{body_hash, outgoing};
use super::unreadable::UNREADABLE;
use super::{Engine, EngineError, Reach, Work};
use crate::domain::{Notice, OrgId, SubmissionState, TransferId, TransferState};
use crate::providers::{Found, Outgoing, OutgoingItem, Problem, Provider, Sent, Standing};
use crate::store::{SubmissionRow, Transfer};

/// Submissions claimed at a time.
const CLAIM: i64 = 32;
/// For how long a claimed submission is not claimed by another worker.
const CLAIMED_FOR: TimeDelta = TimeDelta::minutes(2);
/// The same for one that is sent again: longer than the longest call.
const SENT_FOR: TimeDelta = TimeDelta::minutes(15);

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

    /// Asks the provider, with no transaction in scope; `None` if the submission is no longer ours
    /// to ask about.
    pub(super) async fn ask(
        &self,
        work: &Work,
        claimed: &mut Claimed,
    ) -> Result<Option<Answer>, EngineError> {
        let row = &claimed.row;
        let Some(provider) = self.provider(row.method_kind) else {
            let words =
                format!("the rail {} is not configured, so nobody can be asked", row.method_kind);
            return Ok(Some(Answer::Unaskable(Problem::new("rail_not_configured", words))));
        };
        let outgoing = self.outgoing_of(claimed);
        let was_taken = row.provider_batch_id.is_some() || row.state == SubmissionState::Accepted;
        if was_taken || !is_all_unknown(&claimed.transfers) {
            let found = self.look_up(provider.as_ref(), row, &outgoing).await;
            return Ok(Some(Answer::Looked(found)));
        }
        if provider.terms().finds_by_reference {
            match provider.look_up(&outgoing).await {
                Found::Nothing(_) => {}
                found => return Ok(Some(Answer::Looked(found))),
            }
        }
        if claimed.transfers.iter().any(|transfer| transfer.destination.is_none()) {
            let words = "a destination in it cannot be read any more, so the same bytes cannot be \
                         sent again: look it up at the provider by hand";
            return Ok(Some(Answer::Unaskable(Problem::new(UNREADABLE, words))));
        }
        if !self.may_send_again(work, claimed).await? {
            return Ok(None);
        }
        let answer = self.ask_by_sending_again(provider.as_ref(), &claimed.row, &outgoing).await;
        Ok(Some(answer))
    }

    /// Whether a submission's bytes may leave again: it is still ours to ask about, no person has
    /// ended a payment in it since, and nobody halted it. From then on nobody may until the call is over.
    async fn may_send_again(
        &self,
        work: &Work,
        claimed: &mut Claimed,
    ) -> Result<bool, EngineError> {
        let until = self.clock.now() + SENT_FOR;
        let Claimed { row, until: held, .. } = &*claimed;
        let may = self
            .retrying(|| async {
                let (org, id) = (&row.org_id, &row.submission_id);
                let mut tx = self.begin(work).await?;
                let ours = tx.submission_claim_again(org, id, (*held, until)).await?;
                // Under a halt it is only looked up.
                let may = ours
                    && is_all_unknown(&tx.transfers_of(org, id).await?)
                    && tx.submission_halted(row).await?.is_none();
                if may {
                    tx.commit().await?;
                }
                Ok(may)
            })
            .await?;
        claimed.until = until;
        Ok(may)
    }

    fn outgoing_of(&self, claimed: &Claimed) -> Outgoing {
        let Claimed { row, transfers, heard, .. } = claimed;
        let mut outgoing = outgoing(row, transfers, self.clock.now());
        outgoing.leave = self.leave_of(row);
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

/// Whether nothing is known of any of a submission's payments, and none was ended by a person: bytes
/// that hold an ended payment never leave again.
fn is_all_unknown(transfers: &[Transfer]) -> bool {
    transfers.iter().all(|transfer| transfer.state == TransferState::Unknown)
}
