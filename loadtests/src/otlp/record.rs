//! Spans into a file as the OpenTelemetry Collector's file exporter writes it: OTLP/JSON, a batch a line, or several lines where
//! it is long.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, anyhow};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::LONGEST;
use super::lines::{Lined, count, lined};
use super::server::{Refused, Server, Sink};

/// Lines that wait for the disk; the next sender waits with them.
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
    lines: mpsc::Sender<Vec<u8>>,
    spans: AtomicU64,
    /// Of a line.
    longest: usize,
}

#[tonic::async_trait]
impl Sink for ToFile {
    async fn take(&self, sent: Vec<ResourceSpans>) -> Refused {
        let (all, lines, longest) = (count(&sent), self.lines.clone(), self.longest);
        // A long request takes a while to write.
        let lining =
            spawn_blocking(move || lined(sent, longest, &mut |line| lines.blocking_send(line).is_ok()));
        let Lined { taken, long, lost } = lining.await.unwrap_or(Lined { lost: all, ..Lined::default() });
        self.spans.fetch_add(taken as u64, Ordering::Relaxed);
        let why = match lost {
            0 => format!("a span is longer than {longest} bytes in JSON"),
            _ => "the file can't be written".into(),
        };
        Refused { spans: long + lost, why }
    }
}

impl Recorder {
    /// Listens on `address` (port 0: a free one) and writes to `path`, compressed where its ending is `zst`.
    pub async fn start(address: SocketAddr, path: &Path) -> anyhow::Result<Self> {
        Self::started(address, path, LONGEST).await
    }

    async fn started(address: SocketAddr, path: &Path, longest: usize) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("{} can't be written", path.display()))?;
        let (lines, waiting) = mpsc::channel(WAITING);
        let sink = Arc::new(ToFile { lines, spans: AtomicU64::new(0), longest });
        let server = Server::start(address, Arc::clone(&sink) as Arc<dyn Sink>);
        let server = server.await.with_context(|| format!("can't listen on {address}"))?;
        let path = path.to_owned();
        let writing = spawn_blocking(move || write(file, &path, waiting));
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

fn write(file: File, path: &Path, mut waiting: mpsc::Receiver<Vec<u8>>) -> anyhow::Result<()> {
    let named = || format!("{} can't be written", path.display());
    let plain = BufWriter::new(file);
    if path.extension().is_some_and(|ending| ending == ZSTD) {
        let mut encoder = zstd::Encoder::new(plain, LEVEL).with_context(named)?;
        written(&mut encoder, &mut waiting).with_context(named)?;
        encoder.finish().and_then(|mut file| file.flush()).with_context(named)
    } else {
        let mut plain = plain;
        written(&mut plain, &mut waiting).and_then(|()| plain.flush()).with_context(named)
    }
}

fn written(file: &mut impl Write, waiting: &mut mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(line) = waiting.blocking_recv() {
        file.write_all(&line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::{Spill, files};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};

    fn request(trace: u8) -> ExportTraceServiceRequest {
        let span = Span {
            trace_id: vec![trace; 16],
            span_id: vec![trace; 8],
            start_time_unix_nano: 1,
            ..Span::default()
        };
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
    async fn what_is_longer_as_json_than_a_line_may_be_is_several_lines_that_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let recorder = Recorder::started(([127, 0, 0, 1], 0).into(), &path, 4000).await.unwrap();
        let mut client = TraceServiceClient::connect(recorder.endpoint().to_owned()).await.unwrap();
        let mut sent = request(1);
        let spans = &mut sent.resource_spans[0].scope_spans[0].spans;
        // Each is twice as long in JSON: one fits into a line.
        spans.iter_mut().for_each(|span| span.name = "\"".repeat(1500));
        spans[1].name = "\"".repeat(2000);
        let partial = client.export(sent).await.unwrap().into_inner().partial_success.unwrap();
        let told = (partial.rejected_spans, partial.error_message.as_str());
        assert_eq!(told, (1, "a span is longer than 4000 bytes in JSON"));
        assert_eq!(recorder.close().await.unwrap(), 2);
        let lines = std::fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().map(|line| line.len() < 4000).collect::<Vec<_>>(), [true, true]);
        let read = Spill::read(&[path], &mut |_| {}).unwrap();
        assert_eq!((read.spans, read.troubles.list()), (2, vec![]));
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
