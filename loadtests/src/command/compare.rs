//! `loadtest compare`: the two services against each other, from starting them to the page.

pub(super) mod ground;
pub(super) mod run;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use stack::instance::Twin;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use self::ground::Ground;
use self::run::Run;
use super::folder::{Folder, Interrupted};
use super::parts::{Head, Parts};
use super::signals::stop_on_signal;
use super::solo::BesideArgs;
use super::task::{Task, expected, traced};
use super::{Drawn, OverrideArgs, draw, interleavable};
use crate::assert::Assert;
use crate::payments::{Bench, Layout, Pair, Tuning, USUAL_TUNING};
use crate::plain::{self, Given, GivenArgs, NAMES};
use crate::progress::Progress;
use crate::report::{self, Environment, Report, ScenarioReport, table};
use crate::scenario::{Overrides, SLICE_MS_MIN, Scenario, check_names};
use crate::validity::{BY_NAME, OF_THE_MACHINE};
use crate::{environment, junit};

/// Enough that the ends of an interval don't wander by more than a few per cent of its width.
pub(super) const RESAMPLES: usize = 2000;
/// Pairs of slices that are played with every request traced, at most.
const TRACED_PAIRS: usize = 20;
/// The same where somebody waits: enough for an interval though some are set aside, each so much shorter.
const TRACED_BRIEFLY: usize = 12;
const SHORTER: u64 = 3;
/// Exit code of a run that is void or was interrupted.
pub(super) const VOID: u8 = 3;
/// Where reports go by default.
pub(super) const OUT: &str = "loadtests/out";
/// Between two steps in a trial, so that on a busy machine too a result is there when it is needed.
pub(super) const TRIAL_THINK_MS: u64 = 1000;
/// What `--smoke` asks for, unless an option says otherwise.
pub(super) const SMOKE: Overrides = Overrides {
    rate: Some(15.0),
    pairs: Some(3),
    slice_ms: Some(500),
    seed: None,
    warm_up_seconds: Some(1.0),
    doors: None,
    // As long as the warm-up: what a step needs was asked for before the last drain, so it is there however slow the machine is.
    think_time_ms: Some(TRIAL_THINK_MS),
    trace: None,
};
pub(super) const SMOKE_RESAMPLES: usize = 200;

