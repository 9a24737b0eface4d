//! `job`: schedules and their runs.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::app::operator;
use super::exit::UsageError;
use super::job_acts::JobAct;
use super::output::{Output, table, time, totals};
use super::{App, Exit, job_acts, job_list, plan, schedule};
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon;
use crate::domain::RunId;
use crate::engine::{Reach, Tally};
use crate::jobs::Catalog;
use crate::store::RunRow;

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Every job: what it does, when, and how its last run went
    List,
    /// The next due instants of a job, in UTC and in its own time zone
    Next {
        /// Id of the job (the name of its file)
        id: String,
        /// How many
        #[arg(short = 'n', long = "count", default_value_t = 5)]
        count: usize,
        /// From this instant on (RFC 3339) instead of now
        #[arg(long, value_name = "INSTANT")]
        from: Option<DateTime<Utc>>,
    },
    /// Check a job before it is deployed, and print when it falls due
    Validate {
        /// A job's file (it ends in .toml), or the id of a job
        #[arg(value_name = "FILE|ID")]
        job: String,
    },
    /// Run a job now, enabled or not, and print its run
    Run {
        /// Id of the job (the name of its file)
        id: String,
        /// Take on everything open, due or not (submit-transfers, reconcile-transfers)
        #[arg(long)]
        now: bool,
        /// Write a plan of what it would do, and do nothing (auto-payout)
        #[arg(long, conflicts_with_all = ["now", "plan"])]
        dry_run: bool,
        /// Plan for this instant (RFC 3339) instead of now
        #[arg(long = "for", value_name = "INSTANT", requires = "dry_run")]
        planned_for: Option<DateTime<Utc>>,
        /// Do exactly what the plan of this hash says, or nothing
        #[arg(long, value_name = "HASH", conflicts_with = "now")]
        plan: Option<String>,
    },
    /// Past runs, newest first, of one job or of all
    History {
        /// Id of the job
        id: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: i64,
    },
    /// One run with its counts, amounts and reasons
    Show {
        /// Id of the run
        run: String,
    },
    #[command(flatten)]
    Act(JobAct),
}

/// Runs one `job` command.
pub async fn run(config: &Config, output: Output, command: JobCommand) -> anyhow::Result<Exit> {
    match command {
        JobCommand::Next { id, count, from } => {
            let catalog = Catalog::load(config.jobs.dir())?;
            let from = from.unwrap_or_else(|| Clock::System.now());
            schedule::next(output, catalog.job(&id)?, from, count)
        }
        JobCommand::Validate { job } => {
            schedule::validate(config, output, &job, Clock::System.now())
        }
        JobCommand::List => job_list::list(&App::open(config).await?, output).await,
        JobCommand::Run { id, dry_run: true, planned_for, .. } => {
            plan::make(&App::open(config).await?, output, &id, planned_for).await
        }
        JobCommand::Run { id, plan: Some(hash), .. } => {
            plan::execute(&App::open(config).await?, output, &id, &hash).await
        }
        JobCommand::Run { id, now, .. } => {
            run_now(&App::open(config).await?, output, &id, now).await
        }
        JobCommand::History { id, limit } => {
            history(&App::open(config).await?, output, id.as_deref(), limit).await
        }
        JobCommand::Show { run } => show(&App::open(config).await?, output, &run).await,
        JobCommand::Act(act) => job_acts::run(&App::open(config).await?, output, act).await,
    }
}

async fn run_now(app: &App, output: Output, id: &str, now: bool) -> anyhow::Result<Exit> {
    let stop = CancellationToken::new();
    daemon::stop_on_signals(&stop)?;
    let reach = if now { Reach::All } else { Reach::Due };
    let run = app.runner.run_now(id, &operator(), reach, &stop).await?;
    end_of(app, output, &run).await
}

/// Prints a run that a person asked for, and how the command ends by it.
pub async fn end_of(app: &App, output: Output, run: &RunRow) -> anyhow::Result<Exit> {
    print_run(output, run)?;
    app.engine.store.close().await;
    Ok(match run.state.as_str() {
        "succeeded" => Exit::Done,
        "partial" | "timed_out" => Exit::Partly,
        _ => Exit::Failed,
    })
}

