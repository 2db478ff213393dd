//! `loadtest receive`: spans that a service sends, into a file that `loadtest traces` reads.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::otlp::Recorder;
use crate::report::wording::whole;

/// Between two lines of progress.
const TELL: Duration = Duration::from_secs(5);

/// Receive a service's OpenTelemetry traces and write them to a file, for `loadtest traces`
///
/// Listens for OTLP, over gRPC and over HTTP (/v1/traces; Protobuf or JSON) on one port, until Ctrl-C. The file is as the
/// OpenTelemetry Collector's file exporter writes it: a line of JSON a batch, or several where one would be longer than 64 MiB.
/// What the disk can't take at once has its sender wait; of a request that is longer than 64 MiB, decompressed, nothing is taken,
/// and no span that is longer in JSON. A second Ctrl-C doesn't wait for a request that is under way. To
/// compare two services run it twice, on two ports, and have each service send to its own
/// (OTEL_EXPORTER_OTLP_ENDPOINT).
///
/// Exit codes: 0 ended by a signal, the file is whole; 2 can't listen or write (one line says why).
#[derive(Debug, Args)]
pub struct ReceiveArgs {
    /// Gets the spans; compressed where its name ends in .zst. One that is there is replaced
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4317")]
    listen: SocketAddr,
}

impl ReceiveArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.receive())
    }

    async fn receive(self) -> anyhow::Result<ExitCode> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut recorder = Recorder::start(self.listen, &self.file).await?;
        println!(
            "listening on {} (OTLP over gRPC, and over HTTP at /v1/traces); Ctrl-C ends",
            recorder.endpoint()
        );
        let mut stopped = async move || {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        };
        let (mut told, mut ticks) = (0, tokio::time::interval(TELL));
        loop {
            tokio::select! {
                () = stopped() => break,
                error = recorder.failed() => return Err(error),
                _ = ticks.tick() => {
                    let spans = recorder.spans();
                    if spans > told {
                        println!("{} spans", whole(spans));
                        told = spans;
                    }
                }
            }
        }
        let file = self.file.display();
        tokio::select! {
            closed = recorder.close() => println!("{file}: {} spans", whole(closed?)),
            // Whoever is still sending is cut off; the file ends with this process, whole.
            () = stopped() => println!("{file}: ended before a sender had sent all of its request"),
        }
        Ok(ExitCode::SUCCESS)
    }
}
