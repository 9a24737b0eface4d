//! Logs, to stderr: for eyes, or one JSON object a line.
//!
//! A line's name is its field `event` (`job.run.started`); what belongs to it are fields beside
//! it. Spans are not printed: every line carries its own fields, so that each can be read alone.

mod traces;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;
use tracing::field::{Field, Visit};
use tracing::subscriber::{SetGlobalDefaultError, set_global_default};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

pub use traces::{TelemetrySettings, flush, trace_id};

/// The field whose value is sums per currency, as JSON.
const AMOUNTS: &str = "amounts";

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For eyes; in colour on a terminal.
    Text,
    /// One object a line: `ts`, `level`, `event`, `target`, then the other fields.
    Json,
}

/// The least important lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Why a process has no log.
#[derive(Debug, Error)]
pub enum InitError {
    #[error("there is a log already")]
    Twice(#[from] SetGlobalDefaultError),
    #[error("[telemetry] otlp_endpoint cannot be used: {0}")]
    Traces(String),
}

/// Starts the log of this process, and its traces where they are asked for.
///
/// # Errors
/// [`InitError`].
pub fn init(
    format: LogFormat,
    level: LogLevel,
    telemetry: &TelemetrySettings,
) -> Result<(), InitError> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Json => lines.event_format(JsonLines).boxed(),
        LogFormat::Text if std::io::stderr().is_terminal() => lines.boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    let ours = Targets::new().with_target("payoutd", LevelFilter::INFO);
    let traces = traces::tracer(telemetry)?;
    let traces =
        traces.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours));
    let registry = Registry::default().with(lines.with_filter(targets(level)));
    Ok(set_global_default(registry.with(traces))?)
}

/// Our own lines down to `level`, of the dependencies no more than warnings: at `debug` they
/// would print what they send, and what we send are people's addresses.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("payoutd", level)
}

/// Writes an event as one flat JSON object.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut ts = String::new();
        SystemTime.format_time(&mut Writer::new(&mut ts))?;
        let metadata = event.metadata();
        let mut line = Line(vec![
            ("ts".into(), ts.into()),
            ("level".into(), metadata.level().as_str().to_lowercase().into()),
            ("event".into(), Value::Null),
            ("target".into(), metadata.target().into()),
        ]);
        event.record(&mut line);
        // A dependency's line has no name of this kind.
        line.0.retain(|(_, value)| !value.is_null());
        let json = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{json}")
    }
}

/// The members of the object, in their order.
struct Line(Vec<(Cow<'static, str>, Value)>);

impl Line {
    /// A field called like one of ours (`event`) takes its place; no name stands twice.
    fn set(&mut self, field: &Field, value: Value) {
        let name = field.name();
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.into(), value)),
        }
    }

    /// Sums per currency (`{"USD":"1.00"}`) as one field each (`amount.USD`): which currencies
    /// there are is not known when the line's fields are fixed.
    fn set_amounts(&mut self, amounts: BTreeMap<String, Value>) {
        let field = |(currency, sum)| (format!("amount.{currency}").into(), sum);
        self.0.extend(amounts.into_iter().map(field));
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match serde_json::from_str(value) {
            Ok(amounts) if field.name() == AMOUNTS => self.set_amounts(amounts),
            _ => self.set(field, value.into()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics while it writes").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The JSON lines that `work` logs at `level`.
    fn lines(level: LogLevel, work: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(JsonLines)
            .with_filter(targets(level));
        with_default(Registry::default().with(layer), work);
        let bytes = written.0.lock().expect("no test panics while it writes").clone();
        String::from_utf8(bytes).expect("JSON is text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_one_flat_object_that_begins_with_ts_level_event_and_target() {
        let lines = lines(LogLevel::Info, || {
            let state = "succeeded";
            tracing::info!(event = "job.run.finished", counts.seen = 3, dry_run = false, %state);
        });
        let [line] = lines.as_slice() else { panic!("one line, not {lines:?}") };
        let (ts, rest) = line.split_once(",\"level\"").expect("level is second");
        assert!(ts.starts_with("{\"ts\":\"20") && ts.ends_with("Z\""), "{ts}");
        assert_eq!(
            rest,
            r#":"info","event":"job.run.finished","target":"payoutd::telemetry::tests","counts.seen":3,"dry_run":false,"state":"succeeded"}"#
        );
    }

    #[test]
    fn amounts_are_one_field_per_currency() {
        let lines = lines(LogLevel::Info, || {
            tracing::info!(event = "job.run.finished", amounts = r#"{"JPY":"5","USD":"1.00"}"#);
        });
        assert!(lines[0].ends_with(r#""amount.JPY":"5","amount.USD":"1.00"}"#), "{lines:?}");
    }

    #[test]
    fn a_line_feed_in_a_value_does_not_make_a_second_line() {
        let lines = lines(LogLevel::Info, || tracing::warn!(event = "x", note = "a\nb\"c"));
        assert_eq!(lines.len(), 1);
        let line: Value = serde_json::from_str(&lines[0]).expect("the line is JSON");
        assert_eq!(line["note"], "a\nb\"c");
    }

    #[test]
    fn lines_below_the_level_are_left_out() {
        let lines = lines(LogLevel::Warn, || {
            tracing::info!(event = "left out");
            tracing::error!(event = "kept");
        });
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn dependencies_are_heard_from_warnings_up_however_talkative_we_are() {
        let lines = lines(LogLevel::Trace, || {
            tracing::info!(target: "sqlx::query", "left out");
            tracing::warn!(target: "sqlx::query", "kept");
            tracing::trace!(event = "ours");
        });
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("\"message\":\"kept\"") && !lines[0].contains("event"));
    }
}
