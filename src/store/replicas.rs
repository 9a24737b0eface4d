//! The processes that run jobs, which definitions they hold, and how far each definition's schedule
//! has been looked at. Who was seen when is measured by the database's clock.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};

const DEFINITIONS: &str =
    "SELECT job_id, definition_hash, watermark, held_until FROM job_definitions";
const DEFINITION_LOCK: &str = "
    SELECT d.job_id, d.definition_hash, d.watermark, d.held_until FROM job_definitions d
    WHERE d.job_id = $1 AND d.definition_hash = $2 {lock:d}";
const DEFINITIONS_BEGIN: &str = "
    INSERT INTO job_definitions (job_id, definition_hash, watermark, held_until)
    {rows} ON CONFLICT DO NOTHING";
// It only goes on: two replicas that look at once end where the later one is.
const WATERMARK_SET: &str = "
    UPDATE job_definitions SET watermark = $3
    WHERE job_id = $1 AND definition_hash = $2 AND watermark < $3";

const WATERMARK_BACK: &str = "
    UPDATE job_definitions SET watermark = $3 WHERE job_id = $1 AND definition_hash = $2";

const REPLICA_SEEN: &str = "
    INSERT INTO replicas (replica_id, app_version, started_at, seen_at) VALUES ($1, $2, $3, $3)
    ON CONFLICT (replica_id) DO UPDATE SET seen_at = excluded.seen_at";
const REPLICA_JOBS: &str = "
    INSERT INTO replica_jobs (replica_id, job_id, definition_hash) {rows}
    ON CONFLICT (replica_id, job_id) DO UPDATE SET definition_hash = excluded.definition_hash";
// In one order, so that replicas that do this at once wait for each other and for nobody else.
const HELD_LOCK: &str = "
    SELECT d.job_id, d.definition_hash, d.watermark, d.held_until FROM job_definitions d
    JOIN replica_jobs j ON j.job_id = d.job_id AND j.definition_hash = d.definition_hash
    WHERE j.replica_id = $1 ORDER BY d.job_id {lock:d}";
const HELD: &str = "
    UPDATE job_definitions SET held_until = $2
    WHERE EXISTS (SELECT 1 FROM replica_jobs j
                  WHERE j.replica_id = $1 AND j.job_id = job_definitions.job_id
                    AND j.definition_hash = job_definitions.definition_hash)";
const JOBS_OF_GONE: &str = "
    DELETE FROM replica_jobs
    WHERE replica_id = $1
       OR replica_id IN (SELECT r.replica_id FROM replicas r WHERE r.seen_at < $2)";
const GONE: &str = "DELETE FROM replicas WHERE replica_id = $1 OR seen_at < $2";
const REPLICAS: &str = "
    SELECT replica_id, app_version, started_at, seen_at FROM replicas
    WHERE seen_at > $1 ORDER BY replica_id";
// A live replica that has no such job at all differs too.
const DRIFT: &str = "
    SELECT j.job_id FROM replica_jobs j JOIN replicas r ON r.replica_id = j.replica_id
    WHERE r.seen_at > $1
    GROUP BY j.job_id
    HAVING COUNT(DISTINCT j.definition_hash) > 1
        OR COUNT(*) < (SELECT COUNT(*) FROM replicas o WHERE o.seen_at > $1)
    ORDER BY j.job_id";

/// How far one definition of a job has been looked at.
#[derive(Debug, Clone, FromRow)]
pub struct DefinitionRow {
    pub job_id: String,
    pub definition_hash: String,
    /// The latest instant that was looked at.
    pub watermark: DateTime<Utc>,
    /// When a replica that holds it last said so, by the database's clock.
    pub held_until: DateTime<Utc>,
}

/// A process that runs jobs.
#[derive(Debug, Clone, FromRow)]
pub struct ReplicaRow {
    pub replica_id: String,
    pub app_version: String,
    pub started_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
}

impl Store {
    /// How far each definition of each job has been looked at.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn definitions(&self) -> Result<Vec<DefinitionRow>, StoreError> {
        sql(DEFINITIONS).read_all(&self.pools).await
    }

    /// The replicas that were seen after `since`, by the database's clock.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn replicas(&self, since: DateTime<Utc>) -> Result<Vec<ReplicaRow>, StoreError> {
        sql(REPLICAS).bind(since).read_all(&self.pools).await
    }

    /// The jobs of which the replicas that were seen after `since` hold different definitions.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn drifting_jobs(&self, since: DateTime<Utc>) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = sql(DRIFT).bind(since).read_all(&self.pools).await?;
        Ok(rows.into_iter().map(|(job_id,)| job_id).collect())
    }
}

impl Tx {
    /// One definition, which nobody else looks at until this transaction ends.
    pub async fn definition_lock(
        &mut self,
        (job_id, hash): (&str, &str),
    ) -> Result<Option<DefinitionRow>, StoreError> {
        sql(DEFINITION_LOCK).bind(job_id).bind(hash).maybe(self).await
    }

    /// Makes rows for definitions (job, hash) that have none, looked at up to `now`.
    pub async fn definitions_begin(
        &mut self,
        definitions: &[(&str, &str)],
        (now, database_now): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(), StoreError> {
        let row = |(job_id, hash): &(&str, &str)| -> Vec<Value> {
            vec![(*job_id).into(), (*hash).into(), now.into(), database_now.into()]
        };
        let rows: Vec<_> = definitions.iter().map(row).collect();
        sql(DEFINITIONS_BEGIN).run_with(self, &rows).await?;
        Ok(())
    }

    /// Keeps how far a definition's schedule has been looked at.
    pub async fn watermark_set(
        &mut self,
        (job_id, hash): (&str, &str),
        watermark: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sql(WATERMARK_SET).bind(job_id).bind(hash).bind(watermark).run(self).await?;
        Ok(())
    }

    /// Takes back how far a definition was looked at: it was by a clock that was wrong.
    pub async fn watermark_back(
        &mut self,
        (job_id, hash): (&str, &str),
        watermark: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sql(WATERMARK_BACK).bind(job_id).bind(hash).bind(watermark).run(self).await?;
        Ok(())
    }

    /// A replica shows a sign of life, and that it holds these definitions (job, hash).
    pub async fn replica_seen(
        &mut self,
        replica_id: &str,
        definitions: &[(&str, &str)],
        database_now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let seen = sql(REPLICA_SEEN).bind(replica_id).bind(env!("CARGO_PKG_VERSION"));
        seen.bind(database_now).run(self).await?;
        let row = |(job_id, hash): &(&str, &str)| -> Vec<Value> {
            vec![replica_id.into(), (*job_id).into(), (*hash).into()]
        };
        let rows: Vec<_> = definitions.iter().map(row).collect();
        sql(REPLICA_JOBS).run_with(self, &rows).await?;
        let _held: Vec<DefinitionRow> = sql(HELD_LOCK).bind(replica_id).all(self).await?;
        sql(HELD).bind(replica_id).bind(database_now).run(self).await?;
        Ok(())
    }

    /// Forgets a replica that leaves, and those that were last seen before `before`.
    pub async fn replicas_forget(
        &mut self,
        replica_id: &str,
        before: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sql(JOBS_OF_GONE).bind(replica_id).bind(before).run(self).await?;
        sql(GONE).bind(replica_id).bind(before).run(self).await?;
        Ok(())
    }
}
