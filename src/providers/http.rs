//! The one place where an HTTP client is built: every call has a time-out.

use std::error::Error;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

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

fn is_loopback(base: &Url) -> bool {
    matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
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
