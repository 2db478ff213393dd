//! The trials in the search for a capacity: where latency leaves its bound, as a chart and as tables.

use super::Row;
use super::beside::row;
use super::chart::{Chart, ChartLine, Style};
use crate::report::wording::number;
use crate::solo::{Capacity, Probe, ServiceCapacity, p99_ms, unserved};

/// Each service's trials, with the search's number, the trial's and it.
fn tried(service: &ServiceCapacity) -> impl Iterator<Item = (usize, usize, &Probe)> {
    let blocks = service.blocks.iter().enumerate();
    blocks.flat_map(|(search, block)| {
        block.probes.iter().enumerate().map(move |(trial, probe)| (search + 1, trial + 1, probe))
    })
}

/// p99 by the offered rate, in requests a second; a service has its colour of the page, by its place in `labels`.
pub(super) fn knee(capacity: &Capacity, labels: &[String]) -> anyhow::Result<Chart> {
    let mut points = Vec::new();
    for (index, service) in capacity.services.iter().enumerate() {
        for (_, _, probe) in tried(service) {
            points.push((probe.load.offered_rate(), index, probe.held, p99_ms(&probe.load)?));
        }
    }
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut lines =
        vec![ChartLine::whole("bound", "soft", Style::Dashed, vec![capacity.p99_ms; points.len()])];
    for (index, service) in capacity.services.iter().enumerate() {
        let place = labels.iter().position(|label| *label == service.label).unwrap_or(index);
        for (held, word, style) in [(true, "kept", Style::Dots), (false, "missed", Style::Rings)] {
            let value = |(_, whose, kept, p99): &(f64, usize, bool, Option<f64>)| {
                p99.filter(|_| *whose == index && *kept == held)
            };
            lines.push(ChartLine {
                label: format!("{} {word}", service.label),
                colour: ["first", "second"][place % 2],
                style,
                values: points.iter().map(value).collect(),
            });
        }
    }
    let at = points.iter().map(|(rate, ..)| *rate).collect();
    Ok(Chart { x: "requests/s", unit: "ms", log: true, at, lines })
}

/// A row a search.
pub(super) fn brackets(capacity: &Capacity) -> Vec<Row> {
    let end = |end: Option<f64>, none: &str| end.map_or(none.to_owned(), number);
    let of = |service: &ServiceCapacity| {
        let line = |(index, block): (usize, &crate::solo::Block)| {
            let unsure = if block.bracket.confirmed { "" } else { " (not confirmed)" };
            row(vec![
                service.label.clone(),
                (index + 1).to_string(),
                end(block.bracket.low, "none") + unsure,
                end(block.bracket.high, "none"),
                block.probes.len().to_string(),
                block.full.clone(),
            ])
        };
        service.blocks.iter().enumerate().map(line).collect::<Vec<_>>()
    };
    capacity.services.iter().flat_map(of).collect()
}

/// A row a trial.
pub(super) fn trials(capacity: &Capacity) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for service in &capacity.services {
        for (search, trial, probe) in tried(service) {
            let fullest = probe.used.first();
            rows.push(row(vec![
                service.label.clone(),
                search.to_string(),
                trial.to_string(),
                number(probe.rate),
                number(probe.load.offered_rate()),
                number(probe.load.goodput()),
                p99_ms(&probe.load)?.map_or("–".into(), number),
                number(unserved(&probe.load) * 100.0),
                if probe.held { "kept".into() } else { "missed".into() },
                fullest.map_or("–".into(), |used| {
                    format!("{} {} %", used.resource, number(used.share * 100.0))
                }),
            ]));
        }
    }
    Ok(rows)
}
