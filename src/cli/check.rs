//! `check`: every invariant, one line each.

use serde_json::{Value, json};

use super::output::Output;
use super::{App, Exit};
use crate::config::Config;
use crate::engine::AuditLine;

/// Proves every invariant; exit 1 on a breach.
pub async fn run(config: &Config, output: Output) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    let lines = app.engine.audit().await?;
    let broken = print(output, &lines)?;
    Ok(if broken { Exit::Failed } else { Exit::Done })
}

/// Prints one line per invariant; whether one is broken.
pub fn print(output: Output, lines: &[AuditLine]) -> anyhow::Result<bool> {
    let broken = lines.iter().any(|line| !line.breaches.is_empty());
    if output.json {
        let value = |line: &AuditLine| -> Value {
            let breaches: Vec<_> = line
                .breaches
                .iter()
                .map(|breach| json!({"org": breach.org_id, "subject": breach.subject, "found": breach.found}))
                .collect();
            json!({"invariant": line.number, "rule": line.rule, "ok": breaches.is_empty(), "breaches": breaches})
        };
        let values: Vec<_> = lines.iter().map(value).collect();
        output.json(&json!({"ok": !broken, "invariants": values}))?;
        return Ok(broken);
    }
    for line in lines {
        let mark = if line.breaches.is_empty() { "ok    " } else { "BROKEN" };
        output.text(&format!("{mark} I{:<2} {}", line.number, line.rule))?;
        for breach in &line.breaches {
            output.text(&format!(
                "           org {}: {}: {}",
                breach.org_id, breach.subject, breach.found
            ))?;
        }
    }
    Ok(broken)
}
