//! A run in progress: each of its tasks, measured while a person is told how far it is.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context;
use stack::instance::Twin;
use tokio::sync::{mpsc, watch};

use super::ground::{Found, Ground, Sides};
use crate::command::parts::Outcome;
use crate::command::run::Alone;
use crate::command::signals::unless_stopped;
use crate::command::task::{Task, control_name, traced_name, tuned_name};
use crate::command::traces::Recording;
use crate::command::{Drawn, drawn};
use crate::compare::{Order, Playback, Played, judge, play};
use crate::engine::aside;
use crate::limits;
use crate::payments::capacity::Searching;
use crate::payments::footprint::footprints;
use crate::payments::{Pair, label};
use crate::progress::Progress;
use crate::report::{Compared, ContenderReport, Control, ScenarioReport, Traced, sliced};
use crate::scenario::Scenario;
use crate::stats::rounded;
use crate::surroundings::Care;
use crate::trace::{Kinds, Trace};
use crate::validity::STOLEN_MAX;
use crate::workload::{Sampled, Workload};

/// What all of its tasks share.
pub struct Run {
    pub allowed: Vec<String>,
    pub trial: bool,
    pub order_seed: u64,
    pub resamples: usize,
    pub stopped: watch::Receiver<bool>,
    pub progress: Progress,
    /// Gets the traces.
    pub folder: PathBuf,
    /// The two, as the tasks so far met them.
    pub contenders: Vec<ContenderReport>,
    /// Why what there is isn't a result, beside missed bounds.
    pub trouble: Vec<String>,
}

