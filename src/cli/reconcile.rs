//! `reconcile`: providers' statements held against our transfers, and what they disagree about.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{Output, table, time};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{BreakId, Currency, MethodKind, Money, OrgId, Statement};
use crate::engine::{Against, Compared};
use crate::formats::iso20022::{self, MessageKind};
use crate::store::BreakRow;

#[derive(Debug, Subcommand)]
pub enum ReconcileCommand {
    /// Hold a statement against our transfers, both ways. Exit code 1 if it shows breaks that
    /// nobody has closed. No money moves
    Statement(StatementArgs),
    /// What statements and our books disagree about, oldest first
    Breaks {
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
        /// Closed ones too
        #[arg(long)]
        all: bool,
        /// Only breaks after this id: the next page
        #[arg(long, value_name = "ID", default_value = "")]
        after: String,
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// Close a break; it is not found again
    Close {
        /// Id of the break
        id: String,
        /// How it was cleared up, for the record
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        note: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
}

/// Which statement, and what it is held against.
#[derive(Debug, Args)]
pub struct StatementArgs {
    /// A bank's statement (camt.053). Without it the rail's provider is asked for its list
    #[arg(conflicts_with_all = ["from", "to", "currency"])]
    file: Option<PathBuf>,
    /// The rail that the statement's account pays for: ach, wire, stripe-connect. May be left out
    /// for a file if only one of ach and wire is configured
    #[arg(long)]
    rail: Option<MethodKind>,
    /// The first day of the provider's list, in UTC, as 2026-11-01
    #[arg(long, value_name = "DATE", requires = "to")]
    from: Option<NaiveDate>,
    /// The first day that is no longer in it
    #[arg(long, value_name = "DATE", requires = "from")]
    to: Option<NaiveDate>,
    /// Only this currency of the provider's list; else every one that was sent over the rail
    #[arg(long)]
    currency: Option<Currency>,
    /// Only transfers of this org; what nobody knows is noted with it
    #[arg(long)]
    org: Option<String>,
}

/// Runs one `reconcile` command.
pub async fn run(
    config: &Config,
    output: Output,
    command: ReconcileCommand,
) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    let exit = match command {
        ReconcileCommand::Statement(arguments) => statement(&app, output, &arguments).await?,
        ReconcileCommand::Breaks { org, all, after, limit } => {
            let org = app.org(org.as_deref()).await?;
            let rows = app.engine.store.breaks(&org, all, &after, limit.max(1)).await?;
            list(output, &rows)?;
            Exit::Done
        }
        ReconcileCommand::Close { id, note, org } => {
            let org = app.org(org.as_deref()).await?;
            let break_id: BreakId = id.parse().map_err(|error| UsageError(format!("{error}")))?;
            app.engine.close_break(&app.work(), &org, &break_id, &note).await?;
            if output.json {
                output.json(&json!({"break_id": id, "closed": true}))?;
            } else {
                output.text(&format!("closed {id}"))?;
            }
            Exit::Done
        }
    };
    app.engine.store.close().await;
    Ok(exit)
}

async fn statement(app: &App, output: Output, arguments: &StatementArgs) -> anyhow::Result<Exit> {
    let (kind, statements) = match &arguments.file {
        Some(path) => (rail_of_files(app, arguments.rail)?, read(path)?),
        None => asked(app, arguments).await?,
    };
    let org = match &arguments.org {
        Some(org) => Some(app.org(Some(org)).await?),
        None => None,
    };
    let mut compared = Vec::with_capacity(statements.len());
    for statement in &statements {
        let one = hold(app, kind, org.as_ref(), statement).await?;
        compared.push((statement, one));
    }
    print(output, &compared)?;
    let open = compared.iter().any(|(_, compared)| compared.open > 0);
    Ok(if open { Exit::Failed } else { Exit::Done })
}

async fn hold(
    app: &App,
    kind: MethodKind,
    org: Option<&OrgId>,
    statement: &Statement,
) -> anyhow::Result<Compared> {
    let against = Against { kind, org, statement, source: &statement.id, told: false };
    Ok(app.engine.hold_against(&app.work(), against).await?)
}

/// The rail that a bank's file is about: the one that was named, or the only one there is.
fn rail_of_files(app: &App, named: Option<MethodKind>) -> Result<MethodKind, UsageError> {
    let by_file = |kind: &MethodKind| matches!(kind, MethodKind::Ach | MethodKind::Wire);
    if let Some(named) = named {
        let refusal = || UsageError(format!("--rail {named}: a bank's file is about ach or wire"));
        return Some(named).filter(by_file).ok_or_else(refusal);
    }
    let mut configured = app.engine.rails().map(|rail| rail.kind()).filter(by_file);
    match (configured.next(), configured.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(UsageError("which rail does the account pay for? --rail ach or wire".into())),
    }
}

/// The statements of a file. One that cannot be read in full is not compared: what it leaves out
/// would look as if the bank did not have it.
fn read(path: &Path) -> anyhow::Result<Vec<Statement>> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| UsageError(format!("{}: {cause}", path.display())))?;
    let message = iso20022::read(&text).with_context(|| path.display().to_string())?;
    if message.kind != MessageKind::Statement {
        let words = format!("{} is {}, no camt.053", path.display(), message.kind.as_str());
        return Err(UsageError(words).into());
    }
    if !message.faults.is_empty() {
        bail!("{} cannot be read in full: {}", path.display(), message.faults.join("; "));
    }
    Ok(message.statements)
}

