//! `loadtest trace`: writes a scenario's request trace and prints its hash.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::{Drawn, OverrideArgs, draw};

/// Write a scenario's request trace (JSON Lines) and print its SHA-256
///
/// The same scenario and seed give the same bytes on every machine. Each line is one request: due time in µs, number,
/// door, operation, parameters, and the earlier request whose result it needs. `compare` draws the same
/// by itself; a trace that is kept is played by `compare --trace FILE` or `run --trace FILE`, with the options it was written
/// with.
///
/// Exit codes: 0 written; 2 the scenario is wrong (one line says where and why) or the file can't be written.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// A file, or the name of one in loadtests/scenarios without its ending
    #[arg(long, default_value = "checkout", value_name = "NAME|FILE")]
    scenario: String,
    /// Where to write it; `-` is the standard output, and the hash goes to the standard error then
    #[arg(long, default_value = "-", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overrides: OverrideArgs,
}

impl TraceArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Drawn { scenario, trace, .. } = draw(&self.scenario, &self.overrides.overrides())?;
        let summary = format!(
            "{}: {} requests in {:.1} s, seed {}, sha256 {}",
            scenario.name,
            trace.lines.len(),
            scenario.total_us() as f64 / 1e6,
            scenario.seed,
            trace.sha256
        );
        if self.out.as_os_str() == "-" {
            let mut out = BufWriter::new(stdout().lock());
            trace.write(&mut out)?;
            out.flush()?;
            eprintln!("{summary}");
        } else {
            let file = File::create(&self.out).with_context(|| self.out.display().to_string())?;
            let mut out = BufWriter::new(file);
            trace.write(&mut out)?;
            out.flush()?;
            println!("{summary}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