impl Run {
    /// Gives up on what takes long when a signal came; what it had started ends with it.
    pub async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        unless_stopped(&self.stopped, work).await
    }

    /// Measures what one task asks for.
    pub async fn perform(&mut self, ground: &Ground, task: &Task) -> anyhow::Result<Outcome> {
        let (stopped, alone) =
            (self.stopped.clone(), "only services that loadtest starts are measured alone");
        let bench = || ground.bench().context(alone);
        let care = Care { allowed: self.allowed.clone(), trial: self.trial };
        Ok(match task {
            Task::Compared(scenario) => Outcome::Compared(Box::new(self.compared(ground, scenario).await?)),
            Task::Control { of, twin, pairs } => {
                let control = Box::new(self.control(ground, of, *twin, *pairs).await?);
                Outcome::Control { of: of.name.clone(), control }
            }
            Task::Tuned { of, pairs, name, pair, tuning } => {
                let compared = Box::new(self.tuned(ground, of, *pairs, (name, pair)).await?);
                let given = tuning.given(&ground.twins(), bench()?.places()?);
                Outcome::Tuned { of: of.name.clone(), given, compared }
            }
            Task::Traced(of) => {
                Outcome::Traced { of: of.name.clone(), traced: Box::new(self.traced(ground, of).await?) }
            }
            Task::Limits(effort) => {
                let (bench, say) = (bench()?, &|text: &str| self.progress.say(text));
                bench.prepare_usual().await?;
                Outcome::Limits(self.unless_stopped(limits::measure(bench, effort, &care, say)).await?)
            }
            Task::Looking(effort) => {
                let (bench, say) = (bench()?, &|text: &str| self.progress.say(text));
                bench.prepare_usual().await?;
                let looking = limits::looking::measure(bench, effort, &care, say);
                Outcome::Looking(self.unless_stopped(looking).await?)
            }
            Task::Capacity(scenario, effort) => {
                let (bench, say) = (bench()?, &|text: &str| self.progress.say(text));
                bench.prepare(scenario).await?;
                let searching =
                    Searching { bench, scenario, effort: *effort, care: &care, stopped: &stopped, say };
                Outcome::Capacity(Box::new(searching.capacity().await?))
            }
            Task::Footprints(scenario, effort) => {
                let (bench, say) = (bench()?, &|text: &str| self.progress.say(text));
                bench.prepare(scenario).await?;
                Outcome::Footprints(footprints(bench, scenario, effort, (&care, &stopped), say).await?)
            }
            Task::Alone(scenario, twin) => {
                let (service, allowed) = (*twin, self.allowed.clone());
                let alone = Alone { service, capacity: None, allowed, smoke: self.trial, profile: None };
                let run = alone.measure(bench()?, scenario.clone(), &stopped, &mut self.progress).await?;
                Outcome::Alone(Box::new(run))
            }
        })
    }

    /// Plays one scenario and judges it.
    async fn compared(&mut self, ground: &Ground, scenario: &Scenario) -> anyhow::Result<ScenarioReport> {
        let act = Act::of(scenario.name.clone(), scenario)?;
        let (count, seconds) = (act.trace.lines.len(), scenario.total_us() as f64 / 1e6);
        self.progress.say(&format!(
            "{}: {count} requests in {seconds:.1} s for each, trace sha256 {}",
            scenario.name, act.trace.sha256
        ));
        if !ground.twins().is_empty() {
            self.progress.doing(&format!("{}: starting both services", scenario.name));
        }
        self.unless_stopped(ground.prepare(scenario)).await?;
        let sides = self.unless_stopped(ground.sides(&scenario.name)).await?;
        self.introduce(&sides);
        Ok(self.interleaved(ground, sides, &act).await?.0)
    }

    /// A service against a second instance of itself, on the scenario's first pairs.
    async fn control(
        &mut self,
        ground: &Ground,
        of: &Scenario,
        twin: Twin,
        pairs: usize,
    ) -> anyhow::Result<Control> {
        let act = Act::of_first(pairs, control_name(of, twin), of)?;
        self.progress.doing(&format!("{}: starting two instances", act.name));
        self.unless_stopped(ground.prepare(of)).await?;
        let databases = format!("{}_control", of.name);
        let sides = self.unless_stopped(ground.others(&databases, &Pair::of([twin, twin]))).await?;
        let (report, _) = self.interleaved(ground, sides, &act).await?;
        Ok(Control { name: twin.name().into(), label: label(twin).into(), report })
    }

    /// Services that are tuned, or one of them, on the scenario's first pairs.
    async fn tuned(
        &mut self,
        ground: &Ground,
        of: &Scenario,
        pairs: usize,
        (name, pair): (&str, &Pair),
    ) -> anyhow::Result<Compared> {
        let act = Act::of_first(pairs, tuned_name(of, pair), of)?;
        self.progress.doing(&format!("{}: starting both services", act.name));
        self.unless_stopped(ground.prepare(of)).await?;
        let databases = format!("{}_{name}", of.name);
        let sides = self.unless_stopped(ground.others(&databases, pair)).await?;
        let (report, _) = self.interleaved(ground, sides, &act).await?;
        Ok(Compared { name: name.into(), label: pair.against(), report })
    }

    /// Both with every request traced after the warm-up, and their traces against each other.
    async fn traced(&mut self, ground: &Ground, of: &Scenario) -> anyhow::Result<Traced> {
        let act = Act::of(traced_name(of), of)?;
        self.progress.doing(&format!("{}: starting both services", act.name));
        let pair = ground.pair().context("only services that loadtest starts can be traced")?;
        let recording = Recording::start(&self.folder, &of.name, pair).await?;
        let from = act.trace.window(0, of.warm_up_us()).len() as u64;
        let pair = pair.traced(recording.endpoints(), Sampled { share: 1.0, from });
        self.unless_stopped(ground.prepare(of)).await?;
        let sides = self.unless_stopped(ground.others(&format!("{}_traced", of.name), &pair)).await?;
        let (report, dropped) = self.interleaved(ground, sides, &act).await?;
        self.progress.doing(&format!("{}: comparing the traces", act.name));
        let slices = sliced(&act.trace, &report);
        let traces = recording.compared(slices, self.resamples, self.order_seed).await?;
        Ok(Traced::of(traces, report, dropped))
    }

    /// Plays an act on both and judges it; with the spans that each has lost.
    async fn interleaved(
        &mut self,
        ground: &Ground,
        sides: Sides<'_>,
        act: &Act,
    ) -> anyhow::Result<(ScenarioReport, [u64; 2])> {
        let mut playback = match self.play(ground, &sides, act).await {
            Ok(playback) => playback,
            Err(error) => return Err(self.explained(&sides, error)),
        };
        if let Some(failure) = playback.failure.take() {
            let failure = self.explained(&sides, failure);
            if playback.pairs.is_empty() {
                return Err(failure);
            }
            self.progress.say(&format!("{}: {failure:#}", act.name));
            self.trouble.push(format!("{}: {failure}; what is shown was measured before.", act.name));
        }
        let labels = sides.labels();
        let Found { rows, invariants, counted, builds, looks, inapplicable, spans_dropped } =
            sides.found().await?;
        sides.stop().await;
        self.progress.doing(&format!("{}: resampling", act.name));
        let (kinds, settings) = (Kinds::of(&act.trace, act.workload.operations()), &act.scenario.settings);
        let report = judge(&Played {
            scenario: &act.scenario,
            order_seed: self.order_seed,
            trace: &act.trace,
            labels,
            floors: kinds.floors(|operation| ground.floor_us(operation, act.workload.as_ref(), settings)),
            kinds,
            playback,
            rows,
            invariants,
            counted,
            support_cores: ground.layout().support_cores(),
            resamples: self.resamples,
            allowed: self.allowed.clone(),
            trial: self.trial,
            builds,
            looks,
            inapplicable,
        })?;
        Ok((report, spans_dropped))
    }

    /// With who has ended, where that is why; its log's end is said.
    fn explained(&self, sides: &Sides<'_>, error: anyhow::Error) -> anyhow::Error {
        let Some((who, log)) = sides.obituary() else { return error };
        if let Some(log) = log {
            self.progress.say(&format!("{who}; the end of its log:\n{log}"));
        }
        error.context(who)
    }

    fn introduce(&mut self, sides: &Sides<'_>) {
        let (labels, contenders) = (sides.labels(), sides.contenders());
        for (index, (version, ready_ms)) in sides.starts().into_iter().enumerate() {
            let ready_ms = ready_ms.map(rounded);
            if let Some(known) = self.contenders.get_mut(index) {
                known.ready_ms.extend(ready_ms);
                continue;
            }
            self.contenders.push(ContenderReport {
                name: contenders[index].name.clone(),
                label: labels[index].clone(),
                version,
                ready_ms: ready_ms.into_iter().collect(),
            });
        }
    }

    /// Plays in a thread of its own, while this one shows how far it is.
    async fn play(&mut self, ground: &Ground, sides: &Sides<'_>, act: &Act) -> anyhow::Result<Playback> {
        let (events, mut happened) = mpsc::unbounded_channel();
        let (playing, contenders, settle) = (act.clone(), sides.contenders(), sides.settle());
        let (support, cores) = (ground.support(), ground.layout().generator.clone());
        let order_seed = self.order_seed;
        // Of a trial's few pairs none can be spared.
        let most_stolen = (!self.trial).then_some(STOLEN_MAX);
        let mut playing = pin!(aside(&self.stopped, move |stop| {
            let order = Order {
                scenario: &playing.scenario,
                trace: Arc::clone(&playing.trace),
                workload: &*playing.workload,
                contenders: &contenders,
                support: &support,
                cores: &cores,
                order_seed,
                most_stolen,
                settle: &*settle,
            };
            play(&order, stop, &events)
        }));
        let mut follow = self.progress.scenario(&act.name, &act.scenario, sides.labels());
        loop {
            tokio::select! {
                // The last slice is shown before the end.
                biased;
                Some(event) = happened.recv() => follow.event(event),
                playback = &mut playing => return playback,
            }
        }
    }
}

/// What is played on two services.
#[derive(Clone)]
struct Act {
    /// For a person.
    name: String,
    scenario: Scenario,
    trace: Arc<Trace>,
    workload: Arc<dyn Workload + Send + Sync>,
}

impl Act {
    fn of(name: String, scenario: &Scenario) -> anyhow::Result<Self> {
        let Drawn { scenario, trace, workload } = drawn(scenario)?;
        Ok(Self { name, scenario, trace: Arc::new(trace), workload })
    }

    /// The scenario's first pairs, from the trace of all of it.
    fn of_first(pairs: usize, name: String, of: &Scenario) -> anyhow::Result<Self> {
        let whole = Self::of(name, of)?;
        let pairs = pairs.min(whole.scenario.pairs);
        Ok(Self { scenario: Scenario { pairs, ..whole.scenario }, ..whole })
    }
}
