//! docs/logs.md, held against the source and against what a run logs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::events;
use crate::pages::{quoted, table, text};
use crate::program::Program;

/// What every line has.
const ALWAYS: [&str; 5] = ["ts", "level", "event", "target", "message"];

/// What docs/logs.md says: the level and the fields of each event.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let row = |cells: Vec<String>| {
        let [event, level, when, fields] = cells.try_into().expect("four columns");
        assert!(when.ends_with('.') && when.len() > 5, "{event}: when is it emitted?");
        let event = quoted(&event).pop().expect("an event in backticks");
        (event, (level, quoted(&fields).into_iter().collect()))
    };
    table(&text("docs/logs.md"), "event").into_iter().map(row).collect()
}

#[test]
fn every_event_of_the_source_is_documented_and_no_other() {
    let documented = documented();
    let mut wrong = Vec::new();
    for (event, (levels, fields)) in events::in_source() {
        let fields: BTreeSet<String> = fields
            .into_iter()
            .map(|field| if field == "amounts" { "amount.CUR".to_owned() } else { field })
            .collect();
        assert_eq!(levels.len(), 1, "{event} is emitted at {levels:?}: one name, one level");
        let level = levels.first().expect("one").clone();
        if documented.get(&event) != Some(&(level.clone(), fields.clone())) {
            let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
            wrong.push(format!("| `{event}` | {level} | WHEN. | {} |", fields.join(" ")));
        }
    }
    let there = events::in_source();
    let gone: Vec<_> = documented.keys().filter(|event| !there.contains_key(*event)).collect();
    assert!(wrong.is_empty(), "docs/logs.md should have these rows:\n{}", wrong.join("\n"));
    assert!(gone.is_empty(), "docs/logs.md has events that nothing emits: {gone:?}");
}

#[test]
fn what_a_run_logs_is_json_and_as_documented() {
    let documented = documented();
    let log =
        Program::new(&["demo", "--once", "--log-format", "json", "--log-level", "trace"]).ends();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        let fields = line.as_object().expect("an object");
        let Some(event) = line["event"].as_str() else {
            assert!(line["message"].is_string(), "a line without a name: {line}");
            continue;
        };
        let (level, known) = documented.get(event).unwrap_or_else(|| panic!("{event}: {line}"));
        assert_eq!(line["level"], level.as_str(), "{line}");
        assert!(line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')), "{line}");
        for field in fields.keys().filter(|field| !ALWAYS.contains(&field.as_str())) {
            let is_amount = field.starts_with("amount.") && known.contains("amount.CUR");
            assert!(known.contains(field) || is_amount, "{event} has {field}: {line}");
        }
        *seen.entry(event.to_owned()).or_default() += 1;
    }
    let count = |event: &str| seen.get(event).copied().unwrap_or(0);
    assert!(count("job.run.started") > 2, "{seen:?}");
    assert_eq!(count("job.run.started"), count("job.run.finished"), "one end each: {seen:?}");
    let of_runs: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("\"job.run.finished\""))
        .map(|line| serde_json::from_str(line).expect("checked above"))
        .collect();
    for field in [
        "job_id",
        "job_kind",
        "run_id",
        "attempt",
        "trigger",
        "duration_seconds",
        "outcome",
        "counts.seen",
        "counts.acted",
        "counts.skipped",
        "counts.failed",
        "replica_id",
        "trace_id",
    ] {
        assert!(of_runs.iter().all(|line| !line[field].is_null()), "{field}: {of_runs:?}");
    }
    assert!(of_runs.iter().any(|line| line["amount.USD"].is_string()), "{of_runs:?}");
}
