//! How words, ids and currencies of the domain stand in the document, so that it says exactly what
//! is taken.

use std::borrow::Cow;

use serde::Deserialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::problem::Problem;
use crate::domain::{
    AffiliateId, AffiliateStatus, CommissionId, CommissionStatus, Currency, DeliveryStatus,
    EndpointId, EventId, Gate, HaltScope, MethodId, MethodKind, OrgId, PartnerId, PayoutId,
    PayoutOrigin, PayoutStatus, Permission, ProgramId, ProgramStatus, RunId, TransferState,
};

/// Ids are short texts without spaces and control characters.
const ID_PATTERN: &str = r"^[^\s\x00-\x1f\x7f-\x9f]+$";
const LONGEST_ID: usize = 128;

macro_rules! schema_of {
    ($($name:ty as $word:literal by $schema:expr),+ $(,)?) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> { $schema.build().into() }
        }
        impl ToSchema for $name {
            fn name() -> Cow<'static, str> { $word.into() }
        }
    )+};
}

macro_rules! words {
    ($name:ty) => {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(<$name>::ALL.iter().map(|word| word.as_str())))
    };
}

fn id() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(LONGEST_ID))
        .pattern(Some(ID_PATTERN))
}

fn currencies() -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.description(Some("ISO 4217")).enum_values(Some(Currency::codes()))
}

schema_of! {
    AffiliateStatus as "AffiliateStatus" by words!(AffiliateStatus),
    CommissionStatus as "CommissionStand" by words!(CommissionStatus),
    DeliveryStatus as "DeliveryStatus" by words!(DeliveryStatus),
    Gate as "Gate" by words!(Gate),
    HaltScope as "HaltScope" by words!(HaltScope),
    MethodKind as "MethodKind" by words!(MethodKind),
    PayoutOrigin as "PayoutOrigin" by words!(PayoutOrigin),
    Permission as "Permission" by words!(Permission),
    PayoutStatus as "PayoutStatus" by words!(PayoutStatus),
    ProgramStatus as "ProgramStatus" by words!(ProgramStatus),
    TransferState as "TransferState" by words!(TransferState),
    AffiliateId as "AffiliateId" by id(),
    CommissionId as "CommissionId" by id(),
    EndpointId as "EndpointId" by id(),
    EventId as "EventId" by id(),
    MethodId as "MethodId" by id(),
    OrgId as "OrgId" by id(),
    PartnerId as "PartnerId" by id(),
    PayoutId as "PayoutId" by id(),
    ProgramId as "ProgramId" by id(),
    RunId as "RunId" by id(),
    Currency as "Currency" by currencies(),
    BroughtCurrency as "BroughtCurrency" by currencies(),
    Instant as "Instant" by ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("RFC 3339")),
}

/// A currency that somebody brings; one that is none means nothing (422).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct BroughtCurrency(String);

impl BroughtCurrency {
    /// The currency.
    ///
    /// # Errors
    /// 422 if there is no such currency.
    pub fn known(&self) -> Result<Currency, Problem> {
        self.0.parse().map_err(|_| {
            let named: String = self.0.chars().take(8).collect();
            let detail =
                format!("\"{}\" is no ISO 4217 currency, such as USD", named.escape_debug());
            Problem::meaningless("unknown_currency", detail)
        })
    }
}

/// A whole number that somebody brings. JSON knows one kind of number, so `7.0` is seven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "serde_json::Number")]
pub(super) struct Whole(pub i64);

impl TryFrom<serde_json::Number> for Whole {
    type Error = &'static str;

    fn try_from(number: serde_json::Number) -> Result<Self, Self::Error> {
        let text = number.to_string();
        let whole = text.split_once('.').map_or(text.as_str(), |(whole, rest)| {
            if rest.bytes().all(|digit| digit == b'0') { whole } else { &text }
        });
        whole.parse().map(Self).map_err(|_| "expected a whole number")
    }
}

/// An instant that somebody brings, of any offset; a day alone is its first instant in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Instant(pub chrono::DateTime<chrono::Utc>);

impl TryFrom<String> for Instant {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
        let instant = DateTime::parse_from_rfc3339(&text)
            .ok()
            .and_then(|at| DateTime::<Utc>::from_timestamp_millis(at.timestamp_millis()))
            .or_else(|| {
                let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?;
                Some(day.and_time(NaiveTime::MIN).and_utc())
            });
        // Outside of these, the two databases do not agree on how times compare.
        instant
            .filter(|at| (1..=9999).contains(&at.year()))
            .map(Self)
            .ok_or("expected an RFC 3339 date and time, such as 2026-01-31T12:00:00Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_a_time_of_any_offset_or_a_day() {
        let read = |text: &str| Instant::try_from(text.to_owned()).map(|at| at.0.to_rfc3339());
        assert_eq!(read("2026-01-31T12:00:00.5+02:00"), Ok("2026-01-31T10:00:00.500+00:00".into()));
        assert_eq!(read("2026-01-31"), Ok("2026-01-31T00:00:00+00:00".into()));
        for wrong in ["", "yesterday", "2026-13-01", "2026-01-31 12:00", "+12026-01-01T00:00:00Z"] {
            read(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn a_currency_that_is_none_means_nothing() {
        assert!(BroughtCurrency("USD".into()).known().is_ok());
        for wrong in ["usd", "XAU", "", "\u{0}"] {
            let refused = BroughtCurrency(wrong.into()).known().expect_err(wrong);
            assert_eq!(refused.code, "unknown_currency");
        }
    }
}
