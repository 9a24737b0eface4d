//! The access token: fetched once, shared by every call, renewed a minute before it ends.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::wire::problem_of;
use crate::providers::Problem;
use crate::providers::http::{Answer, Failure, endpoint, exchange};
use crate::providers::retry::{Setback, patiently};

/// Renewed this long before it ends, so that no call leaves with a token that dies on the way.
const MARGIN: Duration = Duration::from_secs(60);
/// PayPal's tokens live about nine hours; a longer promise is not relied upon.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps the token of one application.
pub(super) struct Tokens {
    client_id: String,
    client_secret: SecretString,
    held: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    secret: SecretString,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    /// Seconds.
    expires_in: u64,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Tokens {
    pub(super) fn new(client_id: String, client_secret: SecretString) -> Self {
        Self { client_id, client_secret, held: Mutex::new(None) }
    }

    /// The token to call with. The lock is held while one is fetched: many callers, one fetch.
    pub(super) async fn current(&self, http: &Client, base: &Url) -> Result<SecretString, Problem> {
        let mut held = self.held.lock().await;
        if let Some(token) = held.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.secret.clone());
        }
        let token = patiently(|| self.fetch(http, base)).await?;
        Ok(held.insert(token).secret.clone())
    }

    /// Drops `refused`, unless another caller has renewed it already.
    pub(super) async fn drop_refused(&self, refused: &SecretString) {
        let mut held = self.held.lock().await;
        held.take_if(|token| token.secret.expose_secret() == refused.expose_secret());
    }

    /// Drops whatever is held: the next call fetches.
    pub(super) async fn drop_held(&self) {
        *self.held.lock().await = None;
    }

    /// The call that buys a payee's token with the code that a consent gave.
    pub(super) fn buying(
        &self,
        http: &Client,
        base: &Url,
        code: &str,
        return_url: &str,
    ) -> RequestBuilder {
        let form =
            [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", return_url)];
        let request = http.post(endpoint(base, &["v1", "oauth2", "token"]));
        let secret = self.client_secret.expose_secret();
        request.basic_auth(&self.client_id, Some(secret)).form(&form)
    }

    async fn fetch(&self, http: &Client, base: &Url) -> Result<Token, Setback<Problem>> {
        let request = http
            .post(endpoint(base, &["v1", "oauth2", "token"]))
            .basic_auth(&self.client_id, Some(self.client_secret.expose_secret()))
            .form(&[("grant_type", "client_credentials")]);
        let asked_at = Instant::now();
        match exchange(request).await {
            Ok(answer) if answer.may_pass() => {
                Err(Setback::Passing { wait: answer.retry_after, error: refused(&answer) })
            }
            Ok(answer) => granted(&answer, asked_at).ok_or(Setback::Lasting(refused(&answer))),
            Err(Failure::NoToken(error) | Failure::Unsent(error) | Failure::Lost(error)) => {
                Err(Setback::Passing { error, wait: None })
            }
        }
    }
}

fn granted(answer: &Answer, asked_at: Instant) -> Option<Token> {
    let granted: Granted = serde_json::from_str(&answer.text).ok().filter(|_| answer.is_ok())?;
    let life = Duration::from_secs(granted.expires_in).min(LONGEST_LIFE);
    let renew_at = asked_at + life.saturating_sub(MARGIN);
    Some(Token { secret: granted.access_token, renew_at })
}

fn refused(answer: &Answer) -> Problem {
    match serde_json::from_str::<Denied>(&answer.text) {
        Ok(denied) => Problem::new(denied.error, denied.error_description),
        Err(_) => problem_of(answer),
    }
}
