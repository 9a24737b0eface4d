//! Job runs: one row per job and due instant, with a lease while it runs. What becomes of one that
//! did not succeed is in `attempts.rs`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::RunId;

const RUNS_INSERT: &str = "
    WITH asked(run_id, job_id, kind, trigger_kind, scheduled_for, state, not_before, max_attempts,
               requested_by, reason, definition_hash, plan_hash, app_version, created_at,
               finished_at)
    AS MATERIALIZED ({rows})
    INSERT INTO job_runs (run_id, job_id, kind, trigger_kind, scheduled_for, state, not_before,
                          max_attempts, requested_by, reason, definition_hash, plan_hash,
                          app_version, created_at, finished_at, seen, acted, skipped, failed)
    SELECT run_id, job_id, kind, trigger_kind, scheduled_for, state, not_before, max_attempts,
           requested_by, reason, definition_hash, plan_hash, app_version, created_at, finished_at,
           0, 0, 0, 0
    FROM asked WHERE true
    ON CONFLICT DO NOTHING
    RETURNING run_id";

// What keeps a queued run waiting: another run of its job that is running, or one of an earlier
// instant. What was asked for afterwards (backfill) is a line of its own, so that it holds up no
// instant of the schedule. A preview asks for nothing and waits for nobody.
macro_rules! free {
    () => {
        "(job_runs.trigger_kind = 'preview' OR NOT EXISTS (
            SELECT 1 FROM job_runs o
            WHERE o.job_id = job_runs.job_id AND o.trigger_kind <> 'preview'
              AND (o.state = 'running'
                   OR (o.state = 'queued' AND o.scheduled_for < job_runs.scheduled_for
                       AND (o.trigger_kind = 'backfill') = (job_runs.trigger_kind = 'backfill')))))"
    };
}
const RUN_START: &str = concat!(
    "
    UPDATE job_runs
    SET state = 'running', worker_id = $2, lease_token = $3, lease_until = $4, started_at = $5,
        finished_at = NULL, error_code = NULL, error_message = NULL
    WHERE run_id = $1 AND state = 'queued' AND (not_before IS NULL OR not_before <= $5) AND ",
    free!()
);
const RUN_RENEW: &str = "
    UPDATE job_runs SET lease_until = $3
    WHERE run_id = $1 AND lease_token = $2 AND state = 'running'";
// Holding the row until the commit: who takes the lease away has to wait for it.
const RUN_FENCE: &str = "
    SELECT r.run_id FROM job_runs r
    WHERE r.run_id = $1 AND r.lease_token = $2 AND r.state = 'running' {lock:r}";
const RUN_FINISH: &str = "
    UPDATE job_runs
    SET state = $3, finished_at = $4, lease_until = NULL, seen = $5, acted = $6, skipped = $7,
        failed = $8, report = $9, error_code = $10, error_message = $11
    WHERE run_id = $1 AND lease_token = $2 AND state = 'running'";
const RUN_SKIP: &str = "
    UPDATE job_runs SET state = $4, reason = $2, finished_at = $3
    WHERE run_id = $1 AND state = 'queued'";

