//! What people ask of runs: instants that were missed run after all, one run again, or no further.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::info;

use super::{Definition, JobError, PREVIEW, Runner};
use crate::domain::{OrgId, RunId};
use crate::engine::Work;
use crate::store::{NewRun, Reopening, RunRow};

/// Most instants that are made up for at once.
const MOST_INSTANTS: usize = 1_000;

/// Which instants are to be made up for.
#[derive(Debug, Clone)]
pub struct Backfill {
    /// The first instant, itself included.
    pub from: DateTime<Utc>,
    /// The last instant, itself included.
    pub upto: DateTime<Utc>,
    /// More of them than this are refused.
    pub max: usize,
    pub reason: Option<String>,
    /// Whether to say what would happen, and do nothing.
    pub dry_run: bool,
}

/// What became of an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfilled {
    pub scheduled_for: DateTime<Utc>,
    /// `queued` where there was no run, `reopened` where one did not take place or failed, `left`
    /// where one succeeded, waits or runs.
    pub outcome: &'static str,
    /// The state of the run that there was.
    pub was: Option<String>,
    /// Its run; `None` for a new one that was not made.
    pub run_id: Option<RunId>,
}

/// A person, what they may touch, and why they do.
type Asked<'a> = (&'a Work, Option<&'a OrgId>);

impl Runner {
    /// Queues a run for each due instant of a span that has none, or whose run did not take place or
    /// failed. They run one after the other beside the schedule, oldest first. Repeated, it changes
    /// nothing.
    ///
    /// # Errors
    /// [`JobError::BadSpan`] for a span that is not over, has no instant or too many; else as
    /// [`Runner::pause`].
    pub async fn backfill(
        &self,
        (work, org): Asked<'_>,
        job_id: &str,
        asked: &Backfill,
    ) -> Result<Vec<Backfilled>, JobError> {
        let (job, orgs) = self.own_job(org, job_id).await?;
        let instants = self.instants_of(job, asked)?;
        let known = self.engine.store.runs_between(job_id, asked.from, asked.upto).await?;
        let known: HashMap<_, _> = known.into_iter().map(|run| (run.scheduled_for, run)).collect();
        let mut outcomes: Vec<Backfilled> =
            instants.iter().map(|at| planned(*at, known.get(&Some(*at)))).collect();
        if asked.dry_run {
            return Ok(outcomes);
        }
        let mut tx = self.engine.store.begin().await?;
        let new = outcomes.iter_mut().filter(|one| one.outcome == "queued").map(|one| {
            let run = self.new_run(job, "backfill", Some(one.scheduled_for), work.actor.as_str());
            one.run_id = Some(run.run_id.clone());
            NewRun { reason: asked.reason.clone(), ..run }
        });
        let new: Vec<NewRun> = new.collect();
        let made = tx.runs_insert(&new, self.engine.clock.now()).await?;
        for one in outcomes.iter_mut().filter(|one| one.outcome == "queued") {
            // A look at the schedule was first.
            if one.run_id.as_ref().is_none_or(|run_id| !made.contains(run_id)) {
                one.outcome = "left";
            }
        }
        let words = asked.reason.as_deref().unwrap_or("backfilled");
        let reopening = Reopening {
            trigger_kind: "backfill",
            requested_by: work.actor.as_str(),
            reason: Some(words),
            more_attempts: i64::from(job.retry.max_attempts) - 1,
            definition_hash: &job.hash,
        };
        for one in outcomes.iter_mut().filter(|one| one.outcome == "reopened") {
            let Some(run_id) = &one.run_id else { continue };
            if !tx.run_reopen(run_id, &reopening).await? {
                // It was queued, or succeeded, since we looked.
                one.outcome = "left";
            }
        }
        let acts = outcomes.iter().filter(|one| one.outcome != "left").count();
        let detail = json!({
            "from": asked.from, "to": asked.upto, "instants": acts, "reason": asked.reason,
        });
        self.keep_acts(&mut tx, &orgs, work, ("job.backfilled", job_id), &detail).await?;
        tx.commit().await?;
        info!(event = "job.backfilled", job_id, instants = acts, actor = %work.actor);
        Ok(outcomes)
    }

