//! Runs of jobs: what they saw and did, and what they decided about whom.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::brought::{Asked, Ids};
use super::commissions::Sum;
use super::decisions::Decision;
use super::door::Who;
use super::page::{self, Page};
use super::problem::{Problem, ProblemBody};
use crate::domain::{Gate, MoneyTotals, OrgId, RunId};
use crate::engine::{Skips, Tally};
use crate::store::{RunRow, StoreError};

/// A run of a job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    run_id: RunId,
    job_id: String,
    kind: String,
    /// `schedule`, `catchup` (made up for late), `backfill` (asked for afterwards), `manual` or
    /// `preview`.
    trigger: String,
    /// The due instant; null for a run that a person asked for.
    scheduled_for: Option<DateTime<Utc>>,
    /// `queued`, `running`, `succeeded`, `partial`, `failed`, `timed_out`, `lost`, `cancelled` or
    /// `skipped`.
    state: String,
    /// Which try it is.
    attempt: i64,
    max_attempts: i64,
    /// A run that waits starts no earlier.
    not_before: Option<DateTime<Utc>>,
    requested_by: String,
    /// Why it was asked for, or skipped.
    reason: Option<String>,
    worker_id: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    error_code: Option<String>,
    error_message: Option<String>,
    /// What it saw and did; null where it worked for several orgs, whose sums are not for one of
    /// them: its decisions about your own are.
    outcome: Option<Outcome>,
}

/// What a run saw and did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    seen: i64,
    acted: i64,
    skipped: i64,
    failed: i64,
    /// What was moved, by currency.
    amounts: Vec<Sum>,
    skipped_by_reason: Vec<Counted>,
    outcomes: Vec<Counted>,
    /// What an operator should know.
    notes: Vec<String>,
}

/// How many, and how much, of one reason.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counted {
    pub reason: String,
    pub count: u64,
    pub amounts: Vec<Sum>,
}

/// A line of a run's log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogLine {
    timestamp: DateTime<Utc>,
    message: String,
}

/// The sums of totals.
pub(super) fn sums(totals: &MoneyTotals) -> Vec<Sum> {
    totals.iter().map(Sum::of).collect()
}

impl Counted {
    pub fn of((reason, skips): (&String, &Skips)) -> Self {
        Self { reason: reason.clone(), count: skips.count, amounts: sums(&skips.amount) }
    }
}

fn tally(run: &RunRow) -> Result<Tally, StoreError> {
    let corrupt = |source| StoreError::Corrupt { id: run.run_id.to_string(), source };
    let report = run.report.as_deref().filter(|report| !report.is_empty());
    Ok(report.map(serde_json::from_str).transpose().map_err(corrupt)?.unwrap_or_default())
}

/// Whether what runs counted is about one org and no other.
pub(super) async fn is_alone(desk: &Desk, org: &OrgId) -> Result<bool, StoreError> {
    Ok(desk.engine.store.orgs().await?.iter().all(|other| other == org))
}

