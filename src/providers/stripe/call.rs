//! The line to Stripe: every call with our key, Stripe's version of the day we tested, and a pace.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use super::StripeSettings;
use super::wire::{Refusal, problem_of};
use crate::providers::Problem;
use crate::providers::http::{Answer, Failure, endpoint, exchange};
use crate::providers::pace::Pace;
use crate::providers::retry::{Setback, patiently};

/// The version of Stripe's API that is asked for, whatever the account's own is: the one that
/// our requests and readings are held to by the tests (tests/contracts/stripe).
const STRIPE_VERSION: &str = "2023-08-16";

/// Why there is nothing to read.
#[derive(Debug, Clone)]
pub(super) enum Unread {
    /// Stripe answered, and that is what it said: the status, and its error.
    Refused(u16, Refusal),
    /// No answer that says anything.
    Unclear(Problem),
}

impl Unread {
    pub(super) fn problem(self) -> Problem {
        match self {
            Self::Refused(_, refusal) => refusal.problem(),
            Self::Unclear(problem) => problem,
        }
    }
}

/// The HTTP client with its key and its pace.
pub(super) struct Line {
    http: Client,
    base: Url,
    secret_key: SecretString,
    pace: Pace,
}

/// A question to Stripe.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, String)],
    /// The connected account in whose name it is asked.
    pub(super) account: Option<&'a str>,
}

impl<'a> Question<'a> {
    pub(super) fn of(path: &'a [&'a str]) -> Self {
        Self { path, query: &[], account: None }
    }
}

impl Line {
    pub(super) fn new(http: Client, base: Url, settings: &StripeSettings) -> Self {
        let pace = Pace::new(settings.calls_per_second, Duration::from_secs(1));
        Self { http, base, secret_key: settings.secret_key.clone(), pace }
    }

    /// Posts a transfer, once.
    pub(super) async fn post_transfer(&self, key: &str, body: &str) -> Result<Answer, Failure> {
        let request = self.http.post(endpoint(&self.base, &["v1", "transfers"]));
        let request = request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("idempotency-key", key)
            .body(body.to_owned());
        self.call(request).await
    }

    /// Asks, patiently: a question may be repeated.
    ///
    /// # Errors
    /// [`Unread`] if Stripe says no, or nothing that can be read.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        question: Question<'_>,
    ) -> Result<T, Unread> {
        let answer = patiently(|| async {
            match self.call(self.asking(question)).await {
                Ok(answer) if answer.may_pass() => {
                    Err(Setback::Passing { error: problem_of(&answer), wait: answer.retry_after })
                }
                Ok(answer) => Ok(answer),
                Err(failure) => Err(Setback::Passing { error: words(failure), wait: None }),
            }
        });
        readable(&answer.await.map_err(Unread::Unclear)?)
    }

    /// Asks, once: for what is good to know and not worth a wait.
    ///
    /// # Errors
    /// [`Unread`], as above.
    pub(super) async fn read_once<T: DeserializeOwned>(
        &self,
        question: Question<'_>,
    ) -> Result<T, Unread> {
        let answer = self.call(self.asking(question)).await;
        readable(&answer.map_err(|failure| Unread::Unclear(words(failure)))?)
    }

    fn asking(&self, question: Question<'_>) -> RequestBuilder {
        let mut url = endpoint(&self.base, question.path);
        if !question.query.is_empty() {
            url.query_pairs_mut().extend_pairs(question.query);
        }
        let request = self.http.get(url);
        match question.account {
            Some(account) => request.header("stripe-account", account),
            None => request,
        }
    }

    async fn call(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        self.pace.turn().await;
        let request = request
            .bearer_auth(self.secret_key.expose_secret())
            .header("stripe-version", STRIPE_VERSION)
            .header(ACCEPT, "application/json");
        exchange(request).await
    }
}

fn words(failure: Failure) -> Problem {
    match failure {
        Failure::NoToken(problem) | Failure::Unsent(problem) | Failure::Lost(problem) => problem,
    }
}

fn readable<T: DeserializeOwned>(answer: &Answer) -> Result<T, Unread> {
    if !answer.is_ok() {
        return Err(match Refusal::read(&answer.text) {
            Some(refusal) => Unread::Refused(answer.status, refusal),
            None => Unread::Unclear(problem_of(answer)),
        });
    }
    serde_json::from_str(&answer.text).map_err(|error| {
        let words = format!("Stripe's answer cannot be read: {error}");
        Unread::Unclear(Problem::new("unreadable_answer", words))
    })
}
