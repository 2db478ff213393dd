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
    /// Its begin and length in per cent of the longer side, and before them what was waited.
    left: f64,
    width: f64,
    waited: f64,
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
    let ExampleSpan { name, depth, start_ns, duration_ns, before_ns, critical_ns, kind, status, attributes } =
        span;
    let begins = start_ns.saturating_add_unsigned(*before_ns);
    // What was before the request or ended after it isn't drawn.
    let at = |ns: i64| (ns as f64 / longest * 100.0).clamp(0.0, 100.0);
    let [from, left, to] = [*start_ns, begins, start_ns.saturating_add_unsigned(*duration_ns)].map(at);
    let attributes: Vec<_> = attributes.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let waited = match before_ns {
        0 => String::new(),
        ns => format!(" after {} µs of waiting", micros(*ns as f64)),
    };
    let times = format!(
        "begins at {} µs{waited}, takes {} µs, of that {} µs on the critical path and no child’s",
        micros(begins as f64),
        micros((duration_ns - before_ns) as f64),
        micros(*critical_ns as f64)
    );
    Bar {
        name: name.clone(),
        depth: *depth,
        left,
        width: to - left,
        waited: left - from,
        took: micros(*duration_ns as f64),
        told: [vec![format!("{name} ({kind}, {status})"), times], attributes].concat().join("\n"),
        failed: status.starts_with("error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_waited_before_a_span_is_drawn_before_it() {
        let span = |start_ns, duration_ns, before_ns| ExampleSpan {
            name: "hash".into(),
            depth: 0,
            start_ns,
            duration_ns,
            before_ns,
            critical_ns: 0,
            kind: "internal".into(),
            status: "unset".into(),
            attributes: vec![],
        };
        let drawn = |span| {
            let Bar { left, width, waited, .. } = bar(&span, 2e6);
            [waited, left, width]
        };
        assert_eq!(drawn(span(1_000_000, 500_000, 0)), [0.0, 50.0, 25.0]);
        assert_eq!(drawn(span(1_000_000, 500_000, 200_000)), [10.0, 60.0, 15.0]);
        assert_eq!(drawn(span(-400_000, 800_000, 600_000)), [10.0, 10.0, 10.0]);
        assert_eq!(drawn(span(1_800_000, 1_000_000, 0)), [0.0, 90.0, 10.0]);
        let told = bar(&span(1_000_000, 500_000, 200_000), 2e6).told;
        assert!(told.contains(" after 200 µs of waiting, takes 300 µs,"), "{told}");
    }
}