macro_rules! runs {
    ($($tail:expr),+) => { concat!("
    SELECT run_id, job_id, kind, trigger_kind, scheduled_for, not_before, state, attempt,
           max_attempts, requested_by, reason, definition_hash, plan_hash, worker_id, created_at,
           started_at, finished_at, seen, acted, skipped, failed, report, error_code,
           error_message
    FROM job_runs ", $($tail),+) };
}
const RUN: &str = runs!("WHERE run_id = $1");
const RUNS_QUEUED: &str = runs!(
    "WHERE state = 'queued' AND (not_before IS NULL OR not_before <= $2) AND ",
    free!(),
    " ORDER BY CASE trigger_kind WHEN 'backfill' THEN 1 ELSE 0 END,
               COALESCE(scheduled_for, created_at), run_id LIMIT $1"
);
const RUNS_HISTORY: &str = runs!(
    "WHERE (job_id = $1 OR $1 = '') AND (run_id < $2 OR $2 = '') ORDER BY run_id DESC LIMIT $3"
);
const RUNS_BETWEEN: &str = runs!(
    "WHERE job_id = $1 AND scheduled_for >= $2 AND scheduled_for <= $3
       AND trigger_kind IN ('schedule', 'catchup', 'backfill') ORDER BY scheduled_for"
);
const RUN_OF_JOB: &str =
    runs!("WHERE job_id = $1 AND state = 'running' AND trigger_kind <> 'preview'");
const LAST_SUCCESS: &str =
    runs!("WHERE job_id = $1 AND state = 'succeeded' ORDER BY run_id DESC LIMIT 1");
const RUNS_MISSED: &str = "
    SELECT m.word, COUNT(*) FROM (
        SELECT CASE WHEN reason LIKE 'misfire_window%' THEN 'misfire_window'
                    WHEN reason LIKE 'misfire%' THEN 'misfire'
                    WHEN reason LIKE 'overlap%' THEN 'overlap'
                    WHEN reason LIKE 'paused%' THEN 'paused'
                    ELSE 'other' END AS word
        FROM job_runs WHERE job_id = $1 AND run_id > $2 AND state = 'skipped') m
    GROUP BY m.word ORDER BY m.word";
// Whether a later instant of the schedule waits, runs or was run.
const RUN_FOLLOWS: &str = "
    SELECT run_id FROM job_runs
    WHERE job_id = $1 AND scheduled_for > $2 AND trigger_kind IN ('schedule', 'catchup')
      AND state <> 'skipped' LIMIT 1";
const RUNS_OPEN: &str = "
    SELECT run_id, state FROM job_runs
    WHERE job_id = $1 AND state IN ('queued', 'running') AND trigger_kind <> 'preview'
      AND (trigger_kind <> 'backfill' OR state = 'running')
    ORDER BY run_id LIMIT 100";
const RUNS_PRUNE: &str = "
    DELETE FROM job_runs WHERE run_id IN (
        SELECT run_id FROM job_runs
        WHERE finished_at < $1 AND state NOT IN ('queued', 'running')
          AND (kind <> 'request_payouts' OR state = 'skipped'
               OR (acted = 0 AND state IN ('succeeded', 'partial'))) LIMIT $2)";

/// A run as it stands.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct RunRow {
    pub run_id: RunId,
    pub job_id: String,
    pub kind: String,
    #[serde(rename = "trigger")]
    pub trigger_kind: String,
    /// The due instant; `None` for a run that a person started.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// A queued run starts no earlier: jitter, or the pause before another try.
    pub not_before: Option<DateTime<Utc>>,
    pub state: String,
    /// Which try it is, from 1.
    pub attempt: i64,
    pub max_attempts: i64,
    pub requested_by: String,
    /// Why it was asked for, or skipped: a stable word (`misfire`, `misfire_window`, `overlap`,
    /// `paused`, `shutdown`), then words.
    pub reason: Option<String>,
    pub definition_hash: String,
    /// The plan that it does, and nothing else.
    pub plan_hash: Option<String>,
    pub worker_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub seen: i64,
    pub acted: i64,
    pub skipped: i64,
    pub failed: i64,
    #[serde(skip)]
    pub report: Option<String>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
}

/// A run to be inserted.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub run_id: RunId,
    pub job_id: String,
    pub kind: &'static str,
    /// `schedule`, `catchup`, `backfill`, `manual` or `preview`.
    pub trigger_kind: &'static str,
    pub scheduled_for: Option<DateTime<Utc>>,
    /// `Some(reason)` for an instant that is skipped: the row is only a record.
    pub skipped: Option<String>,
    pub not_before: Option<DateTime<Utc>>,
    pub max_attempts: i64,
    pub requested_by: String,
    /// Why a person asked for it.
    pub reason: Option<String>,
    pub definition_hash: String,
    pub plan_hash: Option<String>,
}

/// The right to act as a run, fenced by its token.
#[derive(Debug, Clone)]
pub struct RunLease {
    pub run_id: RunId,
    pub token: String,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct RunEnd {
    pub state: &'static str,
    pub seen: i64,
    pub acted: i64,
    pub skipped: i64,
    pub failed: i64,
    pub report: String,
    pub error: Option<(String, String)>,
}

impl Tx {
    /// Inserts a run, `queued` (or `skipped`); false if its instant has one already.
    pub async fn run_insert(
        &mut self,
        run: &NewRun,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        Ok(!self.runs_insert(std::slice::from_ref(run), now).await?.is_empty())
    }

    /// Inserts runs, each `queued` or `skipped`; those whose instant had none yet.
    pub async fn runs_insert(
        &mut self,
        runs: &[NewRun],
        now: DateTime<Utc>,
    ) -> Result<Vec<RunId>, StoreError> {
        let row = |run: &NewRun| -> Vec<Value> {
            let state = if run.skipped.is_some() { "skipped" } else { "queued" };
            let finished_at = run.skipped.is_some().then_some(now);
            vec![
                run.run_id.as_str().into(),
                run.job_id.as_str().into(),
                run.kind.into(),
                run.trigger_kind.into(),
                run.scheduled_for.into(),
                state.into(),
                run.not_before.into(),
                run.max_attempts.into(),
                run.requested_by.as_str().into(),
                run.skipped.clone().or_else(|| run.reason.clone()).into(),
                run.definition_hash.as_str().into(),
                run.plan_hash.clone().into(),
                env!("CARGO_PKG_VERSION").into(),
                now.into(),
                finished_at.into(),
            ]
        };
        let rows: Vec<_> = runs.iter().map(row).collect();
        let inserted: Vec<(RunId,)> = sql(RUNS_INSERT).all_with(self, &rows).await?;
        Ok(inserted.into_iter().map(|(run_id,)| run_id).collect())
    }

