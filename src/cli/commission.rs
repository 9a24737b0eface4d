//! `commission`: release what is held.

use clap::Subcommand;
use serde_json::json;

use super::output::{Output, totals};
use super::{App, Exit};
use crate::config::Config;

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
}

/// Runs one `commission` command.
pub async fn run(
    config: &Config,
    output: Output,
    command: CommissionCommand,
) -> anyhow::Result<Exit> {
    let CommissionCommand::ProcessHeld { org } = command;
    let app = App::open(config).await?;
    let org = app.org(org.as_deref()).await?;
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
    app.engine.store.close().await;
    Ok(Exit::Done)
}