    fn instants_of(
        &self,
        job: &Definition,
        asked: &Backfill,
    ) -> Result<Vec<DateTime<Utc>>, JobError> {
        let refused = |words: String| Err(JobError::BadSpan(words));
        let Backfill { from, upto, .. } = asked;
        let now = self.engine.clock.now();
        if from > upto || *upto > now {
            return refused(format!(
                "from {from} to {upto} is no span that is over: it is {now} now"
            ));
        }
        let max = asked.max.min(MOST_INSTANTS);
        let before = *from - chrono::TimeDelta::milliseconds(1);
        let first = job.schedule.next(before);
        let instants = std::iter::successors(first, |at| job.schedule.next(*at));
        let instants: Vec<_> = instants.take_while(|at| at <= upto).take(max + 1).collect();
        match instants.len() {
            0 => refused(format!("job {} has no due instant from {from} to {upto}", job.job_id)),
            count if count > max => refused(format!(
                "job {} has more than {max} due instants from {from} to {upto}: name a shorter span, \
                 or allow more (at most {MOST_INSTANTS})",
                job.job_id
            )),
            _ => Ok(instants),
        }
    }

    /// Ends a run that waits or runs. Whoever has it in hand can write nothing more; what was sent
    /// is found by reconcile.
    ///
    /// # Errors
    /// [`JobError::NoRun`], [`JobError::WrongState`] for one that is over; else as
    /// [`Runner::pause`].
    pub async fn cancel_run(
        &self,
        (work, org): Asked<'_>,
        run_id: &RunId,
        reason: Option<&str>,
    ) -> Result<(), JobError> {
        let run = self.known_run(run_id).await?;
        let (_, orgs) = self.own_job(org, &run.job_id).await?;
        let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let words = format!("cancelled by {}{why}", work.actor);
        let mut tx = self.engine.store.begin().await?;
        if !tx.run_cancel(run_id, &words, self.engine.clock.now()).await? {
            return Err(wrong_state(run, "cancelled"));
        }
        let detail = json!({ "jobId": run.job_id, "reason": reason });
        let act = ("run.cancelled", run_id.as_str());
        self.keep_acts(&mut tx, &orgs, work, act, &detail).await?;
        tx.commit().await?;
        info!(event = "job.run.cancelled", job_id = run.job_id, %run_id, actor = %work.actor);
        Ok(())
    }

    /// Queues a run that failed, was lost, cancelled or done in part once more, as its next attempt.
    ///
    /// # Errors
    /// As [`Runner::cancel_run`].
    pub async fn retry_run(
        &self,
        (work, org): Asked<'_>,
        run_id: &RunId,
        reason: Option<&str>,
    ) -> Result<(), JobError> {
        let run = self.known_run(run_id).await?;
        let (job, orgs) = self.own_job(org, &run.job_id).await?;
        if run.started_at.is_none() && run.state == "skipped" {
            return Err(wrong_state(run, "tried again: it never began, so see `job backfill`"));
        }
        let trigger = TRIGGERS.into_iter().find(|known| *known == run.trigger_kind);
        let Some(trigger_kind) = trigger else {
            return Err(wrong_state(run, "tried again: it was begun in a way that is not known"));
        };
        let reopening = Reopening {
            trigger_kind,
            requested_by: work.actor.as_str(),
            reason,
            more_attempts: 0,
            definition_hash: &job.hash,
        };
        let mut tx = self.engine.store.begin().await?;
        if !tx.run_reopen(run_id, &reopening).await? {
            return Err(wrong_state(run, "tried again"));
        }
        let detail = json!({ "jobId": run.job_id, "reason": reason });
        self.keep_acts(&mut tx, &orgs, work, ("run.retried", run_id.as_str()), &detail).await?;
        tx.commit().await?;
        info!(event = "job.run.retried", job_id = run.job_id, %run_id, actor = %work.actor);
        Ok(())
    }

    async fn known_run(&self, run_id: &RunId) -> Result<RunRow, JobError> {
        let run = self.engine.store.run(run_id).await?;
        run.ok_or_else(|| JobError::NoRun { run_id: run_id.clone() })
    }
}

/// What a run that is tried again stays. A preview that became anything else would pay.
const TRIGGERS: [&str; 5] = ["schedule", "catchup", "backfill", "manual", PREVIEW];

fn wrong_state(run: RunRow, verb: &'static str) -> JobError {
    JobError::WrongState { run_id: run.run_id, state: run.state, verb }
}

/// What an instant would come to.
fn planned(scheduled_for: DateTime<Utc>, run: Option<&RunRow>) -> Backfilled {
    let outcome = match run.map(|run| run.state.as_str()) {
        None => "queued",
        Some("skipped" | "lost" | "failed" | "timed_out" | "cancelled") => "reopened",
        Some(_) => "left",
    };
    let (was, run_id) = run.map(|run| (run.state.clone(), run.run_id.clone())).unzip();
    Backfilled { scheduled_for, outcome, was, run_id }
}
