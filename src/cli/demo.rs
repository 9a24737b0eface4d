//! `demo`: the whole cycle on sample data, against the sandbox, through the daemon's own runner.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::app::operator;
use super::import::Teller;
use super::job::print_run;
use super::output::{Output, money, table};
use super::payout::payout_table;
use super::{App, Exit, check, import, keys, serve};
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon;
use crate::domain::{Money, OrgId};
use crate::engine::Reach;
use crate::import::Intake;
use crate::sandbox::{self, Sandbox};
use crate::store::{DecisionRow, PayoutFilter, RunRow};
use crate::vault::make_key_file;

/// Orders of a real shop, as commissions of invented affiliates (src/cli/sample/README.md).
const SAMPLE: [(&str, &str); 3] = [
    ("programs.csv", include_str!("sample/programs.csv")),
    ("affiliates.csv", include_str!("sample/affiliates.csv")),
    ("commissions.csv", include_str!("sample/commissions.csv")),
];
const ORG: &str = "demo";
/// The sandbox bank's routing number, which no real bank has.
const BANK: &str = "999999992";
/// Rounds of submit and reconcile after which the demo gives up.
const MOST_ROUNDS: usize = 20;
/// Rows shown of a long list.
const SHOWN: i64 = 8;

/// Runs the demo; with `once` it leaves when the cycle is through.
pub async fn run(config: &Config, output: Output, once: bool) -> anyhow::Result<Exit> {
    let stop = CancellationToken::new();
    daemon::stop_on_signals(&stop)?;
    let folder = tempfile::Builder::new().prefix("payoutd-demo-").tempdir()?;
    let (sandbox, paid_into) = start_sandbox(folder.path(), &stop).await?;
    let config = demo_config(config, folder.path(), &paid_into);
    // The demo's own key: nobody has to be told to keep a copy.
    if let Some(path) = keys::place(&config)?.file() {
        make_key_file(path, &Clock::System)?;
    }
    let listener = serve::listener(&config).await?;
    let app = App::open(&config).await?;
    serve::count(&config, &app)?;
    let broken = cycle(&app, output, &sandbox, folder.path(), &stop).await?;
    if broken {
        return Ok(Exit::Failed);
    }
    if !once && !stop.is_cancelled() {
        let url = database_url(folder.path());
        eprintln!(
            "\nthe daemon is up, with its schedules, until Ctrl-C. Meanwhile, elsewhere:\n  \
             payoutd --database-url {url} payout list\n  \
             payoutd --database-url {url} affiliate explain aff-00001\n  \
             books of the sandbox: {paid_into}/_sandbox/books"
        );
        if let Some(address) = listener.as_ref().map(TcpListener::local_addr).transpose()? {
            eprintln!("  the API of the org {ORG}: http://{address}/docs");
        }
        let desk = serve::desk(&app, &config, None)?;
        if !serve::stand(&config, &app, (listener, desk, None), &stop).await? {
            return Ok(Exit::Done);
        }
    }
    app.engine.store.close().await;
    stop.cancel();
    Ok(Exit::Done)
}

/// PayPal and Stripe behind an address, and a bank behind folders that settles on the same day:
/// the demo does not wait for Monday.
async fn start_sandbox(
    folder: &Path,
    stop: &CancellationToken,
) -> anyhow::Result<(Sandbox, String)> {
    let sandbox = Sandbox::new(Clock::System);
    for rail in ["ach", "wire"] {
        for kind in ["outbox", "inbox", "archive"] {
            std::fs::create_dir_all(folder.join(rail).join(kind))?;
        }
        sandbox.open_bank(folder.join(rail).join("outbox"), folder.join(rail).join("inbox"));
    }
    sandbox.settle_at_once(true);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(sandbox::serve(listener, sandbox.clone(), stop.clone()));
    Ok((sandbox, url))
}

fn database_url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("payoutd.db").display())
}

