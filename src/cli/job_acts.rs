//! What a person does to jobs and runs: pause, resume, backfill, cancel, retry. Whoever is at the
//! command line runs the installation, so every org that a job works for is told in its audit log.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::exit::UsageError;
use super::output::{Output, table, time};
use super::{App, Exit};
use crate::domain::RunId;
use crate::jobs::{Backfill, Backfilled};

#[derive(Debug, Subcommand)]
pub enum JobAct {
    /// Stop a job's schedule, on every replica, until it is resumed; what falls due is on record
    Pause {
        /// Id of the job
        id: String,
        /// Why, for whoever finds it paused
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        reason: String,
    },
    /// Let a paused job's schedule go on; what fell due meanwhile stays skipped
    Resume {
        /// Id of the job
        id: String,
    },
    /// Run the due instants of a span that did not take place or failed, oldest first
    Backfill {
        /// Id of the job
        id: String,
        /// From this instant on (RFC 3339)
        #[arg(long, value_name = "INSTANT")]
        from: DateTime<Utc>,
        /// Up to and including this instant, which has to be over
        #[arg(long, value_name = "INSTANT")]
        to: DateTime<Utc>,
        /// More instants than this are refused
        #[arg(long, default_value_t = 10)]
        max: usize,
        /// Say what would run, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        /// Do it; without this nothing is done
        #[arg(long)]
        yes: bool,
    },
    /// End a run that waits or runs: it writes nothing more, and what it sent is found by reconcile
    Cancel {
        /// Id of the run
        run: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        /// Do it; without this nothing is done
        #[arg(long)]
        yes: bool,
    },
    /// Queue a run that failed, was lost, cancelled or done in part once more
    Retry {
        /// Id of the run
        run: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Does one of them.
pub async fn run(app: &App, output: Output, act: JobAct) -> anyhow::Result<Exit> {
    let work = app.work();
    match act {
        JobAct::Pause { id, reason } => {
            app.runner.pause(&work, None, (&id, &reason)).await?;
            done(output, ("job_id", &id), "paused")
        }
        JobAct::Resume { id } => {
            app.runner.resume(&work, None, &id).await?;
            done(output, ("job_id", &id), "resumed")
        }
        JobAct::Backfill { id, from, to, max, dry_run, reason, yes } => {
            let dry_run = dry_run || !yes;
            let asked = Backfill { from, upto: to, max, reason, dry_run };
            let outcomes = app.runner.backfill((&work, None), &id, &asked).await?;
            print_backfill(output, &outcomes, dry_run)?;
            if dry_run && !yes && !output.json {
                output.text("nothing was done: repeat it with --yes")?;
            }
            Ok(Exit::Done)
        }
        JobAct::Cancel { run, reason, yes } => {
            let id = run_id(&run)?;
            if !yes {
                let words = format!("cancelling run {id} ends it for good: repeat it with --yes");
                return Err(UsageError(words).into());
            }
            app.runner.cancel_run((&work, None), &id, reason.as_deref()).await?;
            done(output, ("run_id", &run), "cancelled")
        }
        JobAct::Retry { run, reason } => {
            app.runner.retry_run((&work, None), &run_id(&run)?, reason.as_deref()).await?;
            done(output, ("run_id", &run), "queued")
        }
    }
}

fn run_id(run: &str) -> Result<RunId, UsageError> {
    run.parse().map_err(|error| UsageError(format!("{error}")))
}

fn done(output: Output, (key, id): (&str, &str), what: &str) -> anyhow::Result<Exit> {
    if output.json {
        output.json(&json!({ key: id, "outcome": what }))?;
    } else {
        output.text(&format!("{what} {id}"))?;
    }
    Ok(Exit::Done)
}

fn print_backfill(output: Output, outcomes: &[Backfilled], dry_run: bool) -> anyhow::Result<()> {
    if output.json {
        let value = |one: &Backfilled| {
            json!({
                "scheduled_for": one.scheduled_for, "outcome": one.outcome, "was": one.was,
                "run_id": one.run_id, "dry_run": dry_run,
            })
        };
        return output.json(&outcomes.iter().map(value).collect::<Vec<_>>());
    }
    let row = |one: &Backfilled| {
        vec![
            time(one.scheduled_for),
            one.outcome.to_owned(),
            one.was.clone().unwrap_or_else(|| "-".to_owned()),
            one.run_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        ]
    };
    let headings = ["due", if dry_run { "would be" } else { "is" }, "was", "run"];
    output.text(&table(&headings, &[], outcomes.iter().map(row).collect()))
}
