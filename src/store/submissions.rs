//! Submissions: what was sent in one call, under which reference, and what came of it.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::halts::halted;
use super::{NewTransfer, Store, StoreError, Tx};
use crate::domain::{
    Currency, MethodKind, OrgId, PayoutId, Reference, SubmissionId, SubmissionState, TransferId,
    TransferState,
};

const SUBMISSION_INSERT: &str = "
    INSERT INTO submissions (org_id, submission_id, method_kind, currency, reference, state,
                             body_hash, sequence, sends, checks, refusals, next_attempt_at,
                             created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, 'prepared', '', $6, 0, 0, 0, $7, $7, $7)";
const COUNTER_NEXT: &str = "
    INSERT INTO counters (name, value) VALUES ($1, 1)
    ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value";

macro_rules! submissions {
    ($($tail:expr),+) => { concat!("
    SELECT s.org_id, s.submission_id, s.method_kind, s.currency, s.reference, s.state,
           s.body_hash, s.provider_batch_id, s.sequence, s.sends, s.checks, s.refusals,
           s.refused_since, s.first_sent_at, s.claimed_until
    FROM submissions s ", $($tail),+) };
}
// Not one that is halted as a whole.
const SUBMISSION_TO_SEND: &str = submissions!(
    "WHERE s.org_id = $1 AND s.method_kind = $2 AND s.currency = $3 AND s.state = 'prepared'
       AND s.next_attempt_at <= $4
       AND EXISTS (SELECT 1 FROM transfers t
                   JOIN payouts q ON q.org_id = t.org_id AND q.payout_id = t.payout_id
                   WHERE t.org_id = s.org_id AND t.submission_id = s.submission_id
                     AND ",
    halted!("$1", "q.method_kind", "q.program_id"),
    " IS NULL)
     ORDER BY s.next_attempt_at, s.submission_id LIMIT 1 {lock-free:s}"
);
const SUBMISSIONS_DUE: &str = submissions!(
    "WHERE s.org_id = $1 AND s.next_check_at IS NOT NULL AND s.next_check_at <= $2
     ORDER BY s.next_check_at, s.submission_id LIMIT $3 {lock-free:s}"
);
const SUBMISSIONS_OPEN: &str = submissions!(
    "WHERE s.org_id = $1 AND s.next_check_at IS NOT NULL AND s.submission_id > $2
     ORDER BY s.submission_id LIMIT $3 {lock-free:s}"
);
const SUBMISSION: &str = submissions!("WHERE s.org_id = $1 AND s.submission_id = $2");
const SUBMISSION_IN_REVIEW: &str = submissions!(
    "JOIN transfers t ON t.org_id = s.org_id AND t.submission_id = s.submission_id
     WHERE s.org_id = $1 AND t.payout_id = $2 AND t.state = 'unknown' AND s.state = 'review'
       AND s.provider_batch_id IS NULL {lock:s}"
);
const SUBMISSION_PREPARED: &str = submissions!(
    "JOIN transfers t ON t.org_id = s.org_id AND t.submission_id = s.submission_id
     WHERE s.org_id = $1 AND t.payout_id = $2 AND t.state = 'prepared' AND s.state = 'prepared'
     {lock:s}"
);
const TRANSFER_IN_REVIEW: &str = "
    SELECT t.transfer_id, t.submission_id, s.claimed_until FROM transfers t
    JOIN submissions s ON s.org_id = t.org_id AND s.submission_id = t.submission_id
    WHERE t.org_id = $1 AND t.payout_id = $2 AND t.state IN ('accepted', 'unknown')
      AND s.state = 'review' {lock:s}";
const SUBMISSION_REFUSE: &str = "
    UPDATE submissions SET state = 'refused', next_attempt_at = NULL, updated_at = $3
    WHERE org_id = $1 AND submission_id = $2 AND state = 'prepared'";
const QUEUES_PREPARED: &str = "
    SELECT DISTINCT org_id, method_kind, currency FROM submissions
    WHERE state = 'prepared' AND next_attempt_at <= $1 ORDER BY org_id, method_kind, currency";
const ORGS_TO_CHECK: &str = "
    SELECT DISTINCT org_id FROM submissions
    WHERE next_check_at IS NOT NULL AND next_check_at <= $1 ORDER BY org_id";

const SUBMISSION_SENDING: &str = "
    UPDATE submissions
    SET state = 'sending', lease_token = $3, lease_until = $4, body_hash = $6, sends = sends + 1,
        first_sent_at = COALESCE(first_sent_at, $5), next_attempt_at = NULL, updated_at = $5
    WHERE org_id = $1 AND submission_id = $2 AND state = 'prepared'";
const SUBMISSION_RENEW: &str = "
    UPDATE submissions SET lease_until = $4
    WHERE org_id = $1 AND submission_id = $2 AND state = 'sending' AND lease_token = $3";
// Fenced: only who holds the lease may say what came of the send.
const SUBMISSION_RECORD: &str = "
    UPDATE submissions
    SET state = $4, lease_token = NULL, lease_until = NULL,
        provider_batch_id = COALESCE($5, provider_batch_id), problem_code = $6,
        problem_message = $7, next_attempt_at = $8, next_check_at = $9,
        first_sent_at = CASE WHEN $4 = 'prepared' THEN NULL ELSE first_sent_at END,
        updated_at = $10
    WHERE org_id = $1 AND submission_id = $2 AND state = 'sending' AND lease_token = $3";
const SUBMISSION_CHECKED: &str = "
    UPDATE submissions
    SET state = $3, provider_batch_id = COALESCE($4, provider_batch_id), problem_code = $5,
        problem_message = $6, checks = checks + $8, claimed_until = NULL,
        next_check_at = CASE WHEN next_check_at < $11 THEN next_check_at ELSE $7 END,
        refusals = CASE WHEN $9 = 1 THEN refusals + 1 ELSE 0 END,
        refused_since = CASE WHEN $9 = 1 THEN COALESCE(refused_since, $10) END,
        updated_at = $10
    WHERE org_id = $1 AND submission_id = $2 AND state IN ('unknown', 'accepted', 'review')";
const SUBMISSIONS_CHECK_LATER: &str = "
    WITH claimed(submission_id) AS MATERIALIZED ({rows})
    UPDATE submissions SET next_check_at = $2, claimed_until = $2
    FROM claimed
    WHERE submissions.org_id = $1 AND submissions.submission_id = claimed.submission_id";
const SUBMISSION_CLAIM_AGAIN: &str = "
    UPDATE submissions SET next_check_at = $4, claimed_until = $4
    WHERE org_id = $1 AND submission_id = $2 AND claimed_until = $3
      AND state IN ('unknown', 'review')";
const LEASES_EXPIRED: &str = "
    SELECT s.org_id, s.submission_id FROM submissions s
    WHERE s.state = 'sending' AND s.lease_until < $1 ORDER BY s.org_id, s.lease_until";
const LEASE_LAST: &str = "SELECT MAX(lease_until) FROM submissions WHERE state = 'sending'";
// A lease that ran out while sending: nobody knows whether the bytes left, so it is `unknown`.
const SUBMISSION_EXPIRE: &str = "
    UPDATE submissions
    SET state = 'unknown', lease_token = NULL, lease_until = NULL, next_check_at = $4,
        problem_code = 'lease_expired',
        problem_message = 'the process that sent it stopped before it recorded an answer',
        updated_at = $4
    WHERE org_id = $1 AND submission_id = $2 AND state = 'sending' AND lease_until < $3";

/// A submission as it stands, without its transfers.
#[derive(Debug, Clone, FromRow)]
pub struct SubmissionRow {
    pub org_id: OrgId,
    pub submission_id: SubmissionId,
    pub method_kind: MethodKind,
    pub currency: Currency,
    pub reference: Reference,
    pub state: SubmissionState,
    /// Of the bytes that were sent first; empty before.
    pub body_hash: String,
    pub provider_batch_id: Option<String>,
    /// Its number on its rail, over all orgs.
    pub sequence: i64,
    /// How often it was taken in hand to be sent.
    pub sends: i64,
    /// How often the provider was asked about it.
    pub checks: i64,
    /// How often in a row the provider refused the same bytes again, and since when.
    pub refusals: i64,
    pub refused_since: Option<DateTime<Utc>>,
    /// When the bytes may first have left; `None` if they certainly never did.
    pub first_sent_at: Option<DateTime<Utc>>,
    /// Until when somebody asks the provider about it.
    pub claimed_until: Option<DateTime<Utc>>,
}

/// A live transfer in review.
#[derive(Debug, Clone, FromRow)]
pub struct InReview {
    pub transfer_id: TransferId,
    pub submission_id: SubmissionId,
    /// Until when somebody asks the provider about it.
    pub claimed_until: Option<DateTime<Utc>>,
}

/// A submission to be inserted, `prepared`.
#[derive(Debug, Clone)]
pub struct NewSubmission {
    pub submission_id: SubmissionId,
    pub method_kind: MethodKind,
    pub currency: Currency,
    pub reference: Reference,
    /// In their order, which is the order in the body.
    pub transfers: Vec<NewTransfer>,
}

/// What came of a send, to be written by whoever holds the lease.
#[derive(Debug, Clone)]
pub struct SendRecord {
    pub state: SubmissionState,
    pub provider_batch_id: Option<String>,
    pub problem: Option<(String, String)>,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub next_check_at: Option<DateTime<Utc>>,
}

/// What came of a check.
#[derive(Debug, Clone)]
pub struct CheckRecord {
    pub state: SubmissionState,
    pub provider_batch_id: Option<String>,
    pub problem: Option<(String, String)>,
    pub next_check_at: Option<DateTime<Utc>>,
    /// Until when the check was claimed: a check that was brought forward meanwhile stays so.
    pub claimed_until: Option<DateTime<Utc>>,
    /// Whether it counts as a check in the growing schedule.
    pub counts: bool,
    /// Whether the provider refused the same bytes again.
    pub refused: bool,
}

fn split(problem: &Option<(String, String)>) -> (Option<&str>, Option<&str>) {
    problem.as_ref().map(|(code, message)| (code.as_str(), message.as_str())).unzip()
}

impl Store {
    /// The orgs, rails and currencies that have a prepared submission to send by `now`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn queues_prepared(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Vec<(OrgId, MethodKind, Currency)>, StoreError> {
        sql(QUEUES_PREPARED).bind(now).read_all(&self.pools).await
    }

    /// The orgs that have a submission to check by `now`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn orgs_to_check(&self, now: DateTime<Utc>) -> Result<Vec<OrgId>, StoreError> {
        let rows: Vec<(OrgId,)> = sql(ORGS_TO_CHECK).bind(now).read_all(&self.pools).await?;
        Ok(rows.into_iter().map(|(org_id,)| org_id).collect())
    }

    /// The submissions whose lease ran out while they were being sent.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn leases_expired(
        &self,
        database_now: DateTime<Utc>,
    ) -> Result<Vec<(OrgId, SubmissionId)>, StoreError> {
        sql(LEASES_EXPIRED).bind(database_now).read_all(&self.pools).await
    }

    /// When the last lease of a send in hand runs out, by the database's clock.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn lease_last(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (last,): (Option<DateTime<Utc>>,) = sql(LEASE_LAST).read_one(&self.pools).await?;
        Ok(last)
    }
}

