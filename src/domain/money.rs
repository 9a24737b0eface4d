//! Money: integer minor units inside, decimals at the edge, never a float, never a rounding.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An ISO 4217 currency that has minor units (0, 2, 3 or 4 digits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The three-letter code, upper case.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits after the point of an amount in major units.
    pub fn exponent(self) -> u32 {
        let digits = self.0.exponent().expect("a Currency is parsed only if it has an exponent");
        u32::from(digits)
    }

    /// The codes of every currency, in their order.
    pub fn codes() -> Vec<&'static str> {
        let letters = || 'A'..='Z';
        let pairs = letters().flat_map(|a| letters().map(move |b| (a, b)));
        let codes = pairs.flat_map(|(a, b)| letters().map(move |c| String::from_iter([a, b, c])));
        codes.filter_map(|code| Some(code.parse::<Self>().ok()?.code())).collect()
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(code: &str) -> Result<Self, MoneyError> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or_else(|| MoneyError::UnknownCurrency { code: code.to_owned() })
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(code: String) -> Result<Self, MoneyError> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// Why an amount cannot be taken. Nothing is ever rounded to make it fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MoneyError {
    #[error("\"{code}\" is not an ISO 4217 currency with minor units, such as USD")]
    UnknownCurrency { code: String },
    #[error("\"{text}\" is not an amount: expected digits with an optional point, such as 12.34")]
    NotAnAmount { text: String },
    #[error("\"{text}\" has {digits} digits after the point, {currency} has {allowed}")]
    TooManyDigits { text: String, digits: u32, currency: Currency, allowed: u32 },
    #[error("\"{text}\" is larger, or has more digits, than an amount can be")]
    TooLarge { text: String },
    #[error("an amount in {left} cannot be added to one in {right}")]
    CurrencyMismatch { left: Currency, right: Currency },
    #[error("the sum of {left} and {right} minor units is larger than an amount can be")]
    Overflow { left: i64, right: i64 },
}

/// An amount of one currency, in its minor units (cents for USD, yen for JPY).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    /// An amount of `minor` units.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Parses major units (`"12.34"`), exactly: no exponent, no grouping, no sign but a minus.
    ///
    /// # Errors
    /// [`MoneyError`] if the text is no amount, has more digits than the currency, or overflows.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let not_an_amount = || MoneyError::NotAnAmount { text: text.to_owned() };
        let too_large = || MoneyError::TooLarge { text: text.to_owned() };
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(not_an_amount());
        }
        let major = Decimal::from_str_exact(text).map_err(|_| too_large())?;
        let allowed = currency.exponent();
        if major.scale() > allowed {
            let (text, digits) = (text.to_owned(), major.scale());
            return Err(MoneyError::TooManyDigits { text, digits, currency, allowed });
        }
        let minor = major.checked_mul(Decimal::from(10_i64.pow(allowed))).ok_or_else(too_large)?;
        let minor = i64::try_from(minor.normalize()).map_err(|_| too_large())?;
        Ok(Self { minor, currency })
    }

    /// Reads major units as a JSON number writes them: an exponent is allowed (`1e2`), and zeros at
    /// the end say nothing.
    ///
    /// # Errors
    /// As [`Money::parse`].
    pub fn from_number(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let too_large = || MoneyError::TooLarge { text: text.to_owned() };
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let digits = match digits.contains('.') {
            true => digits.trim_end_matches('0').trim_end_matches('.'),
            false => digits,
        };
        let mut number = Decimal::from_str_exact(digits).map_err(|_| too_large())?.normalize();
        if number.is_zero() {
            return Ok(Self::new(0, currency));
        }
        let exponent: i32 = exponent.parse().map_err(|_| too_large())?;
        // More places than a Decimal has are no amount, and are never computed.
        if exponent.unsigned_abs() > Decimal::MAX_SCALE {
            return Err(too_large());
        }
        let ten = Decimal::TEN;
        for _ in 0..exponent {
            number = number.checked_mul(ten).ok_or_else(too_large)?;
        }
        if exponent < 0 {
            let scale = number.scale() + exponent.unsigned_abs();
            number.set_scale(scale).map_err(|_| too_large())?;
        }
        Self::parse(&number.normalize().to_string(), currency)
    }

    /// The amount in major units, with all of the currency's digits (`12.30`).
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.minor, self.currency.exponent())
    }

    /// Adds two amounts of one currency.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] or [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            let (left, right) = (self.currency, other.currency);
            return Err(MoneyError::CurrencyMismatch { left, right });
        }
        let overflow = MoneyError::Overflow { left: self.minor, right: other.minor };
        let minor = self.minor.checked_add(other.minor).ok_or(overflow)?;
        Ok(Self { minor, currency: self.currency })
    }
}

/// Major units with the currency's own number of digits, without the code: `12.30`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_decimal().to_string())
    }
}

/// Sums per currency; amounts of different currencies are never added to one another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoneyTotals(BTreeMap<Currency, i64>);

