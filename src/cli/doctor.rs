//! `doctor`: looks at everything a running payoutd needs, and says what to mend.

use secrecy::ExposeSecret;
use serde_json::json;

use super::app::{App, open_existing_store};
use super::output::{Output, table};
use super::vault::tried_in_words;
use super::{Exit, keys};
use crate::access::Gatekeeper;
use crate::config::{Config, without_password};
use crate::jobs::{CatalogError, REPLICA_GONE};
use crate::store::{Store, StoreError};
use crate::vault::is_private;

/// A difference between our clock and the database's that starts to matter.
const SKEW_SECONDS: i64 = 30;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warn,
    Fail,
}

struct Finding {
    what: &'static str,
    state: State,
    said: String,
}

/// Prints one line per finding; exit 1 if one of them fails.
pub async fn run(config: &Config, output: Output, quick: bool) -> anyhow::Result<Exit> {
    let mut findings = vec![finding("configuration", State::Ok, "usable")];
    if let Err(error) = examine(config, quick, &mut findings).await {
        findings.push(finding("database", State::Fail, &format!("{error:#}")));
    }
    let failed = findings.iter().any(|finding| finding.state == State::Fail);
    let word = |state| match state {
        State::Ok => "ok",
        State::Warn => "warn",
        State::Fail => "FAIL",
    };
    if output.json {
        let values: Vec<_> = findings
            .iter()
            .map(|f| json!({"what": f.what, "state": word(f.state).to_lowercase(), "said": f.said}))
            .collect();
        output.json(&json!({"ok": !failed, "findings": values}))?;
    } else {
        let rows = findings
            .into_iter()
            .map(|f| vec![word(f.state).to_owned(), f.what.to_owned(), f.said])
            .collect();
        output.text(&table(&["", "what", "found"], &[], rows))?;
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn finding(what: &'static str, state: State, said: &str) -> Finding {
    Finding { what, state, said: said.to_owned() }
}

async fn examine(config: &Config, quick: bool, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let store = open_existing_store(config).await?;
    let database_now = store.database_now().await?;
    let url = without_password(config.database.url.expose_secret());
    findings.push(finding("database", State::Ok, &format!("{} at {url}", store.database())));
    if quick {
        return Ok(());
    }
    if !store.is_up_to_date().await? {
        let said = "not up to date: run `payoutd db migrate`";
        findings.push(finding("tables", State::Fail, said));
        return Ok(());
    }
    findings.push(finding("tables", State::Ok, "up to date"));
    let Some(store) = examine_keys(config, store, findings).await? else { return Ok(()) };
    let app = match App::over(config, store) {
        Ok(app) => app,
        Err(error) => {
            let what = if error.is::<CatalogError>() { "jobs" } else { "rails" };
            findings.push(finding(what, State::Fail, &format!("{error:#}")));
            return Ok(());
        }
    };
    let skew = (app.engine.clock.now() - database_now).num_seconds();
    let state = if skew.abs() > SKEW_SECONDS { State::Warn } else { State::Ok };
    findings.push(finding("clock", state, &format!("{skew} s from the database's")));
    findings.push(finding(
        "time zones",
        State::Ok,
        &format!("tz database {}", chrono_tz::IANA_TZDB_VERSION),
    ));
    examine_sealed(&app.engine.store, findings).await?;
    examine_callers(config, &app, findings);
    examine_rails(&app, findings).await;
    examine_jobs(&app, findings).await?;
    Ok(())
}

/// The store with its vault, if the keys are there and fit.
async fn examine_keys(
    config: &Config,
    store: Store,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<Option<Store>> {
    let waiting = store.unsealed().await?.unwrap_or(0);
    let unlocked = match keys::place(config) {
        Ok(place) => keys::unlock(config, store, &place, false).await.map(|store| (place, store)),
        Err(error) => Err(error.into()),
    };
    let (place, store) = match unlocked {
        Ok(unlocked) => unlocked,
        Err(error) => {
            findings.push(finding("vault", State::Fail, &format!("{error:#}")));
            return Ok(None);
        }
    };
    let wraps = store.vault().masters()?.wrapping_id().to_owned();
    let (state, said) = match place.file() {
        _ if waiting > 0 => {
            let said = format!("{waiting} values are in the open: run `payoutd db migrate`");
            (State::Fail, said)
        }
        Some(path) if !is_private(path)? => {
            (State::Warn, format!("others than its owner may read {}", path.display()))
        }
        Some(path) => (State::Ok, format!("{wraps} wraps, in {}", path.display())),
        None => (State::Ok, format!("{wraps} wraps, from the settings")),
    };
    findings.push(finding("vault", state, &said));
    Ok(Some(store))
}

/// Whether what is sealed opens: nobody notices by looking at the keys alone.
async fn examine_sealed(store: &Store, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    for org in store.orgs().await? {
        let (state, said) = match store.try_sealed(&org).await {
            Ok(tried) if tried.unreadable.is_empty() => (State::Ok, tried_in_words(&tried)),
            Ok(tried) => (State::Warn, tried_in_words(&tried)),
            Err(error @ StoreError::Vault(_)) => {
                (State::Fail, format!("{:#}", anyhow::Error::from(error)))
            }
            Err(error) => return Err(error.into()),
        };
        findings.push(finding("sealed", state, &format!("{org}: {said}")));
    }
    Ok(())
}

/// Whether anybody can be proven who calls the API.
fn examine_callers(config: &Config, app: &App, findings: &mut Vec<Finding>) {
    if config.http.listen().is_none() {
        return;
    }
    let (store, clock) = (app.engine.store.clone(), app.engine.clock.clone());
    let (state, said) = match Gatekeeper::new(store, clock, &config.auth) {
        Err(error) => (State::Fail, error.to_string()),
        Ok(_) => match config.auth.sources().as_slice() {
            [] => (State::Warn, "no token is taken, only API keys: see [auth]".to_owned()),
            sources => (State::Ok, format!("tokens by {}, and API keys", sources.join(" and "))),
        },
    };
    findings.push(finding("callers", state, &said));
}

async fn examine_rails(app: &App, findings: &mut Vec<Finding>) {
    for rail in app.engine.rails() {
        let name = rail.kind().as_str();
        match rail.ping().await {
            Ok(()) => findings.push(finding(name, State::Ok, "answers, and takes our credentials")),
            Err(problem) => findings.push(finding(name, State::Fail, &problem.to_string())),
        }
    }
    if app.engine.rails().next().is_none() {
        let said = "none configured: payouts are requested and stay pending, see [providers]";
        findings.push(finding("rails", State::Warn, said));
    }
}

async fn examine_jobs(app: &App, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let standings = app.runner.standings().await?;
    for (job, standing) in app.runner.catalog.iter().zip(standings) {
        if standing.drifts {
            let said = format!("{}: replicas hold different definitions of it", job.job_id);
            findings.push(finding("job", State::Warn, &said));
        }
        if let Some(pause) = standing.pause.filter(|_| job.enabled) {
            let (who, why) = (&pause.paused_by, &pause.reason);
            let said = format!("{}: paused by {who}: {why}", job.job_id);
            findings.push(finding("job", State::Warn, &said));
        }
        let failed = standing.last.filter(|run| {
            job.enabled && matches!(run.state.as_str(), "failed" | "lost" | "timed_out")
        });
        if let Some(run) = failed {
            let said = format!("{}: its last run {} {}", job.job_id, run.run_id, run.state);
            findings.push(finding("job", State::Warn, &said));
        }
    }
    let off: Vec<_> = app
        .runner
        .catalog
        .iter()
        .filter(|job| !job.enabled)
        .map(|job| job.job_id.as_str())
        .collect();
    if !off.is_empty() {
        findings.push(finding("jobs off", State::Ok, &off.join(", ")));
    }
    let since = app.engine.store.database_now().await? - REPLICA_GONE;
    let replicas = app.engine.store.replicas(since).await?;
    let named: Vec<_> = replicas.iter().map(|replica| replica.replica_id.as_str()).collect();
    let said = if named.is_empty() { "none runs now".to_owned() } else { named.join(", ") };
    findings.push(finding("replicas", State::Ok, &said));
    let orgs = app.engine.store.orgs().await?.len();
    let open = app.engine.store.open_payouts().await?;
    findings.push(finding(
        "books",
        State::Ok,
        &format!("{orgs} orgs, {open} payouts on their way"),
    ));
    Ok(())
}
