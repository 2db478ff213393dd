//! What each service does by itself: capacity, memory, start. Beside a comparison (`compare --solo`), or alone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use stack::instance::Twin;
use tokio::sync::watch;

use super::draw_payments;
use super::tabled::{Measured, TabledArgs, exit_code, say, unless_interrupted};
use super::task::Task;
use crate::development::Development;
use crate::limits;
use crate::payments::{Bench, capacity, footprint};
use crate::report::standing::reasons_of_solo;
use crate::scenario::{Overrides, Scenario, check_names};
use crate::solo::{SoloReport, solo_table};
use crate::surroundings::Care;
use crate::validity::Bound;

/// Of a capacity's bracket.
const RESOLUTION: f64 = 1.05;

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
    /// How close the ends of a capacity's bracket are: the upper by the lower.
    #[arg(skip = RESOLUTION)]
    resolution: f64,
    /// Trials of a search at most.
    #[arg(skip = capacity::TRIALS)]
    trials: usize,
    /// Seconds of the load that memory is looked at after; unset: all of the scenario.
    #[arg(skip)]
    load: Option<f64>,
}

impl EffortArgs {
    /// Beside a comparison.
    const FULL: Self = Self {
        trial: 6.0,
        blocks: 3,
        starts: 20,
        held: 1000,
        resolution: RESOLUTION,
        trials: capacity::TRIALS,
        load: None,
    };
    /// In a full report, where more is compared and so more searched.
    pub(super) const WHOLE: Self = Self { trial: 3.0, load: Some(20.0), ..Self::FULL };
    /// Beside one that somebody waits for.
    const BRIEF: Self =
        Self { trial: 1.6, blocks: 1, starts: 5, held: 300, resolution: 1.2, trials: 9, load: Some(4.5) };
    /// Beside one that only shows that everything works.
    pub(super) const TRIAL: Self =
        Self { trial: 1.0, blocks: 1, starts: 2, held: 50, load: None, ..Self::FULL };

    /// Refuses what can't be done.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((0.5..=600.0).contains(&self.trial), "--trial: must be 0.5 to 600, is {}", self.trial);
        ensure!((1..=100).contains(&self.blocks), "--blocks: must be 1 to 100, is {}", self.blocks);
        ensure!((1..=1000).contains(&self.starts), "--starts: must be 1 to 1000, is {}", self.starts);
        ensure!((1..=10_000).contains(&self.held), "--held: must be 1 to 10000, is {}", self.held);
        Ok(())
    }

    /// The capacity of each scenario that names a bound, then what services take beside the work, by the first one.
    pub fn tasks(&self, scenarios: &[Scenario], seed: u64) -> Vec<Task> {
        let bounded = scenarios.iter().filter(|scenario| names_bound(scenario));
        let capacities = bounded.map(|scenario| Task::Capacity(scenario.clone(), self.search(seed)));
        let effort =
            footprint::Effort { starts: self.starts, repetitions: self.blocks, held: self.held, seed };
        let footprints = scenarios.first().map(|scenario| Task::Footprints(self.load(scenario), effort));
        capacities.chain(footprints).collect()
    }

    fn search(&self, seed: u64) -> capacity::Effort {
        let Self { blocks, resolution, trials, .. } = *self;
        let trial = Duration::from_secs_f64(self.trial);
        capacity::Effort { trial, blocks, resolution, confirmations: 1, trials, seed }
    }

    /// The scenario, cut to the wanted length.
    fn load(&self, scenario: &Scenario) -> Scenario {
        let fits = |seconds: f64| (seconds * 1e3 / scenario.slice_ms as f64).ceil() as usize;
        let pairs = self.load.map_or(scenario.pairs, |seconds| fits(seconds).clamp(2, scenario.pairs));
        Scenario { pairs, ..scenario.clone() }
    }

    /// Measures all of that.
    async fn measure(
        &self,
        bench: &Bench,
        scenarios: &[Scenario],
        seed: u64,
        (care, stopped): (&Care, &watch::Receiver<bool>),
        say: &dyn Fn(&str),
    ) -> anyhow::Result<Measured<SoloReport>> {
        for scenario in scenarios.iter().filter(|scenario| !names_bound(scenario)) {
            say(&format!("{}: names no solo.p99_ms, so no capacity is looked for", scenario.name));
        }
        let mut report = SoloReport::default();
        for task in self.tasks(scenarios, seed) {
            if let Some(scenario) = task.scenario() {
                bench.prepare(scenario).await?;
            }
            match &task {
                Task::Capacity(scenario, effort) => {
                    let searching =
                        capacity::Searching { bench, scenario, effort: *effort, care, stopped, say };
                    let found = unless_interrupted(searching.capacity().await, !report.capacities.is_empty());
                    match found? {
                        Some(found) => report.capacities.push(found),
                        None => return Ok(Measured::Partial(report)),
                    }
                }
                Task::Footprints(scenario, effort) => {
                    let found = footprint::footprints(bench, scenario, effort, (care, stopped), say).await;
                    match unless_interrupted(found, !report.capacities.is_empty())? {
                        Some(found) => report.footprints = found,
                        None => return Ok(Measured::Partial(report)),
                    }
                }
                Task::Compared(_)
                | Task::Control { .. }
                | Task::Tuned { .. }
                | Task::Traced(_)
                | Task::Limits(_)
                | Task::Looking(_)
                | Task::Alone(..) => {}
            }
        }
        Ok(Measured::Whole(report))
    }
}

