//! `loadtest`: the judge's command line. Parses, dispatches, and is the only place that exits.

use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadtests::command::calibrate::{CalibrateArgs, SpinArgs};
use loadtests::command::compare::CompareArgs;
use loadtests::command::development::DevelopmentArgs;
use loadtests::command::diff::DiffArgs;
use loadtests::command::full::FullArgs;
use loadtests::command::golden::Golden;
use loadtests::command::limits::LimitsArgs;
use loadtests::command::model::Model;
use loadtests::command::receive::ReceiveArgs;
use loadtests::command::replay::Replay;
use loadtests::command::run::RunArgs;
use loadtests::command::solo::SoloArgs;
use loadtests::command::trace::TraceArgs;
use loadtests::command::traces::TracesArgs;
use loadtests::command::verify::VerifyArgs;
use loadtests::conformance::{
    Conformance, conclude, fuzz::Fuzz, kill::Kill, ledger::VerifyLedger, races::Races,
};

/// The judge of the two services: that they behave the same, and how they compare under load
///
/// Each command starts what it needs and stops it again, so that nothing has to run before: only the programs have to be
/// built (`make build`, or `make build-debug` for debug builds). `loadtest <COMMAND> --help` says what each does.
///
/// Exit codes of all: 0 all is well; 1 the services don't keep the contract, a figure isn't as asserted, or a report isn't
/// what its raw data say; 2 could not run (one line says why); 3 the measurement is void.
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
    Full(FullArgs),
    Run(RunArgs),
    Solo(SoloArgs),
    Limits(LimitsArgs),
    Development(DevelopmentArgs),
    Calibrate(CalibrateArgs),
    Spin(SpinArgs),
    Verify(VerifyArgs),
    Diff(DiffArgs),
    Traces(Box<TracesArgs>),
    Receive(ReceiveArgs),
    Conformance(Conformance),
    VerifyLedger(VerifyLedger),
    Races(Races),
    Golden(Golden),
    Model(Model),
    Replay(Replay),
    Kill(Kill),
    Fuzz(Fuzz),
}

/// Exit codes: 0 done, 1 the contract isn't kept, 2 could not run, 3 the measurement is void.
fn main() -> ExitCode {
    let outcome: anyhow::Result<ExitCode> = match Cli::parse().command {
        Command::Trace(args) => args.run(),
        Command::Compare(args) => args.run(),
        Command::Full(args) => args.run(),
        Command::Run(args) => args.run(),
        Command::Solo(args) => args.run(),
        Command::Limits(args) => args.run(),
        Command::Development(args) => args.run(),
        Command::Calibrate(args) => args.run(),
        Command::Spin(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Diff(args) => args.run(),
        Command::Traces(args) => args.run(),
        Command::Receive(args) => args.run(),
        Command::Conformance(args) => conclude(args.run()),
        Command::VerifyLedger(args) => conclude(args.run()),
        Command::Races(args) => conclude(args.run()),
        Command::Golden(args) => conclude(args.run()),
        Command::Model(args) => conclude(args.run()),
        Command::Replay(args) => conclude(args.run()),
        Command::Kill(args) => conclude(args.run()),
        Command::Fuzz(args) => conclude(args.run()),
    };
    outcome.unwrap_or_else(|error| {
        // Whoever started it may have left.
        let _ = writeln!(stderr(), "loadtest: {error:#}");
        ExitCode::from(2)
    })
}
