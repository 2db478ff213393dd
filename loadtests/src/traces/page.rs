//! A comparison of traces as a page: one HTML file with everything in it, that needs no script but for the search and the
//! theme.

mod icicle;
mod waterfall;

use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Serialize;

use super::model::{Operation, Row, Tail, Times, TracesReport};
use super::text::{alike, cells, difference, explained, micros, most, paired, place, remarked};
use crate::report::wording::{counted, number, ratio, whole};
use crate::report::{assets, data, scripts};
use crate::stats::Ratio;
use icicle::{Icicle, icicle};
use waterfall::{Pair, pair};

/// Parts of a tail that are shown.
const PARTS: usize = 6;

/// traces.html.
pub fn page(report: &TracesReport) -> anyhow::Result<String> {
    let labels = report.sides.each_ref().map(|side| side.label.clone());
    let text = assets()?.get_template("traces.html")?.render(context! {
        title => format!("{} against {}, by their traces", labels[0], labels[1]),
        class => "traces",
        traces => part(report),
        data => data(&labels, [(); 0], &[])?,
        ..scripts()
    })?;
    Ok(text)
}

/// What the template shows of a comparison, on a page of its own or on a load comparison's.
pub fn part(report: &TracesReport) -> Value {
    let sides = report.sides.each_ref().map(|side| Told {
        label: side.label.clone(),
        said: format!(
            "{} in {}; {} of {}; {}",
            counted(side.spans, "span"),
            counted(side.traces, "trace"),
            counted(side.requests, "request"),
            if side.service.is_empty() { "a service without a name" } else { &side.service },
            side.files.join(", ")
        ),
        troubles: side.troubles.iter().map(ToString::to_string).collect(),
    });
    let compared = report.operations.iter().filter(|operation| !operation.requests.contains(&0));
    context! {
        labels => report.sides.each_ref().map(|side| side.label.clone()),
        sides => Value::from(Serde(sides)),
        paired => paired(report),
        differences => Value::from(Serde(differences(report))),
        alike => alike(report),
        vocabulary => report.vocabulary.iter().map(|remark| remarked(remark, report)).collect::<Vec<_>>(),
        operations => Value::from(Serde(compared.map(|operation| view(operation, report)).collect::<Vec<_>>())),
        alone => Value::from(Serde(alone(report))),
    }
}

#[derive(Serialize)]
struct Told {
    label: String,
    said: String,
    troubles: Vec<String>,
}

/// As the templates' tables take them.
#[derive(Serialize)]
struct Line {
    class: &'static str,
    cells: Vec<String>,
}

impl Line {
    fn of(cells: impl Into<Vec<String>>) -> Self {
        Self { class: "", cells: cells.into() }
    }
}

#[derive(Serialize)]
struct View {
    name: String,
    sentences: Vec<String>,
    rows: Vec<Line>,
    icicle: Icicle,
    tails: Vec<TailView>,
    pairs: Vec<Pair>,
}

#[derive(Serialize)]
struct TailView {
    said: String,
    rows: Vec<Line>,
}

fn differences(report: &TracesReport) -> Vec<Line> {
    let all = report.operations.iter().flat_map(|operation| &operation.differences);
    all.map(|found| Line::of(cells(found))).collect()
}

/// Operations that have requests without a partner.
fn alone(report: &TracesReport) -> Vec<Line> {
    let alone = report.operations.iter().filter(|operation| operation.alone != [0, 0]);
    alone.map(|one| Line::of([one.name.clone(), whole(one.alone[0]), whole(one.alone[1])])).collect()
}

fn view(operation: &Operation, report: &TracesReport) -> View {
    View {
        name: operation.name.clone(),
        sentences: sentences(operation, report),
        rows: rows(operation),
        icicle: icicle(operation),
        tails: operation
            .tails
            .iter()
            .enumerate()
            .filter_map(|(side, tail)| tail_view(side, tail.as_ref()?, operation, report))
            .collect(),
        pairs: operation.examples.iter().map(pair).collect(),
    }
}

