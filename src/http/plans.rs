//! Plans: what a run would do, written down before, so that somebody can look at it first.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::amount::Amount;
use super::brought::{Asked, Ids, MaybeBody};
use super::door::Who;
use super::page::{self, Page};
use super::problem::{Problem, ProblemBody};
use super::runs::{Counted, is_alone, sums};
use crate::domain::{
    AffiliateId, Currency, DestinationId, Gate, MethodKind, PlanLine, ProgramId, RunId,
};
use crate::engine::{OrgPlan, PlanFunding, PlanLimit, Skips, short_hash, summary_of};
use crate::store::PlanRow;

/// What a run would do, written down, with its part in your org.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    /// Its hash: what `POST /jobs/{jobId}/run` executes it by.
    plan: String,
    /// The digits that people are shown.
    short: String,
    job_id: String,
    /// The instant that it was made for.
    planned_for: DateTime<Utc>,
    made_by: String,
    made_at: DateTime<Utc>,
    /// The run that executed it; a plan is executed once.
    run_id: Option<RunId>,
    pays: Counted,
    /// Of them those that would wait for an approval.
    needs_approval: Counted,
    /// By rail.
    by_rail: Vec<Counted>,
    /// By the first gate that fails.
    skips: Vec<Counted>,
    /// What the job and your programs may spend, and what would be asked for of it.
    limits: Vec<Limit>,
    /// What the rails would need and have; empty where they pay for other orgs too.
    funding: Vec<Funding>,
    /// Your org's wallets, by affiliate.
    data: Vec<PlannedWallet>,
    /// What asks for the next page; null on the last one.
    next_cursor: Option<String>,
}

/// What a plan says about one wallet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlanLine)]
struct PlannedWallet {
    affiliate_id: AffiliateId,
    program: ProgramId,
    currency: Currency,
    /// The period that it is paid in.
    period: String,
    /// As it stood.
    available: Amount,
    /// What is paid; null for one that is passed over.
    amount: Option<Amount>,
    method: Option<MethodKind>,
    #[schema(value_type = Option<String>)]
    destination_id: Option<DestinationId>,
    /// Why it would wait for a person.
    approval: Vec<String>,
    /// Every gate that fails; empty if it is paid.
    failing: Vec<Gate>,
}

/// A limit, and what would have been asked for of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlanLimit)]
struct Limit {
    /// As `job:auto-payout` or `program:creator`.
    holder: String,
    /// As `payouts_per_run` or `amount_per_day`.
    limit: String,
    /// Null where payouts in all currencies count.
    currency: Option<String>,
    most: String,
    /// Of a day, with what was asked for before.
    asked: String,
}

impl From<PlanLimit> for Limit {
    fn from(told: PlanLimit) -> Self {
        let PlanLimit { holder, limit, currency, most, asked } = told;
        Self { holder, limit, currency, most, asked }
    }
}

/// What a rail would need for the plan, and has.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlanFunding)]
struct Funding {
    method: String,
    currency: String,
    planned: String,
    /// What waits for the rail already, or is on its way.
    committed: String,
    /// Null if the rail cannot say.
    balance: Option<String>,
    /// By how much the balance falls short; null if it does not, or nobody knows.
    short: Option<String>,
    /// Why the rail did not say.
    problem: Option<String>,
}

/// What the plan is for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Planning {
    /// Plan for this instant; now if left out.
    planned_for: Option<DateTime<Utc>>,
}

/// Which part of a plan.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct LinesQuery {
    /// Those that are paid alone, or those that are not.
    #[param(inline)]
    which: Option<Which>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Which lines of a plan.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Which {
    Paid,
    Skipped,
}

impl From<PlanLine> for PlannedWallet {
    fn from(line: PlanLine) -> Self {
        let amount = |minor| Amount::new(minor, line.currency);
        let approval = line.pays.as_ref().map(|pays| pays.approval.clone()).unwrap_or_default();
        let approval = approval.split(',').filter(|reason| !reason.is_empty());
        Self {
            available: amount(line.available_minor),
            amount: line.pays.as_ref().map(|pays| amount(pays.amount_minor)),
            method: line.pays.as_ref().map(|pays| pays.method_kind),
            approval: approval.map(str::to_owned).collect(),
            destination_id: line.pays.map(|pays| pays.destination_id),
            affiliate_id: line.affiliate_id,
            program: line.program_id,
            currency: line.currency,
            period: line.period,
            failing: line.failing,
        }
    }
}

