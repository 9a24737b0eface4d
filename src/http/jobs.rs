//! Jobs: what runs when; run one now, see what it would do, pause and resume its schedule.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::amount::Amount;
use super::brought::{Asked, Body, Ids, MaybeBody, checked_text};
use super::decisions::Check;
use super::door::Who;
use super::page::{self, Page, PageQuery};
use super::problem::{Problem, ProblemBody};
use super::runs::{Counted, sums};
use crate::domain::{AffiliateId, Currency, OrgId, ProgramId, RunId};
use crate::engine::{EngineError, Preview, Skips, Tally};
use crate::jobs::{Definition, Due, JobError, JobStanding};

/// The most instants that are listed.
const MOST_INSTANTS: i64 = 100;

/// A job and its schedule.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    job_id: String,
    kind: String,
    description: String,
    /// Whether its schedule runs; a person may run it all the same.
    enabled: bool,
    schedule: String,
    timezone: String,
    /// The next due instant; null while it is off or paused.
    next_run_at: Option<DateTime<Utc>>,
    /// Who paused it, when and why; null while it runs.
    paused: Option<Pause>,
    /// The latest run.
    last_run: Option<LastRun>,
    /// When a run of it last succeeded.
    last_success_at: Option<DateTime<Utc>>,
    /// Instants that were skipped in the last seven days, by reason.
    missed: Vec<Missed>,
    /// Whether the processes that run jobs hold different definitions of it.
    definition_drift: bool,
}

/// Instants that were skipped for one reason.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Missed {
    /// `misfire`, `misfire_window`, `overlap`, `paused` or `other`.
    reason: String,
    count: i64,
}

/// A schedule that is stopped.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Pause {
    reason: String,
    paused_by: String,
    paused_at: DateTime<Utc>,
}

/// How a job's latest run went.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LastRun {
    run_id: RunId,
    state: String,
    finished_at: Option<DateTime<Utc>>,
}

/// Every job of the installation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Jobs {
    data: Vec<Job>,
}

/// A due instant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DueInstant {
    utc: DateTime<Utc>,
    /// The same in the job's own time zone.
    #[schema(format = DateTime)]
    local: String,
}

/// Why a schedule is stopped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Pausing {
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    reason: String,
}

/// How a job is run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Running {
    /// The hash of the plan to execute, or the first digits of it (at least 8).
    #[schema(min_length = 8, max_length = 64, pattern = "^[0-9a-f]+$")]
    plan: Option<String>,
}

/// A run that waits for a worker.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueuedRun {
    run_id: RunId,
    #[schema(value_type = String, example = "queued")]
    state: &'static str,
}

/// What a run would decide now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DryRun {
    job_id: String,
    /// The period that its payouts would belong to.
    period: String,
    would_pay: Counted,
    /// By the first gate that fails.
    would_skip: Vec<Counted>,
    data: Vec<Would>,
    /// What asks for the next page; null on the last one.
    next_cursor: Option<String>,
}

/// What a run would decide about one wallet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Would {
    affiliate_id: AffiliateId,
    program: ProgramId,
    currency: Currency,
    available: Amount,
    would_be_paid: bool,
    failing: Vec<Check>,
}

impl From<JobError> for Problem {
    fn from(cause: JobError) -> Self {
        let words = cause.to_string();
        match cause {
            JobError::Engine(error) => error.into(),
            JobError::Catalog(_) => Self::not_found("no_job", words),
            JobError::Shared { .. } => Self::forbidden("shared_job", words),
            JobError::UnderWay { .. } => Self::conflict("under_way", words),
            JobError::Paused { .. } => Self::conflict("already_paused", words),
            JobError::NotPaused { .. } => Self::conflict("not_paused", words),
            JobError::NoRun { .. } => Self::not_found("no_run", words),
            JobError::WrongState { .. } => Self::conflict("wrong_state", words),
            JobError::BadSpan(_) => Self::meaningless("bad_span", words),
            JobError::NotPlanned(_) => Self::conflict("no_dry_run", words),
        }
    }
}

