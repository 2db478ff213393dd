//! What each service does by itself: capacity, memory, start. Beside a comparison (`compare --solo`), or alone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use stack::instance::Twin;
use tokio::sync::watch;

use super::draw_payments;
use super::folder::Interrupted;
use super::signals::unless_stopped;
use super::tabled::{TabledArgs, say};
use crate::development::Development;
use crate::limits::{self, Limits};
use crate::payments::shares::shares;
use crate::payments::{Bench, capacity, footprint};
use crate::progress::Progress;
use crate::report::ScenarioReport;
use crate::scenario::{Overrides, Scenario};
use crate::solo::{SoloReport, solo_table};

/// How long a trial is, and how often what is done.
#[derive(Debug, Clone, Args)]
pub struct EffortArgs {
    /// Length of a trial in the search for the capacity; its warm-up is a quarter of it
    #[arg(long, value_name = "SECONDS", default_value_t = 6.0)]
    trial: f64,
    /// Searches of each service, and repetitions of what is about memory, in an order drawn at random
    #[arg(long, value_name = "N", default_value_t = 3)]
    blocks: usize,
    /// Starts of each service
    #[arg(long, value_name = "N", default_value_t = 20)]
    starts: usize,
    /// Connections, and requests in flight, that memory is looked at with
    #[arg(long, value_name = "N", default_value_t = 1000)]
    held: usize,
}

impl EffortArgs {
    /// Beside a comparison.
    const FULL: Self = Self { trial: 6.0, blocks: 3, starts: 20, held: 1000 };
    /// Beside one that only shows that everything works.
    const TRIAL: Self = Self { trial: 1.0, blocks: 1, starts: 2, held: 50 };

    /// Refuses what can't be done.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((0.5..=600.0).contains(&self.trial), "--trial: must be 0.5 to 600, is {}", self.trial);
        ensure!((1..=100).contains(&self.blocks), "--blocks: must be 1 to 100, is {}", self.blocks);
        ensure!((1..=1000).contains(&self.starts), "--starts: must be 1 to 1000, is {}", self.starts);
        ensure!((1..=10_000).contains(&self.held), "--held: must be 1 to 10000, is {}", self.held);
        Ok(())
    }

    /// Measures the scenarios that name a bound, then what services take beside the work.
    pub async fn measure(
        &self,
        bench: &Bench,
        scenarios: &[Scenario],
        seed: u64,
        stopped: &watch::Receiver<bool>,
        say: &dyn Fn(&str),
    ) -> anyhow::Result<SoloReport> {
        let mut report = SoloReport::default();
        let effort = capacity::Effort {
            trial: Duration::from_secs_f64(self.trial),
            blocks: self.blocks,
            resolution: 1.05,
            confirmations: 1,
            seed,
        };
        for scenario in scenarios {
            if scenario.solo.as_ref().and_then(|solo| solo.p99_ms).is_none() {
                say(&format!("{}: names no solo.p99_ms, so no capacity is looked for", scenario.name));
                continue;
            }
            bench.prepare(scenario).await?;
            let searching = capacity::Searching { bench, scenario, effort, stopped, say };
            report.capacities.push(searching.capacity().await?);
        }
        let Some(scenario) = scenarios.first() else { return Ok(report) };
        bench.prepare(scenario).await?;
        let effort =
            footprint::Effort { starts: self.starts, repetitions: self.blocks, held: self.held, seed };
        report.footprints = footprint::footprints(bench, scenario, &effort, stopped, say).await?;
        Ok(report)
    }
}

/// How a comparison is run that something is measured beside.
pub struct About<'a> {
    /// What orders and traces are drawn from.
    pub seed: u64,
    /// Becomes true where everything is to end.
    pub stopped: &'a watch::Receiver<bool>,
    /// It only shows that everything works.
    pub trial: bool,
}

/// What `compare` measures beside the comparison.
#[derive(Debug, Clone, Args)]
pub struct BesideArgs {
    /// Also measure each service alone, after the comparison: see `loadtest solo --help`
    #[arg(long)]
    solo: bool,
    /// Also measure the machine's own limits: see `loadtest limits --help`
    #[arg(long)]
    limits: bool,
    /// Also show what developing each service takes: the file that `loadtest development` wrote
    #[arg(long, value_name = "FILE")]
    development: Option<PathBuf>,
}

