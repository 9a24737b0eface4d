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
    Unusable { field: String, reason: &'static str },
}

impl MethodKind {
    /// The section of its rail's settings: `[providers.stripe]`, …
    pub fn section(self) -> &'static str {
        match self {
            Self::Paypal => "paypal",
            Self::StripeConnect => "stripe",
            Self::Ach => "ach",
            Self::Wire => "wire",
        }
    }

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

/// What a field of a destination must be like, if it is there.
#[derive(Clone, Copy)]
enum Form {
    Email,
    /// A routing number: nine digits, the last of which checks the others.
    Routing,
    /// An account number of at most so many characters.
    Account(usize),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// ISO 3166, two capital letters.
    Country,
    /// A name or a part of an address, of at most so many characters.
    Text(usize),
}

/// The forms of the fields, by rail. A field that is not here may be any short text.
const FORMS: &[(MethodKind, &str, Form)] = &[
    (MethodKind::Paypal, "email", Form::Email),
    (MethodKind::StripeConnect, "account", Form::Account(255)),
    (MethodKind::Ach, "routingNumber", Form::Routing),
    (MethodKind::Ach, "accountNumber", Form::Account(17)),
    (MethodKind::Ach, "accountType", Form::OneOf(&["checking", "savings"])),
    (MethodKind::Ach, "accountHolderName", Form::Text(140)),
    (MethodKind::Ach, "accountHolderType", Form::OneOf(&["individual", "company", "business"])),
    (MethodKind::Wire, "routingNumber", Form::Routing),
    (MethodKind::Wire, "accountNumber", Form::Account(34)),
    (MethodKind::Wire, "accountHolderName", Form::Text(140)),
    (MethodKind::Wire, "street", Form::Text(70)),
    (MethodKind::Wire, "buildingNumber", Form::Text(16)),
    (MethodKind::Wire, "postalCode", Form::Text(16)),
    (MethodKind::Wire, "city", Form::Text(35)),
    (MethodKind::Wire, "state", Form::Text(35)),
    (MethodKind::Wire, "country", Form::Country),
];

/// Characters of a field that has no form of its own.
const LONGEST_FIELD: usize = 1_000;

impl Form {
    /// Why the value does not have this form.
    fn breach(self, value: &str) -> Option<&'static str> {
        let (holds, reason) = match self {
            Self::Email => return email_breach(value),
            Self::Routing => (
                aba_check_digit_holds(value),
                "it is no 9-digit ABA number with a right check digit",
            ),
            Self::Account(most) => (
                is_account_number(value, most),
                "it is not made of letters, digits, - and _ alone, or too long for its rail",
            ),
            Self::OneOf(words) => (words.contains(&value), "it is none of the words for it"),
            Self::Country => (is_country(value), "it is no ISO 3166 code of two capital letters"),
            Self::Text(most) => (
                value.chars().count() <= most && value.chars().any(char::is_alphanumeric),
                "it is too long, or has neither letters nor digits",
            ),
        };
        (!holds).then_some(reason)
    }
}

impl Destination {
    /// Reads a destination that somebody brings, for the rail `kind`, from its JSON object.
    ///
    /// # Errors
    /// [`DestinationError`] if it is no object of text fields, a field that the rail needs is
    /// missing or empty, or a field cannot be right.
    pub fn parse(kind: MethodKind, json: &str) -> Result<Self, DestinationError> {
        let destination = Self::stored(kind, json)?;
        for field in kind.required_fields() {
            if destination.get(field).is_none_or(|value| value.trim().is_empty()) {
                return Err(DestinationError::Missing { kind, field });
            }
        }
        destination.check()?;
        Ok(destination)
    }

    /// Reads a destination that was taken before, maybe under looser rules: what it lacks is for
    /// its rail to refuse.
    ///
    /// # Errors
    /// [`DestinationError::NotAnObject`].
    pub fn stored(kind: MethodKind, json: &str) -> Result<Self, DestinationError> {
        let fields = serde_json::from_str(json).map_err(|_| DestinationError::NotAnObject)?;
        Ok(Self { kind, fields })
    }

