//! `loadtest full`: everything that can be measured, part by part, each kept as soon as it is there.

mod about;
mod plan;
mod store;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use stack::instance::Twin;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::about::About;
use self::plan::Planned;
use self::store::{Part, Start, Store};
use super::compare::ground::Ground;
use super::compare::run::Run;
use super::compare::{OUT, RESAMPLES, SMOKE_RESAMPLES, VOID, allowed, random_seed, timestamp};
use super::folder::{Folder, Interrupted};
use super::parts::{Head, Parts};
use super::signals::stop_on_signal;
use crate::budget::{GROUND, after, spoken};
use crate::environment;
use crate::payments::{Bench, Layout, Pair, Tuning, USUAL_TUNING};
use crate::progress::Progress;
use crate::report::{ContenderReport, Environment, FORMAT, Report, Version, half_widths, table};

/// Everything that can be told about the two services, in one report: about two and a half hours
///
/// Plays each scenario that can be cut into slices, over HTTP and where the door matters over gRPC too, as `compare` does,
/// each with its A/A controls; the checkout with tuned services too, where that is asked for; measures the machine's
/// limits, and each service alone: capacity, start, memory; and plays the scenarios for one service (overload, spike, soak)
/// on each. First it prints how long each part will take, and until
/// when all of them will.
///
/// A part that is finished is kept in a file of its own, in `parts` in the report's folder. However the run ends (Ctrl-C,
/// kill -9, a reboot), what is there stays: the next `loadtest full` with the same options goes on with the newest run of
/// them that isn't finished, says so, and plays only what is missing. --resume names one, --new begins another. Parts of
/// another build, other options, other scenarios or another machine aren't mixed: a line says what differs.
///
/// A part that is void is kept aside and played once more at the end; where it is void again the report is void, and says
/// why. --resume of such a run plays those parts again, at a quieter hour. The report is report.html, report.json and
/// summary.md, as of `compare`; `loadtest verify` checks it.
///
/// Exit codes: 0 done; 1 a scenario wants flat memory, and it rose; 2 could not run, or was interrupted (one line says
/// how to go on); 3 a part is void.
#[derive(Debug, Args)]
pub struct FullArgs {
    /// Only these parts: scenarios by name (over gRPC with -grpc at its end), limits, looking (what being
    /// traced costs), solo (capacity, start, memory)
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<String>,
    /// Folder of a new run [default: loadtests/out/<time>]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["resume"])]
    out: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Begin a new run, whatever isn't finished
    #[arg(long, conflicts_with_all = ["resume"])]
    new: bool,
    /// Also play the checkout on both services tuned, and on each tuned against itself as it is by default. How is in a
    /// file: loadtests/tuning.toml, or another (--tuned=FILE). Needs `make build-tuned`
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = USUAL_TUNING)]
    tuned: Option<PathBuf>,
    /// To see that it works: every part as short as it can be, with light hashes; a busy machine and a debug build don't
    /// void it
    #[arg(long)]
    smoke: bool,
    /// Bounds that may be missed without voiding a part: see `loadtest compare --help`
    #[arg(long, value_name = "BOUNDS", value_delimiter = ',')]
    allow_void: Vec<String>,
}

