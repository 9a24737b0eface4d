//! Identifiers. Those that users bring (org, program, affiliate, commission) are kept as they
//! are; those that payoutd mints are prefixed ULIDs, sortable by time of birth.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ulid::Ulid;

/// Longest id that a user may bring, in characters.
const LONGEST: usize = 128;

/// An id that cannot be used; Display says which and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    #[error("the {what} is empty")]
    Empty { what: &'static str },
    #[error("the {what} has {length} characters; at most {LONGEST} are allowed")]
    TooLong { what: &'static str, length: usize },
    #[error("the {what} \"{id}\" holds a space or a control character")]
    BadCharacter { what: &'static str, id: String },
    #[error("\"{id}\" is not a {what}: expected {expected}")]
    WrongForm { what: &'static str, id: String, expected: &'static str },
}

fn accept(what: &'static str, id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        return Err(IdError::Empty { what });
    }
    let length = id.chars().count();
    if length > LONGEST {
        return Err(IdError::TooLong { what, length });
    }
    if id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let id = id.escape_debug().to_string();
        return Err(IdError::BadCharacter { what, id });
    }
    Ok(())
}

/// An id that payoutd mints: a prefix and a ULID.
pub trait Minted: Sized {
    /// The new id of the instant and randomness given; `crate::clock` is the one caller.
    fn from_parts(millis: u64, random: u128) -> Self;
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $what:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(id: &str) -> Result<Self, IdError> {
                accept($what, id)?;
                Ok(Self(id.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(id: String) -> Result<Self, IdError> { id.parse() }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String { id.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }
    };
    ($(#[$meta:meta])* $name:ident, $what:literal, $prefix:literal) => {
        id!($(#[$meta])* $name, $what);
        impl Minted for $name {
            fn from_parts(millis: u64, random: u128) -> Self {
                Self(format!("{}{}", $prefix, Ulid::from_parts(millis, random)))
            }
        }
    };
}

id!(/** A tenant; first column of every key. */ OrgId, "org id");
id!(/** A program's unique name within its org. */ ProgramId, "program");
id!(/** The person behind one or several enrolments (a token's `sub`). */ PartnerId, "partner id");
id!(/** One person's enrolment in one program. */ AffiliateId, "affiliate id");
id!(/** One referral's earning. */ CommissionId, "commission id");
id!(/** One refund of an order, as the shop names it. */ RefundId, "refund id");
id!(/** What a person adds to a wallet or takes from it. */ AdjustmentId, "adjustment id", "adj_");
id!(/** One affiliate's money asked out. */ PayoutId, "payout id", "po_");
id!(/** One attempt to move a payout's money. */ TransferId, "transfer id", "tr_");
id!(/** The transfers that leave in one call or one file. */ SubmissionId, "submission id", "sub_");
id!(/** A payout method on file. */ MethodId, "method id", "pm_");
id!(/** Where a method's money goes, sealed; never changed. */ DestinationId, "destination id", "de_");
id!(/** A data key of an org, which its account numbers are sealed under. */ KeyId, "key id", "dk_");
id!(/** One execution of a job. */ RunId, "run id", "run_");
id!(/** What a run would do, written down. */ PlanId, "plan id", "pl_");
id!(/** What a provider's statement and our books disagree about. */ BreakId, "break id", "br_");
id!(/** What a person has to look at. */ AlertId, "alert id", "al_");
id!(/** One act of the audit log. */ AuditId, "audit id", "au_");
id!(/** One try to prove a payout destination. */ VerificationId, "verification id", "ve_");
id!(/** A program's key to the API. */ ApiKeyId, "key id", "key_");
id!(/** One request to the API. */ RequestId, "request id", "rq_");
id!(/** Where an org wants to be told what happens. */ EndpointId, "endpoint id", "we_");
id!(/** Something that happened and is told; every delivery of it carries this id. */ EventId, "event id", "ev_");
id!(/** What one letter says of one transfer. */ NoticeId, "notice id", "no_");
id!(/** One transaction's worth of a job's work. */ BatchId, "batch id", "ba_");

/// Who did a thing, for the record: `system:<job>`, `cli:<user>`, `staff:<sub>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(String);

impl Actor {
    /// A job acting on its own schedule or for the person who started it.
    pub fn job(job_id: &str) -> Self {
        Self(format!("system:{job_id}"))
    }

    /// A person at the command line.
    pub fn operator(name: &str) -> Self {
        Self(format!("cli:{name}"))
    }

    /// Whoever called the API: `staff:ann`, `partner:alex`, `service:key_…`.
    pub fn caller(role: &str, id: &str) -> Self {
        Self(format!("{role}:{id}"))
    }

    /// The actor as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What we call a transfer, or a submission, towards a provider: 15 characters of `[A-Z0-9]`,
/// unique for ever, so that it fits every rail's reference field (an ACH individual id is 15).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(String);

impl Reference {
    /// Length of every reference, in characters.
    pub const LENGTH: usize = 15;
    const ALPHABET: &'static [u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Minted for Reference {
    /// Random in all 75 bits: it says nothing about order or volume to whoever reads it on a
    /// bank statement, and two are never alike.
    fn from_parts(_millis: u64, random: u128) -> Self {
        let symbol = |i: usize| {
            let index = (random >> (5 * i)) & 31;
            char::from(Self::ALPHABET[index as usize])
        };
        Self((0..Self::LENGTH).map(symbol).collect())
    }
}

impl FromStr for Reference {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = text.len() == Self::LENGTH
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        if !fits {
            return Err(IdError::WrongForm {
                what: "reference",
                id: text.to_owned(),
                expected: "15 characters of A-Z and 0-9",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Reference {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_users_bring_are_kept_as_they_are() {
        let id: AffiliateId = "alex/2K9-é".parse().expect("a usable id");
        assert_eq!(id.as_str(), "alex/2K9-é");
    }

    #[test]
    fn empty_long_and_blank_ids_are_refused_with_their_name() {
        let refused = |id: &str| AffiliateId::from_str(id).expect_err("unusable").to_string();
        assert_eq!(refused(""), "the affiliate id is empty");
        assert!(refused(&"x".repeat(129)).contains("129 characters"));
        assert!(refused("a b").contains("a space"));
        assert!(refused("a\u{0}b").contains("control character"));
    }

    #[test]
    fn references_fit_the_narrowest_rail_and_use_every_bit() {
        let low = Reference::from_parts(1, 0);
        assert_eq!(low.as_str(), "000000000000000");
        let high = Reference::from_parts(1, (1 << 75) - 1);
        assert_eq!(high.as_str(), "ZZZZZZZZZZZZZZZ");
        assert!("short".parse::<Reference>().is_err());
        assert!("abcdefghijklmno".parse::<Reference>().is_err());
    }
}
