//! Programs and the affiliates enrolled in them.

use super::words::words;
use super::{AffiliateId, Destination, MethodStatus, Money, PartnerId, ProgramId};

words! {
    /// Whether a program runs. A paused one goes on earning and pays nobody.
    ProgramStatus as "program status" {
        Active = "active",
        Paused = "paused",
    }
}

words! {
    /// Whether an affiliate may be paid: only `active` ones are.
    AffiliateStatus as "affiliate status" {
        Pending = "pending",
        Active = "active",
        Suspended = "suspended",
    }
}

/// A program as it is brought in, with the rules of its first currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProgram {
    pub program_id: ProgramId,
    pub title: String,
    /// Smallest payout, and by its currency the currency that is enabled.
    pub min_payout: Money,
    /// Days between an order's payment and the release of its commission.
    pub hold_days: i64,
    /// Whether the release job credits by itself; if not, `commission process-held` does.
    pub auto_credit: bool,
    /// Whether the auto-payout job pays its affiliates.
    pub auto_payout: bool,
    /// The zone that its periods and days are read in; `None` says nothing of it.
    pub timezone: Option<String>,
}

/// An affiliate as it is brought in, with the method that becomes its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAffiliate {
    pub affiliate_id: AffiliateId,
    pub program_id: ProgramId,
    pub partner_id: PartnerId,
    pub name: String,
    pub email: String,
    pub code: String,
    pub status: AffiliateStatus,
    pub method: Option<NewMethod>,
}

/// A payout method as it is brought in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMethod {
    pub destination: Destination,
    pub status: MethodStatus,
}