/// The job of an id, if it is any business of the org.
fn known<'a>(desk: &'a Desk, org: &OrgId, job_id: &str) -> Result<&'a Definition, Problem> {
    let job = desk.runner.catalog.job(job_id).map_err(JobError::from)?;
    if job.scope.has_org(org) {
        return Ok(job);
    }
    Err(Problem::not_found("no_job", format!("there is no job \"{job_id}\" for this org")))
}

fn shown(job: &Definition, standing: JobStanding) -> Job {
    Job {
        job_id: job.job_id.clone(),
        kind: job.kind.as_str().to_owned(),
        description: job.description.clone(),
        enabled: job.enabled,
        schedule: job.schedule.pattern().to_owned(),
        timezone: job.schedule.zone().name().to_owned(),
        next_run_at: standing.next_run_at,
        paused: standing.pause.map(|pause| Pause {
            reason: pause.reason,
            paused_by: pause.paused_by,
            paused_at: pause.paused_at,
        }),
        last_run: standing.last.map(|run| LastRun {
            run_id: run.run_id,
            state: run.state,
            finished_at: run.finished_at,
        }),
        last_success_at: standing.last_success_at,
        missed: standing
            .missed
            .into_iter()
            .map(|(reason, count)| Missed { reason, count })
            .collect(),
        definition_drift: standing.drifts,
    }
}

/// List jobs
#[utoipa::path(get, path = "/jobs", tag = "jobs", operation_id = "listJobs",
    responses((status = 200, body = Jobs)))]
pub(super) async fn list(State(desk): State<Desk>, who: Who) -> Result<Json<Jobs>, Problem> {
    let standings = desk.runner.standings().await?;
    let jobs = desk.runner.catalog.iter().zip(standings);
    let jobs = jobs.filter(|(job, _)| job.scope.has_org(who.org()));
    Ok(Json(Jobs { data: jobs.map(|(job, standing)| shown(job, standing)).collect() }))
}

/// Show a job
#[utoipa::path(get, path = "/jobs/{jobId}", tag = "jobs", operation_id = "showJob",
    params(("jobId" = String, Path)),
    responses((status = 200, body = Job),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(job): Ids<String>,
) -> Result<Json<Job>, Problem> {
    let job = known(&desk, who.org(), &job)?;
    Ok(Json(shown(job, desk.runner.standing(job).await?)))
}

/// How many instants.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct NextQuery {
    /// How many.
    #[param(minimum = 1, maximum = 100, default = 5)]
    n: Option<i64>,
}

/// List a job's next instants
///
/// As its schedule has them, whether it is on or not.
#[utoipa::path(get, path = "/jobs/{jobId}/next", tag = "jobs", operation_id = "listInstants",
    params(("jobId" = String, Path), NextQuery),
    responses((status = 200, body = Vec<DueInstant>),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn next(
    State(desk): State<Desk>,
    who: Who,
    Ids(job): Ids<String>,
    Asked(query): Asked<NextQuery>,
) -> Result<Json<Vec<DueInstant>>, Problem> {
    let count = query.n.unwrap_or(5);
    if !(1..=MOST_INSTANTS).contains(&count) {
        let detail = format!("n is {count}: it may be 1 to {MOST_INSTANTS}");
        return Err(Problem::unreadable("bad_limit", detail));
    }
    let schedule = &known(&desk, who.org(), &job)?.schedule;
    let instants = schedule.upcoming(desk.engine.clock.now());
    let due = |due: Due| DueInstant { utc: due.utc, local: due.local.to_rfc3339() };
    Ok(Json(instants.take(usize::try_from(count).unwrap_or(1)).map(due).collect()))
}

/// Run a job now
///
/// QueuedRun for the next worker that looks, enabled or not. While a run of it waits or runs there is
/// no second one. With a plan it does exactly what the plan says, once; a plan that the world has
/// left behind is refused, and `errors` names what differs.
#[utoipa::path(post, path = "/jobs/{jobId}/run", tag = "jobs", operation_id = "runJob",
    params(("jobId" = String, Path)), request_body = Option<Running>,
    responses((status = 202, body = QueuedRun),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "A run of it waits or runs, or the plan is stale or executed.")))]
