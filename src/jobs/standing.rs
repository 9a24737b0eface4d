//! How jobs stand: when each is due, whether somebody stopped it, how it went lately.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Definition, REPLICA_GONE, Runner};
use crate::clock::Clock;
use crate::domain::RunId;
use crate::store::{PauseRow, RunRow, StoreError};

/// How a job stands.
#[derive(Debug, Clone)]
pub struct JobStanding {
    /// The next due instant; `None` while it is off or paused.
    pub next_run_at: Option<DateTime<Utc>>,
    pub pause: Option<PauseRow>,
    pub last: Option<RunRow>,
    pub last_success_at: Option<DateTime<Utc>>,
    /// Instants that were skipped of late ([`JobStanding::MISSED_WITHIN`]), by the word of the
    /// reason.
    pub missed: Vec<(String, i64)>,
    /// Whether live replicas hold different definitions of it.
    pub drifts: bool,
}

impl JobStanding {
    /// How far back skipped instants are counted.
    pub const MISSED_WITHIN: TimeDelta = TimeDelta::days(7);
}

impl Runner {
    /// How each job stands, in the order of the catalog.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standings(&self) -> Result<Vec<JobStanding>, StoreError> {
        let mut standings = Vec::new();
        let (pauses, drifting) = self.stopped_and_drifting().await?;
        for job in self.catalog.iter() {
            standings.push(self.stands(job, &pauses, &drifting).await?);
        }
        Ok(standings)
    }

    /// How one job stands.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standing(&self, job: &Definition) -> Result<JobStanding, StoreError> {
        let (pauses, drifting) = self.stopped_and_drifting().await?;
        self.stands(job, &pauses, &drifting).await
    }

    async fn stopped_and_drifting(&self) -> Result<(Vec<PauseRow>, HashSet<String>), StoreError> {
        let store = &self.engine.store;
        let since = store.database_now().await? - REPLICA_GONE;
        let drifting = store.drifting_jobs(since).await?.into_iter().collect();
        Ok((store.job_pauses().await?, drifting))
    }

    async fn stands(
        &self,
        job: &Definition,
        pauses: &[PauseRow],
        drifting: &HashSet<String>,
    ) -> Result<JobStanding, StoreError> {
        let (store, now) = (&self.engine.store, self.engine.clock.now());
        let pause = pauses.iter().find(|pause| pause.job_id == job.job_id).cloned();
        let due = job.enabled && pause.is_none();
        // Ids are in the order of time.
        let since: RunId = Clock::mint_at(now - JobStanding::MISSED_WITHIN);
        Ok(JobStanding {
            next_run_at: job.schedule.next(now).filter(|_| due),
            pause,
            last: store.runs_history(&job.job_id, "", 1).await?.pop(),
            last_success_at: store.last_success(&job.job_id).await?.and_then(|run| run.finished_at),
            missed: store.runs_missed(&job.job_id, &since).await?,
            drifts: drifting.contains(&job.job_id),
        })
    }
}
