//! Logs, traces, metrics, and what one request carries down; the names of all spans stand in [`spans`], of all metrics in
//! [`Metrics`]. Telemetry never blocks or fails a request: a full queue drops.

mod drops;
mod log;
mod runtime;

use std::sync::Arc;

use self::drops::Drops;
use crate::domain::webhook::Target;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, MeterProvider as _, UpDownCounter},
    trace::{
        SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
    },
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider, trace::SdkTracerProvider};
use time::{OffsetDateTime, macros::format_description};
use tokio::time::Instant;
use tracing::{Span, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The instrumentation scope of spans and metrics.
const SCOPE: &str = "payments";
/// A process has one way out for its spans.
static DROPS: Drops = Drops::new();
/// The resource's `service.name`.
const SERVICE: &str = "payments-rust";

/// What one request, or one recovered operation, carries down.
#[derive(Clone)]
pub struct Call {
    /// After this nobody waits for it any more.
    pub deadline: Instant,
    /// The parent of the spans below.
    pub span: Span,
    /// The trace it belongs to, also where nothing is exported.
    pub trace: Trace,
}

impl Call {
    /// The same trace with another deadline.
    pub fn until(&self, deadline: Instant) -> Self {
        Self { deadline, span: self.span.clone(), trace: self.trace }
    }

    /// Whether nobody waits any more.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// A W3C trace context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trace {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl Trace {
    /// The context of a `traceparent`; none where it isn't a valid one.
    pub fn parse(header: &str) -> Option<Self> {
        let (version, rest) = header.split_at_checked(2)?;
        let rest = rest.strip_prefix('-')?;
        let lower = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let (trace_id, rest) = rest.split_at_checked(32)?;
        let (span_id, rest) = rest.strip_prefix('-')?.split_at_checked(16)?;
        let (flags, rest) = rest.strip_prefix('-')?.split_at_checked(2)?;
        let known = version == "00" && rest.is_empty();
        let newer = version != "ff" && version != "00" && (rest.is_empty() || rest.starts_with('-'));
        if !(known || newer) || ![version, trace_id, span_id, flags].into_iter().all(lower) {
            return None;
        }
        let trace = Self {
            trace_id: u128::from_str_radix(trace_id, 16).ok()?,
            span_id: u64::from_str_radix(span_id, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()? & 1,
        };
        (trace.trace_id != 0 && trace.span_id != 0).then_some(trace)
    }

    /// A new one that nobody samples.
    fn fresh() -> Self {
        Self { trace_id: rand::random::<u128>() | 1, span_id: rand::random::<u64>() | 1, flags: 0 }
    }

    /// As a `traceparent`.
    pub fn header(self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }

    /// The trace's id as logs show it.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span's id as logs show it.
    pub fn span_id(self) -> String {
        format!("{:016x}", self.span_id)
    }

    fn of(span: &Span) -> Self {
        let context = span.context();
        let context = context.span().span_context().clone();
        Self {
            trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(context.span_id().to_bytes()),
            flags: context.trace_flags().to_u8(),
        }
    }

    fn remote(self) -> SpanContext {
        let (trace, span) = (
            TraceId::from_bytes(self.trace_id.to_be_bytes()),
            SpanId::from_bytes(self.span_id.to_be_bytes()),
        );
        SpanContext::new(trace, span, TraceFlags::new(self.flags), true, TraceState::NONE)
    }
}

/// All spans. The layer that exports takes these and nothing else; where nothing is exported they cost nothing.
pub mod spans {
    use tracing::{field::Empty, info_span};

    use super::*;

    /// Joins `span` to the caller's trace, if it has one, and tells which trace that is.
    pub fn join(span: &Span, traceparent: Option<&str>) -> Trace {
        let remote = traceparent.and_then(Trace::parse);
        if span.is_disabled() {
            return remote.unwrap_or_else(Trace::fresh);
        }
        if let Some(remote) = remote {
            // It can only fail on a span that has begun, and this one hasn't.
            let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote.remote()));
        }
        Trace::of(span)
    }

    /// A request at the HTTP door; an unknown route has no name, and neither has an invented method.
    pub fn http(method: &str, route: Option<&str>) -> Span {
        let name = if method == OTHER_METHOD { "HTTP" } else { method };
        let span = info_span!(parent: None, "http", otel.name = Empty, otel.kind = "server",
            otel.status_code = Empty, http.request.method = method, http.route = Empty,
            http.response.status_code = Empty, error.type = Empty, twinpay.reason = Empty);
        match route {
            _ if span.is_disabled() => {}
            Some(route) => {
                span.record("otel.name", format!("{name} {route}"));
                span.record("http.route", route);
            }
            None => {
                span.record("otel.name", name);
            }
        }
        span
    }

    /// A request at the gRPC door.
    pub fn grpc(method: &str) -> Span {
        info_span!(parent: None, "grpc", otel.name = method, otel.kind = "server", otel.status_code = Empty,
            rpc.system.name = "grpc", rpc.method = method, rpc.response.status_code = Empty,
            error.type = Empty, twinpay.reason = Empty)
    }

    /// One statement.
    pub fn database(call: &Call, statement: &'static str) -> Span {
        info_span!(parent: &call.span, "database", otel.name = statement, otel.kind = "client",
            otel.status_code = Empty, db.system.name = "postgresql", db.query.summary = statement,
            twinpay.db_wait_ms = Empty, error.type = Empty)
    }

    /// One call of the card network, and the context to hand to it.
    pub fn acquirer(call: &Call, method: &'static str) -> (Span, Trace) {
        let span = info_span!(parent: &call.span, "acquirer", otel.name = method, otel.kind = "client",
            otel.status_code = Empty, rpc.system.name = "grpc", rpc.method = method,
            rpc.response.status_code = Empty, error.type = Empty);
        let trace = if span.is_disabled() { call.trace } else { Trace::of(&span) };
        (span, trace)
    }

    /// One hash; begins when its wait is over.
    pub fn hash(parent: &Span, wait_ms: f64) -> Span {
        info_span!(parent: parent, "hash", otel.name = "hash_pool.run", otel.kind = "internal",
            otel.status_code = Empty, twinpay.wait_ms = wait_ms, error.type = Empty)
    }

    /// One recovered operation, linked to the trace of the request that claimed it. The trace is its own also where nothing is
    /// exported: a card network that decides by the trace's id would decide the same at each ask.
    pub fn settle(kind: &str, traceparent: Option<&str>) -> (Span, Trace) {
        let span = info_span!(parent: None, "settle", otel.name = "recovery.settle", otel.kind = "internal",
            otel.status_code = Empty, twinpay.operation = kind, error.type = Empty);
        if span.is_disabled() {
            return (span, Trace::fresh());
        }
        if let Some(claimed) = traceparent.and_then(Trace::parse) {
            span.add_link(claimed.remote());
        }
        let trace = Trace::of(&span);
        (span, trace)
    }

    /// One attempt at a webhook, linked to the trace of the request that its event comes from.
    pub fn webhook(target: &Target<'_>, number: i16, traceparent: Option<&str>) -> Span {
        let span = info_span!(parent: None, "webhook", otel.name = "webhook.deliver", otel.kind = "client",
            otel.status_code = Empty, http.request.method = "POST", url.full = target.shown,
            server.address = target.host, server.port = i64::from(target.port),
            http.response.status_code = Empty, twinpay.attempt = i64::from(number), error.type = Empty);
        if let Some(event) = traceparent.and_then(Trace::parse)
            && !span.is_disabled()
        {
            span.add_link(event.remote());
        }
        span
    }

    /// A trace for what belongs to none.
    pub fn nowhere() -> Trace {
        Trace::fresh()
    }

    /// Ends a span now, though work that nobody waits for still hangs below it.
    pub fn end(span: &Span) {
        if !span.is_disabled() {
            span.context().span().end();
        }
    }

    /// Marks a span as failed.
    pub fn fail(span: &Span, error: &str) {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", error);
    }
}

