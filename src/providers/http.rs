//! What all calls over HTTP have in common: the one place where a client is built, so that every
//! call has a time-out; one call and its answer; and what can be said when there is none.

use std::error::Error;
use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};

use super::Problem;

/// Longest wait for a connection. It stays below every call's own time-out, so that a host that
/// never answers is told apart from a call that was cut short: the first took nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client whose calls to `base` end after `timeout`, whatever the other side does.
///
/// It never sends anything twice: redirects are answers, and a call that failed is the caller's
/// to repeat.
///
/// # Errors
/// [`Problem`] `http_client` if the host's TLS cannot be set up.
pub(super) fn http_client(base: &Url, timeout: Duration) -> Result<Client, Problem> {
    let builder = Client::builder()
        .user_agent(concat!("payoutd/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout / 2))
        .redirect(Policy::none())
        .retry(reqwest::retry::never());
    // A proxy of the environment is for the way out; it cannot reach this host's own loopback.
    let builder = if is_loopback(base) { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| Problem::new("http_client", chain(&error)))
}

/// Whether an address is this host's own.
pub(super) fn is_loopback(base: &Url) -> bool {
    matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// The base address of a rail's settings.
///
/// # Errors
/// [`Problem`] `bad_settings` that names `setting`, if it is no http(s) address.
pub(super) fn base_url(setting: &str, text: &str) -> Result<Url, Problem> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "https" | "http") && url.has_host() => Ok(url),
        _ => {
            let words = format!("{setting} \"{text}\" is no http(s) address");
            Err(Problem::new("bad_settings", words))
        }
    }
}

/// The address of `path` below `base`; segments are escaped.
pub(super) fn endpoint(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("the base is an http(s) address").pop_if_empty().extend(path);
    url
}

/// An answer, whatever it says.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// How long the other side asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// The body; empty if it was cut short.
    pub(super) text: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The call was not made: there is no token to make it with.
    NoToken(Problem),
    /// The call did not reach the other side: there was no connection to send it on.
    Unsent(Problem),
    /// The call may have reached the other side.
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
}

/// Makes one call, once.
pub(super) async fn exchange(request: RequestBuilder) -> Result<Answer, Failure> {
    let response = request.send().await.map_err(failure)?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
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

/// `Retry-After` in either of its forms: seconds, or an instant (RFC 9110 §10.2.3). The instant is
/// held against the answer's own `Date`, so that two clocks need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let at = DateTime::parse_from_rfc2822(asked).ok()?;
    let answered_at = DateTime::parse_from_rfc2822(text(DATE)?).ok()?;
    // An instant that has passed asks for no wait.
    Some((at - answered_at).to_std().unwrap_or_default())
}

/// An error with all of its causes on one line; without the URL, which the caller knows.
pub(super) fn describe(error: reqwest::Error) -> String {
    chain(&error.without_url())
}

fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retry: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().expect("a header"));
        if let Some(date) = date {
            headers.insert(DATE, date.parse().expect("a header"));
        }
        retry_after(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_until_an_instant() {
        let date = Some("Sun, 22 Nov 2026 20:00:00 GMT");
        assert_eq!(wait("7", None), Some(7));
        assert_eq!(wait(" 120 ", date), Some(120));
        assert_eq!(wait("Sun, 22 Nov 2026 20:01:30 GMT", date), Some(90));
        assert_eq!(wait("Sun, 22 Nov 2026 19:00:00 GMT", date), Some(0));
        for (retry, date) in [
            ("Sun, 22 Nov 2026 20:01:30 GMT", None),
            ("Sun, 22 Nov 2026 20:01:30 GMT", Some("yesterday")),
            ("soon", date),
            ("-1", date),
            ("99999999999", date),
        ] {
            assert_eq!(wait(retry, date), None, "{retry} {date:?}");
        }
    }
}
