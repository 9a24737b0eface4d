//! Amounts as JSON numbers in major units, read from the number's own text and written with the
//! currency's digits: no float on the way in or out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::problem::Problem;
use crate::domain::{Currency, Money};

/// The longest number that is read: no amount needs half of it.
const LONGEST: usize = 64;

/// An amount as it is shown: `250.00`, `-3.50`, `1240` yen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount(pub Money);

impl Amount {
    /// An amount of `minor` units.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self(Money::new(minor, currency))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number: serde_json::Number =
            self.0.to_string().parse().map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number);
        let words = "Major units of the currency beside it, exact to its last digit.";
        number.description(Some(words)).examples([serde_json::json!(250)]).build().into()
    }
}

impl ToSchema for Amount {
    fn name() -> Cow<'static, str> {
        "Amount".into()
    }
}

/// An amount that somebody brings, before its currency is known.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub(super) struct BroughtAmount(serde_json::Number);

impl BroughtAmount {
    /// The amount in `currency`.
    ///
    /// # Errors
    /// 422 if it has more digits than the currency, or is larger than an amount can be.
    pub fn in_currency(&self, currency: Currency) -> Result<Money, Problem> {
        let text = self.0.to_string();
        if text.len() > LONGEST {
            let detail = format!("an amount is written in at most {LONGEST} characters");
            return Err(Problem::meaningless("amount_unusable", detail));
        }
        Money::from_number(&text, currency)
            .map_err(|wrong| Problem::meaningless("amount_unusable", wrong.to_string()))
    }
}

impl PartialSchema for BroughtAmount {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number);
        let words = "Major units, with at most the currency's own number of digits. Never rounded.";
        number.description(Some(words)).examples([serde_json::json!(250)]).build().into()
    }
}

impl ToSchema for BroughtAmount {
    fn name() -> Cow<'static, str> {
        "BroughtAmount".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd() -> Currency {
        "USD".parse().expect("a currency")
    }

    fn brought(json: &str) -> Result<i64, Problem> {
        let amount: BroughtAmount = serde_json::from_str(json).expect("a number");
        amount.in_currency(usd()).map(|money| money.minor)
    }

    #[test]
    fn no_cent_is_lost_on_the_way_in() {
        assert_eq!(brought("250").expect("taken"), 25_000);
        assert_eq!(brought("1e2").expect("taken"), 10_000);
        assert_eq!(brought("1.5E1").expect("taken"), 1_500);
        assert_eq!(brought("0.3").expect("taken"), 30);
        assert_eq!(brought("12.340").expect("taken"), 1_234);
        assert_eq!(brought("0e99").expect("taken"), 0);
        assert_eq!(brought("1.0000000000000000000000000000000000000000").expect("taken"), 100);
        assert_eq!(brought("100.0e-1").expect("taken"), 1_000);
        assert_eq!(brought("90071992547409.93").expect("taken"), 9_007_199_254_740_993);
        // What 0.1 + 0.2 is in a language of floats: not thirty cents.
        let endless = format!("1.{}", "0".repeat(5_000));
        assert!(brought(&endless).expect_err("too long").detail().len() < 100);
        for refused in ["0.30000000000000004", "0.001", "1e400", "1e-3", "92233720368547758.08"] {
            brought(refused).expect_err(refused);
        }
    }

    #[test]
    fn no_cent_is_lost_on_the_way_out() {
        let shown = |minor| serde_json::to_string(&Amount::new(minor, usd())).expect("JSON");
        assert_eq!(shown(124_050), "1240.50");
        assert_eq!(shown(9_007_199_254_740_993), "90071992547409.93");
        assert_eq!(shown(-5), "-0.05");
        let yen = Amount::new(1240, "JPY".parse().expect("a currency"));
        assert_eq!(serde_json::to_string(&yen).expect("JSON"), "1240");
    }
}
