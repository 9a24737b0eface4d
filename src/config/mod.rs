//! Every setting, from its four layers: the compiled-in defaults (`payoutd.toml`), a file, the
//! environment, flags. The one room that reads the process environment.
//!
//! Nothing is guessed: an unknown name, a wrong type and a value out of range are errors that
//! say where the value stands, and secrets are never printed, not even in those errors.

mod layers;
mod rules;
mod shown;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;
use thiserror::Error;

pub use crate::access::AuthSettings;
use crate::http::Metrics;
pub use crate::notify::NotifySettings;
pub use crate::providers::{AchSettings, PaypalSettings, StripeSettings, WireSettings};
use crate::telemetry::{LogFormat, LogLevel, TelemetrySettings};
pub use crate::vault::VaultSettings;

pub use layers::Origin;
pub use shown::{ShownSetting, without_password};

use layers::Setting;

/// The variable that names the configuration file where no flag does. It has no double
/// underscore, so it is no setting itself.
const FILE_VARIABLE: &str = "PAYOUTD_CONFIG";

/// Everything that can be set; `payoutd.toml` documents each key.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: DatabaseSettings,
    pub jobs: JobsSettings,
    pub log: LogSettings,
    pub telemetry: TelemetrySettings,
    pub engine: EngineSettings,
    pub approval: ApprovalSettings,
    pub http: HttpSettings,
    pub methods: MethodsSettings,
    pub auth: AuthSettings,
    pub vault: VaultSettings,
    pub notify: NotifySettings,
    pub providers: ProvidersSettings,
    /// What was read, by dotted key; kept for [`Config::shown`].
    settings: BTreeMap<String, Setting>,
}

/// `[database]`: where the books are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `sqlite://…` or `postgres://…`. A secret because it may hold a password; for people see
    /// [`without_password`].
    pub url: SecretString,
    pub auto_migrate: bool,
    pub max_connections: u32,
}

/// `[jobs]`: the schedules, and how they stop.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsSettings {
    dir: PathBuf,
    pub drain_ms: u64,
}

impl JobsSettings {
    /// Takes the schedules that are compiled in, whatever was set.
    pub fn ship(&mut self) {
        self.dir = PathBuf::new();
    }

    /// The folder of schedules; `None` for the ones compiled in.
    pub fn dir(&self) -> Option<&Path> {
        (!self.dir.as_os_str().is_empty()).then_some(self.dir.as_path())
    }
}

/// `[log]`: what goes to stderr.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    pub format: LogFormat,
    pub level: LogLevel,
}

/// `[engine]`: leases, and how much is done at once.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSettings {
    pub lease_ms: u64,
    pub heartbeat_ms: u64,
    pub calls_in_flight: usize,
}

/// `[approval]`: who may let a large payout go.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalSettings {
    pub four_eyes: bool,
}

/// `[http]`: the server that partners, staff and providers call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    listen: String,
    pub body_limit_bytes: usize,
    pub body_timeout_ms: u64,
    pub answer_timeout_ms: u64,
    cors_origins: String,
    pub requests_per_minute: u32,
    pub failed_proofs_per_minute: u32,
    pub trusted_proxies: String,
    pub metrics: Metrics,
}

impl HttpSettings {
    /// Where to listen; `None` for no server.
    pub fn listen(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }

    /// The origins whose pages may call from browsers; none by default.
    pub fn cors_origins(&self) -> Vec<String> {
        let origins = self.cors_origins.split(',').map(str::trim);
        origins.filter(|origin| !origin.is_empty()).map(str::to_owned).collect()
    }
}

/// `[methods]`: how payout methods are proven, and when they may be paid.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodsSettings {
    pub cooling_hours: i64,
    pub starts_per_day: i64,
    pub landing_url: String,
}

/// `[providers.*]`: one section for each rail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvidersSettings {
    pub paypal: PaypalSettings,
    pub stripe: StripeSettings,
    pub ach: AchSettings,
    pub wire: WireSettings,
}

/// Why there is no configuration. Each one is the operator's to mend: exit code 2.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The file is not TOML. The parser's own error is left out: it quotes the line, which may
    /// hold a secret.
    #[error("{} is not valid TOML{line}: {message}", path.display())]
    Malformed { path: PathBuf, line: String, message: String },
    /// No such setting.
    #[error("unknown setting {key} {origin}: did you mean {nearest}?")]
    Unknown { key: String, origin: Origin, nearest: String },
    /// The setting exists, its value does not fit.
    #[error("{key} = {value} {origin}: expected {expected}")]
    Wrong { key: String, value: String, origin: Origin, expected: String },
    /// A variable of ours is not text.
    #[error("{variable} in the environment is not UTF-8")]
    NotText { variable: String },
    /// The defaults and the structs of this file do not fit each other.
    #[error("the settings do not fit the program")]
    Shape(#[source] config::ConfigError),
}

