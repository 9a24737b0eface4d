//! What a person asks of runs: missed instants run after all, one run again, or no further.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::brought::{Body, Ids, checked_text};
use super::door::Who;
use super::problem::{Problem, ProblemBody};
use super::schemas::Whole;
use crate::domain::RunId;
use crate::jobs::{Backfill, Backfilled};

/// Instants that are made up for at once unless more are asked for.
const FEW: usize = 10;

/// Which instants are to be made up for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Backfilling {
    /// The first instant, itself included.
    from: DateTime<Utc>,
    /// The last instant, itself included; it has to be over.
    to: DateTime<Utc>,
    /// More instants than this are refused.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1000, default = 10)]
    max: Option<Whole>,
    /// Whether to say what would run, and do nothing.
    #[serde(default)]
    dry_run: bool,
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    reason: String,
}

/// What became of each instant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackfillOutcome {
    data: Vec<MadeUp>,
}

/// An instant that was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MadeUp {
    scheduled_for: DateTime<Utc>,
    /// `queued` where there was no run, `reopened` where one did not take place or failed, `left`
    /// where one succeeded, waits or runs.
    outcome: String,
    /// The state of the run that there was; null where there was none.
    was: Option<String>,
    /// Its run; null for one that would be made.
    run_id: Option<RunId>,
}

/// Why something is done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RunReason {
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    reason: String,
}

impl From<Backfilled> for MadeUp {
    fn from(one: Backfilled) -> Self {
        let Backfilled { scheduled_for, outcome, was, run_id } = one;
        Self { scheduled_for, outcome: outcome.to_owned(), was, run_id }
    }
}

/// Make up for missed instants
///
/// Runs each due instant of a span that has no run, or whose run did not take place or failed, one
/// after the other beside the schedule. Repeated, it changes nothing.
#[utoipa::path(post, path = "/jobs/{jobId}/backfill", tag = "jobs", operation_id = "backfillJob",
    params(("jobId" = String, Path)), request_body = Backfilling,
    responses((status = 200, body = BackfillOutcome),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn backfill(
    State(desk): State<Desk>,
    who: Who,
    Ids(job): Ids<String>,
    Body(asked): Body<Backfilling>,
) -> Result<Json<BackfillOutcome>, Problem> {
    let asked = Backfill {
        from: asked.from,
        upto: asked.to,
        max: asked.max.map_or(FEW, |Whole(max)| usize::try_from(max).unwrap_or(0)),
        reason: Some(checked_text("reason", asked.reason)?),
        dry_run: asked.dry_run,
    };
    let (work, org) = (who.work(), who.org());
    let outcomes = desk.runner.backfill((&work, Some(org)), &job, &asked).await?;
    Ok(Json(BackfillOutcome { data: outcomes.into_iter().map(MadeUp::from).collect() }))
}

/// End a run
///
/// One that waits or runs. Whoever has it in hand writes nothing more; what was sent is found by
/// reconcile.
#[utoipa::path(post, path = "/runs/{runId}/cancel", tag = "jobs", operation_id = "cancelRun",
    params(("runId" = RunId, Path)), request_body = RunReason,
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "It is over.")))]
pub(super) async fn cancel(
    State(desk): State<Desk>,
    who: Who,
    Ids(run): Ids<RunId>,
    Body(why): Body<RunReason>,
) -> Result<StatusCode, Problem> {
    let reason = checked_text("reason", why.reason)?;
    desk.runner.cancel_run((&who.work(), Some(who.org())), &run, Some(&reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Try a run again
///
/// One that failed, was lost, cancelled or done in part, as its next attempt.
#[utoipa::path(post, path = "/runs/{runId}/retry", tag = "jobs", operation_id = "retryRun",
    params(("runId" = RunId, Path)), request_body = RunReason,
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "It succeeded, waits, runs, or never began.")))]
pub(super) async fn retry(
    State(desk): State<Desk>,
    who: Who,
    Ids(run): Ids<RunId>,
    Body(why): Body<RunReason>,
) -> Result<StatusCode, Problem> {
    let reason = checked_text("reason", why.reason)?;
    desk.runner.retry_run((&who.work(), Some(who.org())), &run, Some(&reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}
