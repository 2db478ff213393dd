//! Spans into a file as the OpenTelemetry Collector's file exporter writes it: OTLP/JSON, a batch a line.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, anyhow};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::server::{Refused, Server, Sink};

/// Batches that wait for the disk; the next sender waits with them.
const WAITING: usize = 8;
/// Fast: what is written is read once or twice.
const LEVEL: i32 = 1;
/// The ending of a file that is compressed.
const ZSTD: &str = "zst";

/// A receiver whose spans go to a file, until it is closed.
#[derive(Debug)]
pub struct Recorder {
    server: Server,
    sink: Arc<ToFile>,
    writing: JoinHandle<anyhow::Result<()>>,
}

#[derive(Debug)]
struct ToFile {
    batches: mpsc::Sender<Vec<ResourceSpans>>,
    spans: AtomicU64,
}

#[tonic::async_trait]
impl Sink for ToFile {
    async fn take(&self, sent: Vec<ResourceSpans>) -> Refused {
        let spans = count(&sent);
        if self.batches.send(sent).await.is_err() {
            return Refused { spans, why: "the file can't be written".into() };
        }
        self.spans.fetch_add(spans as u64, Ordering::Relaxed);
        Refused::default()
    }
}

fn count(sent: &[ResourceSpans]) -> usize {
    sent.iter().flat_map(|sent| &sent.scope_spans).map(|scope| scope.spans.len()).sum()
}

impl Recorder {
    /// Listens on `address` (port 0: a free one) and writes to `path`, compressed where its ending is `zst`.
    pub async fn start(address: SocketAddr, path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("{} can't be written", path.display()))?;
        let (batches, waiting) = mpsc::channel(WAITING);
        let sink = Arc::new(ToFile { batches, spans: AtomicU64::new(0) });
        let server = Server::start(address, Arc::clone(&sink) as Arc<dyn Sink>);
        let server = server.await.with_context(|| format!("can't listen on {address}"))?;
        let path = path.to_owned();
        let writing = tokio::task::spawn_blocking(move || write(file, &path, waiting));
        Ok(Self { server, sink, writing })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        self.server.endpoint()
    }

    /// Spans so far.
    pub fn spans(&self) -> u64 {
        self.sink.spans.load(Ordering::Relaxed)
    }

    /// Returns when nothing more can be written, with why.
    pub async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.writing).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => anyhow!("what writes the spans has ended"),
        }
    }

    /// Stops listening and ends the file; how many spans are in it.
    pub async fn close(self) -> anyhow::Result<u64> {
        let Self { server, sink, writing } = self;
        server.stop().await;
        let spans = sink.spans.load(Ordering::Relaxed);
        // The last sender is gone: the writer ends.
        drop(sink);
        writing.await.context("what writes the spans panicked")??;
        Ok(spans)
    }
}

fn write(file: File, path: &Path, mut waiting: mpsc::Receiver<Vec<ResourceSpans>>) -> anyhow::Result<()> {
    let named = || format!("{} can't be written", path.display());
    let plain = BufWriter::new(file);
    if path.extension().is_some_and(|ending| ending == ZSTD) {
        let mut encoder = zstd::Encoder::new(plain, LEVEL).with_context(named)?;
        lines(&mut encoder, &mut waiting).with_context(named)?;
        encoder.finish().and_then(|mut file| file.flush()).with_context(named)
    } else {
        let mut plain = plain;
        lines(&mut plain, &mut waiting).and_then(|()| Ok(plain.flush()?)).with_context(named)
    }
}

fn lines(file: &mut impl Write, waiting: &mut mpsc::Receiver<Vec<ResourceSpans>>) -> anyhow::Result<()> {
    while let Some(batch) = waiting.blocking_recv() {
        serde_json::to_writer(&mut *file, &ExportTraceServiceRequest { resource_spans: batch })?;
        file.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::{Spill, files};
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};

    fn request(trace: u8) -> ExportTraceServiceRequest {
        let span = Span { trace_id: vec![trace; 16], span_id: vec![trace; 8], ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span; 3], ..ScopeSpans::default() }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        }
    }

    #[tokio::test]
    async fn what_is_acknowledged_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.jsonl", "a.jsonl.zst"] {
            let path = folder.path().join(name);
            let recorder = Recorder::start(([127, 0, 0, 1], 0).into(), &path).await.unwrap();
            let mut client = TraceServiceClient::connect(recorder.endpoint().to_owned()).await.unwrap();
            // More than may wait for the disk.
            for trace in 1..=2 * WAITING as u8 {
                client.export(request(trace)).await.unwrap();
            }
            assert_eq!(recorder.close().await.unwrap(), 6 * WAITING as u64);
            let read = Spill::read(&files(&path).unwrap(), &mut |_| {}).unwrap();
            assert_eq!((read.spans, read.troubles.list()), (6 * WAITING as u64, vec![]), "{name}");
        }
    }

    #[tokio::test]
    async fn a_disk_that_is_full_is_told_while_it_listens() {
        let mut recorder = Recorder::start(([127, 0, 0, 1], 0).into(), Path::new("/dev/full")).await.unwrap();
        let mut client = TraceServiceClient::connect(recorder.endpoint().to_owned()).await.unwrap();
        // Until the buffer has to be written.
        let sending = tokio::spawn(async move {
            while client.export(request(1)).await.unwrap().into_inner().partial_success.is_none() {}
        });
        let error = format!("{:#}", recorder.failed().await);
        assert!(error.starts_with("/dev/full can't be written: No space left"), "{error}");
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_had_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = ([127, 0, 0, 1], 0).into();
        let error = Recorder::start(at, &folder.path().join("no/such")).await.unwrap_err();
        assert!(format!("{error:#}").contains("no/such can't be written"), "{error:#}");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let error = Recorder::start(at, &folder.path().join("a")).await.unwrap_err();
        assert!(format!("{error:#}").contains(&format!("can't listen on {at}")), "{error:#}");
    }
}
