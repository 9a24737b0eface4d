//! Signs of life after a job's runs, as healthchecks.io and those like it take them: a POST to the
//! job's own address when a run begins (`/start`), when it ended well, and when it failed (`/fail`).
//!
//! A sign that does not arrive is logged and counted, and changes nothing about the run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use reqwest::Client;
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::warn;
use url::Url;

use super::NotifyError;

/// Longest time of one sign.
const LONGEST: Duration = Duration::from_secs(5);
/// The longest body that every receiver keeps, in bytes.
const LONGEST_BODY: usize = 10_000;

/// What a sign says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Begins,
    Well,
    Failed,
}

/// Sends signs of life of jobs. Cloning shares it; the default one has no addresses.
#[derive(Clone, Default)]
pub struct Pings(Option<Arc<Inner>>);

struct Inner {
    http: Client,
    /// Whoever knows such an address can report in our place.
    urls: BTreeMap<String, SecretString>,
    sending: TaskTracker,
}

impl Pings {
    /// Signs to the addresses of these jobs.
    ///
    /// # Errors
    /// [`NotifyError::Client`] if the host's TLS cannot be set up.
    pub fn new(urls: BTreeMap<String, SecretString>) -> Result<Self, NotifyError> {
        if urls.is_empty() {
            return Ok(Self::default());
        }
        let http = Client::builder()
            .user_agent(concat!("payoutd/", env!("CARGO_PKG_VERSION")))
            .timeout(LONGEST)
            .redirect(Policy::limited(3))
            .build()
            .map_err(|error| NotifyError::Client(error.to_string()))?;
        Ok(Self(Some(Arc::new(Inner { http, urls, sending: TaskTracker::new() }))))
    }

    /// Sends a sign beside whatever goes on, after the one before it; `None` if the job has no
    /// address.
    pub fn send(
        &self,
        job_id: &str,
        (sign, mut body): (Sign, String),
        before: Option<JoinHandle<()>>,
    ) -> Option<JoinHandle<()>> {
        let inner = Arc::clone(self.0.as_ref()?);
        inner.urls.contains_key(job_id).then_some(())?;
        let end = (0..=LONGEST_BODY.min(body.len())).rev().find(|at| body.is_char_boundary(*at));
        body.truncate(end.unwrap_or(0));
        let job_id = job_id.to_owned();
        let sending = inner.sending.clone();
        Some(sending.spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            if let Err(cause) = inner.post(&job_id, sign, body).await {
                warn!(event = "heartbeat.failed", job_id, sign = ?sign, cause);
                counter!("payoutd_heartbeat_failures_total", "job_id" => job_id).increment(1);
            }
        }))
    }

    /// Waits for the signs that are on their way: each takes five seconds at most.
    pub async fn flush(&self) {
        if let Some(inner) = &self.0 {
            inner.sending.close();
            inner.sending.wait().await;
            inner.sending.reopen();
        }
    }
}

impl Inner {
    async fn post(&self, job_id: &str, sign: Sign, body: String) -> Result<(), String> {
        let url = self.urls.get(job_id).map(|url| address(url.expose_secret(), sign));
        let url = url.flatten().ok_or("its address is none: expected https://host/path")?;
        let sent = self.http.post(url).header("content-type", "text/plain").body(body).send();
        // Its address is a secret, and not part of what is logged.
        let answer = sent.await.map_err(|error| error.without_url().to_string())?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("answered {status}")),
        }
    }
}

/// The address of a sign: a path of its own below the job's, with what the job's asks for.
fn address(url: &str, sign: Sign) -> Option<Url> {
    let mut url = Url::parse(url).ok().filter(|url| url.has_host())?;
    let end = match sign {
        Sign::Begins => "start",
        Sign::Well => return Some(url),
        Sign::Failed => "fail",
    };
    url.path_segments_mut().ok()?.pop_if_empty().push(end);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sign_has_its_path_below_the_address() {
        let of = |url: &str, sign| address(url, sign).map(|url| url.to_string());
        let base = "https://hc.example.com/ping/abc?create=1";
        assert_eq!(of(base, Sign::Well).as_deref(), Some(base));
        let start = "https://hc.example.com/ping/abc/start?create=1";
        assert_eq!(of(base, Sign::Begins).as_deref(), Some(start));
        let fail = "https://hc.example.com/ping/abc/fail";
        assert_eq!(of("https://hc.example.com/ping/abc/", Sign::Failed).as_deref(), Some(fail));
        assert_eq!(of("not an address", Sign::Well), None);
    }
}
