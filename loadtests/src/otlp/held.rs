//! Spans in memory, up to a limit: what doesn't fit is refused as the protocol says, and counted.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::{
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, Span},
};
use prost::Message;

use super::server::{Refused, Server, Sink};

/// A span, with who made it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The process.
    pub resource: Arc<Resource>,
    /// The instrumentation.
    pub scope: Arc<InstrumentationScope>,
    /// The span as it was sent.
    pub span: Span,
}

/// What is held at a time.
#[derive(Debug, Default)]
struct Held {
    spans: Vec<Received>,
    bytes: usize,
    refused: usize,
}

/// A receiver that listens until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    held: Arc<Holding>,
    server: Server,
}

#[derive(Debug)]
struct Holding {
    held: Mutex<Held>,
    limit: usize,
}

impl Receiver {
    /// Listens on a free port of 127.0.0.1 and holds spans of at most `limit` encoded bytes together.
    pub async fn start(limit: usize) -> std::io::Result<Self> {
        let held = Arc::new(Holding { held: Mutex::default(), limit });
        let server = Server::start(([127, 0, 0, 1], 0).into(), Arc::clone(&held) as Arc<dyn Sink>).await?;
        Ok(Self { held, server })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        self.server.endpoint()
    }

    /// Hands out all spans that are held, which makes room, and how many were refused since the last time.
    pub fn take(&self) -> (Vec<Received>, usize) {
        let held = std::mem::take(&mut *self.held.held.lock().unwrap_or_else(PoisonError::into_inner));
        (held.spans, held.refused)
    }
}

#[tonic::async_trait]
impl Sink for Holding {
    async fn take(&self, sent: Vec<ResourceSpans>) -> Refused {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.refused;
        sent.into_iter().for_each(|spans| held.add(spans, self.limit));
        Refused {
            spans: held.refused - before,
            why: format!("the receiver holds at most {} bytes", self.limit),
        }
    }
}

impl Held {
    fn add(&mut self, spans: ResourceSpans, limit: usize) {
        let resource = Arc::new(spans.resource.unwrap_or_default());
        for scoped in spans.scope_spans {
            let scope = Arc::new(scoped.scope.unwrap_or_default());
            for span in scoped.spans {
                let size = span.encoded_len();
                if self.bytes + size > limit {
                    self.refused += 1;
                    continue;
                }
                self.bytes += size;
                self.spans.push(Received { resource: resource.clone(), scope: scope.clone(), span });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;

    fn export(names: &[&str]) -> ExportTraceServiceRequest {
        let spans = names.iter().map(|name| Span { name: (*name).into(), ..Span::default() }).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        }
    }

    #[tokio::test]
    async fn spans_are_held_up_to_the_limit_and_the_sender_is_told_of_the_rest() {
        let size = Span { name: "abc".into(), ..Span::default() }.encoded_len();
        let receiver = Receiver::start(2 * size).await.unwrap();
        let mut client = TraceServiceClient::connect(receiver.endpoint().to_owned()).await.unwrap();
        let reply = client.export(export(&["one", "two", "six"])).await.unwrap().into_inner();
        assert_eq!(reply.partial_success.map(|part| part.rejected_spans), Some(1));
        let (spans, refused) = receiver.take();
        let names: Vec<_> = spans.iter().map(|received| received.span.name.as_str()).collect();
        assert_eq!((names, refused), (vec!["one", "two"], 1));
        let reply = client.export(export(&["ten"])).await.unwrap().into_inner();
        assert_eq!(reply.partial_success, None, "there is room again");
        assert_eq!(receiver.take().0.len(), 1);
    }
}
