//! Who calls: tokens (JWT) and API keys are proven here, and become a [`Caller`].
//!
//! What a caller may do is the domain's; how a refusal looks on the wire is http's. The algorithm
//! of a token is the configured key's, never the token's own choice.

mod key_set;
mod keys;
mod public_keys;
mod refusal;
mod settings;
mod token;

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::clock::Clock;
use crate::domain::{Caller, OrgId};
use crate::store::Store;

pub use keys::{Asker, KeyError, KeyRequest, Keys};
pub use refusal::{Refusal, RefusalKind};
pub use settings::AuthSettings;

use token::Tokens;

/// What a request brings to prove who calls: its headers, as far as they are text.
#[derive(Clone, Copy, Default)]
pub struct Proof<'a> {
    /// `Authorization`: `Bearer` and a token.
    pub authorization: Option<&'a str>,
    /// `x-api-key`.
    pub api_key: Option<&'a str>,
    /// `orgid`: the org that the call is about. It has to be the caller's own.
    pub orgid: Option<&'a str>,
}

/// Why callers cannot be proven at all: a setting that is of no use.
#[derive(Debug, Error)]
pub enum AccessError {
    /// The file of public keys cannot be read.
    #[error("cannot read auth.jwks_file {}", path.display())]
    KeyFile { path: PathBuf, source: std::io::Error },
    /// The file of public keys holds none.
    #[error(
        "auth.jwks_file {} is no JWK set with a key for RS256, ES256 or EdDSA", .0.display()
    )]
    NoKeys(PathBuf),
    /// Keys from such an address could be anybody's.
    #[error("auth.jwks_url is no https address (plain http is for loopback alone)")]
    KeyAddress,
    /// The host's TLS cannot be set up.
    #[error("auth.jwks_url cannot be called: TLS cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Proves callers. Cloning shares keys and caches.
#[derive(Clone)]
pub struct Gatekeeper {
    inner: Arc<Inner>,
}

struct Inner {
    tokens: Tokens,
    keys: Keys,
}

impl Gatekeeper {
    /// Who is let in by `settings`, and by the keys in `store`.
    ///
    /// # Errors
    /// [`AccessError`] if a setting is of no use.
    pub fn new(store: Store, clock: Clock, settings: &AuthSettings) -> Result<Self, AccessError> {
        let tokens = Tokens::new(settings, clock.clone())?;
        let keys = Keys::new(store, clock);
        Ok(Self { inner: Arc::new(Inner { tokens, keys }) })
    }

    /// Who calls, if that is proven, and calls about their own org.
    ///
    /// # Errors
    /// [`Refusal`]: what is wrong with the proof, or with the org.
    pub async fn prove(&self, proof: Proof<'_>) -> Result<Caller, Refusal> {
        let caller = match (proof.authorization, proof.api_key) {
            (None, None) => return Err(Refusal::NO_PROOF),
            (Some(_), Some(_)) => return Err(Refusal::TWO_PROOFS),
            (Some(authorization), None) => self.inner.tokens.prove(authorization).await?,
            (None, Some(key)) => self.inner.keys.prove(key).await?,
        };
        match proof.orgid {
            None => Err(Refusal::MISSING_ORGID),
            Some(org) if is_org(org, &caller.org) => Ok(caller),
            Some(_) => Err(Refusal::WRONG_ORG),
        }
    }

    /// The API keys.
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }
}

fn is_org(named: &str, org: &OrgId) -> bool {
    named == org.as_str()
}

#[cfg(test)]
mod tests;
