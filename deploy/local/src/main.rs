//! The command line: everything is in the library.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stack::terminal::complain;
use stack::{status, up, with_postgres};

/// Runs Twinpay on one machine: Postgres, the card network, both services. No Docker.
///
/// Ports: TWINPAY_{RUST,GO}_{HTTP,GRPC,ADMIN}_PORT, TWINPAY_ACQUIRER_PORT, TWINPAY_POSTGRES_PORT.
/// Postgres: TWINPAY_POSTGRES_BIN=<folder with initdb and postgres>, or =download.
/// A second stack beside the first: TWINPAY_STACK=<folder>, and other ports.
/// Other TWINPAY_ and ACQUIRER_ variables reach the services and the card network.
/// A closed pipe (`stack up | head -1`) stops nothing: what was begun is finished, unseen.
#[derive(Debug, Parser)]
#[command(name = "stack", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything that isn't running, and print the addresses.
    Up,
    /// Stop everything that `up` started; the data stays.
    Down,
    /// What is running; exit code 1 unless everything is.
    Status {
        /// Print nothing.
        #[arg(long)]
        quiet: bool,
    },
    /// Run a command with a Postgres in TEST_DATABASE_URL.
    WithPostgres {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Up => up::up().await.map(|()| 0),
        Command::Down => status::down().await.map(|()| 0),
        Command::Status { quiet: true } => status::is_up().await.map(|up| u8::from(!up)),
        Command::Status { quiet: false } => status::print().await.map(|up| u8::from(!up)),
        Command::WithPostgres { command } => with_postgres::run(&command).await,
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(format_args!("stack: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
