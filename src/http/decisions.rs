//! Decisions about wallets: paid or skipped, with every gate that failed.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Amount;
use crate::domain::{AffiliateId, Currency, Gate, GateCheck, PayoutId, ProgramId, RunId};
use crate::store::{DecisionRow, StoreError};

/// One gate, with the numbers that it looked at.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    gate: Gate,
    passed: bool,
    /// As `at least 50.00 USD`.
    wants: String,
    /// As `12.34 USD`.
    found: String,
}

impl From<GateCheck> for Check {
    fn from(check: GateCheck) -> Self {
        let GateCheck { gate, passed, wants, found } = check;
        Self { gate, passed, wants, found }
    }
}

/// What a run decided about one wallet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decision {
    run_id: RunId,
    affiliate_id: AffiliateId,
    program: ProgramId,
    currency: Currency,
    available: Amount,
    /// The payout that was requested; null if it was skipped.
    payout_id: Option<PayoutId>,
    /// Every gate that failed; empty if it was paid.
    failing: Vec<Check>,
    decided_at: DateTime<Utc>,
}

impl Decision {
    pub fn of(row: DecisionRow) -> Result<Self, StoreError> {
        let failing = row.failing()?.into_iter().map(Check::from).collect();
        Ok(Self {
            run_id: row.run_id,
            affiliate_id: row.affiliate_id,
            program: row.program_id,
            currency: row.currency,
            available: Amount::new(row.available_minor, row.currency),
            payout_id: row.payout_id,
            failing,
            decided_at: row.decided_at,
        })
    }
}
