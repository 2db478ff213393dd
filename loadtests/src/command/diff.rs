//! `loadtest diff`: reports of several runs beside each other.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::report::{Report, Run, diff};

/// As many as have a letter each.
const RUNS_MAX: usize = 26;

/// Hold the reports of several runs beside each other
///
/// Named first is what else differs between the runs: machine, layout, settings, builds, scenario, trace, and whether a
/// run is void. Then, for each scenario that all of them have, a table: each metric's values and ratio in each run, and
/// whether the ratio differs from the first run's beyond the intervals of the two.
///
/// Only ratios are held against each other: within a run both contenders meet the same machine at the same time, while
/// the values of two runs also differ by the hour and by the processes' starts.
///
/// Exit codes: 0 told, whatever differs; 2 a report can't be read, or they have no scenario in common.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Each a report.json, or the folder that it is in; the others are held against the first
    #[arg(value_name = "REPORT.json|DIR", required = true, num_args = 2..=RUNS_MAX)]
    reports: Vec<PathBuf>,
}

impl DiffArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut runs = Vec::new();
        for (path, letter) in self.reports.iter().zip('A'..) {
            let path = if path.is_dir() { path.join("report.json") } else { path.clone() };
            let report = Report::read(&path)?;
            if report.scenarios.is_empty() {
                bail!("{}: it holds no scenario", path.display());
            }
            runs.push(Run { letter, path: path.display().to_string(), report });
        }
        print!("{}", diff(&runs)?);
        Ok(ExitCode::SUCCESS)
    }
}
