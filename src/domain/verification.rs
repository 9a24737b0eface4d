//! How a payee proves that a destination is theirs: consent at the provider, or the amounts of two
//! small deposits. Only rules; who sends and who asks is the engine.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::words::words;
use super::{AffiliateId, Currency, Minted, ProgramId, WalletKey};

words! {
    /// How a verification proves a method.
    VerificationKind as "kind of verification" {
        /// The payee signs in at the provider, which tells us whose account it is.
        Consent = "consent",
        /// The payee tells the amounts of two small deposits.
        MicroDeposits = "micro_deposits",
        /// The provider says by itself that the account can receive money.
        Capability = "capability",
        /// A person looked.
        Manual = "manual",
    }
}

words! {
    /// Where a verification stands. Only an open one can still prove anything.
    VerificationStatus as "verification status" {
        Open = "open",
        Confirmed = "confirmed",
        Failed = "failed",
        Expired = "expired",
        /// The method was changed, disabled, or its verification started again.
        Superseded = "superseded",
    }
}

/// Tries to tell the amounts of the deposits.
pub const TRIES: i64 = 3;
/// How long the amounts may be told.
pub const DEPOSITS_LIVE: TimeDelta = TimeDelta::days(14);
/// How long a consent may take.
pub const CONSENT_LIVES: TimeDelta = TimeDelta::minutes(15);

/// The largest deposit, in minor units. Under a dollar is the rule of Nacha (and ACCTVERIFY its
/// word for the entry); under fifty cents is what payees are used to.
const LARGEST: u128 = 49;

/// Two deposits of different amounts, the smaller one first.
///
/// Debug does not show them: who knows them passes for the payee.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MicroDeposits {
    small: i64,
    large: i64,
}

/// What a payee's word about the deposits comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// They are the amounts.
    Right,
    /// They are not; with no try left it has failed.
    Wrong {
        /// How often it may be told again.
        tries_left: i64,
    },
    /// It came too late, or after the last try.
    Expired,
}

/// Deposits that wait to be told, as they are kept.
#[derive(Debug, Clone)]
pub struct Challenge {
    pub salt: String,
    pub hash: String,
    pub tries_left: i64,
    pub expires_at: DateTime<Utc>,
}

impl Minted for MicroDeposits {
    /// One of all pairs, each as likely as the others.
    fn from_parts(_millis: u64, random: u128) -> Self {
        let first = random % LARGEST;
        // One of the others: as far from the first as it is counted.
        let second = (first + 1 + random / LARGEST % (LARGEST - 1)) % LARGEST;
        let minor = |index: u128| i64::try_from(index + 1).expect("below fifty");
        Self { small: minor(first.min(second)), large: minor(first.max(second)) }
    }
}

impl MicroDeposits {
    /// Two amounts that somebody tells, in any order; `None` if they are not two.
    pub fn told(minors: &[i64]) -> Option<Self> {
        match minors {
            [one, other] => Some(Self { small: *one.min(other), large: *one.max(other) }),
            _ => None,
        }
    }

    /// Both amounts, in minor units.
    pub fn minors(&self) -> [i64; 2] {
        [self.small, self.large]
    }

    /// What is kept of them. They are few, so the hash keeps them from a glance, not from a
    /// search; their payouts in the ledger hold them anyway.
    pub fn hash(&self, salt: &str) -> String {
        let text = format!("{}:{salt}:{}:{}", salt.len(), self.small, self.large);
        hex::encode(Sha256::digest(text.as_bytes()))
    }
}

impl std::fmt::Debug for MicroDeposits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MicroDeposits(…)")
    }
}

impl Challenge {
    /// Judges what a payee tells. A word that comes too late costs no try, and proves nothing.
    pub fn judge(&self, told: MicroDeposits, now: DateTime<Utc>) -> Judgement {
        if now >= self.expires_at || self.tries_left <= 0 {
            return Judgement::Expired;
        }
        let hash = told.hash(&self.salt);
        match verify_slices_are_equal(hash.as_bytes(), self.hash.as_bytes()) {
            Ok(()) => Judgement::Right,
            Err(_) => Judgement::Wrong { tries_left: self.tries_left - 1 },
        }
    }
}