/// The lists that a rail's provider gives when it is asked, one for each currency.
async fn asked(
    app: &App,
    arguments: &StatementArgs,
) -> anyhow::Result<(MethodKind, Vec<Statement>)> {
    let (Some(kind), Some(from), Some(to)) = (arguments.rail, arguments.from, arguments.to) else {
        let words = "which statement? a FILE, or --rail, --from and --to";
        return Err(UsageError(words.into()).into());
    };
    // What is still under way may be missing from the list for no other reason.
    let (from, to) = (start_of(from), start_of(to).min(app.engine.clock.now()));
    if from >= to {
        return Err(UsageError("--from is not before --to, or not before now".into()).into());
    }
    let rail = app.engine.rails().find(|rail| rail.kind() == kind);
    let rail = rail.ok_or_else(|| {
        UsageError(format!("{kind} is not configured, so it cannot be asked for its list"))
    })?;
    let currencies = match arguments.currency {
        Some(currency) => vec![currency],
        None => app.engine.store.currencies_of_rail(kind).await?,
    };
    let mut statements = Vec::with_capacity(currencies.len());
    for currency in currencies {
        let statement = rail.statement(currency, from, to).await;
        let statement = statement.map_err(|problem| anyhow!("{kind} gives no list: {problem}"))?;
        statements.push(statement.ok_or_else(|| {
            UsageError(format!("{kind} has no list of transfers to be asked for: give a FILE"))
        })?);
    }
    Ok((kind, statements))
}

fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn print(output: Output, compared: &[(&Statement, Compared)]) -> anyhow::Result<()> {
    if output.json {
        let value = |(statement, compared): &(&Statement, Compared)| {
            let mut value = json!(compared);
            value["statement"] = json!(statement.id);
            value["currency"] = json!(statement.currency);
            value["from"] = json!(statement.from);
            value["to"] = json!(statement.to);
            value
        };
        return output.json(&compared.iter().map(value).collect::<Vec<_>>());
    }
    let row = |(statement, compared): &(&Statement, Compared)| {
        let count = |count: u64| count.to_string();
        vec![
            statement.id.clone(),
            statement.currency.to_string(),
            time(statement.from),
            time(statement.to),
            count(compared.lines),
            count(compared.ours),
            count(compared.not_ours),
            count(compared.checked_soon),
            count(compared.found),
            count(compared.open),
        ]
    };
    let headings = [
        "statement",
        "currency",
        "from",
        "to",
        "lines",
        "ours",
        "not ours",
        "checked soon",
        "new breaks",
        "open breaks",
    ];
    let right = [4, 5, 6, 7, 8, 9];
    output.text(&table(&headings, &right, compared.iter().map(row).collect()))?;
    if compared.iter().any(|(_, compared)| compared.open > 0) {
        output.text("\nwhat they are: payoutd reconcile breaks")?;
    }
    Ok(())
}

fn list(output: Output, rows: &[BreakRow]) -> anyhow::Result<()> {
    let amount = |row: &BreakRow, minor: Option<i64>| {
        minor.map(|minor| Money::new(minor, row.currency).to_string())
    };
    if output.json {
        let value = |row: &BreakRow| -> Value {
            json!({
                "break_id": row.break_id, "kind": row.kind, "method": row.method_kind,
                "subject": row.subject, "transfer_id": row.transfer_id,
                "payout_id": row.payout_id, "currency": row.currency,
                "ours": amount(row, row.ours_minor), "theirs": amount(row, row.theirs_minor),
                "source": row.source, "reason": row.reason, "found_at": row.found_at,
                "closed_at": row.closed_at, "closed_by": row.closed_by, "note": row.note,
            })
        };
        return output.json(&rows.iter().map(value).collect::<Vec<_>>());
    }
    let cells = |row: &BreakRow| {
        let ended = row.closed_at.map(|at| {
            let (who, note) = (row.closed_by.as_deref(), row.note.as_deref());
            format!("{} {}: {}", time(at), who.unwrap_or_default(), note.unwrap_or_default())
        });
        vec![
            row.break_id.to_string(),
            row.kind.to_string(),
            row.method_kind.to_string(),
            row.subject.clone(),
            row.currency.to_string(),
            amount(row, row.ours_minor).unwrap_or_default(),
            amount(row, row.theirs_minor).unwrap_or_default(),
            time(row.found_at),
            row.reason.clone(),
            ended.unwrap_or_default(),
        ]
    };
    let headings = [
        "break", "kind", "method", "subject", "currency", "ours", "theirs", "found", "why",
        "closed",
    ];
    output.text(&table(&headings, &[5, 6], rows.iter().map(cells).collect()))
}
