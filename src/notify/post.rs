//! One delivery: over HTTP signed, or by mail; sent once, and what was answered.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;

use super::Secret;
use super::address::{AddressError, Guard};
use super::mail::{Mail, is_mail};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What sends. Cloning shares the client.
#[derive(Clone)]
pub(super) struct Post {
    guard: Guard,
    /// Who takes mail, if anybody does.
    mail: Option<Mail>,
    http: Client,
    timeout: Duration,
}

/// What is sent.
pub(super) struct Letter<'a> {
    /// Whose it is.
    pub org: &'a str,
    pub id: &'a str,
    /// Seconds since 1970.
    pub at: i64,
    pub body: &'a str,
    /// All that sign; the receiver knows one of them.
    pub secrets: &'a [Secret],
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why it did not arrive; `None` if it did.
    pub problem: Option<String>,
    /// How long the other side asks to wait.
    pub retry_after: Option<Duration>,
}

impl Post {
    /// A client that calls only what `guard` lets through: its names are resolved there, no
    /// redirect is followed, and no proxy resolves them again.
    pub fn new(guard: Guard, mail: Option<Mail>, timeout: Duration) -> Result<Self, String> {
        let http = Client::builder()
            .user_agent(concat!("payoutd/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            // A connection that was kept open would go on to an address that is looked at no more.
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(guard.clone()))
            .build()
            .map_err(|error| chain(&error))?;
        Ok(Self { guard, mail, http, timeout })
    }

    /// Whether mail can be sent.
    pub fn takes_mail(&self) -> bool {
        self.mail.is_some()
    }

    /// Sends one letter.
    pub async fn send(&self, url: &str, letter: &Letter<'_>) -> Answer {
        if is_mail(url) {
            return match &self.mail {
                Some(mail) => mail.send(url, letter).await,
                None => Answer::none(format!("not sent: {}", AddressError::NoMailServer)),
            };
        }
        // An address that is written as a number is not resolved; it is looked at here.
        let url = match self.guard.check_text(url) {
            Ok(url) => url,
            Err(error) => return Answer::none(format!("not sent: {error}")),
        };
        if letter.secrets.is_empty() {
            return Answer::none("not sent: the endpoint has no secret that could sign".to_owned());
        }
        let sign = |secret: &Secret| secret.sign(letter.id, letter.at, letter.body);
        let signatures: Vec<_> = letter.secrets.iter().map(sign).collect();
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", letter.id)
            .header("webhook-timestamp", letter.at.to_string())
            .header("webhook-signature", signatures.join(" "))
            .body(letter.body.to_owned());
        // The client's own time-out does not cover the resolving of names.
        match tokio::time::timeout(self.timeout, request.send()).await {
            Err(_) => Answer::none(format!("no answer within {} ms", self.timeout.as_millis())),
            Ok(Err(error)) => Answer::none(failure(error)),
            Ok(Ok(response)) => {
                let (status, headers) = (response.status(), response.headers());
                let problem = (!status.is_success()).then(|| match status.as_u16() {
                    300..=399 => format!("answered {status}: redirects are not followed"),
                    _ => format!("answered {status}"),
                });
                let retry_after = retry_after(headers).filter(|_| problem.is_some());
                // The body is nobody's business: it could be of a service that was never meant to
                // be called.
                Answer { status: Some(status.as_u16()), problem, retry_after }
            }
        }
    }
}

impl Answer {
    /// It did not arrive.
    pub(super) fn none(problem: String) -> Self {
        Self { status: None, problem: Some(problem), retry_after: None }
    }
}

/// `Retry-After` in seconds; an instant is not taken: two clocks need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

fn failure(error: reqwest::Error) -> String {
    if let Some(refused) = refusal(&error) {
        return format!("not sent: {refused}");
    }
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let start = if error.is_connect() { "no connection" } else { "the connection was lost" };
    format!("{start}: {}", chain(&error.without_url()))
}

/// The guard's word among the causes of an error.
fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a AddressError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<AddressError>() {
            return Some(refused);
        }
        cause = error.source();
    }
    None
}

/// An error with all of its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
