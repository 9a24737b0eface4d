//! `job list`: every job, whether its schedule goes on, and how it went lately.

use serde_json::{Value, json};

use super::output::{Output, table, time};
use super::{App, Exit};
use crate::jobs::{Definition, JobStanding};

/// Prints every job.
pub async fn list(app: &App, output: Output) -> anyhow::Result<Exit> {
    let standings = app.runner.standings().await?;
    let jobs = app.runner.catalog.iter().zip(&standings);
    if output.json {
        output.json(&jobs.map(|(job, standing)| value(job, standing)).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    let headings = ["job", "on", "schedule", "next", "last run", "last success", "what it does"];
    let rows = jobs.map(|(job, standing)| row(job, standing)).collect();
    output.text(&table(&headings, &[], rows))?;
    for (job, standing) in app.runner.catalog.iter().zip(&standings) {
        for line in remarks(job, standing) {
            output.text(&line)?;
        }
    }
    Ok(Exit::Done)
}

fn value(job: &Definition, standing: &JobStanding) -> Value {
    let missed: serde_json::Map<String, Value> =
        standing.missed.iter().map(|(word, count)| (word.clone(), json!(count))).collect();
    json!({
        "job_id": job.job_id, "kind": job.kind, "description": job.description,
        "enabled": job.enabled, "schedule": job.schedule.pattern(),
        "timezone": job.schedule.zone().name(), "next_run_at": standing.next_run_at,
        "last_run": standing.last.as_ref().map(|run| json!({
            "run_id": run.run_id, "state": run.state, "finished_at": run.finished_at,
        })),
        "last_success_at": standing.last_success_at,
        "paused": standing.pause.as_ref().map(|pause| json!({
            "reason": pause.reason, "paused_by": pause.paused_by, "paused_at": pause.paused_at,
        })),
        "missed_7d": missed,
        "definition_hash": job.hash, "definition_drift": standing.drifts,
    })
}

fn row(job: &Definition, standing: &JobStanding) -> Vec<String> {
    let on = match (&standing.pause, job.enabled) {
        (Some(_), true) => "paused",
        (_, true) => "on",
        (_, false) => "off",
    };
    vec![
        job.job_id.clone(),
        on.to_owned(),
        format!("{} {}", job.schedule.pattern(), job.schedule.zone().name()),
        standing.next_run_at.map_or_else(|| "-".to_owned(), time),
        standing.last.as_ref().map_or_else(|| "never".to_owned(), |run| run.state.clone()),
        standing.last_success_at.map_or_else(|| "never".to_owned(), time),
        job.description.clone(),
    ]
}

/// What an operator should know of a job, one line each.
fn remarks(job: &Definition, standing: &JobStanding) -> Vec<String> {
    let id = &job.job_id;
    let mut lines = Vec::new();
    if let Some(pause) = &standing.pause {
        let since = time(pause.paused_at);
        lines.push(format!("{id}: paused by {} since {since}: {}", pause.paused_by, pause.reason));
    }
    if !standing.missed.is_empty() {
        let each = standing.missed.iter().map(|(word, count)| format!("{word} {count}"));
        let days = JobStanding::MISSED_WITHIN.num_days();
        let each = each.collect::<Vec<_>>().join(", ");
        lines.push(format!("{id}: instants skipped in {days} days: {each}"));
    }
    if standing.drifts {
        lines.push(format!("{id}: the replicas hold different definitions: give them the same"));
    }
    lines
}
