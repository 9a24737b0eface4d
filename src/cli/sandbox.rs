//! `sandbox`: the stand-in for the providers, as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::exit::UsageError;
use crate::clock::Clock;
use crate::config::folders;
use crate::daemon;
use crate::sandbox::{Host, Sandbox, WebhookEndpoint, serve};

/// Options of the sandbox.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Address to listen on; PayPal, Stripe and the control calls share it
    #[arg(long, default_value = "127.0.0.1:8321", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Tell this endpoint what happens at Stripe, signed with the secret
    #[arg(long, value_name = "URL=SECRET")]
    webhook_stripe: Vec<String>,
    /// Tell this endpoint what happens at PayPal, signed for the webhook's id
    #[arg(long, value_name = "URL=ID")]
    webhook_paypal: Vec<String>,
    /// Folder that the bank takes NACHA and pain.001 files from; may be given several times
    #[arg(long, value_name = "DIR")]
    bank_outbox: Vec<PathBuf>,
    /// Folder that the bank drops its answers into, one for each outbox
    #[arg(long, value_name = "DIR")]
    bank_inbox: Vec<PathBuf>,
    /// Let the bank pay on the day that it takes a file, not on the next banking day
    #[arg(long)]
    bank_settles_at_once: bool,
}

/// Serves the sandbox until it is told to stop. Killed, it leaves a journal, and its books come
/// back once somebody asks about something in them; stopped, it forgets.
pub async fn run(args: SandboxArgs) -> anyhow::Result<Exit> {
    let SandboxArgs { listen, .. } = args;
    if !listen.ip().is_loopback() {
        let words = format!(
            "--listen {listen}: the sandbox takes anybody's money, so it stays on loopback"
        );
        return Err(UsageError(words).into());
    }
    if args.bank_outbox.len() != args.bank_inbox.len() {
        let words = "--bank-outbox and --bank-inbox go together, one for one";
        return Err(UsageError(words.to_owned()).into());
    }
    let endpoints = endpoints(&args)?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: is another sandbox running there?"))?;
    let address = listener.local_addr()?;
    let journal = folders()?.1.join(format!("payoutd-sandbox-{}.journal", address.port()));
    let sandbox = Sandbox::with_journal(Clock::System, Some(journal.clone()))
        .with_context(|| format!("cannot use the journal {}", journal.display()))?;
    for endpoint in endpoints {
        let url = endpoint.url.clone();
        sandbox.register(endpoint).map_err(|error| UsageError(format!("{url}: {error}")))?;
    }
    for (outbox, inbox) in args.bank_outbox.into_iter().zip(args.bank_inbox) {
        sandbox.open_bank(outbox, inbox);
    }
    sandbox.settle_at_once(args.bank_settles_at_once);
    let stop = CancellationToken::new();
    daemon::stop_on_signals(&stop)?;
    eprintln!("sandbox on http://{address} (books at /_sandbox/books); Ctrl-C stops it");
    serve(listener, sandbox.clone(), stop).await?;
    sandbox.forget()?;
    Ok(Exit::Done)
}

fn endpoints(args: &SandboxArgs) -> Result<Vec<WebhookEndpoint>, UsageError> {
    let stripes = args.webhook_stripe.iter().map(|text| (Host::Stripe, text));
    let paypals = args.webhook_paypal.iter().map(|text| (Host::Paypal, text));
    stripes.chain(paypals).map(|(host, text)| endpoint(host, text)).collect()
}

/// The address may hold a `=`; what stands behind the last one may not.
fn endpoint(provider: Host, text: &str) -> Result<WebhookEndpoint, UsageError> {
    let Some((url, key)) = text.rsplit_once('=') else {
        let words = format!("{text}: expected an address, =, and what it is signed with");
        return Err(UsageError(words));
    };
    let (url, key) = (url.to_owned(), Some(key.to_owned()));
    Ok(match provider {
        Host::Stripe => WebhookEndpoint { provider, url, secret: key, webhook_id: None },
        Host::Paypal => WebhookEndpoint { provider, url, secret: None, webhook_id: key },
    })
}
