//! Programs: staff make, change and pause them.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::amount::{Amount, BroughtAmount};
use super::brought::{Asked, Body, Ids, checked_text};
use super::door::Who;
use super::page::{self, Page, PageQuery};
use super::problem::{Problem, ProblemBody};
use super::schemas::{BroughtCurrency, Whole};
use crate::domain::{Currency, OrgId, ProgramId, ProgramStatus, zone_named};
use crate::engine::{EngineError, ProgramChange};
use crate::store::{CurrencyTerms, ProgramStand, TermsRow};

/// The longest hold window, in days.
const LONGEST_HOLD: i64 = 3_650;
/// The hold window of a program that does not name one, in days.
const USUAL_HOLD: i64 = 7;
/// Currencies of one program.
const MOST_CURRENCIES: usize = 50;

/// A program: the rules by which its affiliates earn and are paid.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Program {
    program: ProgramId,
    title: String,
    /// A paused program goes on earning, and pays nobody.
    status: ProgramStatus,
    hold_days: i64,
    auto_credit: bool,
    auto_payout: bool,
    /// The IANA time zone that its periods and days are read in; null: that of the job that pays.
    timezone: Option<String>,
    /// The first one is the one that partners' stats are in.
    currencies: Vec<Terms>,
    created_at: DateTime<Utc>,
}

/// What a program says of one currency.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Terms {
    currency: Currency,
    /// The smallest payout.
    min_payout: Amount,
    /// A payout of more than this waits for an approval; null: none does.
    approval_above: Option<Amount>,
}

/// What a program is to say of one currency.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BroughtTerms {
    currency: BroughtCurrency,
    /// The smallest payout; 0 lets any amount out.
    #[schema(minimum = 0)]
    min_payout: BroughtAmount,
    /// A payout of more than this waits for an approval; without it none does.
    #[schema(minimum = 0)]
    approval_above: Option<BroughtAmount>,
}

/// A new program.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BroughtProgram {
    /// Yours, and unique: sent again with the same content, nothing changes.
    program: ProgramId,
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    title: String,
    status: Option<ProgramStatus>,
    /// Days between an order's payment and the release of its commission; 7 if left out.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 3650)]
    hold_days: Option<Whole>,
    /// Whether the release job credits by itself; true if left out.
    auto_credit: Option<bool>,
    /// Whether the auto-payout job pays its affiliates; false if left out.
    auto_payout: Option<bool>,
    /// The IANA time zone that its periods and days are read in, as `Europe/Berlin`; that of the job
    /// that pays if left out.
    timezone: Option<String>,
    #[schema(min_items = 1, max_items = 50)]
    currencies: Vec<BroughtTerms>,
}

/// What changes; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ProgramPatch {
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    title: Option<String>,
    /// `paused` pays nobody until it is `active` again.
    status: Option<ProgramStatus>,
    /// For what comes in from now on: what is held keeps its day.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 3650)]
    hold_days: Option<Whole>,
    auto_credit: Option<bool>,
    auto_payout: Option<bool>,
    /// An IANA time zone; empty for that of the job that pays. A period that somebody was paid in
    /// keeps its name: a change may begin another one on the same day.
    timezone: Option<String>,
    /// The terms of these currencies, new or not; the others stay. None is ever taken away, since
    /// somebody may have earned in it.
    #[schema(max_items = 50)]
    currencies: Option<Vec<BroughtTerms>>,
}

impl Program {
    fn of(row: ProgramStand, terms: Vec<TermsRow>) -> Self {
        let terms = terms.into_iter().map(|row| Terms {
            currency: row.currency,
            min_payout: Amount::new(row.min_payout_minor, row.currency),
            approval_above: row.approval_minor.map(|minor| Amount::new(minor, row.currency)),
        });
        Self {
            program: row.program_id,
            title: row.title,
            status: row.status,
            hold_days: row.hold_days,
            auto_credit: row.auto_credit == 1,
            auto_payout: row.auto_payout == 1,
            timezone: row.timezone,
            currencies: terms.collect(),
            created_at: row.created_at,
        }
    }

    async fn read(desk: &Desk, org: &OrgId, program_id: ProgramId) -> Result<Self, Problem> {
        let row = desk.engine.store.program(org, &program_id).await?;
        let row = row.ok_or(EngineError::UnknownProgram { program_id })?;
        let terms = desk.engine.store.terms(org, &[&row.program_id]).await?;
        Ok(Self::of(row, terms))
    }
}

fn read_terms(brought: &[BroughtTerms]) -> Result<Vec<CurrencyTerms>, Problem> {
    let mut terms: Vec<CurrencyTerms> = Vec::with_capacity(brought.len());
    for one in brought {
        let currency = one.currency.known()?;
        if terms.iter().any(|terms| terms.currency == currency) {
            let detail = format!("{currency} is there twice: a currency has one minimum");
            return Err(Problem::meaningless("currency_twice", detail));
        }
        let amount = |brought: &BroughtAmount| {
            let money = brought.in_currency(currency)?;
            if money.minor >= 0 {
                return Ok(money.minor);
            }
            let detail = format!("{money} {currency} is below 0");
            Err(Problem::meaningless("amount_unusable", detail))
        };
        terms.push(CurrencyTerms {
            currency,
            min_payout_minor: amount(&one.min_payout)?,
            approval_minor: one.approval_above.as_ref().map(amount).transpose()?,
        });
    }
    if terms.len() > MOST_CURRENCIES {
        let detail = format!("a program has at most {MOST_CURRENCIES} currencies");
        return Err(Problem::meaningless("bad_count", detail));
    }
    Ok(terms)
}

