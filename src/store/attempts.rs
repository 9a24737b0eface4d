//! Runs that are tried again: after a failure, a process that was lost, a shutdown, or because a
//! person asked. The run's row is its latest attempt; the ones before it are in `job_run_attempts`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{RunEnd, RunLease, Store, StoreError, Tx};
use crate::domain::RunId;

// One whose process stands still in the middle of a transaction is locked: it waits for the end of
// that, and nobody waits for it. The token stays, so that an attempt that is on record can be told from the next one; it fences
// nothing any more, since the state is not `running`.
const RUNS_LOSE: &str = "
    UPDATE job_runs
    SET state = CASE WHEN attempt < max_attempts THEN 'queued' ELSE 'lost' END,
        attempt = CASE WHEN attempt < max_attempts THEN attempt + 1 ELSE attempt END,
        finished_at = CASE WHEN attempt < max_attempts THEN NULL ELSE $2 END,
        lease_until = NULL, not_before = NULL, error_code = 'lease_expired',
        error_message = 'the process that ran it stopped before it was done; what it began is on record, and its next attempt or the next run goes on from there'
    WHERE run_id IN (SELECT r.run_id FROM job_runs r
                     WHERE r.state = 'running' AND r.lease_until < $1 {lock-free:r})
    RETURNING run_id, job_id, trigger_kind, state, attempt, worker_id, lease_token, started_at,
              error_code,
              error_message";
const RUNS_EXPIRED: &str =
    "SELECT run_id FROM job_runs WHERE state = 'running' AND lease_until < $1 LIMIT 1";
const ATTEMPTS_INSERT: &str = "
    INSERT INTO job_run_attempts (run_id, attempt, state, worker_id, lease_token, started_at,
                                  finished_at, error_code, error_message)
    {rows} ON CONFLICT DO NOTHING";
const ATTEMPT_KEEP: &str = "
    INSERT INTO job_run_attempts (run_id, attempt, state, worker_id, lease_token, started_at,
                                  finished_at, error_code, error_message)
    SELECT run_id, attempt, $3, worker_id, lease_token, started_at, $4, $5, $6
    FROM job_runs WHERE run_id = $1 AND lease_token = $2 AND state = 'running'
    ON CONFLICT DO NOTHING";
const ENDED_KEEP: &str = "
    INSERT INTO job_run_attempts (run_id, attempt, state, worker_id, lease_token, started_at,
                                  finished_at, error_code, error_message)
    SELECT run_id, attempt, state, worker_id, lease_token, started_at,
           COALESCE(finished_at, started_at), error_code, error_message
    FROM job_runs
    WHERE run_id = $1 AND started_at IS NOT NULL
      AND state NOT IN ('queued', 'running', 'succeeded')
    ON CONFLICT DO NOTHING";
const RUN_REQUEUE: &str = "
    UPDATE job_runs
    SET state = 'queued', attempt = attempt + 1, not_before = $3, lease_until = NULL,
        seen = $4, acted = $5, skipped = $6, failed = $7, report = $8, error_code = $9,
        error_message = $10
    WHERE run_id = $1 AND lease_token = $2 AND state = 'running'";
const RUN_RELEASE: &str = "
    UPDATE job_runs
    SET state = 'queued', lease_until = NULL, not_before = NULL, reason = COALESCE(reason, $3)
    WHERE run_id = $1 AND lease_token = $2 AND state = 'running'";
// Taking the state away is taking the lease away: every transaction of the run asks for it.
const RUN_CANCEL: &str = "
    UPDATE job_runs
    SET state = 'cancelled', lease_until = NULL, finished_at = $2, error_code = 'cancelled',
        error_message = $3
    WHERE run_id = $1 AND state IN ('queued', 'running')";
const RUN_REOPEN: &str = "
    UPDATE job_runs
    SET state = 'queued', trigger_kind = $2, requested_by = $3, 
        -- Why it was not run before stays on record behind why it is now.
        reason = CASE WHEN $4 IS NULL THEN reason WHEN reason IS NULL THEN $4
                      ELSE $4 || ' (before: ' || reason || ')' END,
        not_before = NULL, finished_at = NULL,
        attempt = CASE WHEN started_at IS NULL THEN attempt ELSE attempt + 1 END,
        max_attempts = CASE WHEN started_at IS NULL THEN attempt ELSE attempt + 1 END + $5,
        definition_hash = $6
    WHERE run_id = $1 AND state NOT IN ('queued', 'running', 'succeeded')";
const ATTEMPTS: &str = "
    SELECT attempt, state, worker_id, started_at, finished_at, error_code, error_message
    FROM job_run_attempts WHERE run_id = $1 ORDER BY attempt";
const ATTEMPTS_PRUNE: &str = "
    DELETE FROM job_run_attempts
    WHERE finished_at < $1
      AND NOT EXISTS (SELECT 1 FROM job_runs r WHERE r.run_id = job_run_attempts.run_id)";

