//! Tokens: JSON Web Tokens that somebody else issues, and we check.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Number;
use tracing::warn;

use super::key_set::PublicKey;
use super::public_keys::PublicKeys;
use super::{AccessError, AuthSettings, Refusal};
use crate::clock::Clock;
use crate::domain::{Caller, OrgId, PartnerId, Permission, Role};

/// The longest token that is looked at.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Checks tokens.
pub(super) struct Tokens {
    secret: Option<DecodingKey>,
    public: Option<PublicKeys>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway_s: i64,
    clock: Clock,
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    orgid: String,
    roles: Vec<String>,
    exp: Number,
    nbf: Option<Number>,
    iss: Option<String>,
    aud: Option<Audience>,
    /// Permissions, with spaces between them.
    scope: Option<String>,
}

/// `aud` is one text, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Tokens {
    pub(super) fn new(settings: &AuthSettings, clock: Clock) -> Result<Self, AccessError> {
        let secret = settings.secret().map(str::as_bytes);
        if secret.is_some_and(|secret| secret.len() < AuthSettings::LEAST_SECRET) {
            warn!(
                event = "auth.weak_secret",
                least_bytes = AuthSettings::LEAST_SECRET,
                "auth.jwt_secret is short enough to be guessed: anybody could sign a token"
            );
        }
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self {
            secret: secret.map(DecodingKey::from_secret),
            public: PublicKeys::of(settings, &clock)?,
            issuer: given(&settings.issuer),
            audience: given(&settings.audience),
            leeway_s: settings.leeway_s.into(),
            clock,
        })
    }

    /// Whom the token of an `Authorization` header is about.
    pub(super) async fn prove(&self, authorization: &str) -> Result<Caller, Refusal> {
        let token = bearer(authorization).ok_or(Refusal::INVALID_TOKEN)?;
        let header = decode_header(token).map_err(|_| Refusal::INVALID_TOKEN)?;
        // What is critical to the issuer has to be understood, and we understand no extension.
        if header.crit.is_some() {
            return Err(Refusal::INVALID_TOKEN);
        }
        let claims = self.signed(token, &header).await?;
        self.check(&claims, self.clock.now())?;
        caller(claims)
    }

    /// What the token says, if one of our keys signed it. The header only says which of them to
    /// try; each is tried by its own algorithm alone.
    async fn signed(&self, token: &str, header: &Header) -> Result<Claims, Refusal> {
        match (&self.secret, &self.public, header.alg) {
            (Some(secret), _, Algorithm::HS256) => signed_claims(token, secret, Algorithm::HS256),
            (_, Some(public), Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) => {
                let keys = public.named(header.kid.as_deref(), header.alg).await?;
                let tried = |known: &PublicKey| signed_claims(token, &known.key, known.algorithm);
                keys.iter().find_map(|known| tried(known).ok()).ok_or(Refusal::INVALID_TOKEN)
            }
            _ => Err(Refusal::INVALID_TOKEN),
        }
    }

    /// Everything that a genuine token may still fail by.
    fn check(&self, claims: &Claims, now: DateTime<Utc>) -> Result<(), Refusal> {
        let now = now.timestamp();
        let expires = seconds(&claims.exp)?;
        if now >= expires.saturating_add(self.leeway_s) {
            return Err(Refusal::TOKEN_EXPIRED);
        }
        let begins = claims.nbf.as_ref().map(seconds).transpose()?;
        if begins.is_some_and(|begins| now < begins.saturating_sub(self.leeway_s)) {
            return Err(Refusal::TOKEN_TOO_EARLY);
        }
        let issued_by = |wanted: &String| claims.iss.as_ref() == Some(wanted);
        let meant_for = |wanted: &String| match &claims.aud {
            Some(Audience::One(one)) => one == wanted,
            Some(Audience::Several(several)) => several.contains(wanted),
            None => false,
        };
        let is_ours = self.issuer.iter().all(issued_by) && self.audience.iter().all(meant_for);
        if is_ours { Ok(()) } else { Err(Refusal::INVALID_TOKEN) }
    }
}

/// The token behind `Bearer`.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let fits = scheme.eq_ignore_ascii_case("bearer") && token.len() <= LONGEST_TOKEN;
    fits.then_some(token)
}

/// What the token says, if `key` signed it by `algorithm`. Times, issuer and audience are ours to
/// check: the library would ask the host's clock.
fn signed_claims(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Claims, Refusal> {
    let mut signature_only = Validation::new(algorithm);
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    signature_only.required_spec_claims.clear();
    let decoded = decode::<Claims>(token, key, &signature_only);
    decoded.map(|token| token.claims).map_err(|_| Refusal::INVALID_TOKEN)
}

/// The caller that the claims speak of.
fn caller(claims: Claims) -> Result<Caller, Refusal> {
    let org = OrgId::from_str(&claims.orgid).map_err(|_| Refusal::INVALID_TOKEN)?;
    let id = PartnerId::from_str(&claims.sub).map_err(|_| Refusal::INVALID_TOKEN)?;
    // In the order of `Role::ALL` and each once: "only a partner" is told by the list.
    let named = |role: &Role| claims.roles.iter().any(|word| word == role.as_str());
    let roles: Vec<Role> = Role::ALL.iter().copied().filter(named).collect();
    if roles.is_empty() {
        return Err(Refusal::NO_ROLE);
    }
    let permissions = match claims.scope.as_deref() {
        _ if !roles.contains(&Role::Service) => Vec::new(),
        None => Permission::ALL.to_vec(),
        // Words of others (`openid`) are no permissions of ours.
        Some(scope) => scope.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
    };
    Ok(Caller { org, id: id.into(), roles, permissions })
}

/// Seconds since 1970, without the fraction that a token may carry.
fn seconds(number: &Number) -> Result<i64, Refusal> {
    let text = number.to_string();
    // Nobody writes a time as 1.7e9, and half of it would be read as another time.
    if text.contains(['e', 'E']) {
        return Err(Refusal::INVALID_TOKEN);
    }
    let whole = text.split_once('.').map_or(text.as_str(), |(whole, _)| whole);
    whole.parse().map_err(|_| Refusal::INVALID_TOKEN)
}