/// Any method that isn't a known one: clients could make up names for ever.
pub const OTHER_METHOD: &str = "_OTHER";

/// The target of the spans below.
const SPANS: &str = concat!(module_path!(), "::spans");

/// Buckets of all durations, in seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All metrics, and the registry that `/metrics` reads.
pub struct Metrics {
    /// What Prometheus is told.
    pub registry: prometheus::Registry,
    /// Keeps the instruments alive, and makes those that are observed.
    pub provider: SdkMeterProvider,
    /// Seconds of a request at the HTTP door.
    pub http_duration: Histogram<f64>,
    /// Seconds of a request at the gRPC door.
    pub rpc_duration: Histogram<f64>,
    /// Seconds of a statement, without the wait for its connection.
    pub db_duration: Histogram<f64>,
    /// Seconds that a statement waited for its connection.
    pub db_wait: Histogram<f64>,
    /// Seconds that a hash waited.
    pub hash_wait: Histogram<f64>,
    /// Seconds that a hash ran.
    pub hash_run: Histogram<f64>,
    /// Hashes that wait now.
    pub hash_queue: UpDownCounter<i64>,
    /// Requests that were shed, by reason.
    pub rejected: Counter<u64>,
    /// Operations of this process between their claim and their record.
    pub pending: UpDownCounter<i64>,
    /// Seconds that the oldest event of the last batch waited for its publication.
    pub outbox_lag: Gauge<f64>,
    /// Attempts at webhooks, by outcome.
    pub webhook_attempts: Counter<u64>,
}

