//! A commission, as partners and staff see it.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::amount::Amount;
use super::page::{self, Page};
use super::problem::Problem;
use crate::domain::{
    AffiliateId, CommissionId, CommissionStatus, Currency, OrgId, PayoutId, ProgramId,
};
use crate::store::{EarningKey, EarningRow};

/// Later than anything that was ever earned.
const LAST_INSTANT: &str = "9999-12-31T00:00:00Z";

/// What one order earned.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Earning {
    commission_id: CommissionId,
    affiliate_id: AffiliateId,
    program: ProgramId,
    order_id: String,
    /// What the customer paid.
    order_amount: Amount,
    /// What it earned.
    amount: Amount,
    /// What refunds took back of it.
    reversed_amount: Amount,
    /// What has arrived of it.
    paid_amount: Amount,
    currency: Currency,
    #[schema(value_type = String, example = "commission_held")]
    status: &'static str,
    #[schema(value_type = String, example = "held")]
    commission_status: &'static str,
    /// When its hold window ends, or ended.
    hold_until: DateTime<Utc>,
    /// When the order was paid.
    converted_at: DateTime<Utc>,
    /// When it became available; null while it is held.
    credited_at: Option<DateTime<Utc>>,
    /// The payouts that paid it, or are on their way to.
    payout_ids: Vec<PayoutId>,
}

/// The platform's pair of words: where the referral stands, and where its commission does.
pub(super) fn words(status: CommissionStatus) -> (&'static str, &'static str) {
    match status {
        CommissionStatus::Pending => ("pending", "pending"),
        CommissionStatus::Held => ("commission_held", "held"),
        CommissionStatus::Qualified => ("qualified", "credited"),
        CommissionStatus::Paid => ("commission_paid", "paid"),
        CommissionStatus::Rejected => ("rejected", "pending"),
        CommissionStatus::Reversed => ("reversed", "reversed"),
    }
}

/// The commission that a cursor stands for; the latest for the first page.
pub(super) fn after(cursor: Option<&str>) -> Result<EarningKey, Problem> {
    let key = page::key(cursor)?;
    if key.is_empty() {
        let converted_at = LAST_INSTANT.parse().expect("an instant");
        return Ok(EarningKey { converted_at, commission_id: String::new() });
    }
    let parts = key.split_once(' ').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    let (converted_at, commission_id) = parts.ok_or_else(page::bad_cursor)?;
    Ok(EarningKey { converted_at, commission_id })
}

fn key(row: &EarningRow) -> String {
    let at = row.converted_at.to_rfc3339_opts(SecondsFormat::Millis, true);
    format!("{at} {}", row.commission_id)
}

impl Earning {
    /// A page of commissions that goes by time, with the payouts behind them.
    pub async fn page(
        desk: &Desk,
        org: &OrgId,
        rows: Vec<EarningRow>,
        limit: i64,
    ) -> Result<Page<Self>, Problem> {
        Self::page_by(desk, org, rows, limit, key).await
    }

    /// The same by another key.
    pub async fn page_by(
        desk: &Desk,
        org: &OrgId,
        rows: Vec<EarningRow>,
        limit: i64,
        key: impl Fn(&EarningRow) -> String,
    ) -> Result<Page<Self>, Problem> {
        let mut payouts = payouts_of(desk, org, &rows).await?;
        let show = |row: EarningRow| {
            let payouts = payouts.remove(&row.commission_id).unwrap_or_default();
            Self::of(row, payouts)
        };
        Ok(Page::of(rows, limit, key, show))
    }

    /// One commission, with the payouts behind it.
    pub async fn one(desk: &Desk, org: &OrgId, row: EarningRow) -> Result<Self, Problem> {
        let payouts = payouts_of(desk, org, std::slice::from_ref(&row)).await?;
        Ok(Self::of(row, payouts.into_values().flatten().collect()))
    }

    fn of(row: EarningRow, payout_ids: Vec<PayoutId>) -> Self {
        let amount = |minor| Amount::new(minor, row.currency);
        let (status, commission_status) = words(row.status);
        Self {
            order_amount: amount(row.order_amount_minor),
            amount: amount(row.amount_minor),
            reversed_amount: amount(row.reversed_minor),
            paid_amount: amount(row.paid_minor),
            commission_id: row.commission_id,
            affiliate_id: row.affiliate_id,
            program: row.program_id,
            order_id: row.order_id,
            currency: row.currency,
            status,
            commission_status,
            hold_until: row.hold_until,
            converted_at: row.converted_at,
            credited_at: row.credited_at,
            payout_ids,
        }
    }
}

async fn payouts_of(
    desk: &Desk,
    org: &OrgId,
    rows: &[EarningRow],
) -> Result<HashMap<CommissionId, Vec<PayoutId>>, Problem> {
    let ids: Vec<_> = rows.iter().map(|row| &row.commission_id).collect();
    let mut payouts: HashMap<CommissionId, Vec<PayoutId>> = HashMap::new();
    for (commission, payout) in desk.engine.store.payouts_paying(org, &ids).await? {
        payouts.entry(commission).or_default().push(payout);
    }
    Ok(payouts)
}
