//! Where the public keys of tokens come from, and how long they are kept.
//!
//! A key that is not known is looked for again at most once a minute, so that tokens with made-up
//! key ids fetch nothing. While the source fails, the keys that are known stay good: an issuer that
//! is down for a while locks nobody out.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Algorithm;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::key_set::{KeySet, PublicKey};
use super::{AccessError, AuthSettings, Refusal};
use crate::clock::Clock;

/// A set of keys is a few kilobytes.
const LARGEST: usize = 256 * 1024;
/// How long one fetch may take.
const FETCH_TIME: Duration = Duration::from_secs(5);
/// The least time between two looks for a key that is not known.
const PAUSE: TimeDelta = TimeDelta::seconds(60);
/// The same while there are no keys at all, as when the issuer starts after us.
const PAUSE_WITHOUT_KEYS: TimeDelta = TimeDelta::seconds(5);
/// Keys this old are looked at again even if they still fit, so that one that its issuer took back
/// does not live on.
const FRESH: TimeDelta = TimeDelta::minutes(10);

/// The keys, and their source. Cloning shares them.
#[derive(Clone)]
pub(super) struct PublicKeys {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    clock: Clock,
    kept: RwLock<Kept>,
    /// When the source was last asked. Held while it is: many tokens, one fetch.
    asked_at: Mutex<Option<DateTime<Utc>>>,
}

#[derive(Clone, Default)]
struct Kept {
    keys: Arc<KeySet>,
    read_at: Option<DateTime<Utc>>,
}

enum Source {
    File(PathBuf),
    Address(Client, Url),
}

impl PublicKeys {
    /// The keys of the settings, if these name a source. A file is read at once; what is behind an
    /// address is fetched when it is first needed, so that payoutd starts before its issuer.
    ///
    /// # Errors
    /// [`AccessError`] if the file holds no keys, or the address is none that keys may come from.
    pub(super) fn of(settings: &AuthSettings, clock: &Clock) -> Result<Option<Self>, AccessError> {
        let mut kept = Kept::default();
        let source = if !settings.jwks_file.is_empty() {
            let path = PathBuf::from(&settings.jwks_file);
            let text = std::fs::read(&path)
                .map_err(|source| AccessError::KeyFile { path: path.clone(), source })?;
            let keys = KeySet::read(&text).ok_or_else(|| AccessError::NoKeys(path.clone()))?;
            kept = Kept { keys: Arc::new(keys), read_at: Some(clock.now()) };
            Source::File(path)
        } else if !settings.jwks_url.is_empty() {
            let url = allowed(&settings.jwks_url)?;
            Source::Address(client(&url)?, url)
        } else {
            return Ok(None);
        };
        let (kept, asked_at) = (RwLock::new(kept), Mutex::default());
        let inner = Arc::new(Inner { source, clock: clock.clone(), kept, asked_at });
        Ok(Some(Self { inner }))
    }

    /// The keys for a token that names the key `id` and says `algorithm`; at least one.
    ///
    /// # Errors
    /// [`Refusal::INVALID_TOKEN`] if there is none; [`Refusal::NO_KEYS`] if that cannot be told.
    pub(super) async fn named(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<PublicKey>, Refusal> {
        let kept = self.inner.kept();
        let keys = kept.keys.named(id, algorithm);
        if keys.is_empty() {
            self.inner.ask_again(kept.read_at).await;
            let kept = self.inner.kept();
            return match kept.keys.named(id, algorithm) {
                keys if !keys.is_empty() => Ok(keys),
                _ if kept.read_at.is_none() => Err(Refusal::NO_KEYS),
                _ => Err(Refusal::INVALID_TOKEN),
            };
        }
        let now = self.inner.clock.now();
        if kept.read_at.is_none_or(|at| now - at >= FRESH) {
            // Nobody waits for it: what is known is good until the source says otherwise.
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move { inner.ask_again(kept.read_at).await });
        }
        Ok(keys)
    }
}

impl Inner {
    fn kept(&self) -> Kept {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the source again, unless somebody did since `seen`, or just now.
    async fn ask_again(&self, seen: Option<DateTime<Utc>>) {
        let mut asked_at = self.asked_at.lock().await;
        let (now, kept) = (self.clock.now(), self.kept());
        let pause = if kept.read_at.is_none() { PAUSE_WITHOUT_KEYS } else { PAUSE };
        let is_recent = asked_at.is_some_and(|at| (now - at).abs() < pause);
        if is_recent || kept.read_at != seen {
            return;
        }
        *asked_at = Some(now);
        match self.source.keys().await {
            Ok(keys) => {
                info!(event = "auth.keys.read", keys = keys.len());
                let kept = Kept { keys: Arc::new(keys), read_at: Some(now) };
                *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
            }
            Err(cause) => {
                let known = kept.keys.len();
                warn!(event = "auth.keys.not_read", cause, known);
            }
        }
    }
}

impl Source {
    /// The keys as they are now, or why there are none.
    async fn keys(&self) -> Result<KeySet, String> {
        let text = match self {
            Self::File(path) => tokio::fs::read(path).await.map_err(|cause| cause.to_string())?,
            Self::Address(client, url) => fetch(client, url).await?,
        };
        KeySet::read(&text).ok_or_else(|| "it is no JWK set with keys that are of use".to_owned())
    }
}

async fn fetch(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    // The address is left out of what went wrong: it may hold a password.
    let plain = |cause: reqwest::Error| cause.without_url().to_string();
    let mut answer = client.get(url.clone()).send().await.map_err(plain)?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("it was answered with {}", answer.status()));
    }
    let mut text = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(plain)? {
        if text.len() + piece.len() > LARGEST {
            return Err(format!("it is longer than {LARGEST} bytes"));
        }
        text.extend_from_slice(&piece);
    }
    Ok(text)
}

/// Keys come over https, or from this host: who can change them on the way can be anybody.
fn allowed(address: &str) -> Result<Url, AccessError> {
    let url = Url::parse(address).map_err(|_| AccessError::KeyAddress)?;
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(AccessError::KeyAddress),
    }
}

fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn client(url: &Url) -> Result<Client, AccessError> {
    let builder = Client::builder()
        .user_agent(concat!("payoutd/", env!("CARGO_PKG_VERSION")))
        .timeout(FETCH_TIME)
        .redirect(Policy::none());
    // A proxy of the environment is for the way out; it cannot reach this host's own loopback.
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    builder.build().map_err(AccessError::Client)
}
