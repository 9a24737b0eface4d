//! Schedules that a person stopped. Every replica reads them at each look.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::sql;
use super::{Store, StoreError, Tx};
use crate::domain::{Actor, RunId};

const PAUSES: &str = "SELECT job_id, reason, paused_by, paused_at FROM job_pauses ORDER BY job_id";
const PAUSE: &str = "
    INSERT INTO job_pauses (job_id, reason, paused_by, paused_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (job_id) DO NOTHING";
const RESUME: &str = "DELETE FROM job_pauses WHERE job_id = $1";
const RUN_OPEN: &str = "
    SELECT run_id FROM job_runs WHERE job_id = $1 AND state IN ('queued', 'running')
      AND trigger_kind <> 'preview'
    ORDER BY run_id LIMIT 1";

/// A schedule that is stopped.
#[derive(Debug, Clone, FromRow)]
pub struct PauseRow {
    pub job_id: String,
    pub reason: String,
    pub paused_by: String,
    pub paused_at: DateTime<Utc>,
}

impl Store {
    /// The jobs that are paused.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn job_pauses(&self) -> Result<Vec<PauseRow>, StoreError> {
        sql(PAUSES).read_all(&self.pools).await
    }
}

impl Tx {
    /// Pauses a job; false if it was paused already: the first reason stays.
    pub async fn job_pause(
        &mut self,
        job_id: &str,
        (actor, reason): (&Actor, &str),
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let insert = sql(PAUSE).bind(job_id).bind(reason).bind(actor.as_str()).bind(now);
        Ok(insert.run(self).await? == 1)
    }

    /// Lets a job go on; false if it was not paused.
    pub async fn job_resume(&mut self, job_id: &str) -> Result<bool, StoreError> {
        Ok(sql(RESUME).bind(job_id).run(self).await? == 1)
    }

    /// A run of a job that waits or runs, if there is one.
    pub async fn run_open(&mut self, job_id: &str) -> Result<Option<RunId>, StoreError> {
        let row: Option<(RunId,)> = sql(RUN_OPEN).bind(job_id).maybe(self).await?;
        Ok(row.map(|(run_id,)| run_id))
    }
}
