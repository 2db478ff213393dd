//! config -> telemetry -> server -> exit code.

use std::process::ExitCode;

use acquirer::telemetry::Telemetry;
use acquirer::{Config, Network, log};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// One thread: the network shares a core with the load generator, and a call costs microseconds.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (config, telemetry) = match Config::from_env().and_then(|config| Ok((config, Telemetry::from_env()?)))
    {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match run(config, telemetry).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::line("error", "failed", json!({ "error": error }));
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config, telemetry: Telemetry) -> Result<(), String> {
    let handler = |kind| signal(kind).map_err(|error| format!("signals can't be handled: {error}"));
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    let addr = config.addr;
    let network = Network::open(config)?;
    let cannot = |error| format!("ACQUIRER_ADDR is {}: it can't be listened on: {error}", addr);
    let listener = TcpListener::bind(addr).await.map_err(cannot)?;
    let addr = listener.local_addr().map_err(|error| format!("the bound address can't be read: {error}"))?;
    log::line("info", "listening", json!({ "grpc_addr": addr.to_string() }));

    let stop = async {
        told(&mut terminate, &mut interrupt).await;
        log::line("info", "stopping", json!({}));
        // A second signal ends at once.
        tokio::spawn(async move {
            told(&mut terminate, &mut interrupt).await;
            std::process::exit(1);
        });
    };
    acquirer::serve(listener, network, telemetry.clone(), stop).await;
    // The exporter's connection lives on this thread, so the wait for it must not.
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await.ok();
    log::line("info", "stopped", json!({}));
    Ok(())
}

async fn told(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}
