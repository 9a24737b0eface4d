//! `sandbox`: the stand-in for the providers, as a process of its own.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::exit::UsageError;
use crate::clock::Clock;
use crate::config::folders;
use crate::daemon;
use crate::sandbox::{Sandbox, serve};

/// Serves the sandbox until it is told to stop. Killed, it leaves a journal, and its books come
/// back once somebody asks about something in them; stopped, it forgets.
pub async fn run(listen: SocketAddr) -> anyhow::Result<Exit> {
    if !listen.ip().is_loopback() {
        let words = format!(
            "--listen {listen}: the sandbox takes anybody's money, so it stays on loopback"
        );
        return Err(UsageError(words).into());
    }
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: is another sandbox running there?"))?;
    let address = listener.local_addr()?;
    let journal = folders()?.1.join(format!("payoutd-sandbox-{}.journal", address.port()));
    let sandbox = Sandbox::with_journal(Clock::System, Some(journal.clone()))
        .with_context(|| format!("cannot use the journal {}", journal.display()))?;
    let stop = CancellationToken::new();
    daemon::stop_on_signals(&stop)?;
    eprintln!("sandbox on http://{address} (books at /_sandbox/books); Ctrl-C stops it");
    serve(listener, sandbox.clone(), stop).await?;
    sandbox.forget()?;
    Ok(Exit::Done)
}
