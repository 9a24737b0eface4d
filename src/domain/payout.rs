//! Payouts: one affiliate's money asked out.

use super::words::words;

words! {
    /// Where a payout stands, in the words of the API.
    PayoutStatus as "payout status" {
        Pending = "pending",
        Approved = "approved",
        Processing = "processing",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        Returned = "returned",
    }
}

words! {
    /// Who asked: a schedule (at most one per affiliate, currency and period), a person, or
    /// payoutd itself, which sends a method a few cents to prove it.
    PayoutOrigin as "payout origin" {
        Auto = "auto",
        Person = "person",
        Verification = "verification",
    }
}

impl PayoutStatus {
    /// Whether a payout may go from this status to `to`. A payout with no approval to wait for
    /// goes from `pending` straight to `processing`; `completed` is left only when the provider
    /// says that the money came back.
    pub fn may_become(self, to: Self) -> bool {
        use PayoutStatus::{Approved, Cancelled, Completed, Failed, Pending, Processing, Returned};
        matches!(
            (self, to),
            (Pending, Approved | Processing | Cancelled)
                | (Approved, Processing | Cancelled)
                | (Processing, Completed | Failed)
                | (Completed, Returned)
        )
    }

    /// Whether the payout's money is in flight: asked out, and not known to have arrived.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Approved | Self::Processing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_is_left_only_by_a_return_and_the_ends_are_never_left() {
        let next = |from: PayoutStatus| -> Vec<_> {
            PayoutStatus::ALL.iter().copied().filter(|to| from.may_become(*to)).collect()
        };
        assert_eq!(next(PayoutStatus::Completed), [PayoutStatus::Returned]);
        for end in [PayoutStatus::Failed, PayoutStatus::Cancelled, PayoutStatus::Returned] {
            assert_eq!(next(end), [], "{end}");
        }
    }

    #[test]
    fn money_on_its_way_is_never_cancelled() {
        assert!(!PayoutStatus::Processing.may_become(PayoutStatus::Cancelled));
    }
}
