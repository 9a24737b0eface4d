//! The tick: each beat of the metronome rescues what was lost, looks at every schedule, and shows
//! that this replica is there. Each of these has its own time, and none stops the others.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tracing::{error, warn};

use super::look::{Intent, intents};
use super::seen;
use super::{Definition, Overlap, Runner};
use crate::domain::{Actor, RunId};
use crate::store::{DefinitionRow, NewRun, PauseRow, StoreError, Tx};

/// A watermark that is further ahead than this was set by a clock that was wrong.
const AHEAD: TimeDelta = TimeDelta::minutes(1);
/// The longest that one question to the database may take; a stalled one must not end all looks.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);
/// How often a replica says that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// How often a difference between replicas is said again.
const DRIFT_AGAIN: Duration = Duration::from_secs(60);
/// A replica that was not seen for this long is not there any more.
pub const REPLICA_GONE: TimeDelta = TimeDelta::seconds(30);
/// A replica that left without a word is forgotten after this.
const REPLICA_FORGOTTEN: TimeDelta = TimeDelta::days(1);
/// Another definition that was held this much later than ours says that the job was edited since.
const EDITED_AFTER: TimeDelta = TimeDelta::minutes(1);

/// What a process keeps in mind from look to look. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Mind(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// The jobs that the process begins with now, whatever their watermark says: they were edited
    /// while it was away. `None` before it knows.
    edited: Option<HashSet<String>>,
    seen: Option<Instant>,
    drift_said: Option<Instant>,
}

