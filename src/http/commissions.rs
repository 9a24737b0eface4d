//! Commissions come in, one or many, and what is held is released.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::amount::{Amount, BroughtAmount};
use super::brought::{Asked, Body, Ids};
use super::door::Who;
use super::earning::{Earning, after};
use super::page::{self, Page};
use super::problem::{Fault, Problem, ProblemBody};
use super::schemas::{BroughtCurrency, Instant};
use crate::domain::{AffiliateId, CommissionId, Currency, Money, NewCommission};
use crate::engine::{EngineError, Verdict};
use crate::store::EarningRow;

/// Commissions in one call.
const MOST: usize = 1_000;
/// Due commissions per transaction.
const BATCH: i64 = 10_000;

/// What an order earned an affiliate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BroughtCommission {
    /// Yours: it comes in once, however often it is sent.
    #[schema(value_type = CommissionId)]
    commission_id: String,
    #[schema(value_type = AffiliateId)]
    affiliate_id: String,
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    order_id: String,
    /// What the customer paid.
    #[schema(minimum = 0)]
    order_amount: BroughtAmount,
    /// What the affiliate earned; 0 is kept and moves nothing.
    #[schema(minimum = 0)]
    amount: BroughtAmount,
    currency: BroughtCurrency,
    /// When the order was paid: the hold window begins here.
    #[schema(value_type = Instant)]
    converted_at: String,
}

/// One of many commissions: as [`BroughtCommission`], but whatever is wrong with it is its own
/// verdict, and keeps no other from going in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CommissionRow {
    commission_id: String,
    affiliate_id: String,
    order_id: String,
    order_amount: BroughtAmount,
    amount: BroughtAmount,
    #[schema(value_type = String, example = "USD")]
    currency: BroughtCurrency,
    /// RFC 3339.
    #[schema(example = "2026-01-31T12:00:00Z")]
    converted_at: String,
}

/// Many commissions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BroughtCommissions {
    #[schema(min_items = 1, max_items = 1000)]
    commissions: Vec<CommissionRow>,
}

/// What became of many commissions, each by itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TakenIn {
    created: usize,
    unchanged: usize,
    refused: usize,
    /// One for each, in the order in which they were sent.
    results: Vec<RowResult>,
}

/// What became of one of many.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RowResult {
    commission_id: String,
    /// `created`, `unchanged` (it was there with the same content) or `refused`.
    #[schema(value_type = String, example = "created")]
    result: &'static str,
    /// What is wrong with it.
    field: Option<String>,
    reason: Option<String>,
}

/// What was released.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Processed {
    /// Commissions that became available.
    processed: u64,
    /// Their sum; null if they are of several currencies, which are never added.
    total_credited: Option<Amount>,
    /// Their sums by currency.
    credited: Vec<Sum>,
}

/// An amount with its currency.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sum {
    pub currency: Currency,
    pub amount: Amount,
}

impl Sum {
    pub fn of(money: Money) -> Self {
        Self { currency: money.currency, amount: Amount(money) }
    }
}

impl From<CommissionRow> for BroughtCommission {
    fn from(row: CommissionRow) -> Self {
        Self {
            commission_id: row.commission_id,
            affiliate_id: row.affiliate_id,
            order_id: row.order_id,
            order_amount: row.order_amount,
            amount: row.amount,
            currency: row.currency,
            converted_at: row.converted_at,
        }
    }
}