/// The demo's own database, rails and jobs over whatever is configured: it never touches real
/// ones.
fn demo_config(config: &Config, folder: &Path, paid_into: &str) -> Config {
    let mut demo = config.clone();
    demo.database.url = database_url(folder).into();
    demo.database.auto_migrate = true;
    demo.vault.master_keys = String::new().into();
    demo.vault.master_key_file = PathBuf::new();
    demo.jobs.ship();
    let paypal = &mut demo.providers.paypal;
    paypal.base_url = paid_into.to_owned();
    paypal.client_id = "demo".to_owned();
    paypal.client_secret = "demo".to_owned().into();
    // Small enough that the sample leaves in several calls.
    paypal.batch_size = 25;
    let stripe = &mut demo.providers.stripe;
    stripe.base_url = paid_into.to_owned();
    stripe.secret_key = "sk_test_demo".to_owned().into();
    let path = |rail: &str, kind: &str| folder.join(rail).join(kind).display().to_string();
    let ach = &mut demo.providers.ach;
    ach.outbox = path("ach", "outbox");
    ach.inbox = path("ach", "inbox");
    ach.archive = path("ach", "archive");
    ach.immediate_destination = BANK.to_owned();
    ach.immediate_destination_name = "SANDBOX BANK".to_owned();
    ach.immediate_origin = "0000000001".to_owned();
    ach.immediate_origin_name = "DEMO SHOP".to_owned();
    ach.company_name = "DEMO SHOP".to_owned();
    ach.company_id = "0000000001".to_owned();
    ach.odfi = BANK[..8].to_owned();
    let wire = &mut demo.providers.wire;
    wire.outbox = path("wire", "outbox");
    wire.inbox = path("wire", "inbox");
    wire.archive = path("wire", "archive");
    wire.debtor_name = "Demo Shop".to_owned();
    wire.debtor_account = "1000001".to_owned();
    wire.debtor_routing = BANK.to_owned();
    wire.debtor_city = "New York".to_owned();
    demo
}

/// Import, release, request, submit, reconcile, check; whether an invariant is broken.
async fn cycle(
    app: &App,
    output: Output,
    sandbox: &Sandbox,
    folder: &Path,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let org: OrgId = ORG.parse().context("the demo's org")?;
    output.text("— import —")?;
    for (name, text) in SAMPLE {
        std::fs::write(folder.join(name), text)?;
    }
    let mut teller = Teller::new();
    let work = app.work();
    let intake = Intake { engine: &app.engine, work: &work, org: &org, rejects_dir: folder };
    let reports = intake.import(folder, &mut teller).await?;
    teller.finish();
    import::print(output, &org, &reports)?;
    output.text("\n— the weekly cycle —")?;
    run_job(app, output, "release-holds", stop).await?;
    let decided = run_job(app, output, "auto-payout", stop).await?;
    for round in 1.. {
        run_job(app, output, "submit-transfers", stop).await?;
        sandbox.scan_bank()?;
        run_job(app, output, "reconcile-transfers", stop).await?;
        let open = app.engine.store.open_payouts().await?;
        if open == 0 || stop.is_cancelled() {
            break;
        }
        if round == MOST_ROUNDS {
            bail!("{open} payouts have no end after {round} rounds: run `payoutd payout list`");
        }
    }
    show_payouts(app, output, &org).await?;
    show_skipped(app, output, &org, &decided).await?;
    output.text("\n— the ledger —")?;
    check::print(output, &app.engine.audit().await?)
}

async fn run_job(
    app: &App,
    output: Output,
    job_id: &str,
    stop: &CancellationToken,
) -> anyhow::Result<RunRow> {
    let run = app.runner.run_now(job_id, &operator(), Reach::All, stop).await?;
    print_run(output, &run)?;
    Ok(run)
}

async fn show_payouts(app: &App, output: Output, org: &OrgId) -> anyhow::Result<()> {
    let filter = PayoutFilter { limit: SHOWN, ..PayoutFilter::default() };
    let payouts = app.engine.store.payouts(org, &filter).await?;
    output.text("\n— the first payouts —")?;
    output.text(&payout_table(&payouts))
}

async fn show_skipped(app: &App, output: Output, org: &OrgId, run: &RunRow) -> anyhow::Result<()> {
    let skipped = app.engine.store.decisions_skipped(org, &run.run_id, 1_000).await?;
    output.text("\n— who was not paid, and why —")?;
    let row = |decision: &DecisionRow| -> anyhow::Result<Vec<String>> {
        let failing = decision.failing()?;
        let words: Vec<_> = failing
            .iter()
            .map(|check| format!("{} (wants {}, found {})", check.gate, check.wants, check.found))
            .collect();
        Ok(vec![
            decision.affiliate_id.to_string(),
            money(Money::new(decision.available_minor, decision.currency)),
            words.join("; "),
        ])
    };
    let rows = skipped.iter().map(row).collect::<Result<_, _>>()?;
    output.text(&table(&["affiliate", "available", "why"], &[1], rows))
}
