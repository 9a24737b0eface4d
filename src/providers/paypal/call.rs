//! The line to PayPal: one call, its answer, and what can be said when there is none.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

use super::PaypalSettings;
use super::token::Tokens;
use super::wire::Refusal;
use crate::providers::Problem;
use crate::providers::http::describe;
use crate::providers::retry::{Setback, patiently};

/// An answer, whatever it says.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Seconds that PayPal asks to wait.
    pub(super) retry_after: Option<u32>,
    /// The body; empty if it was cut short.
    pub(super) text: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The call was not made: there is no token to make it with.
    NoToken(Problem),
    /// The call did not reach PayPal: there was no connection to send it on.
    Unsent(Problem),
    /// The call may have reached PayPal.
    Lost(Problem),
}

impl Answer {
    pub(super) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the same question may get a better answer soon.
    pub(super) fn may_pass(&self) -> bool {
        self.status == 429 || self.status >= 500
    }

    pub(super) fn wait(&self) -> Option<Duration> {
        self.retry_after.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// PayPal's own code and words, or ours where it said nothing readable.
    pub(super) fn problem(&self) -> Problem {
        match Refusal::read(&self.text) {
            Some(refusal) => refusal.problem(),
            None => Problem::new(
                format!("http_{}", self.status),
                format!("PayPal answered {} without saying why", self.status),
            ),
        }
    }
}

/// The address of `path` below `base`; segments are escaped.
pub(super) fn endpoint(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("the base is an http(s) address").pop_if_empty().extend(path);
    url
}

/// Makes one call, once.
pub(super) async fn exchange(request: RequestBuilder) -> Result<Answer, Failure> {
    let response = request.send().await.map_err(failure)?;
    let status = response.status().as_u16();
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(|seconds| seconds.trim().parse().ok());
    // A body that was cut short says nothing; whoever needs its words finds none and must not
    // guess. The status stands by itself.
    let text = response.text().await.unwrap_or_default();
    Ok(Answer { status, retry_after, text })
}

/// Only an error from before the connection stood proves that nothing was sent.
fn failure(error: reqwest::Error) -> Failure {
    let (unsent, timeout) = (error.is_connect() || error.is_builder(), error.is_timeout());
    let words = describe(error);
    if unsent {
        return Failure::Unsent(Problem::new("no_connection", words));
    }
    let code = if timeout { "timeout" } else { "connection_lost" };
    Failure::Lost(Problem::new(code, words))
}

/// The HTTP client with its token.
pub(super) struct Line {
    http: Client,
    base: Url,
    tokens: Tokens,
}

impl Line {
    pub(super) fn new(http: Client, base: Url, settings: &PaypalSettings) -> Self {
        let tokens = Tokens::new(settings.client_id.clone(), settings.client_secret.clone());
        Self { http, base, tokens }
    }

    /// Posts a batch: once, or once more after a 401, which proves that it was not taken.
    pub(super) async fn post_batch(&self, body: &str) -> Result<Answer, Failure> {
        let url = endpoint(&self.base, &["v1", "payments", "payouts"]);
        let request = || {
            let request = self.http.post(url.clone());
            request.header(CONTENT_TYPE, "application/json").body(body.to_owned())
        };
        self.authorized(request).await
    }

    /// Asks for `path`, patiently: a question may be repeated.
    ///
    /// # Errors
    /// [`Problem`] if no answer came but ones that may pass.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Answer, Problem> {
        let url = endpoint(&self.base, path);
        let request = || {
            let mut url = url.clone();
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            self.http.get(url)
        };
        patiently(|| async {
            match self.authorized(request).await {
                Ok(answer) if answer.may_pass() => {
                    Err(Setback::Passing { error: answer.problem(), wait: answer.wait() })
                }
                Ok(answer) => Ok(answer),
                // The token has had its own patience.
                Err(Failure::NoToken(error)) => Err(Setback::Lasting(error)),
                Err(Failure::Unsent(error) | Failure::Lost(error)) => {
                    Err(Setback::Passing { error, wait: None })
                }
            }
        })
        .await
    }

    /// Fetches a new token.
    ///
    /// # Errors
    /// [`Problem`] if PayPal cannot be reached or does not take our credentials.
    pub(super) async fn renew_token(&self) -> Result<(), Problem> {
        self.tokens.drop_held().await;
        self.token().await.map(drop)
    }

    async fn token(&self) -> Result<SecretString, Problem> {
        self.tokens.current(&self.http, &self.base).await
    }

    async fn authorized(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer, Failure> {
        let token = self.token().await.map_err(Failure::NoToken)?;
        let answer = exchange(request().bearer_auth(token.expose_secret())).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        self.tokens.drop_refused(&token).await;
        let token = self.token().await.map_err(Failure::NoToken)?;
        exchange(request().bearer_auth(token.expose_secret())).await
    }
}
