//! Traces, for who asks for them: spans are sent in batches, by OTLP over HTTP (protobuf), to one
//! address. What cannot be sent is dropped; nothing waits for it.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use serde::Deserialize;
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Longest time of one batch.
const LONGEST: Duration = Duration::from_secs(10);
/// Where OTLP takes traces, below an address that says nothing else.
const PATH: &str = "/v1/traces";

/// What sends, to be flushed at the end.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// `[telemetry]`: where traces go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// `http://host:4318`, or the whole address; empty for no traces.
    pub otlp_endpoint: String,
}

/// What makes spans into traces that are sent; `None` without an address.
///
/// # Errors
/// The address is none, or the host's TLS cannot be set up.
pub(super) fn tracer(settings: &TelemetrySettings) -> Result<Option<SdkTracer>, super::InitError> {
    if settings.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address(&settings.otlp_endpoint))
        .with_timeout(LONGEST)
        .build()
        .map_err(|error| super::InitError::Traces(error.to_string()))?;
    let exporter = OnRuntime { exporter: Arc::new(exporter), runtime: Handle::current() };
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name("payoutd").with_attribute(version);
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build();
    let tracer = provider.tracer("payoutd");
    let _ = PROVIDER.set(provider);
    Ok(Some(tracer))
}

fn address(endpoint: &str) -> String {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    match host.trim_end_matches('/').contains('/') {
        true => endpoint.to_owned(),
        false => format!("{}{PATH}", endpoint.trim_end_matches('/')),
    }
}

/// Sends what has not been sent yet: at the end of the process, outside of its runtime.
pub fn flush() {
    if let Some(provider) = PROVIDER.get()
        && let Err(cause) = provider.shutdown_with_timeout(LONGEST)
    {
        tracing::warn!(event = "traces.not_sent", %cause);
    }
}

/// The id of the trace that a span belongs to, in 32 hex digits; `None` where no traces are sent.
pub fn trace_id(span: &Span) -> Option<String> {
    PROVIDER.get()?;
    let context: Context = span.context();
    let id = context.span().span_context().clone();
    id.is_valid().then(|| id.trace_id().to_string())
}

/// An exporter whose calls are made on our runtime: batches are put together on a thread of their
/// own, where no HTTP client of ours works.
struct OnRuntime {
    exporter: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: Handle,
}

impl fmt::Debug for OnRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnRuntime").finish_non_exhaustive()
    }
}

impl SpanExporter for OnRuntime {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let exporter = Arc::clone(&self.exporter);
        let sent = self.runtime.spawn(async move { exporter.export(batch).await });
        async move {
            let sent = sent.await;
            sent.unwrap_or_else(|gone| Err(OTelSdkError::InternalFailure(gone.to_string())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_is_completed() {
        assert_eq!(address("http://127.0.0.1:4318"), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(address("http://127.0.0.1:4318/"), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(address("https://otel.example.com/x/y"), "https://otel.example.com/x/y");
    }
}
