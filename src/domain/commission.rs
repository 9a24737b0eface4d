//! Commissions: one referral's earning.

use chrono::{DateTime, Utc};

use super::words::words;
use super::{AffiliateId, CommissionId, Money};

words! {
    /// Where a commission stands. The API shows it as the platform's pair of words
    /// (`held` is `commission_held` / `held`, `qualified` is `qualified` / `credited`, …).
    CommissionStatus as "commission status" {
        Pending = "pending",
        Held = "held",
        Qualified = "qualified",
        Paid = "paid",
        Rejected = "rejected",
        Reversed = "reversed",
    }
}

/// The largest commission that is taken, in minor units (10,000,000,000.00 USD): no order earns
/// it, and sums of millions of them still fit.
pub const LARGEST_COMMISSION_MINOR: i64 = 1_000_000_000_000;

/// A commission as it is brought in: what an order earned an affiliate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommission {
    pub commission_id: CommissionId,
    pub affiliate_id: AffiliateId,
    pub order_id: String,
    /// What the customer paid; kept for the record, never moved.
    pub order_amount: Money,
    /// What the affiliate earned; 0 is stored and moves nothing.
    pub amount: Money,
    /// When the order was paid: the hold window starts here.
    pub converted_at: DateTime<Utc>,
}
