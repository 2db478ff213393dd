//! Every figure of a run of one service from the raw part of its report: the same when it is judged and when it is
//! verified.

use anyhow::{Context, bail};

use super::model::{MemoryOverTime, SoloRun, StageReport};
use super::play::Sample;
use super::watch::{Stage, Tally, stages, ticks, whole};
use crate::compare::{Heard, Side, evidence};
use crate::histogram::{Recorder, Sparse, decode, encode, recorder};
use crate::spread::{Slope, slope};
use crate::stats::{SAMPLES_BEYOND, rounded};
use crate::validity::{Bound, judge};

const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];
const MIB: f64 = 1_048_576.0;

/// The report with its figures computed from the rest of it, whatever they were. Fails where a histogram can't be read.
pub fn computed(run: &SoloRun) -> anyhow::Result<SoloRun> {
    let scenario = &run.scenario;
    let mut computed = run.clone();
    let from_us = scenario.warm_up_us();
    let mut rest = run.ticks.iter().cloned();
    let mut stage = |stage: &Stage| {
        let parts: Vec<_> = rest.by_ref().take(ticks(&[*stage]).len()).collect();
        report_of(stage, from_us, &parts)
    };
    computed.stages = stages(scenario, run.ended_us).iter().map(&mut stage).collect::<anyhow::Result<_>>()?;
    computed.overall = report_of(&whole(scenario, run.ended_us), from_us, &run.ticks)?;
    let (load, replies) = (&run.load, run.load.replies.max(1) as f64);
    computed.cpu_us_a_reply = rounded(load.cpu_ns as f64 / 1e3 / replies);
    computed.switches_a_reply = rounded(run.switches as f64 / replies);
    computed.memory.slope_mib_an_hour = run.memory.slope();
    computed.generator.cpu_us_a_request =
        rounded(load.generator_cpu_ns as f64 / 1e3 / load.sent.max(1) as f64);
    let heard = Heard::of_slice(load).context("load")?;
    computed.lag_us =
        [50.0, 99.0, 99.9, 100.0].map(|percentile| heard.lag.percentile(percentile).unwrap_or(0));
    computed.validity = validity(run, &heard, computed.overall.offered_rate())?;
    computed.void = reasons(&computed.validity, Bound::voids);
    computed.allowed = reasons(&computed.validity, |bound| bound.allowed);
    Ok(computed)
}

fn validity(run: &SoloRun, heard: &Heard, offered_rate: f64) -> anyhow::Result<Vec<Bound>> {
    let basis = &run.basis;
    let ([label], [aside]) = (basis.labels.as_slice(), basis.contenders.as_slice()) else {
        bail!("a run of one service has one label and one list of counts");
    };
    let side = Side {
        label,
        slices: std::slice::from_ref(&run.load),
        heard: std::slice::from_ref(heard),
        offered_rate,
        basis,
        aside,
    };
    let mut bounds = judge(&evidence(1, basis, &run.usage, &[side]), &basis.allowed);
    let solo = run.scenario.solo.as_ref();
    bounds.retain(|bound| !solo.is_some_and(|solo| solo.waives(&bound.name)));
    Ok(bounds)
}

/// A sentence for each bound that `which` picks.
fn reasons(bounds: &[Bound], which: fn(&Bound) -> bool) -> Vec<String> {
    let picked = bounds.iter().filter(|bound| which(bound));
    picked.map(|bound| format!("{}: {}; it was {}.", bound.name, bound.asks, bound.measured)).collect()
}

impl MemoryOverTime {
    fn slope(&self) -> Option<Slope> {
        let point = |sample: &Sample| (sample.at_ms as f64 / 3_600_000.0, sample.rss_bytes as f64 / MIB);
        slope(&self.samples.iter().map(point).collect::<Vec<_>>())
    }
}

impl StageReport {
    /// From what was counted; `load_from_us` is the load's begin in the trace.
    pub(super) fn of(stage: &Stage, tally: &Tally, load_from_us: u64) -> anyhow::Result<Self> {
        let seconds = |us: u64| us as f64 / 1e6;
        Ok(Self {
            rate: stage.rate,
            from_seconds: seconds(stage.from_us - load_from_us),
            seconds: seconds(stage.to_us - stage.from_us),
            offered: tally.offered,
            expected: tally.expected,
            shed: tally.shed,
            unexpected: tally.unexpected,
            latency_ms: percentiles(&tally.latency),
            latency: encode(&tally.latency)?,
        })
    }
}

/// A stage from its parts.
pub(super) fn report_of(
    stage: &Stage,
    load_from_us: u64,
    parts: &[StageReport],
) -> anyhow::Result<StageReport> {
    let mut latency = recorder();
    for part in parts {
        latency.add(decode(&part.latency)?)?;
    }
    let sum = |of: fn(&StageReport) -> u64| parts.iter().map(of).sum();
    let tally = Tally {
        offered: sum(|part| part.offered),
        expected: sum(|part| part.expected),
        shed: sum(|part| part.shed),
        unexpected: sum(|part| part.unexpected),
        latency,
    };
    StageReport::of(stage, &tally, load_from_us)
}

/// p50 and so on in ms; one with too few beyond is no figure.
pub fn percentiles(latency: &Recorder) -> [Option<f64>; 4] {
    let sparse = Sparse::of(latency);
    PERCENTILES.map(|percentile| {
        let beyond = sparse.count() as f64 * (100.0 - percentile) / 100.0;
        let told = beyond >= SAMPLES_BEYOND as f64;
        sparse.percentile(percentile).filter(|_| told).map(|us| rounded(us as f64 / 1e3))
    })
}
