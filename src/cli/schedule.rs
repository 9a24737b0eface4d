//! When a job falls due: `job next`, `job validate`, and the jobs of `config check`.

use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::Exit;
use super::output::{Output, table, time};
use crate::config::Config;
use crate::jobs::{Catalog, Definition, Due};

/// How many instants are printed where nobody asked for a number.
const SOME: usize = 5;

/// Prints the next `count` due instants of a job after `from`.
///
/// # Errors
/// Standard output cannot be written.
pub fn next(
    output: Output,
    job: &Definition,
    from: DateTime<Utc>,
    count: usize,
) -> anyhow::Result<Exit> {
    let instants: Vec<_> = job.schedule.upcoming(from).take(count).collect();
    if output.json {
        output.json(&instants.iter().map(Instant::from).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    output.text(&format!("{}\n{}", head(job, from), listed(job, &instants)))?;
    Ok(Exit::Done)
}

/// Checks one job, by its id or by a file that need not be among the jobs yet.
///
/// # Errors
/// [`CatalogError`](crate::jobs::CatalogError): the job cannot be used.
pub fn validate(
    config: &Config,
    output: Output,
    job: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Exit> {
    let is_file = Path::new(job).extension().is_some_and(|extension| extension == "toml");
    let job = if is_file {
        Catalog::read(Path::new(job))?
    } else {
        let catalog = Catalog::load(config.jobs.dir())?;
        let known = catalog.job(job).context("a file to check ends in .toml")?;
        known.clone()
    };
    if output.json {
        let mut value = checked(&job, now);
        value["ok"] = json!(true);
        output.json(&value)?;
    } else {
        output.text(&format!("the job is usable\n\n{}", told(&job, now)))?;
    }
    Ok(Exit::Done)
}

/// A job that can be used as JSON: its schedule in words, what to know about it, when it is next due.
pub fn checked(job: &Definition, now: DateTime<Utc>) -> Value {
    let next = job.schedule.upcoming(now).take(SOME);
    let next: Vec<_> = next.map(|due| Instant::from(&due)).collect();
    json!({
        "job_id": job.job_id, "enabled": job.enabled, "schedule": job.schedule.pattern(),
        "in_words": job.schedule.describe(), "timezone": job.schedule.zone().name(),
        "warnings": job.schedule.warnings(now), "next": next,
    })
}

/// The same for people.
pub fn told(job: &Definition, now: DateTime<Utc>) -> String {
    let next: Vec<_> = job.schedule.upcoming(now).take(SOME).collect();
    format!("{}\n{}", head(job, now), listed(job, &next))
}

/// The job, its schedule in words, and what to know about it.
fn head(job: &Definition, now: DateTime<Utc>) -> String {
    let state = if job.enabled { "" } else { "  (disabled: runs only by `job run`)" };
    let schedule = &job.schedule;
    let mut text = format!(
        "{}: {}{state}\n  \"{}\" in {}\n",
        job.job_id,
        schedule.describe(),
        schedule.pattern(),
        schedule.zone()
    );
    for warning in schedule.warnings(now) {
        text += &format!("  warning: {warning}\n");
    }
    text
}

fn listed(job: &Definition, instants: &[Due]) -> String {
    let row =
        |due: &Due| vec![time(due.utc), due.local.format("%a %Y-%m-%d %H:%M:%S %Z").to_string()];
    table(&["utc", job.schedule.zone().name()], &[], instants.iter().map(row).collect())
}

/// A due instant as JSON.
#[derive(Serialize)]
struct Instant {
    utc: String,
    local: String,
}

impl From<&Due> for Instant {
    fn from(due: &Due) -> Self {
        let utc = due.utc.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        Self { utc, local: due.local.to_rfc3339() }
    }
}
