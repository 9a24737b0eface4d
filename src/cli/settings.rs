//! `db` and `config`: what payoutd stands on.

use clap::Subcommand;
use serde_json::json;

use super::app::{open_store, rails};
use super::exit::UsageError;
use super::output::{Output, table};
use super::{Exit, keys, schedule};
use crate::clock::Clock;
use crate::config::Config;
use crate::jobs::Catalog;

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Bring the database's tables up to date
    Migrate,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check settings and jobs, and print when each job falls due
    Check,
    /// Print the settings in force and where each came from; secrets stay hidden
    Show,
}

/// Runs one `db` command.
pub async fn run_db(config: &Config, output: Output, command: DbCommand) -> anyhow::Result<Exit> {
    let DbCommand::Migrate = command;
    let place = keys::place(config)?;
    let store = keys::unlock(config, open_store(config).await?, &place, true).await?;
    store.migrate().await?;
    let sealed = store.seal_rest().await?;
    let (count, latest) = store.migrations();
    let database = store.database();
    store.close().await;
    if output.json {
        output.json(&json!({"database": database, "migrations": count, "version": latest, "sealed": sealed}))?;
    } else {
        output.text(&format!("the {database} database is up to date: {count} migrations"))?;
        if sealed > 0 {
            output.text(&format!("{sealed} values that were in the open are sealed now"))?;
        }
    }
    Ok(Exit::Done)
}

/// Runs one `config` command.
pub fn run_config(config: &Config, output: Output, command: ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Show => show(config, output)?,
        ConfigCommand::Check => check(config, output)?,
    }
    Ok(Exit::Done)
}

fn show(config: &Config, output: Output) -> anyhow::Result<()> {
    let settings = config.shown();
    if output.json {
        let values: Vec<_> = settings
            .iter()
            .map(|s| json!({"key": s.key, "value": s.value, "origin": s.origin.to_string()}))
            .collect();
        return output.json(&values);
    }
    let rows = settings.into_iter().map(|s| vec![s.key, s.value, s.origin.to_string()]).collect();
    output.text(&table(&["setting", "value", "set"], &[], rows))
}

fn check(config: &Config, output: Output) -> anyhow::Result<()> {
    let catalog = Catalog::load(config.jobs.dir())?;
    let rails: Vec<_> = rails(config)?.iter().map(|rail| rail.kind()).collect();
    let place = keys::place(config)?;
    if keys::read(config, &place)?.is_none()
        && let keys::KeyPlace::File(path) = &place
    {
        let words = format!("vault.master_key_file names {}, which is not there", path.display());
        return Err(UsageError(words).into());
    }
    let now = Clock::System.now();
    if output.json {
        let jobs: Vec<_> = catalog.iter().map(|job| schedule::checked(job, now)).collect();
        return output.json(&json!({"ok": true, "rails": rails, "jobs": jobs}));
    }
    output.text("the settings are usable")?;
    let names: Vec<_> = rails.iter().map(|kind| kind.as_str()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    output.text(&format!("rails configured: {names}"))?;
    for job in catalog.iter() {
        output.text(&format!("\n{}", schedule::told(job, now)))?;
    }
    Ok(())
}