impl Mind {
    fn with<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Runner {
    /// Looks at every enabled schedule and queues what has fallen due since the last look, at
    /// most once per instant, however many replicas look. A job whose look fails keeps no other
    /// from being looked at.
    ///
    /// # Errors
    /// The first [`StoreError`]; what was not queued is at the next look.
    pub async fn tick(&self) -> Result<(), StoreError> {
        let database_now = in_time("the clock", self.engine.keep_time()).await?;
        let now = self.engine.clock.now();
        let mut outcome = in_time("what was lost", self.rescue()).await;
        let (known, pauses) = in_time("the schedules", async {
            Ok((self.engine.store.definitions().await?, self.engine.store.job_pauses().await?))
        })
        .await?;
        self.note_edits(&known);
        for job in self.catalog.iter().filter(|job| job.enabled) {
            let row = of_job(&known, job);
            let pause = pauses.iter().find(|pause| pause.job_id == job.job_id);
            let any = known.iter().filter(|row| row.job_id == job.job_id);
            let looked_at = any.map(|row| row.watermark).max();
            let look = async {
                self.look_at(job, (row, looked_at), pause, now, database_now).await?;
                if pause.is_none() {
                    self.queue_previews(job, now).await?;
                }
                Ok(())
            };
            match in_time("a schedule", look).await {
                Ok(()) => {}
                // Another replica was first; the next look sees what it did.
                Err(cause) if cause.is_transient() || cause.is_duplicate() => {}
                Err(cause) => {
                    error!(event = "job.look.failed", job_id = job.job_id, %cause);
                    outcome = outcome.and(Err(cause));
                }
            }
        }
        outcome = outcome.and(in_time("the replicas", self.show_itself(database_now)).await);
        if outcome.is_ok() {
            let done = self.engine.clock.now();
            self.pulse.beat(done);
            seen::ticked(done);
        }
        outcome
    }

    /// Says good-bye: from now on this replica holds no definition.
    ///
    /// # Errors
    /// [`StoreError`]; then it is forgotten when it was not seen for a while.
    pub async fn leave(&self) -> Result<(), StoreError> {
        in_time("the replicas", async {
            let mut tx = self.engine.store.begin().await?;
            let before = tx.database_now().await? - REPLICA_FORGOTTEN;
            tx.replicas_forget(&self.settings.worker_id, before).await?;
            tx.commit().await
        })
        .await
    }

    /// At the first look of a process: a job of which another definition was held after ours was
    /// edited meanwhile, and edited again by whoever gave us this one. It starts now, as a new one.
    fn note_edits(&self, known: &[DefinitionRow]) {
        let edited = |job: &&Definition| {
            let Some(ours) = of_job(known, job) else { return false };
            let other = |row: &DefinitionRow| {
                row.job_id == job.job_id
                    && row.definition_hash != job.hash
                    && row.held_until > ours.held_until + EDITED_AFTER
            };
            known.iter().any(other)
        };
        self.mind.with(|kept| {
            kept.edited.get_or_insert_with(|| {
                self.catalog.iter().filter(edited).map(|job| job.job_id.clone()).collect()
            });
        });
    }

    async fn look_at(
        &self,
        job: &Definition,
        (row, looked_at): (Option<&DefinitionRow>, Option<DateTime<Utc>>),
        pause: Option<&PauseRow>,
        now: DateTime<Utc>,
        database_now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let key = (job.job_id.as_str(), job.hash.as_str());
        let edited =
            self.mind.with(|kept| kept.edited.as_ref().is_some_and(|all| all.contains(key.0)));
        // A new or edited job starts now: no storm of instants it never had.
        let Some(row) = row.filter(|_| !edited) else {
            let mut tx = self.engine.store.begin().await?;
            tx.definitions_begin(&[key], (now, database_now)).await?;
            tx.watermark_set(key, now).await?;
            self.record_edited(&mut tx, job, looked_at, now).await?;
            tx.commit().await?;
            self.mind.with(|kept| kept.edited.as_mut().map(|all| all.remove(key.0)));
            return Ok(());
        };
        if row.watermark > now + AHEAD {
            return self.take_back(job, row.watermark, now).await;
        }
        if job.schedule.next(row.watermark).is_none_or(|next| next > now) {
            return Ok(());
        }
        let mut tx = self.engine.store.begin().await?;
        // Locked, and read again: another replica may have looked meanwhile.
        let Some(row) = tx.definition_lock(key).await? else { return Ok(()) };
        let intents = intents(job, row.watermark, now);
        let Some(last) = intents.last().map(|intent| intent.scheduled_for) else { return Ok(()) };
        let runs = self.decide(&mut tx, job, intents, pause).await?;
        let inserted: HashSet<RunId> = tx.runs_insert(&runs, now).await?.into_iter().collect();
        tx.watermark_set(key, last).await?;
        tx.commit().await?;
        for run in runs.iter().filter(|run| inserted.contains(&run.run_id)) {
            seen::skipped(run, &self.pings);
        }
        Ok(())
    }

    /// Somebody looked by a clock that was ahead: waiting until then would stop the schedule silently.
    /// Instants that were run by that clock have their rows, and are not run again.
    async fn take_back(
        &self,
        job: &Definition,
        watermark: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.engine.store.begin().await?;
        tx.watermark_back((&job.job_id, &job.hash), now).await?;
        tx.commit().await?;
        warn!(
            event = "job.watermark.ahead",
            job_id = job.job_id,
            watermark = watermark.to_rfc3339(),
            "somebody looked by a clock that was ahead; the schedule begins again now"
        );
        Ok(())
    }

    /// Puts on record what fell due between the last look at another definition of the job and the
    /// first at this one: a new definition makes up for nothing.
    async fn record_edited(
        &self,
        tx: &mut Tx,
        job: &Definition,
        known: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Some(before) = known else { return Ok(()) };
        let run = |at: DateTime<Utc>| {
            let skipped = Some("edited: the job's definition is new since".to_owned());
            NewRun { skipped, ..self.new_run(job, "schedule", Some(at), "schedule") }
        };
        let runs: Vec<_> = job.schedule.between(before, now).into_iter().map(run).collect();
        tx.runs_insert(&runs, now).await?;
        Ok(())
    }

    /// The runs that a job's intents become: a paused job has none, and one that is on time does not
    /// overlap the one before it. What is made up for late waits for its turn instead.
    async fn decide(
        &self,
        tx: &mut Tx,
        job: &Definition,
        intents: Vec<Intent>,
        pause: Option<&PauseRow>,
    ) -> Result<Vec<NewRun>, StoreError> {
        let open = tx.runs_open(&job.job_id).await?;
        // Of several that are run, each waits for the one before it.
        let alone = intents.iter().filter(|one| one.skipped.is_none()).count() == 1;
        let decide = |intent: Intent| {
            let skipped = intent.skipped.or_else(|| pause.map(paused)).or_else(|| {
                let may_overlap = alone && intent.trigger == "schedule";
                may_overlap.then(|| overlap(job.overlap, &open)).flatten()
            });
            let at = intent.scheduled_for;
            let jitter = job.jitter.jitter(&job.job_id, at);
            let not_before = (jitter > TimeDelta::zero()).then(|| at + jitter);
            let run = self.new_run(job, intent.trigger, Some(at), "schedule");
            NewRun { skipped, not_before, ..run }
        };
        Ok(intents.into_iter().map(decide).collect())
    }

    /// Takes the runs whose process stopped from it: each is tried again, or is lost for good, so
    /// that it blocks nobody.
    pub(super) async fn rescue(&self) -> Result<(), StoreError> {
        let database_now = self.engine.store.database_now().await?;
        if !self.engine.store.runs_expired(database_now).await? {
            return Ok(());
        }
        let now = self.engine.clock.now();
        let mut tx = self.engine.store.begin().await?;
        let lost = tx.runs_lose(database_now, now).await?;
        for run in lost.iter().filter(|run| !run.is_tried_again()) {
            let words =
                format!("run {} was lost at its last attempt, the {}.", run.run_id, run.attempt);
            self.pause_after_failure(&mut tx, &run.job_id, &words, now).await?;
            seen::tell_lost(&mut tx, self.catalog.job(&run.job_id).ok(), run, now).await?;
        }
        tx.commit().await?;
        lost.iter().for_each(|run| seen::lost(run, &self.pings));
        Ok(())
    }

    /// Stops the schedule of a job that says `pause_on_failure`, in the transaction of the failure.
    pub(super) async fn pause_after_failure(
        &self,
        tx: &mut Tx,
        job_id: &str,
        words: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Ok(job) = self.catalog.job(job_id) else { return Ok(()) };
        if !job.pause_on_failure {
            return Ok(());
        }
        let actor = Actor::job(job_id);
        if tx.job_pause(job_id, (&actor, words), now).await? {
            warn!(event = "job.paused.on_failure", job_id, reason = words);
        }
        Ok(())
    }

    async fn show_itself(&self, database_now: DateTime<Utc>) -> Result<(), StoreError> {
        let recently =
            |at: Option<Instant>, span| at.is_some_and(|at: Instant| at.elapsed() < span);
        if self.mind.with(|kept| recently(kept.seen, SIGN_OF_LIFE)) {
            return Ok(());
        }
        let held: Vec<_> =
            self.catalog.iter().map(|job| (job.job_id.as_str(), job.hash.as_str())).collect();
        let now = self.engine.clock.now();
        let mut tx = self.engine.store.begin().await?;
        // One that is off has a row too: when it is switched on again, it was edited.
        tx.definitions_begin(&held, (now, database_now)).await?;
        tx.replica_seen(&self.settings.worker_id, &held, database_now).await?;
        tx.replicas_forget("", database_now - REPLICA_FORGOTTEN).await?;
        tx.commit().await?;
        self.mind.with(|kept| kept.seen = Some(Instant::now()));
        if self.mind.with(|kept| recently(kept.drift_said, DRIFT_AGAIN)) {
            return Ok(());
        }
        let drifting = self.engine.store.drifting_jobs(database_now - REPLICA_GONE).await?;
        for job_id in &drifting {
            let hash = self.catalog.job(job_id).map(|job| job.hash.as_str()).unwrap_or_default();
            warn!(
                event = "job.definition.drift",
                job_id,
                definition_hash = hash,
                "the replicas hold different definitions of it: give them the same jobs"
            );
        }
        if !drifting.is_empty() {
            self.mind.with(|kept| kept.drift_said = Some(Instant::now()));
        }
        Ok(())
    }
}

fn of_job<'a>(known: &'a [DefinitionRow], job: &Definition) -> Option<&'a DefinitionRow> {
    known.iter().find(|row| row.job_id == job.job_id && row.definition_hash == job.hash)
}

/// Why an instant is not run because of a run that is not over.
fn overlap(policy: Overlap, open: &[(RunId, String)]) -> Option<String> {
    let before = match policy {
        Overlap::Skip => open.first(),
        Overlap::QueueOne => open.iter().find(|(_, state)| state == "queued"),
    };
    before.map(|(run_id, state)| format!("overlap: {run_id} was still {state}"))
}

pub(super) fn paused(pause: &PauseRow) -> String {
    format!("paused by {}: {}", pause.paused_by, pause.reason)
}

/// What a question to the database comes to, if it does in time.
pub(super) async fn in_time<T>(
    what: &'static str,
    question: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let seconds = LONGEST_QUESTION.as_secs();
    let answer = tokio::time::timeout(LONGEST_QUESTION, question).await;
    answer.unwrap_or(Err(StoreError::TooSlow { what, seconds }))
}
