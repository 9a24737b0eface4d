//! `wallet`: list, show, freeze, unfreeze, adjust.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{Output, money, table, time};
use super::{App, Exit};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{AdjustmentId, Currency, Money, OrgId, WalletKey, WalletStatus};
use crate::engine::{Adjustment, EngineError};
use crate::store::{WalletEntryRow, WalletFilter, WalletRow};

#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Wallets, by affiliate and currency
    List {
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
        /// Only this status: active, frozen
        #[arg(long)]
        status: Option<WalletStatus>,
        /// Only those that owe: their affiliates are not paid before they have earned it
        #[arg(long)]
        owing: bool,
        /// Only wallets after this affiliate and currency, as AFFILIATE/USD: the next page
        #[arg(long, value_name = "WALLET")]
        after: Option<String>,
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// One wallet, with the latest movements of its money
    Show {
        #[command(flatten)]
        wallet: Which,
        /// How many movements
        #[arg(long, default_value_t = 20)]
        entries: i64,
    },
    /// Stop paying a wallet; it goes on earning
    Freeze {
        #[command(flatten)]
        wallet: Which,
        /// Why, for the record
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        reason: String,
    },
    /// Let a frozen wallet be paid again
    Unfreeze {
        #[command(flatten)]
        wallet: Which,
        /// Why, for the record
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        reason: String,
    },
    /// Add to what is available in a wallet, or take from it; what is not there is owed
    Adjust {
        #[command(flatten)]
        wallet: Which,
        /// How much, as 12.50; with a minus it is taken: --amount=-12.50
        #[arg(long, allow_hyphen_values = true)]
        amount: String,
        /// Why, for the record
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        reason: String,
        /// Your own id of it: the same one again adjusts nothing. Made up if it is left out
        #[arg(long)]
        id: Option<String>,
    },
}

/// Which wallet.
#[derive(Debug, Args)]
pub struct Which {
    /// Id of the affiliate
    affiliate: String,
    /// Its currency; may be left out if the affiliate has one wallet
    #[arg(long)]
    currency: Option<String>,
    /// Org; may be left out if there is only one
    #[arg(long)]
    org: Option<String>,
}

/// Runs one `wallet` command.
pub async fn run(config: &Config, output: Output, command: WalletCommand) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    match command {
        WalletCommand::List { org, status, owing, after, limit } => {
            let org = app.org(org.as_deref()).await?;
            let filter = WalletFilter {
                affiliate_id: String::new(),
                status: status.map(|status| status.to_string()).unwrap_or_default(),
                owing,
                after: after_wallet(after.as_deref())?,
                limit: limit.max(1),
            };
            list(output, &app.engine.store.wallets(&org, &filter).await?)?;
        }
        WalletCommand::Show { wallet, entries } => {
            let (org, key) = known(&app, &wallet).await?;
            show(&app, output, (&org, &key), entries.max(1)).await?;
        }
        WalletCommand::Freeze { wallet, reason } => {
            let (org, key) = known(&app, &wallet).await?;
            let new = app.engine.freeze(&app.work(), &org, (&key, &reason)).await?;
            say_status(output, &key, "frozen", new)?;
        }
        WalletCommand::Unfreeze { wallet, reason } => {
            let (org, key) = known(&app, &wallet).await?;
            let new = app.engine.unfreeze(&app.work(), &org, (&key, &reason)).await?;
            say_status(output, &key, "active", new)?;
        }
        WalletCommand::Adjust { wallet, amount, reason, id } => {
            adjust(&app, output, &wallet, (&amount, reason, id)).await?;
        }
    }
    app.engine.store.close().await;
    Ok(Exit::Done)
}

async fn adjust(
    app: &App,
    output: Output,
    which: &Which,
    (amount, reason, id): (&str, String, Option<String>),
) -> anyhow::Result<()> {
    let (org, wallet) = match known(app, which).await {
        // An affiliate that has not earned yet gets its wallet by this.
        Err(_) if which.currency.is_some() => named(app, which).await?,
        found => found?,
    };
    let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
    let amount = Money::parse(amount, wallet.currency).map_err(|error| usage(&error))?;
    let adjustment_id = match id {
        Some(id) => id.parse().map_err(|error: crate::domain::IdError| usage(&error))?,
        None => Clock::System.mint::<AdjustmentId>(),
    };
    let adjustment = Adjustment { adjustment_id, wallet, amount_minor: amount.minor, reason };
    let new = app.engine.adjust(&app.work(), &org, &adjustment).await?;
    let row = row(app, &org, &adjustment.wallet).await?;
    if output.json {
        return output.json(&json!({
            "adjustment_id": adjustment.adjustment_id, "amount": amount.to_string(),
            "changed": new, "wallet": value(&row),
        }));
    }
    let available = money(Money::new(row.available_minor, row.currency));
    let words = if new { "adjusted by" } else { "was adjusted before by" };
    output.text(&format!("{words} {}; {available} are available", money(amount)))
}

