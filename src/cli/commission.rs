//! `commission`: release what is held, take back what was refunded.

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::exit::UsageError;
use super::output::{Output, money, totals};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{CommissionId, IdError, Money, OrgId, RefundId};
use crate::engine::{EngineError, Reversal};

/// Due commissions per transaction.
const BATCH: i64 = 10_000;

#[derive(Debug, Subcommand)]
pub enum CommissionCommand {
    /// Release every held commission whose hold has passed, in programs with and without autoCredit
    ProcessHeld {
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// Take back what a commission earned, or a part of it, because its order was refunded
    Reverse {
        /// Id of the commission
        id: String,
        /// The refund as the shop names it: told again, it changes nothing
        #[arg(long)]
        refund: String,
        /// How much, as 12.50; all that is left, if it is left out
        #[arg(long)]
        amount: Option<String>,
        /// Why, for the record
        #[arg(long, default_value = "refunded", value_parser = NonEmptyStringValueParser::new())]
        reason: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
}

/// Runs one `commission` command.
pub async fn run(
    config: &Config,
    output: Output,
    command: CommissionCommand,
) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    match command {
        CommissionCommand::ProcessHeld { org } => {
            process_held(&app, output, org.as_deref()).await?;
        }
        CommissionCommand::Reverse { id, refund, amount, reason, org } => {
            let org = app.org(org.as_deref()).await?;
            reverse(&app, output, &org, (&id, &refund, amount.as_deref(), reason)).await?;
        }
    }
    app.engine.store.close().await;
    Ok(Exit::Done)
}

async fn process_held(app: &App, output: Output, org: Option<&str>) -> anyhow::Result<()> {
    let org = app.org(org).await?;
    let work = app.work();
    let tally = app.engine.process_held(&work, &org, BATCH).await?;
    if output.json {
        // `totalCredited` is the platform's one number; with several currencies there is none.
        let mut sums = tally.amounts.iter();
        let one = match (sums.next(), sums.next()) {
            (Some(only), None) => serde_json::to_value(only.to_decimal())?,
            (None, _) => json!(0),
            _ => json!(null),
        };
        output.json(&json!({
            "org": org, "processed": tally.acted, "totalCredited": one, "credited": tally.amounts,
        }))?;
    } else {
        output.text(&format!(
            "processed {} commissions, credited {}",
            tally.acted,
            totals(&tally.amounts)
        ))?;
    }
    Ok(())
}

async fn reverse(
    app: &App,
    output: Output,
    org: &OrgId,
    (id, refund, amount, reason): (&str, &str, Option<&str>, String),
) -> anyhow::Result<()> {
    let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
    let commission_id: CommissionId = id.parse().map_err(|error: IdError| usage(&error))?;
    let refund_id: RefundId = refund.parse().map_err(|error: IdError| usage(&error))?;
    let wallet = app.engine.store.commission_wallet(org, &commission_id).await?;
    let no_commission = || EngineError::NoCommission { commission_id: commission_id.clone() };
    let currency = wallet.ok_or_else(no_commission)?.currency;
    let amount = amount.map(|amount| Money::parse(amount, currency)).transpose();
    let amount = amount.map_err(|error| usage(&error))?;
    let reversal = Reversal { commission_id, refund_id, amount, reason };
    let done = app.engine.reverse(&app.work(), org, &reversal).await?;
    if output.json {
        return output.json(&json!({
            "commission_id": id, "refund_id": refund, "amount": done.amount.to_string(),
            "currency": currency, "from": done.from, "status": done.status,
            "changed": !done.repeated,
        }));
    }
    let words = if done.repeated { "was told before: it took" } else { "took" };
    let amount = money(done.amount);
    output.text(&format!("{refund} {words} {amount} from {}; {id} is {}", done.from, done.status))
}