impl BesideArgs {
    /// What is asked for is about both services, whichever two are compared: one that is missing is said before that.
    pub fn check(&self) -> anyhow::Result<()> {
        self.development()?;
        let both = if self.solo || self.limits { Twin::ALL.as_slice() } else { &[] };
        Ok(both.iter().try_for_each(|twin| twin.binary().map(drop))?)
    }

    /// What was measured before, where a file of it is given.
    pub fn development(&self) -> anyhow::Result<Option<Development>> {
        self.development.as_deref().map(Development::read).transpose()
    }

    /// What was asked for.
    pub async fn measure(
        &self,
        bench: &Bench,
        compared: &[ScenarioReport],
        About { seed, stopped, trial }: About<'_>,
        progress: &Progress,
    ) -> anyhow::Result<(Option<Limits>, Option<SoloReport>)> {
        let (mut machine, mut solo) = (None, None);
        let say = &|text: &str| progress.say(text);
        if self.limits {
            let (seconds, repetitions) = if trial { (0.3, 1) } else { (3.0, 5) };
            let length = Duration::from_secs_f64(seconds);
            let effort = limits::Effort { length, repetitions, connections: 32 };
            machine =
                unless_interrupted(unless_stopped(stopped, limits::measure(bench, &effort, say)).await)?;
        }
        if self.solo && !*stopped.borrow() {
            let effort = if trial { EffortArgs::TRIAL } else { EffortArgs::FULL };
            let scenarios: Vec<_> = compared.iter().map(|report| report.scenario.clone()).collect();
            solo = unless_interrupted(effort.measure(bench, &scenarios, seed, stopped, say).await)?;
            if let (Some(solo), Some(limits)) = (&mut solo, &machine) {
                for capacity in &solo.capacities {
                    let scenario = scenarios.iter().find(|scenario| scenario.name == capacity.scenario);
                    solo.shares.extend(
                        scenario.map(|scenario| shares(scenario, capacity, limits)).into_iter().flatten(),
                    );
                }
            }
        }
        Ok((machine, solo))
    }
}

/// Nothing of what was interrupted: what was compared before is reported.
fn unless_interrupted<T>(measured: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match measured {
        Err(error) if error.is::<Interrupted>() => Ok(None),
        measured => measured.map(Some),
    }
}

/// Measure what each service does by itself: capacity, start, memory
///
/// Capacity: the highest rate at which 99 of 100 requests are answered within the scenario's bound (solo.p99_ms) and at
/// most one in 1000 isn't served. Doubled until it is missed, then halved in between to within 5 %, then asked again. Each
/// search has a fresh service on a fresh database; services take turns in an order drawn at random. It is a bracket: kept,
/// and missed, in flows a second; what was full where it was missed stands beside it. Where that is Postgres or the
/// generator, the figure isn't the service's: its CPU a request is.
///
/// Start: from the process' begin to the first 200 of /readyz. Memory: resident, idle, at the end of the first scenario's
/// load, for an open connection that has carried a request, and for a request that waits for the card network.
///
/// Exit codes: 0 measured; 2 could not run, or was interrupted (one line says why).
#[derive(Debug, Args)]
pub struct SoloArgs {
    /// A file, or the name of one in loadtests/scenarios without its ending; given again: each has its capacity
    #[arg(long = "scenario", default_value = "checkout", value_name = "NAME|FILE")]
    scenarios: Vec<String>,
    #[command(flatten)]
    effort: EffortArgs,
    /// What orders and traces are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    tabled: TabledArgs,
    /// To see that it works: light hashes, which a debug build can make, and short loads
    #[arg(long)]
    smoke: bool,
}

impl SoloArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.effort.check()?;
        let overrides = match self.smoke {
            true => Overrides {
                rate: Some(20.0),
                pairs: Some(2),
                slice_ms: Some(500),
                warm_up_seconds: Some(0.5),
                ..Overrides::default()
            },
            false => Overrides::default(),
        };
        let drawn = self.scenarios.iter().map(|name| draw_payments(name, &overrides));
        let scenarios: Vec<Scenario> =
            drawn.map(|drawn| drawn.map(|(scenario, _)| scenario)).collect::<anyhow::Result<_>>()?;
        self.tabled.run(solo_table, async |around| {
            let bench = around.bench(self.smoke).await?;
            let report = self.effort.measure(&bench, &scenarios, self.seed, &around.stopped, &say).await;
            bench.stop().await?;
            report
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
