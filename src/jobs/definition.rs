//! A job as an operator writes it: one TOML file, whose stem is the job's id for ever.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::policy::{Misfire, Overlap, Retry, Span};
use super::{CalendarKeys, Dst, Schedule, ScheduleError};
use crate::domain::{ApprovalRules, Breaker, Limits, PeriodLength, Periods, Scope};
use crate::engine::{Keep, Rules};

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    ReleaseHolds,
    RequestPayouts,
    SubmitTransfers,
    ReconcileTransfers,
    AuditLedger,
    Prune,
}

impl JobKind {
    /// The word for it, as in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReleaseHolds => "release_holds",
            Self::RequestPayouts => "request_payouts",
            Self::SubmitTransfers => "submit_transfers",
            Self::ReconcileTransfers => "reconcile_transfers",
            Self::AuditLedger => "audit_ledger",
            Self::Prune => "prune",
        }
    }
}

/// What a job does, with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// `batch`: due commissions per transaction.
    ReleaseHolds {
        batch: i64,
    },
    /// `batch`: wallets per transaction; `period`: what a wallet is paid once in; `reached_only`:
    /// whoever has not reached the minimum is not even looked at.
    RequestPayouts {
        batch: i64,
        period: PeriodLength,
        reached_only: bool,
    },
    SubmitTransfers,
    ReconcileTransfers,
    AuditLedger,
    Prune(Keep),
}

/// A job, checked.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The stem of its file.
    pub job_id: String,
    pub task: Task,
    pub kind: JobKind,
    pub description: String,
    pub enabled: bool,
    pub schedule: Schedule,
    pub misfire: Misfire,
    pub overlap: Overlap,
    /// A run starts up to this much after its instant, always by the same offset.
    pub jitter: Span,
    /// Longest time of one attempt.
    pub timeout: Span,
    pub retry: Retry,
    /// Whether its schedule stops when a run has failed for good.
    pub pause_on_failure: bool,
    /// How often a run is expected; without it, monitoring goes by the schedule.
    pub expected_every: Option<Span>,
    /// How long before a due instant what it would do is told.
    pub announce: Option<Span>,
    /// Where a sign of life is sent after each run.
    pub heartbeat: Option<Heartbeat>,
    pub scope: Scope,
    pub limits: Limits,
    pub approval: ApprovalRules,
    pub breaker: Option<Breaker>,
    /// Changes when anything in the file does that means something.
    pub hash: String,
}

/// Where a sign of life is sent after each run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heartbeat {
    Url(String),
    /// The environment variable that holds it: whoever knows it can report for us.
    Variable(String),
}

