//! `loadtest limits`: what the machine could do at most.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::signals::unless_stopped;
use super::tabled::{Measured, TabledArgs, exit_code, say};
use crate::limits::{Effort, measure, table};
use crate::report::standing::reasons_of_limits;
use crate::surroundings::Care;
use crate::validity::Bound;

/// Measure what this machine could do at most, and how near the services come
///
/// Three kinds, in turn, so many times over; everything is started here and stopped again:
///
/// hash: the services' key derivation (PBKDF2-HMAC-SHA256, 16 384 rounds) in a tight loop on the services' core, in Rust
/// with the Rust service's crate, in Go with Go's own. It bounds tokenisations.
///
/// database: pgbench with the statements of db/queries over as many connections as a service has (16), on a Postgres as in
/// the comparison; pgbench runs on the services' core, in a service's place. It bounds payments. Needs pgbench, which is in
/// Debian's and Ubuntu's package postgresql; where it is missing the row says so.
///
/// doors: GET /livez on each service's HTTP port, each connection asking again as soon as it is answered. It bounds
/// everything. Where the generator's core is the full one, the CPU a reply tells what the service could have done.
///
/// And in turn with them, what each service answers at most: 64 clients that ask again as soon as they are answered, for
/// tokens, for sales, for a payment; the rate, its CPU a reply, and the share of its limit in the same repetition.
///
/// Each row has the median, the least and the most of the repetitions. Figures of a debug build say nothing.
///
/// A measurement during which others used the machine, or the host took it away, is made again, up to five times.
///
/// Exit codes: 0 measured; 2 could not run, or was interrupted (one line says why); 3 void: other processes or the host
/// used the machine all the same.
#[derive(Debug, Args)]
pub struct LimitsArgs {
    /// Length of one measurement; pgbench takes whole seconds, and at least one
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    seconds: f64,
    /// Measurements of each kind
    #[arg(long, value_name = "N", default_value_t = 5)]
    repetitions: usize,
    /// Connections to the bare handler; as in the scenarios
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,
    /// To see that it works: light hashes; others and the host may use the machine, and nothing is measured again
    #[arg(long)]
    smoke: bool,
    #[command(flatten)]
    tabled: TabledArgs,
}

impl LimitsArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let effort = self.effort()?;
        let care = Care { allowed: super::compare::allowed(&[], self.smoke)?, trial: self.smoke };
        let limits = self.tabled.run(table, async |around| {
            let bench = around.bench(self.smoke).await?;
            let limits = unless_stopped(&around.stopped, measure(&bench, &effort, &care, &say)).await;
            bench.stop().await?;
            limits.map(Measured::Whole)
        })?;
        Ok(exit_code(&reasons_of_limits(&limits, Bound::voids)))
    }

    fn effort(&self) -> anyhow::Result<Effort> {
        let within = |name: &str, value: f64, low: f64, high: f64| {
            anyhow::ensure!((low..=high).contains(&value), "{name}: must be {low} to {high}, is {value}");
            Ok(())
        };
        within("--seconds", self.seconds, 0.1, 600.0)?;
        within("--repetitions", self.repetitions as f64, 1.0, 1000.0)?;
        within("--connections", self.connections as f64, 1.0, 10_000.0)?;
        Ok(Effort {
            length: Duration::from_secs_f64(self.seconds),
            repetitions: self.repetitions,
            connections: self.connections,
        })
    }
}
