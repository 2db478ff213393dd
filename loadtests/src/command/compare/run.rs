//! A comparison in progress: each scenario on fresh services, played while a person is told how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use stack::instance::Twin;
use tokio::sync::{mpsc, oneshot, watch};

use crate::command::folder::Interrupted;
use crate::compare::{Order, Playback, Played, judge, play};
use crate::payments::{Bench, Layout, Pair, Pairing, Payments, label};
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
    pub layout: Layout,
    pub stopped: watch::Receiver<bool>,
    pub progress: Progress,
    pub pair: Pair,
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
        let mut stopped = self.stopped.clone();
        tokio::select! {
            done = work => done,
            _ = stopped.wait_for(|stopped| *stopped) => Err(Interrupted.into()),
        }
    }

    /// Plays one scenario and judges it; then its controls.
    pub async fn scenario(
        &mut self,
        bench: &Bench,
        scenario: Scenario,
        trace: Trace,
    ) -> anyhow::Result<ScenarioReport> {
        let (count, seconds) = (trace.lines.len(), scenario.total_us() as f64 / 1e6);
        self.progress.say(&format!(
            "{}: {count} requests in {seconds:.1} s for each, trace sha256 {}",
            scenario.name, trace.sha256
        ));
        self.progress.doing(&format!("{}: starting both services", scenario.name));
        let pairing = self.unless_stopped(bench.pairing(&scenario.name, &self.pair)).await?;
        self.introduce(&pairing);
        let trace = Arc::new(trace);
        let mut report = self.interleaved(bench, pairing, &scenario.name, &scenario, &trace).await?;
        for twin in if self.controlled { self.pair.twins() } else { Vec::new() } {
            match self.control(bench, twin, &scenario, &trace).await {
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
    async fn control(
        &mut self,
        bench: &Bench,
        twin: Twin,
        scenario: &Scenario,
        trace: &Arc<Trace>,
    ) -> anyhow::Result<Control> {
        let label = label(twin);
        let name = format!("{}, {label} against itself", scenario.name);
        self.progress.doing(&format!("{name}: starting two instances"));
        let pairs = self.control_pairs.map_or(scenario.pairs, |pairs| pairs.min(scenario.pairs));
        let scenario = Scenario { pairs, ..scenario.clone() };
        let databases = format!("{}_control", scenario.name);
        let pairing = self.unless_stopped(bench.pairing(&databases, &Pair::of([twin, twin]))).await?;
        let report = self.interleaved(bench, pairing, &name, &scenario, trace).await?;
        Ok(Control { name: twin.name().into(), label: label.into(), report })
    }

    /// Plays a scenario on both and judges it; `name` is for a person.
    async fn interleaved(
        &mut self,
        bench: &Bench,
        pairing: Pairing,
        name: &str,
        scenario: &Scenario,
        trace: &Arc<Trace>,
    ) -> anyhow::Result<ScenarioReport> {
        let playback = self.play(bench, &pairing, name, scenario, trace).await;
        let playback = playback.map_err(|error| match pairing.obituary() {
            Some(log) => {
                error.context(format!("a service ended during the run; the end of its log:\n{log}\n"))
            }
            None => error,
        })?;
        let (labels, builds) = (pairing.labels.clone(), pairing.builds());
        let rows = pairing.rows().await?;
        let invariants = pairing.invariants().await?;
        pairing.stop().await;
        self.progress.doing(&format!("{name}: resampling"));
        judge(&Played {
            scenario,
            order_seed: self.order_seed,
            trace,
            labels,
            kinds: Kinds::of(trace, Payments.operations()),
            playback,
            rows,
            invariants,
            support_cores: self.layout.support_cores(),
            resamples: self.resamples,
            allowed: self.allowed.clone(),
            trial: self.trial,
            builds,
        })
    }

    fn introduce(&mut self, pairing: &Pairing) {
        for (index, label) in pairing.labels.iter().enumerate() {
            let ready_ms = rounded(pairing.ready_ms[index]);
            if let Some(known) = self.contenders.get_mut(index) {
                known.ready_ms.push(ready_ms);
                continue;
            }
            self.contenders.push(ContenderReport {
                name: pairing.contenders[index].name.clone(),
                label: label.clone(),
                version: pairing.versions[index].clone(),
                ready_ms: vec![ready_ms],
            });
        }
    }

    /// Plays in a thread of its own, which becomes real-time, while this one shows how far it is.
    async fn play(
        &mut self,
        bench: &Bench,
        pairing: &Pairing,
        name: &str,
        scenario: &Scenario,
        trace: &Arc<Trace>,
    ) -> anyhow::Result<Playback> {
        let (events, mut happened) = mpsc::unbounded_channel();
        let (done, mut result) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(*self.stopped.borrow()));
        let (scenario_copy, trace, contenders) =
            (scenario.clone(), Arc::clone(trace), pairing.contenders.clone());
        let (support, cores, stop_play) = (bench.support(), self.layout.generator.clone(), Arc::clone(&stop));
        let (order_seed, settle) = (self.order_seed, pairing.settle());
        let thread = std::thread::Builder::new().name("sender".into()).spawn(move || {
            let order = Order {
                scenario: &scenario_copy,
                trace,
                workload: &Payments,
                contenders: &contenders,
                support: &support,
                cores: &cores,
                order_seed,
                settle: &settle,
            };
            // Nobody waits any more: then the result is of no use.
            let _ = done.send(play(&order, &stop_play, &events));
        })?;
        let mut stopped = self.stopped.clone();
        let mut follow = self.progress.scenario(name, scenario.pairs, pairing.labels.clone());
        let playback = loop {
            tokio::select! {
                Some(event) = happened.recv() => follow.event(event),
                _ = stopped.wait_for(|stopped| *stopped), if !stop.load(Ordering::Relaxed) => stop.store(true, Ordering::Relaxed),
                played = &mut result => break played.context("the sending thread ended without a result")?,
            }
        };
        thread.join().map_err(|_| anyhow::anyhow!("the sending thread panicked"))?;
        playback
    }
}
