//! `loadtest run`: one scenario on one service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use stack::instance::Twin;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use super::compare::{OUT, TRIAL_THINK_MS, VOID};
use super::folder::{Folder, Interrupted};
use super::signals::stop_on_signal;
use super::{OverrideArgs, draw_payments};
use crate::environment;
use crate::payments::capacity::{Effort, Searching};
use crate::payments::service::Special;
use crate::payments::{Bench, Layout, Payments, label};
use crate::report::{ContenderReport, Environment};
use crate::scenario::Scenario;
use crate::solo::{Judged, SoloRun, aside, judge, run_table};
use crate::stats::rounded;
use crate::trace::{Kinds, Trace};
use crate::validity::{Build, OF_THE_MACHINE};
use crate::workload::Workload;

/// A service by its language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServiceName {
    /// services/payments
    Rust,
    /// go-service
    Go,
}

impl From<ServiceName> for Twin {
    fn from(name: ServiceName) -> Self {
        match name {
            ServiceName::Rust => Twin::Rust,
            ServiceName::Go => Twin::Go,
        }
    }
}

/// Play one scenario once on one service
///
/// For what interleaving can't show: overload, a spike, memory over a long time. Starts everything itself, as `compare`
/// does, with one service on a fresh database. The whole trace (warm-up, then all stages) is played without a break; each
/// stage then has a line of its own, with the rate that was offered, what was answered as expected, shed or lost, and the
/// latencies of what was answered as expected, from the due time.
///
/// A scenario whose rates are multiples of the capacity (`overload`) needs to know it: `--capacity`, or it is looked for
/// first, by a short search with the scenario's bound (solo.p99_ms).
///
/// `loadtest compare` tells whether two services differ; two runs of this one don't.
///
/// The report is report.json, with raw histograms and every look at the service's memory.
///
/// Exit codes: 0 done; 1 the scenario wants flat memory (solo.flat), and it rose: the interval of its slope lies above 0
/// and the rise is more than 5 % of what it was; 2 could not run; 3 void: a bound was missed, or it was interrupted.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The service
    #[arg(long)]
    service: ServiceName,
    /// A file, or the name of one in loadtests/scenarios without its ending
    #[arg(long, default_value = "checkout", value_name = "NAME|FILE")]
    scenario: String,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Flows a second that the service takes, for scenarios in multiples of it [default: looked for]
    #[arg(long, value_name = "PER_SECOND")]
    capacity: Option<f64>,
    /// Folder of the report [default: loadtests/out/<time>-<service>-<scenario>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// To see that it works: light hashes, and a busy machine, a debug build and a few unserved requests don't void it
    #[arg(long)]
    smoke: bool,
}

