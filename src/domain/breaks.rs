//! Breaks: where a provider's statement and our books tell different stories.

use super::words::words;

words! {
    /// What a statement and our books disagree about.
    BreakKind as "kind of break" {
        /// The statement has a payment that we know nothing of.
        UnknownHere = "unknown_here",
        /// We hold a payment as settled, and the statement of that time does not have it.
        MissingThere = "missing_there",
        /// Both have it, with other amounts.
        AmountDiffers = "amount_differs",
        /// The statement has a payment that we hold as not paid.
        PaidThere = "paid_there",
        /// The statement says that it came back; we hold it as settled and cannot ask.
        ReturnedThere = "returned_there",
    }
}
