//! What each value may be. The type is the default's; the rest is the table below.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use config::ValueKind;

use super::layers::{Origin, Setting};
use super::shown;
use super::{AuthSettings, ConfigError};

/// What a value must be beyond its type.
enum Rule {
    /// A number from the first to the second, both included.
    Between(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Begins with one of these.
    StartsWith(&'static [&'static str]),
    /// A text of at most so many characters.
    UpTo(usize),
    /// An IP address and a port, or nothing.
    AddressOrNone,
    /// An address of the web, or nothing.
    UrlOrNone,
}

use Rule::{AddressOrNone, Between, OneOf, StartsWith, UpTo, UrlOrNone};

const RULES: &[(&str, Rule)] = &[
    ("database.url", StartsWith(&["sqlite:", "postgres://", "postgresql://"])),
    ("database.max_connections", Between(1, 1000)),
    ("jobs.drain_ms", Between(0, 3_600_000)),
    ("log.format", OneOf(&["text", "json"])),
    ("log.level", OneOf(&["off", "error", "warn", "info", "debug", "trace"])),
    ("telemetry.otlp_endpoint", UrlOrNone),
    ("engine.lease_ms", Between(100, 3_600_000)),
    ("engine.heartbeat_ms", Between(10, 600_000)),
    ("engine.calls_in_flight", Between(1, 64)),
    ("http.listen", AddressOrNone),
    ("http.body_limit_bytes", Between(1_024, 67_108_864)),
    ("http.body_timeout_ms", Between(100, 600_000)),
    ("http.answer_timeout_ms", Between(100, 600_000)),
    ("http.requests_per_minute", Between(1, 1_000_000)),
    ("http.failed_proofs_per_minute", Between(1, 1_000_000)),
    ("http.metrics", OneOf(&["local", "all", "off"])),
    ("auth.jwks_url", UrlOrNone),
    ("auth.leeway_s", Between(0, 600)),
    ("methods.cooling_hours", Between(0, 720)),
    ("methods.starts_per_day", Between(1, 100)),
    ("notify.timeout_ms", Between(100, 60_000)),
    ("notify.secret_overlap_hours", Between(0, 720)),
    ("notify.smtp.port", Between(1, 65_535)),
    ("notify.smtp.tls", OneOf(&["tls", "starttls", "none"])),
    ("providers.paypal.base_url", StartsWith(&["https://", "http://"])),
    ("providers.paypal.authorize_url", StartsWith(&["https://", "http://"])),
    ("providers.paypal.batch_size", Between(1, 15_000)),
    ("providers.paypal.timeout_ms", Between(100, 600_000)),
    ("providers.paypal.page_size", Between(1, 1000)),
    // 4000 for ASCII alone, 1000 otherwise: the smaller one is safe for every note.
    ("providers.paypal.note", UpTo(1000)),
    ("providers.paypal.email_subject", UpTo(255)),
    ("providers.paypal.client_id", UpTo(1000)),
    ("providers.paypal.posts_per_minute", Between(1, 10_000)),
    // PayPal itself gives the money back after 30 days.
    ("providers.paypal.call_off_unclaimed_days", Between(0, 29)),
    ("providers.paypal.webhook_verify", OneOf(&["certificate", "postback"])),
    ("providers.stripe.base_url", StartsWith(&["https://", "http://"])),
    ("providers.stripe.timeout_ms", Between(100, 600_000)),
    // Stripe may forget a key after 24 hours, and what it forgot it pays again.
    ("providers.stripe.key_life_hours", Between(1, 23)),
    ("providers.stripe.webhook_tolerance_s", Between(1, 86_400)),
    ("providers.stripe.calls_per_second", Between(1, 1000)),
    // Four digits of a trace number count the entries of a file.
    ("providers.ach.batch_size", Between(1, 9_000)),
    ("providers.ach.immediate_destination", UpTo(10)),
    ("providers.ach.immediate_destination_name", UpTo(23)),
    ("providers.ach.immediate_origin", UpTo(10)),
    ("providers.ach.immediate_origin_name", UpTo(23)),
    ("providers.ach.company_name", UpTo(16)),
    ("providers.ach.company_id", UpTo(10)),
    ("providers.ach.odfi", UpTo(8)),
    ("providers.ach.entry_description", UpTo(10)),
    ("providers.ach.same_day_margin_min", Between(0, 600)),
    ("providers.ach.offset_routing", UpTo(9)),
    ("providers.ach.offset_account", UpTo(17)),
    ("providers.ach.offset_account_type", OneOf(&["checking", "savings"])),
    ("providers.ach.settle_after_banking_days", Between(0, 60)),
    ("providers.wire.batch_size", Between(1, 10_000)),
    ("providers.wire.debtor_name", UpTo(140)),
    ("providers.wire.debtor_account", UpTo(34)),
    ("providers.wire.debtor_routing", UpTo(9)),
    ("providers.wire.debtor_country", UpTo(2)),
    ("providers.wire.address", OneOf(&["structured", "hybrid"])),
    ("providers.wire.remittance", UpTo(140)),
];

