//! Settings as people may see them: never a secret, never a password.

use std::collections::BTreeMap;

use config::ValueKind;

use super::layers::{Origin, Setting};

const HIDDEN: &str = "********";

/// Last parts of the keys whose values are secrets, or numbers of bank accounts.
const SECRETS: [&str; 7] =
    ["secret", "secrets", "password", "token", "secret_key", "master_keys", "account"];

/// One setting of `config show`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSetting {
    /// The dotted key.
    pub key: String,
    /// The value, or what stands for it.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// All settings as rows.
pub(super) fn rows(settings: &BTreeMap<String, Setting>) -> Vec<ShownSetting> {
    let row = |(key, setting): (&String, &Setting)| ShownSetting {
        key: key.clone(),
        value: shown(key, &setting.value),
        origin: setting.origin.clone(),
    };
    settings.iter().map(row).collect()
}

/// A value as an error may quote it: text in quotes, so that an empty one is seen.
pub(super) fn quoted(key: &str, value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) if !is_secret(key) => format!("{:?}", without_password(text)),
        ValueKind::Array(_) => "a list".to_owned(),
        ValueKind::Table(_) => "a section".to_owned(),
        value => shown(key, value),
    }
}

/// A database's address as people may see it: what stands between `//user:` and `@`, and a
/// `password=` among its parameters, is hidden.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Not an address, so nobody knows where in it a password would stand.
        let may_hold_one = url.contains('@') || url.to_ascii_lowercase().contains("password=");
        return if may_hold_one { HIDDEN.to_owned() } else { url.to_owned() };
    };
    let rest = without_userinfo_password(rest);
    let Some((address, parameters)) = rest.split_once('?') else {
        return format!("{scheme}://{rest}");
    };
    let parameters: Vec<String> = parameters.split('&').map(without_value_of_password).collect();
    format!("{scheme}://{address}?{}", parameters.join("&"))
}

fn shown(key: &str, value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) if is_secret(key) && text.is_empty() => "(not set)".to_owned(),
        _ if is_secret(key) => HIDDEN.to_owned(),
        ValueKind::String(text) => without_password(text),
        value => value.to_string(),
    }
}

fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    SECRETS.iter().any(|word| last == *word || last.ends_with(&format!("_{word}")))
}

/// The last `@` ends the user, since a password with an unescaped `@`, `/` or `?` in it should be
/// hidden as well; one that stands among the parameters only counts if there is no other.
fn without_userinfo_password(rest: &str) -> String {
    let before_parameters = rest.split_once('?').map_or(rest, |(address, _)| address);
    let Some(at) = before_parameters.rfind('@').or_else(|| rest.rfind('@')) else {
        return rest.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{user}:{HIDDEN}{}", &rest[at..]),
        None => rest.to_owned(),
    }
}

fn without_value_of_password(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if name.eq_ignore_ascii_case("password") => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_hidden_wherever_it_stands() {
        for (url, expected) in [
            ("postgres://pay:s3cret@db/pay", "postgres://pay:********@db/pay"),
            ("postgres://pay:a@b/c:d@db:5432/pay", "postgres://pay:********@db:5432/pay"),
            ("postgres://pay:a?b@db/pay", "postgres://pay:********@db/pay"),
            (
                "postgres://db/pay?user=u&password=s3cret&sslmode=require",
                "postgres://db/pay?user=u&password=********&sslmode=require",
            ),
            ("postgres://pay:pw@db/p?Password=x", "postgres://pay:********@db/p?Password=********"),
            ("https://key:pw@rail.example", "https://key:********@rail.example"),
            ("postgres:pay:s3cret@db/pay", "********"),
            ("postgres:db?password=s3cret", "********"),
        ] {
            assert_eq!(without_password(url), expected);
        }
    }

    #[test]
    fn an_address_without_a_password_is_shown_as_it_is() {
        for url in [
            "sqlite://payoutd.db",
            "sqlite:///var/lib/payoutd/payoutd.db?mode=rwc",
            "sqlite::memory:",
            "postgres://pay@db/pay",
            "postgres://127.0.0.1:5432/pay?application_name=payoutd",
            "not an address",
        ] {
            assert_eq!(without_password(url), url);
        }
    }

    #[test]
    fn keys_that_name_secrets_are_known_by_their_last_part() {
        assert!(is_secret("providers.paypal.client_secret"));
        assert!(is_secret("providers.stripe.secret_key"));
        assert!(is_secret("providers.stripe.webhook_secrets"));
        assert!(is_secret("providers.wire.debtor_account"));
        assert!(is_secret("vault.master_keys"));
        assert!(!is_secret("vault.master_key_file"));
        assert!(!is_secret("providers.ach.offset_account_type"));
        assert!(!is_secret("providers.paypal.client_id"));
        assert!(!is_secret("secret.note"));
    }
}
