//! `run`: the daemon.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{App, Exit};
use crate::config::Config;
use crate::daemon;

/// Runs the daemon until it is told to stop.
pub async fn run(config: &Config) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    let stop = CancellationToken::new();
    daemon::stop_on_signals(&stop)?;
    let drain = Duration::from_millis(config.jobs.drain_ms);
    if daemon::run(&app.runner, drain, &stop).await? {
        app.engine.store.close().await;
    }
    Ok(Exit::Done)
}
