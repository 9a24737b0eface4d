//! Amounts as Stripe counts them. Its smallest unit is not always ISO 4217's
//! (docs.stripe.com/currencies).

use super::Refusal;
use crate::domain::{Currency, Money};

/// Digits that Stripe counts a currency with.
fn digits(currency: Currency) -> u32 {
    match currency.code() {
        // None in ISO 4217.
        "ISK" | "UGX" => 2,
        // Two in ISO 4217.
        "MGA" => 0,
        _ => currency.exponent(),
    }
}

/// What amounts of a currency are multiples of: Stripe takes no more than its partners do.
fn step(currency: Currency) -> i64 {
    match (currency.code(), currency.exponent()) {
        ("ISK" | "UGX", _) => 100,
        (_, 3) => 10,
        _ => 1,
    }
}

/// The money that an amount in Stripe's unit is.
///
/// # Errors
/// [`Refusal`] if Stripe takes no such amount of the currency.
pub(super) fn money(amount: i64, currency: Currency) -> Result<Money, Refusal> {
    let even = (amount % step(currency) == 0).then_some(amount);
    let minor = even.and_then(|amount| rescaled(amount, digits(currency), currency.exponent()));
    minor.map(|minor| Money::new(minor, currency)).ok_or_else(|| {
        Refusal::invalid("amount", format!("Invalid amount of {currency}: {amount}"))
    })
}

/// An amount of money in Stripe's unit; `None` if it has no such amount.
pub(super) fn amount(money: Money) -> Option<i64> {
    rescaled(money.minor, money.currency.exponent(), digits(money.currency))
}

/// The same amount with other digits, if it comes out even.
fn rescaled(amount: i64, from: u32, to: u32) -> Option<i64> {
    let factor = 10_i64.pow(from.abs_diff(to));
    match to >= from {
        true => amount.checked_mul(factor),
        false => (amount % factor == 0).then(|| amount / factor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_stripes_unit_and_written_in_it() {
        for (stripes, code, text) in [
            (1_234, "USD", "12.34"),
            (1_234, "JPY", "1234"),
            (1_230, "KWD", "1.230"),
            (50_000, "UGX", "500"),
            (100, "ISK", "1"),
            (12, "MGA", "12.00"),
        ] {
            let currency: Currency = code.parse().expect("a currency");
            let read = money(stripes, currency).expect("an amount of Stripe's");
            assert_eq!(read, Money::parse(text, currency).expect("an amount"), "{code}");
            assert_eq!(amount(read), Some(stripes), "{code}");
        }
    }

    #[test]
    fn amounts_that_stripe_does_not_take_are_refused() {
        for (stripes, code) in [(1_234, "KWD"), (50_001, "UGX"), (i64::MAX, "MGA")] {
            assert!(money(stripes, code.parse().expect("a currency")).is_err(), "{code}");
        }
        let ariary = Money::new(1, "MGA".parse().expect("a currency"));
        assert_eq!(amount(ariary), None);
    }
}
