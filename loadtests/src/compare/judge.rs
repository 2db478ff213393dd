//! Turns what was played into a scenario's report: metrics with intervals, curves, validity, raw slices.

use std::collections::BTreeMap;

use super::play::{Generator, Playback, Slice, SupportCores};
use crate::engine::Record;
use crate::environment;
use crate::histogram::{Recorder, Sparse, encode};
use crate::report::{CurvePoint, GeneratorReport, Metric, OperationRow, RawSlice, ScenarioReport};
use crate::scenario::Scenario;
use crate::stats::{Bootstrap, Pair, Quantity, SAMPLES_BEYOND, Sample, rounded};
use crate::trace::{Kinds, Trace};
use crate::validity::{self, Build, Counts, Evidence, Invariant};

/// Percentiles of the curves.
const CURVE: [f64; 18] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9,
    99.99,
];

/// Everything about one scenario that was played.
pub struct Played<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What the order within the pairs was drawn from.
    pub order_seed: u64,
    /// Its trace.
    pub trace: &'a Trace,
    /// Names of the contenders, as sentences call them.
    pub labels: [String; 2],
    /// Operations by door, as its records count them.
    pub kinds: Kinds,
    /// What came back.
    pub playback: Playback,
    /// What was found on the other side, one list a contender, in the order of its effects.
    pub rows: Vec<Vec<u64>>,
    /// What must hold of all that was found there, one list a contender.
    pub invariants: Vec<Vec<Invariant>>,
    /// What the contenders say of themselves.
    pub builds: Vec<Build>,
    /// Where what stands around runs.
    pub support_cores: SupportCores,
    /// Resamples of each bootstrap.
    pub resamples: usize,
    /// Bounds that don't void.
    pub allowed: Vec<String>,
    /// A short run to see that everything works.
    pub trial: bool,
    /// Bounds that can't be looked at, by name, and why.
    pub inapplicable: Vec<(String, String)>,
}

/// The report of one scenario.
pub fn judge(played: &Played<'_>) -> anyhow::Result<ScenarioReport> {
    let pairs = &played.playback.pairs;
    let samples = |latency: &dyn Fn(&Record) -> Sparse| -> Vec<Pair> {
        let both = |pair: &[Slice; 2]| [0, 1].map(|contender| sample(pair, contender, latency));
        pairs.iter().map(both).collect()
    };
    let bootstrap = Bootstrap::new(samples(&Record::all_latency), played.resamples, played.scenario.seed);
    let by_operation = |index: usize| {
        let pairs = samples(&|record| Sparse::of(&record.latency[index]));
        operation_row(
            &played.kinds.names()[index],
            &Bootstrap::new(pairs, played.resamples, played.scenario.seed),
        )
    };
    let slices = (0..2).map(|contender| {
        pairs
            .iter()
            .map(|pair| raw(&pair[contender], played.kinds.names()))
            .collect::<anyhow::Result<Vec<_>>>()
    });
    Ok(ScenarioReport {
        scenario: played.scenario.clone(),
        order_seed: played.order_seed,
        trace_sha256: played.trace.sha256.clone(),
        requests: played.trace.window(0, played.scenario.total_us()).len(),
        metrics: metrics(&bootstrap, offered_rate(played, 0)),
        operations: (0..played.kinds.names().len()).filter_map(by_operation).collect(),
        curves: (0..2).map(|contender| curve(pairs, contender)).collect(),
        validity: validity::judge(&evidence(played), &played.allowed),
        generator: generator(played),
        slices: slices.collect::<anyhow::Result<_>>()?,
        controls: Vec::new(),
    })
}

/// One contender's part of a pair, with what it used while the other played.
pub fn sample(pair: &[Slice; 2], contender: usize, latency: &dyn Fn(&Record) -> Sparse) -> Sample {
    // While the other's slice plays, this one has nothing to do.
    let (slice, others) = (&pair[contender], &pair[1 - contender]);
    Sample {
        latency: latency(&slice.record),
        replies: slice.record.replies,
        cpu_ns: slice.cpu_ns,
        length_ns: slice.record.length_ns,
        idle_cpu_ns: others.idle_cpu_ns,
        idle_ns: others.record.length_ns,
        rss_bytes: slice.rss_bytes,
    }
}

/// Requests a second that came due on one contender; the other had the same.
fn offered_rate(played: &Played<'_>, contender: usize) -> f64 {
    let pairs = &played.playback.pairs;
    let offered: u64 = pairs.iter().map(|pair| pair[contender].record.offered).sum();
    let asked_ms = pairs.len() as u64 * played.scenario.slice_ms;
    offered as f64 * 1e3 / asked_ms.max(1) as f64
}

