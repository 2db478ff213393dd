//! Counts the spans that are dropped, which the SDK tells nobody: what comes when its queue is full, and what can't be exported.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};

/// Spans that wait for their export at most; the same as the SDK's own limit, which is thus never met.
const MAX_WAITING: usize = 2048;

/// What waits, and what was dropped.
#[derive(Debug)]
pub(super) struct Drops {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

impl Drops {
    pub(super) const fn new() -> Self {
        Self { waiting: AtomicUsize::new(0), dropped: AtomicU64::new(0) }
    }

    /// Since the process began.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The SDK's batches over `exporter`, counted here.
    pub(super) fn batches(&'static self, exporter: impl SpanExporter + 'static) -> impl SpanProcessor {
        let config = BatchConfigBuilder::default().with_max_queue_size(MAX_WAITING).build();
        let exporter = Exporter { drops: self, inner: exporter };
        Queue { drops: self, inner: BatchSpanProcessor::builder(exporter).with_batch_config(config).build() }
    }
}

#[derive(Debug)]
struct Queue<P> {
    drops: &'static Drops,
    inner: P,
}

impl<P: SpanProcessor> SpanProcessor for Queue<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let place = |waiting| (waiting < MAX_WAITING).then_some(waiting + 1);
        match self.drops.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place) {
            Ok(_) => self.inner.on_end(span),
            Err(_) => _ = self.drops.dropped.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[derive(Debug)]
struct Exporter<E> {
    drops: &'static Drops,
    inner: E,
}

impl<E: SpanExporter> SpanExporter for Exporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.drops.waiting.fetch_sub(spans, Ordering::Relaxed);
        let result = self.inner.export(batch).await;
        if result.is_err() {
            self.drops.dropped.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::{error::OTelSdkError, trace::SdkTracerProvider};
    use std::sync::{Arc, Mutex};

    /// Fails while somebody else holds the lock, which it waits for.
    #[derive(Debug)]
    struct Collector(Arc<Mutex<bool>>);

    impl SpanExporter for Collector {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            let works = *self.0.lock().unwrap();
            if works { Ok(()) } else { Err(OTelSdkError::InternalFailure("on purpose".into())) }
        }
    }

    #[test]
    fn what_finds_no_place_or_no_collector_is_counted() {
        let drops: &'static Drops = Box::leak(Box::new(Drops::new()));
        let works = Arc::new(Mutex::new(true));
        let processor = drops.batches(Collector(works.clone()));
        let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
        let tracer = provider.tracer("test");
        let end = |spans| (0..spans).for_each(|_| tracer.start("a span").end());
        end(3);
        provider.force_flush().unwrap();
        assert_eq!(drops.dropped(), 0);

        let mut stuck = works.lock().unwrap();
        // At most one batch of 512 is with the collector, and left its places.
        end(MAX_WAITING + 512 + 7);
        let full = drops.dropped();
        assert!(full >= 7, "{full}");
        *stuck = false;
        drop(stuck);
        // An error only if something is left by then.
        let _ = provider.force_flush();
        assert_eq!(drops.dropped(), u64::try_from(MAX_WAITING + 512 + 7).unwrap(), "none of them got out");
        *works.lock().unwrap() = true;
        end(3);
        provider.force_flush().unwrap();
        assert_eq!(drops.dropped(), u64::try_from(MAX_WAITING + 512 + 7).unwrap(), "there is room again");
    }
}
