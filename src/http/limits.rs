//! What a program may spend, and which of its payouts wait for a person.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::amount::{Amount, BroughtAmount};
use super::brought::{Body, Ids};
use super::door::Who;
use super::problem::{Problem, ProblemBody};
use super::schemas::{BroughtCurrency, Whole};
use crate::domain::{Caps, Currency, Limits, Money, ProgramId, ProgramLimits};

/// The most payouts that a limit may name.
const MOST_PAYOUTS: i64 = 1_000_000_000;

/// What a program may spend; null limits nothing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spending {
    payouts_per_run: Option<i64>,
    /// In a calendar day of the program's time zone; of UTC, if it has none.
    payouts_per_day: Option<i64>,
    /// Whether the first payout of an affiliate waits for an approval.
    approve_first_payout: bool,
    /// Whether a payout waits that goes elsewhere than the last one that arrived.
    approve_changed_method: bool,
    /// The currencies in which amounts are limited.
    currencies: Vec<Spendable>,
}

/// What a program may spend in one currency; null limits nothing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Spendable {
    currency: Currency,
    per_payout: Option<Amount>,
    per_run: Option<Amount>,
    per_day: Option<Amount>,
}

/// What a program may spend; what is left out is not limited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BroughtSpending {
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000)]
    payouts_per_run: Option<Whole>,
    /// In a calendar day of the program's time zone; of UTC, if it has none.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000)]
    payouts_per_day: Option<Whole>,
    approve_first_payout: Option<bool>,
    approve_changed_method: Option<bool>,
    #[schema(max_items = 50)]
    currencies: Option<Vec<BroughtSpendable>>,
}

/// What a program may spend in one currency that it has.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BroughtSpendable {
    currency: BroughtCurrency,
    #[schema(minimum = 0)]
    per_payout: Option<BroughtAmount>,
    #[schema(minimum = 0)]
    per_run: Option<BroughtAmount>,
    #[schema(minimum = 0)]
    per_day: Option<BroughtAmount>,
}

impl Spending {
    fn of(program: &ProgramLimits) -> Self {
        let ProgramLimits { limits, approve_first, approve_changed } = program;
        let caps = [&limits.amount_per_payout, &limits.amount_per_run, &limits.amount_per_day];
        let named = caps.iter().flat_map(|caps| caps.iter()).map(|amount| amount.currency);
        let named: std::collections::BTreeSet<Currency> = named.collect();
        let spendable = |currency: Currency| {
            let bounds = limits.bounds(currency);
            let amount = |minor: Option<i64>| minor.map(|minor| Amount::new(minor, currency));
            Spendable {
                currency,
                per_payout: amount(bounds.payout_minor),
                per_run: amount(bounds.run_minor),
                per_day: amount(bounds.day_minor),
            }
        };
        Self {
            payouts_per_run: limits.payouts_per_run,
            payouts_per_day: limits.payouts_per_day,
            approve_first_payout: *approve_first,
            approve_changed_method: *approve_changed,
            currencies: named.into_iter().map(spendable).collect(),
        }
    }
}

fn count(name: &str, brought: Option<Whole>) -> Result<Option<i64>, Problem> {
    match brought {
        Some(Whole(count)) if !(1..=MOST_PAYOUTS).contains(&count) => {
            let detail = format!("{name} is {count}: it may be 1 to {MOST_PAYOUTS}");
            Err(Problem::meaningless("bad_count", detail))
        }
        brought => Ok(brought.map(|Whole(count)| count)),
    }
}

fn read(brought: BroughtSpending) -> Result<ProgramLimits, Problem> {
    let rows = brought.currencies.unwrap_or_default();
    let mut seen = Vec::with_capacity(rows.len());
    let (mut payout, mut run, mut day) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let currency = row.currency.known()?;
        if seen.contains(&currency) {
            let detail = format!("{currency} is there twice: a currency has one set of limits");
            return Err(Problem::meaningless("currency_twice", detail));
        }
        seen.push(currency);
        for (amount, into) in
            [(&row.per_payout, &mut payout), (&row.per_run, &mut run), (&row.per_day, &mut day)]
        {
            let Some(amount) = amount else { continue };
            let money: Money = amount.in_currency(currency)?;
            if money.minor < 0 {
                let detail = format!("{money} {currency} is below 0");
                return Err(Problem::meaningless("amount_unusable", detail));
            }
            into.push(money);
        }
    }
    let caps = |amounts: Vec<Money>| amounts.into_iter().collect::<Caps>();
    let limits = Limits {
        payouts_per_run: count("payoutsPerRun", brought.payouts_per_run)?,
        payouts_per_day: count("payoutsPerDay", brought.payouts_per_day)?,
        amount_per_payout: caps(payout),
        amount_per_run: caps(run),
        amount_per_day: caps(day),
    };
    let approve_first = brought.approve_first_payout.unwrap_or(false);
    let approve_changed = brought.approve_changed_method.unwrap_or(false);
    Ok(ProgramLimits { limits, approve_first, approve_changed })
}

/// Show what a program may spend
#[utoipa::path(get, path = "/affiliate/programs/{program}/limits", tag = "programs",
    operation_id = "showProgramLimits", params(("program" = ProgramId, Path)),
    responses((status = 200, body = Spending),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(program): Ids<ProgramId>,
) -> Result<Json<Spending>, Problem> {
    let limits = desk.engine.program_limits(who.org(), &program).await?;
    Ok(Json(Spending::of(&limits)))
}

/// Say what a program may spend
///
/// In place of all that was said before. What a run would ask beyond a limit is skipped, with the
/// limit on record; what a person asks beyond the limits of a payout or of the day is refused. It
/// counts for what is asked from now on. A day's limits count what was asked for in it, whatever
/// became of it.
#[utoipa::path(put, path = "/affiliate/programs/{program}/limits", tag = "programs",
    operation_id = "limitProgram", params(("program" = ProgramId, Path)),
    request_body = BroughtSpending,
    responses((status = 200, body = Spending),
              (status = 404, body = ProblemBody, content_type = "application/problem+json",
               description = "There is no such program, or it does not have that currency.")))]
pub(super) async fn set(
    State(desk): State<Desk>,
    who: Who,
    Ids(program): Ids<ProgramId>,
    Body(brought): Body<BroughtSpending>,
) -> Result<Json<Spending>, Problem> {
    let limits = read(brought)?;
    desk.engine.limit_program(&who.work(), who.org(), &program, &limits).await?;
    Ok(Json(Spending::of(&desk.engine.program_limits(who.org(), &program).await?)))
}
