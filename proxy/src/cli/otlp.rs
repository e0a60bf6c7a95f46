//! Spans to a collector of OpenTelemetry, by OTLP over gRPC.
//!
//! What the standard's environment variables say of headers, time-outs, batches,
//! sampling and the resource holds (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_...`,
//! `OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`).

use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use proxy::spans::TARGET;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::Failure;

/// Certificates, PEM, that a collector's is trusted by besides those of the system.
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// How long the last spans may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What sends spans away.
#[derive(Clone)]
pub(super) struct Spans(SdkTracerProvider);

impl Spans {
    /// Sends to the collector at `endpoint`, an `http` or `https` URL. Must be called
    /// within a runtime, which the connection then lives in.
    ///
    /// # Errors
    /// The URL or the certificates cannot be used.
    pub(super) fn start(endpoint: &str) -> Result<Self, Failure> {
        let mut builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        if endpoint.starts_with("https://") {
            builder = builder.with_tls_config(trust()?);
        }
        let failed = |error| Failure::request(format!("tracing.otlp_endpoint: {error}"));
        let exporter = builder.build().map_err(failed)?;
        let mut resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if std::env::var_os(SERVICE_NAME).is_none() {
            resource = resource.with_service_name("weirgate-proxy");
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build());
        Ok(Self(provider.build()))
    }

    /// What takes the spans out of the program.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("weirgate-proxy"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
    }

    /// Sends what has not been sent.
    pub(super) async fn finish(self) {
        let shut = move || self.0.shutdown_with_timeout(PATIENCE);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(shut).await {
            tracing::warn!(%error, "the last spans are lost");
        }
    }
}

/// The system's roots, and those that the environment names.
fn trust() -> Result<ClientTlsConfig, Failure> {
    let trust = ClientTlsConfig::new().with_enabled_roots();
    let Some(path) = std::env::var_os(CERTIFICATE).filter(|path| !path.is_empty()) else {
        return Ok(trust);
    };
    let path = PathBuf::from(path);
    let read = std::fs::read(&path);
    let pem = read
        .map_err(|error| Failure::request(format!("{CERTIFICATE}: {}: {error}", path.display())))?;
    Ok(trust.ca_certificate(Certificate::from_pem(pem)))
}