impl Metrics {
    /// One set a process (in tests: a service).
    pub fn new() -> Result<Arc<Self>, Box<dyn std::error::Error + Send + Sync>> {
        let registry = prometheus::Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource()).build();
        let meter = provider.meter(SCOPE);
        let _instrument = meter
            .u64_observable_counter("twinpay.telemetry.dropped_spans")
            .with_description("Spans that were dropped: the queue was full, or the export failed.")
            .with_callback(|counter| counter.observe(DROPS.dropped(), &[]))
            .build();
        runtime::observe(&meter);
        let seconds = |name, about| {
            let histogram = meter.f64_histogram(name).with_description(about).with_unit("s");
            histogram.with_boundaries(BUCKETS.to_vec()).build()
        };
        let level = |name, about| meter.i64_up_down_counter(name).with_description(about).build();
        let statements = "Duration of statements, without the wait for a connection.";
        let pending = "Operations that this process has claimed or leased and not yet settled.";
        let rejected = meter.u64_counter("twinpay.admission.rejected");
        let attempts = meter.u64_counter("twinpay.webhook.attempts");
        Ok(Arc::new(Self {
            registry,
            http_duration: seconds("http.server.request.duration", "Duration of HTTP requests."),
            rpc_duration: seconds("rpc.server.call.duration", "Duration of gRPC calls."),
            db_duration: seconds("db.client.operation.duration", statements),
            db_wait: seconds("twinpay.db_pool.wait", "How long statements waited for a connection."),
            hash_wait: seconds("twinpay.hash_pool.wait.duration", "How long hashes waited for a permit."),
            hash_run: seconds("twinpay.hash_pool.run.duration", "How long hashes ran."),
            hash_queue: level("twinpay.hash_pool.queue", "Hashes that wait for a permit."),
            rejected: rejected.with_description("Requests that were shed, by what was full.").build(),
            pending: level("twinpay.operations.pending", pending),
            outbox_lag: meter
                .f64_gauge("twinpay.outbox.lag")
                .with_description("How long the oldest event of the last batch waited for its publication.")
                .with_unit("s")
                .build(),
            webhook_attempts: attempts
                .with_description("Attempts to deliver a webhook, by what came of them.")
                .build(),
            provider,
        }))
    }

    /// Counts connections in use when somebody looks.
    pub fn watch_pool(&self, pool: &'static str, in_use: impl Fn() -> u64 + Send + Sync + 'static) {
        let _instrument = self
            .provider
            .meter(SCOPE)
            .u64_observable_gauge("twinpay.db_pool.in_use")
            .with_description("Connections that are taken out of the pool.")
            .with_callback(move |gauge| gauge.observe(in_use(), &[KeyValue::new("pool", pool)]))
            .build();
    }
}

fn resource() -> Resource {
    Resource::builder().with_service_name(SERVICE).build()
}

/// Sends logs to stdout and, where there is an endpoint, spans to it. Call once, inside of the runtime. What is returned flushes.
pub fn install(
    level: LevelFilter,
    endpoint: Option<&str>,
) -> Result<Option<SdkTracerProvider>, Box<dyn std::error::Error + Send + Sync>> {
    let provider = match endpoint {
        None => None,
        Some(endpoint) => {
            let exporter =
                opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
            let batches = DROPS.batches(exporter);
            Some(SdkTracerProvider::builder().with_span_processor(batches).with_resource(resource()).build())
        }
    };
    let export = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(SCOPE))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_error_events_to_status(false)
            .with_error_events_to_exceptions(false)
            .with_error_records_to_exceptions(false)
            .with_context_activation(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == SPANS))
    });
    // Not an optional layer: an absent one is taken for one that wants every span.
    let registry = tracing_subscriber::registry().with(log::layer(level));
    #[cfg(feature = "console")]
    let registry = registry.with(console_subscriber::spawn());
    match export {
        Some(export) => registry.with(export).try_init()?,
        None => registry.try_init()?,
    }
    Ok(provider)
}

/// RFC 3339 in UTC with six fraction digits.
pub fn rfc3339(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    at.format(format).unwrap_or_default()
}

/// What a panic said, as the cause of an internal error.
pub fn panicked(payload: &(dyn std::any::Any + Send)) -> Box<dyn std::error::Error + Send + Sync> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", text.unwrap_or("without a text")).into()
}

/// An error and all that lies behind it, in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_read_as_w3c_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(Trace::parse(good).unwrap().header(), good);
        assert!(Trace::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-é",
        ] {
            assert_eq!(Trace::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_recovered_operation_has_a_trace_of_its_own_though_nothing_is_exported() {
        let claimed = Trace::fresh();
        let (span, trace) = spans::settle("sale", Some(&claimed.header()));
        assert!(span.is_disabled() && trace.trace_id != 0 && trace.trace_id != claimed.trace_id, "{trace:?}");
    }
}