/// The wallet that is meant: of the currency named, or the only one of the affiliate.
async fn known(app: &App, which: &Which) -> anyhow::Result<(OrgId, WalletKey)> {
    if which.currency.is_some() {
        let (org, key) = named(app, which).await?;
        row(app, &org, &key).await?;
        return Ok((org, key));
    }
    let org = app.org(which.org.as_deref()).await?;
    let affiliate_id = which.affiliate.clone();
    let filter = WalletFilter { affiliate_id, limit: 100, ..WalletFilter::default() };
    let wallets = app.engine.store.wallets(&org, &filter).await?;
    match wallets.as_slice() {
        [only] => {
            let (affiliate_id, currency) = (only.affiliate_id.clone(), only.currency);
            Ok((org, WalletKey { affiliate_id, currency }))
        }
        [] => {
            Err(UsageError(format!("affiliate {} has no wallet in org {org}", which.affiliate))
                .into())
        }
        _ => Err(UsageError("there are several wallets: name one with --currency".into()).into()),
    }
}

async fn named(app: &App, which: &Which) -> anyhow::Result<(OrgId, WalletKey)> {
    let org = app.org(which.org.as_deref()).await?;
    let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
    let affiliate_id = which.affiliate.parse();
    let affiliate_id = affiliate_id.map_err(|error: crate::domain::IdError| usage(&error))?;
    let currency = which.currency.as_deref().unwrap_or_default().parse::<Currency>();
    let currency = currency.map_err(|error| usage(&error))?;
    Ok((org, WalletKey { affiliate_id, currency }))
}

async fn row(app: &App, org: &OrgId, key: &WalletKey) -> anyhow::Result<WalletRow> {
    let row = app.engine.store.wallet(org, key).await?;
    Ok(row.ok_or_else(|| EngineError::no_wallet(key))?)
}

fn after_wallet(after: Option<&str>) -> Result<(String, String), UsageError> {
    let Some(after) = after else { return Ok(Default::default()) };
    let (affiliate, currency) = after
        .rsplit_once('/')
        .ok_or_else(|| UsageError(format!("--after {after}: expected AFFILIATE/CURRENCY")))?;
    Ok((affiliate.to_owned(), currency.to_owned()))
}

fn list(output: Output, wallets: &[WalletRow]) -> anyhow::Result<()> {
    if output.json {
        return output.json(&wallets.iter().map(value).collect::<Vec<_>>());
    }
    output.text(&wallet_table(wallets))
}

fn wallet_table(wallets: &[WalletRow]) -> String {
    let row = |wallet: &WalletRow| {
        let amount = |minor| Money::new(minor, wallet.currency).to_string();
        vec![
            wallet.affiliate_id.to_string(),
            wallet.currency.to_string(),
            amount(wallet.held_minor),
            amount(wallet.available_minor),
            amount(wallet.in_flight_minor),
            amount(wallet.paid_minor),
            wallet.status.to_string(),
            wallet.frozen_reason.clone().unwrap_or_default(),
        ]
    };
    let headings =
        ["affiliate", "currency", "held", "available", "in flight", "paid", "status", "why"];
    table(&headings, &[2, 3, 4, 5], wallets.iter().map(row).collect())
}

fn value(wallet: &WalletRow) -> Value {
    let amount = |minor| Money::new(minor, wallet.currency).to_string();
    json!({
        "affiliate_id": wallet.affiliate_id, "currency": wallet.currency,
        "program": wallet.program_id, "status": wallet.status,
        "held": amount(wallet.held_minor), "available": amount(wallet.available_minor),
        "in_flight": amount(wallet.in_flight_minor), "paid": amount(wallet.paid_minor),
        "updated_at": wallet.updated_at, "frozen_by": wallet.frozen_by,
        "frozen_at": wallet.frozen_at, "frozen_reason": wallet.frozen_reason,
    })
}

async fn show(
    app: &App,
    output: Output,
    (org, key): (&OrgId, &WalletKey),
    limit: i64,
) -> anyhow::Result<()> {
    let wallet = row(app, org, key).await?;
    let entries = app.engine.store.wallet_entries(org, key, i64::MAX, limit).await?;
    let amount = |minor| Money::new(minor, key.currency).to_string();
    if output.json {
        let mut value = value(&wallet);
        let entry = |entry: &WalletEntryRow| {
            json!({
                "version": entry.version, "kind": entry.kind, "from": entry.from_bucket,
                "to": entry.to_bucket, "amount": amount(entry.amount_minor),
                "cause": entry.entry_key, "reason": entry.reason, "actor": entry.actor,
                "occurred_at": entry.occurred_at, "available_after": amount(entry.available_after),
            })
        };
        value["entries"] = entries.iter().map(entry).collect();
        return output.json(&value);
    }
    output.text(&wallet_table(std::slice::from_ref(&wallet)))?;
    let row = |entry: &WalletEntryRow| {
        vec![
            time(entry.occurred_at),
            entry.kind.to_string(),
            format!("{} to {}", entry.from_bucket, entry.to_bucket),
            amount(entry.amount_minor),
            amount(entry.available_after),
            entry.actor.clone(),
            entry.reason.clone().unwrap_or_else(|| entry.entry_key.clone()),
        ]
    };
    let headings = ["when", "entry", "moved", "amount", "available then", "who", "why"];
    let rows = entries.iter().map(row).collect();
    output.text(&format!("\n{}", table(&headings, &[3, 4], rows)))
}

fn say_status(output: Output, key: &WalletKey, status: &str, new: bool) -> anyhow::Result<()> {
    if output.json {
        return output.json(&json!({
            "affiliate_id": key.affiliate_id, "currency": key.currency, "status": status,
            "changed": new,
        }));
    }
    let words = if new { "is" } else { "was already" };
    output.text(&format!("wallet {} in {} {words} {status}", key.affiliate_id, key.currency))
}