impl MoneyTotals {
    /// Adds an amount to its currency's sum.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn add(&mut self, money: Money) -> Result<(), MoneyError> {
        let sum = self.0.get(&money.currency).copied().unwrap_or(0);
        let sum = Money::new(sum, money.currency).checked_add(money)?;
        self.0.insert(sum.currency, sum.minor);
        Ok(())
    }

    /// Adds every sum of `other`.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn merge(&mut self, other: &Self) -> Result<(), MoneyError> {
        other.iter().try_for_each(|money| self.add(money))
    }

    /// The sums, by currency code.
    pub fn iter(&self) -> impl Iterator<Item = Money> + '_ {
        self.0.iter().map(|(currency, minor)| Money::new(*minor, *currency))
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `{"USD":"12.30"}`: decimal strings, so that no reader turns them into floats.
impl Serialize for MoneyTotals {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|money| (money.currency.code(), money.to_string())))
    }
}

impl<'de> Deserialize<'de> for MoneyTotals {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut totals = Self::default();
        for (currency, text) in BTreeMap::<Currency, String>::deserialize(deserializer)? {
            let money = Money::parse(&text, currency).map_err(D::Error::custom)?;
            totals.add(money).map_err(D::Error::custom)?;
        }
        Ok(totals)
    }
}

/// `12.30 USD, 5 JPY`, or `0` for no sum at all.
impl fmt::Display for MoneyTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.pad("0");
        }
        let sums: Vec<_> = self.iter().map(|money| format!("{money} {}", money.currency)).collect();
        f.pad(&sums.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().expect("a known currency")
    }

    #[test]
    fn amounts_are_read_in_each_currencys_own_digits() {
        for (text, code, minor) in [
            ("12.34", "USD", 1_234),
            ("12.3", "USD", 1_230),
            ("12", "USD", 1_200),
            ("0.00", "USD", 0),
            ("-0.01", "USD", -1),
            ("500", "JPY", 500),
            ("1.234", "KWD", 1_234),
            ("1.2345", "CLF", 12_345),
            ("92233720368547758.07", "USD", i64::MAX),
        ] {
            assert_eq!(Money::parse(text, currency(code)), Ok(Money::new(minor, currency(code))));
        }
    }

    #[test]
    fn amounts_that_do_not_fit_are_refused_and_never_rounded() {
        let usd = currency("USD");
        for text in ["12.345", "12.340", "0.001"] {
            let refused = Money::parse(text, usd);
            assert!(matches!(refused, Err(MoneyError::TooManyDigits { digits: 3, .. })), "{text}");
        }
        assert!(matches!(
            Money::parse("1.5", currency("JPY")),
            Err(MoneyError::TooManyDigits { .. })
        ));
        for text in
            ["", ".", "1.", ".5", "1e2", "+1", " 1", "1 ", "1_000", "1,000", "--1", "NaN", "١"]
        {
            assert!(
                matches!(Money::parse(text, usd), Err(MoneyError::NotAnAmount { .. })),
                "{text}"
            );
        }
        for text in ["92233720368547758.08", "99999999999999999999999999999999999999"] {
            assert!(matches!(Money::parse(text, usd), Err(MoneyError::TooLarge { .. })), "{text}");
        }
    }

    #[test]
    fn amounts_of_two_currencies_are_never_added() {
        let (usd, eur) = (Money::new(1, currency("USD")), Money::new(1, currency("EUR")));
        assert!(matches!(usd.checked_add(eur), Err(MoneyError::CurrencyMismatch { .. })));
        let mut totals = MoneyTotals::default();
        totals.add(usd).expect("fits");
        totals.add(eur).expect("fits");
        assert_eq!(totals.to_string(), "0.01 EUR, 0.01 USD");
    }

    #[test]
    fn every_code_that_is_listed_is_taken() {
        let codes = Currency::codes();
        assert!(codes.len() > 150 && codes.is_sorted() && codes.contains(&"JPY"));
        assert!(!codes.contains(&"XAU"));
    }

    #[test]
    fn gold_and_unknown_codes_are_no_currencies_to_pay_in() {
        for code in ["XAU", "usd", "US", "ZZZ", ""] {
            assert!(code.parse::<Currency>().is_err(), "{code}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_to_the_same_minor_units(
            minor in any::<i64>(),
            code in prop::sample::select(vec!["USD", "JPY", "KWD", "CLF"]),
        ) {
            let money = Money::new(minor, currency(code));
            prop_assert_eq!(Money::parse(&money.to_string(), money.currency), Ok(money));
        }

        #[test]
        fn sums_never_wrap(left in any::<i64>(), right in any::<i64>()) {
            let usd = currency("USD");
            let sum = Money::new(left, usd).checked_add(Money::new(right, usd));
            let exact = i128::from(left) + i128::from(right);
            prop_assert_eq!(sum.ok().map(|m| i128::from(m.minor)), i64::try_from(exact).ok().map(i128::from));
        }
    }
}
