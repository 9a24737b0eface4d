//! `run`: the daemon, and the HTTP server beside it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::app::notifier;
use super::exit::UsageError;
use super::{App, Exit};
use crate::access::Gatekeeper;
use crate::config::Config;
use crate::notify::{Courier, Notifier};
use crate::{daemon, http};

/// How often the database is asked what time it is.
const KEEP_TIME: Duration = Duration::from_secs(5);

/// One of the daemon's two roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Answers the API, and hears webhooks; no schedules, no runs, no deliveries.
    Api,
    /// Schedules, runs and deliveries; hears webhooks where [http] listen is set, and has no API.
    Jobs,
}

/// Runs the daemon, or one role of it, until it is told to stop.
pub async fn run(config: &Config, only: Option<Role>) -> anyhow::Result<Exit> {
    if only == Some(Role::Api) && config.http.listen().is_none() {
        let words = "--only api has nothing to listen on: set [http] listen, as 127.0.0.1:8320";
        return Err(UsageError(words.to_owned()).into());
    }
    let listener = listener(config).await?;
    let app = App::open(config).await?;
    let stop = CancellationToken::new();
    let desk = desk(&app, config, only)?;
    daemon::stop_on_signals(&stop)?;
    if stand(config, &app, (listener, desk, only), &stop).await? {
        app.engine.store.close().await;
    }
    Ok(Exit::Done)
}

/// The address of [http] listen, taken; `None` where nothing is to be heard.
pub(super) async fn listener(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    match config.http.listen() {
        Some(address) => Ok(Some(listen(address).await?)),
        None => Ok(None),
    }
}

/// Counts from now on what this process does, if anybody may read it.
pub(super) fn count(config: &Config, app: &App) -> anyhow::Result<()> {
    if config.http.listen().is_some() && config.http.metrics != http::Metrics::Off {
        http::Numbers::start(app.runner.catalog.iter())?;
    }
    Ok(())
}

/// Serves and works, or one of the two, until it is told to stop; whether all that was in hand was
/// finished.
pub(super) async fn stand(
    config: &Config,
    app: &App,
    (listener, desk, only): (Option<TcpListener>, http::Desk, Option<Role>),
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    count(config, app)?;
    if only != Some(Role::Api) {
        app.runner.pulse.expect();
    }
    let over = CancellationToken::new();
    let systemd = daemon::tell_systemd(app.runner.clone(), stop.clone(), over.clone());
    let systemd = tokio::spawn(systemd);
    let notifier = desk.notifier.clone();
    // It answers until the work is over: who asks meanwhile hears that we are alive, and not ready.
    let closing = CancellationToken::new();
    let served =
        listener.map(|listener| tokio::spawn(http::serve(listener, desk, closing.clone())));
    let drained = if only == Some(Role::Api) {
        keep_time(app, stop).await;
        Ok(true)
    } else {
        work(config, app, notifier, stop).await
    };
    closing.cancel();
    if let Some(served) = served {
        served.await?;
    }
    over.cancel();
    systemd.await?;
    drained
}

/// Keeps the time of a server that has no schedules, until `stop`; who has them keeps it at each look.
async fn keep_time(app: &App, stop: &CancellationToken) {
    while tokio::time::timeout(KEEP_TIME, stop.cancelled()).await.is_err() {
        // While the database does not answer, the clock goes on as it was.
        let asked = tokio::time::timeout(KEEP_TIME, app.engine.keep_time()).await;
        if let Ok(Err(cause)) = asked {
            debug!(event = "clock.not_asked", %cause);
        }
    }
}

/// Schedules and runs, and beside them the courier of outgoing webhooks; whether all that was in hand
/// was finished.
async fn work(
    config: &Config,
    app: &App,
    notifier: Notifier,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let (courier, told) = (Courier::new(notifier), stop.clone());
    let told = tokio::spawn(async move { courier.run(&told).await });
    let drain = Duration::from_millis(config.jobs.drain_ms);
    let drained = daemon::run(&app.runner, drain, stop).await;
    // The others stop with the daemon, also if the daemon could not start.
    stop.cancel();
    if tokio::time::timeout(drain, told).await.is_err() {
        warn!(event = "notify.drain.timed_out", "what is in hand is found by its lease");
    }
    drained
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address} ([http] listen)"))
}

/// What the server of a role needs.
pub(super) fn desk(app: &App, config: &Config, only: Option<Role>) -> anyhow::Result<http::Desk> {
    let settings = &config.http;
    let (store, clock) = (app.engine.store.clone(), app.engine.clock.clone());
    let limits = http::Limits {
        body_bytes: settings.body_limit_bytes,
        body_time: Duration::from_millis(settings.body_timeout_ms),
        answer_time: Duration::from_millis(settings.answer_timeout_ms),
        requests_per_minute: settings.requests_per_minute,
        failed_proofs_per_minute: settings.failed_proofs_per_minute,
    };
    Ok(http::Desk {
        engine: app.engine.clone(),
        runner: app.runner.clone(),
        notifier: notifier(config, &app.engine)?,
        gatekeeper: Gatekeeper::new(store, clock, &config.auth)?,
        limits,
        cors_origins: settings.cors_origins().into(),
        serves_api: only != Some(Role::Jobs),
        metrics: settings.metrics,
        proxies: http::Proxies::parse(&settings.trusted_proxies).map_err(no_proxy)?,
    })
}

fn no_proxy(part: String) -> UsageError {
    UsageError(format!("http.trusted_proxies: \"{part}\" is neither an address nor a network"))
}
