//! `key`: API keys of services.

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use serde_json::{Value, json};

use super::app::operator;
use super::exit::UsageError;
use super::output::{Output, table, time};
use super::{App, Exit};
use crate::access::{Asker, KeyRequest, Keys};
use crate::config::Config;
use crate::domain::{ApiKeyId, Permission};
use crate::store::ApiKeyRow;

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key, and print it: there is no other copy of it
    Create {
        /// Which program has it
        #[arg(long)]
        name: String,
        /// What it may do, such as commissions:write; several, with commas between them or one each
        #[arg(long = "permission", required = true, value_delimiter = ',', value_parser = permission)]
        permissions: Vec<Permission>,
        /// Days until it expires; for ever without
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_in_days: Option<u32>,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// The keys of an org, oldest first, without what proves them
    List {
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// Take a key back, for ever and at once
    Revoke {
        /// Id of the key
        id: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
}

/// Runs one `key` command.
pub async fn run(config: &Config, output: Output, command: KeyCommand) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    let keys = Keys::new(app.engine.store.clone(), app.engine.clock.clone());
    let asker = Asker { actor: operator(), request_id: None };
    match command {
        KeyCommand::Create { name, permissions, expires_in_days, org } => {
            let org = app.org(org.as_deref()).await?;
            let days = expires_in_days.map(|days| TimeDelta::days(days.into()));
            let expires_at = days.map(|days| app.engine.clock.now() + days);
            let request = KeyRequest { name, permissions, expires_at };
            let (key, row) = keys.create(&org, &asker, request).await?;
            if output.json {
                let mut made = shown(&row);
                made["key"] = Value::String(key.reveal());
                output.json(&made)?;
            } else {
                output.text(&key.reveal())?;
            }
        }
        KeyCommand::List { org, limit } => {
            let org = app.org(org.as_deref()).await?;
            let rows = app.engine.store.api_keys(&org, "", limit.max(1)).await?;
            list(output, &rows, app.engine.clock.now())?;
        }
        KeyCommand::Revoke { id, org } => {
            let org = app.org(org.as_deref()).await?;
            let key: ApiKeyId = id.parse().map_err(|error| UsageError(format!("{error}")))?;
            keys.revoke(&org, &asker, &key).await?;
            if output.json {
                output.json(&json!({"key_id": id, "revoked": true}))?;
            } else {
                output.text(&format!("revoked {id}"))?;
            }
        }
    }
    app.engine.store.close().await;
    Ok(Exit::Done)
}

fn permission(word: &str) -> Result<Permission, String> {
    word.parse().map_err(|error| format!("{error}"))
}

fn shown(key: &ApiKeyRow) -> Value {
    json!({
        "key_id": key.key_id, "name": key.name, "permissions": key.permissions,
        "expires_at": key.expires_at, "created_by": key.created_by, "created_at": key.created_at,
        "last_used_at": key.last_used_at, "revoked_at": key.revoked_at,
        "revoked_by": key.revoked_by,
    })
}

fn list(output: Output, keys: &[ApiKeyRow], now: DateTime<Utc>) -> anyhow::Result<()> {
    if output.json {
        return output.json(&keys.iter().map(shown).collect::<Vec<_>>());
    }
    let row = |key: &ApiKeyRow| {
        let permissions: Vec<_> = key.permissions.iter().map(|it| it.as_str()).collect();
        let state = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => format!("revoked {}", time(at)),
            (None, Some(at)) if at <= now => format!("expired {}", time(at)),
            (None, Some(at)) => format!("until {}", time(at)),
            (None, None) => "good".to_owned(),
        };
        vec![
            key.key_id.to_string(),
            key.name.clone(),
            state,
            key.last_used_at.map(time).unwrap_or_default(),
            key.created_by.clone(),
            permissions.join(" "),
        ]
    };
    let headings = ["key", "name", "state", "last used", "made by", "may"];
    output.text(&table(&headings, &[], keys.iter().map(row).collect()))
}