/// Why a job's file cannot be used.
#[derive(Debug, Error)]
pub enum DefinitionError {
    #[error("it is not a job: {0}")]
    NotAJob(String),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error("a {kind} job cannot be limited by [scope] {key}", kind = kind.as_str())]
    Scope { kind: JobKind, key: &'static str },
    #[error("a {kind} job has no {key}: only a request_payouts job does", kind = kind.as_str())]
    OnlyPayouts { kind: JobKind, key: &'static str },
    #[error("{0}")]
    Contradiction(&'static str),
    #[error("[params] of a {kind} job: {reason}", kind = kind.as_str())]
    Params { kind: JobKind, reason: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: JobKind,
    #[serde(default)]
    description: String,
    enabled: bool,
    schedule: String,
    #[serde(default = "utc")]
    timezone: Tz,
    #[serde(default)]
    dst: Dst,
    calendar: Option<CalendarKeys>,
    #[serde(default)]
    misfire: Misfire,
    #[serde(default)]
    overlap: Overlap,
    #[serde(default)]
    jitter: Span,
    #[serde(default = "half_an_hour")]
    timeout: Span,
    #[serde(default)]
    retry: Retry,
    #[serde(default)]
    pause_on_failure: bool,
    expected_every: Option<Span>,
    announce: Option<Span>,
    heartbeat_url: Option<String>,
    heartbeat_url_env: Option<String>,
    #[serde(default)]
    scope: Scope,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    approval: ApprovalRules,
    breaker: Option<Breaker>,
    #[serde(default)]
    params: toml::Table,
}

fn utc() -> Tz {
    Tz::UTC
}

fn half_an_hour() -> Span {
    Span(TimeDelta::minutes(30))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReleaseParams {
    batch: i64,
}

impl Default for ReleaseParams {
    fn default() -> Self {
        Self { batch: 10_000 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RequestParams {
    batch: i64,
    period: Option<PeriodLength>,
    reached_only: bool,
}

impl Default for RequestParams {
    fn default() -> Self {
        Self { batch: 1_000, period: None, reached_only: false }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PruneParams {
    keep_runs_days: i64,
    keep_decisions_days: i64,
    keep_provider_events_days: i64,
    keep_webhook_events_days: i64,
}

impl Default for PruneParams {
    fn default() -> Self {
        Self {
            keep_runs_days: 90,
            keep_decisions_days: 400,
            keep_provider_events_days: 90,
            keep_webhook_events_days: 90,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {}

impl Definition {
    /// Reads the job `job_id` from the text of its file. Unknown keys are refused.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn parse(job_id: &str, text: &str) -> Result<Self, DefinitionError> {
        let file: File = toml::from_str(text).map_err(|error| {
            DefinitionError::NotAJob(renamed(text).unwrap_or_else(|| error.to_string()))
        })?;
        check_scope(file.kind, &file.scope)?;
        check_spending(&file)?;
        check_sense(&file)?;
        let task = task(file.kind, file.params)?;
        let heartbeat = match (file.heartbeat_url, file.heartbeat_url_env) {
            (None, None) => None,
            (Some(url), None) => Some(Heartbeat::Url(url)),
            (None, Some(name)) => Some(Heartbeat::Variable(name)),
            (Some(_), Some(_)) => {
                let words = "heartbeat_url and heartbeat_url_env say the same: keep one of them";
                return Err(DefinitionError::Contradiction(words));
            }
        };
        Ok(Self {
            job_id: job_id.to_owned(),
            task,
            kind: file.kind,
            description: file.description,
            enabled: file.enabled,
            schedule: Schedule::parse(&file.schedule, file.timezone, file.calendar, file.dst)?,
            misfire: file.misfire,
            overlap: file.overlap,
            jitter: file.jitter,
            timeout: file.timeout,
            retry: file.retry,
            pause_on_failure: file.pause_on_failure,
            expected_every: file.expected_every,
            announce: file.announce,
            heartbeat,
            scope: file.scope,
            limits: file.limits,
            approval: file.approval,
            breaker: file.breaker,
            hash: hash_of(text)?,
        })
    }
}

/// Says what to write for a key that has another name now.
fn renamed(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    let old = table.get("timeout_ms")?;
    let span = old.as_integer().and_then(|old| TimeDelta::try_milliseconds(old.max(0)));
    let span = span.map_or_else(half_an_hour, Span);
    Some(format!(
        "timeout_ms is now a span of time: write timeout = \"{span}\" instead of timeout_ms = {old}"
    ))
}

impl Definition {
    /// The periods that a run for `instant` pays; `None` for a job that requests no payouts.
    pub fn periods(&self, instant: DateTime<Utc>) -> Option<Periods> {
        let Task::RequestPayouts { period: length, .. } = self.task else { return None };
        Some(Periods { length, instant, zone: self.schedule.zone() })
    }

    /// What a run for `instant` goes by when it decides about wallets; `None` for a job that requests
    /// no payouts.
    pub fn rules(&self, instant: DateTime<Utc>) -> Option<Rules> {
        let Task::RequestPayouts { reached_only, .. } = self.task else { return None };
        Some(Rules {
            job_id: self.job_id.clone(),
            periods: self.periods(instant)?,
            scope: self.scope.clone(),
            reached_only,
            limits: self.limits.clone(),
            approval: self.approval.clone(),
            breaker: self.breaker.clone(),
        })
    }
}

/// A limit that a job would not keep is refused: an operator would rely on it.
fn check_scope(kind: JobKind, scope: &Scope) -> Result<(), DefinitionError> {
    let kept: &[&str] = match kind {
        JobKind::ReleaseHolds => &["orgs", "programs"],
        JobKind::RequestPayouts => &["orgs", "programs", "methods", "currencies"],
        JobKind::SubmitTransfers => &["orgs", "methods", "currencies"],
        JobKind::ReconcileTransfers => &["orgs"],
        JobKind::AuditLedger | JobKind::Prune => &[],
    };
    let set = [
        ("orgs", scope.orgs.is_empty()),
        ("programs", scope.programs.is_empty()),
        ("methods", scope.methods.is_empty()),
        ("currencies", scope.currencies.is_empty()),
    ];
    match set.iter().find(|(key, empty)| !empty && !kept.contains(key)) {
        None => Ok(()),
        Some((key, _)) => Err(DefinitionError::Scope { kind, key }),
    }
}

/// What spends nothing has no limits to keep, and nothing to announce.
fn check_spending(file: &File) -> Result<(), DefinitionError> {
    if file.kind == JobKind::RequestPayouts {
        return Ok(());
    }
    let set = [
        ("[limits]", !file.limits.is_empty()),
        ("[approval]", file.approval != ApprovalRules::default()),
        ("[breaker]", file.breaker.is_some()),
        ("announce", file.announce.is_some()),
    ];
    match set.iter().find(|(_, set)| *set) {
        None => Ok(()),
        Some((key, _)) => Err(DefinitionError::OnlyPayouts { kind: file.kind, key }),
    }
}

/// What could be meant by nobody is refused, before somebody relies on it.
fn check_sense(file: &File) -> Result<(), DefinitionError> {
    let no_retry = file.retry.max_attempts == 0 || file.retry.max_attempts > 100;
    let no_breaker =
        file.breaker.as_ref().is_some_and(|one| one.at_least == 0 || one.runs < one.at_least);
    let no_time = |span: Option<Span>| span.is_some_and(|span| span < Span(TimeDelta::seconds(1)));
    let no_url = file.heartbeat_url.as_ref().is_some_and(|url| {
        !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    });
    let no_name = file.heartbeat_url_env.as_ref().is_some_and(|name| {
        name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
    });
    let (run, day) = (file.limits.payouts_per_run, file.limits.payouts_per_day);
    let senseless = [
        (no_time(Some(file.timeout)), "timeout is less than a second"),
        (no_time(Some(file.misfire.window)), "misfire.window is less than a second"),
        (!(1..=1_000).contains(&file.misfire.max_runs), "misfire.max_runs is to be 1 to 1000"),
        (no_retry, "retry.max_attempts is to be 1 to 100"),
        (
            file.retry.max_attempts > 1 && no_time(Some(file.retry.base)),
            "retry.base is less than a second",
        ),
        (file.retry.cap < file.retry.base, "retry.cap is less than retry.base"),
        (no_time(file.expected_every), "expected_every is less than a second"),
        (no_time(file.announce), "announce is less than a second"),
        (
            no_breaker,
            "[breaker] runs is less than at_least, or at_least is 0: it would stop nothing",
        ),
        (run > day && day.is_some(), "payouts_per_run is more than payouts_per_day"),
        (no_url, "heartbeat_url is no http or https address"),
        (no_name, "heartbeat_url_env is no name of a variable"),
    ];
    match senseless.iter().find(|(is, _)| *is) {
        None => Ok(()),
        Some((_, words)) => Err(DefinitionError::Contradiction(words)),
    }
}

/// Names what is in a file, whatever its layout: a comment makes no new job of it.
fn hash_of(text: &str) -> Result<String, DefinitionError> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| DefinitionError::NotAJob(error.to_string()))?;
    Ok(hex::encode(&Sha256::digest(table.to_string().as_bytes())[..8]))
}

fn task(kind: JobKind, params: toml::Table) -> Result<Task, DefinitionError> {
    let refused = |reason: String| DefinitionError::Params { kind, reason };
    let positive = |name: &str, value: i64| match value {
        1.. => Ok(value),
        _ => Err(refused(format!("{name} is {value}, it must be at least 1"))),
    };
    Ok(match kind {
        JobKind::ReleaseHolds => {
            let params: ReleaseParams = read(kind, params)?;
            Task::ReleaseHolds { batch: positive("batch", params.batch)? }
        }
        JobKind::RequestPayouts => {
            let RequestParams { batch, period, reached_only } = read(kind, params)?;
            let usual = if reached_only { PeriodLength::Day } else { PeriodLength::Week };
            let period = period.unwrap_or(usual);
            Task::RequestPayouts { batch: positive("batch", batch)?, period, reached_only }
        }
        JobKind::Prune => {
            let params: PruneParams = read(kind, params)?;
            let days = |name: &str, days: i64| match days {
                1..=36_500 => Ok(TimeDelta::days(days)),
                _ => Err(refused(format!("{name} is {days}, it must be from 1 to 36500"))),
            };
            Task::Prune(Keep {
                runs: days("keep_runs_days", params.keep_runs_days)?,
                decisions: days("keep_decisions_days", params.keep_decisions_days)?,
                provider_events: days(
                    "keep_provider_events_days",
                    params.keep_provider_events_days,
                )?,
                webhook_events: days("keep_webhook_events_days", params.keep_webhook_events_days)?,
            })
        }
        JobKind::SubmitTransfers | JobKind::ReconcileTransfers | JobKind::AuditLedger => {
            let NoParams {} = read(kind, params)?;
            match kind {
                JobKind::SubmitTransfers => Task::SubmitTransfers,
                JobKind::ReconcileTransfers => Task::ReconcileTransfers,
                _ => Task::AuditLedger,
            }
        }
    })
}

fn read<T: for<'de> Deserialize<'de>>(
    kind: JobKind,
    params: toml::Table,
) -> Result<T, DefinitionError> {
    params.try_into().map_err(|error: toml::de::Error| DefinitionError::Params {
        kind,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEKLY: &str = r#"
        kind = "request_payouts"
        enabled = false
        schedule = "0 0 9 * * MON"
        timezone = "America/New_York"
    "#;

    #[test]
    fn a_file_with_its_defaults_is_a_job() {
        let job = Definition::parse("auto-payout", WEEKLY).expect("a job");
        let period = PeriodLength::Week;
        assert_eq!(job.task, Task::RequestPayouts { batch: 1_000, period, reached_only: false });
        let text = format!("{WEEKLY}\n[params]\nreached_only = true");
        let often = Definition::parse("often", &text).expect("a job");
        let period = PeriodLength::Day;
        assert_eq!(often.task, Task::RequestPayouts { batch: 1_000, period, reached_only: true });
        assert_eq!(job.schedule.zone(), chrono_tz::America::New_York);
        assert_eq!(job.misfire, Misfire::default());
    }

    #[test]
    fn unknown_keys_zones_and_parameters_are_refused_by_name() {
        let refused = |extra: &str| {
            let text = format!("{WEEKLY}\n{extra}");
            Definition::parse("auto-payout", &text).expect_err("no job").to_string()
        };
        assert!(refused("sheduel = 1").contains("sheduel"));
        assert!(refused("[params]\nperoid = \"week\"").contains("peroid"));
        let audit = "kind = \"audit_ledger\"\nenabled = true\nschedule = \"@daily\"\n";
        let scoped = format!("{audit}[scope]\norgs = [\"acme\"]");
        let error = Definition::parse("audit", &scoped).expect_err("a limit that is not kept");
        assert!(error.to_string().contains("[scope] orgs"), "{error}");
        assert!(refused("[params]\nbatch = 0").contains("at least 1"));
        let zone = WEEKLY.replace("America/New_York", "America/Springfield");
        let error = Definition::parse("auto-payout", &zone).expect_err("no zone");
        assert!(error.to_string().contains("America/Springfield"), "{error}");
    }

    #[test]
    fn what_could_be_meant_by_nobody_is_refused_before_somebody_relies_on_it() {
        for (keys, word) in [
            ("timeout = \"0s\"", "timeout"),
            ("retry = { max_attempts = 0 }", "max_attempts"),
            ("retry = { base = \"1h\", cap = \"1s\" }", "retry.cap"),
            ("misfire = { policy = \"all\", max_runs = 0 }", "max_runs"),
            ("announce = \"0s\"", "announce"),
            ("heartbeat_url = \"file:///etc/passwd\"", "heartbeat_url"),
            ("heartbeat_url_env = \"A=B\"", "heartbeat_url_env"),
            ("[breaker]\nfactor = \"2\"\nruns = 2\nat_least = 3", "at_least"),
            ("[breaker]\nfactor = \"2\"\nruns = 0\nat_least = 0", "at_least"),
            ("[limits]\npayouts_per_run = 10\npayouts_per_day = 5", "payouts_per_run"),
        ] {
            let refused = Definition::parse("x", &format!("{WEEKLY}\n{keys}"));
            let words = refused.expect_err(keys).to_string();
            assert!(words.contains(word), "{keys}: {words}");
        }
    }

    #[test]
    fn any_change_of_the_file_is_a_change_of_the_job() {
        let hash = |text: &str| Definition::parse("x", text).expect("a job").hash;
        assert_ne!(hash(WEEKLY), hash(&WEEKLY.replace("MON", "TUE")));
        assert_eq!(hash(WEEKLY), hash(&format!("# a comment\n{WEEKLY}")));
    }
}
