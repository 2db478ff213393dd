//! What the page's script draws, and the same as tables.

use serde::Serialize;

use super::Row;
use crate::histogram::{Sparse, decode};
use crate::report::wording::{labels, millis, number, whole};
use crate::report::{CurvePoint, RawSlice, Report, ScenarioReport};
use crate::stats::rounded;

/// A slice's percentile is drawn where at least so many replies are in it; 90 leaves two beyond.
pub(super) const DRAWN_FROM: u64 = 20;
/// Edges of the distribution's classes: 1, 2 and 5 of each power of ten, in µs.
const EDGES: [u64; 3] = [1, 2, 5];

/// What the script draws: lists a contender, in the order of curve or pairs.
#[derive(Serialize)]
pub(super) struct Plots {
    /// Each pair's place in the plan, from 1.
    pairs: Vec<usize>,
    percentiles: Vec<f64>,
    latency: Vec<Vec<f64>>,
    service: Vec<Vec<f64>>,
    rate: Vec<Vec<f64>>,
    p50: Vec<Vec<Option<f64>>>,
    p90: Vec<Vec<Option<f64>>>,
    cpu: Vec<Vec<f64>>,
    rss: Vec<Vec<f64>>,
}

/// The scenario's.
pub(super) fn plots(scenario: &ScenarioReport) -> Plots {
    let points = scenario.curves.iter().map(Vec::len).min().unwrap_or(0);
    let curve = |of: fn(&CurvePoint) -> u64| {
        let one =
            |curve: &Vec<CurvePoint>| curve[..points].iter().map(|point| of(point) as f64 / 1e3).collect();
        scenario.curves.iter().map(one).collect()
    };
    let series = |of: fn(&RawSlice) -> f64| {
        let one = |slices: &Vec<RawSlice>| slices.iter().map(|slice| rounded(of(slice))).collect();
        scenario.slices.iter().map(one).collect()
    };
    let percentile = |percentile: f64| {
        let one = |slices: &Vec<RawSlice>| slices.iter().map(|slice| ms_of(slice, percentile)).collect();
        scenario.slices.iter().map(one).collect()
    };
    let first = scenario.curves.first().map(|curve| &curve[..points]).unwrap_or_default();
    Plots {
        pairs: numbers(scenario),
        percentiles: first.iter().map(|point| point.percentile).collect(),
        latency: curve(|point| point.latency_us),
        service: curve(|point| point.service_us),
        rate: series(rate),
        p50: percentile(50.0),
        p90: percentile(90.0),
        cpu: series(cpu_us),
        rss: series(rss_mib),
    }
}

fn rate(slice: &RawSlice) -> f64 {
    slice.replies as f64 * 1e9 / slice.answering_ns.max(1) as f64
}

fn cpu_us(slice: &RawSlice) -> f64 {
    slice.cpu_ns as f64 / 1e3 / slice.replies.max(1) as f64
}

fn rss_mib(slice: &RawSlice) -> f64 {
    slice.rss_bytes as f64 / 1_048_576.0
}

fn latency_of(slice: &RawSlice) -> Sparse {
    let parts: Vec<_> = slice.latency.values().filter_map(|text| decode(text).ok()).collect();
    Sparse::merge(&parts.iter().map(Sparse::of).collect::<Vec<_>>())
}

fn ms_of(slice: &RawSlice, percentile: f64) -> Option<f64> {
    let latency = latency_of(slice);
    let told = latency.count() >= DRAWN_FROM;
    told.then(|| latency.percentile(percentile)).flatten().map(|us| us as f64 / 1e3)
}

/// Whether the contenders' CPU and memory were looked at: nobody answers a slice without any.
pub(super) fn processes_known(scenario: &ScenarioReport) -> bool {
    scenario.slices.iter().flatten().any(|slice| slice.cpu_ns > 0)
}

/// Places of the pairs in the plan, from 1: those that were set aside are missing.
fn numbers(scenario: &ScenarioReport) -> Vec<usize> {
    let pairs = scenario.slices.iter().map(Vec::len).min().unwrap_or(0);
    (1..).filter(|number| !scenario.basis.set_aside.contains(&(number - 1))).take(pairs).collect()
}

