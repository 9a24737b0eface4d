//! What partners see of themselves: their programs with balances, and their earnings.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::amount::Amount;
use super::brought::Asked;
use super::door::Who;
use super::earning::{Earning, after};
use super::page::{self, Page};
use super::problem::Problem;
use crate::domain::{AffiliateId, AffiliateStatus, Currency, Money, PartnerId, ProgramId};
use crate::store::{BalanceRow, PartnerEnrolment, ReferralCount, TermsRow};

/// A partner's programs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Dashboard {
    /// One for each program that the partner is in; several may be of one person.
    programs: Vec<Enrolment>,
}

/// A partner in one program.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Enrolment {
    program: ProgramId,
    affiliate_id: AffiliateId,
    code: String,
    status: AffiliateStatus,
    /// The currency of the amounts in `stats`: the program's first one.
    currency: Currency,
    stats: Stats,
    /// The same amounts in every currency of the program. They are never added to one another.
    balances: Vec<Balance>,
}

/// `totalCommission` is the sum of what is pending, available, on its way and paid, without what was
/// reversed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Stats {
    /// Referrals that brought an order.
    total_referrals: i64,
    /// Those of them whose order was not refunded as a whole.
    total_conversions: i64,
    /// Lifetime earned.
    total_commission: Amount,
    /// Held, waiting for the hold window to pass.
    pending_commission: Amount,
    /// Credited, and not asked out yet. Below 0 after a refund of what was paid already.
    available_for_payout: Amount,
    /// What has arrived.
    paid_commission: Amount,
}

/// What stands where in one currency.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Balance {
    currency: Currency,
    total_commission: Amount,
    pending_commission: Amount,
    available_for_payout: Amount,
    /// Asked out, and not known to have arrived.
    in_flight: Amount,
    paid_commission: Amount,
    /// The smallest payout; null where the program does not pay in this currency any more.
    min_payout: Option<Amount>,
}

impl Balance {
    fn of(currency: Currency, held: Option<&BalanceRow>, min_payout: Option<i64>) -> Self {
        let [pending, available, in_flight, paid] = held.map_or([0; 4], |row| {
            [row.held_minor, row.available_minor, row.in_flight_minor, row.paid_minor]
        });
        let amount = |minor| Amount::new(minor, currency);
        let total = [available, in_flight, paid].iter().fold(pending, |sum, minor| {
            // The ledger checks that the sum is an amount.
            sum.saturating_add(*minor)
        });
        Self {
            currency,
            total_commission: amount(total),
            pending_commission: amount(pending),
            available_for_payout: amount(available),
            in_flight: amount(in_flight),
            paid_commission: amount(paid),
            min_payout: min_payout.map(amount),
        }
    }
}

/// See what you earned
///
/// Each program that you are in, with where your money stands.
#[utoipa::path(get, path = "/client/affiliate/me", tag = "partner", operation_id = "me",
    responses((status = 200, body = Dashboard)))]
pub(super) async fn show(State(desk): State<Desk>, who: Who) -> Result<Json<Dashboard>, Problem> {
    let (store, org, partner) = (&desk.engine.store, who.org(), partner(&who)?);
    let enrolments = store.enrolments_of(org, &partner).await?;
    let terms = store.terms_of(org, &partner).await?;
    let balances = store.balances_of(org, &partner).await?;
    let counts: HashMap<AffiliateId, ReferralCount> = store
        .referrals_of(org, &partner)
        .await?
        .into_iter()
        .map(|count| (count.affiliate_id.clone(), count))
        .collect();
    let show = |one: PartnerEnrolment| {
        let count = counts.get(&one.affiliate_id);
        enrolment(one, &terms, &balances, count)
    };
    Ok(Json(Dashboard { programs: enrolments.into_iter().map(show).collect() }))
}

/// The person who calls.
pub(super) fn partner(who: &Who) -> Result<PartnerId, Problem> {
    who.caller.id.parse().map_err(|_| Problem::not_found("no_partner", "nobody has this id"))
}

fn enrolment(
    one: PartnerEnrolment,
    terms: &[TermsRow],
    balances: &[BalanceRow],
    count: Option<&ReferralCount>,
) -> Enrolment {
    let terms = || terms.iter().filter(|terms| terms.program_id == one.program_id);
    let held = || balances.iter().filter(|held| held.affiliate_id == one.affiliate_id);
    // What was earned in a currency stays, also if the program pays in it no more.
    let left = held().filter(|held| terms().all(|terms| terms.currency != held.currency));
    let shown: Vec<Balance> = terms()
        .map(|terms| {
            let held = held().find(|held| held.currency == terms.currency);
            Balance::of(terms.currency, held, Some(terms.min_payout_minor))
        })
        .chain(left.map(|held| Balance::of(held.currency, Some(held), None)))
        .collect();
    // A program without any currency pays nobody; its zeros have to be of some currency.
    let usd = || "USD".parse().expect("USD is a currency");
    let first = shown.first().map_or_else(usd, |balance| balance.currency);
    let nothing = Amount(Money::new(0, first));
    let of = |amount: fn(&Balance) -> Amount| shown.first().map_or(nothing, amount);
    let stats = Stats {
        total_referrals: count.map_or(0, |count| count.referrals),
        total_conversions: count.map_or(0, |count| count.conversions),
        total_commission: of(|balance| balance.total_commission),
        pending_commission: of(|balance| balance.pending_commission),
        available_for_payout: of(|balance| balance.available_for_payout),
        paid_commission: of(|balance| balance.paid_commission),
    };
    Enrolment {
        program: one.program_id,
        affiliate_id: one.affiliate_id,
        code: one.code,
        status: one.status,
        currency: first,
        stats,
        balances: shown,
    }
}

/// Which earnings.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct EarningsQuery {
    /// Of this program alone.
    program: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// See what you earned, commission by commission
///
/// Newest first.
#[utoipa::path(get, path = "/client/affiliate/me/earnings", tag = "partner",
    operation_id = "myEarnings", params(EarningsQuery),
    responses((status = 200, body = Page<Earning>)))]
pub(super) async fn earnings(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<EarningsQuery>,
) -> Result<Json<Page<Earning>>, Problem> {
    let (store, partner) = (&desk.engine.store, partner(&who)?);
    let limit = page::limit(query.limit)?;
    let after = after(query.cursor.as_deref())?;
    let program = page::word(query.program.as_deref())?;
    let rows = store.earnings_of(who.org(), &partner, program, &after, limit + 1).await?;
    Ok(Json(Earning::page(&desk, who.org(), rows, limit).await?))
}