impl BroughtCommission {
    fn read(&self) -> Result<NewCommission, Fault> {
        let at = |field: &str| {
            let code = field.to_owned();
            move |detail: String| Fault { code, detail }
        };
        let said = |problem: Problem| problem.detail().to_owned();
        let currency = self.currency.known().map_err(said).map_err(at("currency"))?;
        let amount = |brought: &BroughtAmount| brought.in_currency(currency).map_err(said);
        let instant = Instant::try_from(self.converted_at.clone()).map_err(str::to_owned);
        let commission_id: Result<CommissionId, _> = self.commission_id.parse();
        let affiliate_id: Result<AffiliateId, _> = self.affiliate_id.parse();
        let commission = NewCommission {
            commission_id: commission_id.map_err(|e| at("commissionId")(e.to_string()))?,
            affiliate_id: affiliate_id.map_err(|e| at("affiliateId")(e.to_string()))?,
            order_id: self.order_id.clone(),
            order_amount: amount(&self.order_amount).map_err(at("orderAmount"))?,
            amount: amount(&self.amount).map_err(at("amount"))?,
            converted_at: instant.map_err(at("convertedAt"))?.0,
        };
        match commission.breach() {
            None => Ok(commission),
            Some((field, reason)) => Err(at(field)(reason)),
        }
    }
}

/// The engine's columns as the API's fields.
fn field_of(column: &str) -> String {
    let mut words = column.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |field, word| {
        let (head, rest) = word.split_at(word.len().min(1));
        format!("{field}{}{rest}", head.to_uppercase())
    })
}

fn refused(fault: Fault) -> Problem {
    let detail = format!("{}: {}", fault.code, fault.detail);
    Problem::meaningless("commission_refused", detail).with_errors(vec![fault])
}

/// Bring a commission in
///
/// Sent again with the same content, it answers 200 and changes nothing.
#[utoipa::path(post, path = "/affiliate/commissions", tag = "commissions",
    operation_id = "createCommission", request_body = BroughtCommission,
    responses((status = 201, body = Earning), (status = 200, body = Earning),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "The id exists with other content.")))]
pub(super) async fn create(
    State(desk): State<Desk>,
    who: Who,
    Body(brought): Body<BroughtCommission>,
) -> Result<Response, Problem> {
    let commission = brought.read().map_err(refused)?;
    let (work, org) = (who.work(), who.org());
    let verdicts = desk.engine.accrue(&work, org, std::slice::from_ref(&commission)).await?;
    let status = match verdicts.into_iter().next() {
        Some(Verdict::New) => StatusCode::CREATED,
        Some(Verdict::Unchanged) | None => StatusCode::OK,
        Some(Verdict::Refused { column, reason }) => {
            return Err(refused(Fault { code: field_of(column), detail: reason }));
        }
        Some(Verdict::Differs { column, reason }) => {
            let fault = Fault { code: field_of(column), detail: reason.clone() };
            return Err(Problem::conflict("other_content", reason).with_errors(vec![fault]));
        }
    };
    let commission_id = commission.commission_id;
    let row = desk.engine.store.commission(org, &commission_id).await?;
    let row = row.ok_or(EngineError::NoCommission { commission_id })?;
    Ok((status, Json(Earning::one(&desk, org, row).await?)).into_response())
}

/// Bring many commissions in
///
/// Each is taken or refused by itself, in one transaction; up to 1,000. What was there already with
/// the same content is unchanged, so the same call is safe to repeat.
#[utoipa::path(post, path = "/affiliate/commissions/bulk", tag = "commissions",
    operation_id = "createCommissions", request_body = BroughtCommissions,
    responses((status = 200, body = TakenIn)))]
pub(super) async fn create_many(
    State(desk): State<Desk>,
    who: Who,
    Body(brought): Body<BroughtCommissions>,
) -> Result<Json<TakenIn>, Problem> {
    let count = brought.commissions.len();
    if !(1..=MOST).contains(&count) {
        let detail = format!("{count} commissions: a call takes 1 to {MOST}");
        return Err(Problem::meaningless("bad_count", detail));
    }
    let rows: Vec<BroughtCommission> = brought.commissions.into_iter().map(Into::into).collect();
    let read: Vec<_> = rows.iter().map(BroughtCommission::read).collect();
    let usable: Vec<_> = read.iter().filter_map(|row| row.as_ref().ok()).cloned().collect();
    let verdicts = desk.engine.accrue(&who.work(), who.org(), &usable).await?;
    let mut verdicts = verdicts.into_iter();
    let mut taken = TakenIn { created: 0, unchanged: 0, refused: 0, results: Vec::new() };
    for (row, brought) in read.into_iter().zip(rows) {
        let fault = match row {
            Err(fault) => Some(fault),
            Ok(_) => match verdicts.next() {
                Some(Verdict::New) => {
                    taken.push(brought.commission_id, "created", None);
                    continue;
                }
                Some(Verdict::Unchanged) | None => None,
                Some(Verdict::Refused { column, reason } | Verdict::Differs { column, reason }) => {
                    Some(Fault { code: field_of(column), detail: reason })
                }
            },
        };
        let result = if fault.is_some() { "refused" } else { "unchanged" };
        taken.push(brought.commission_id, result, fault);
    }
    Ok(Json(taken))
}