fn read_days(Whole(days): Whole) -> Result<i64, Problem> {
    if (0..=LONGEST_HOLD).contains(&days) {
        return Ok(days);
    }
    let detail = format!("holdDays is {days}: it may be 0 to {LONGEST_HOLD}");
    Err(Problem::meaningless("days_unusable", detail))
}

/// A zone's name; none for empty text.
fn read_zone(name: String) -> Result<Option<String>, Problem> {
    if name.is_empty() {
        return Ok(None);
    }
    match zone_named(&name) {
        Ok(_) => Ok(Some(name)),
        Err(_) => {
            let detail = "timezone is none of the IANA time zones, such as Europe/Berlin";
            Err(Problem::meaningless("timezone_unusable", detail))
        }
    }
}

/// Create a program
///
/// Sent again with the same content, it answers 200 and changes nothing.
#[utoipa::path(post, path = "/affiliate/programs", tag = "programs",
    operation_id = "createProgram", request_body = BroughtProgram,
    responses((status = 201, body = Program), (status = 200, body = Program),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "The id exists with other content.")))]
pub(super) async fn create(
    State(desk): State<Desk>,
    who: Who,
    Body(brought): Body<BroughtProgram>,
) -> Result<Response, Problem> {
    let currencies = read_terms(&brought.currencies)?;
    if currencies.is_empty() {
        let detail = "a program needs at least one currency";
        return Err(Problem::meaningless("bad_count", detail));
    }
    let new = ProgramStand {
        program_id: brought.program,
        title: checked_text("title", brought.title)?,
        status: brought.status.unwrap_or(ProgramStatus::Active),
        hold_days: brought.hold_days.map_or(Ok(USUAL_HOLD), read_days)?,
        auto_credit: brought.auto_credit.unwrap_or(true).into(),
        auto_payout: brought.auto_payout.unwrap_or(false).into(),
        timezone: brought.timezone.map(read_zone).transpose()?.flatten(),
        created_at: desk.engine.clock.now(),
    };
    let made = desk.engine.create_program(&who.work(), who.org(), (&new, &currencies)).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Program::read(&desk, who.org(), new.program_id).await?)).into_response())
}

/// List programs
#[utoipa::path(get, path = "/affiliate/programs", tag = "programs", operation_id = "listPrograms",
    params(PageQuery), responses((status = 200, body = Page<Program>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<Program>>, Problem> {
    let (store, org) = (&desk.engine.store, who.org());
    let limit = page::limit(query.limit)?;
    let after = page::key(query.cursor.as_deref())?;
    let rows = store.programs(org, &after, limit + 1).await?;
    let ids: Vec<_> = rows.iter().map(|row| &row.program_id).collect();
    let mut terms: HashMap<ProgramId, Vec<TermsRow>> = HashMap::new();
    for row in store.terms(org, &ids).await? {
        terms.entry(row.program_id.clone()).or_default().push(row);
    }
    let show = |row: ProgramStand| {
        let terms = terms.remove(&row.program_id).unwrap_or_default();
        Program::of(row, terms)
    };
    Ok(Json(Page::of(rows, limit, |row| row.program_id.to_string(), show)))
}

/// Show a program
#[utoipa::path(get, path = "/affiliate/programs/{program}", tag = "programs",
    operation_id = "showProgram", params(("program" = ProgramId, Path)),
    responses((status = 200, body = Program),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(program): Ids<ProgramId>,
) -> Result<Json<Program>, Problem> {
    Ok(Json(Program::read(&desk, who.org(), program).await?))
}

/// Change or pause a program
#[utoipa::path(patch, path = "/affiliate/programs/{program}", tag = "programs",
    operation_id = "changeProgram", params(("program" = ProgramId, Path)),
    request_body = ProgramPatch,
    responses((status = 200, body = Program),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(desk): State<Desk>,
    who: Who,
    Ids(program): Ids<ProgramId>,
    Body(patch): Body<ProgramPatch>,
) -> Result<Json<Program>, Problem> {
    let change = ProgramChange {
        title: patch.title.map(|title| checked_text("title", title)).transpose()?,
        status: patch.status,
        hold_days: patch.hold_days.map(read_days).transpose()?,
        auto_credit: patch.auto_credit,
        auto_payout: patch.auto_payout,
        timezone: patch.timezone.map(read_zone).transpose()?,
        currencies: read_terms(&patch.currencies.unwrap_or_default())?,
    };
    desk.engine.change_program(&who.work(), who.org(), &program, &change).await?;
    Ok(Json(Program::read(&desk, who.org(), program).await?))
}
