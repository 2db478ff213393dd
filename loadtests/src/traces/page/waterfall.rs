//! A pair of requests as they were: their spans below each other, both sides in the same scale.

use serde::Serialize;

use crate::traces::model::{Example, ExampleSpan, Why};
use crate::traces::text::micros;

/// Spans of one side that are drawn.
const SPANS: usize = 200;

/// Both sides.
#[derive(Debug, Serialize)]
pub struct Pair {
    /// Why it is here, and how long each took.
    why: &'static str,
    /// What a search finds it by: both trace ids, or the one that they share.
    traces: Vec<String>,
    sides: [Side; 2],
}

#[derive(Debug, Serialize)]
struct Side {
    took: String,
    bars: Vec<Bar>,
    /// Spans that aren't drawn.
    more: usize,
}

#[derive(Debug, Serialize)]
struct Bar {
    name: String,
    depth: usize,
    /// In per cent of the longer side.
    left: f64,
    width: f64,
    took: String,
    told: String,
    failed: bool,
}

/// As the template takes it.
pub fn pair(example: &Example) -> Pair {
    let whole = |spans: &Vec<ExampleSpan>| spans.first().map_or(0, |span| span.duration_ns);
    let longest = example.spans.iter().map(whole).max().unwrap_or(0).max(1) as f64;
    let mut traces = example.traces.to_vec();
    traces.dedup();
    Pair {
        why: match example.why {
            Why::Median => "A pair as usual: half of all take longer together",
            Why::Slowest => "One of the slowest pairs",
        },
        traces,
        sides: example.spans.each_ref().map(|spans| Side {
            took: micros(whole(spans) as f64),
            bars: spans.iter().take(SPANS).map(|span| bar(span, longest)).collect(),
            more: spans.len().saturating_sub(SPANS),
        }),
    }
}

fn bar(span: &ExampleSpan, longest: f64) -> Bar {
    let ExampleSpan { name, depth, start_ns, duration_ns, critical_ns, kind, status, attributes } = span;
    let left = (*start_ns as f64 / longest * 100.0).clamp(0.0, 100.0);
    let attributes: Vec<_> = attributes.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let times = format!(
        "begins at {} µs, takes {} µs, of that {} µs on the critical path and no child’s",
        micros(*start_ns as f64),
        micros(*duration_ns as f64),
        micros(*critical_ns as f64)
    );
    Bar {
        name: name.clone(),
        depth: *depth,
        left,
        // What ended after the request isn't drawn.
        width: (*duration_ns as f64 / longest * 100.0).clamp(0.0, 100.0 - left),
        took: micros(*duration_ns as f64),
        told: [vec![format!("{name} ({kind}, {status})"), times], attributes].concat().join("\n"),
        failed: status.starts_with("error"),
    }
}
