//! `loadtest`: the judge's command line. Parses, dispatches, and is the only place that exits.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadtests::command::compare::CompareArgs;
use loadtests::command::trace::TraceArgs;

/// The judge of the two twins.
#[derive(Parser)]
#[command(name = "loadtest", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// One line here and one arm in `main` a subcommand.
#[derive(Subcommand)]
enum Command {
    Trace(TraceArgs),
    Compare(Box<CompareArgs>),
}

/// Exit codes: 0 done, 2 could not run, 3 the measurement is void.
fn main() -> ExitCode {
    let outcome: anyhow::Result<ExitCode> = match Cli::parse().command {
        Command::Trace(args) => args.run(),
        Command::Compare(args) => args.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("loadtest: {error:#}");
        ExitCode::from(2)
    })
}
