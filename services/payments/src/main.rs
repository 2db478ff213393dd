//! Configuration, telemetry, app, exit code: 0 after a drain, 1 on a failure at run time, 2 on a configuration that can't be used.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use payments::{
    app::App,
    config::{Config, Invalid, Migration, Table},
    domain::error::Cause,
    migrate::migrate,
    telemetry,
    usecase::payments::Clock,
};
use tikv_jemallocator::Jemalloc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

/// It samples allocations, for heap profiles.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// A payment service. Its configuration comes from the environment: see `payments config`.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM (the default)
    Serve,
    /// Apply the schema, as the database's owner
    Migrate,
    /// Print every variable with its default and bounds
    Config,
}

/// A configuration that can't be used.
const EXIT_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let result = match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Config => {
            print!("{Table}");
            Ok(Ok(()))
        }
        Command::Serve => Config::read(variable).map(serve),
        Command::Migrate => Migration::read(variable).map(apply),
    };
    match result {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            eprintln!("payments: {}", telemetry::chain(failure.as_ref()));
            ExitCode::FAILURE
        }
        Err(invalid) => {
            let invalid: Invalid = invalid;
            eprintln!("payments: {invalid}");
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

/// As many worker threads as cores that the process may use, or as TOKIO_WORKER_THREADS says.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn apply(migration: Migration) -> Result<(), Cause> {
    let password = migration.service_password.as_deref();
    let version = runtime()?.block_on(migrate(&migration.database_url, password))?;
    println!("schema at version {version}");
    Ok(())
}

fn serve(config: Config) -> Result<(), Cause> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let spans = telemetry::install(config.log_level, config.otlp_endpoint.as_deref())?;
        let app = App::bind(&config, Clock::system()).await?;
        let result = app.run(stop(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)).await;
        if let Err(failure) = &result {
            error!(error = telemetry::chain(failure.as_ref()), "stopped");
        }
        if let Some(spans) = spans {
            // Blocks until the last batch is out; a failure to export is no failure of ours.
            let _ = tokio::task::spawn_blocking(move || spans.shutdown()).await;
        }
        if result.is_ok() {
            info!("stopped");
        }
        result
    });
    // A blocking job that still runs has nobody left to tell.
    runtime.shutdown_background();
    result
}

/// Ends at the first signal; the second one ends the process at once.
async fn stop(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
}