/// The process environment, for [`Config::load`]. Nobody else reads it but [`user_name`], [`variable`] and [`folders`].
pub fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

/// Who is at the command line, for the record: the login name, as far as the host tells it.
pub fn user_name() -> String {
    let name = |variable| std::env::var_os(variable).and_then(|name| name.into_string().ok());
    let name = name("SUDO_USER").or_else(|| name("USER")).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "operator".to_owned())
}

/// A variable that a job's file names: the address of its heartbeat. `None` if it is not set.
pub fn variable(name: &str) -> Option<SecretString> {
    let value = std::env::var_os(name)?.into_string().ok()?;
    Some(value).filter(|value| !value.is_empty()).map(SecretString::from)
}

/// The folder in which the program was started, and the one for what is temporary.
///
/// # Errors
/// The folder is gone, or may not be entered.
pub fn folders() -> std::io::Result<(PathBuf, PathBuf)> {
    Ok((std::env::current_dir()?, std::env::temp_dir()))
}

/// The folder for what has to outlive a run and is in no database: what the service manager gives
/// (`STATE_DIRECTORY`), or the user's own; `None` where there is neither.
pub fn state_folder() -> Option<PathBuf> {
    let folder = |variable| std::env::var_os(variable).filter(|path| !path.is_empty());
    if let Some(given) = folder("STATE_DIRECTORY").and_then(|paths| paths.into_string().ok()) {
        return given.split(':').next().map(PathBuf::from);
    }
    let own = folder("XDG_STATE_HOME").map(PathBuf::from);
    let own = own.or_else(|| Some(PathBuf::from(folder("HOME")?).join(".local/state")));
    own.map(|state| state.join("payoutd"))
}

impl Config {
    /// The level of the log: what was set, or `quieter` where nobody set anything.
    pub fn log_level_or(&self, quieter: LogLevel) -> LogLevel {
        let origin = self.settings.get("log.level").map(|setting| &setting.origin);
        if origin == Some(&Origin::Default) { quieter } else { self.log.level }
    }

    /// Lays defaults, `file` (or the one that `PAYOUTD_CONFIG` names), `environment` and `flags`
    /// over each other; the later wins. Flags are dotted keys (`database.url`) and values.
    ///
    /// # Errors
    /// The first thing that is unreadable, unknown, of the wrong type or out of range.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let environment: Vec<_> = environment.into_iter().collect();
        let file = file.map(Path::to_path_buf).or_else(|| file_named_in(&environment));
        let mut settings = layers::defaults();
        if let Some(path) = file {
            layers::overlay(&mut settings, layers::of_file(&path)?)?;
        }
        layers::overlay(&mut settings, layers::of_environment(environment)?)?;
        layers::overlay(&mut settings, layers::of_flags(flags))?;
        rules::check_together(&settings)?;
        Self::from_settings(settings).map_err(ConfigError::Shape)
    }

    /// Every setting in force, in the order of its key, with where it came from. Secrets and
    /// passwords are hidden.
    pub fn shown(&self) -> Vec<ShownSetting> {
        shown::rows(&self.settings)
    }

    fn from_settings(settings: BTreeMap<String, Setting>) -> Result<Self, config::ConfigError> {
        let mut builder = config::Config::builder();
        for (key, setting) in &settings {
            builder = builder.set_default(key, setting.value.clone())?;
        }
        let merged = builder.build()?;
        Ok(Self {
            database: merged.get("database")?,
            jobs: merged.get("jobs")?,
            log: merged.get("log")?,
            telemetry: merged.get("telemetry")?,
            engine: merged.get("engine")?,
            approval: merged.get("approval")?,
            http: merged.get("http")?,
            methods: merged.get("methods")?,
            auth: merged.get("auth")?,
            vault: merged.get("vault")?,
            notify: merged.get("notify")?,
            providers: merged.get("providers")?,
            settings,
        })
    }
}

/// The file that the environment names, if it does.
fn file_named_in(environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    environment
        .iter()
        .find(|(name, value)| name == FILE_VARIABLE && !value.is_empty())
        .map(|(_, value)| PathBuf::from(value))
}

#[cfg(test)]
mod tests;