/// 128 random bits, in hex: a salt, or a word that only one person was told.
///
/// Debug does not show it.
#[derive(Clone)]
pub struct Nonce(String);

impl Minted for Nonce {
    fn from_parts(_millis: u64, random: u128) -> Self {
        Self(format!("{random:032x}"))
    }
}

impl Nonce {
    /// The bits as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce(…)")
    }
}

/// What the house's own money is booked under: deposits that prove methods. It is nobody's
/// enrolment, so no candidate is ever made of its wallet.
const HOUSE: &str = "payoutd:house";

/// The wallet that deposits are paid from.
pub fn house_wallet(currency: Currency) -> WalletKey {
    WalletKey { affiliate_id: HOUSE.parse().expect("an id"), currency }
}

/// The program that deposits are booked under.
pub fn house_program() -> ProgramId {
    HOUSE.parse().expect("an id")
}

impl AffiliateId {
    /// Whether it is kept for the house: nobody may enrol under it.
    pub fn is_house(&self) -> bool {
        self.as_str() == HOUSE
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-02T09:00:00Z".parse().expect("an instant")
    }

    fn challenge(deposits: MicroDeposits) -> Challenge {
        let (salt, expires_at) = ("salt".to_owned(), now() + DEPOSITS_LIVE);
        Challenge { hash: deposits.hash(&salt), salt, tries_left: TRIES, expires_at }
    }

    #[test]
    fn deposits_are_two_different_amounts_from_one_to_forty_nine_and_every_pair_comes() {
        let mut seen = HashMap::new();
        for random in 0..(49 * 48) {
            let [small, large] = MicroDeposits::from_parts(0, random).minors();
            assert!(1 <= small && small < large && large <= 49, "{small} {large}");
            *seen.entry((small, large)).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 49 * 48 / 2);
        assert!(seen.values().all(|times| *times == 2), "each as likely as the others");
    }

    #[test]
    fn the_amounts_are_told_in_any_order_and_are_two() {
        let kept = challenge(MicroDeposits::told(&[12, 34]).expect("two"));
        for told in [[12, 34], [34, 12]] {
            let told = MicroDeposits::told(&told).expect("two");
            assert_eq!(kept.judge(told, now()), Judgement::Right);
        }
        for told in [[12, 35], [12, 12], [34, 34], [0, 34], [-12, 34], [1, 234]] {
            let told = MicroDeposits::told(&told).expect("two");
            assert_eq!(kept.judge(told, now()), Judgement::Wrong { tries_left: 2 });
        }
        for told in [&[][..], &[12], &[12, 34, 1]] {
            assert!(MicroDeposits::told(told).is_none());
        }
    }

    #[test]
    fn a_right_word_that_comes_too_late_or_after_the_last_try_proves_nothing() {
        let deposits = MicroDeposits::told(&[1, 2]).expect("two");
        let kept = challenge(deposits);
        let last = kept.expires_at - TimeDelta::milliseconds(1);
        assert_eq!(kept.judge(deposits, last), Judgement::Right);
        assert_eq!(kept.judge(deposits, kept.expires_at), Judgement::Expired);
        let spent = Challenge { tries_left: 0, ..kept };
        assert_eq!(spent.judge(deposits, now()), Judgement::Expired);
    }

    #[test]
    fn what_is_kept_differs_by_salt_and_nothing_prints_the_amounts() {
        let deposits = MicroDeposits::told(&[7, 31]).expect("two");
        assert_ne!(deposits.hash("a"), deposits.hash("b"));
        assert_eq!(format!("{deposits:?}"), "MicroDeposits(…)");
    }
}