impl RunArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(capacity) = self.capacity.filter(|capacity| !(*capacity > 0.0 && *capacity <= 100_000.0))
        {
            bail!("--capacity: must be over 0 and at most 100000, is {capacity}");
        }
        let mut overrides = self.overrides.overrides();
        overrides.think_time_ms = self.smoke.then_some(TRIAL_THINK_MS);
        // A wrong scenario is said before anything is started; its rates may still be multiples.
        let (scenario, trace) = draw_payments(&self.scenario, &overrides)?;
        if scenario.trace_file.is_some() && multiples(&scenario) {
            bail!(
                "--trace: {}’s rates are multiples of the capacity: its trace is drawn when that is known",
                scenario.name
            );
        }
        let folder = Folder::make(self.folder(&scenario)?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = match runtime.block_on(self.measure(scenario, trace, &folder)) {
            Ok(run) => run,
            Err(error) => return Err(folder.give_up(error)),
        };
        std::fs::write(folder.path().join("report.json"), serde_json::to_string_pretty(&run)? + "\n")?;
        print!("\n{}", run_table(&run));
        println!("The report: {}", folder.path().join("report.json").display());
        if !run.void.is_empty() {
            println!("The logs: {}", folder.keep_logs().display());
            return Ok(ExitCode::from(VOID));
        }
        let flat = run.scenario.solo.as_ref().is_some_and(|solo| solo.flat);
        if flat && let Some(mib) = run.memory.risen_mib() {
            println!("Memory rose by {mib:.1} MiB: the scenario wants it flat");
            return Ok(ExitCode::from(1));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn folder(&self, scenario: &Scenario) -> anyhow::Result<PathBuf> {
        let at = super::compare::timestamp(OffsetDateTime::now_utc())?;
        let name = format!("{at}-{}-{}", Twin::from(self.service).name(), scenario.name);
        Ok(self.out.clone().unwrap_or_else(|| Path::new(OUT).join(name)))
    }

    async fn measure(
        &self,
        mut scenario: Scenario,
        mut trace: Trace,
        folder: &Folder,
    ) -> anyhow::Result<SoloRun> {
        let started_at = OffsetDateTime::now_utc().format(&Rfc3339)?;
        let mut machine = environment::machine()?;
        let layout = Layout::of(&environment::cores()?);
        crate::realtime::pin(&layout.around())?;
        let stopped = stop_on_signal(VOID)?;
        let say = |text: &str| eprintln!("{text}");
        layout.lines().iter().for_each(|(who, cores)| say(&format!("{who}: {cores}")));
        let bench =
            Bench::start(layout.clone(), &[self.service.into()], self.smoke, folder.logs(), say).await?;
        machine.push(("Postgres".into(), bench.postgres_version().await?));
        bench.prepare(&scenario).await?;
        let capacity = self.multiply(&bench, &mut scenario, &stopped).await?;
        if capacity.is_some() {
            trace = Trace::draw(&scenario.name, &scenario, &Payments)?;
        }
        let settings = bench.settings().await?;
        let mut run = self.play(&bench, scenario, trace, &stopped).await?;
        bench.stop().await?;
        run.started_at = started_at;
        run.capacity = capacity;
        run.environment = Environment { machine, layout: layout.lines(), settings };
        Ok(run)
    }

    /// Makes multiples of the capacity to flows a second; the capacity, where it was needed.
    async fn multiply(
        &self,
        bench: &Bench,
        scenario: &mut Scenario,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<Option<f64>> {
        if !multiples(scenario) {
            return Ok(None);
        }
        let capacity = match self.capacity {
            Some(capacity) => capacity,
            None => self.look_for(bench, scenario, stopped).await?,
        };
        scenario.warm_up.rate *= capacity;
        scenario.stages.iter_mut().for_each(|stage| stage.rate *= capacity);
        Ok(Some(capacity))
    }

    async fn look_for(
        &self,
        bench: &Bench,
        scenario: &Scenario,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<f64> {
        let effort = Effort {
            trial: Duration::from_secs(if self.smoke { 1 } else { 4 }),
            blocks: 1,
            resolution: 1.1,
            confirmations: 1,
            seed: scenario.seed,
        };
        let searching = Searching { bench, scenario, effort, stopped, say: &|text| eprintln!("{text}") };
        let block = searching.block(self.service.into(), 0).await?;
        match block.bracket.low {
            Some(low) => Ok(low),
            None => bail!("no rate keeps {}’s bound: give its capacity by --capacity", scenario.name),
        }
    }

    async fn play(
        &self,
        bench: &Bench,
        scenario: Scenario,
        trace: Trace,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<SoloRun> {
        if *stopped.borrow() {
            return Err(Interrupted.into());
        }
        let twin = Twin::from(self.service);
        bench.prepare(&scenario).await?;
        let service = bench.service(&bench.home(twin, &scenario.name).await?, &Special::default()).await?;
        let trace = Arc::new(trace);
        let order = service.order(bench, &scenario, &trace);
        eprintln!(
            "{}: {} requests on {}, trace sha256 {}",
            scenario.name,
            trace.lines.len(),
            label(twin),
            trace.sha256
        );
        let played = aside(order, stopped).await.map_err(|error| service.explain(error))?;
        let (rows, invariants) = (service.rows().await?, service.invariants().await?);
        let version = service.version.clone();
        let allowed = if self.smoke { OF_THE_MACHINE.map(String::from).to_vec() } else { Vec::new() };
        let kinds = Kinds::of(&trace, Payments.operations());
        let judged = Judged {
            scenario: &scenario,
            trace: &trace,
            label: label(twin).into(),
            floors: kinds.floors(&Payments, &scenario.settings),
            kinds,
            rows,
            invariants,
            build: Build {
                name: label(twin).into(),
                commit: version.commit.clone(),
                profile: version.profile.clone(),
            },
            support_cores: bench.layout().support_cores(),
            allowed: &allowed,
            trial: self.smoke,
        };
        let (overall, stages, validity) = judge(&judged, &played)?;
        let missed = validity.iter().filter(|bound| bound.voids());
        let void = missed
            .map(|bound| format!("{}: {}; it was {}.", bound.name, bound.asks, bound.measured))
            .collect();
        let ready_ms = vec![rounded(service.ready_ms)];
        service.stop().await;
        Ok(SoloRun {
            started_at: String::new(),
            command: std::env::args().collect(),
            void,
            environment: Environment::default(),
            service: ContenderReport {
                name: twin.name().into(),
                label: label(twin).into(),
                version,
                ready_ms,
            },
            scenario,
            capacity: None,
            trace_sha256: trace.sha256.clone(),
            overall,
            stages,
            cpu_us_a_reply: played.cpu_us_a_reply(),
            switches_a_reply: played.switches_a_reply(),
            memory: played.memory(),
            usage: played.usage.clone(),
            generator: played.generator(),
            validity,
        })
    }
}

/// Its rates are multiples of the capacity.
fn multiples(scenario: &Scenario) -> bool {
    scenario.solo.as_ref().is_some_and(|solo| solo.times_capacity)
}
