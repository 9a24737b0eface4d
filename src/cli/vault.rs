//! `vault`: the keys that account numbers are sealed under.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{Output, table, time};
use super::{App, Exit, keys};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::OrgId;
use crate::engine::Rotated;
use crate::store::{OrgKey, Tried};
use crate::vault::make_key_file;

/// Values that do not open and are named in a text; the JSON has all.
const MOST_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Make a file with a new master key, readable by its owner alone
    Init {
        /// The file; without it the one that vault.master_key_file names
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Show which keys there are, and how much is sealed under each
    Status,
    /// Give orgs new keys, seal everything anew under them, wrap them by the first master key
    Rotate {
        /// Org; all of them if left out
        #[arg(long)]
        org: Option<String>,
        /// Only wrap the keys that there are by the first master key
        #[arg(long)]
        rewrap: bool,
    },
}

/// Runs one `vault` command.
pub async fn run(config: &Config, output: Output, command: VaultCommand) -> anyhow::Result<Exit> {
    match command {
        VaultCommand::Init { file } => init(config, output, file),
        VaultCommand::Status => status(config, output).await,
        VaultCommand::Rotate { org, rewrap } => rotate(config, output, org, rewrap).await,
    }
}

fn init(config: &Config, output: Output, file: Option<PathBuf>) -> anyhow::Result<Exit> {
    let named = || {
        let words = "vault.master_keys is set, so no file is used: name one with --file to make it";
        let place = keys::place(config)?;
        place.file().map(PathBuf::from).ok_or_else(|| UsageError(words.to_owned()))
    };
    let path = file.map_or_else(named, Ok)?;
    let made = make_key_file(&path, &Clock::System)?;
    let shown = path.display();
    if output.json {
        output.json(&json!({"path": path, "made": made.is_some(), "master_key_id": made}))?;
    } else {
        let words = match &made {
            Some(id) => format!(
                "made master key {id} in {shown}\nKeep a copy apart from copies of the database: \
                 without it no account number can be read again."
            ),
            None => format!("{shown} is there already; nothing was changed"),
        };
        output.text(&words)?;
    }
    Ok(if made.is_some() { Exit::Done } else { Exit::Refused })
}

async fn orgs(app: &App, named: Option<&str>) -> anyhow::Result<Vec<OrgId>> {
    match named {
        Some(_) => Ok(vec![app.org(named).await?]),
        None => Ok(app.engine.store.orgs().await?),
    }
}

async fn status(config: &Config, output: Output) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    let store = &app.engine.store;
    let mut keys: Vec<(OrgKey, u64)> = Vec::new();
    let mut tried: Vec<(OrgId, Tried)> = Vec::new();
    for org in store.orgs().await? {
        tried.push((org.clone(), store.try_sealed(&org).await?));
        for key in store.org_keys(&org).await? {
            let sealed = store.sealed_under(&org, &key.key_id).await?;
            keys.push((key, sealed));
        }
    }
    let masters: Vec<&str> = store.vault().masters()?.ids().collect();
    if output.json {
        let value = |(key, sealed): &(OrgKey, u64)| -> Value {
            json!({
                "org_id": key.org_id, "key_id": key.key_id, "purpose": key.purpose,
                "master_key_id": key.master_key_id, "created_at": key.created_at,
                "retired_at": key.retired_at, "sealed": sealed,
            })
        };
        let keys: Vec<_> = keys.iter().map(value).collect();
        let value = |(org, tried): &(OrgId, Tried)| json!({"org_id": org, "tried": tried});
        let tried: Vec<_> = tried.iter().map(value).collect();
        output.json(&json!({
            "master_keys": masters, "wraps": masters.first(), "keys": keys, "opened": tried,
        }))?;
    } else {
        output.text(&format!("master keys: {} (the first one wraps)\n", masters.join(", ")))?;
        let row = |(key, sealed): &(OrgKey, u64)| {
            vec![
                key.org_id.to_string(),
                key.key_id.to_string(),
                key.purpose.clone(),
                key.master_key_id.clone(),
                time(key.created_at),
                key.retired_at.map(time).unwrap_or_default(),
                sealed.to_string(),
            ]
        };
        let head = ["org", "key", "for", "wrapped by", "made", "retired", "sealed"];
        output.text(&table(&head, &[6], keys.iter().map(row).collect()))?;
        for (org, tried) in &tried {
            output.text(&format!("{org}: {}", tried_in_words(tried)))?;
        }
    }
    store.close().await;
    Ok(Exit::Done)
}

async fn rotate(
    config: &Config,
    output: Output,
    org: Option<String>,
    rewrap: bool,
) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    let (mut values, mut exit) = (Vec::new(), Exit::Done);
    for org in orgs(&app, org.as_deref()).await? {
        let (value, words) = if rewrap {
            let rewrapped = app.engine.rewrap_keys(&app.work(), &org).await?;
            let words = format!("{org}: {rewrapped} keys wrapped by another master key");
            (json!({"org_id": org, "rewrapped": rewrapped}), words)
        } else {
            let rotated = app.engine.rotate_keys(&app.work(), &org).await?;
            if !rotated.unreadable.is_empty() {
                exit = Exit::Partly;
            }
            (json!({"org_id": org, "rotated": rotated}), in_words(&org, &rotated))
        };
        values.push(value);
        if !output.json {
            output.text(&words)?;
        }
    }
    if output.json {
        output.json(&values)?;
    }
    app.engine.store.close().await;
    Ok(exit)
}

/// What a look at the sealed values of an org found.
pub(super) fn tried_in_words(tried: &Tried) -> String {
    let Tried { values, cut, unreadable } = tried;
    let more = if *cut { ", the first of each column (there are more)" } else { "" };
    let mut words = format!("{values} sealed values tried{more}: ");
    match unreadable.len() {
        0 => words.push_str("all open"),
        count => words.push_str(&format!("{count} do not open: {}", shown(unreadable))),
    }
    words
}

/// The first of many.
fn shown(ids: &[String]) -> String {
    let more = if ids.len() > MOST_SHOWN { ", …" } else { "" };
    format!("{}{more}", ids.iter().take(MOST_SHOWN).cloned().collect::<Vec<_>>().join(", "))
}

fn in_words(org: &OrgId, rotated: &Rotated) -> String {
    let Rotated { key_id, sealed, unreadable, rewrapped, deleted, kept } = rotated;
    let mut words = format!("{org}: {sealed} values sealed anew under {key_id}");
    if *rewrapped > 0 {
        words.push_str(&format!(", {rewrapped} keys wrapped by another master key"));
    }
    if !deleted.is_empty() {
        words.push_str(&format!(", {} old keys deleted", deleted.len()));
    }
    if !kept.is_empty() {
        let note = "kept for another hour at least: the next rotation deletes those unused";
        words.push_str(&format!(", {} old keys {note}", kept.len()));
    }
    if !unreadable.is_empty() {
        let (count, ids) = (unreadable.len(), shown(unreadable));
        words.push_str(&format!("; {count} values do not open and stay as they are: {ids}"));
    }
    words
}
