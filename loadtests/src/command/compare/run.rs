//! A comparison in progress: each scenario on its two services, played while a person is told how far it is.

use std::pin::pin;
use std::sync::Arc;

use stack::instance::Twin;
use tokio::sync::{mpsc, watch};

use super::ground::{Found, Ground, Sides};
use crate::command::Drawn;
use crate::command::signals::unless_stopped;
use crate::compare::{Order, Playback, Played, judge, play};
use crate::engine::aside;
use crate::payments::label;
use crate::progress::Progress;
use crate::report::{ContenderReport, Control, ScenarioReport};
use crate::scenario::Scenario;
use crate::stats::rounded;
use crate::trace::{Kinds, Trace};
use crate::workload::Workload;

/// What all of its scenarios share.
pub(super) struct Run {
    pub allowed: Vec<String>,
    pub trial: bool,
    pub order_seed: u64,
    pub resamples: usize,
    pub stopped: watch::Receiver<bool>,
    pub progress: Progress,
    /// Each service is also compared with a second instance of itself, over so many pairs; unset: the scenario's.
    pub controlled: bool,
    pub control_pairs: Option<usize>,
    pub contenders: Vec<ContenderReport>,
}

impl Run {
    /// Gives up on what takes long when a signal came; what it had started ends with it.
    pub async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        unless_stopped(&self.stopped, work).await
    }

    /// Plays one scenario and judges it; then its controls.
    pub async fn scenario(&mut self, ground: &Ground, drawn: Drawn) -> anyhow::Result<ScenarioReport> {
        let Drawn { scenario, trace, workload } = drawn;
        let (count, seconds) = (trace.lines.len(), scenario.total_us() as f64 / 1e6);
        self.progress.say(&format!(
            "{}: {count} requests in {seconds:.1} s for each, trace sha256 {}",
            scenario.name, trace.sha256
        ));
        if !ground.twins().is_empty() {
            self.progress.doing(&format!("{}: starting both services", scenario.name));
        }
        self.unless_stopped(ground.prepare(&scenario)).await?;
        let sides = self.unless_stopped(ground.sides(&scenario.name)).await?;
        self.introduce(&sides);
        let act = Act { name: scenario.name.clone(), scenario, trace: Arc::new(trace), workload };
        let mut report = self.interleaved(ground, sides, &act).await?;
        for twin in if self.controlled { ground.twins() } else { Vec::new() } {
            match self.control(ground, twin, &act).await {
                Ok(control) => report.controls.push(control),
                // What was compared before is reported.
                Err(error) if *self.stopped.borrow() => {
                    self.progress.say(&format!("{error:#}"));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(report)
    }

    /// A service against a second instance of itself, on the scenario's first pairs.
    async fn control(&mut self, ground: &Ground, twin: Twin, act: &Act) -> anyhow::Result<Control> {
        let (label, of) = (label(twin), &act.scenario);
        let name = format!("{}, {label} against itself", of.name);
        self.progress.doing(&format!("{name}: starting two instances"));
        let pairs = self.control_pairs.map_or(of.pairs, |pairs| pairs.min(of.pairs));
        let databases = format!("{}_control", of.name);
        let sides = self.unless_stopped(ground.control(&databases, twin)).await?;
        let act = Act { name, scenario: Scenario { pairs, ..of.clone() }, ..act.clone() };
        let report = self.interleaved(ground, sides, &act).await?;
        Ok(Control { name: twin.name().into(), label: label.into(), report })
    }

    /// Plays an act on both and judges it.
    async fn interleaved(
        &mut self,
        ground: &Ground,
        sides: Sides<'_>,
        act: &Act,
    ) -> anyhow::Result<ScenarioReport> {
        let playback = self.play(ground, &sides, act).await;
        let playback = playback.map_err(|error| match sides.obituary() {
            Some(told) => error.context(told),
            None => error,
        })?;
        let labels = sides.labels();
        let Found { rows, invariants, builds, inapplicable } = sides.found().await?;
        sides.stop().await;
        self.progress.doing(&format!("{}: resampling", act.name));
        let kinds = Kinds::of(&act.trace, act.workload.operations());
        judge(&Played {
            scenario: &act.scenario,
            order_seed: self.order_seed,
            trace: &act.trace,
            labels,
            floors: kinds.floors(act.workload.as_ref(), &act.scenario.settings),
            kinds,
            playback,
            rows,
            invariants,
            support_cores: ground.layout().support_cores(),
            resamples: self.resamples,
            allowed: self.allowed.clone(),
            trial: self.trial,
            builds,
            inapplicable,
        })
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
        let mut playing = pin!(aside(&self.stopped, move |stop| {
            let order = Order {
                scenario: &playing.scenario,
                trace: Arc::clone(&playing.trace),
                workload: &*playing.workload,
                contenders: &contenders,
                support: &support,
                cores: &cores,
                order_seed,
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
