//! The four layers as lists of settings, each value with where it came from.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{File, FileFormat, Source, Value, ValueKind};

use super::{ConfigError, rules};

/// The defaults: the documented file itself, so that the two cannot drift apart.
const DEFAULTS: &str = include_str!("../../payoutd.toml");

/// What a variable that is a setting begins with. The double underscore keeps us clear of the
/// `PAYOUTD_PORT=…` that container platforms set for a service called payoutd.
const PREFIX: &str = "PAYOUTD__";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The compiled-in defaults.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// A flag on the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("in the defaults"),
            Self::File(path) => write!(f, "in {}", path.display()),
            Self::Environment(variable) => write!(f, "in the environment ({variable})"),
            Self::Flag => f.write_str("on the command line"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) value: ValueKind,
    pub(super) origin: Origin,
}

impl fmt::Debug for Setting {
    /// Leaves the value out: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A layer: dotted keys and what it says of them.
pub(super) type Layer = Vec<(String, Setting)>;

/// The defaults; they also say which keys there are, and of which type.
pub(super) fn defaults() -> BTreeMap<String, Setting> {
    let table = File::from_str(DEFAULTS, FileFormat::Toml).collect();
    flattened(table.expect("the compiled-in defaults are TOML"), &Origin::Default)
        .into_iter()
        .collect()
}

/// Puts `layer` over `settings`.
///
/// # Errors
/// A key that has no default, or a value that does not fit its rule.
pub(super) fn overlay(
    settings: &mut BTreeMap<String, Setting>,
    layer: Layer,
) -> Result<(), ConfigError> {
    for (key, Setting { value, origin }) in layer {
        if is_empty_section(&key, &value, settings) {
            continue;
        }
        let Some(known) = settings.get_mut(&key) else {
            let nearest = nearest_key(&key, settings.keys());
            return Err(ConfigError::Unknown { key, origin, nearest });
        };
        let value = rules::fitted(&key, value, &known.value, &origin)?;
        *known = Setting { value, origin };
    }
    Ok(())
}

/// The layer of a TOML file.
///
/// # Errors
/// A file that cannot be read or is not TOML.
pub(super) fn of_file(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
    let table = File::from_str(&text, FileFormat::Toml)
        .collect()
        .map_err(|error| malformed(path, &text, &error))?;
    Ok(flattened(table, &Origin::File(path.to_path_buf())))
}

/// The layer of the environment. Values are text as they stand: a secret `1e5` stays `1e5`.
///
/// # Errors
/// A variable of ours that is not UTF-8.
pub(super) fn of_environment(environment: Vec<(OsString, OsString)>) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    for (name, value) in environment {
        let Some((variable, key)) = setting_key(&name) else { continue };
        let value =
            value.into_string().map_err(|_| ConfigError::NotText { variable: variable.clone() })?;
        let origin = Origin::Environment(variable);
        layer.push((key, Setting { value: ValueKind::String(value), origin }));
    }
    Ok(layer)
}

/// The layer of the command line.
pub(super) fn of_flags(flags: &[(String, String)]) -> Layer {
    let setting =
        |value: &String| Setting { value: ValueKind::String(value.clone()), origin: Origin::Flag };
    flags.iter().map(|(key, value)| (key.clone(), setting(value))).collect()
}

/// The variable's name and dotted key, if the variable is one of ours.
fn setting_key(name: &OsString) -> Option<(String, String)> {
    // A name that is not UTF-8 is still ours if it begins like ours; it then fails as unknown.
    let variable = name.to_string_lossy();
    let key = variable.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
    Some((variable.into_owned(), key))
}

/// The leaves of a table by their dotted keys. An empty table is a leaf too, so that an empty
/// section with a wrong name is noticed.
fn flattened(table: HashMap<String, Value>, origin: &Origin) -> Layer {
    let mut layer = Layer::new();
    for (name, value) in table {
        match value.kind {
            ValueKind::Table(inner) if !inner.is_empty() => {
                let inner = flattened(inner, origin);
                layer.extend(inner.into_iter().map(|(key, set)| (format!("{name}.{key}"), set)));
            }
            value => layer.push((name, Setting { value, origin: origin.clone() })),
        }
    }
    // The parser keeps no order; errors should still come in the same one every time.
    layer.sort_by(|(one, _), (other, _)| one.cmp(other));
    layer
}

/// Whether this is a section without keys, such as a bare `[jobs]`.
fn is_empty_section(key: &str, value: &ValueKind, known: &BTreeMap<String, Setting>) -> bool {
    let section = format!("{key}.");
    matches!(value, ValueKind::Table(table) if table.is_empty())
        && known.keys().any(|known| known.starts_with(&section))
}

/// The known key that looks most like `key`; one that only lacks its section looks most like it.
fn nearest_key<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> String {
    let bare = format!(".{key}");
    let likeness = |known: &&String| {
        if known.ends_with(&bare) {
            return 1000;
        }
        let distance = strsim::damerau_levenshtein(key, known);
        1000 - 1000 * distance / key.len().max(known.len()).max(1)
    };
    known.max_by_key(likeness).cloned().unwrap_or_default()
}

/// The parser's complaint without the line that it quotes.
fn malformed(path: &Path, text: &str, error: &config::ConfigError) -> ConfigError {
    let cause = match error {
        config::ConfigError::FileParse { cause, .. } => cause.downcast_ref::<toml::de::Error>(),
        _ => None,
    };
    let line = cause
        .and_then(|cause| cause.span())
        .and_then(|span| text.get(..span.start))
        .map(|before| format!(" (line {})", before.matches('\n').count() + 1))
        .unwrap_or_default();
    let message = cause.map_or("a number is too large", toml::de::Error::message).to_owned();
    ConfigError::Malformed { path: path.to_path_buf(), line, message }
}
