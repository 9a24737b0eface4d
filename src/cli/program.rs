//! `program`: what a program may spend, and which of its payouts wait for an approval.

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::UsageError;
use super::output::{Output, money, table};
use super::{App, Exit, program_zone};
use crate::config::Config;
use crate::domain::{Caps, Currency, IdError, Money, MoneyError, ProgramId, ProgramLimits};

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
    /// Show or change what a program may spend, and which payouts wait for a person
    Limits(LimitsArgs),
    /// Show a program: its rules, its currencies, its time zone
    Show(program_zone::ShowArgs),
    /// Say which time zone its periods and days are read in
    Timezone(program_zone::ZoneArgs),
}

/// What is not named stays as it is; `none` takes a limit away.
#[derive(Debug, Args)]
pub struct LimitsArgs {
    /// Id of the program
    program: String,
    /// Most payouts in one run
    #[arg(long, value_name = "N|none")]
    payouts_per_run: Option<String>,
    /// Most payouts in a day of the program's time zone (UTC if it has none)
    #[arg(long, value_name = "N|none")]
    payouts_per_day: Option<String>,
    /// Largest payout, as 1000.00
    #[arg(long, value_name = "AMOUNT|none")]
    per_payout: Option<String>,
    /// Most in one run, as 1000.00
    #[arg(long, value_name = "AMOUNT|none")]
    per_run: Option<String>,
    /// Most in a day, as 1000.00
    #[arg(long, value_name = "AMOUNT|none")]
    per_day: Option<String>,
    /// The currency of the amounts
    #[arg(long, default_value = "USD")]
    currency: String,
    /// Whether the first payout of an affiliate waits for an approval
    #[arg(long, value_name = "true|false")]
    approve_first: Option<bool>,
    /// Whether a payout waits that goes elsewhere than the last one that arrived
    #[arg(long, value_name = "true|false")]
    approve_changed: Option<bool>,
    /// Org; may be left out if there is only one
    #[arg(long)]
    org: Option<String>,
}

/// Runs one `program` command.
pub async fn run(config: &Config, output: Output, command: ProgramCommand) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    let exit = match command {
        ProgramCommand::Approval { program, above, never: _, currency, org } => {
            approval(&app, output, (program, above, currency), org.as_deref()).await
        }
        ProgramCommand::Limits(args) => limits(&app, output, args).await,
        ProgramCommand::Show(args) => program_zone::show(&app, output, args).await,
        ProgramCommand::Timezone(args) => program_zone::set(&app, output, args).await,
    };
    app.engine.store.close().await;
    exit
}

async fn approval(
    app: &App,
    output: Output,
    (program, above, currency): (String, Option<String>, String),
    org: Option<&str>,
) -> anyhow::Result<Exit> {
    let org = app.org(org).await?;
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
    Ok(Exit::Done)
}

fn usage(error: impl std::fmt::Display) -> UsageError {
    UsageError(error.to_string())
}

async fn limits(app: &App, output: Output, args: LimitsArgs) -> anyhow::Result<Exit> {
    let org = app.org(args.org.as_deref()).await?;
    let program: ProgramId = args.program.parse().map_err(|error: IdError| usage(error))?;
    let before = app.engine.program_limits(&org, &program).await?;
    let new = changed(&args, before.clone())?;
    if new != before {
        app.engine.limit_program(&app.work(), &org, &program, &new).await?;
    }
    show(output, &program, &new)?;
    Ok(Exit::Done)
}

/// The limits with what the arguments name changed.
fn changed(args: &LimitsArgs, mut new: ProgramLimits) -> Result<ProgramLimits, UsageError> {
    let currency: Currency = args.currency.parse().map_err(|error: MoneyError| usage(error))?;
    let limits = &mut new.limits;
    for (text, count) in [
        (&args.payouts_per_run, &mut limits.payouts_per_run),
        (&args.payouts_per_day, &mut limits.payouts_per_day),
    ] {
        let Some(text) = text.as_deref() else { continue };
        *count = match text {
            "none" => None,
            text => Some(text.parse().ok().filter(|count| *count >= 1).ok_or_else(|| {
                UsageError(format!("\"{text}\" payouts is no limit: expected 1 or more, or none"))
            })?),
        };
    }
    for (text, caps) in [
        (&args.per_payout, &mut limits.amount_per_payout),
        (&args.per_run, &mut limits.amount_per_run),
        (&args.per_day, &mut limits.amount_per_day),
    ] {
        match text.as_deref() {
            None => {}
            Some("none") => caps.set(currency, None),
            Some(text) => {
                let amount = Money::parse(text, currency).map_err(usage)?;
                if amount.minor < 0 {
                    return Err(UsageError(format!("{} is below 0", money(amount))));
                }
                caps.set(currency, Some(amount.minor));
            }
        }
    }
    new.approve_first = args.approve_first.unwrap_or(new.approve_first);
    new.approve_changed = args.approve_changed.unwrap_or(new.approve_changed);
    Ok(new)
}

fn show(output: Output, program: &ProgramId, of: &ProgramLimits) -> anyhow::Result<()> {
    let ProgramLimits { limits, approve_first, approve_changed } = of;
    if output.json {
        let amounts = |caps: &Caps| -> serde_json::Map<String, serde_json::Value> {
            caps.iter().map(|it| (it.currency.to_string(), json!(it.to_string()))).collect()
        };
        return output.json(&json!({
            "program": program, "payouts_per_run": limits.payouts_per_run,
            "payouts_per_day": limits.payouts_per_day,
            "amount_per_payout": amounts(&limits.amount_per_payout),
            "amount_per_run": amounts(&limits.amount_per_run),
            "amount_per_day": amounts(&limits.amount_per_day),
            "approve_first": approve_first, "approve_changed": approve_changed,
        }));
    }
    let count = |count: Option<i64>| count.map(|count| format!("{count} payouts"));
    let words = |payouts: Option<i64>, caps: &Caps| {
        let most: Vec<_> = count(payouts).into_iter().chain(caps.iter().map(money)).collect();
        if most.is_empty() { "no limit".to_owned() } else { most.join(", ") }
    };
    let waits = |is: bool| if is { "waits for an approval" } else { "goes by itself" }.to_owned();
    let rows = [
        ("a payout", words(None, &limits.amount_per_payout)),
        ("a run", words(limits.payouts_per_run, &limits.amount_per_run)),
        ("a day", words(limits.payouts_per_day, &limits.amount_per_day)),
        ("a first payout", waits(*approve_first)),
        ("a changed method", waits(*approve_changed)),
    ];
    let rows = rows.into_iter().map(|(what, most)| vec![what.to_owned(), most]).collect();
    output.text(&table(&["of program", program.as_str()], &[], rows))
}
