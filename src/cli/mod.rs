//! The operator's command line. Raw arguments in, one function per verb, documented exit codes.

mod affiliate;
mod alert;
mod app;
mod check;
mod commission;
mod demo;
mod doctor;
mod exit;
mod halt;
mod import;
mod job;
mod job_acts;
mod job_list;
mod key;
mod keys;
mod method;
mod output;
mod payout;
mod plan;
mod program;
mod program_zone;
mod reconcile;
mod sandbox;
mod schedule;
mod serve;
mod settings;
mod summary;
mod vault;
mod wallet;
mod webhook;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::{Config, environment};
use crate::telemetry;

use app::App;
pub use exit::{Exit, exit_code_of};
use output::Output;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  usage or configuration
  3  partly done (rows rejected, transfers not accepted yet)
  4  nothing done: refused, or already running

A first look:   payoutd demo
On your data:   payoutd import ./data --org my-org && payoutd job run release-holds
                payoutd job run auto-payout && payoutd summary --org my-org
Settings:       payoutd config show";

/// Pays affiliates on schedule: no cent lost, nothing paid twice, a reason for everyone not paid.
#[derive(Debug, Parser)]
#[command(name = "payoutd", version, after_help = AFTER_HELP)]
pub struct Args {
    /// Configuration file (TOML, as payoutd.toml); stronger than the defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database: sqlite:///path or postgres://user@host/name
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// How log lines are written, to stderr
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormatArg>,
    /// Least important log lines: off, error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Any setting, as section.key=value; the strongest layer
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormatArg {
    Json,
    Text,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: schedules, payouts, reconciliation, until SIGTERM or Ctrl-C
    Run {
        /// One role alone, so that the two scale and are exposed apart
        #[arg(long, value_name = "ROLE")]
        only: Option<serve::Role>,
    },
    /// Run the whole cycle on sample data against a sandbox on loopback, then stay up
    Demo {
        /// Leave when the cycle is through, instead of staying up
        #[arg(long)]
        once: bool,
    },
    /// A stand-in for PayPal, Stripe and a bank, with its own books and scripted faults
    Sandbox(sandbox::SandboxArgs),
    /// Import programs.csv, affiliates.csv and commissions.csv from a folder (or one such file)
    Import {
        /// Folder with the three files, or one file whose header tells what it is
        path: PathBuf,
        /// Org that the rows belong to; made if it does not exist
        #[arg(long)]
        org: String,
    },
    /// Schedules and their runs
    #[command(subcommand)]
    Job(job::JobCommand),
    /// What a run would do, written down: see `payoutd job run auto-payout --dry-run`
    #[command(subcommand)]
    Plan(plan::PlanCommand),
    /// Payouts: list, show, approve, retry, cancel
    #[command(subcommand)]
    Payout(payout::PayoutCommand),
    /// Providers' statements, and what they and our books disagree about
    #[command(subcommand)]
    Reconcile(reconcile::ReconcileCommand),
    /// What a person has to look at
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Webhooks to others: where to, what arrived, telling it again
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Stop money from leaving: everything, an org, a rail or a program
    #[command(subcommand)]
    Halt(halt::HaltCommand),
    /// Affiliates: why was one paid, or not
    #[command(subcommand)]
    Affiliate(affiliate::AffiliateCommand),
    /// Programs: which payouts wait for an approval
    #[command(subcommand)]
    Program(program::ProgramCommand),
    /// Wallets: list, show, freeze, unfreeze, adjust
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// Payment methods: where affiliates' money may go
    #[command(subcommand)]
    Method(method::MethodCommand),
    /// Commissions: release what is held, take back what was refunded
    #[command(subcommand)]
    Commission(commission::CommissionCommand),
    /// API keys of services: create, list, revoke
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Where an org's money stands: commissions, wallets, payouts, the last auto-payout
    Summary {
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// Prove every invariant of the ledger; exit code 1 on a breach
    Check,
    /// The database
    #[command(subcommand)]
    Db(settings::DbCommand),
    /// The keys that account numbers are sealed under
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// The configuration
    #[command(subcommand)]
    Config(settings::ConfigCommand),
    /// Look at everything a running payoutd needs, and say what to mend
    Doctor {
        /// Only what a health check needs: configuration and database
        #[arg(long)]
        quick: bool,
    },
}

/// Runs one command.
///
/// # Errors
/// Anything that kept it from being done; [`exit_code_of`] says what the process ends with.
pub async fn run(args: Args) -> anyhow::Result<Exit> {
    let output = Output { json: args.json };
    let flags = flags(&args)?;
    let config = Config::load(args.config.as_deref(), environment(), &flags)?;
    let level = match &args.command {
        Command::Run { .. } => config.log.level,
        // One command prints its own story; its log starts at warnings unless asked for more.
        _ => config.log_level_or(telemetry::LogLevel::Warn),
    };
    telemetry::init(config.log.format, level, &config.telemetry)?;
    match args.command {
        Command::Run { only } => serve::run(&config, only).await,
        Command::Demo { once } => demo::run(&config, output, once).await,
        Command::Sandbox(args) => sandbox::run(args).await,
        Command::Import { path, org } => import::run(&config, output, &path, &org).await,
        Command::Plan(command) => plan::run(&config, output, command).await,
        Command::Job(command) => job::run(&config, output, command).await,
        Command::Payout(command) => payout::run(&config, output, command).await,
        Command::Reconcile(command) => reconcile::run(&config, output, command).await,
        Command::Alert(command) => alert::run(&config, output, command).await,
        Command::Webhook(command) => webhook::run(&config, output, command).await,
        Command::Halt(command) => halt::run(&config, output, command).await,
        Command::Affiliate(command) => affiliate::run(&config, output, command).await,
        Command::Program(command) => program::run(&config, output, command).await,
        Command::Wallet(command) => wallet::run(&config, output, command).await,
        Command::Method(command) => method::run(&config, output, command).await,
        Command::Commission(command) => commission::run(&config, output, command).await,
        Command::Key(command) => key::run(&config, output, command).await,
        Command::Summary { org } => summary::run(&config, output, org.as_deref()).await,
        Command::Check => check::run(&config, output).await,
        Command::Db(command) => settings::run_db(&config, output, command).await,
        Command::Vault(command) => vault::run(&config, output, command).await,
        Command::Config(command) => settings::run_config(&config, output, command),
        Command::Doctor { quick } => doctor::run(&config, output, quick).await,
    }
}

/// The flags as the strongest layer of the configuration.
fn flags(args: &Args) -> Result<Vec<(String, String)>, exit::UsageError> {
    let mut flags = Vec::new();
    for pair in &args.set {
        let Some((key, value)) = pair.split_once('=') else {
            // Only the key is repeated: what follows it may be a secret.
            let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let key: String = pair.chars().take_while(|c| is_key(*c)).collect();
            return Err(exit::UsageError(format!("--set {key}…: expected section.key=value")));
        };
        flags.push((key.to_owned(), value.to_owned()));
    }
    let named = [
        ("database.url", args.database_url.clone()),
        ("log.level", args.log_level.clone()),
        (
            "log.format",
            args.log_format.map(|format| match format {
                LogFormatArg::Json => "json".to_owned(),
                LogFormatArg::Text => "text".to_owned(),
            }),
        ),
    ];
    for (key, value) in named {
        flags.extend(value.map(|value| (key.to_owned(), value)));
    }
    Ok(flags)
}