    /// In the place of one that cannot be read: it has no field, and can only be asked about.
    pub fn unreadable(kind: MethodKind) -> Self {
        Self { kind, fields: BTreeMap::new() }
    }

    fn check(&self) -> Result<(), DestinationError> {
        let unusable = |field: &str, reason| {
            Err(DestinationError::Unusable { field: field.escape_debug().to_string(), reason })
        };
        for (field, value) in &self.fields {
            if value.chars().any(char::is_control) {
                return unusable(field, "it holds a control character");
            }
            if value.chars().count() > LONGEST_FIELD {
                return unusable(field, "it is longer than 1000 characters");
            }
        }
        for (_, field, form) in FORMS.iter().filter(|(kind, ..)| *kind == self.kind) {
            // An empty optional field is one that is not there.
            let value = self.get(field).filter(|value| !value.is_empty());
            if let Some(reason) = value.and_then(|value| form.breach(value)) {
                return unusable(field, reason);
            }
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

impl Destination {
    /// What says which account it is, whoever it is written by: two destinations of one account
    /// have the same. `None` if it lacks what an account has. A bank account is one whichever of
    /// the bank rails pays into it.
    pub fn account(&self) -> Option<String> {
        let parts = match self.kind {
            MethodKind::Paypal => {
                vec!["paypal".to_owned(), self.get("email")?.trim().to_lowercase()]
            }
            MethodKind::StripeConnect => vec!["stripe".to_owned(), self.get("account")?.to_owned()],
            MethodKind::Ach | MethodKind::Wire => {
                let number = self.get("accountNumber")?.chars().filter(|c| c.is_alphanumeric());
                let number = number.collect::<String>().to_uppercase();
                let number = number.trim_start_matches('0').to_owned();
                vec!["bank".to_owned(), self.get("routingNumber")?.to_owned(), number]
            }
        };
        Some(serde_json::to_string(&parts).expect("a list of text is always JSON"))
    }

    /// The end of its account number, if it has one: four characters, and never more than half.
    pub fn last4(&self) -> Option<String> {
        let number = match self.kind {
            MethodKind::Ach | MethodKind::Wire => self.get("accountNumber")?,
            MethodKind::Paypal | MethodKind::StripeConnect => return None,
        };
        let length = number.chars().count();
        Some(number.chars().skip(length - (length / 2).min(4)).collect())
    }

    /// The destination as people may see it: `****6789`, `a***@example.com`.
    pub fn masked(&self) -> String {
        match self.kind {
            MethodKind::Paypal => {
                let email = self.get("email").unwrap_or_default();
                let (user, host) = email.rsplit_once('@').unwrap_or((email, ""));
                let first: String = user.chars().take(1).collect();
                format!("{first}***@{host}")
            }
            // The id of a connected account is no secret, and moves nothing by itself.
            MethodKind::StripeConnect => self.get("account").unwrap_or_default().to_owned(),
            MethodKind::Ach | MethodKind::Wire => {
                format!("****{}", self.last4().unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({}, …)", self.kind)
    }
}

fn email_breach(email: &str) -> Option<&'static str> {
    let parts = email.split_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty());
    if parts.is_none() || email.contains(char::is_whitespace) {
        return Some("it is no e-mail address");
    }
    // PayPal's receiver field (payments_payouts_batch_v1.json, receiver maxLength).
    (email.chars().count() > 127).then_some("it is longer than 127 characters")
}

fn is_account_number(text: &str, most: usize) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() <= most && text.bytes().all(is_allowed) && text.bytes().any(|b| b != b'-')
}

fn is_country(code: &str) -> bool {
    code.len() == 2 && COUNTRIES.split_ascii_whitespace().any(|country| country == code)
}

/// ISO 3166-1 alpha-2, and XK, which banks use for Kosovo.
const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ \
    EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW \
    GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY \
    KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV \
    MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG \
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA \
    ZM ZW";

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

    fn with(kind: MethodKind, field: &str, value: &str) -> Result<Destination, DestinationError> {
        let mut fields = BTreeMap::from([
            ("routingNumber", "999999992"),
            ("accountNumber", "12-345"),
            ("accountType", "savings"),
            ("accountHolderName", "Zoë Żółć"),
            ("city", "Łódź"),
            ("country", "PL"),
        ]);
        fields.insert(field, value);
        Destination::parse(kind, &serde_json::to_string(&fields).expect("text is JSON"))
    }

    #[test]
    fn a_bank_account_is_held_to_what_its_rail_can_write() {
        for kind in [MethodKind::Ach, MethodKind::Wire] {
            with(kind, "buildingNumber", "").expect("an empty optional field is not there");
            for (field, value) in [
                ("routingNumber", "99999999"),
                ("accountNumber", "12 345"),
                ("accountNumber", "--"),
                ("accountNumber", "１２３"),
                ("accountHolderName", "…"),
                ("accountHolderName", "A\nB"),
                ("note", "\u{7}"),
            ] {
                with(kind, field, value).expect_err(field);
            }
        }
        with(MethodKind::Ach, "accountNumber", &"1".repeat(18)).expect_err("17 at most");
        with(MethodKind::Wire, "accountNumber", &"1".repeat(34)).expect("34 at most");
        with(MethodKind::Ach, "accountType", "Checking").expect_err("another word");
        with(MethodKind::Ach, "accountHolderType", "company").expect("a company");
        for country in ["pl", "XX", "POL", "P", "D A"] {
            with(MethodKind::Wire, "country", country).expect_err(country);
        }
    }

    #[test]
    fn what_was_stored_under_looser_rules_stays_readable() {
        let stored = Destination::stored(MethodKind::Wire, r#"{"accountNumber":"12 345"}"#);
        assert_eq!(stored.expect("an object").get("accountNumber"), Some("12 345"));
        assert!(Destination::stored(MethodKind::Wire, "[]").is_err());
    }

    #[test]
    fn an_account_is_the_same_one_however_it_is_written() {
        let account = |kind, json: &str| Destination::stored(kind, json).expect("stored").account();
        let paypal =
            |email: &str| account(MethodKind::Paypal, &format!(r#"{{"email":"{email}"}}"#));
        assert_eq!(paypal("Ana@Example.com"), paypal(" ana@example.com"));
        assert_ne!(paypal("ana@example.com"), paypal("anna@example.com"));
        let bank = |kind, routing: &str, number: &str| {
            account(kind, &format!(r#"{{"routingNumber":"{routing}","accountNumber":"{number}"}}"#))
        };
        let ach = bank(MethodKind::Ach, "021000021", "12-345a");
        for same in ["12345A", "0012345a", "1-2345-A"] {
            assert_eq!(bank(MethodKind::Wire, "021000021", same), ach, "{same}");
        }
        assert_ne!(bank(MethodKind::Ach, "021000021", "12346A"), ach);
        assert_ne!(bank(MethodKind::Ach, "091000019", "12345A"), ach);
        assert_eq!(account(MethodKind::Wire, r#"{"accountNumber":"1"}"#), None);
    }

    #[test]
    fn a_destination_is_shown_by_its_end_or_its_beginning_only() {
        let of = |kind, json: &str| Destination::stored(kind, json).expect("stored");
        let bank =
            |number: &str| of(MethodKind::Ach, &format!(r#"{{"accountNumber":"{number}"}}"#));
        for (number, last4) in
            [("123456789", "6789"), ("12345678", "5678"), ("12345", "45"), ("1", "")]
        {
            assert_eq!(bank(number).last4().as_deref(), Some(last4));
            assert_eq!(bank(number).masked(), format!("****{last4}"));
        }
        let paypal = of(MethodKind::Paypal, r#"{"email":"ana@example.com"}"#);
        assert_eq!((paypal.last4(), paypal.masked().as_str()), (None, "a***@example.com"));
    }

    #[test]
    fn a_destination_never_prints_itself() {
        let destination = Destination::parse(MethodKind::Paypal, r#"{"email":"a@b.c"}"#);
        assert_eq!(format!("{:?}", destination.expect("usable")), "Destination(paypal, …)");
    }
}
