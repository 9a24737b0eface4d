//! Job runs: one row per job and due instant, with a lease while it runs.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::RunId;

const RUN_INSERT: &str = "
    INSERT INTO job_runs (run_id, job_id, kind, trigger_kind, scheduled_for, state, requested_by,
                          reason, definition_hash, app_version, created_at, finished_at, seen,
                          acted, skipped, failed)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, 0, 0)
    ON CONFLICT DO NOTHING";
const RUN_START: &str = "
    UPDATE job_runs
    SET state = 'running', worker_id = $2, lease_token = $3, lease_until = $4, started_at = $5
    WHERE run_id = $1 AND state = 'queued'
      AND NOT EXISTS (SELECT 1 FROM job_runs o
                      WHERE o.job_id = job_runs.job_id AND o.state = 'running')";
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
const RUNS_EXPIRED: &str =
    "SELECT run_id FROM job_runs WHERE state = 'running' AND lease_until < $1 LIMIT 1";
const RUNS_LOSE: &str = "
    UPDATE job_runs
    SET state = 'lost', finished_at = $2, lease_until = NULL, error_code = 'lease_expired',
        error_message = 'the process that ran it stopped before it was done; the next run goes on where it was'
    WHERE state = 'running' AND lease_until < $1
    RETURNING run_id, job_id";
const RUN_CANCEL: &str = "
    UPDATE job_runs SET state = 'skipped', reason = $2, finished_at = $3
    WHERE run_id = $1 AND state = 'queued'";

macro_rules! runs {
    ($($tail:literal),+) => { concat!("
    SELECT run_id, job_id, kind, trigger_kind, scheduled_for, state, requested_by, reason,
           worker_id, created_at, started_at, finished_at, seen, acted, skipped, failed, report,
           error_code, error_message
    FROM job_runs ", $($tail),+) };
}
const RUN: &str = runs!("WHERE run_id = $1");
const RUNS_QUEUED: &str = runs!("WHERE state = 'queued' ORDER BY created_at, run_id LIMIT $1");
const RUNS_HISTORY: &str = runs!(
    "WHERE (job_id = $1 OR $1 = '') AND (run_id < $2 OR $2 = '') ORDER BY run_id DESC LIMIT $3"
);
const RUN_OF_JOB: &str = runs!("WHERE job_id = $1 AND state = 'running'");
const RUNS_PRUNE: &str = "
    DELETE FROM job_runs WHERE run_id IN (
        SELECT run_id FROM job_runs
        WHERE finished_at < $1 AND state NOT IN ('queued', 'running') LIMIT $2)";

const SCHEDULES: &str = "SELECT job_id, watermark, definition_hash FROM job_definitions";
const SCHEDULE_SET: &str = "
    INSERT INTO job_definitions (job_id, watermark, definition_hash, held_until)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (job_id, definition_hash) DO UPDATE
    SET watermark = excluded.watermark, held_until = excluded.held_until";

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
    pub state: String,
    pub requested_by: String,
    pub reason: Option<String>,
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
    /// `schedule` or `manual`.
    pub trigger_kind: &'static str,
    pub scheduled_for: Option<DateTime<Utc>>,
    /// `Some(reason)` for an instant that is skipped: the row is only a record.
    pub skipped: Option<String>,
    pub requested_by: String,
    pub definition_hash: String,
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

/// How far a job's schedule has been looked at.
#[derive(Debug, Clone, FromRow)]
pub struct ScheduleRow {
    pub job_id: String,
    pub watermark: DateTime<Utc>,
    pub definition_hash: String,
}

impl Tx {
    /// Inserts a run, `queued` (or `skipped`); false if its instant has one already.
    pub async fn run_insert(
        &mut self,
        run: &NewRun,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let state = if run.skipped.is_some() { "skipped" } else { "queued" };
        let finished_at = run.skipped.is_some().then_some(now);
        let insert = sql(RUN_INSERT).bind(&run.run_id).bind(run.job_id.as_str()).bind(run.kind);
        let insert = insert.bind(run.trigger_kind).bind(run.scheduled_for).bind(state);
        let insert = insert.bind(run.requested_by.as_str()).bind(run.skipped.clone());
        let insert = insert.bind(run.definition_hash.as_str()).bind(env!("CARGO_PKG_VERSION"));
        Ok(insert.bind(now).bind(finished_at).run(self).await? == 1)
    }

    /// Takes a queued run; false if another run of its job is running, or it was taken.
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

    /// Marks the runs whose lease has run out as lost; (run, job) of each.
    pub async fn runs_lose(
        &mut self,
        database_now: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<(RunId, String)>, StoreError> {
        sql(RUNS_LOSE).bind(database_now).bind(now).all(self).await
    }

    /// Turns a queued run into a skipped one, with a reason.
    pub async fn run_skip(
        &mut self,
        run: &RunId,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sql(RUN_CANCEL).bind(run).bind(reason).bind(now).run(self).await?;
        Ok(())
    }

    /// Deletes up to `limit` ended runs that finished before `before`; how many.
    pub async fn runs_prune(
        &mut self,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        sql(RUNS_PRUNE).bind(before).bind(limit).run(self).await
    }

    /// Keeps how far a job's schedule has been looked at.
    pub async fn schedule_set(
        &mut self,
        row: &ScheduleRow,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let upsert = sql(SCHEDULE_SET).bind(row.job_id.as_str()).bind(row.watermark);
        upsert.bind(row.definition_hash.as_str()).bind(now).run(self).await?;
        Ok(())
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

    /// Whether a run's lease has run out, by the database's clock.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn runs_expired(&self, database_now: DateTime<Utc>) -> Result<bool, StoreError> {
        let query = sql(RUNS_EXPIRED).bind(database_now);
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

    /// The runs that wait for a worker, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn runs_queued(&self, limit: i64) -> Result<Vec<RunRow>, StoreError> {
        sql(RUNS_QUEUED).bind(limit).read_all(&self.pools).await
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

    /// How far each job's schedule has been looked at.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn schedules(&self) -> Result<Vec<ScheduleRow>, StoreError> {
        sql(SCHEDULES).read_all(&self.pools).await
    }
}