impl Run {
    fn of(row: RunRow, alone: bool) -> Result<Self, StoreError> {
        let outcome = if alone {
            let tally = tally(&row)?;
            Some(Outcome {
                seen: row.seen,
                acted: row.acted,
                skipped: row.skipped,
                failed: row.failed,
                amounts: sums(&tally.amounts),
                skipped_by_reason: tally.skipped.iter().map(Counted::of).collect(),
                outcomes: tally.outcomes.iter().map(Counted::of).collect(),
                notes: tally.notes,
            })
        } else {
            None
        };
        Ok(Self {
            run_id: row.run_id,
            job_id: row.job_id,
            kind: row.kind,
            trigger: row.trigger_kind,
            scheduled_for: row.scheduled_for,
            state: row.state,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            not_before: row.not_before,
            requested_by: row.requested_by,
            reason: row.reason,
            worker_id: row.worker_id,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            error_code: row.error_code,
            error_message: row.error_message.filter(|_| alone),
            outcome,
        })
    }
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct RunsQuery {
    /// Of this job alone.
    job_id: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// List runs
///
/// Newest first.
#[utoipa::path(get, path = "/runs", tag = "jobs", operation_id = "listRuns", params(RunsQuery),
    responses((status = 200, body = Page<Run>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<RunsQuery>,
) -> Result<Json<Page<Run>>, Problem> {
    let limit = page::limit(query.limit)?;
    let before = page::key(query.cursor.as_deref())?;
    let job = page::word(query.job_id.as_deref())?;
    let alone = is_alone(&desk, who.org()).await?;
    let rows = desk.engine.store.runs_history(job, &before, limit + 1).await?;
    // Of another org's job it is told that it ran, and nothing that people wrote.
    let told = |row: RunRow| match is_foreign(&desk, who.org(), &row) {
        true => RunRow { requested_by: "another org".to_owned(), reason: None, ..row },
        false => row,
    };
    let page = Page::of(rows, limit, |row| row.run_id.to_string(), |row| Run::of(told(row), alone));
    Ok(Json(page.whole()?))
}

/// Whether a run is of a job that is none of the org's business.
fn is_foreign(desk: &Desk, org: &OrgId, run: &RunRow) -> bool {
    desk.runner.catalog.job(&run.job_id).is_ok_and(|job| !job.scope.has_org(org))
}

async fn read(desk: &Desk, org: &OrgId, run: &RunId) -> Result<RunRow, Problem> {
    let row = desk.engine.store.run(run).await?.filter(|row| !is_foreign(desk, org, row));
    row.ok_or_else(|| Problem::not_found("no_run", format!("run {run} does not exist")))
}

/// Show a run
#[utoipa::path(get, path = "/runs/{runId}", tag = "jobs", operation_id = "showRun",
    params(("runId" = RunId, Path)),
    responses((status = 200, body = Run),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(run): Ids<RunId>,
) -> Result<Json<Run>, Problem> {
    let alone = is_alone(&desk, who.org()).await?;
    Ok(Json(Run::of(read(&desk, who.org(), &run).await?, alone)?))
}

/// Read a run's log
///
/// What is on record of it: when it was queued, started and ended, what it did and passed over, and
/// what an operator should know.
#[utoipa::path(get, path = "/runs/{runId}/log", tag = "jobs", operation_id = "readRunLog",
    params(("runId" = RunId, Path)),
    responses((status = 200, body = Vec<LogLine>),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn log(
    State(desk): State<Desk>,
    who: Who,
    Ids(run): Ids<RunId>,
) -> Result<Json<Vec<LogLine>>, Problem> {
    let alone = is_alone(&desk, who.org()).await?;
    Ok(Json(lines(&read(&desk, who.org(), &run).await?, alone)?))
}

fn lines(run: &RunRow, alone: bool) -> Result<Vec<LogLine>, StoreError> {
    let mut lines = Vec::new();
    let mut line = |timestamp, message: String| lines.push(LogLine { timestamp, message });
    line(run.created_at, format!("queued by {} ({})", run.requested_by, run.trigger_kind));
    if let Some(started) = run.started_at {
        let worker = run.worker_id.as_deref().unwrap_or("a worker");
        line(started, format!("started by {worker}"));
    }
    let Some(ended) = run.finished_at else { return Ok(lines) };
    if alone {
        let tally = tally(run)?;
        for (what, counts) in [("", &tally.outcomes), ("skipped: ", &tally.skipped)] {
            for (reason, skips) in counts {
                let message = format!("{what}{reason}: {} ({})", skips.count, skips.amount);
                line(ended, message);
            }
        }
        tally.notes.into_iter().for_each(|note| line(ended, format!("note: {note}")));
        if let Some(message) = &run.error_message {
            let code = run.error_code.as_deref().unwrap_or_default();
            line(ended, format!("error {code}: {message}"));
        }
    }
    let why = run.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    line(ended, format!("{}{why}", run.state));
    Ok(lines)
}

/// Which decisions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct DecisionsQuery {
    /// Those that were skipped by this gate first.
    #[param(inline)]
    gate: Option<Gate>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// List what a run decided
///
/// About each wallet of your org, by affiliate.
#[utoipa::path(get, path = "/runs/{runId}/decisions", tag = "jobs", operation_id = "listDecisions",
    params(("runId" = RunId, Path), DecisionsQuery),
    responses((status = 200, body = Page<Decision>),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn decisions(
    State(desk): State<Desk>,
    who: Who,
    Ids(run): Ids<RunId>,
    Asked(query): Asked<DecisionsQuery>,
) -> Result<Json<Page<Decision>>, Problem> {
    let limit = page::limit(query.limit)?;
    let after = page::pair(query.cursor.as_deref())?;
    let after = (after.0.as_str(), after.1.as_str());
    let gate = query.gate.map(Gate::as_str).unwrap_or_default();
    read(&desk, who.org(), &run).await?;
    let rows = desk.engine.store.decisions_page(who.org(), &run, after, gate, limit + 1).await?;
    let key = |row: &crate::store::DecisionRow| format!("{} {}", row.affiliate_id, row.currency);
    Ok(Json(Page::of(rows, limit, key, Decision::of).whole()?))
}