/// `value` in the type of `default`, where it fits that and the key's rule. Text is read as a
/// number or a yes-or-no only where the default is one.
///
/// # Errors
/// [`ConfigError::Wrong`], with the value hidden where it is a secret.
pub(super) fn fitted(
    key: &str,
    value: ValueKind,
    default: &ValueKind,
    origin: &Origin,
) -> Result<ValueKind, ConfigError> {
    let expected = expectation(key, default);
    let typed = typed(value, default).and_then(|typed| match follows(key, &typed) {
        true => Ok(typed),
        false => Err(typed),
    });
    typed.map_err(|value| ConfigError::Wrong {
        key: key.to_owned(),
        value: shown::quoted(key, &value),
        origin: origin.clone(),
        expected,
    })
}

/// What only holds between settings.
///
/// # Errors
/// [`ConfigError::Wrong`] with the setting that has to change.
pub(super) fn check_together(settings: &BTreeMap<String, Setting>) -> Result<(), ConfigError> {
    let number = |key: &str| match settings.get(key).map(|setting| &setting.value) {
        Some(ValueKind::I64(number)) => *number,
        _ => 0,
    };
    let heartbeat = number("engine.heartbeat_ms");
    if number("engine.lease_ms") < 3 * heartbeat {
        let expected = format!(
            "at least three times engine.heartbeat_ms ({heartbeat}), so that a lease outlives two \
             lost heartbeats"
        );
        return Err(wrong(settings, "engine.lease_ms", expected));
    }
    let text = |key: &str| match settings.get(key).map(|setting| &setting.value) {
        Some(ValueKind::String(text)) => text.as_str(),
        _ => "",
    };
    let secret = text("auth.jwt_secret");
    let on_loopback = |address: SocketAddr| address.ip().is_loopback();
    if !secret.is_empty()
        && secret.len() < AuthSettings::LEAST_SECRET
        && text("http.listen").parse().is_ok_and(|address| !on_loopback(address))
    {
        let least = AuthSettings::LEAST_SECRET;
        let expected = format!("at least {least} bytes where http.listen is not on loopback");
        return Err(wrong(settings, "auth.jwt_secret", expected));
    }
    if !is_empty(settings, "auth.jwks_file") && !is_empty(settings, "auth.jwks_url") {
        let expected = "nothing, since auth.jwks_url is set".to_owned();
        return Err(wrong(settings, "auth.jwks_file", expected));
    }
    for (key, other) in [
        ("providers.paypal.client_secret", "providers.paypal.client_id"),
        ("providers.paypal.client_id", "providers.paypal.client_secret"),
    ] {
        if is_empty(settings, key) && !is_empty(settings, other) {
            return Err(wrong(settings, key, format!("a value, since {other} is set")));
        }
    }
    if !is_empty(settings, "notify.smtp.host") && is_empty(settings, "notify.smtp.from") {
        let expected = "a mail address, since notify.smtp.host is set".to_owned();
        return Err(wrong(settings, "notify.smtp.from", expected));
    }
    if !is_empty(settings, "vault.master_keys") && !is_empty(settings, "vault.master_key_file") {
        let expected = "nothing, since vault.master_keys is set: the keys are in one place";
        return Err(wrong(settings, "vault.master_key_file", expected.to_owned()));
    }
    Ok(())
}