/// What a column is called, and its cell of a slice.
type Column = (&'static str, fn(&RawSlice) -> String);

/// The slices as a table: its head, and a row a pair.
pub(super) fn slices(report: &Report, scenario: &ScenarioReport) -> (Vec<String>, Vec<Row>) {
    let labels = labels(report);
    let all: [Column; 6] = [
        ("replies", |slice| whole(slice.replies)),
        ("replies/s", |slice| number(rate(slice))),
        ("p50, ms", |slice| ms_of(slice, 50.0).map_or("–".into(), number)),
        ("p90, ms", |slice| ms_of(slice, 90.0).map_or("–".into(), number)),
        ("CPU a request, µs", |slice| number(cpu_us(slice))),
        ("memory, MiB", |slice| number(rss_mib(slice))),
    ];
    // The last two are of processes.
    let columns = if processes_known(scenario) { &all[..] } else { &all[..4] };
    let mut head = vec!["pair".to_owned(), "first".to_owned()];
    let both =
        |(what, _): &(&str, _)| labels.iter().map(move |label| format!("{label} {what}")).collect::<Vec<_>>();
    head.extend(columns.iter().flat_map(both));
    let row = |(pair, number): (usize, usize)| {
        let slices: Vec<_> = scenario.slices.iter().map(|slices| &slices[pair]).collect();
        let first = slices.iter().position(|slice| slice.first).and_then(|index| labels.get(index));
        let mut cells = vec![number.to_string(), first.cloned().unwrap_or_default()];
        cells.extend(
            columns.iter().flat_map(|(_, of)| slices.iter().map(|slice| of(slice)).collect::<Vec<_>>()),
        );
        Row { class: "", cells }
    };
    (head, numbers(scenario).into_iter().enumerate().map(row).collect())
}

/// How many replies took how long: a class of latencies, and each contender's part.
#[derive(Serialize)]
pub(super) struct Class {
    range: String,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    count: u64,
    percent: String,
    /// Of the longest bar, in per cent.
    width: f64,
}

/// The distribution of all latencies from the due time.
pub(super) fn distribution(scenario: &ScenarioReport) -> Vec<Class> {
    let merged = |slices: &Vec<RawSlice>| Sparse::merge(&slices.iter().map(latency_of).collect::<Vec<_>>());
    let both: Vec<Sparse> = scenario.slices.iter().map(merged).collect();
    let all = || both.iter().flat_map(|sparse| &sparse.0).map(|(value, _)| *value);
    let (Some(least), Some(most)) = (all().min(), all().max()) else { return vec![] };
    let edges: Vec<u64> = (0..9).flat_map(|power| EDGES.map(|edge| edge * 10_u64.pow(power))).collect();
    let within = |low: u64, high: u64| {
        let count = |sparse: &Sparse| {
            let inside = sparse.0.iter().filter(|(value, _)| (low..high).contains(value));
            (inside.map(|(_, count)| count).sum::<u64>(), sparse.count().max(1))
        };
        both.iter().map(count).collect::<Vec<_>>()
    };
    let classes: Vec<_> = edges
        .windows(2)
        .filter(|edge| edge[1] > least && edge[0] <= most)
        .map(|edge| (edge[0], edge[1], within(edge[0], edge[1])))
        .collect();
    let share = |(count, of): (u64, u64)| count as f64 / of as f64 * 100.0;
    let longest = classes.iter().flat_map(|(.., counts)| counts).map(|part| share(*part)).fold(0.0, f64::max);
    let part = |part: (u64, u64)| Part {
        count: part.0,
        percent: number(share(part)),
        width: rounded(share(part) / longest * 100.0),
    };
    let class = |(low, high, counts): (u64, u64, Vec<(u64, u64)>)| Class {
        range: format!("{} to {}", millis(low as f64), millis(high as f64)),
        parts: counts.into_iter().map(part).collect(),
    };
    classes.into_iter().map(class).collect()
}
