//! Affiliates: staff enrol, change and suspend them, and ask why one was paid or not.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::amount::Amount;
use super::brought::{Asked, Body, Ids, checked_text};
use super::decisions::{Check, Decision};
use super::door::Who;
use super::page::{self, Page};
use super::problem::{Problem, ProblemBody};
use crate::domain::{
    AffiliateId, AffiliateStatus, ApprovalReason, Currency, OrgId, PartnerId, ProgramId,
};
use crate::engine::{AffiliateChange, EngineError, WalletExplanation};
use crate::store::{AffiliateFilter, AffiliateStand, DecisionRow, StoreError};

/// One person's enrolment in one program.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Affiliate {
    affiliate_id: AffiliateId,
    program: ProgramId,
    /// The person behind it: the `sub` of their token.
    partner_id: PartnerId,
    name: String,
    email: String,
    code: String,
    /// Only an active one is paid.
    status: AffiliateStatus,
    created_at: DateTime<Utc>,
}

/// A new enrolment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BroughtAffiliate {
    /// Yours: sent again with the same content, nothing changes.
    affiliate_id: AffiliateId,
    program: ProgramId,
    /// The person behind it: the `sub` of their token.
    partner_id: PartnerId,
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    name: String,
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    email: String,
    /// What buyers name at the checkout.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    code: String,
    /// `active` if left out.
    status: Option<AffiliateStatus>,
}

/// What changes; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AffiliatePatch {
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    name: Option<String>,
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    email: Option<String>,
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    code: Option<String>,
    /// `suspended` goes on earning and is not paid.
    status: Option<AffiliateStatus>,
}

impl From<AffiliateStand> for Affiliate {
    fn from(row: AffiliateStand) -> Self {
        Self {
            affiliate_id: row.affiliate_id,
            program: row.program_id,
            partner_id: row.partner_id,
            name: row.name,
            email: row.email,
            code: row.code,
            status: row.status,
            created_at: row.created_at,
        }
    }
}

async fn read(desk: &Desk, org: &OrgId, affiliate_id: AffiliateId) -> Result<Affiliate, Problem> {
    let row = desk.engine.store.affiliate(org, &affiliate_id).await?;
    Ok(row.ok_or(EngineError::NoAffiliate { affiliate_id })?.into())
}

/// Enrol an affiliate
///
/// Sent again with the same content, it answers 200 and changes nothing.
#[utoipa::path(post, path = "/affiliate/affiliates", tag = "affiliates",
    operation_id = "createAffiliate", request_body = BroughtAffiliate,
    responses((status = 201, body = Affiliate), (status = 200, body = Affiliate),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "The id exists with other content.")))]
pub(super) async fn create(
    State(desk): State<Desk>,
    who: Who,
    Body(brought): Body<BroughtAffiliate>,
) -> Result<Response, Problem> {
    let new = AffiliateStand {
        affiliate_id: brought.affiliate_id,
        program_id: brought.program,
        partner_id: brought.partner_id,
        name: checked_text("name", brought.name)?,
        email: checked_text("email", brought.email)?,
        code: checked_text("code", brought.code)?,
        status: brought.status.unwrap_or(AffiliateStatus::Active),
        created_at: desk.engine.clock.now(),
    };
    let made = match desk.engine.create_affiliate(&who.work(), who.org(), &new).await {
        // It is the body that names it, so the path is right.
        Err(unknown @ EngineError::UnknownProgram { .. }) => {
            return Err(Problem::meaningless("no_program", unknown.to_string()));
        }
        made => made?,
    };
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(read(&desk, who.org(), new.affiliate_id).await?)).into_response())
}

/// Which affiliates.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct AffiliatesQuery {
    program: Option<String>,
    /// The person behind them.
    partner_id: Option<String>,
    #[param(inline)]
    status: Option<AffiliateStatus>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// List affiliates