/// Puts a value into the default's type, or gives it back.
fn typed(value: ValueKind, default: &ValueKind) -> Result<ValueKind, ValueKind> {
    match (default, value) {
        (ValueKind::Boolean(_), ValueKind::String(text)) => {
            text.parse().map(ValueKind::Boolean).map_err(|_| ValueKind::String(text))
        }
        (ValueKind::I64(_), ValueKind::String(text)) => {
            text.parse().map(ValueKind::I64).map_err(|_| ValueKind::String(text))
        }
        (ValueKind::Boolean(_), value @ ValueKind::Boolean(_))
        | (ValueKind::I64(_), value @ ValueKind::I64(_))
        | (ValueKind::String(_), value @ ValueKind::String(_)) => Ok(value),
        (_, value) => Err(value),
    }
}

fn rule_of(key: &str) -> Option<&'static Rule> {
    RULES.iter().find(|(name, _)| *name == key).map(|(_, rule)| rule)
}

fn follows(key: &str, value: &ValueKind) -> bool {
    match (rule_of(key), value) {
        (Some(Between(least, most)), ValueKind::I64(number)) => (least..=most).contains(&number),
        (Some(OneOf(words)), ValueKind::String(text)) => words.contains(&text.as_str()),
        (Some(StartsWith(starts)), ValueKind::String(text)) => {
            starts.iter().any(|start| text.starts_with(start))
        }
        (Some(UpTo(most)), ValueKind::String(text)) => text.chars().count() <= *most,
        (Some(AddressOrNone), ValueKind::String(text)) => {
            text.is_empty() || text.parse::<SocketAddr>().is_ok()
        }
        (Some(UrlOrNone), ValueKind::String(text)) => {
            text.is_empty() || ["https://", "http://"].iter().any(|start| text.starts_with(start))
        }
        (Some(_), _) => false,
        (None, _) => true,
    }
}

/// The sentence that ends "expected …".
fn expectation(key: &str, default: &ValueKind) -> String {
    match (rule_of(key), default) {
        (Some(Between(least, most)), _) => format!("a whole number from {least} to {most}"),
        (Some(OneOf(words)), _) => format!("one of {}", words.join(", ")),
        (Some(StartsWith(starts)), _) => format!("text that begins with {}", starts.join(" or ")),
        (Some(UpTo(most)), _) => format!("text in quotes, of at most {most} characters"),
        (Some(AddressOrNone), _) => {
            "an IP address and a port, such as 127.0.0.1:8320, or nothing".to_owned()
        }
        (Some(UrlOrNone), _) => "text that begins with https:// or http://, or nothing".to_owned(),
        (None, ValueKind::Boolean(_)) => "true or false".to_owned(),
        (None, ValueKind::I64(_)) => "a whole number".to_owned(),
        (None, _) => "text in quotes".to_owned(),
    }
}

fn is_empty(settings: &BTreeMap<String, Setting>, key: &str) -> bool {
    let value = settings.get(key).map(|setting| &setting.value);
    matches!(value, Some(ValueKind::String(text)) if text.is_empty())
}

fn wrong(settings: &BTreeMap<String, Setting>, key: &str, expected: String) -> ConfigError {
    let setting = settings.get(key).expect("a key that this file names has a default");
    ConfigError::Wrong {
        key: key.to_owned(),
        value: shown::quoted(key, &setting.value),
        origin: setting.origin.clone(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers;

    #[test]
    fn every_rule_is_about_a_setting_that_exists_and_its_default_follows_it() {
        let defaults = layers::defaults();
        for (key, _) in RULES {
            let default = defaults.get(*key).expect(key);
            assert!(follows(key, &default.value), "the default of {key} breaks its own rule");
        }
    }

    #[test]
    fn every_number_has_a_range() {
        for (key, setting) in layers::defaults() {
            if matches!(setting.value, ValueKind::I64(_)) {
                assert!(matches!(rule_of(&key), Some(Between(..))), "{key} has no range");
            }
        }
    }

    #[test]
    fn the_defaults_fit_together() {
        check_together(&layers::defaults()).expect("the defaults are a configuration");
    }
}
