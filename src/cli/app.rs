//! Wiring: from the configuration to a store, an engine and a runner.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;

use super::exit::UsageError;
use super::keys;
use crate::clock::Clock;
use crate::config::{Config, user_name, variable, without_password};
use crate::domain::{Actor, OrgId};
use crate::engine::{Engine, EngineSettings, MethodRules, Work};
use crate::jobs::{Catalog, Definition, Heartbeat, Runner, RunnerSettings, count_payouts};
use crate::notify::{Notifier, Pings};
use crate::providers::{Ach, Paypal, Provider, Stripe, Wire};
use crate::store::{Observer, Store};

/// Everything a command works with.
pub struct App {
    pub engine: Engine,
    pub runner: Runner,
}

impl App {
    /// Opens the database, brings it up to date if the settings say so, and wires the rails that
    /// are configured.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let place = keys::place(config)?;
        let store = open_store(config).await?;
        let store = keys::unlock(config, store, &place, true).await?;
        if config.database.auto_migrate {
            store.migrate().await?;
            store.seal_rest().await?;
        } else if store.unsealed().await?.is_some_and(|count| count > 0) {
            let words = "account numbers are still in the open: run `payoutd db migrate`";
            return Err(UsageError(words.to_owned()).into());
        }
        let app = Self::over(config, store)?;
        app.engine.keep_time().await?;
        Ok(app)
    }

    /// Wires engine and runner over an open store.
    pub fn over(config: &Config, store: Store) -> anyhow::Result<Self> {
        let settings = EngineSettings {
            lease: millis(config.engine.lease_ms),
            heartbeat: millis(config.engine.heartbeat_ms),
            calls_in_flight: config.engine.calls_in_flight,
            methods: MethodRules {
                cooling: TimeDelta::hours(config.methods.cooling_hours),
                starts_per_day: config.methods.starts_per_day,
                landing_url: config.methods.landing_url.clone(),
            },
            four_eyes: config.approval.four_eyes,
        };
        let store = store.with_observer(Observer::new(count_payouts));
        let engine = Engine::new(store, Clock::corrected(), rails(config)?, settings);
        let catalog = Catalog::load(config.jobs.dir())?;
        let settings = RunnerSettings { worker_id: worker_id(&engine.clock) };
        let pings = Pings::new(heartbeats(&catalog))?;
        let runner = Runner::new(engine.clone(), catalog, settings).with_pings(pings);
        Ok(Self { engine, runner })
    }

    /// The org that was named, or the only one there is.
    pub async fn org(&self, named: Option<&str>) -> anyhow::Result<OrgId> {
        let orgs = self.engine.store.orgs().await?;
        if let Some(named) = named {
            let known = orgs.iter().find(|org| org.as_str() == named);
            return known.cloned().ok_or_else(|| no_such_org(named, &orgs).into());
        }
        match orgs.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(UsageError("there is no org yet: import one first".into()).into()),
            several => {
                let names = several.iter().map(OrgId::as_str).collect::<Vec<_>>().join(", ");
                Err(UsageError(format!("there are several orgs ({names}): name one with --org"))
                    .into())
            }
        }
    }

    /// Work on behalf of whoever is at the command line.
    pub fn work(&self) -> Work {
        Work::by_person(operator())
    }
}

/// Where the jobs' signs of life go. A variable that is not set is said, and keeps nothing from
/// running.
fn heartbeats(catalog: &Catalog) -> BTreeMap<String, SecretString> {
    let url = |job: &Definition| match job.heartbeat.as_ref()? {
        Heartbeat::Url(url) => Some(SecretString::from(url.clone())),
        Heartbeat::Variable(name) => {
            let url = variable(name);
            if url.is_none() {
                warn!(event = "heartbeat.unset", job_id = job.job_id, variable = name);
            }
            url
        }
    };
    catalog.iter().filter_map(|job| Some((job.job_id.clone(), url(job)?))).collect()
}

fn no_such_org(named: &str, orgs: &[OrgId]) -> UsageError {
    let names = orgs.iter().map(OrgId::as_str).collect::<Vec<_>>().join(", ");
    UsageError(format!("there is no org \"{named}\": the orgs are {names}"))
}

/// Opens the database without touching its tables.
pub async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let url = config.database.url.expose_secret();
    let store = Store::open(url, config.database.max_connections).await;
    store.with_context(|| format!("database {}", without_password(url)))
}

/// Opens the database if it is there, and makes nothing.
pub async fn open_existing_store(config: &Config) -> anyhow::Result<Store> {
    let url = config.database.url.expose_secret();
    let store = Store::open_existing(url, config.database.max_connections).await;
    store.with_context(|| format!("database {}", without_password(url)))
}

/// The rails that are configured. A new rail is an arm here.
pub fn rails(config: &Config) -> anyhow::Result<Vec<Arc<dyn Provider>>> {
    let mut rails: Vec<Arc<dyn Provider>> = Vec::new();
    let paypal = &config.providers.paypal;
    if paypal.is_configured() {
        let paypal = Paypal::new(paypal.clone()).context("[providers.paypal] cannot be used")?;
        rails.push(Arc::new(paypal));
    }
    let stripe = &config.providers.stripe;
    if stripe.is_configured() {
        let stripe = Stripe::new(stripe.clone()).context("[providers.stripe] cannot be used")?;
        rails.push(Arc::new(stripe));
    }
    let ach = &config.providers.ach;
    if ach.is_configured() {
        rails.push(Arc::new(Ach::new(ach.clone()).context("[providers.ach] cannot be used")?));
    }
    let wire = &config.providers.wire;
    if wire.is_configured() {
        rails.push(Arc::new(Wire::new(wire.clone()).context("[providers.wire] cannot be used")?));
    }
    check_folders(config)?;
    Ok(rails)
}

/// Who tells others, over an engine's store.
pub fn notifier(config: &Config, engine: &Engine) -> anyhow::Result<Notifier> {
    let (store, clock) = (engine.store.clone(), engine.clock.clone());
    Notifier::new(store, clock, config.notify.clone()).context("[notify] cannot be used")
}

/// A folder that payments leave by is none that answers come in by: else payoutd would take its own
/// files from the bank.
fn check_folders(config: &Config) -> anyhow::Result<()> {
    let (ach, wire) = (&config.providers.ach, &config.providers.wire);
    let outboxes = [("ach", &ach.outbox), ("wire", &wire.outbox)];
    let others = [
        ("ach.inbox", &ach.inbox),
        ("ach.archive", &ach.archive),
        ("wire.inbox", &wire.inbox),
        ("wire.archive", &wire.archive),
    ];
    let place = |path: &str| std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    for (rail, outbox) in outboxes.into_iter().filter(|(_, path)| !path.is_empty()) {
        for (key, other) in others.into_iter().filter(|(_, path)| !path.is_empty()) {
            if place(outbox) == place(other) {
                let words = format!(
                    "providers.{key} and providers.{rail}.outbox are the same folder, {outbox}: \
                     give each its own"
                );
                return Err(UsageError(words).into());
            }
        }
    }
    Ok(())
}

/// Whoever is at the command line.
pub fn operator() -> Actor {
    Actor::operator(&user_name())
}

fn millis(millis: u64) -> TimeDelta {
    TimeDelta::milliseconds(i64::try_from(millis).unwrap_or(i64::MAX / 2))
}

/// Host and process, for people, and a few letters, since two containers may have both in common:
/// which replica took a run.
fn worker_id(clock: &Clock) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "localhost",
        host => host,
    };
    let unique = hex::encode(clock.secret::<3>());
    format!("{host}:{}:{unique}", std::process::id())
}