impl Tx {
    /// Inserts a submission and its transfers, `prepared` and due at once.
    ///
    /// # Errors
    /// A duplicate if one of its payouts has a live or won transfer already.
    pub async fn submission_insert(
        &mut self,
        org: &OrgId,
        submission: &NewSubmission,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let counter = format!("submissions:{}", submission.method_kind);
        let next: Vec<(i64,)> = sql(COUNTER_NEXT).bind(counter).all(self).await?;
        let sequence = next.first().map_or(0, |(value,)| *value);
        let insert = sql(SUBMISSION_INSERT).bind(org).bind(&submission.submission_id);
        let insert = insert.bind(&submission.method_kind).bind(&submission.currency);
        let insert = insert.bind(&submission.reference).bind(sequence);
        insert.bind(now).run(self).await?;
        self.transfers_insert(org, submission, now).await
    }

    /// One submission, just inserted or locked by this transaction.
    ///
    /// # Errors
    /// [`StoreError::Database`] (row not found) if there is none.
    pub async fn submission(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
    ) -> Result<SubmissionRow, StoreError> {
        let row = sql(SUBMISSION).bind(org).bind(submission).maybe(self).await?;
        row.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    /// The submission in review that a payout's live transfer is in, locked, if there is one.
    pub async fn submission_in_review(
        &mut self,
        org: &OrgId,
        payout: &PayoutId,
    ) -> Result<Option<SubmissionRow>, StoreError> {
        sql(SUBMISSION_IN_REVIEW).bind(org).bind(payout).maybe(self).await
    }

    /// The submission that a payout's transfer waits in, certainly not sent, locked.
    pub async fn submission_prepared(
        &mut self,
        org: &OrgId,
        payout: &PayoutId,
    ) -> Result<Option<SubmissionRow>, StoreError> {
        sql(SUBMISSION_PREPARED).bind(org).bind(payout).maybe(self).await
    }

    /// The live transfer of a payout, if it is in review; its submission is locked.
    pub async fn transfer_in_review(
        &mut self,
        org: &OrgId,
        payout: &PayoutId,
    ) -> Result<Option<InReview>, StoreError> {
        sql(TRANSFER_IN_REVIEW).bind(org).bind(payout).maybe(self).await
    }

    /// Ends a prepared submission whose members may not all be sent.
    pub async fn submission_refuse(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sql(SUBMISSION_REFUSE).bind(org).bind(submission).bind(now).run(self).await?;
        Ok(())
    }

    /// The next prepared submission of a rail and currency that no other worker has in hand, locked.
    pub async fn submission_to_send(
        &mut self,
        org: &OrgId,
        (kind, currency): (MethodKind, Currency),
        now: DateTime<Utc>,
    ) -> Result<Option<SubmissionRow>, StoreError> {
        let query = sql(SUBMISSION_TO_SEND).bind(org).bind(&kind).bind(&currency);
        query.bind(now).maybe(self).await
    }

    /// The submissions to check by `now` that no other worker has in hand, locked.
    pub async fn submissions_due(
        &mut self,
        org: &OrgId,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<SubmissionRow>, StoreError> {
        sql(SUBMISSIONS_DUE).bind(org).bind(now).bind(limit).all(self).await
    }

    /// The submissions that are still watched, due or not, after the id `after`, locked.
    pub async fn submissions_open(
        &mut self,
        org: &OrgId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<SubmissionRow>, StoreError> {
        sql(SUBMISSIONS_OPEN).bind(org).bind(after).bind(limit).all(self).await
    }

    /// Takes a prepared submission in hand: from now on its bytes may have left.
    pub async fn submission_sending(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
        lease_token: &str,
        (lease_until, now): (DateTime<Utc>, DateTime<Utc>),
        body_hash: &str,
    ) -> Result<bool, StoreError> {
        let update = sql(SUBMISSION_SENDING).bind(org).bind(submission).bind(lease_token);
        let update = update.bind(lease_until).bind(now).bind(body_hash);
        let taken = update.run(self).await? == 1;
        if taken {
            self.transfers_follow(org, submission, TransferState::Sending, now).await?;
        }
        Ok(taken)
    }

    /// Renews the lease of a send in hand; false if it is no longer held.
    pub async fn submission_renew(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
        lease_token: &str,
        lease_until: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = sql(SUBMISSION_RENEW).bind(org).bind(submission).bind(lease_token);
        Ok(update.bind(lease_until).run(self).await? == 1)
    }

    /// Writes what came of a send; false if the lease is no longer held, and nothing is written.
    pub async fn submission_record(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
        lease_token: &str,
        record: &SendRecord,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (code, message) = split(&record.problem);
        let update = sql(SUBMISSION_RECORD).bind(org).bind(submission).bind(lease_token);
        let update = update.bind(&record.state).bind(record.provider_batch_id.clone());
        let update = update.bind(code).bind(message);
        let update = update.bind(record.next_attempt_at).bind(record.next_check_at).bind(now);
        Ok(update.run(self).await? == 1)
    }

    /// Writes what came of a check; false if the submission is no longer open to one.
    pub async fn submission_checked(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
        record: &CheckRecord,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (code, message) = split(&record.problem);
        let update = sql(SUBMISSION_CHECKED).bind(org).bind(submission).bind(&record.state);
        let update = update.bind(record.provider_batch_id.clone()).bind(code).bind(message);
        let update =
            update.bind(record.next_check_at).bind(record.counts).bind(record.refused).bind(now);
        let update = update.bind(record.claimed_until);
        Ok(update.run(self).await? == 1)
    }

    /// Claims a submission that is about to be sent again for longer; false if the claim is no
    /// longer held.
    pub async fn submission_claim_again(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
        (held, until): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<bool, StoreError> {
        let update = sql(SUBMISSION_CLAIM_AGAIN).bind(org).bind(submission);
        Ok(update.bind(held).bind(until).run(self).await? == 1)
    }

    /// Puts the next check off, so that no other worker asks meanwhile.
    pub async fn submissions_check_later(
        &mut self,
        org: &OrgId,
        submissions: &[&SubmissionId],
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let rows: Vec<_> = submissions.iter().map(|id| vec![Value::from(*id)]).collect();
        sql(SUBMISSIONS_CHECK_LATER).bind(org).bind(at).run_with(self, &rows).await?;
        Ok(())
    }

    /// Turns a send whose lease ran out into `unknown`, to be looked up at once.
    pub async fn submission_expire(
        &mut self,
        org: &OrgId,
        submission: &SubmissionId,
        database_now: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = sql(SUBMISSION_EXPIRE).bind(org).bind(submission);
        let expired = update.bind(database_now).bind(now).run(self).await? == 1;
        if expired {
            self.transfers_follow(org, submission, TransferState::Unknown, now).await?;
        }
        Ok(expired)
    }
}