/// Compare the Rust and the Go service, or one of them with itself, or any two, under the same load and write a report
///
/// Starts everything itself: what both services need, and for each scenario both services, fresh. Each runs on the same
/// one core from its first instruction; the generator and the rest run on the others. The scenario's request trace is cut
/// into slices; each slice is played on one service, drained, then played on the other, in an order drawn at random.
/// Needs the built programs (`make build`), nothing else. `loadtest compare --smoke` shows within seconds that it works.
///
/// With --a and --b it compares any two services that speak HTTP and run already, by requests that the scenario
/// writes down: loadtests/scenarios/plain-example.toml shows how.
///
/// The report is report.html (open it), report.json (all numbers, raw histograms) and summary.md. A run that is void or
/// failed leaves the logs of what it started beside them, and says where.
///
/// On a terminal a view shows how far it is, both so far, and the bounds that can already be looked at; elsewhere lines do.
/// Ctrl-C ends the slice, stops everything and reports what was measured so far; a second one ends at once. A service
/// that dies in the middle is named, and ends the run in the same way. A part that can't be measured is left out, and named.
///
/// It says first how long it will take, and until when. `loadtest full` plays all scenarios, and can be resumed.
///
/// Exit codes: 0 done, and every --assert held; 1 one didn't; 2 could not run, or ended before anything was measured (one
/// line says why); 3 the run is void, whatever was asserted: a bound of its validity was missed (the report says which on
/// top), it was interrupted, or a service died.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A file, or the name of one in loadtests/scenarios without its ending; given again: one report of all
    #[arg(long = "scenario", default_value = "checkout", value_name = "NAME|FILE")]
    scenarios: Vec<String>,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Who is compared, ratios being the first's by the second's: `rust,go`; or an A/A comparison, `rust,rust` or `go,go`,
    /// of a service with a second instance of itself on a database of its own: what differs then is chance, and intervals
    /// should include 1
    #[arg(long, default_value_t, value_name = "A,B")]
    pair: Pair,
    /// Also play each scenario on each service and a second instance of itself (an A/A control). A metric is then called a
    /// difference only where its interval excludes 1 and those of its controls include 1. Takes three times as long
    #[arg(long)]
    control: bool,
    /// Also play each scenario once more, at half its rate, with every request traced, and compare the traces of the two:
    /// whether they do the same, and where the difference of their times comes from. The traces stay beside the report; see
    /// `loadtest traces`, which also compares those of services that run by themselves
    #[arg(long)]
    traced: bool,
    /// Pairs of slices of each control, the scenario's first; with fewer, fewer high percentiles can be told, and what a
    /// control can't tell isn't called a difference [default: all of the scenario's]
    #[arg(long, value_name = "N", requires = "control", value_parser = clap::value_parser!(u16).range(2..))]
    control_pairs: Option<u16>,
    /// Also play each scenario on both services tuned, and on each tuned against itself as it is by default. How is in a
    /// file: loadtests/tuning.toml, or another (--tuned=FILE). Needs `make build-tuned`. Takes four times as long
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = USUAL_TUNING)]
    tuned: Option<PathBuf>,
    #[command(flatten)]
    given: GivenArgs,
    /// Folder of the report [default: loadtests/out/<time>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seconds long: shows that everything works. May miss lag, rate, generator, support, others, stolen, disturbed and build, and
    /// leave 5 % of the requests unserved
    #[arg(long)]
    smoke: bool,
    /// A threshold, such as 'p99_ratio<1', 'errors==0' or 'checkout:p99_rust<5'; may be given again. Left, a figure: p50,
    /// p90, p99, p99.9 (ms), rate (replies/s), cpu (µs a request), idle_cpu (ms a second) or rss (MiB), each with _ratio,
    /// with _a or _b (the first or the second service) or with a service's name (_rust); or errors, skipped, dropped,
    /// shed: requests in the measured slices, of both, or of one as before. Then < <= == >= or >, and a number. Of a
    /// ratio the estimate is compared, and its interval is shown beside it; a figure that the run can't tell isn't held.
    /// With a scenario's name and a colon before it: in that scenario; else in each
    #[arg(long = "assert", value_name = "EXPRESSION")]
    asserts: Vec<String>,
    /// Also write JUnit XML: a test case for each bound of the run's validity and for each --assert
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Bounds that may be missed without voiding the run: rate, lag, skipped, shed, dropped, generator, support, others,
    /// stolen, disturbed, build, connections. Not answered, unexpected, counts, invariants, little, floor, complete: those are about right and wrong
    #[arg(long, value_name = "BOUNDS", value_delimiter = ',')]
    allow_void: Vec<String>,
    #[command(flatten)]
    beside: BesideArgs,
}