    /// Takes a queued run; false if its time has not come, another run of its job is running or of
    /// an earlier instant, or it was taken.
    ///
    /// # Errors
    /// A duplicate if another replica takes one of the same job at the same moment.
    pub async fn run_start(
        &mut self,
        lease: &RunLease,
        worker_id: &str,
        lease_until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = sql(RUN_START).bind(&lease.run_id).bind(worker_id).bind(lease.token.as_str());
        Ok(update.bind(lease_until).bind(now).run(self).await? == 1)
    }

    /// Renews a run's lease; false if it is no longer held.
    pub async fn run_renew(
        &mut self,
        lease: &RunLease,
        until: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = sql(RUN_RENEW).bind(&lease.run_id).bind(lease.token.as_str()).bind(until);
        Ok(update.run(self).await? == 1)
    }

    /// Whether the run still holds its lease; if so nobody can take it before this transaction
    /// ends.
    pub async fn run_fence(&mut self, lease: &RunLease) -> Result<bool, StoreError> {
        let query = sql(RUN_FENCE).bind(&lease.run_id).bind(lease.token.as_str());
        let row: Option<(RunId,)> = query.maybe(self).await?;
        Ok(row.is_some())
    }

    /// Ends a run; false if its lease is no longer held.
    pub async fn run_finish(
        &mut self,
        lease: &RunLease,
        end: &RunEnd,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (code, message) = end.error.clone().unzip();
        let update = sql(RUN_FINISH).bind(&lease.run_id).bind(lease.token.as_str());
        let update = update.bind(end.state).bind(now).bind(end.seen).bind(end.acted);
        let update = update.bind(end.skipped).bind(end.failed).bind(end.report.as_str());
        Ok(update.bind(code).bind(message).run(self).await? == 1)
    }

    /// Turns a queued run into a skipped (or cancelled) one, with a reason.
    pub async fn run_skip(
        &mut self,
        run: &RunId,
        (state, reason): (&'static str, &str),
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update = sql(RUN_SKIP).bind(run).bind(reason).bind(now).bind(state);
        Ok(update.run(self).await? == 1)
    }

    /// The runs of a job that an instant of its schedule would overlap: (run, state), oldest first.
    pub async fn runs_open(&mut self, job_id: &str) -> Result<Vec<(RunId, String)>, StoreError> {
        sql(RUNS_OPEN).bind(job_id).all(self).await
    }

    /// Deletes up to `limit` ended runs that finished before `before`; how many.
    pub async fn runs_prune(
        &mut self,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        sql(RUNS_PRUNE).bind(before).bind(limit).run(self).await
    }
}

impl Store {
    /// One run.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn run(&self, run: &RunId) -> Result<Option<RunRow>, StoreError> {
        sql(RUN).bind(run).read_maybe(&self.pools).await
    }

    /// Whether a run of a later instant than `instant` waits, runs or was run.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn run_follows(
        &self,
        job_id: &str,
        instant: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let query = sql(RUN_FOLLOWS).bind(job_id).bind(instant);
        let row: Option<(RunId,)> = query.read_maybe(&self.pools).await?;
        Ok(row.is_some())
    }

    /// The run of a job that is running now, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn run_of_job(&self, job_id: &str) -> Result<Option<RunRow>, StoreError> {
        sql(RUN_OF_JOB).bind(job_id).read_maybe(&self.pools).await
    }

    /// The runs that a worker could take now, in the order in which they should be.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn runs_queued(
        &self,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<RunRow>, StoreError> {
        sql(RUNS_QUEUED).bind(limit).bind(now).read_all(&self.pools).await
    }

    /// The runs of a job whose due instants are from `from` to `upto`, both of them included.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn runs_between(
        &self,
        job_id: &str,
        from: DateTime<Utc>,
        upto: DateTime<Utc>,
    ) -> Result<Vec<RunRow>, StoreError> {
        sql(RUNS_BETWEEN).bind(job_id).bind(from).bind(upto).read_all(&self.pools).await
    }

    /// The latest run of a job that succeeded.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn last_success(&self, job_id: &str) -> Result<Option<RunRow>, StoreError> {
        sql(LAST_SUCCESS).bind(job_id).read_maybe(&self.pools).await
    }

    /// How many instants of a job were skipped after the run `after`, by the word of the reason.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn runs_missed(
        &self,
        job_id: &str,
        after: &RunId,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        sql(RUNS_MISSED).bind(job_id).bind(after).read_all(&self.pools).await
    }

    /// Runs, newest first, of one job or of all (`""`), before the run `before` (`""` for the
    /// newest).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn runs_history(
        &self,
        job_id: &str,
        before: &str,
        limit: i64,
    ) -> Result<Vec<RunRow>, StoreError> {
        sql(RUNS_HISTORY).bind(job_id).bind(before).bind(limit).read_all(&self.pools).await
    }
}
