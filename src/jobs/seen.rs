//! What is seen of runs from outside: the one place that logs and counts how a run begins, goes on
//! and ends, so that no path of the runner can end one unseen.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use metrics::{counter, gauge, histogram};
use tokio::task::JoinHandle;
use tracing::{Span, error, info, info_span, warn};

use super::{Definition, JobKind, PREVIEW, Runner};
use crate::domain::{MethodKind, PayoutStatus, RunId};
use crate::engine::{OrgTally, Progress, Tally, ToldRun, tell_run};
use crate::notify::{Pings, Sign};
use crate::store::{LostRun, NewRun, Passed, RunEnd, RunLease, RunRow, StoreError, Tx};
use crate::telemetry;

/// A run says how far it is at most this often.
const PROGRESS_EVERY: TimeDelta = TimeDelta::seconds(10);

/// What is known of an attempt of a run before it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning<'a> {
    pub job: &'a Definition,
    pub lease: &'a RunLease,
    /// Which try of the run it is; the first is 1.
    pub attempt: i64,
    pub trigger: &'a str,
    pub scheduled_for: Option<DateTime<Utc>>,
    pub requested_by: &'a str,
    pub replica_id: &'a str,
    pub plan_hash: Option<&'a str>,
}

/// An attempt that has begun, as it is seen.
pub(super) struct Seen {
    pub span: Span,
    /// 32 hex digits; the same in the trace, if traces are sent.
    pub trace_id: String,
    pub progress: Progress,
    job_id: String,
    job_kind: &'static str,
    run_id: RunId,
    attempt: i64,
    trigger: String,
    replica_id: String,
    scheduled_for: Option<DateTime<Utc>>,
    lease: RunLease,
    pings: Pings,
    /// The sign of life of its beginning, which goes before the one of its end.
    begun: Mutex<Option<JoinHandle<()>>>,
    started: DateTime<Utc>,
    /// When it last said how far it is.
    told: Mutex<DateTime<Utc>>,
}

impl Seen {
    /// An attempt begins.
    pub(super) fn started(begins: Beginning<'_>, runner: &Runner) -> Self {
        let clock = &runner.engine.clock;
        let Beginning { job, lease, attempt, trigger, scheduled_for, .. } = begins;
        let span = info_span!("job.run", job_id = job.job_id, job_kind = job.kind.as_str(),
                              run_id = %lease.run_id, attempt, trigger);
        let minted = || hex::encode(clock.secret::<16>());
        let trace_id = telemetry::trace_id(&span).unwrap_or_else(minted);
        let started = clock.now();
        let lag = scheduled_for.map(|due| started - due);
        info!(event = "job.run.started", job_id = job.job_id, job_kind = job.kind.as_str(),
              run_id = %lease.run_id, attempt, trigger,
              scheduled_for = scheduled_for.map(|at| at.to_rfc3339()),
              lag_seconds = lag.map(|lag| lag.as_seconds_f64()),
              requested_by = begins.requested_by, replica_id = begins.replica_id,
              lease_token = lease.token, definition_hash = job.hash, plan_hash = begins.plan_hash, trace_id);
        if let Some(lag) = lag {
            histogram!("payoutd_job_start_delay_seconds", "job_id" => job.job_id.clone())
                .record(lag.as_seconds_f64().max(0.0));
        }
        let words = format!("run {} began ({trigger})\n", lease.run_id);
        // A preview is no run that anybody waits for.
        let begun = (attempt == 1 && trigger != PREVIEW)
            .then(|| runner.pings.send(&job.job_id, (Sign::Begins, words), None))
            .flatten();
        Self {
            pings: runner.pings.clone(),
            begun: Mutex::new(begun),
            lease: lease.clone(),
            scheduled_for,
            span,
            trace_id,
            progress: Progress::default(),
            job_id: job.job_id.clone(),
            job_kind: job.kind.as_str(),
            run_id: lease.run_id.clone(),
            attempt,
            trigger: trigger.to_owned(),
            replica_id: begins.replica_id.to_owned(),
            started,
            told: Mutex::new(started),
        }
    }