/// A line of the table, before it is measured.
#[derive(Debug, Clone, Copy)]
pub struct MetricLine {
    quantity: Quantity,
    /// In report.json and in asserts.
    pub name: &'static str,
    label: &'static str,
    unit: &'static str,
    /// Of the quantity's unit in the shown one.
    scale: f64,
    less_is_better: Option<bool>,
}

/// What is compared, in the table's order.
pub const METRICS: [MetricLine; 8] = [
    latency(50.0, "p50", "p50 latency"),
    latency(90.0, "p90", "p90 latency"),
    latency(99.0, "p99", "p99 latency"),
    latency(99.9, "p99.9", "p99.9 latency"),
    line(Quantity::Rate, "rate", "Rate", ("replies/s", 1.0), None),
    line(Quantity::CpuPerReply, "cpu", "CPU a request", ("µs", 1.0), Some(true)),
    line(Quantity::IdleCpu, "idle_cpu", "CPU while idle", ("ms a second", 1e6), Some(true)),
    line(Quantity::Rss, "rss", "Memory (RSS)", ("MiB", 1_048_576.0), Some(true)),
];

const fn latency(percentile: f64, name: &'static str, label: &'static str) -> MetricLine {
    line(Quantity::Percentile(percentile), name, label, ("ms", 1e3), Some(true))
}

