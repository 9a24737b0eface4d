//! Amounts as Stripe counts them. Stripe's smallest unit is not always ISO 4217's
//! (docs.stripe.com/currencies, read 2026-09): what does not come out even is refused, not rounded.

use crate::domain::{Currency, Money};
use crate::providers::Problem;

/// How Stripe counts a currency: the digits of its unit, and the step that amounts come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    digits: u32,
    step: i64,
}

fn count(currency: Currency) -> Option<Count> {
    let count = |digits, step| Some(Count { digits, step });
    match currency.code() {
        // Malagasy ariary has two digits in ISO 4217 and none at Stripe.
        "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => count(0, 1),
        // No digits in ISO 4217, two at Stripe, of which both are 0.
        "ISK" | "UGX" => count(2, 100),
        // Two digits everywhere, but Stripe pays out whole units alone: a rest would stay behind
        // in the payee's account.
        "HUF" | "TWD" => count(2, 100),
        // Three digits, of which Stripe's partners take two.
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => count(3, 10),
        _ if currency.exponent() == 2 => count(2, 1),
        _ => None,
    }
}

/// An amount in Stripe's unit.
///
/// # Errors
/// [`Problem`] `currency_not_at_stripe`, or `amount_not_at_stripe` if the amount has more digits
/// than Stripe takes of the currency.
pub(super) fn to_stripe(money: Money) -> Result<i64, Problem> {
    let code = money.currency.code();
    let Some(count) = count(money.currency) else {
        let words = format!("Stripe does not pay out {code}");
        return Err(Problem::new("currency_not_at_stripe", words));
    };
    let uneven = || {
        let words = format!("Stripe cannot send {money} {code}: it does not take the last digits");
        Problem::new("amount_not_at_stripe", words)
    };
    let minor = rescaled(money.minor, money.currency.exponent(), count.digits);
    minor.filter(|minor| minor % count.step == 0).ok_or_else(uneven)
}

/// What Stripe says in its own unit; `None` if that is no amount of the currency.
pub(super) fn from_stripe(minor: i64, currency: &str) -> Option<Money> {
    let currency: Currency = currency.to_ascii_uppercase().parse().ok()?;
    let minor = rescaled(minor, count(currency)?.digits, currency.exponent())?;
    Some(Money::new(minor, currency))
}

/// The same amount with other digits, if it comes out even.
fn rescaled(minor: i64, from: u32, to: u32) -> Option<i64> {
    let factor = 10_i64.pow(from.abs_diff(to));
    if to >= from {
        return minor.checked_mul(factor);
    }
    (minor % factor == 0).then(|| minor / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        let (amount, currency) = text.split_once(' ').expect("an amount and a currency");
        Money::parse(amount, currency.parse().expect("a currency")).expect("an amount")
    }

    #[test]
    fn amounts_are_counted_as_stripe_counts_them_and_read_back_the_same() {
        for (text, minor) in [
            ("12.34 USD", 1_234),
            ("0.01 EUR", 1),
            ("500 JPY", 500),
            ("7 VND", 7),
            ("12.00 MGA", 12),
            ("5 UGX", 500),
            ("5 ISK", 500),
            ("100.00 HUF", 10_000),
            ("800.00 TWD", 80_000),
            ("5.120 KWD", 5_120),
            ("1.000 BHD", 1_000),
        ] {
            assert_eq!(to_stripe(money(text)), Ok(minor), "{text}");
            let code = text[text.len() - 3..].to_ascii_lowercase();
            assert_eq!(from_stripe(minor, &code), Some(money(text)), "{text}");
        }
    }

    #[test]
    fn what_stripe_cannot_send_is_refused_and_never_rounded() {
        for (text, code) in [
            ("5.123 KWD", "amount_not_at_stripe"),
            ("0.001 TND", "amount_not_at_stripe"),
            ("100.50 HUF", "amount_not_at_stripe"),
            ("0.01 TWD", "amount_not_at_stripe"),
            ("12.50 MGA", "amount_not_at_stripe"),
            ("92233720368547759 ISK", "amount_not_at_stripe"),
            ("1.000 LYD", "currency_not_at_stripe"),
            ("1.0000 CLF", "currency_not_at_stripe"),
        ] {
            assert_eq!(to_stripe(money(text)).expect_err(text).code, code, "{text}");
        }
    }

    #[test]
    fn what_stripe_says_is_no_amount_unless_the_currency_has_it() {
        assert_eq!(from_stripe(-250, "usd"), Some(money("-2.50 USD")));
        for (minor, currency) in [(501, "isk"), (1, "xyz"), (1, ""), (i64::MAX, "mga")] {
            assert_eq!(from_stripe(minor, currency), None, "{minor} {currency}");
        }
    }
}