async fn history(app: &App, output: Output, id: Option<&str>, limit: i64) -> anyhow::Result<Exit> {
    if let Some(id) = id {
        app.runner.catalog.job(id)?;
    }
    let runs = app.engine.store.runs_history(id.unwrap_or_default(), "", limit).await?;
    if output.json {
        output.json(&runs.iter().map(run_value).collect::<Result<Vec<_>, _>>()?)?;
        return Ok(Exit::Done);
    }
    let row = |run: &RunRow| {
        vec![
            run.run_id.to_string(),
            run.job_id.clone(),
            time(run.created_at),
            run.trigger_kind.clone(),
            run.state.clone(),
            run.seen.to_string(),
            run.acted.to_string(),
            run.skipped.to_string(),
            run.failed.to_string(),
        ]
    };
    let headings =
        ["run", "job", "created", "trigger", "state", "seen", "acted", "skipped", "failed"];
    output.text(&table(&headings, &[5, 6, 7, 8], runs.iter().map(row).collect()))?;
    Ok(Exit::Done)
}

async fn show(app: &App, output: Output, run: &str) -> anyhow::Result<Exit> {
    let id: RunId = run.parse().map_err(|error| UsageError(format!("{error}")))?;
    let run = app.engine.store.run(&id).await?;
    let run =
        run.ok_or_else(|| UsageError(format!("there is no run {id}: see `payoutd job history`")))?;
    let attempts = app.engine.store.run_attempts(&id).await?;
    if output.json {
        let mut value = run_value(&run)?;
        value["attempts"] = json!(attempts);
        output.json(&value)?;
        return Ok(Exit::Done);
    }
    print_run(output, &run)?;
    for past in attempts {
        let why = past.error_message.unwrap_or_default();
        let ended = time(past.finished_at);
        output.text(&format!("  attempt {} {} {ended} {why}", past.attempt, past.state))?;
    }
    Ok(Exit::Done)
}

/// What a run counted.
pub fn tally_of(run: &RunRow) -> anyhow::Result<Tally> {
    let report = run.report.as_deref().map(serde_json::from_str).transpose();
    Ok(report
        .with_context(|| format!("the report of run {} cannot be read", run.run_id))?
        .unwrap_or_default())
}

/// A run as JSON: its row, counts, amounts, and what was skipped by reason.
pub fn run_value(run: &RunRow) -> anyhow::Result<Value> {
    let tally = tally_of(run)?;
    let mut value = serde_json::to_value(run)?;
    value["counts"] = json!({
        "seen": run.seen, "acted": run.acted, "skipped": run.skipped, "failed": run.failed,
    });
    value["amounts"] = json!(tally.amounts);
    value["skipped_by_reason"] = json!(tally.skipped);
    value["outcomes"] = json!(tally.outcomes);
    value["notes"] = json!(tally.notes);
    Ok(value)
}

/// Prints one run.
pub fn print_run(output: Output, run: &RunRow) -> anyhow::Result<()> {
    if output.json {
        return output.json(&run_value(run)?);
    }
    let tally = tally_of(run)?;
    let mut text = format!(
        "{}  {}  {}\n  seen {}, acted {} ({}), skipped {}, failed {}",
        run.job_id,
        run.state,
        run.run_id,
        run.seen,
        run.acted,
        totals(&tally.amounts),
        run.skipped,
        run.failed
    );
    for (what, skips) in [("", &tally.outcomes), ("skipped: ", &tally.skipped)] {
        for (reason, skips) in skips {
            text += &format!("\n  {what}{reason}: {} ({})", skips.count, totals(&skips.amount));
        }
    }
    for note in &tally.notes {
        text += &format!("\n  note: {note}");
    }
    if let Some(reason) = &run.reason {
        text += &format!("\n  reason: {reason}");
    }
    if let Some(message) = &run.error_message {
        text += &format!("\n  error {}: {message}", run.error_code.as_deref().unwrap_or_default());
    }
    output.text(&text)
}
