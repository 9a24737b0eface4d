//! What a job or a program may spend, what waits for a person, and what looks so unusual that it is
//! stopped. Amounts are minor units of their currency.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};

use super::words::words;
use super::{Currency, Money, ProgramId};

words! {
    /// Why a payout waits until a person approves it.
    ApprovalReason as "approval reason" {
        /// It is of more than may go by itself.
        AboveLimit = "above_limit",
        /// No payout of the affiliate has arrived before.
        FirstPayout = "first_payout",
        /// It goes elsewhere than the last one that arrived.
        ChangedMethod = "changed_method",
    }
}

/// The most that may be paid; what is `None`, or names no amount in a currency, limits nothing. Each
/// org's payouts count for that org alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    #[serde(deserialize_with = "positive")]
    pub payouts_per_run: Option<i64>,
    /// In a calendar day of the holder's zone.
    #[serde(deserialize_with = "positive")]
    pub payouts_per_day: Option<i64>,
    pub amount_per_payout: Caps,
    pub amount_per_run: Caps,
    pub amount_per_day: Caps,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is limited in one currency.
    pub fn bounds(&self, currency: Currency) -> Bounds {
        Bounds {
            payout_minor: self.amount_per_payout.minor(currency),
            run_minor: self.amount_per_run.minor(currency),
            day_minor: self.amount_per_day.minor(currency),
            run_payouts: self.payouts_per_run,
            day_payouts: self.payouts_per_day,
        }
    }
}

/// The most that may be paid in one currency, in its minor units; `None` limits nothing. Counts are
/// of payouts in all currencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    pub payout_minor: Option<i64>,
    pub run_minor: Option<i64>,
    pub day_minor: Option<i64>,
    pub run_payouts: Option<i64>,
    pub day_payouts: Option<i64>,
}

/// Whose limits they are: a job's or a program's. Its text is its key in the database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(String);

impl Holder {
    /// A job.
    pub fn job(job_id: &str) -> Self {
        Self(format!("job:{job_id}"))
    }

    /// A program.
    pub fn program(program: &ProgramId) -> Self {
        Self(format!("program:{program}"))
    }

    /// `job:auto-payout` or `program:creator`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was asked for so far: payouts in all currencies, and the amount in one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    pub payouts: i64,
    /// Minor units.
    pub minor: i64,
}

/// What one holder allows a payout of one currency, and what was asked for before it.
#[derive(Debug, Clone)]
pub struct Allowance {
    pub holder: Holder,
    pub bounds: Bounds,
    /// In this run.
    pub run: Used,
    /// In this day of the holder's zone.
    pub day: Used,
}

/// What a program may spend, and which of its payouts wait for a person beside those above an amount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramLimits {
    pub limits: Limits,
    /// The first that an affiliate is paid.
    pub approve_first: bool,
    /// Those that go elsewhere than the last one that arrived.
    pub approve_changed: bool,
}

/// Which payouts wait until a person approves them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalRules {
    /// Those of more than this.
    pub above: Caps,
    /// The first that an affiliate is paid.
    pub first_payout: bool,
    /// Those that go elsewhere than the last one that arrived.
    pub changed_method: bool,
}

/// Stops a run whose amount or count is beyond `factor` times the median of the runs before it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    #[serde(deserialize_with = "factor")]
    pub factor: Decimal,
    /// How many runs before it are looked at: the latest that paid anybody.
    #[serde(default = "eight")]
    pub runs: usize,
    /// With fewer than these there is no median yet, and nothing is stopped.
    #[serde(default = "three")]
    pub at_least: usize,
}

impl Breaker {
    /// The median of what earlier runs came to, if `now` is beyond the factor of it. With too few
    /// of them there is none, and nothing is unusual.
    pub fn trips(&self, earlier: &[i64], now: i64) -> Option<Decimal> {
        if earlier.is_empty() || earlier.len() < self.at_least {
            return None;
        }
        let mut sorted = earlier.to_vec();
        sorted.sort_unstable();
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        let median = (Decimal::from(below) + Decimal::from(above)) / Decimal::TWO;
        // A factor beyond all numbers is never reached.
        let most = self.factor.checked_mul(median)?;
        (Decimal::from(now) > most).then_some(median)
    }
}

/// Amounts by currency, written as `{ USD = "1000.00" }`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caps(BTreeMap<Currency, i64>);

impl Caps {
    /// The amount in a currency, in minor units.
    pub fn minor(&self, currency: Currency) -> Option<i64> {
        self.0.get(&currency).copied()
    }

    /// Whether no currency is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every amount, by currency.
    pub fn iter(&self) -> impl Iterator<Item = Money> + '_ {
        self.0.iter().map(|(currency, minor)| Money::new(*minor, *currency))
    }
}

impl Caps {
    /// Names another amount in a currency, or none.
    pub fn set(&mut self, currency: Currency, minor: Option<i64>) {
        match minor {
            Some(minor) => self.0.insert(currency, minor),
            None => self.0.remove(&currency),
        };
    }
}

impl FromIterator<Money> for Caps {
    fn from_iter<T: IntoIterator<Item = Money>>(amounts: T) -> Self {
        Self(amounts.into_iter().map(|amount| (amount.currency, amount.minor)).collect())
    }
}

impl<'de> Deserialize<'de> for Caps {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let texts = BTreeMap::<Currency, String>::deserialize(from)?;
        let mut caps = BTreeMap::new();
        for (currency, text) in texts {
            let amount = Money::parse(&text, currency).map_err(D::Error::custom)?;
            if amount.minor < 0 {
                return Err(D::Error::custom(format!("{text} {currency} is below 0")));
            }
            caps.insert(currency, amount.minor);
        }
        Ok(Self(caps))
    }
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    match Option::<i64>::deserialize(from)? {
        Some(count) if count < 1 => {
            Err(serde::de::Error::custom(format!("{count} payouts is no limit: at least 1")))
        }
        count => Ok(count),
    }
}

/// A factor is text, as amounts are: `"2.5"`.
fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<Decimal, D::Error> {
    let text = String::deserialize(from)?;
    let factor: Option<Decimal> = text.parse().ok();
    let wants =
        || serde::de::Error::custom(format!("\"{text}\" is no factor: more than 1, as \"3\""));
    factor.filter(|factor| *factor > Decimal::ONE).ok_or_else(wants)
}

fn eight() -> usize {
    8
}

fn three() -> usize {
    3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_beyond_the_factor_of_the_median_is_unusual_and_one_at_it_is_not() {
        let breaker = Breaker { factor: "2.5".parse().expect("a factor"), runs: 8, at_least: 3 };
        let (odd, even) = ([100, 900, 200], [100, 200, 300, 900]);
        assert_eq!(breaker.trips(&odd, 500), None);
        assert_eq!(breaker.trips(&odd, 501), Some(Decimal::from(200)));
        assert_eq!(breaker.trips(&even, 625), None);
        assert_eq!(breaker.trips(&even, 626), Some(Decimal::from(250)));
        assert_eq!(breaker.trips(&odd[..2], i64::MAX), None, "two runs are no history");
        assert_eq!(breaker.trips(&[i64::MAX; 3], i64::MAX), None);
    }

    #[test]
    fn a_breaker_without_a_history_stops_nothing() {
        let breaker = Breaker { factor: Decimal::TWO, runs: 8, at_least: 0 };
        assert_eq!(breaker.trips(&[], i64::MAX), None);
    }
}