pub(super) async fn run(
    State(desk): State<Desk>,
    who: Who,
    Ids(job): Ids<String>,
    MaybeBody(running): MaybeBody<Running>,
) -> Result<(StatusCode, Json<QueuedRun>), Problem> {
    let plan = running.and_then(|running| running.plan);
    let asked = (job.as_str(), plan.as_deref());
    let run_id = desk.runner.queue_now(&who.work(), who.org(), asked).await?;
    Ok((StatusCode::ACCEPTED, Json(QueuedRun { run_id, state: "queued" })))
}

/// See what a job would do
///
/// For jobs that request payouts: who would be paid now, who would not and why. Nothing is written.
#[utoipa::path(post, path = "/jobs/{jobId}/dry-run", tag = "jobs", operation_id = "dryRunJob",
    params(("jobId" = String, Path), PageQuery),
    responses((status = 200, body = DryRun),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "It is a job of another kind.")))]
pub(super) async fn dry_run(
    State(desk): State<Desk>,
    who: Who,
    Ids(job): Ids<String>,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<DryRun>, Problem> {
    let limit = page::limit(query.limit)?;
    let after = page::pair(query.cursor.as_deref())?;
    let job = known(&desk, who.org(), &job)?;
    let now = desk.engine.clock.now();
    let Some(ask) = desk.runner.plan_ask(job, now, &who.work().actor) else {
        let detail = "only a job that requests payouts can say beforehand what it would do";
        return Err(Problem::conflict("no_dry_run", detail));
    };
    let (mut tally, mut rows) = (Tally::default(), Vec::new());
    if job.scope.has_org(who.org()) {
        let see = |one: Preview| -> Result<(), EngineError> {
            match one.failing.first() {
                None => tally.act(one.available)?,
                Some(check) => tally.skip(check.gate.as_str(), one.available)?,
            }
            let key = (one.affiliate_id.as_str(), one.available.currency.code());
            if key > (after.0.as_str(), after.1.as_str()) && rows.len() as i64 <= limit {
                rows.push(one);
            }
            Ok(())
        };
        desk.engine.preview_automatic(who.org(), &ask.rules, see).await?;
    }
    let key = |one: &Preview| format!("{} {}", one.affiliate_id, one.available.currency);
    let page = Page::of(rows, limit, key, would);
    let paid = Skips { count: tally.acted, amount: tally.amounts.clone() };
    Ok(Json(DryRun {
        job_id: job.job_id.clone(),
        period: ask.rules.periods.of(None).key,
        would_pay: Counted {
            reason: "paid".into(),
            count: paid.count,
            amounts: sums(&paid.amount),
        },
        would_skip: tally.skipped.iter().map(Counted::of).collect(),
        data: page.data,
        next_cursor: page.next_cursor,
    }))
}

fn would(one: Preview) -> Would {
    Would {
        affiliate_id: one.affiliate_id,
        program: one.program_id,
        currency: one.available.currency,
        available: Amount(one.available),
        would_be_paid: one.failing.is_empty(),
        failing: one.failing.into_iter().map(Check::from).collect(),
    }
}

/// Pause a job
///
/// Its schedule stops, on every replica, until somebody resumes it; what falls due meanwhile is on
/// record as skipped, with the reason.
#[utoipa::path(post, path = "/jobs/{jobId}/pause", tag = "jobs", operation_id = "pauseJob",
    params(("jobId" = String, Path)), request_body = Pausing,
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "It is paused already.")))]
pub(super) async fn pause(
    State(desk): State<Desk>,
    who: Who,
    Ids(job): Ids<String>,
    Body(pausing): Body<Pausing>,
) -> Result<StatusCode, Problem> {
    let reason = checked_text("reason", pausing.reason)?;
    desk.runner.pause(&who.work(), who.org(), (&job, &reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Resume a job
#[utoipa::path(post, path = "/jobs/{jobId}/resume", tag = "jobs", operation_id = "resumeJob",
    params(("jobId" = String, Path)),
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "It is not paused.")))]
pub(super) async fn resume(
    State(desk): State<Desk>,
    who: Who,
    Ids(job): Ids<String>,
) -> Result<StatusCode, Problem> {
    desk.runner.resume(&who.work(), who.org(), &job).await?;
    Ok(StatusCode::NO_CONTENT)
}
