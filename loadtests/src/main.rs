//! `loadtest`: the judge's command line. Parses, dispatches, and is the only place that exits.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadtests::command::compare::CompareArgs;
use loadtests::command::trace::TraceArgs;
use loadtests::conformance::{Conformance, conclude, kill::Kill, ledger::VerifyLedger, races::Races};

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
    /// Runs every case of the contract on both services, over every door, and compares the replies
    Conformance(Conformance),
    /// Checks the invariants of a whole database: journals, balances, totals, events
    VerifyLedger(VerifyLedger),
    /// Lets many clients use one key at the same moment, over both doors and both services of one database
    Races(Races),
    /// Kills a service in the middle of a load and checks what is there after its restart
    Kill(Kill),
}

/// Exit codes: 0 done, 1 the contract isn't kept, 2 could not run, 3 the measurement is void.
fn main() -> ExitCode {
    let outcome: anyhow::Result<ExitCode> = match Cli::parse().command {
        Command::Trace(args) => args.run(),
        Command::Compare(args) => args.run(),
        Command::Conformance(args) => conclude(args.run()),
        Command::VerifyLedger(args) => conclude(args.run()),
        Command::Races(args) => conclude(args.run()),
        Command::Kill(args) => conclude(args.run()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("loadtest: {error:#}");
        ExitCode::from(2)
    })
}