const fn line(
    quantity: Quantity,
    name: &'static str,
    label: &'static str,
    (unit, scale): (&'static str, f64),
    less_is_better: Option<bool>,
) -> MetricLine {
    MetricLine { quantity, name, label, unit, scale, less_is_better }
}

/// The table's lines; a line that can't be said is left out.
fn metrics(bootstrap: &Bootstrap, offered_rate: f64) -> Vec<Metric> {
    let metric = |line: &MetricLine| {
        let found = bootstrap.compare(line.quantity)?;
        Some(Metric {
            name: line.name.into(),
            label: line.label.into(),
            unit: line.unit.into(),
            values: found.values.map(|value| rounded(value / line.scale)),
            ratio: found.ratio,
            less_is_better: line.less_is_better,
            offered: (line.quantity == Quantity::Rate).then(|| rounded(offered_rate)),
        })
    };
    METRICS.iter().filter_map(metric).collect()
}

fn operation_row(operation: &str, bootstrap: &Bootstrap) -> Option<OperationRow> {
    let median = bootstrap.compare(Quantity::Percentile(50.0))?;
    let replies = bootstrap.counts();
    let p99 = bootstrap.compare(Quantity::Percentile(99.0));
    Some(OperationRow {
        operation: operation.into(),
        replies,
        p50_us: median.values,
        p99_us: p99.map(|p99| p99.values),
        ratio: median.ratio,
    })
}

fn merged<'a>(pairs: &'a [[Slice; 2]], of: impl Fn(&'a Slice) -> Sparse) -> [Sparse; 2] {
    [0, 1].map(|contender| Sparse::merge(&pairs.iter().map(|pair| of(&pair[contender])).collect::<Vec<_>>()))
}

fn curve(pairs: &[[Slice; 2]], contender: usize) -> Vec<CurvePoint> {
    let latency = &merged(pairs, |slice| slice.record.all_latency())[contender];
    let service = &merged(pairs, |slice| Sparse::of(&slice.record.service))[contender];
    let told =
        |percentile: &&f64| latency.count() as f64 * (100.0 - **percentile) / 100.0 >= SAMPLES_BEYOND as f64;
    let point = |percentile: &f64| {
        Some(CurvePoint {
            percentile: *percentile,
            latency_us: latency.percentile(*percentile)?,
            service_us: service.percentile(*percentile)?,
        })
    };
    CURVE.iter().filter(told).filter_map(point).collect()
}

fn generator(played: &Played<'_>) -> GeneratorReport {
    let playback = &played.playback;
    let four = |of: fn(&Record) -> &Recorder| {
        merged(&playback.pairs, |slice| Sparse::of(of(&slice.record))).map(|sparse| {
            [50.0, 99.0, 99.9, 100.0].map(|percentile| sparse.percentile(percentile).unwrap_or(0))
        })
    };
    let slices = || playback.pairs.iter().flatten();
    let sent: u64 = slices().map(|slice| slice.record.sent).sum();
    let cpu_ns: u64 = slices().map(|slice| slice.generator.0).sum();
    GeneratorReport {
        generator: Generator {
            sender_policy: playback.policy.clone(),
            cpu_us_a_request: rounded(cpu_ns as f64 / 1e3 / sent.max(1) as f64),
        },
        lag_us: four(|record| &record.lag),
        wake_lag_us: four(|record| &record.wake_lag),
        usage: playback.usage.clone(),
    }
}

fn evidence(played: &Played<'_>) -> Evidence {
    let playback = &played.playback;
    let (busy, time) = playback
        .pairs
        .iter()
        .flatten()
        .fold((0, 0), |(busy, time), slice| (busy + slice.generator.0, time + slice.generator.1));
    let usage = &playback.usage;
    let wall = usage.wall_ns.max(1) as f64;
    Evidence {
        contenders: (0..2).map(|contender| counts(played, contender)).collect(),
        generator_share: busy as f64 / time.max(1) as f64,
        support_share: usage.support_share(played.support_cores),
        others_cores: usage.others_ns() as f64 / wall,
        stolen_cores: usage.stolen_ns as f64 / wall,
        builds: played.builds.clone(),
        generator_profile: environment::build().into(),
        slices: (played.scenario.pairs * 2, playback.slices_played),
        trial: played.trial,
        inapplicable: played.inapplicable.clone(),
    }
}

/// Of the operations that the trace asks for after the warm-up; a short one may have none of a rare flow.
fn answered(played: &Played<'_>, contender: usize) -> Vec<(String, u64)> {
    // A control may play fewer pairs than the trace has.
    let window = played.trace.window(played.scenario.warm_up_us(), played.scenario.total_us());
    let asked = |kind: usize| window.clone().any(|line| played.kinds.of_line(line) == kind);
    let count =
        |index: usize| played.playback.pairs.iter().map(|pair| pair[contender].record.expected[index]).sum();
    let named = played.kinds.names().iter().enumerate().filter(|(kind, _)| asked(*kind));
    named.map(|(kind, name)| (name.clone(), count(kind))).collect()
}

fn counts(played: &Played<'_>, contender: usize) -> Counts {
    let playback = &played.playback;
    let measured = || playback.pairs.iter().map(|pair| &pair[contender].record);
    let all = || {
        measured()
            .chain(playback.warm_up.get(contender))
            .chain(playback.torn.get(contender).into_iter().flatten())
    };
    let sum = |of: fn(&Record) -> u64| all().map(of).sum::<u64>();
    let offered = measured().map(|record| record.offered).sum();
    let seconds = |ns: u64| (ns as f64 / 1e9).max(f64::MIN_POSITIVE);
    let mut unexpected: BTreeMap<String, u64> = BTreeMap::new();
    for (kind, count) in all().flat_map(|record| &record.kinds) {
        *unexpected.entry(kind.clone()).or_default() += count;
    }
    let lag = Sparse::merge(&measured().map(|record| Sparse::of(&record.lag)).collect::<Vec<_>>());
    let effects = playback.effects[contender].iter().zip(&played.rows[contender]);
    Counts {
        name: played.labels[contender].clone(),
        offered,
        offered_rate: offered_rate(played, contender),
        achieved_rate: measured().map(|record| record.replies).sum::<u64>() as f64
            / seconds(measured().map(|record| record.length_ns).sum()),
        sent: sum(|record| record.sent),
        replies: sum(|record| record.replies),
        skipped: measured().map(|record| record.skipped).sum(),
        shed: measured().map(|record| record.shed).sum(),
        dropped: sum(|record| record.dropped),
        answered: answered(played, contender),
        unexpected: unexpected.into_iter().collect(),
        invariants: played.invariants[contender].clone(),
        lag_p99_us: lag.percentile(99.0).unwrap_or(0) as f64,
        reopened: sum(|record| record.reopened),
        effects: effects.map(|(effect, rows)| (effect.name.to_owned(), effect.count, *rows)).collect(),
    }
}

fn raw(slice: &Slice, kinds: &[String]) -> anyhow::Result<RawSlice> {
    let record = &slice.record;
    let name = |index: usize| kinds.get(index).map(String::as_str).unwrap_or_default();
    let used = record.latency.iter().enumerate().filter(|(_, histogram)| !histogram.is_empty());
    let latency = used.map(|(index, histogram)| Ok((name(index).to_owned(), encode(histogram)?)));
    let statuses = record
        .statuses
        .iter()
        .map(|((operation, status), count)| (format!("{} {status}", name(*operation)), *count));
    Ok(RawSlice {
        first: slice.first,
        offered: record.offered,
        sent: record.sent,
        replies: record.replies,
        skipped: record.skipped,
        dropped: record.dropped,
        shed: record.shed,
        queued: record.queued,
        failed: record.failed,
        unanswered: record.unanswered,
        statuses: statuses.collect(),
        unexpected: record.kinds.clone(),
        length_ns: record.length_ns,
        cpu_ns: slice.cpu_ns,
        idle_cpu_ns: slice.idle_cpu_ns,
        rss_bytes: slice.rss_bytes,
        latency: latency.collect::<anyhow::Result<_>>()?,
        service: encode(&record.service)?,
        lag: encode(&record.lag)?,
        wake_lag: encode(&record.wake_lag)?,
    })
}