    /// It is still at work: says how far it is, if it has not for ten seconds. To be called at each
    /// sign of life.
    pub(super) fn goes_on(&self, now: DateTime<Utc>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if now - *told < PROGRESS_EVERY {
            return;
        }
        *told = now;
        let counts = self.progress.counts();
        info!(event = "job.run.progress", job_id = self.job_id, job_kind = self.job_kind,
              run_id = %self.run_id, attempt = self.attempt, trigger = self.trigger,
              duration_seconds = (now - self.started).as_seconds_f64(),
              counts.seen = counts.seen,
              counts.acted = counts.acted, counts.skipped = counts.skipped,
              counts.failed = counts.failed, replica_id = self.replica_id,
              trace_id = self.trace_id);
    }

    /// The attempt is over. `outcome` is its state, or what became of its lease (`lost`,
    /// `cancelled`, `released`); `again_at`: when the run is tried again, if it is.
    pub(super) fn ended(
        &self,
        (end, tally): (&RunEnd, &Tally),
        outcome: &'static str,
        (now, again_at): (DateTime<Utc>, Option<DateTime<Utc>>),
    ) {
        let (code, message) = end.error.clone().unzip();
        let amounts = serde_json::to_string(&tally.amounts).unwrap_or_default();
        let seconds = (now - self.started).as_seconds_f64();
        if let (Some(code), Some(message)) = (&code, &message) {
            error!(event = "job.run.error", job_id = self.job_id, job_kind = self.job_kind,
                   run_id = %self.run_id, attempt = self.attempt, error.code = code,
                   error.message = message, trace_id = self.trace_id);
        }
        info!(event = "job.run.finished", job_id = self.job_id, job_kind = self.job_kind,
              run_id = %self.run_id, attempt = self.attempt, trigger = self.trigger, outcome,
              duration_seconds = seconds, counts.seen = end.seen, counts.acted = end.acted,
              counts.skipped = end.skipped, counts.failed = end.failed, amounts,
              report = end.report, error.code = code, error.message = message,
              retryable = again_at.is_some(), next_run_at = again_at.map(|at| at.to_rfc3339()),
              replica_id = self.replica_id, lease_token = self.lease.token,
              trace_id = self.trace_id);
        self.count(end, outcome, seconds);
        if let Some(again_at) = again_at {
            let reason = code.as_deref().unwrap_or(end.state);
            retry_scheduled((&self.job_id, &self.run_id), self.attempt + 1, reason, Some(again_at));
        } else if outcome != "released" {
            ended(&self.job_id, &self.trigger, outcome);
            self.sign(end, tally, outcome, seconds);
        }
        if outcome == "lost" {
            lease_lost(&self.job_id);
        }
    }

    /// Keeps with the run, in the transaction that ends it, what leads to its trace, and tells
    /// who wants to hear of it how it ended, if it did for good.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn keep(
        &self,
        tx: &mut Tx,
        job: &Definition,
        ended: Option<(&RunEnd, &Tally)>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        tx.run_trace(&self.lease, &self.trace_id).await?;
        let Some((end, tally)) = ended else { return Ok(()) };
        let failed = matches!(end.state, "failed" | "timed_out");
        // What a preview has to say, it has announced.
        if self.trigger == PREVIEW && !failed {
            return Ok(());
        }
        let error = end.error.as_ref().map(|(code, message)| (code.as_str(), message.as_str()));
        let told = ToldRun {
            run_id: &self.run_id,
            job_id: &self.job_id,
            job_kind: self.job_kind,
            trigger: &self.trigger,
            scheduled_for: self.scheduled_for,
            attempt: self.attempt,
            state: end.state,
            error,
            failed,
        };
        // What asks for payouts tells how it ended also whom it had nothing for.
        let always = failed || job.kind == JobKind::RequestPayouts;
        for org in tx.orgs_listening().await?.iter().filter(|org| job.scope.has_org(org)) {
            let part = tally.by_org.get(org);
            let did = |part: &OrgTally| part.acted + part.failed > 0;
            if always || part.is_some_and(did) {
                tell_run(tx, org, &told, part, now).await?;
            }
        }
        Ok(())
    }

    /// The sign of life at the end: after the commit.
    fn sign(&self, end: &RunEnd, tally: &Tally, outcome: &str, seconds: f64) {
        if self.trigger == PREVIEW {
            return;
        }
        let well = matches!(outcome, "succeeded" | "partial");
        let sign = if well { Sign::Well } else { Sign::Failed };
        let mut words = format!(
            "run {} {outcome} after {seconds:.1} s\nseen {}, acted {}, skipped {}, failed {}\n\
             moved: {}\n",
            self.run_id, end.seen, end.acted, end.skipped, end.failed, tally.amounts
        );
        if let Some((code, message)) = &end.error {
            words.push_str(&format!("{code}: {message}\n"));
        }
        for note in &tally.notes {
            words.push_str(&format!("{note}\n"));
        }
        let before = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.pings.send(&self.job_id, (sign, words), before);
    }

    fn count(&self, end: &RunEnd, outcome: &'static str, seconds: f64) {
        histogram!("payoutd_job_run_duration_seconds", "job_id" => self.job_id.clone())
            .record(seconds);
        let items = [("acted", end.acted), ("skipped", end.skipped), ("failed", end.failed)];
        for (outcome, count) in items {
            counter!("payoutd_job_items_total", "job_id" => self.job_id.clone(),
                     "outcome" => outcome)
            .increment(u64::try_from(count).unwrap_or(0));
        }
        if let Some((code, _)) = &end.error {
            failure(&self.job_id, code);
        } else if outcome == "timed_out" {
            failure(&self.job_id, outcome);
        }
    }
}

