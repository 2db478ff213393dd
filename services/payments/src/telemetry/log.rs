//! Log lines: one JSON object each, on stdout.

use std::io::Write as _;

use time::OffsetDateTime;
use tracing::{
    Event, Level, Metadata, Subscriber, field::Field, level_filters::LevelFilter, subscriber::Interest,
};
use tracing_subscriber::{Layer, filter::dynamic_filter_fn, layer::Context, registry::LookupSpan};

use super::{SCOPE, rfc3339};

/// Our own events from `level` on, the libraries' from warnings on.
pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(level: LevelFilter) -> impl Layer<S> {
    let logged = move |metadata: &Metadata<'_>| {
        let ours = metadata.target().starts_with(SCOPE);
        metadata.is_event() && *metadata.level() <= if ours { level } else { level.min(LevelFilter::WARN) }
    };
    // Asked for each event: if it were known beforehand, tracing-subscriber would take a refusal for the event's that met a span before it
    // on the same thread, while another thread was registering that span.
    let asked = move |metadata: &'static Metadata<'static>| {
        if logged(metadata) { Interest::sometimes() } else { Interest::never() }
    };
    JsonLog.with_filter(dynamic_filter_fn(move |metadata, _| logged(metadata)).with_callsite_filter(asked))
}

/// One JSON object a line on stdout.
struct JsonLog;

impl<S: Subscriber> Layer<S> for JsonLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let mut line =
            Line(vec![("timestamp", rfc3339(OffsetDateTime::now_utc()).into()), ("level", level.into())]);
        event.record(&mut line);
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        // A closed stdout is no reason to stop.
        let _ = std::io::stdout().lock().write_all(&bytes);
    }
}

/// Fields in the order in which they were recorded.
struct Line(Vec<(&'static str, serde_json::Value)>);

impl serde::Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl tracing::field::Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.into()));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), value.into()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), value.into()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.into()));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}").into()));
    }
}
