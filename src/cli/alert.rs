//! `alert`: what a person has to look at.

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{Output, table, time};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::AlertId;
use crate::store::AlertRow;

#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// What a person has to look at, oldest first
    List {
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
        /// Closed ones too
        #[arg(long)]
        all: bool,
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// Close an alert; if its cause is met again, it opens again
    Close {
        /// Id of the alert
        id: String,
        /// What was done about it, for the record
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        note: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
}

/// Runs one `alert` command.
pub async fn run(config: &Config, output: Output, command: AlertCommand) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    match command {
        AlertCommand::List { org, all, limit } => {
            let org = app.org(org.as_deref()).await?;
            list(output, &app.engine.store.alerts(&org, all, "", limit.max(1)).await?)?;
        }
        AlertCommand::Close { id, note, org } => {
            let org = app.org(org.as_deref()).await?;
            let alert_id: AlertId = id.parse().map_err(|error| UsageError(format!("{error}")))?;
            app.engine.close_alert(&app.work(), &org, &alert_id, &note).await?;
            if output.json {
                output.json(&json!({"alert_id": id, "closed": true}))?;
            } else {
                output.text(&format!("closed {id}"))?;
            }
        }
    }
    app.engine.store.close().await;
    Ok(Exit::Done)
}

fn list(output: Output, alerts: &[AlertRow]) -> anyhow::Result<()> {
    if output.json {
        let value = |alert: &AlertRow| -> Value {
            json!({
                "alert_id": alert.alert_id, "kind": alert.kind, "subject": alert.subject,
                "message": alert.message, "times": alert.times, "opened_at": alert.opened_at,
                "last_at": alert.last_at, "closed_at": alert.closed_at,
                "closed_by": alert.closed_by, "note": alert.note,
            })
        };
        return output.json(&alerts.iter().map(value).collect::<Vec<_>>());
    }
    let row = |alert: &AlertRow| {
        let ended = alert.closed_at.map(|at| {
            let (who, note) = (alert.closed_by.as_deref(), alert.note.as_deref());
            format!("{} {}: {}", time(at), who.unwrap_or_default(), note.unwrap_or_default())
        });
        vec![
            alert.alert_id.to_string(),
            alert.kind.clone(),
            alert.subject.clone(),
            alert.times.to_string(),
            time(alert.opened_at),
            time(alert.last_at),
            alert.message.clone(),
            ended.unwrap_or_default(),
        ]
    };
    let headings = ["alert", "kind", "about", "times", "opened", "last", "what", "closed"];
    output.text(&table(&headings, &[3], alerts.iter().map(row).collect()))
}
