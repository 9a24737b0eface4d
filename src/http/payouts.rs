//! Payouts: lists and one, as partners see their own and staff see all.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::amount::Amount;
use super::brought::{Asked, Ids};
use super::door::Who;
use super::me::partner;
use super::page::{self, Page, PageQuery};
use super::problem::{Problem, ProblemBody};
use super::schemas::Instant;
use crate::domain::{
    AffiliateId, CommissionId, Currency, MethodKind, PayoutId, PayoutOrigin, PayoutStatus,
    ProgramId, TransferState,
};
use crate::engine::EngineError;
use crate::store::{AttemptRow, EventRow, LineRow, PayoutQuery, PayoutRow};

/// Lines that are shown with a payout; the others come in pages.
const LINES_SHOWN: i64 = 100;
/// Before and after everything that was ever requested.
const FIRST: &str = "0001-01-01T00:00:00Z";
const LAST: &str = "9999-12-31T23:59:59Z";

/// A payout: one affiliate's money asked out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payout {
    payout_id: PayoutId,
    status: PayoutStatus,
    amount: Amount,
    currency: Currency,
    method: MethodKind,
    source: Source,
    note: Option<String>,
    origin: PayoutOrigin,
    /// The period that an automatic payout belongs to, as `2026-W47`.
    period: Option<String>,
    /// The first instant of the period, in its program's time zone.
    period_from: Option<DateTime<Utc>>,
    /// The first instant after the period.
    period_until: Option<DateTime<Utc>>,
    /// The failed payout whose place it takes.
    retry_of: Option<PayoutId>,
    /// The payout that took its place.
    retried_as: Option<PayoutId>,
    /// It is not sent before somebody approved it.
    requires_approval: bool,
    /// Why: `above_limit`, `first_payout`, `changed_method`; empty if nobody has to.
    approval_reasons: Vec<String>,
    approved_at: Option<DateTime<Utc>>,
    /// Who approved it; partners see what sort of caller it was.
    approved_by: Option<String>,
    /// Who asked; partners see what sort of caller it was.
    requested_by: String,
    requested_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Why it is not sent yet, where that is not the payee's doing.
    waiting_for: Option<String>,
    failure_code: Option<String>,
    failure_message: Option<String>,
}

/// Whose money it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Source {
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "affiliate")]
    kind: &'static str,
    affiliate_id: AffiliateId,
    program: ProgramId,
}

/// A payout with its story.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PayoutStory {
    #[serde(flatten)]
    payout: Payout,
    /// Every status that it has had, oldest first.
    history: Vec<Change>,
    /// What it pays; the first hundred, and `GET …/lines` has all.
    lines: Vec<Line>,
    /// The attempts to move its money; for staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    transfers: Option<Vec<Transfer>>,
}

/// A status that a payout has had.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Change {
    status: PayoutStatus,
    timestamp: DateTime<Utc>,
    /// Who did it; partners see what sort of caller it was.
    actor: String,
    /// Why; for staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
}

/// What a payout pays: a commission or a part of one, or an adjustment. Below 0 it nets a debt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    line: i64,
    commission_id: Option<CommissionId>,
    adjustment_id: Option<String>,
    amount: Amount,
}

/// An attempt to move a payout's money.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Transfer {
    transfer_id: String,
    /// What it is called towards the provider.
    reference: String,
    state: TransferState,
    provider_id: Option<String>,
    provider_status: Option<String>,
    provider_batch_id: Option<String>,
    problem_code: Option<String>,
    problem_message: Option<String>,
    note: Option<String>,
    created_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
    next_check_at: Option<DateTime<Utc>>,
    next_attempt_at: Option<DateTime<Utc>>,
}

impl Payout {
    /// The payout as `who` may see it.
    pub fn of(row: PayoutRow, who: &Who) -> Self {
        // The words of staff among themselves are not for the payee.
        let inside = who.caller.is_only_partner() && row.status == PayoutStatus::Cancelled;
        let reasons = row.approval_reasons().into_iter().map(str::to_owned).collect();
        Self {
            payout_id: row.payout_id,
            status: row.status,
            amount: Amount::new(row.amount_minor, row.currency),
            currency: row.currency,
            method: row.method_kind,
            source: Source {
                kind: "affiliate",
                affiliate_id: row.affiliate_id,
                program: row.program_id,
            },
            note: row.note,
            origin: row.origin,
            period: row.period,
            period_from: row.period_from,
            period_until: row.period_until,
            retry_of: row.retry_of,
            retried_as: row.retried_as,
            approval_reasons: reasons,
            requires_approval: row.requires_approval == 1,
            approved_at: row.approved_at,
            approved_by: row.approved_by.map(|actor| shown_actor(&actor, who)),
            requested_by: shown_actor(&row.requested_by, who),
            requested_at: row.requested_at,
            updated_at: row.updated_at,
            waiting_for: row.waiting_for,
            failure_code: row.failure_code,
            failure_message: row.failure_message.filter(|_| !inside),
        }
    }
}

/// Staff see who it was; partners see themselves, and of others the sort of caller.
fn shown_actor(actor: &str, who: &Who) -> String {
    if !who.caller.is_only_partner() || actor == who.caller.actor().as_str() {
        return actor.to_owned();
    }
    actor.split(':').next().unwrap_or_default().to_owned()
}

impl Change {
    fn of(row: EventRow, who: &Who) -> Self {
        Self {
            status: row.status,
            timestamp: row.occurred_at,
            actor: shown_actor(&row.actor, who),
            notes: (!who.caller.is_only_partner()).then_some(row.reason),
        }
    }
}

