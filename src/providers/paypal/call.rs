//! The line to PayPal: calls with a token, at PayPal's pace.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

use super::PaypalSettings;
use super::token::Tokens;
use super::wire::problem_of;
use crate::providers::http::{Answer, Failure, endpoint, exchange};
use crate::providers::pace::Pace;
use crate::providers::retry::{Setback, patiently};
use crate::providers::{Leave, Problem};

/// The HTTP client with its token and its pace.
pub(super) struct Line {
    http: Client,
    base: Url,
    tokens: Tokens,
    /// Of the posts that move money: PayPal counts them by the minute.
    pace: Pace,
}

impl Line {
    pub(super) fn new(http: Client, base: Url, settings: &PaypalSettings) -> Self {
        let tokens = Tokens::new(settings.client_id.clone(), settings.client_secret.clone());
        let pace = Pace::new(settings.posts_per_minute, Duration::from_secs(60));
        Self { http, base, tokens, pace }
    }

    /// Posts `body` to `path` in its turn: once, or once more after a 401, which proves that it
    /// was not taken.
    pub(super) async fn post(
        &self,
        path: &[&str],
        body: &str,
        leave: &Leave,
    ) -> Result<Answer, Failure> {
        self.pace.turn().await;
        self.authorized(|| self.posting(path, body), leave).await
    }

    /// Posts a question, which may be repeated as [`Line::get`] repeats its own.
    ///
    /// # Errors
    /// [`Problem`] if no answer came but ones that may pass.
    pub(super) async fn ask(&self, path: &[&str], body: &str) -> Result<Answer, Problem> {
        self.patiently(|| self.posting(path, body)).await
    }

    fn posting(&self, path: &[&str], body: &str) -> RequestBuilder {
        let request = self.http.post(endpoint(&self.base, path));
        request.header(CONTENT_TYPE, "application/json").body(body.to_owned())
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
        self.patiently(request).await
    }

    /// Buys a payee's own token with a code, once: a code is good for one.
    pub(super) async fn buy_token(&self, code: &str, return_url: &str) -> Result<Answer, Failure> {
        exchange(self.tokens.buying(&self.http, &self.base, code, return_url)).await
    }

    /// Asks for `path` with a payee's own token, patiently.
    ///
    /// # Errors
    /// [`Problem`] if no answer came but ones that may pass.
    pub(super) async fn get_for(
        &self,
        token: &SecretString,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Answer, Problem> {
        let mut url = endpoint(&self.base, path);
        url.query_pairs_mut().extend_pairs(query);
        patiently(|| async {
            let request = self.http.get(url.clone()).bearer_auth(token.expose_secret());
            match exchange(request).await {
                Ok(answer) if answer.may_pass() => {
                    Err(Setback::Passing { error: problem_of(&answer), wait: answer.retry_after })
                }
                Ok(answer) => Ok(answer),
                Err(Failure::NoToken(error) | Failure::Unsent(error) | Failure::Lost(error)) => {
                    Err(Setback::Passing { error, wait: None })
                }
            }
        })
        .await
    }

    async fn patiently(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer, Problem> {
        patiently(|| async {
            match self.authorized(&request, &Leave::default()).await {
                Ok(answer) if answer.may_pass() => {
                    Err(Setback::Passing { error: problem_of(&answer), wait: answer.retry_after })
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

    async fn authorized(
        &self,
        request: impl Fn() -> RequestBuilder,
        leave: &Leave,
    ) -> Result<Answer, Failure> {
        let token = self.token().await.map_err(Failure::NoToken)?;
        if let Some(problem) = leave.held().await {
            return Err(Failure::Unsent(problem));
        }
        let answer = exchange(request().bearer_auth(token.expose_secret())).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        self.tokens.drop_refused(&token).await;
        let token = self.token().await.map_err(Failure::NoToken)?;
        if let Some(problem) = leave.held().await {
            return Err(Failure::Unsent(problem));
        }
        exchange(request().bearer_auth(token.expose_secret())).await
    }
}
