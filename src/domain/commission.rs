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

/// The longest order id, in characters.
pub const LONGEST_ORDER_ID: usize = 256;
/// The years in which an order can have been paid.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2200;

impl NewCommission {
    /// What cannot be about it, whatever the ledger holds: the field, and why.
    pub fn breach(&self) -> Option<(&'static str, String)> {
        let order = self.order_id.chars().count();
        if order == 0 || order > LONGEST_ORDER_ID || self.order_id.chars().any(char::is_control) {
            let reason = format!("it is 1 to {LONGEST_ORDER_ID} characters, and no control ones");
            return Some(("orderId", reason));
        }
        for (field, money) in [("orderAmount", self.order_amount), ("amount", self.amount)] {
            if money.minor < 0 {
                return Some((field, format!("{money} is below 0")));
            }
        }
        if !YEARS.contains(&chrono::Datelike::year(&self.converted_at)) {
            let reason = format!("it is not in the years {} to {}", YEARS.start(), YEARS.end());
            return Some(("convertedAt", reason));
        }
        None
    }
}
