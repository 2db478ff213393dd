//! `loadtest run`: one scenario on one service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use stack::instance::Twin;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use super::compare::{OUT, TRIAL_THINK_MS, VOID};
use super::folder::{Folder, Interrupted};
use super::signals::stop_on_signal;
use super::{Drawn, OverrideArgs, draw_payments, drawn};
use crate::compare::Event;
use crate::environment;
use crate::payments::capacity::{Effort, Searching};
use crate::payments::{Bench, Layout, Payments, Service, Special, label};
use crate::progress::Progress;
use crate::report::{ContenderReport, Environment, write_run};
use crate::scenario::{Scenario, Stage};
use crate::solo::{Judged, Order, Played, SoloRun, aside, judge, run_table};
use crate::stats::rounded;
use crate::surroundings::Care;
use crate::trace::{Kinds, Trace};
use crate::workload::Workload;

/// Longer ones are refused by the services.
const PROFILE_MAX_SECONDS: u64 = 60;

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
/// does, with one service on a fresh database. After the warm-up all stages are played without a break; each
/// stage then has a line of its own, with the rate that was offered, what was answered as expected, shed or lost, and the
/// latencies of what was answered as expected, from the due time.
///
/// A scenario whose rates are multiples of the capacity (`overload`) needs to know it: `--capacity`, or it is looked for
/// first, by a short search with the scenario's bound (solo.p99_ms).
///
/// `loadtest compare` tells whether two services differ; two runs of this one don't.
///
/// The report is report.html (open it) and report.json, with raw histograms and every look at the service's memory;
/// `loadtest verify` computes each figure from them again. A run that is void or failed leaves the logs of what it started
/// beside them, and says where.
///
/// On a terminal a view shows how far it is, and the bounds that can already be looked at; elsewhere lines do. Ctrl-C ends
/// the load, stops everything and reports what was measured so far; a second one ends at once.
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
    /// Also record where the service spends its CPU time, from the warm-up on and for at most a minute, for `go tool
    /// pprof`. That costs some: a run for figures is another one
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
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
        let (scenario, _) = draw_payments(&self.scenario, &overrides)?;
        if scenario.trace_file.is_some() && multiples(&scenario) {
            bail!(
                "--trace: {}’s rates are multiples of the capacity: its trace is drawn when that is known",
                scenario.name
            );
        }
        let folder = Folder::make(self.folder(&scenario)?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let measured = runtime.block_on(self.measure(scenario, &folder));
        let run = match measured.and_then(|run| write_run(&run, folder.path()).map(|()| run)) {
            Ok(run) => run,
            Err(error) => return Err(folder.give_up(error)),
        };
        print!("\n{}", run_table(&run));
        println!("The page: {}", folder.path().join("report.html").display());
        if !run.void.is_empty() {
            println!("The logs: {}", folder.keep_logs().display());
            return Ok(ExitCode::from(VOID));
        }
        if let Some(mib) = run.risen_mib() {
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

    async fn measure(&self, scenario: Scenario, folder: &Folder) -> anyhow::Result<SoloRun> {
        let mut machine = environment::machine()?;
        let layout = Layout::of(&environment::cores()?);
        crate::realtime::settle(&layout.around())?;
        let stopped = stop_on_signal(VOID)?;
        let mut progress = Progress::new();
        layout.lines_alone().iter().for_each(|(who, cores)| progress.say(&format!("{who}: {cores}")));
        progress.doing("starting what the service needs");
        let allowed = super::compare::allowed(&[], self.smoke)?;
        let (service, capacity, smoke) = (self.service.into(), self.capacity, self.smoke);
        let alone = Alone { service, capacity, allowed, smoke, profile: self.profile.clone() };
        let say = |text: &str| progress.say(text);
        let bench = Bench::start(layout.clone(), &[alone.service], self.smoke, folder.logs(), say).await?;
        machine.push(("Postgres".into(), bench.postgres_version().await?));
        let mut run = alone.measure(&bench, scenario, &stopped, &mut progress).await?;
        let settings = bench.settings().await?;
        progress.doing("stopping");
        let stopping = bench.stop().await;
        progress.end();
        stopping?;
        run.environment = Environment { machine, layout: layout.lines_alone(), settings };
        Ok(run)
    }
}

/// How a scenario is played on one service.
pub(super) struct Alone {
    pub service: Twin,
    /// Flows a second that it takes, for scenarios in multiples of it; unset: looked for.
    pub capacity: Option<f64>,
    /// Bounds that may be missed.
    pub allowed: Vec<String>,
    /// It only shows that everything works.
    pub smoke: bool,
    /// Gets a profile of the service.
    pub profile: Option<PathBuf>,
}

impl Alone {
    /// Plays it. The environment is the caller's to fill in.
    pub async fn measure(
        &self,
        bench: &Bench,
        mut scenario: Scenario,
        stopped: &watch::Receiver<bool>,
        progress: &mut Progress,
    ) -> anyhow::Result<SoloRun> {
        let (started, started_at) = (Instant::now(), OffsetDateTime::now_utc().truncate_to_second());
        bench.prepare(&scenario).await?;
        let say = |text: &str| progress.say(text);
        let capacity = self.multiply(bench, &mut scenario, stopped, &say).await?;
        let Drawn { scenario, trace, .. } = drawn(&scenario)?;
        let run = self.play(bench, (scenario, capacity), trace, stopped, progress).await?;
        let seconds = rounded(started.elapsed().as_secs_f64());
        Ok(SoloRun { started_at: started_at.format(&Rfc3339)?, seconds, ..run })
    }

    /// Makes multiples of the capacity to flows a second; the capacity, where it was needed.
    async fn multiply(
        &self,
        bench: &Bench,
        scenario: &mut Scenario,
        stopped: &watch::Receiver<bool>,
        say: &dyn Fn(&str),
    ) -> anyhow::Result<Option<f64>> {
        if !multiples(scenario) {
            return Ok(None);
        }
        let capacity = match self.capacity {
            Some(capacity) => capacity,
            None => self.look_for(bench, scenario, stopped, say).await?,
        };
        // As report.json can hold them: the trace is drawn from that again.
        let multiply = |stage: &mut Stage| stage.rate = rounded(stage.rate * capacity);
        multiply(&mut scenario.warm_up);
        scenario.stages.iter_mut().for_each(multiply);
        Ok(Some(capacity))
    }

    fn care(&self) -> Care {
        Care { allowed: self.allowed.clone(), trial: self.smoke }
    }

    async fn look_for(
        &self,
        bench: &Bench,
        scenario: &Scenario,
        stopped: &watch::Receiver<bool>,
        say: &dyn Fn(&str),
    ) -> anyhow::Result<f64> {
        let quick = Effort::quick(scenario.seed);
        let trial = if self.smoke { Duration::from_secs(1) } else { quick.trial };
        let (effort, care) = (Effort { trial, ..quick }, &self.care());
        let searching = Searching { bench, scenario, effort, care, stopped, say };
        let block = searching.block(self.service, 0, &mut Vec::new()).await?;
        match block.bracket.low {
            Some(low) => Ok(low),
            None => bail!("no rate keeps {}’s bound: give its capacity by --capacity", scenario.name),
        }
    }

    async fn play(
        &self,
        bench: &Bench,
        (scenario, capacity): (Scenario, Option<f64>),
        trace: Trace,
        stopped: &watch::Receiver<bool>,
        progress: &mut Progress,
    ) -> anyhow::Result<SoloRun> {
        if *stopped.borrow() {
            return Err(Interrupted.into());
        }
        let twin = self.service;
        bench.prepare(&scenario).await?;
        let service = bench.service(&bench.home(twin, &scenario.name).await?, &Special::default()).await?;
        let trace = Arc::new(trace);
        let order = service.order(bench, &scenario, &trace);
        let (requests, sha256) = (trace.lines.len(), &trace.sha256);
        progress.say(&format!(
            "{}: {requests} requests on {}, trace sha256 {sha256}",
            scenario.name,
            label(twin)
        ));
        let mut follow = progress.alone(&scenario.name, &scenario, label(twin));
        let played = self.played(&service, order, stopped, &mut |event| follow.event(event)).await;
        let played = played.map_err(|error| service.explain(error))?;
        let (rows, invariants) = (service.rows().await?, service.invariants().await?);
        let counted = Some(service.counted().await?);
        let contender = ContenderReport {
            name: twin.name().into(),
            label: label(twin).into(),
            version: service.version.clone(),
            ready_ms: vec![rounded(service.ready_ms)],
        };
        service.stop().await;
        let kinds = Kinds::of(&trace, Payments.operations());
        let judged = Judged {
            scenario: &scenario,
            capacity,
            trace: &trace,
            service: contender,
            floors: kinds.floors(|operation| bench.floor_us(operation, &scenario.settings)),
            kinds,
            rows,
            invariants,
            counted,
            support_cores: bench.layout().support_cores(),
            allowed: self.allowed.clone(),
            trial: self.smoke,
        };
        judge(&judged, played)
    }

    /// Plays it, and records a profile meanwhile where one is asked for.
    async fn played(
        &self,
        service: &Service,
        order: Order,
        stopped: &watch::Receiver<bool>,
        follow: &mut dyn FnMut(Event),
    ) -> anyhow::Result<Played> {
        let seconds = (order.scenario.total_us() / 1_000_000).clamp(1, PROFILE_MAX_SECONDS);
        let recording = self.profile.as_ref().map(|path| (path, tokio::spawn(service.profile(seconds))));
        let played = aside(order, stopped, follow).await?;
        // One that was interrupted isn't of the whole load.
        if let Some((path, profile)) = recording.filter(|_| played.complete) {
            std::fs::write(path, profile.await??).with_context(|| path.display().to_string())?;
        }
        Ok(played)
    }
}

/// Its rates are multiples of the capacity.
fn multiples(scenario: &Scenario) -> bool {
    scenario.solo.as_ref().is_some_and(|solo| solo.times_capacity)
}