/// An attempt that is over.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct AttemptedRow {
    pub attempt: i64,
    pub state: String,
    pub worker_id: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: DateTime<Utc>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
}

/// A run whose process showed no sign of life any more.
#[derive(Debug, Clone, FromRow)]
pub struct LostRun {
    pub run_id: RunId,
    pub job_id: String,
    pub trigger_kind: String,
    /// `queued` if it is tried again, else `lost`.
    pub state: String,
    pub attempt: i64,
    pub worker_id: Option<String>,
    lease_token: Option<String>,
    started_at: Option<DateTime<Utc>>,
    error_code: Option<String>,
    error_message: Option<String>,
}

impl LostRun {
    /// Whether it is tried again.
    pub fn is_tried_again(&self) -> bool {
        self.state == "queued"
    }
}

/// How a run comes to be queued once more.
#[derive(Debug, Clone)]
pub struct Reopening<'a> {
    pub trigger_kind: &'static str,
    pub requested_by: &'a str,
    pub reason: Option<&'a str>,
    /// Attempts after the next one.
    pub more_attempts: i64,
    pub definition_hash: &'a str,
}

impl Tx {
    /// Takes the runs whose lease has run out from whoever had them: each is queued for its next
    /// attempt, or `lost` if it was the last one.
    pub async fn runs_lose(
        &mut self,
        database_now: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<LostRun>, StoreError> {
        let lost: Vec<LostRun> = sql(RUNS_LOSE).bind(database_now).bind(now).all(self).await?;
        let row = |run: &LostRun| -> Vec<Value> {
            vec![
                run.run_id.as_str().into(),
                (run.attempt - 1).into(),
                "lost".into(),
                run.worker_id.clone().into(),
                run.lease_token.clone().into(),
                run.started_at.into(),
                now.into(),
                run.error_code.clone().into(),
                run.error_message.clone().into(),
            ]
        };
        let again: Vec<_> = lost.iter().filter(|run| run.is_tried_again()).map(row).collect();
        sql(ATTEMPTS_INSERT).run_with(self, &again).await?;
        Ok(lost)
    }

    /// Ends an attempt that is not the run's last: it is queued again, not before `not_before`.
    /// False if its lease is no longer held.
    pub async fn run_requeue(
        &mut self,
        lease: &RunLease,
        end: &RunEnd,
        (now, not_before): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<bool, StoreError> {
        let (code, message) = end.error.clone().unzip();
        let (run, token) = (&lease.run_id, lease.token.as_str());
        let keep = sql(ATTEMPT_KEEP).bind(run).bind(token).bind(end.state).bind(now);
        keep.bind(code.clone()).bind(message.clone()).run(self).await?;
        let update = sql(RUN_REQUEUE).bind(run).bind(token).bind(not_before);
        let update = update.bind(end.seen).bind(end.acted).bind(end.skipped).bind(end.failed);
        let update = update.bind(end.report.as_str()).bind(code).bind(message);
        Ok(update.run(self).await? == 1)
    }

    /// Gives a run back that is not done, for whoever looks next; the attempt is not counted. False
    /// if its lease is no longer held.
    pub async fn run_release(
        &mut self,
        lease: &RunLease,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let update = sql(RUN_RELEASE).bind(&lease.run_id).bind(lease.token.as_str());
        Ok(update.bind(reason).run(self).await? == 1)
    }

    /// Ends a run that waits or runs by a person's word; whoever has it can write nothing more.
    /// False if it is over.
    pub async fn run_cancel(
        &mut self,
        run: &RunId,
        words: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        Ok(sql(RUN_CANCEL).bind(run).bind(now).bind(words).run(self).await? == 1)
    }

    /// Queues a run that is over and did not succeed once more; false if it is not such a one.
    pub async fn run_reopen(
        &mut self,
        run: &RunId,
        how: &Reopening<'_>,
    ) -> Result<bool, StoreError> {
        sql(ENDED_KEEP).bind(run).run(self).await?;
        let update = sql(RUN_REOPEN).bind(run).bind(how.trigger_kind).bind(how.requested_by);
        let update = update.bind(how.reason).bind(how.more_attempts).bind(how.definition_hash);
        Ok(update.run(self).await? == 1)
    }

    /// Deletes the attempts of runs that are deleted, which ended before `before`.
    pub async fn attempts_prune(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        sql(ATTEMPTS_PRUNE).bind(before).run(self).await
    }
}

impl Store {
    /// Whether a run's lease has run out, by the database's clock.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn runs_expired(&self, database_now: DateTime<Utc>) -> Result<bool, StoreError> {
        let query = sql(RUNS_EXPIRED).bind(database_now);
        let row: Option<(RunId,)> = query.read_maybe(&self.pools).await?;
        Ok(row.is_some())
    }

    /// The attempts of a run that are over and were not its last, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn run_attempts(&self, run: &RunId) -> Result<Vec<AttemptedRow>, StoreError> {
        sql(ATTEMPTS).bind(run).read_all(&self.pools).await
    }
}
