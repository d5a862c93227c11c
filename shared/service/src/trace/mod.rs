//! Traces: one from a request through all layers, exported by OTLP where an endpoint is set.
//!
//! A request's place in its trace travels in the header `traceparent` of each record that is made of it, and
//! every layer passes the header on as it came, so that outputs stay the same bytes at every attempt. Without
//! an endpoint nothing else happens, and a record without the header costs one comparison.

pub mod http;
mod parent;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::Context;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample,
};

pub use parent::{HEADER, TraceParent};

use crate::config::TraceSettings;

/// Path of traces below an OTLP endpoint.
///
/// **Source**: OpenTelemetry Protocol Exporter, endpoint URLs for OTLP/HTTP.
const TRACES_PATH: &str = "/v1/traces";

/// A stopping service gives the collector this long for the last spans.
const LAST_SPANS_WITHIN: Duration = Duration::from_secs(2);

/// A collector that takes longer for some spans loses them; as long as the exporter's own client waits.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);

/// Makes spans; not set when traces are off.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// What makes spans; none when traces are off.
pub fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// Exports spans until it is stopped.
pub struct Exporting(SdkTracerProvider);

impl Exporting {
    /// Sends what is left. Call outside of the runtime.
    pub fn stop(self) {
        if let Err(e) = self.0.shutdown_with_timeout(LAST_SPANS_WITHIN) {
            tracing::warn!(error = %e, "the last spans were not exported");
        }
    }
}

/// Starts the export where an endpoint is set. Call once, before the runtime.
///
/// **Source**: the SDK also reads `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_BSP_*`.
pub fn start(settings: &TraceSettings, service: &'static str) -> anyhow::Result<Option<Exporting>> {
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    let mut exporter = SpanExporter::builder().with_http();
    if let Some(ca) = &settings.ca {
        exporter =
            exporter.with_http_client(client(ca).context("OTEL_EXPORTER_OTLP_CERTIFICATE cannot be used")?);
    }
    let exporter = exporter
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/')))
        .build()
        .context("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used")?;
    let provider = SdkTracerProvider::builder()
        .with_sampler(LinkedSampler(Sampler::TraceIdRatioBased(settings.ratio)))
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_batch_exporter(exporter)
        .build();
    drop(TRACER.set(provider.tracer("strata")));
    Ok(Some(Exporting(provider)))
}

/// A client that trusts the CAs of a file and no others.
fn client(ca: &Path) -> anyhow::Result<reqwest::blocking::Client> {
    let trusted = reqwest::Certificate::from_pem_bundle(&fs::read(ca)?)?;
    Ok(reqwest::blocking::Client::builder().timeout(EXPORT_WITHIN).tls_certs_only(trusted).build()?)
}

/// Follows the parent's decision; a span without a parent is sampled when it links to one that is, else by
/// its ratio.
#[derive(Debug, Clone)]
struct LinkedSampler(Sampler);

impl ShouldSample for LinkedSampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[opentelemetry::KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent = parent_context.map(|context| context.span().span_context().clone());
        let parent = parent.filter(|parent| parent.is_valid());
        let decision = match &parent {
            Some(parent) if parent.is_sampled() => SamplingDecision::RecordAndSample,
            Some(_) => SamplingDecision::Drop,
            None if links.iter().any(|link| link.span_context.is_sampled()) => {
                SamplingDecision::RecordAndSample
            }
            None => {
                return self.0.should_sample(parent_context, trace_id, name, span_kind, attributes, links);
            }
        };
        let trace_state = parent.map(|parent| parent.trace_state().clone()).unwrap_or_default();
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_collector_behind_https_must_be_signed_by_the_given_ca() {
        // GIVEN a server that shows a certificate of a CA of our own
        crate::tls::install();
        let directory = tempfile::tempdir().expect("a directory");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/certificates.sh");
        let made = Command::new(script).arg(directory.path()).status().expect("the script runs");
        assert!(made.success(), "no certificates");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let mut server = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-cert", "server.pem", "-key", "server.key", "-accept"])
            .arg(format!("127.0.0.1:{port}"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let url = format!("https://localhost:{port}/");
        // To the end of the answer: this server has one connection at a time.
        let ask = |ca: &str| {
            let answer = client(&directory.path().join(ca)).expect("a client").get(&url).send()?;
            let status = answer.status();
            answer.bytes().map(|_| status)
        };
        // WHEN it is asked by clients of that CA, until it listens, and of another
        let deadline = Instant::now() + Duration::from_secs(10);
        let answer = loop {
            match ask("ca.pem") {
                Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(50)),
                outcome => break outcome,
            }
        };
        let refused = ask("other-ca.pem");
        drop((server.kill(), server.wait()));
        // THEN only the first trusts it
        assert_eq!(answer.expect("an answer"), 200);
        let why = format!("{:?}", refused.expect_err("another CA"));
        assert!(why.contains("UnknownIssuer"), "{why}");
    }
}
