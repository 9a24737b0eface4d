//! `webhook`: who is told what happens, what arrived, and telling it again.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Value, json};

use super::app::notifier;
use super::exit::UsageError;
use super::output::{Output, table, time};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{DeliveryStatus, EndpointId, EventId};
use crate::notify::{Again, By, Replay};
use crate::store::{DeliveryFilter, DeliveryRow, EndpointRow, Replayed};

#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// The endpoints of an org; they are added by the API (POST /webhook-endpoints)
    List {
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// What was told to whom, newest first
    Deliveries {
        /// Only to this endpoint
        #[arg(long)]
        endpoint: Option<String>,
        /// Only of this event
        #[arg(long)]
        event: Option<String>,
        /// Only pending, delivered, failed or dropped ones
        #[arg(long)]
        status: Option<String>,
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: i64,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// Tell one event again, or all of a time; the running daemon delivers
    Replay {
        /// The event
        #[arg(required_unless_present = "from", conflicts_with_all = ["from", "to"])]
        event: Option<String>,
        /// Everything from this instant on, as 2026-11-22T17:00:00Z
        #[arg(long, requires = "to")]
        from: Option<DateTime<Utc>>,
        /// To before this instant
        #[arg(long, requires = "from")]
        to: Option<DateTime<Utc>>,
        /// Of a time: what arrived too
        #[arg(long, requires = "from")]
        delivered_too: bool,
        /// Only to this endpoint; all that want it otherwise
        #[arg(long)]
        endpoint: Option<String>,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
}

/// Runs one `webhook` command.
pub async fn run(config: &Config, output: Output, command: WebhookCommand) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    match command {
        WebhookCommand::List { org } => {
            let org = app.org(org.as_deref()).await?;
            list(output, &app.engine.store.endpoints(&org).await?)?;
        }
        WebhookCommand::Deliveries { endpoint, event, status, limit, org } => {
            let org = app.org(org.as_deref()).await?;
            let status = status.map(|status| status.parse::<DeliveryStatus>()).transpose();
            let status = status.map_err(|error| UsageError(error.to_string()))?;
            let filter = DeliveryFilter {
                endpoint_id: endpoint.unwrap_or_default(),
                event_id: event.unwrap_or_default(),
                status: status.map(|status| status.to_string()).unwrap_or_default(),
                limit: limit.max(1),
                ..DeliveryFilter::default()
            };
            deliveries(output, &app.engine.store.deliveries(&org, &filter).await?)?;
        }
        WebhookCommand::Replay { event, from, to, delivered_too, endpoint, org } => {
            let org = app.org(org.as_deref()).await?;
            let which = if delivered_too { Replayed::All } else { Replayed::Missed };
            let again = match (event, from, to) {
                (Some(event), _, _) => Again::Event(id::<EventId>(&event)?),
                (None, Some(from), Some(to)) => Again::Between { from, to, which },
                _ => return Err(UsageError("name an event, or --from and --to".into()).into()),
            };
            let endpoint_id = endpoint.as_deref().map(id::<EndpointId>).transpose()?;
            let by = By { actor: app.work().actor, request_id: None };
            let replay = Replay { again, endpoint_id };
            let queued = notifier(config, &app.engine)?.replay(&by, &org, &replay).await?;
            if output.json {
                output.json(&json!({ "queued": queued }))?;
            } else {
                output.text(&format!("{queued} deliveries are due now"))?;
            }
        }
    }
    app.engine.store.close().await;
    Ok(Exit::Done)
}

fn id<T: std::str::FromStr<Err = crate::domain::IdError>>(text: &str) -> Result<T, UsageError> {
    text.parse().map_err(|error: crate::domain::IdError| UsageError(error.to_string()))
}

fn list(output: Output, endpoints: &[EndpointRow]) -> anyhow::Result<()> {
    if output.json {
        let value = |row: &EndpointRow| -> Value {
            json!({
                "endpoint_id": row.endpoint_id, "url": row.url, "description": row.description,
                "events": row.wants, "enabled": row.enabled,
                "disabled_because": row.disabled_because,
                "old_secret_until": row.old_secret_until, "created_by": row.created_by,
                "created_at": row.created_at,
            })
        };
        return output.json(&endpoints.iter().map(value).collect::<Vec<_>>());
    }
    let row = |row: &EndpointRow| {
        vec![
            row.endpoint_id.to_string(),
            row.url.clone(),
            row.wants.to_string(),
            if row.enabled { "yes".into() } else { "no".into() },
            row.disabled_because.clone().unwrap_or_default(),
            row.description.clone(),
        ]
    };
    let headings = ["endpoint", "url", "events", "enabled", "why not", "description"];
    output.text(&table(&headings, &[], endpoints.iter().map(row).collect()))
}

fn deliveries(output: Output, deliveries: &[DeliveryRow]) -> anyhow::Result<()> {
    if output.json {
        let value = |row: &DeliveryRow| -> Value {
            json!({
                "event_id": row.event_id, "endpoint_id": row.endpoint_id, "type": row.kind,
                "subject": row.subject, "status": row.status, "attempts": row.attempts,
                "next_attempt_at": row.next_attempt_at, "last_attempt_at": row.last_attempt_at,
                "last_status": row.last_status, "last_problem": row.last_problem,
                "delivered_at": row.delivered_at, "occurred_at": row.occurred_at,
            })
        };
        return output.json(&deliveries.iter().map(value).collect::<Vec<_>>());
    }
    let row = |row: &DeliveryRow| {
        vec![
            row.event_id.to_string(),
            row.endpoint_id.to_string(),
            row.kind.to_string(),
            row.subject.clone(),
            row.status.to_string(),
            row.attempts.to_string(),
            row.next_attempt_at.map(time).unwrap_or_default(),
            row.last_problem.clone().unwrap_or_default(),
        ]
    };
    let headings = ["event", "endpoint", "type", "about", "status", "tries", "next", "problem"];
    output.text(&table(&headings, &[5], deliveries.iter().map(row).collect()))
}