impl Line {
    fn of(row: LineRow, currency: Currency) -> Self {
        Self {
            line: row.line_no,
            commission_id: row.commission_id,
            adjustment_id: row.adjustment_id.map(|id| id.to_string()),
            amount: Amount::new(row.amount_minor, currency),
        }
    }
}

impl From<AttemptRow> for Transfer {
    fn from(row: AttemptRow) -> Self {
        Self {
            transfer_id: row.transfer_id.to_string(),
            reference: row.reference.to_string(),
            state: row.state,
            provider_id: row.provider_id,
            provider_status: row.provider_status,
            provider_batch_id: row.provider_batch_id,
            problem_code: row.problem_code.or(row.submission_problem_code),
            problem_message: row.problem_message.or(row.submission_problem_message),
            note: row.note,
            created_at: row.created_at,
            settled_at: row.settled_at,
            next_check_at: row.next_check_at,
            next_attempt_at: row.next_attempt_at,
        }
    }
}

/// Which payouts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct PayoutsQuery {
    /// Of this affiliate. Partners see their own, whatever they ask for.
    #[serde(rename = "source.affiliateId")]
    #[param(rename = "source.affiliateId")]
    affiliate_id: Option<String>,
    #[param(inline)]
    status: Option<PayoutStatus>,
    program: Option<String>,
    /// Requested at this instant or later; a day is its first instant in UTC.
    #[param(inline)]
    from: Option<Instant>,
    /// Requested before this instant.
    #[param(inline)]
    to: Option<Instant>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// List payouts
///
/// Newest first. Partners see their own, whatever they ask for.
#[utoipa::path(get, path = "/finance/payouts", tag = "payouts", operation_id = "listPayouts",
    params(PayoutsQuery), responses((status = 200, body = Page<Payout>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<PayoutsQuery>,
) -> Result<Json<Page<Payout>>, Problem> {
    let limit = page::limit(query.limit)?;
    let edge = |text: &str| text.parse().expect("an instant");
    let asked = PayoutQuery {
        partner: who.caller.is_only_partner().then(|| partner(&who)).transpose()?,
        affiliate_id: page::word(query.affiliate_id.as_deref())?.to_owned(),
        status: query.status.map(|status| status.to_string()).unwrap_or_default(),
        program: page::word(query.program.as_deref())?.to_owned(),
        from: query.from.map_or_else(|| edge(FIRST), |at| at.0),
        to: query.to.map_or_else(|| edge(LAST), |at| at.0),
        before: page::key(query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let rows = desk.engine.store.payouts_newest(who.org(), &asked).await?;
    let key = |row: &PayoutRow| row.payout_id.to_string();
    Ok(Json(Page::of(rows, limit, key, |row| Payout::of(row, &who))))
}

/// Show a payout
///
/// With its history and what it pays; for staff with the attempts to move its money.
#[utoipa::path(get, path = "/finance/payouts/{payoutId}", tag = "payouts",
    operation_id = "showPayout", params(("payoutId" = PayoutId, Path)),
    responses((status = 200, body = PayoutStory),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(payout): Ids<PayoutId>,
) -> Result<Json<PayoutStory>, Problem> {
    let row = own_payout(&desk, &who, payout).await?;
    let (store, org) = (&desk.engine.store, who.org());
    let history = store.events(org, &row.payout_id).await?;
    let lines = store.lines(org, &row.payout_id, 0, LINES_SHOWN).await?;
    let transfers = if who.caller.is_only_partner() {
        None
    } else {
        let attempts = store.attempts(org, &row.payout_id).await?;
        Some(attempts.into_iter().map(Transfer::from).collect())
    };
    let currency = row.currency;
    Ok(Json(PayoutStory {
        payout: Payout::of(row, &who),
        history: history.into_iter().map(|row| Change::of(row, &who)).collect(),
        lines: lines.into_iter().map(|row| Line::of(row, currency)).collect(),
        transfers,
    }))
}

/// List what a payout pays
///
/// In the order in which it was credited; debts that it nets come first.
#[utoipa::path(get, path = "/finance/payouts/{payoutId}/lines", tag = "payouts",
    operation_id = "listPayoutLines", params(("payoutId" = PayoutId, Path), PageQuery),
    responses((status = 200, body = Page<Line>),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn lines(
    State(desk): State<Desk>,
    who: Who,
    Ids(payout): Ids<PayoutId>,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<Line>>, Problem> {
    let limit = page::limit(query.limit)?;
    let after = page::key(query.cursor.as_deref())?;
    let after = if after.is_empty() { Ok(0) } else { after.parse() };
    let after: i64 = after.map_err(|_| page::bad_cursor())?;
    let row = own_payout(&desk, &who, payout).await?;
    let rows = desk.engine.store.lines(who.org(), &row.payout_id, after, limit + 1).await?;
    let key = |row: &LineRow| row.line_no.to_string();
    Ok(Json(Page::of(rows, limit, key, |line| Line::of(line, row.currency))))
}

/// A payout that the caller may see: for partners their own, and others' are as if they were not.
pub(super) async fn own_payout(
    desk: &Desk,
    who: &Who,
    payout_id: PayoutId,
) -> Result<PayoutRow, Problem> {
    let (store, org) = (&desk.engine.store, who.org());
    let is_own = if who.caller.is_only_partner() {
        store.payout_owner(org, &payout_id).await? == Some(partner(who)?)
    } else {
        true
    };
    let row = if is_own { store.payout(org, &payout_id).await? } else { None };
    // What proves an account is nobody's to read but its owner's, at the bank.
    let row = row.filter(|row| !row.affiliate_id.is_house());
    Ok(row.ok_or(EngineError::NoPayout { payout_id })?)
}
