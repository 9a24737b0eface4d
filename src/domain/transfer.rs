//! Transfers and submissions: attempts to move money at a provider.

use super::words::words;

words! {
    /// Where one attempt to move a payout's money stands.
    TransferState as "transfer state" {
        Prepared = "prepared",
        Sending = "sending",
        Unknown = "unknown",
        Accepted = "accepted",
        Settled = "settled",
        Rejected = "rejected",
        Returned = "returned",
    }
}

words! {
    /// Where one call, or one file, with its transfers stands.
    SubmissionState as "submission state" {
        Prepared = "prepared",
        Sending = "sending",
        Unknown = "unknown",
        Accepted = "accepted",
        Refused = "refused",
        Review = "review",
    }
}

impl TransferState {
    /// Whether a transfer may go from this state to `to`.
    ///
    /// Back to `prepared` only on proof that nothing reached the provider. `unknown` is left by
    /// the provider's own answer alone. A rejected transfer is dead,
    /// which is what lets its payout have another.
    pub fn may_become(self, to: Self) -> bool {
        use TransferState::{Accepted, Prepared, Rejected, Returned, Sending, Settled, Unknown};
        matches!(
            (self, to),
            (Prepared, Sending | Rejected)
                | (Sending, Prepared | Unknown | Accepted | Rejected)
                | (Unknown, Accepted | Settled | Rejected)
                | (Accepted, Settled | Rejected)
                | (Settled, Returned)
        )
    }

    /// Whether the transfer moves, may move or has moved money: a payout has at most one (I10).
    pub fn is_live_or_won(self) -> bool {
        !matches!(self, Self::Rejected | Self::Returned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unclear_answer_is_never_turned_into_a_second_attempt() {
        assert!(TransferState::Unknown.is_live_or_won());
        assert!(TransferState::Sending.is_live_or_won());
        assert!(!TransferState::Unknown.may_become(TransferState::Sending));
    }

    #[test]
    fn a_dead_transfer_stays_dead() {
        for to in TransferState::ALL {
            assert!(!TransferState::Rejected.may_become(*to), "{to}");
            assert!(!TransferState::Returned.may_become(*to), "{to}");
        }
    }
}