fn sentences(operation: &Operation, report: &TracesReport) -> Vec<String> {
    let [first, second] = [0, 1].map(|side| report.sides[side].label.as_str());
    let [one, other] = operation.whole.critical_ns.map(micros);
    let requests = match operation.requests {
        [ones, others] if ones == others => counted(ones, "pair"),
        [ones, others] => format!("{} and {}", whole(ones), counted(others, "request")),
    };
    let mean = format!(
        "{requests}: {first} takes {one} µs and {second} {other} µs in the mean; {second} less {first}: {} µs.",
        difference(&operation.whole)
    );
    let most = operation
        .rows
        .iter()
        .find(|row| told(row) && told(&operation.whole))
        .map(|row| format!("Most of it: {}, {} µs.", place(row), difference(row)));
    [Some(mean), most, Some(explained(operation))].into_iter().flatten().collect()
}

/// Whether a row's difference is told from nothing.
fn told(row: &Row) -> bool {
    row.interval.is_some_and(|interval| interval.low > 0.0 || interval.high < 0.0)
}

/// The whole, then each place.
fn rows(operation: &Operation) -> Vec<Line> {
    let whole = [("the whole request".to_owned(), &operation.whole)];
    let all = whole.into_iter().chain(operation.rows.iter().map(|row| (place(row), row)));
    all.map(|(name, row)| line(name, row, &operation.whole)).collect()
}

fn line(name: String, row: &Row, whole: &Row) -> Line {
    let share = |side: usize| number(row.critical_ns[side] / whole.critical_ns[side].max(1.0) * 100.0);
    let both = |of: &dyn Fn(usize) -> String| format!("{} / {}", of(0), of(1));
    // One below the other: a table that is wider than a desk isn't read.
    let times = |percentile: fn(&Times) -> Option<u64>, ratio: &Ratio| {
        let time = |side: usize| percentile(&row.times[side]);
        match time(0).zip(time(1)) {
            Some(_) => {
                let shown = |side: usize| time(side).map_or(String::new(), |ns| micros(ns as f64));
                format!("{}\n{}", both(&shown), beside(ratio))
            }
            None => "too few".to_owned(),
        }
    };
    let class = match (told(row), row.difference_ns > 0.0) {
        (true, true) => "first",
        (true, false) => "second",
        (false, _) => "",
    };
    let [p50, p90, p99] = &row.ratios;
    let cells = [
        name,
        difference(row).replacen(" [", "\n[", 1),
        format!("{}\n{} %", both(&|side| micros(row.critical_ns[side])), both(&share)),
        times(|times| times.p50, p50),
        times(|times| times.p90, p90),
        times(|times| times.p99, p99),
        spans(row),
    ];
    Line { class, cells: cells.into() }
}

fn spans(row: &Row) -> String {
    let [first, second] = row.spans.map(whole);
    if first == second { first } else { format!("{first};\n{second}") }
}

/// A ratio with its interval.
fn beside(of: &Ratio) -> String {
    match of.interval {
        Some(interval) => format!("{} [{}, {}]", ratio(of), number(interval.low), number(interval.high)),
        None => ratio(of),
    }
}

fn tail_view(side: usize, tail: &Tail, operation: &Operation, report: &TracesReport) -> Option<TailView> {
    let Tail { percentile, requests, above_ns, mean_ns, .. } = tail;
    let usual = &operation.whole.critical_ns[side];
    let said = format!(
        "{}: {} requests above p{percentile} ({} µs) take {} µs in the mean, where all take {} µs.",
        report.sides[side].label,
        whole(*requests),
        micros(*above_ns as f64),
        micros(*mean_ns),
        micros(*usual)
    );
    let excess = (mean_ns - usual).max(1.0);
    let mut parts = most(operation, tail);
    parts.sort_by(|(one, tail_one), (other, tail_other)| {
        (tail_other - other.critical_ns[side]).total_cmp(&(tail_one - one.critical_ns[side]))
    });
    let row = |(row, ns): (&Row, f64)| {
        let more = ns - row.critical_ns[side];
        Line::of([
            place(row),
            micros(row.critical_ns[side]),
            micros(ns),
            micros(more),
            format!("{} %", number(more / excess * 100.0)),
        ])
    };
    let rows = parts.into_iter().take(PARTS).map(row).collect();
    Some(TailView { said, rows })
}
