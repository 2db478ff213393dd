//! The last look: what the slowest requests are made of, and the pairs that are kept to be looked at. Which those are is known
//! only when all durations are.

use std::collections::BTreeMap;

use super::model::{Example, ExampleSpan, Tail, Why};
use super::path::times;
use super::shape::{attributes, kind, status};
use super::sums::{Part, Sums};
use super::tree::Tree;
use super::waits::Wait;

/// The slowest pairs that are kept.
const SLOWEST: usize = 5;

/// What a request has to exceed to be of the tail: the highest of these beyond which both sides have enough.
const TAILS: [f64; 3] = [99.0, 95.0, 90.0];

/// Of one operation.
#[derive(Debug)]
pub struct Look {
    /// Percentile, and what each side's requests of the tail exceed, in ns.
    above: Option<(f64, [u64; 2])>,
    sums: [Summed; 2],
    /// Of both sides together, in ns.
    median: Option<u64>,
    nearest: Option<(u64, Example)>,
    /// The slowest first.
    slowest: Vec<(u64, Example)>,
}

#[derive(Debug, Default)]
struct Summed {
    requests: u64,
    durations: u128,
    parts: BTreeMap<Part, u128>,
}

impl Look {
    /// Of an operation whose sums are complete; `median`: of the durations of both sides of a pair together, in ns.
    pub fn new(sums: &Sums, median: Option<u64>) -> Self {
        let above = TAILS.into_iter().find_map(|percentile| {
            let [first, second] = [0, 1].map(|side| sums.duration(side, percentile));
            Some((percentile, [first?, second?]))
        });
        Self { above, sums: Default::default(), median, nearest: None, slowest: Vec::new() }
    }

    /// A request of one side.
    pub fn request(&mut self, side: usize, tree: &Tree<'_>, sums: &mut Sums, waits: &[Wait]) {
        let duration = tree.nodes[0].duration();
        if self.above.is_none_or(|(_, above)| duration <= above[side]) {
            return;
        }
        let summed = &mut self.sums[side];
        summed.requests += 1;
        summed.durations += u128::from(duration);
        for (part, ns) in sums.critical(tree, waits) {
            *summed.parts.entry(part).or_default() += u128::from(ns);
        }
    }

    /// A pair.
    pub fn pair(&mut self, pair: [&Tree<'_>; 2]) {
        let both = together(pair);
        if let Some(median) = self.median {
            let off = both.abs_diff(median);
            if self.nearest.as_ref().is_none_or(|(known, _)| off < *known) {
                self.nearest = Some((off, example(Why::Median, pair)));
            }
        }
        let at = self.slowest.partition_point(|(known, _)| *known >= both);
        if at < SLOWEST {
            self.slowest.insert(at, (both, example(Why::Slowest, pair)));
            self.slowest.truncate(SLOWEST);
        }
    }

    /// The tails, with the parts in the order of `rows`, and the pairs.
    pub fn done(self, rows: &[Part]) -> ([Option<Tail>; 2], Vec<Example>) {
        let tail = |(side, summed): (usize, Summed)| {
            let (percentile, above) = self.above?;
            let mean = |sum: u128| crate::stats::rounded(sum as f64 / summed.requests as f64);
            let part = |part: &Part| mean(summed.parts.get(part).copied().unwrap_or_default());
            let found = Tail {
                percentile,
                requests: summed.requests,
                above_ns: above[side],
                mean_ns: mean(summed.durations),
                critical_ns: rows.iter().map(part).collect(),
            };
            (found.requests > 0).then_some(found)
        };
        let [first, second] = self.sums;
        let tails = [(0, first), (1, second)].map(tail);
        let kept = self.nearest.into_iter().chain(self.slowest);
        (tails, kept.map(|(_, example)| example).collect())
    }
}

/// The durations of both sides of a pair, in ns.
pub fn together(pair: [&Tree<'_>; 2]) -> u64 {
    let [one, other] = pair.map(|tree| tree.nodes[0].duration());
    one.saturating_add(other)
}

fn example(why: Why, pair: [&Tree<'_>; 2]) -> Example {
    Example {
        why,
        traces: pair.map(|tree| hex::encode(&tree.nodes[0].found.span.trace_id)),
        spans: pair.map(spans),
    }
}

/// As they are read from above: each span, then what is below it.
fn spans(tree: &Tree<'_>) -> Vec<ExampleSpan> {
    let (times, begin) = (times(tree), tree.nodes[0].start);
    let mut left = vec![(0, 0)];
    let mut spans = Vec::new();
    while let Some((at, depth)) = left.pop() {
        let node = &tree.nodes[at];
        left.extend(node.children.iter().rev().map(|child| (*child, depth + 1)));
        let span = &node.found.span;
        spans.push(ExampleSpan {
            name: tree.called(at).into_owned(),
            depth,
            start_ns: node.start.wrapping_sub(begin) as i64,
            duration_ns: node.duration(),
            before_ns: node.before,
            critical_ns: times[at].critical,
            kind: kind(span),
            status: status(span),
            attributes: attributes(&span.attributes)
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        });
    }
    spans
}
