//! Payout methods: where an affiliate's money goes.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::words::words;

words! {
    /// The rails, in the words of the API.
    MethodKind as "payout method" {
        Paypal = "paypal",
        StripeConnect = "stripe-connect",
        Ach = "ach",
        Wire = "wire",
    }
}

words! {
    /// Only a verified method can be paid.
    MethodStatus as "method status" {
        Pending = "pending",
        Verified = "verified",
        Failed = "failed",
        Disabled = "disabled",
    }
}

/// Where a method's money goes, in the shape that its rail needs.
///
/// Debug and Display show the rail only: account numbers and addresses stay out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    kind: MethodKind,
    fields: BTreeMap<String, String>,
}

/// Why a destination cannot be paid to. Display never repeats the destination itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DestinationError {
    #[error("the destination is not a JSON object of text fields")]
    NotAnObject,
    #[error("a {kind} destination needs \"{field}\"")]
    Missing { kind: MethodKind, field: &'static str },
    #[error("the destination's \"{field}\" is not usable: {reason}")]
    Unusable { field: &'static str, reason: &'static str },
}

impl MethodKind {
    /// The fields without which the rail cannot pay.
    fn required_fields(self) -> &'static [&'static str] {
        match self {
            Self::Paypal => &["email"],
            Self::StripeConnect => &["account"],
            Self::Ach => &["routingNumber", "accountNumber", "accountType", "accountHolderName"],
            // A wire's creditor needs a town and a country (ISO 20022 structured address).
            Self::Wire => {
                &["routingNumber", "accountNumber", "accountHolderName", "city", "country"]
            }
        }
    }
}

impl Destination {
    /// Reads a destination for the rail `kind` from its JSON object.
    ///
    /// # Errors
    /// [`DestinationError`] if it is no object of text fields, a field that the rail needs is
    /// missing or empty, or a field cannot be right.
    pub fn parse(kind: MethodKind, json: &str) -> Result<Self, DestinationError> {
        let fields: BTreeMap<String, String> =
            serde_json::from_str(json).map_err(|_| DestinationError::NotAnObject)?;
        for field in kind.required_fields() {
            if fields.get(*field).is_none_or(|value| value.trim().is_empty()) {
                return Err(DestinationError::Missing { kind, field });
            }
        }
        let destination = Self { kind, fields };
        destination.check()?;
        Ok(destination)
    }

    fn check(&self) -> Result<(), DestinationError> {
        let unusable = |field, reason| Err(DestinationError::Unusable { field, reason });
        if let Some(email) = self.get("email") {
            let parts =
                email.split_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty());
            if parts.is_none() || email.contains(char::is_whitespace) {
                return unusable("email", "it is no e-mail address");
            }
            // PayPal's receiver field (payments_payouts_batch_v1.json, receiver maxLength).
            if email.chars().count() > 127 {
                return unusable("email", "it is longer than 127 characters");
            }
        }
        if let Some(routing) = self.get("routingNumber")
            && !aba_check_digit_holds(routing)
        {
            return unusable(
                "routingNumber",
                "it is no 9-digit ABA number with a right check digit",
            );
        }
        Ok(())
    }

    /// The rail.
    pub fn kind(&self) -> MethodKind {
        self.kind
    }

    /// One field of the destination.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// The same destination with some fields replaced.
    ///
    /// # Errors
    /// [`DestinationError`] if it could not be paid to any more.
    pub fn with(&self, fields: &BTreeMap<String, String>) -> Result<Self, DestinationError> {
        let mut changed = self.clone();
        changed.fields.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        changed.check()?;
        Ok(changed)
    }

    /// The destination as JSON with sorted keys: equal destinations are equal text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.fields).expect("a map of text is always JSON")
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({}, …)", self.kind)
    }
}

/// ABA weights 3-7-1 over nine digits, a multiple of ten.
fn aba_check_digit_holds(routing: &str) -> bool {
    let digits: Vec<u32> = routing.chars().filter_map(|c| c.to_digit(10)).collect();
    let weights = [3, 7, 1].iter().cycle();
    digits.len() == 9
        && routing.len() == 9
        && digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_the_same_text_whatever_the_order_of_its_fields() {
        let left = Destination::parse(MethodKind::Paypal, r#"{"email":"a@b.c","note":"x"}"#);
        let right = Destination::parse(MethodKind::Paypal, r#"{"note":"x","email":"a@b.c"}"#);
        assert_eq!(left.expect("usable").to_json(), right.expect("usable").to_json());
    }

    #[test]
    fn what_a_rail_cannot_pay_to_is_refused_by_field() {
        let refused =
            |kind, json: &str| Destination::parse(kind, json).expect_err("unusable").to_string();
        assert!(refused(MethodKind::Paypal, "{}").contains("needs \"email\""));
        assert!(refused(MethodKind::Paypal, r#"{"email":"nobody"}"#).contains("no e-mail address"));
        assert!(refused(MethodKind::Paypal, "[1]").contains("not a JSON object"));
        let long = format!(r#"{{"email":"{}@b.c"}}"#, "a".repeat(127));
        assert!(refused(MethodKind::Paypal, &long).contains("127"));
        let wire = r#"{"routingNumber":"999999991","accountNumber":"1","accountHolderName":"A","city":"X","country":"US"}"#;
        assert!(refused(MethodKind::Wire, wire).contains("ABA"));
    }

    #[test]
    fn a_destination_never_prints_itself() {
        let destination = Destination::parse(MethodKind::Paypal, r#"{"email":"a@b.c"}"#);
        assert_eq!(format!("{:?}", destination.expect("usable")), "Destination(paypal, …)");
    }
}
