//! What is seen from outside: where a run's trace is, what payouts came to, and how things stand at
//! this moment, for monitoring. Reads go over what is open and by indexes, never over history.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{RunLease, Store, StoreError, Tx};
use crate::domain::{MethodKind, Money, OrgId, PayoutStatus};

const RUN_TRACE: &str = "UPDATE job_runs SET trace_id = $3 WHERE run_id = $1 AND lease_token = $2";
const JOBS_STANDING: &str = "
    WITH asked(job_id) AS MATERIALIZED ({rows})
    SELECT asked.job_id,
           (SELECT MAX(r.finished_at) FROM job_runs r
            WHERE r.job_id = asked.job_id AND r.state = 'succeeded'
              AND r.trigger_kind <> 'preview') AS succeeded_at,
           (SELECT MAX(r.started_at) FROM job_runs r
            WHERE r.job_id = asked.job_id AND r.started_at IS NOT NULL
              AND r.trigger_kind <> 'preview') AS started_at,
           (SELECT MIN(r.started_at) FROM job_runs r
            WHERE r.job_id = asked.job_id AND r.state = 'running'
              AND r.trigger_kind <> 'preview') AS running_since,
           (SELECT p.paused_at FROM job_pauses p WHERE p.job_id = asked.job_id) AS paused_at,
           (SELECT COUNT(DISTINCT d.definition_hash) FROM replica_jobs d
            JOIN replicas l ON l.replica_id = d.replica_id
            WHERE d.job_id = asked.job_id AND l.seen_at > $1) AS definitions
    FROM asked";
const PAYOUTS_OPEN: &str = "
    SELECT method_kind, status, COUNT(*) AS payouts, MIN(requested_at) AS oldest_at
    FROM payouts WHERE status IN ('pending', 'approved', 'processing')
    GROUP BY method_kind, status";
const ORGS_LISTENING: &str = "
    SELECT DISTINCT org_id FROM webhook_endpoints WHERE deleted_at IS NULL ORDER BY org_id";
const ALERTS_OPEN: &str = "SELECT kind, COUNT(*) FROM alerts WHERE closed_at IS NULL GROUP BY kind";
const BREAKS_OPEN: &str =
    "SELECT method_kind, COUNT(*) FROM breaks WHERE closed_at IS NULL GROUP BY method_kind";

/// A payout that came to a status just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub kind: MethodKind,
    pub status: PayoutStatus,
    pub amount: Money,
}

/// What the observer does with payouts that came to a status.
type Hears = dyn Fn(&[Passed]) + Send + Sync;

/// Who hears what payouts came to, after the commit: what is rolled back or tried again is not
/// counted.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Hears>>);

impl Observer {
    /// An observer that does `what`, which must not wait for anything.
    pub fn new(what: impl Fn(&[Passed]) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(what)))
    }

    /// Tells it.
    pub(super) fn hear(&self, passed: &[Passed]) {
        if let Some(hears) = self.0.as_ref().filter(|_| !passed.is_empty()) {
            hears(passed);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}

/// How a job stands.
#[derive(Debug, Clone, FromRow)]
pub struct JobStanding {
    pub job_id: String,
    /// The end of its last run that succeeded.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// The beginning of its last run.
    pub started_at: Option<DateTime<Utc>>,
    /// The beginning of the run that is under way.
    pub running_since: Option<DateTime<Utc>>,
    pub paused_at: Option<DateTime<Utc>>,
    /// How many different definitions of it are held by replicas that were seen lately.
    pub definitions: i64,
}

/// Payouts of a rail that are not over.
#[derive(Debug, Clone, FromRow)]
pub struct OpenPayouts {
    pub method_kind: MethodKind,
    pub status: PayoutStatus,
    pub payouts: i64,
    /// When the oldest of them was requested.
    pub oldest_at: DateTime<Utc>,
}

impl Store {
    /// How jobs stand; replicas that were not seen since `seen_since` do not count.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn jobs_standing(
        &self,
        jobs: &[&str],
        seen_since: DateTime<Utc>,
    ) -> Result<Vec<JobStanding>, StoreError> {
        let rows: Vec<_> = jobs.iter().map(|job_id| vec![Value::from(*job_id)]).collect();
        sql(JOBS_STANDING).bind(seen_since).read_all_with(&self.pools, &rows).await
    }

    /// The payouts that are not over, by rail and status, over all orgs.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn payouts_open(&self) -> Result<Vec<OpenPayouts>, StoreError> {
        sql(PAYOUTS_OPEN).read_all(&self.pools).await
    }

    /// How many alerts are open, by kind, over all orgs.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn alerts_open(&self) -> Result<Vec<(String, i64)>, StoreError> {
        sql(ALERTS_OPEN).read_all(&self.pools).await
    }

    /// How many differences with providers' statements are open, by rail, over all orgs.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn breaks_open(&self) -> Result<Vec<(MethodKind, i64)>, StoreError> {
        sql(BREAKS_OPEN).read_all(&self.pools).await
    }
}

impl Tx {
    /// The orgs that have somebody to be told.
    pub async fn orgs_listening(&mut self) -> Result<Vec<OrgId>, StoreError> {
        let rows: Vec<(OrgId,)> = sql(ORGS_LISTENING).all(self).await?;
        Ok(rows.into_iter().map(|(org,)| org).collect())
    }

    /// Keeps the id of a run's trace; of a run that somebody else has by now, not.
    pub async fn run_trace(&mut self, lease: &RunLease, trace_id: &str) -> Result<(), StoreError> {
        let update = sql(RUN_TRACE).bind(&lease.run_id).bind(lease.token.as_str());
        update.bind(trace_id).run(self).await?;
        Ok(())
    }
}
