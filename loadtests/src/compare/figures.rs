//! Every figure of a scenario's report from its raw part: slices, counts, settings. The same when it is judged and when
//! it is verified, so that nothing is printed that report.json doesn't hold the grounds of.

use anyhow::{Context, bail};

use super::evidence::{Heard, Side, evidence};
use super::server::{self, ServerRow};
use crate::histogram::Sparse;
use crate::report::{CurvePoint, Metric, OperationRow, RawSlice, ScenarioReport};
use crate::stats::{Bootstrap, Pair, Quantity, SAMPLES_BEYOND, Sample, rounded};
use crate::validity::{self, Evidence};

/// Percentiles of the curves.
const CURVE: [f64; 18] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9,
    99.99,
];

/// The report with its figures computed from the rest of it, whatever they were. Fails where a histogram can't be read
/// or there aren't two contenders.
pub fn computed(report: &ScenarioReport) -> anyhow::Result<ScenarioReport> {
    let grounds = Grounds::of(report)?;
    let mut computed = report.clone();
    let bootstrap = grounds.bootstrap(Heard::all);
    computed.metrics = metrics(&bootstrap, grounds.offered_rate(0));
    let row = |name: &String| operation_row(name, &grounds.bootstrap(|heard| heard.of(name)));
    computed.operations = report.basis.operations.iter().filter_map(row).collect();
    computed.curves = (0..2).map(|contender| grounds.curve(contender)).collect();
    let points = computed.curves[0].iter().zip(&computed.curves[1]).map(|(point, _)| point.percentile);
    computed.curve_ratios = bootstrap.percentiles(&points.collect::<Vec<_>>());
    computed.validity = validity::judge(&grounds.evidence(), &report.basis.allowed);
    computed.server = grounds.server();
    computed.generator.lag_us = grounds.four(|heard| &heard.lag);
    computed.generator.wake_lag_us = grounds.four(|heard| &heard.wake_lag);
    computed.generator.generator.cpu_us_a_request = grounds.generator_cpu_us();
    Ok(computed)
}

/// The raw part, read.
struct Grounds<'a> {
    report: &'a ScenarioReport,
    /// One list a contender, as `report.slices`.
    heard: [Vec<Heard>; 2],
}

impl<'a> Grounds<'a> {
    fn of(report: &'a ScenarioReport) -> anyhow::Result<Self> {
        let labels = &report.basis.labels;
        let counts = [labels.len(), report.slices.len(), report.basis.contenders.len()];
        if counts != [2; 3] {
            bail!("a comparison is of two: labels, slices and counts are of {counts:?}");
        }
        let one = |contender: usize| {
            let slices = report.slices[contender].iter().enumerate();
            let heard = slices.map(|(index, slice)| {
                let which = || format!("slice {index} of {}", labels[contender]);
                Heard::of_slice(slice).with_context(which)
            });
            heard.collect::<anyhow::Result<Vec<_>>>()
        };
        Ok(Self { report, heard: [one(0)?, one(1)?] })
    }

    fn slices(&self, contender: usize) -> &[RawSlice] {
        &self.report.slices[contender]
    }

    fn both(&self) -> impl Iterator<Item = &RawSlice> {
        self.report.slices.iter().flatten()
    }

    fn sum(&self, contender: usize, of: fn(&RawSlice) -> u64) -> u64 {
        self.slices(contender).iter().map(of).sum()
    }

    fn bootstrap(&self, latency: impl Fn(&Heard) -> Sparse) -> Bootstrap {
        let pairs = self.slices(0).len().min(self.slices(1).len());
        let sample = |pair: usize, contender: usize| {
            let (slice, others) = (&self.slices(contender)[pair], &self.slices(1 - contender)[pair]);
            sample(slice, others, latency(&self.heard[contender][pair]))
        };
        let pairs: Vec<Pair> = (0..pairs).map(|pair| [sample(pair, 0), sample(pair, 1)]).collect();
        Bootstrap::new(pairs, self.report.basis.resamples, self.report.scenario.seed)
    }

    /// Requests a second that came due on one contender; the other had the same.
    fn offered_rate(&self, contender: usize) -> f64 {
        let asked_ms = self.slices(contender).len() as u64 * self.report.scenario.slice_ms;
        self.sum(contender, |slice| slice.offered) as f64 * 1e3 / asked_ms.max(1) as f64
    }

    fn server(&self) -> Vec<ServerRow> {
        let asides = [0, 1].map(|contender: usize| &self.report.basis.contenders[contender]);
        let replies =
            [0, 1].map(|contender| self.sum(contender, |slice| slice.replies) + asides[contender].between);
        server::rows(asides.map(|aside| aside.looks.as_ref()), replies)
    }

