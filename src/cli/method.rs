//! `method`: where affiliates' money may go, and whether that is proven.

use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{Output, table, time};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{AffiliateId, Destination};
use crate::store::{MethodsOf, PaymentMethod};

/// Rows read at a time.
const PAGE: i64 = 500;

#[derive(Debug, Subcommand)]
pub enum MethodCommand {
    /// List payment methods: whose, where to (never in full), default, status, usable from when
    List {
        /// Only this affiliate's
        #[arg(long)]
        affiliate: Option<String>,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
}

/// Runs one `method` command.
pub async fn run(config: &Config, output: Output, command: MethodCommand) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    match command {
        MethodCommand::List { affiliate, org } => {
            let org = app.org(org.as_deref()).await?;
            let of = match affiliate {
                None => MethodsOf::Org,
                Some(id) => {
                    let id: AffiliateId =
                        id.parse().map_err(|error| UsageError(format!("{error}")))?;
                    MethodsOf::Affiliate(id)
                }
            };
            let (store, mut rows, mut after) = (&app.engine.store, Vec::new(), String::new());
            loop {
                let page = store.methods(&org, &of, &after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.method_id.to_string();
                rows.extend(page);
            }
            if output.json {
                output.json(&json!({ "methods": rows.iter().map(value).collect::<Vec<_>>() }))?;
            } else {
                output.text(&text(&rows))?;
            }
            Ok(Exit::Done)
        }
    }
}

fn value(method: &PaymentMethod) -> Value {
    json!({
        "method_id": method.method_id, "affiliate_id": method.affiliate_id,
        "type": method.kind, "destination": method.destination.as_ref().map(Destination::masked),
        "unreadable": method.destination.is_none(),
        "label": method.label, "is_default": method.is_default, "status": method.status,
        "reason": method.status_reason, "verified_by": method.verified_by,
        "verified_at": method.verified_at, "usable_from": method.usable_from,
        "duplicate_of": method.duplicate_of,
    })
}

fn text(methods: &[PaymentMethod]) -> String {
    if methods.is_empty() {
        return "no payment methods".to_owned();
    }
    let row = |method: &PaymentMethod| {
        vec![
            method.method_id.to_string(),
            method.affiliate_id.to_string(),
            method.kind.to_string(),
            method.destination.as_ref().map_or("(unreadable)".to_owned(), Destination::masked),
            if method.is_default { "default".to_owned() } else { String::new() },
            method.status.to_string(),
            method.verified_by.map(|by| by.to_string()).unwrap_or_default(),
            method.usable_from.map(time).unwrap_or_default(),
            method.duplicate_of.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]
    };
    let headings = [
        "method",
        "affiliate",
        "type",
        "to",
        "",
        "status",
        "verified by",
        "usable from",
        "same account as",
    ];
    table(&headings, &[], methods.iter().map(row).collect())
}