fn names_bound(scenario: &Scenario) -> bool {
    scenario.solo.as_ref().is_some_and(|solo| solo.p99_ms.is_some())
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
    /// Measure that, and --traced, in short: 12 traced pairs of short slices; limits 2 times 1 s; alone one search in at most 9 trials of
    /// 1.6 s to within 20 %, 5 starts, memory once, under 4.5 s of load and with 300 held
    #[arg(long)]
    pub brief: bool,
}

impl BesideArgs {
    /// What is asked for is about both services, whichever two are compared: one that is missing is said before that.
    pub fn check(&self, traced: bool) -> anyhow::Result<()> {
        self.development()?;
        ensure!(
            !self.brief || self.solo || self.limits || traced,
            "--brief: is about --solo, --limits and --traced: give one of them"
        );
        let both = if self.solo || self.limits { Twin::ALL.as_slice() } else { &[] };
        Ok(both.iter().try_for_each(|twin| twin.binary().map(drop))?)
    }

    /// What was measured before, where a file of it is given.
    pub fn development(&self) -> anyhow::Result<Option<Development>> {
        self.development.as_deref().map(Development::read).transpose()
    }

    /// What was asked for; of a trial, as little of it as there can be.
    pub fn tasks(&self, compared: &[Scenario], seed: u64, trial: bool) -> Vec<Task> {
        let (effort, limits) = match (trial, self.brief) {
            (true, _) => (EffortArgs::TRIAL, limits_effort(0.3, 1)),
            (false, true) => (EffortArgs::BRIEF, limits_effort(1.0, 2)),
            (false, false) => (EffortArgs::FULL, limits_effort(3.0, 5)),
        };
        let limits = self.limits.then_some(Task::Limits(limits));
        let solo = if self.solo { effort.tasks(compared, seed) } else { Vec::new() };
        limits.into_iter().chain(solo).collect()
    }
}

/// So often, so many seconds each, over as many connections as most scenarios have.
pub(super) fn limits_effort(seconds: f64, repetitions: usize) -> limits::Effort {
    limits::Effort { length: Duration::from_secs_f64(seconds), repetitions, connections: 32 }
}

/// Measure what each service does by itself: capacity, start, memory
///
/// Capacity: the highest rate at which 99 of 100 requests are answered within the scenario's bound (solo.p99_ms) and at
/// most one in 1000 isn't served. Doubled until it is missed, then halved in between to within 5 %, then asked again; a
/// rate that is missed while nothing is full is asked again before that is believed. Each search has a fresh service on a
/// fresh database; services take turns in an order drawn at random. It is a bracket: kept, and missed, in flows a second;
/// what was full where it was missed stands beside it. Where that is Postgres or the generator, the figure isn't the
/// service's: its CPU a request is.
///
/// Start: from the process' begin to the first 200 of /readyz. Memory: resident, idle, at the end of the first scenario's
/// load, for an open connection that has carried a request, and for a request that waits for the card network.
///
/// A trial during which others used the machine, or the host took it away, is no evidence, nor is one that was missed while
/// requests left late: it is made again, up to five times. What stands beside each table says what went on at worst.
///
/// Exit codes: 0 measured; 2 could not run, or was interrupted (one line says why); 3 void: other processes or the host
/// used the machine all the same, or requests left late, or a reply wasn't what the contract says.
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
    /// To see that it works: light hashes, which a debug build can make, and short loads; others and the host may use the
    /// machine
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
        check_names(&scenarios)?;
        let care = Care { allowed: super::compare::allowed(&[], self.smoke)?, trial: self.smoke };
        let found = self.tabled.run(solo_table, async |around| {
            let (bench, with) = (around.bench(self.smoke).await?, (&care, &around.stopped));
            let report = self.effort.measure(&bench, &scenarios, self.seed, with, &say).await;
            bench.stop().await?;
            report
        })?;
        Ok(exit_code(&reasons_of_solo(&found, Bound::voids)))
    }
}