impl CompareArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        allowed(&self.allow_void, self.smoke)?;
        let overrides = self.overrides();
        // A wrong scenario is said before anything is started.
        let drawn =
            self.scenarios.iter().map(|name| draw(name, &overrides)).collect::<anyhow::Result<Vec<_>>>()?;
        check_names(drawn.iter().map(|drawn| &drawn.scenario))?;
        drawn.iter().try_for_each(|drawn| interleavable(&drawn.scenario))?;
        self.fits(&drawn)?;
        if self.traced && self.overrides.overrides().trace.is_some() {
            bail!(
                "--traced: is played at half the rate and in part, of which --trace has no requests: leave one of them out"
            );
        }
        self.beside.check(self.traced)?;
        let asserts = self.asserts(&drawn)?;
        let tuning = self.tuned.as_deref().map(|path| Tuning::ready(path, &self.pair.twins())).transpose()?;
        let scenarios: Vec<_> = drawn.into_iter().map(|drawn| drawn.scenario).collect();
        let given = self.given.meet()?;
        if let Some(path) = &self.junit {
            report::writable(path)?;
        }
        let at = OffsetDateTime::now_utc();
        let folder = Folder::make(self.folder(at)?)?;
        // This thread starts the services, and they end with it: so it stays until the end, and the load has its own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let compared = runtime.block_on(self.compare(&scenarios, tuning.as_ref(), given, at, &folder));
        let report = match compared.and_then(|report| self.conclude(report, &asserts, folder.path())) {
            Ok(report) => report,
            Err(error) => return Err(folder.give_up(error)),
        };
        print!("\n{}", table(&report));
        println!("\nThe page: {}", folder.path().join("report.html").display());
        if !report.void.is_empty() {
            println!("The logs: {}", folder.keep_logs().display());
            return Ok(ExitCode::from(VOID));
        }
        let held = report.asserts.iter().all(|asserted| asserted.held);
        Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Each workload is of services of one kind.
    fn fits(&self, drawn: &[Drawn]) -> anyhow::Result<()> {
        for Drawn { scenario: Scenario { name, workload, .. }, .. } in drawn {
            match (self.given.are_there(), workload == plain::NAME) {
                (true, false) => bail!(
                    "{name}: its workload is {workload}, which only services that loadtest starts can serve: --a and --b need `{}`",
                    plain::NAME
                ),
                (false, true) => {
                    bail!("{name}: its workload is {workload}: name two services that run by --a and --b")
                }
                (true, true) | (false, false) => {}
            }
        }
        Ok(())
    }

    /// An unknown figure is said before anything is started.
    fn asserts(&self, drawn: &[Drawn]) -> anyhow::Result<Vec<Assert>> {
        let names = if self.given.are_there() {
            NAMES.map(String::from)
        } else {
            self.pair.0.each_ref().map(|side| side.name.clone())
        };
        let scenarios: Vec<_> = drawn.iter().map(|drawn| drawn.scenario.name.clone()).collect();
        let parse = |text: &String| Ok(Assert::parse(text, &names, &scenarios)?);
        self.asserts.iter().map(parse).collect()
    }

    /// Holds the asserts against the report and writes everything.
    fn conclude(&self, mut report: Report, asserts: &[Assert], folder: &Path) -> anyhow::Result<Report> {
        report.asserts = asserts.iter().flat_map(|assert| assert.judge(&report.scenarios)).collect();
        report.write(folder)?;
        if let Some(path) = &self.junit {
            report::replace(path, &junit::xml(&report)?)?;
        }
        Ok(report)
    }

    fn overrides(&self) -> Overrides {
        let given = self.overrides.overrides();
        if !self.smoke {
            return given;
        }
        Overrides {
            rate: given.rate.or(SMOKE.rate),
            pairs: given.pairs.or(SMOKE.pairs),
            slice_ms: given.slice_ms.or(SMOKE.slice_ms),
            seed: given.seed,
            warm_up_seconds: given.warm_up_seconds.or(SMOKE.warm_up_seconds),
            doors: given.doors,
            think_time_ms: SMOKE.think_time_ms,
            trace: given.trace,
        }
    }

    async fn compare(
        &self,
        scenarios: &[Scenario],
        tuning: Option<&Tuning>,
        given: Option<Given>,
        at: OffsetDateTime,
        folder: &Folder,
    ) -> anyhow::Result<Report> {
        let started = Instant::now();
        let mut machine = environment::machine()?;
        let order_seed = self.overrides().seed.unwrap_or_else(random_seed);
        let tasks = self.tasks(scenarios, tuning, order_seed);
        let (mut run, ground) = self.begin(given, order_seed, folder, &expected(&tasks)).await?;
        machine.extend(ground.machine().await?);
        let parts = perform(&mut run, &ground, &tasks).await?;
        run.progress.doing("stopping");
        let layout = ground.lines();
        // A database that has ended can't be asked, and isn't stopped; what was measured before is there.
        let unknown = |error| vec![("Settings".to_owned(), format!("not known: {error:#}"))];
        let settings = ground.settings().await.unwrap_or_else(unknown);
        if let Err(error) = ground.stop().await {
            run.progress.say(&format!("stopping: {error:#}"));
        }
        run.progress.end();
        let unmeasured = |report: &ScenarioReport| report.slices.iter().any(Vec::is_empty);
        if *run.stopped.borrow() {
            if parts.scenarios().iter().all(unmeasured) {
                return Err(Interrupted.into());
            }
            let (begun, count) = (parts.scenarios().len(), scenarios.len());
            run.trouble.insert(
                0,
                format!("The run was interrupted, with {begun} of {count} scenarios begun or done."),
            );
        }
        let report = parts.report(Head {
            started_at: at.truncate_to_second().format(&Rfc3339)?,
            seconds: started.elapsed().as_secs_f64(),
            environment: Environment { machine, layout, settings },
            trouble: run.trouble,
        });
        Ok(Report { development: self.beside.development()?, ..report })
    }

    /// Each scenario, then its controls, then the same tuned; then what is measured beside all of them.
    fn tasks(&self, scenarios: &[Scenario], tuning: Option<&Tuning>, seed: u64) -> Vec<Task> {
        // Services that somebody else started can't be started again.
        let own = !self.given.are_there();
        let twins = if self.control && own { self.pair.twins() } else { Vec::new() };
        let of_one = |of: &Scenario| {
            let pairs = self.control_pairs.map_or(of.pairs, |pairs| usize::from(pairs).min(of.pairs));
            let control = |twin: &Twin| Task::Control { of: of.clone(), twin: *twin, pairs };
            let controls = twins.iter().map(control);
            let tuned = tuning.map_or(Vec::new(), |tuning| Task::tuned(of, of.pairs, &self.pair, tuning));
            let told = (self.traced && own).then(|| Task::Traced(self.traced(of)));
            let all = iter::once(Task::Compared(of.clone())).chain(controls).chain(tuned);
            all.chain(told).collect::<Vec<_>>()
        };
        let compared = scenarios.iter().flat_map(of_one);
        let beside = if own { self.beside.tasks(scenarios, seed, self.smoke) } else { Vec::new() };
        compared.chain(beside).collect()
    }

    fn traced(&self, of: &Scenario) -> Scenario {
        if self.beside.brief {
            let slice_ms = (of.slice_ms / SHORTER).max(SLICE_MS_MIN);
            return traced(&Scenario { slice_ms, ..of.clone() }, of.pairs.min(TRACED_BRIEFLY));
        }
        traced(of, of.pairs.min(TRACED_PAIRS))
    }

    /// Says who runs where, and starts what the services need where they are the judge's own.
    async fn begin(
        &self,
        given: Option<Given>,
        order_seed: u64,
        folder: &Folder,
        expected: &str,
    ) -> anyhow::Result<(Run, Ground)> {
        let (layout, lines) = match &given {
            Some(given) => (given.layout().clone(), given.lines()),
            None => {
                let layout = Layout::of(&environment::cores()?);
                let lines = layout.lines();
                (layout, lines)
            }
        };
        // All that this thread starts from here on, the progress line too, stays off the services' core.
        crate::realtime::settle(&layout.around())?;
        let run = Run {
            allowed: allowed(&self.allow_void, self.smoke)?,
            trial: self.smoke,
            order_seed,
            resamples: if self.smoke { SMOKE_RESAMPLES } else { RESAMPLES },
            stopped: stop_on_signal(VOID)?,
            progress: Progress::new(),
            folder: folder.path().to_owned(),
            contenders: Vec::new(),
            trouble: Vec::new(),
        };
        run.progress.say(expected);
        for (who, where_it_runs) in lines {
            run.progress.say(&format!("{who}: {where_it_runs}"));
        }
        if let Some(given) = given {
            return Ok((run, Ground::Given(given)));
        }
        run.progress.doing("starting what the services need");
        let (pair, twins) = (self.pair.clone(), self.pair.twins());
        let say = |text: &str| run.progress.say(text);
        let bench = Bench::start(layout.clone(), &twins, self.smoke, folder.logs(), say);
        let bench = Box::new(run.unless_stopped(bench).await?);
        Ok((run, Ground::Twins { bench, pair, layout }))
    }

    fn folder(&self, at: OffsetDateTime) -> anyhow::Result<PathBuf> {
        Ok(self.out.clone().unwrap_or(Path::new(OUT).join(timestamp(at)?)))
    }
}

