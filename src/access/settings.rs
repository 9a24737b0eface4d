//! `[auth]`: how callers are proven.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// How tokens are checked. API keys need no settings: they are in the database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// The secret that HS256 tokens are signed with; empty: no such token is taken. Never printed.
    pub jwt_secret: SecretString,
    /// A file with the public keys of tokens (a JWK set); empty: none.
    pub jwks_file: String,
    /// Where the same is fetched from; empty: nowhere.
    pub jwks_url: String,
    /// What `iss` has to say; empty: it is not looked at.
    pub issuer: String,
    /// What `aud` has to hold; empty: it is not looked at.
    pub audience: String,
    /// Seconds that the issuer's clock may be off.
    pub leeway_s: u32,
}

impl AuthSettings {
    /// What tokens are checked with, for people.
    pub fn sources(&self) -> Vec<&'static str> {
        let all = [
            (self.secret().is_some(), "secret"),
            (!self.jwks_file.is_empty(), "key file"),
            (!self.jwks_url.is_empty(), "key address"),
        ];
        all.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect()
    }

    /// The secret of HS256 tokens, if there is one.
    pub(super) fn secret(&self) -> Option<&str> {
        Some(self.jwt_secret.expose_secret()).filter(|secret| !secret.is_empty())
    }
}