impl TakenIn {
    fn push(&mut self, commission_id: String, result: &'static str, fault: Option<Fault>) {
        match result {
            "created" => self.created += 1,
            "unchanged" => self.unchanged += 1,
            _ => self.refused += 1,
        }
        let (field, reason) = fault.map(|fault| (fault.code, fault.detail)).unzip();
        self.results.push(RowResult { commission_id, result, field, reason });
    }
}

/// Release what is held
///
/// Every held commission whose hold window has passed becomes available, in programs with and
/// without autoCredit.
#[utoipa::path(post, path = "/affiliate/commissions/process-held", tag = "commissions",
    operation_id = "processHeld", responses((status = 200, body = Processed)))]
pub(super) async fn process_held(
    State(desk): State<Desk>,
    who: Who,
) -> Result<Json<Processed>, Problem> {
    let tally = desk.engine.process_held(&who.work(), who.org(), BATCH).await?;
    let sums: Vec<Money> = tally.amounts.iter().collect();
    let usd = || "USD".parse().expect("USD is a currency");
    let total_credited = match sums.as_slice() {
        [] => Some(Amount(Money::new(0, usd()))),
        [only] => Some(Amount(*only)),
        _ => None,
    };
    let credited = sums.into_iter().map(Sum::of).collect();
    Ok(Json(Processed { processed: tally.acted, total_credited, credited }))
}

/// Which commissions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct CommissionsQuery {
    /// Of this affiliate, newest first; without it they come by id.
    #[param(inline)]
    affiliate_id: Option<AffiliateId>,
    program: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// List commissions
///
/// All by id; those of one affiliate newest first.
#[utoipa::path(get, path = "/affiliate/commissions", tag = "commissions",
    operation_id = "listCommissions", params(CommissionsQuery),
    responses((status = 200, body = Page<Earning>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<CommissionsQuery>,
) -> Result<Json<Page<Earning>>, Problem> {
    let (store, org) = (&desk.engine.store, who.org());
    let limit = page::limit(query.limit)?;
    let program = page::word(query.program.as_deref())?;
    let Some(affiliate) = query.affiliate_id else {
        let key = page::key(query.cursor.as_deref())?;
        let rows = store.commissions_by_id(org, program, &key, limit + 1).await?;
        let key = |row: &EarningRow| row.commission_id.to_string();
        return Ok(Json(Earning::page_by(&desk, org, rows, limit, key).await?));
    };
    let after = after(query.cursor.as_deref())?;
    let rows = store.earnings_of_affiliate(org, &affiliate, program, &after, limit + 1).await?;
    Ok(Json(Earning::page(&desk, org, rows, limit).await?))
}

/// Show a commission
#[utoipa::path(get, path = "/affiliate/commissions/{commissionId}", tag = "commissions",
    operation_id = "showCommission", params(("commissionId" = CommissionId, Path)),
    responses((status = 200, body = Earning),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(commission_id): Ids<CommissionId>,
) -> Result<Json<Earning>, Problem> {
    let row = desk.engine.store.commission(who.org(), &commission_id).await?;
    let row = row.ok_or(EngineError::NoCommission { commission_id })?;
    Ok(Json(Earning::one(&desk, who.org(), row).await?))
}
