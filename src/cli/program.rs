//! `program`: from which amount on payouts wait for an approval.

use clap::Subcommand;
use serde_json::json;

use super::exit::UsageError;
use super::output::{Output, money};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{Currency, Money, ProgramId};

#[derive(Debug, Subcommand)]
pub enum ProgramCommand {
    /// Let payouts above an amount wait until somebody approves them
    Approval {
        /// Id of the program
        program: String,
        /// Payouts of more than this wait, as 1000.00
        #[arg(long, conflicts_with = "never", required_unless_present = "never")]
        above: Option<String>,
        /// No payout waits
        #[arg(long)]
        never: bool,
        /// The currency of the amount
        #[arg(long, default_value = "USD")]
        currency: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
}

/// Runs one `program` command.
pub async fn run(config: &Config, output: Output, command: ProgramCommand) -> anyhow::Result<Exit> {
    let ProgramCommand::Approval { program, above, never: _, currency, org } = command;
    let app = App::open(config).await?;
    let org = app.org(org.as_deref()).await?;
    let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
    let program: ProgramId =
        program.parse().map_err(|error: crate::domain::IdError| usage(&error))?;
    let currency: Currency =
        currency.parse().map_err(|error: crate::domain::MoneyError| usage(&error))?;
    let above = above.map(|above| Money::parse(&above, currency)).transpose();
    let above = above.map_err(|error| usage(&error))?;
    let limit = (currency, above.map(|above| above.minor));
    app.engine.approve_above(&app.work(), &org, &program, limit).await?;
    if output.json {
        let above = above.map(|above| above.to_string());
        output.json(&json!({"program": program, "currency": currency, "approve_above": above}))?;
    } else {
        let words = match above {
            Some(above) => format!("payouts of more than {} wait for an approval", money(above)),
            None => format!("no payout in {currency} waits for an approval"),
        };
        output.text(&format!("{words}, from now on"))?;
    }
    app.engine.store.close().await;
    Ok(Exit::Done)
}