/// An instant is on record without a run, by the reason `misfire…`, `overlap…`, `paused…`.
/// A paused job shows that it is there: what watches over it would report it as dead.
pub(super) fn skipped(run: &NewRun, pings: &Pings) {
    let Some(reason) = &run.skipped else { return };
    if reason.starts_with("paused") {
        pings.send(&run.job_id, (Sign::Well, format!("not run: {reason}\n")), None);
    }
    let of = (run.job_id.as_str(), &run.run_id);
    passed_over(of, (run.kind, run.trigger_kind), run.scheduled_for, reason);
}

/// A run that waited in the queue is not begun any more.
pub(super) fn given_up(run: &RunRow, reason: &str) {
    let of = (run.job_id.as_str(), &run.run_id);
    passed_over(of, (&run.kind, &run.trigger_kind), run.scheduled_for, reason);
}

fn passed_over(
    (job_id, run_id): (&str, &RunId),
    (job_kind, trigger): (&str, &str),
    scheduled_for: Option<DateTime<Utc>>,
    reason: &str,
) {
    warn!(event = "job.run.skipped", job_id, job_kind, run_id = %run_id, trigger,
          scheduled_for = scheduled_for.map(|at| at.to_rfc3339()), reason);
    ended(job_id, trigger, "skipped");
    counter!("payoutd_job_missed_total", "job_id" => job_id.to_owned(), "reason" => word(reason))
        .increment(1);
}

/// The reason as a label: there are few of them.
fn word(reason: &str) -> &'static str {
    let known = [
        ("misfire_window", "misfire_window"),
        ("misfire", "misfire"),
        ("overlap", "overlap"),
        ("paused", "paused"),
        ("orphaned", "orphaned"),
        ("cancelled", "cancelled"),
    ];
    let word = known.iter().find(|(begins, _)| reason.starts_with(begins));
    word.map_or("other", |(_, word)| word)
}

/// Tells, in the transaction that finds it out, that a run was lost for good.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn tell_lost(
    tx: &mut Tx,
    job: Option<&Definition>,
    run: &LostRun,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let told = ToldRun {
        run_id: &run.run_id,
        job_id: &run.job_id,
        job_kind: job.map_or("unknown", |job| job.kind.as_str()),
        trigger: &run.trigger_kind,
        scheduled_for: None,
        attempt: run.attempt,
        state: "lost",
        error: Some(("lease_expired", "its worker was not heard of until its lease ran out")),
        failed: true,
    };
    for org in tx.orgs_listening().await? {
        if job.is_none_or(|job| job.scope.has_org(&org)) {
            tell_run(tx, &org, &told, None, now).await?;
        }
    }
    Ok(())
}

/// A run's worker was not heard of until its lease ran out; `again`: the run is tried again.
pub(super) fn lost(run: &LostRun, pings: &Pings) {
    let again = run.is_tried_again();
    let attempt = if again { run.attempt - 1 } else { run.attempt };
    warn!(event = "job.run.lost", job_id = run.job_id, run_id = %run.run_id, attempt,
          replica_id = run.worker_id, retryable = again);
    lease_lost(&run.job_id);
    match again {
        true => retry_scheduled((&run.job_id, &run.run_id), run.attempt, "lost", None),
        false => {
            ended(&run.job_id, &run.trigger_kind, "lost");
            let words = format!("run {} was lost: its worker was not heard of\n", run.run_id);
            pings.send(&run.job_id, (Sign::Failed, words), None);
        }
    }
}