/// Bounds that may be missed: those named, and of a trial those of the machine.
pub(super) fn allowed(named: &[String], trial: bool) -> anyhow::Result<Vec<String>> {
    let may = |name: &str| OF_THE_MACHINE.contains(&name) || BY_NAME.contains(&name);
    if let Some(name) = named.iter().find(|name| !may(name)) {
        bail!(
            "--allow-void: `{name}` is no bound that may be missed; these may: {}",
            [OF_THE_MACHINE.as_slice(), &BY_NAME].concat().join(", ")
        );
    }
    let of_trial = if trial { OF_THE_MACHINE.as_slice() } else { &[] };
    Ok(named.iter().cloned().chain(of_trial.iter().map(|name| (*name).to_owned())).collect())
}

/// Measures task by task, until all are done, a signal comes, or a service dies: then what there is counts. One that can't be
/// measured is left out, and so is what belongs to it.
async fn perform(run: &mut Run, ground: &Ground, tasks: &[Task]) -> anyhow::Result<Parts> {
    let mut parts = Parts::default();
    for task in tasks {
        if *run.stopped.borrow() || !run.trouble.is_empty() {
            break;
        }
        if parts.lacks(task) {
            continue;
        }
        match run.perform(ground, task).await {
            Ok(outcome) => parts.add(outcome),
            Err(error) if error.is::<Interrupted>() => {}
            Err(error) if *run.stopped.borrow() => run.progress.say(&format!("{error:#}")),
            Err(error) if parts.scenarios().is_empty() => return Err(error),
            Err(error) => {
                run.progress.say(&format!("{}: {error:#}", task.name()));
                parts.fail(task, &error);
            }
        }
    }
    parts.meet(std::mem::take(&mut run.contenders));
    Ok(parts)
}

