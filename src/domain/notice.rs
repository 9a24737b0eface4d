//! What a rail tells unasked, in files: notices of single transfers, and statements of an account.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::money::{Currency, Money};
use super::words::words;

words! {
    /// What a notice says became of a transfer.
    NoticeWord as "notice" {
        Accepted = "accepted",
        Refused = "refused",
        Duplicate = "duplicate",
        Booked = "booked",
        Returned = "returned",
        Corrected = "corrected",
    }
}

/// What one file of a rail says of one transfer, or of a whole submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Our reference, as the rail repeats it; not checked to be one of ours.
    pub reference: String,
    /// Whether `reference` is that of a submission, and so the notice about all of its transfers.
    pub whole: bool,
    pub word: NoticeWord,
    /// The rail's own code: `R02`, `C01`, `AC04`, …
    pub code: Option<String>,
    pub message: Option<String>,
    pub amount: Option<Money>,
    /// The rail's own id of the transfer.
    pub provider_id: Option<String>,
    /// Our account that it was booked on, where the rail names it.
    pub account: Option<String>,
    /// The day that the rail gives for it: booked, returned, accepted for.
    pub on: Option<NaiveDate>,
    /// For `corrected`: the fields of the destination that the bank says are other than we have.
    /// Empty if it did not say in a way that can be taken over.
    pub correction: BTreeMap<String, String>,
}

/// An account's movements over some time, as the one who keeps it reports them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The statement's own id.
    pub id: String,
    /// The account as it is named in the statement.
    pub account: String,
    pub currency: Currency,
    pub from: DateTime<Utc>,
    /// The first instant that it no longer covers.
    pub to: DateTime<Utc>,
    pub lines: Vec<StatementLine>,
    /// The balance at the end, where it is given; below zero if the account is overdrawn.
    pub closing: Option<Money>,
}

/// One movement of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    /// Our reference, where the line repeats one.
    pub reference: Option<String>,
    /// The keeper's own id of the movement.
    pub provider_id: Option<String>,
    pub direction: Direction,
    /// Never below zero.
    pub amount: Money,
    pub booked_on: Option<NaiveDate>,
    /// Whether it is money of an earlier line that came back.
    pub is_return: bool,
    /// What the line says about itself, for people.
    pub text: String,
}

words! {
    /// Which way a statement's line moves money, seen from the account.
    Direction as "direction" {
        Out = "out",
        In = "in",
    }
}
