//! How the bank treats a payment: as asked, unless somebody said otherwise for its reference, its
//! account or everybody.

use serde::{Deserialize, Serialize};

use super::ledger::{Payment, Rail};

/// What is done with a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Treatment {
    /// It is paid.
    Accept,
    /// It is not paid, and the answer says so.
    Reject,
    /// It is paid, and comes back.
    Return,
    /// It is paid, with a word about what is to be changed (NACHA only).
    Noc,
    /// It is paid, and nothing is said about it.
    Silent,
}

/// For whom a treatment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::sandbox) struct Behaviour {
    /// A reference, an account number, or `*` for everybody.
    #[serde(rename = "for")]
    pub(super) whom: String,
    pub(super) behaviour: Treatment,
    /// `R03`, `AC04`, `C01`, …; each rail says it in its own words.
    pub(super) code: Option<String>,
    /// Banking days from the settlement to the return.
    #[serde(default)]
    pub(super) days: u32,
    /// What an addenda 98 says is right.
    pub(super) corrected: Option<String>,
}

/// All that was said.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Behaviours(Vec<Behaviour>);

impl Behaviours {
    pub(super) fn set(&mut self, behaviour: Behaviour) {
        self.0.retain(|one| one.whom != behaviour.whom);
        self.0.push(behaviour);
    }

    pub(super) fn all(&self) -> &[Behaviour] {
        &self.0
    }

    /// The one for a payment: by its reference first, then by its account.
    pub(super) fn of(&self, payment: &Payment) -> Option<&Behaviour> {
        let by_name = |name: &str| self.0.iter().find(|one| one.whom == name);
        by_name(&payment.reference).or_else(|| by_name(&payment.account)).or_else(|| by_name("*"))
    }

    pub(super) fn treatment(&self, payment: &Payment) -> Treatment {
        self.of(payment).map_or(Treatment::Accept, |one| one.behaviour)
    }

    pub(super) fn is_silent(&self, payment: &Payment) -> bool {
        self.treatment(payment) == Treatment::Silent
    }
}

/// Codes of both rails that say the same, and what they say.
const REASONS: [(&str, &str, &str); 8] = [
    ("R02", "AC04", "the account is closed"),
    ("R03", "AC01", "there is no such account"),
    ("R04", "AC01", "the account number is invalid"),
    ("R16", "AC06", "the account is frozen"),
    ("R20", "AG01", "the account takes no such payment"),
    ("R15", "MD07", "the beneficiary has died"),
    ("R23", "CUST", "the receiver refused the payment"),
    ("R01", "AM04", "the funds do not suffice"),
];

/// A reason in the words of a rail; the account is closed unless told otherwise.
pub(super) fn reason(code: Option<&str>, rail: Rail) -> (String, &'static str) {
    let code = code.unwrap_or("R02");
    let known = REASONS.iter().find(|(nacha, iso, _)| *nacha == code || *iso == code);
    let words = known.map_or("the bank has its reasons", |(.., words)| words);
    let theirs = code.len() == 3;
    let code = match (rail, known) {
        (Rail::Ach, _) if theirs => code,
        (Rail::Wire, _) if !theirs => code,
        (Rail::Ach, Some((nacha, ..))) => nacha,
        (Rail::Wire, Some((_, iso, _))) => iso,
        (Rail::Ach, None) => "R17",
        (Rail::Wire, None) => "MS03",
    };
    (code.to_owned(), words)
}