/// A run is tried again, not before `again_at`.
fn retry_scheduled(
    (job_id, run_id): (&str, &RunId),
    attempt: i64,
    reason: &str,
    again_at: Option<DateTime<Utc>>,
) {
    info!(event = "job.run.retry_scheduled", job_id, run_id = %run_id, attempt, reason,
          next_run_at = again_at.map(|at| at.to_rfc3339()));
    counter!("payoutd_job_retries_total", "job_id" => job_id.to_owned()).increment(1);
}

/// A run ended for good, or was never begun.
fn ended(job_id: &str, trigger: &str, outcome: &'static str) {
    counter!("payoutd_job_runs_total", "job_id" => job_id.to_owned(),
             "trigger" => trigger.to_owned(), "outcome" => outcome)
    .increment(1);
}

/// A worker lost its lease, or was not heard of until it ran out.
pub(super) fn lease_lost(job_id: &str) {
    counter!("payoutd_job_lease_lost_total", "job_id" => job_id.to_owned()).increment(1);
}

/// A run failed of what has this code.
fn failure(job_id: &str, code: &str) {
    counter!("payoutd_job_failures_total", "job_id" => job_id.to_owned(),
             "reason" => code.to_owned())
    .increment(1);
}

/// The schedules were looked at, and the look was done at `now`.
pub(super) fn ticked(now: DateTime<Utc>) {
    counter!("payoutd_scheduler_ticks_total").increment(1);
    let seconds = now.timestamp_millis() as f64 / 1000.0;
    gauge!("payoutd_scheduler_last_tick_timestamp_seconds").set(seconds);
}

/// Counts payouts that came to a status: for the store's observer.
pub fn count_payouts(passed: &[Passed]) {
    for Passed { kind, status, amount } in passed {
        counter!("payoutd_payouts_total", "provider" => kind.as_str(), "state" => status.as_str())
            .increment(1);
        if *status == PayoutStatus::Completed {
            let minor = u64::try_from(amount.minor).unwrap_or(0);
            counter!("payoutd_payout_amount_minor_units_total",
                     "currency" => amount.currency.code())
            .increment(minor);
        }
    }
}

/// Begins every counter of these jobs and rails at 0, so that the first event is seen as one.
pub fn count_from_zero<'a>(jobs: impl Iterator<Item = &'a Definition>) {
    counter!("payoutd_scheduler_ticks_total").absolute(0);
    for job in jobs {
        let job_id = &job.job_id;
        for outcome in ["succeeded", "partial", "failed", "timed_out", "lost", "skipped"] {
            counter!("payoutd_job_runs_total", "job_id" => job_id.clone(),
                     "trigger" => "schedule", "outcome" => outcome)
            .absolute(0);
        }
        for outcome in ["acted", "skipped", "failed"] {
            counter!("payoutd_job_items_total", "job_id" => job_id.clone(), "outcome" => outcome)
                .absolute(0);
        }
        for reason in ["misfire", "misfire_window", "overlap", "paused"] {
            counter!("payoutd_job_missed_total", "job_id" => job_id.clone(), "reason" => reason)
                .absolute(0);
        }
        counter!("payoutd_job_lease_lost_total", "job_id" => job_id.clone()).absolute(0);
        counter!("payoutd_job_retries_total", "job_id" => job_id.clone()).absolute(0);
        counter!("payoutd_job_failures_total", "job_id" => job_id.clone(), "reason" => "anomaly")
            .absolute(0);
        counter!("payoutd_heartbeat_failures_total", "job_id" => job_id.clone()).absolute(0);
    }
    for outcome in ["delivered", "failed"] {
        counter!("payoutd_webhook_attempts_total", "outcome" => outcome).absolute(0);
    }
    for kind in MethodKind::ALL {
        for status in PayoutStatus::ALL {
            counter!("payoutd_payouts_total", "provider" => kind.as_str(),
                     "state" => status.as_str())
            .absolute(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_becomes_one_of_few_words() {
        for (reason, label) in [
            ("misfire: noticed too late", "misfire"),
            ("misfire_window: noticed more than 7days late", "misfire_window"),
            ("overlap: the run before it was still running", "overlap"),
            ("paused by ann: holidays", "paused"),
            ("orphaned: no replica has this job any more", "orphaned"),
        ] {
            assert_eq!(word(reason), label);
        }
    }
}