impl From<PlanFunding> for Funding {
    fn from(told: PlanFunding) -> Self {
        let PlanFunding { rail, currency, planned, committed, balance, short, problem } = told;
        Self { method: rail, currency, planned, committed, balance, short, problem }
    }
}

fn counted(reason: &str, skips: &Skips) -> Counted {
    Counted { reason: reason.to_owned(), count: skips.count, amounts: sums(&skips.amount) }
}

async fn shown(desk: &Desk, who: &Who, plan: PlanRow, query: &LinesQuery) -> Result<Plan, Problem> {
    let limit = page::limit(query.limit)?;
    let after = page::pair(query.cursor.as_deref())?;
    let which = match query.which {
        None => "",
        Some(Which::Paid) => "paid",
        Some(Which::Skipped) => "skipped",
    };
    let (store, org) = (&desk.engine.store, who.org());
    let after = (after.0.as_str(), after.1.as_str());
    let rows = store.plan_lines(org, &plan.plan_id, after, which, limit + 1).await?;
    let key = |line: &PlanLine| format!("{} {}", line.affiliate_id, line.currency);
    let page = Page::of(rows, limit, key, PlannedWallet::from);
    let mut summary = summary_of(&plan)?;
    let funding = if is_alone(desk, org).await? { summary.funding } else { Vec::new() };
    let OrgPlan { pays, needs_approval, rails, skipped, limits } =
        summary.orgs.remove(org).unwrap_or_default();
    Ok(Plan {
        short: short_hash(&plan.plan_hash).to_owned(),
        plan: plan.plan_hash,
        job_id: plan.job_id,
        planned_for: plan.planned_for,
        made_by: plan.made_by,
        made_at: plan.made_at,
        run_id: plan.run_id,
        pays: counted("paid", &pays),
        needs_approval: counted("approval", &needs_approval),
        by_rail: rails.iter().map(|(rail, skips)| counted(rail, skips)).collect(),
        skips: skipped.iter().map(Counted::of).collect(),
        limits: limits.into_iter().map(Limit::from).collect(),
        funding: funding.into_iter().map(Funding::from).collect(),
        data: page.data,
        next_cursor: page.next_cursor,
    })
}

/// Plan a run
///
/// For jobs that request payouts: what a run would do is written down and named by a hash. Nothing
/// is paid. The same plan made twice is one plan.
#[utoipa::path(post, path = "/jobs/{jobId}/plan", tag = "jobs", operation_id = "planJob",
    params(("jobId" = String, Path)), request_body = Option<Planning>,
    responses((status = 201, body = Plan),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "It is a job of another kind.")))]
pub(super) async fn make(
    State(desk): State<Desk>,
    who: Who,
    Ids(job): Ids<String>,
    MaybeBody(planning): MaybeBody<Planning>,
) -> Result<(StatusCode, Json<Plan>), Problem> {
    let instant = planning.unwrap_or_default().planned_for;
    let plan = desk.runner.plan_now(&who.work(), who.org(), (&job, instant)).await?;
    let query = LinesQuery { which: None, limit: None, cursor: None };
    Ok((StatusCode::CREATED, Json(shown(&desk, &who, plan, &query).await?)))
}

/// Show a plan
///
/// By its hash, or the first digits of it (at least 8): the totals of your org and its wallets.
#[utoipa::path(get, path = "/plans/{hash}", tag = "jobs", operation_id = "showPlan",
    params(("hash" = String, Path, min_length = 8, max_length = 64, pattern = "^[0-9a-f]+$"),
           LinesQuery),
    responses((status = 200, body = Plan),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "Several plans begin with it."),
        (status = 422, body = ProblemBody, content_type = "application/problem+json",
         description = "It is no hash.")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(hash): Ids<String>,
    Asked(query): Asked<LinesQuery>,
) -> Result<Json<Plan>, Problem> {
    let plan = desk.engine.find_plan(&hash).await?;
    let job = desk.runner.catalog.job(&plan.job_id);
    if job.is_ok_and(|job| !job.scope.has_org(who.org())) {
        return Err(Problem::not_found("no_plan", format!("there is no plan {hash} for this org")));
    }
    Ok(Json(shown(&desk, &who, plan, &query).await?))
}