impl FullArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let allowed = allowed(&self.allow_void, self.smoke)?;
        let tuning = self.tuned.as_deref().map(|path| Tuning::ready(path, &Twin::ALL)).transpose()?;
        let planned = plan::planned(&self.only, self.smoke, tuning.as_ref())?;
        let layout = Layout::of(&environment::cores()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let postgres = runtime.block_on(stack::postgres::program(|text| eprintln!("{text}")))?;
        let about = About::now(&planned, self.options(), &layout, (tuning.is_some(), postgres))?;
        let store = self.store(about)?;
        let missing = store.missing();
        print_budget(&planned, &missing);
        let (folder, order_seed) = (Folder::make(store.folder().into())?, store.start().order_seed);
        // All that this thread starts from here on stays off the services' core.
        crate::realtime::settle(&layout.around())?;
        let run = Run {
            allowed,
            trial: self.smoke,
            order_seed,
            resamples: if self.smoke { SMOKE_RESAMPLES } else { RESAMPLES },
            stopped: stop_on_signal(2)?,
            progress: Progress::new(),
            folder: folder.path().to_owned(),
            contenders: Vec::new(),
            trouble: Vec::new(),
        };
        let mut playing = Playing { run, layout, store, planned, logs: folder.logs().into() };
        let played = runtime.block_on(playing.all());
        playing.run.progress.end();
        if let Err(error) = played {
            let rest = self.rest(&playing);
            if error.is::<Interrupted>() {
                bail!("interrupted; {rest}");
            }
            return Err(folder.give_up(anyhow!("{error:#}; {rest}")));
        }
        let report = report(&playing.store, &playing.planned)?;
        report.write(folder.path())?;
        print!("\n{}", table(&report));
        if !report.scenarios.is_empty() {
            println!("\n{}", half_widths(&report));
        }
        println!("The page: {}", folder.path().join("report.html").display());
        if !report.void.is_empty() {
            println!("The logs: {}", folder.keep_logs().display());
            println!("At a quieter hour: {}", self.rest(&playing));
            return Ok(ExitCode::from(VOID));
        }
        let risen = report.alone.iter().any(|run| run.risen_mib().is_some());
        Ok(if risen { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// The folder to go on with, or a new one.
    fn store(&self, about: About) -> anyhow::Result<Store> {
        if let Some(folder) = &self.resume {
            return Store::resume(folder, &about);
        }
        if self.out.is_none()
            && !self.new
            && let Some(store) = store::newest_that_fits(Path::new(OUT), &about, |text| eprintln!("{text}"))?
        {
            return Ok(store);
        }
        let at = OffsetDateTime::now_utc();
        let folder = match &self.out {
            Some(folder) => folder.clone(),
            None => Path::new(OUT).join(timestamp(at)?),
        };
        let started_at = at.truncate_to_second().format(&Rfc3339)?;
        Store::begin(&folder, Start { format: FORMAT, started_at, order_seed: random_seed(), about })
    }

    /// As they have to be given again.
    fn options(&self) -> Vec<String> {
        let list = |option: &str, values: &[String]| {
            (!values.is_empty()).then(|| vec![option.to_owned(), values.join(",")])
        };
        let smoke = self.smoke.then(|| vec!["--smoke".to_owned()]);
        let tuned = self.tuned.iter().map(|path| format!("--tuned={}", path.display())).collect::<Vec<_>>();
        let tuned = (!tuned.is_empty()).then_some(tuned);
        let all = [smoke, tuned, list("--only", &self.only), list("--allow-void", &self.allow_void)];
        all.into_iter().flatten().flatten().collect()
    }

    /// What is kept, and how to have the rest.
    fn rest(&self, playing: &Playing) -> String {
        let (all, kept) = (playing.planned.len(), playing.store.good());
        let options: String = self.options().iter().map(|option| format!("{option} ")).collect();
        let folder = playing.store.folder().display();
        format!("{kept} of {all} parts are kept; to go on: loadtest full {options}--resume {folder}")
    }
}

/// A line a part.
fn print_budget(planned: &[Planned], missing: &[usize]) {
    for (index, one) in planned.iter().enumerate() {
        let is_there = if missing.contains(&index) { "" } else { ", is there" };
        eprintln!("{:>12}  {}{is_there}", spoken(seconds(one)), one.task.name());
    }
    let left = left(planned, missing);
    eprintln!("{:>12}  in all, until {}", spoken(left), after(left));
}

fn seconds(one: &Planned) -> f64 {
    GROUND + one.task.seconds()
}

/// How long these take, about.
fn left(planned: &[Planned], missing: &[usize]) -> f64 {
    missing.iter().map(|index| seconds(&planned[*index])).sum()
}

/// A run being played.
struct Playing {
    run: Run,
    layout: Layout,
    store: Store,
    planned: Vec<Planned>,
    logs: PathBuf,
}

impl Playing {
    /// Every part that is missing; one that is void comes again after all others, once.
    async fn all(&mut self) -> anyhow::Result<()> {
        while let Some(index) = self.store.missing().first().copied() {
            let part = self.one(index).await?;
            let name = part.name.clone();
            let void = self.store.keep(index, &part)?;
            for reason in &void {
                self.run.progress.say(&format!("void: {reason}"));
            }
            let missing = self.store.missing();
            let (done, all) = (self.store.good(), self.planned.len());
            let left = left(&self.planned, &missing);
            self.run.progress.say(&format!(
                "{name}: {}; {done} of {all} parts are there, {} left, until {}",
                if void.is_empty() { "done" } else { "void" },
                spoken(left),
                after(left)
            ));
        }
        Ok(())
    }

    /// On a ground of its own, so that it is the same whichever run plays it.
    async fn one(&mut self, index: usize) -> anyhow::Result<Part> {
        let begun = std::time::Instant::now();
        let Self { run, layout, planned, logs, .. } = self;
        let task = &planned[index].task;
        run.progress.doing(&format!("{}: starting what the services need", task.name()));
        let say = |text: &str| run.progress.say(text);
        let bench = Bench::start(layout.clone(), &Twin::ALL, run.trial, logs, say);
        let bench = Box::new(run.unless_stopped(bench).await?);
        let ground = Ground::Twins { bench, pair: Pair::default(), layout: layout.clone() };
        let mut machine = environment::machine()?;
        machine.extend(ground.machine().await?);
        let outcome = run.perform(&ground, task).await.with_context(|| task.name());
        if *run.stopped.borrow() {
            bail!(Interrupted);
        }
        let (outcome, settings) = (outcome?, ground.settings().await?);
        let environment = Environment { machine, layout: ground.lines(), settings };
        ground.stop().await?;
        Ok(Part {
            format: FORMAT,
            run: self.store.start().order_seed,
            name: task.name(),
            seconds: begun.elapsed().as_secs_f64(),
            environment,
            contenders: std::mem::take(&mut run.contenders),
            trouble: std::mem::take(&mut run.trouble),
            outcome,
        })
    }
}

/// Of all parts.
fn report(store: &Store, planned: &[Planned]) -> anyhow::Result<Report> {
    let unmet = |side: &crate::payments::Side| ContenderReport {
        name: side.name.clone(),
        label: side.label.clone(),
        version: Version::default(),
        ready_ms: Vec::new(),
    };
    let mut parts = Parts::of(Pair::default().0.iter().map(unmet).collect());
    let (mut seconds, mut trouble, mut again) = (0.0, Vec::new(), Vec::new());
    let mut environment = Environment::default();
    for (index, one) in planned.iter().enumerate() {
        let kept = store.kept(index)?;
        let (name, good) = (one.task.name(), kept.good.is_some());
        for reasons in kept.void.iter().filter(|_| good).map(Part::void) {
            again.push((format!("{name}: void, and played again"), reasons.join(" ")));
        }
        let last = kept.good.or(kept.void.into_iter().last());
        let part = last.with_context(|| format!("{name}: no file of it is there"))?;
        seconds += part.seconds;
        trouble.extend(part.trouble);
        parts.meet(part.contenders);
        parts.add(part.outcome);
        environment = part.environment;
    }
    environment.settings.extend(again);
    Ok(parts.report(Head { started_at: store.start().started_at.clone(), seconds, environment, trouble }))
}
