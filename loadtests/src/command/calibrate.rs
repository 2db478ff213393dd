//! `loadtest calibrate`: whether the comparison tells the truth on this machine.

use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;

use super::tabled::{Around, TabledArgs, say};
use crate::calibrate::{Effort, Players, calibrate, serve, table};
use crate::stats::PAIRS_MIN;

/// Check the comparison against servers of known costs, and find the best slice length
///
/// Two toy servers spin a known CPU time for each request (1 ms in the mean for the second one) and are compared as the
/// services are: interleaved, on the same one core, by the same statistics. Needs nothing but this program.
///
/// Known ratios: the first server costs 0.5, 0.9 and 1.0 of the second; each must lie in the interval that is found for
/// the CPU a reply. An interval misses the truth in 5 of 100 runs, so a single miss on a quiet machine isn't proof.
///
/// Coverage: one long run of two equal servers for each slice length is cut into runs that share no slice; of their
/// intervals at least 93 of 100 must hold 1. The half-width is what a minute of load would give. The best slice length is
/// the shortest one that covers and whose intervals are within a tenth of the narrowest.
///
/// Exit codes: 0 every ratio was found and a slice length covers; 1 not so; 2 could not run, or was interrupted (the table is
/// of what was measured before).
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// A known ratio of costs; given again: several
    #[arg(long = "ratio", value_name = "RATIO", default_values_t = [0.5, 0.9, 1.0])]
    ratios: Vec<f64>,
    /// Pairs of slices for each known ratio
    #[arg(long, value_name = "N", default_value_t = 120)]
    pairs: usize,
    /// Slice lengths to try, in milliseconds; the middle one serves for the known ratios
    #[arg(long = "slice", value_name = "MS", value_delimiter = ',', default_values_t = [100, 250, 500])]
    slices: Vec<u64>,
    /// Runs that each long run is cut into
    #[arg(long, value_name = "N", default_value_t = 100)]
    runs: usize,
    /// Pairs of slices of each of these
    #[arg(long, value_name = "N", default_value_t = 24)]
    run_pairs: usize,
    /// What everything is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    tabled: TabledArgs,
}

impl CalibrateArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let effort = self.effort()?;
        let calibration = self.tabled.run(table, async |Around { layout, logs, stopped }| {
            say(&format!("about {:.1} minutes", effort.seconds() / 60.0));
            calibrate(&effort, &Players { layout, logs, stopped, tell: &say }).await
        })?;
        Ok(if calibration.held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn effort(&self) -> anyhow::Result<Effort> {
        let few = PAIRS_MIN..=10_000;
        ensure!(few.contains(&self.pairs), "--pairs: must be {PAIRS_MIN} to 10000, is {}", self.pairs);
        ensure!(
            few.contains(&self.run_pairs),
            "--run-pairs: must be {PAIRS_MIN} to 10000, is {}",
            self.run_pairs
        );
        let all = self.runs * self.run_pairs;
        ensure!((1..=10_000).contains(&all), "--runs, --run-pairs: must make 1 to 10000 pairs, make {all}");
        for ratio in &self.ratios {
            ensure!((0.3..=3.0).contains(ratio), "--ratio: must be 0.3 to 3, is {ratio}");
        }
        for slice in &self.slices {
            ensure!((50..=60_000).contains(slice), "--slice: must be 50 to 60000, is {slice}");
        }
        Ok(Effort {
            program: std::env::current_exe()?,
            ratios: self.ratios.clone(),
            ratio_pairs: self.pairs,
            slices_ms: self.slices.clone(),
            runs: self.runs,
            run_pairs: self.run_pairs,
            seed: self.seed,
        })
    }
}

/// Serve requests of a known CPU time (what `calibrate` starts)
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct SpinArgs {
    /// Mean CPU time a request
    cpu_us: f64,
    /// What each one's is drawn from
    seed: u64,
}

impl SpinArgs {
    /// Serves until it is killed.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        serve(self.cpu_us, self.seed)?;
        Ok(ExitCode::SUCCESS)
    }
}