/// A moment as a folder's name.
pub(super) fn timestamp(at: OffsetDateTime) -> anyhow::Result<String> {
    Ok(at.format(format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]Z"))?)
}

/// Another for each run, so that one unlucky order doesn't stay; short enough for every reader of JSON.
pub(super) fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> 11
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::budget::GROUND;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        compare: CompareArgs,
    }

    #[test]
    fn what_make_loadtest_asks_for_takes_under_five_minutes() {
        let makefile = include_str!("../../../Makefile");
        let options = makefile.lines().find_map(|line| line.strip_prefix("BRIEFLY := ")).unwrap();
        let given = iter::once("loadtest").chain(options.split_whitespace());
        let Cli { compare } = Cli::try_parse_from(given).unwrap();
        let one = |name: &String| Scenario::load(name, &compare.overrides()).unwrap();
        let scenarios: Vec<_> = compare.scenarios.iter().map(one).collect();
        let tasks = compare.tasks(&scenarios, None, 1);
        let names: Vec<_> = tasks.iter().map(Task::name).collect();
        let wanted = [
            "checkout",
            "checkout, Rust against itself",
            "checkout, Go against itself",
            "checkout, traced",
            "limits of the machine",
            "checkout, how much each takes alone",
            "start and memory of each",
        ];
        assert_eq!(names, wanted);
        let seconds = GROUND + tasks.iter().map(Task::seconds).sum::<f64>();
        let each: Vec<_> = tasks.iter().map(|task| (task.name(), task.seconds())).collect();
        assert!((180.0..300.0).contains(&seconds), "{seconds} s: {each:?}");
    }
}
