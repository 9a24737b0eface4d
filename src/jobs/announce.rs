//! Announcing: before a due instant, what its run is expected to do is planned and told.

use chrono::{DateTime, Utc};
use tracing::info;

use super::{Definition, Runner};
use crate::engine::{Engine, EngineError, PlanAsk, Tally, Work, short_hash};
use crate::store::{NewRun, StoreError};

/// The trigger of a run that announces what another one will do.
pub const PREVIEW: &str = "preview";

/// The most instants that are announced at once, if they follow each other closely.
const MOST: usize = 10;

/// The coming instants of a job that are to be announced by `now`.
pub fn to_announce(job: &Definition, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let Some(ahead) = job.announce else { return Vec::new() };
    let mut instants = job.schedule.between(now, now + ahead.0);
    instants.truncate(MOST);
    instants
}

impl Runner {
    /// Queues a preview for each coming instant of a job that is to be announced and is not yet.
    ///
    /// # Errors
    /// [`StoreError`]; what was not queued is at the next look.
    pub(super) async fn queue_previews(
        &self,
        job: &Definition,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let instants = to_announce(job, now);
        let Some(last) = instants.last() else { return Ok(()) };
        let known = self.engine.store.previews_upto(&job.job_id, now, *last).await?;
        let missing: Vec<_> = instants.iter().filter(|at| !known.contains(at)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut tx = self.engine.store.begin().await?;
        // Told twice would be worse than not told.
        let preview = |instant: &&DateTime<Utc>| NewRun {
            max_attempts: 1,
            ..self.new_run(job, PREVIEW, Some(**instant), "schedule")
        };
        tx.runs_insert(&missing.iter().map(preview).collect::<Vec<_>>(), now).await?;
        tx.commit().await
    }
}

/// Plans the run of `instant`, and tells each org of its part. Never a payment.
pub(super) async fn run(
    engine: &Engine,
    work: &Work,
    job: &Definition,
    instant: DateTime<Utc>,
) -> Result<Tally, EngineError> {
    let mut tally = Tally::default();
    if instant <= engine.clock.now() {
        tally.note("its instant has come: there is nothing to announce any more");
        return Ok(tally);
    }
    let Some(rules) = job.rules(instant) else { return Ok(tally) };
    let made_by = work.actor.to_string();
    let ask = PlanAsk { definition_hash: job.hash.clone(), rules, made_by };
    let plan = engine.make_plan(work, &ask).await?;
    let summary = engine.announce_plan(work, &plan).await?;
    let total = summary.total()?;
    tally.seen = total.pays.count + total.skipped.values().map(|skips| skips.count).sum::<u64>();
    tally.outcomes.insert("would_pay".to_owned(), total.pays.clone());
    tally.note(format!("plan {}", short_hash(&plan.plan_hash)));
    info!(event = "job.run.announced", job_id = job.job_id, scheduled_for = %instant.to_rfc3339(),
          plan_hash = plan.plan_hash, counts.pays = total.pays.count,
          amounts = %total.pays.amount);
    Ok(tally)
}
