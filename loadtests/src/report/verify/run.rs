//! A run of one service against its own raw data.

use serde_json::Value;

use super::{Redraw, Verified, playable};
use crate::scenario::Scenario;
use crate::solo::{SoloRun, StageReport, computed, stages, ticks};
use crate::trace::Trace;

/// Figures that are computed from the rest.
const FIGURES: [&str; 10] = [
    "overall",
    "stages",
    "cpu_us_a_reply",
    "switches_a_reply",
    "memory",
    "generator",
    "lag_us",
    "validity",
    "void",
    "allowed",
];

/// Verifies it; fails where its raw part can't be read.
pub fn verify_run(run: &SoloRun, redraw: Redraw<'_>) -> anyhow::Result<Verified> {
    let mut verified = Verified::default();
    playable(&run.scenario.name, &run.scenario)?;
    let (printed, again) = (serde_json::to_value(run)?, serde_json::to_value(computed(run)?)?);
    for figure in FIGURES {
        verified.walk(figure, &printed[figure], &again[figure], &[]);
    }
    verified.repeated(
        "ticks",
        &Value::Array(run.ticks.iter().map(serde_json::to_value).collect::<Result<_, _>>()?),
    )?;
    verified.slice("load", &run.load)?;
    verified.equal("load.cpu_ns".into(), run.load.cpu_ns, run.usage.contenders_ns);
    verified.equal("load.generator_cpu_ns".into(), run.load.generator_cpu_ns, run.usage.generator_ns);
    verified.equal("load.generator_ns".into(), run.load.generator_ns, run.usage.wall_ns);
    verified.parts(run)?;
    if let Some(trace) = redraw(&run.scenario).transpose()? {
        verified.traces = 1;
        verified.drawn(run, &trace);
    }
    Ok(verified)
}

impl Verified {
    /// The parts are the stages' own, and hold all that the load counted.
    fn parts(&mut self, run: &SoloRun) -> anyhow::Result<()> {
        let cut = ticks(&stages(&run.scenario, run.ended_us));
        self.equal("ticks: how many".into(), run.ticks.len(), cut.len());
        let from_us = run.scenario.warm_up_us();
        for (index, (tick, stage)) in run.ticks.iter().zip(&cut).enumerate() {
            let seconds = |us: u64| us as f64 / 1e6;
            self.equal(format!("ticks.{index}.rate"), tick.rate, stage.rate);
            self.equal(
                format!("ticks.{index}.from_seconds"),
                tick.from_seconds,
                seconds(stage.from_us - from_us),
            );
            self.equal(format!("ticks.{index}.seconds"), tick.seconds, seconds(stage.to_us - stage.from_us));
            self.equal(
                format!("ticks.{index}.expected"),
                tick.expected,
                crate::histogram::decode(&tick.latency)?.len(),
            );
        }
        let sum = |of: fn(&StageReport) -> u64| run.ticks.iter().map(of).sum::<u64>();
        let load = &run.load;
        let expected = load.expected.values().sum::<u64>();
        self.equal("load.expected (by part)".into(), expected, sum(|tick| tick.expected));
        self.equal("load.shed (by part)".into(), load.shed, sum(|tick| tick.shed));
        self.equal("load.offered (by part)".into(), load.offered, sum(|tick| tick.offered));
        let answered = sum(|tick| tick.expected + tick.shed + tick.unexpected);
        self.equal("load.replies (by part)".into(), load.replies, answered);
        Ok(())
    }

    fn drawn(&mut self, run: &SoloRun, trace: &Trace) {
        let Scenario { name, .. } = &run.scenario;
        self.equal(format!("{name}: trace_sha256"), run.trace_sha256.clone(), trace.sha256.clone());
        let requests = trace.window(0, run.scenario.total_us()).len();
        self.equal(format!("{name}: requests"), run.requests, requests);
        for (index, (tick, stage)) in
            run.ticks.iter().zip(ticks(&stages(&run.scenario, run.ended_us))).enumerate()
        {
            let due = trace.window(stage.from_us, stage.to_us).len() as u64;
            self.equal(format!("ticks.{index}.offered"), tick.offered, due);
        }
    }
}