#[utoipa::path(get, path = "/affiliate/affiliates", tag = "affiliates",
    operation_id = "listAffiliates", params(AffiliatesQuery),
    responses((status = 200, body = Page<Affiliate>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<AffiliatesQuery>,
) -> Result<Json<Page<Affiliate>>, Problem> {
    let limit = page::limit(query.limit)?;
    let filter = AffiliateFilter {
        program: page::word(query.program.as_deref())?.to_owned(),
        partner: page::word(query.partner_id.as_deref())?.to_owned(),
        status: query.status.map(|status| status.to_string()).unwrap_or_default(),
        after: page::key(query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let rows = desk.engine.store.affiliates(who.org(), &filter).await?;
    Ok(Json(Page::of(rows, limit, |row| row.affiliate_id.to_string(), Affiliate::from)))
}

/// Show an affiliate
#[utoipa::path(get, path = "/affiliate/affiliates/{affiliateId}", tag = "affiliates",
    operation_id = "showAffiliate", params(("affiliateId" = AffiliateId, Path)),
    responses((status = 200, body = Affiliate),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(affiliate): Ids<AffiliateId>,
) -> Result<Json<Affiliate>, Problem> {
    Ok(Json(read(&desk, who.org(), affiliate).await?))
}

/// Change or suspend an affiliate
#[utoipa::path(patch, path = "/affiliate/affiliates/{affiliateId}", tag = "affiliates",
    operation_id = "changeAffiliate", params(("affiliateId" = AffiliateId, Path)),
    request_body = AffiliatePatch,
    responses((status = 200, body = Affiliate),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(desk): State<Desk>,
    who: Who,
    Ids(affiliate): Ids<AffiliateId>,
    Body(patch): Body<AffiliatePatch>,
) -> Result<Json<Affiliate>, Problem> {
    let checked = |field, text: Option<String>| text.map(|t| checked_text(field, t)).transpose();
    let change = AffiliateChange {
        name: checked("name", patch.name)?,
        email: checked("email", patch.email)?,
        code: checked("code", patch.code)?,
        status: patch.status,
    };
    desk.engine.change_affiliate(&who.work(), who.org(), &affiliate, &change).await?;
    Ok(Json(read(&desk, who.org(), affiliate).await?))
}

/// Why an affiliate is paid or not, and what is expected next.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explained {
    affiliate_id: AffiliateId,
    /// The job that pays automatically, if one does.
    job: Option<Payer>,
    /// The instant that it is told for: when the job is due next, or now.
    as_of: DateTime<Utc>,
    /// What is taken for granted.
    assumptions: Vec<String>,
    wallets: Vec<WalletExplained>,
    /// The latest decisions about it, newest first.
    decisions: Vec<DecisionExplained>,
}

/// The job that pays automatically.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Payer {
    job_id: String,
    enabled: bool,
    /// When its next run is due; null while it is off or paused.
    next_due: Option<DateTime<Utc>>,
    /// Why there is no next run.
    why_none: Option<String>,
    /// The zone that its schedule is read in.
    timezone: String,
}

/// One wallet, held against every gate as if the schedule ran at the instant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WalletExplained {
    currency: Currency,
    program: ProgramId,
    /// Now.
    available: Amount,
    /// What is held now, and will have been released by then.
    released_by_then: Amount,
    /// What a run would ask for.
    expected: Amount,
    /// The period that it would be paid in; null if no job pays.
    period: Option<String>,
    /// Whether the job is about this wallet at all.
    in_scope: bool,
    would_be_paid: bool,
    /// Why the payout would wait for a person; empty if it would not.
    #[schema(value_type = Vec<String>)]
    approval: Vec<ApprovalReason>,
    gates: Vec<Check>,
}

/// What a run decided, and for which instant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DecisionExplained {
    #[serde(flatten)]
    decision: Decision,
    /// The due instant of its run; null for one that a person started.
    scheduled_for: Option<DateTime<Utc>>,
}

impl From<WalletExplanation> for WalletExplained {
    fn from(wallet: WalletExplanation) -> Self {
        Self {
            currency: wallet.available.currency,
            would_be_paid: wallet.would_be_paid(),
            program: wallet.program_id,
            available: Amount(wallet.available),
            released_by_then: Amount(wallet.released_by_then),
            expected: Amount(wallet.expected),
            period: wallet.period,
            in_scope: wallet.in_scope,
            approval: wallet.approval,
            gates: wallet.gates.into_iter().map(Check::from).collect(),
        }
    }
}

/// Why was this affiliate paid, or not?
///
/// The job that pays and when it is due next, what it is expected to ask for then, each gate with its
/// numbers as of that instant, and the latest decisions.
#[utoipa::path(get, path = "/affiliate/{affiliateId}/explain", tag = "affiliates",
    operation_id = "explainAffiliate", params(("affiliateId" = AffiliateId, Path)),
    responses((status = 200, body = Explained),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn explain(
    State(desk): State<Desk>,
    who: Who,
    Ids(affiliate_id): Ids<AffiliateId>,
) -> Result<Json<Explained>, Problem> {
    let (outlook, explained) = desk.runner.explain(who.org(), &affiliate_id).await?;
    let decision = |row: DecisionRow| {
        let scheduled_for = row.scheduled_for;
        Ok::<_, StoreError>(DecisionExplained { decision: Decision::of(row)?, scheduled_for })
    };
    let decisions = explained.decisions.into_iter().map(decision);
    Ok(Json(Explained {
        affiliate_id,
        job: outlook.map(|job| Payer {
            job_id: job.job_id,
            enabled: job.enabled,
            next_due: job.next_due,
            why_none: job.why_none,
            timezone: job.timezone,
        }),
        as_of: explained.as_of,
        assumptions: explained.assumptions.into_iter().map(str::to_owned).collect(),
        wallets: explained.wallets.into_iter().map(WalletExplained::from).collect(),
        decisions: decisions.collect::<Result<_, _>>()?,
    }))
}
