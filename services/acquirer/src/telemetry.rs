//! One server span a call, exported by OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` is set; else nothing is done at all.

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status as SpanStatus, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use tonic::Code;

/// The variable that switches spans on.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The exporter, if there is one.
#[derive(Debug, Clone, Default)]
pub struct Telemetry(Option<(SdkTracerProvider, SdkTracer)>);

impl Telemetry {
    /// Reads the environment; must be called on a tokio runtime.
    pub fn from_env() -> Result<Telemetry, String> {
        if std::env::var_os(ENDPOINT).is_none_or(|value| value.is_empty()) {
            return Ok(Telemetry::default());
        }
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .build()
            .map_err(|error| format!("{ENDPOINT} can't be used: {error}"))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(Resource::builder().with_service_name("acquirer").build())
            .build();
        let tracer = provider.tracer("acquirer");
        Ok(Telemetry(Some((provider, tracer))))
    }

    /// Starts the span of a call, below the caller's. `rpc` is `package.Service/Method`.
    pub fn start(&self, rpc: &'static str, headers: &HeaderMap) -> CallSpan {
        let Some((_, tracer)) = &self.0 else { return CallSpan(None) };
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let span = tracer
            .span_builder(rpc)
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", rpc)])
            .start_with_context(tracer, &parent);
        CallSpan(Some(span))
    }

    /// Sends what is still queued. Blocks, so not for a thread that the exporter's connection needs.
    pub fn shutdown(&self) {
        if let Some((provider, _)) = &self.0 {
            // What couldn't be sent is lost; there is nobody left to tell.
            provider.shutdown().ok();
        }
    }
}

/// The span of one call. Where the caller goes away in the middle, it ends as CANCELLED.
#[derive(Debug)]
pub struct CallSpan(Option<Span>);

impl CallSpan {
    /// Ends it with the call's status.
    pub fn end(mut self, code: Code) {
        self.finish(code);
    }

    fn finish(&mut self, code: Code) {
        let Some(mut span) = self.0.take() else { return };
        let name = name(code);
        span.set_attribute(KeyValue::new("rpc.response.status_code", name));
        if is_failure(code) {
            span.set_attribute(KeyValue::new("error.type", name));
            span.set_status(SpanStatus::error(""));
        }
        span.end();
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        self.finish(Code::Cancelled);
    }
}

/// What the conventions call a failure of the server.
fn is_failure(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