    fn curve(&self, contender: usize) -> Vec<CurvePoint> {
        let merged = |of: fn(&Heard) -> Sparse| {
            Sparse::merge(&self.heard[contender].iter().map(of).collect::<Vec<_>>())
        };
        let (latency, service) = (merged(Heard::all), merged(|heard| heard.service.clone()));
        let told = |percentile: &&f64| {
            latency.count() as f64 * (100.0 - **percentile) / 100.0 >= SAMPLES_BEYOND as f64
        };
        let point = |percentile: &f64| {
            Some(CurvePoint {
                percentile: *percentile,
                latency_us: latency.percentile(*percentile)?,
                service_us: service.percentile(*percentile)?,
            })
        };
        CURVE.iter().filter(told).filter_map(point).collect()
    }

    /// p50, p99, p99.9 and the most of each contender's slices.
    fn four(&self, of: fn(&Heard) -> &Sparse) -> [[u64; 4]; 2] {
        self.heard.each_ref().map(|slices| {
            let merged = Sparse::merge(slices.iter().map(of));
            [50.0, 99.0, 99.9, 100.0].map(|percentile| merged.percentile(percentile).unwrap_or(0))
        })
    }

    fn generator_cpu_us(&self) -> f64 {
        let sent: u64 = self.both().map(|slice| slice.sent).sum();
        let cpu_ns: u64 = self.both().map(|slice| slice.generator_cpu_ns).sum();
        rounded(cpu_ns as f64 / 1e3 / sent.max(1) as f64)
    }

    fn evidence(&self) -> Evidence {
        let basis = &self.report.basis;
        let side = |contender: usize| Side {
            label: &basis.labels[contender],
            slices: self.slices(contender),
            heard: &self.heard[contender],
            offered_rate: self.offered_rate(contender),
            basis,
            aside: &basis.contenders[contender],
        };
        let (pairs, usage) = (self.report.scenario.pairs, &self.report.generator.usage);
        evidence(pairs * 2, basis, usage, &[side(0), side(1)])
    }
}

/// One contender's slice of a pair, with what it used in the other's: while that plays, this one has nothing to do.
pub fn sample(slice: &RawSlice, others: &RawSlice, latency: Sparse) -> Sample {
    Sample {
        latency,
        replies: slice.replies,
        cpu_ns: slice.cpu_ns,
        answering_ns: slice.answering_ns,
        idle_cpu_ns: others.idle_cpu_ns,
        idle_ns: others.generator_ns,
        rss_bytes: slice.rss_bytes,
    }
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
        let (n, n_of) = match line.quantity {
            Quantity::Percentile(_) => (bootstrap.counts(), "replies"),
            Quantity::Rate | Quantity::CpuPerReply => (bootstrap.replies(), "replies"),
            Quantity::IdleCpu | Quantity::Rss => ([bootstrap.pairs() as u64; 2], "slices"),
        };
        Some(Metric {
            name: line.name.into(),
            label: line.label.into(),
            unit: line.unit.into(),
            values: found.values.map(|value| rounded(value / line.scale)),
            ratio: found.ratio,
            less_is_better: line.less_is_better,
            offered: (line.quantity == Quantity::Rate).then(|| rounded(offered_rate)),
            n,
            n_of: n_of.into(),
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
        p99_us: p99.as_ref().map(|p99| p99.values),
        ratio: median.ratio,
        p99_ratio: p99.map(|p99| p99.ratio),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn an_operation_has_its_ratio_at_p99_too_where_enough_lies_beyond() {
        // The second takes 1 ms more for each hundredth reply.
        let side = |slowest_us: u64, replies: u64| {
            let latency = Sparse(vec![(1000, replies * 98 / 100), (slowest_us, replies * 2 / 100)]);
            Sample { latency, replies, ..Sample::default() }
        };
        let row = |replies: u64| {
            let pairs = (0..12).map(|_| [side(4000, replies), side(5000, replies)]).collect();
            operation_row("get", &Bootstrap::new(pairs, 50, 1)).unwrap()
        };
        let told = row(200);
        assert_eq!((told.p99_us, told.ratio.estimate), (Some([4000.0, 5000.0]), Some(1.0)));
        let ratio = told.p99_ratio.unwrap();
        assert_eq!(ratio.estimate, Some(0.8));
        assert!(
            ratio.interval.is_some_and(|interval| interval.low <= 0.8 && 0.8 <= interval.high),
            "{ratio:?}"
        );
        let few = row(100);
        assert_eq!((few.p99_us, few.p99_ratio), (None, None));
    }

    #[test]
    fn cpu_while_idle_is_over_the_time_in_which_it_was_looked_at() {
        let own = RawSlice { replies: 10, cpu_ns: 1_000_000, ..sample::slice() };
        // The other's slice took half a second, and 1.5 s until the last reply was given up.
        let others = RawSlice {
            idle_cpu_ns: 6_000_000,
            length_ns: 500_000_000,
            generator_ns: 2_000_000_000,
            ..own.clone()
        };
        let pair = [0, 1].map(|_| super::sample(&own, &others, Sparse::default()));
        let compared = Bootstrap::new(vec![pair], 1, 1).compare(Quantity::IdleCpu).unwrap();
        assert_eq!(compared.values, [3_000_000.0; 2]);
    }
}
