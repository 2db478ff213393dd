//! A comparison of traces as a page: one HTML file with everything in it, that needs no script but for the search and the
//! theme.

mod icicle;
mod waterfall;

use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Serialize;

use super::model::{Operation, Pairing, Row, Tail, Times, TracesReport};
use super::text::{alike, cells, difference, explained, micros, most, paired, place, remarked};
use crate::report::standing::{assert_word_of, standing_of};
use crate::report::wording::{counted, number, ratio, whole};
use crate::report::{assets, class_of, data, scripts};
use crate::stats::{PAIRS_MIN, Ratio};
use crate::validity::Bound;
use icicle::{Icicle, icicle};
use waterfall::{Pair, pair};

/// Parts of a tail that are shown.
const PARTS: usize = 6;

/// What stands above the figures, on a page of its own and in traces.json.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Above {
    /// What was played here; unset: files were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub played: Option<Played>,
    /// The caller's thresholds, and how they came out.
    pub asserts: Vec<Asked>,
}

/// Whether what was played may be believed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Played {
    /// Why the figures aren't a result; empty: they are.
    pub void: Vec<String>,
    /// Missed bounds that the caller allowed.
    pub allowed: Vec<String>,
    /// It was short, with light hashes and loose bounds.
    pub trial: bool,
    /// Every bound.
    pub validity: Vec<Bound>,
}

/// A threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    /// As the caller wrote it.
    pub assert: String,
    /// What it looked at.
    pub measured: String,
    /// Whether that is as asked.
    pub held: bool,
}

/// traces.html.
pub fn page(report: &TracesReport, above: &Above) -> anyhow::Result<String> {
    let labels = report.sides.each_ref().map(|side| side.label.clone());
    let standing =
        above.played.as_ref().map(|played| standing_of(&played.void, &played.allowed, played.trial));
    let void = above.played.as_ref().is_some_and(|played| !played.void.is_empty());
    let assert = |Asked { assert, measured, held }: &Asked| Line {
        class: if *held && !void { "held" } else { "missed" },
        cells: vec![assert.clone(), measured.clone(), assert_word_of(void, *held).into()],
    };
    let text = assets()?.get_template("traces.html")?.render(context! {
        title => format!("{} against {}, by their traces", labels[0], labels[1]),
        class => above.played.as_ref().map_or("traces", |played| class_of(&played.void, &played.allowed, played.trial)),
        standing => standing.as_ref().map(|(standing, _)| *standing),
        reasons => standing.as_ref().map(|(_, reasons)| reasons.clone()),
        validity => above.played.as_ref().map(|played| Value::from(Serde(&played.validity))),
        asserts => Value::from(Serde(above.asserts.iter().map(assert).collect::<Vec<_>>())),
        file => "traces.json",
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
        in_pairs => report.pairing != Pairing::Operation,
        intervals => (report.blocks >= PAIRS_MIN).then_some(report.blocks),
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
    let requests = match (&report.pairing, operation.requests) {
        (Pairing::Operation, [ones, others]) => format!("{} and {}", whole(ones), counted(others, "request")),
        (Pairing::Trace | Pairing::Attribute(_), [ones, _]) => counted(ones, "pair"),
    };
    let mean = format!(
        "{requests}: {first} takes {one} µs and {second} {other} µs in the mean; {second} less {first}: {} µs.",
        difference(&operation.whole)
    );
    [Some(mean), largest(operation), Some(explained(operation))].into_iter().flatten().collect()
}

/// What adds the most to the difference, where both are told from nothing; what works against it is no part of it.
fn largest(operation: &Operation) -> Option<String> {
    let whole = &operation.whole;
    let adds = |row: &&Row| row.told() && row.difference_ns.signum() == whole.difference_ns.signum();
    let row = operation.rows.iter().filter(|_| whole.told()).find(adds)?;
    let share = number(row.difference_ns / whole.difference_ns * 100.0);
    Some(format!("The largest part of it: {}, {} µs ({share} %).", place(row), difference(row)))
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
    let class = match (row.told(), row.difference_ns > 0.0) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, traced};
    use crate::stats::Interval;

    fn row(name: &str, us: f64, half: f64) -> Row {
        let interval = Some(Interval { low: (us - half) * 1e3, high: (us + half) * 1e3 });
        let path = vec!["pay".into(), name.into()];
        Row { path, difference_ns: us * 1e3, interval, ..sample::operation([3, 3], [0, 0]).whole }
    }

    fn operation(whole: Row, rows: Vec<Row>) -> Operation {
        let explained_ns = rows.iter().map(|row| row.difference_ns).sum();
        Operation { whole, explained_ns, rows, ..sample::operation([3, 3], [0, 0]) }
    }

    #[test]
    fn the_largest_part_adds_to_the_difference_and_is_told_from_nothing() {
        let against = || vec![row("find", -300.0, 9.0), row("bank", 250.0, 300.0), row("hash", 150.0, 9.0)];
        let said = largest(&operation(row("", 100.0, 50.0), against())).unwrap();
        assert_eq!(said, "The largest part of it: hash, +150 [141, 159] µs (150 %).");
        assert_eq!(largest(&operation(row("", 100.0, 200.0), against())), None);
        assert_eq!(largest(&operation(row("", 100.0, 50.0), vec![row("find", -300.0, 9.0)])), None);
        let share = |half| explained(&operation(row("", 100.0, half), vec![row("hash", 50.0, 9.0)]));
        assert!(share(50.0).contains("explain 50.0 µs (50.0 %)") && !share(200.0).contains(" %)"));
    }

    #[test]
    fn a_page_of_its_own_says_whether_its_figures_are_a_result() {
        let report = traced(vec![]).traces;
        let given = page(&report, &Above::default()).unwrap();
        assert!(!given.contains("class=\"standing") && !given.contains("May it be believed?"));
        let bound = Bound {
            name: "traced".into(),
            asks: "no span is lost".into(),
            measured: "3".into(),
            held: false,
            allowed: false,
            applies: true,
        };
        let assert = Asked { assert: "unpaired==0".into(), measured: "it is 0".into(), held: true };
        let void = vec!["a <span> was lost.".into()];
        let played = Played { void, allowed: vec![], trial: false, validity: vec![bound] };
        let mut above = Above { played: Some(played), asserts: vec![assert] };
        let html = page(&report, &above).unwrap();
        for wanted in [
            "Void: these numbers are not a result.",
            "<li>a &lt;span&gt; was lost.</li>",
            "<b>no span is lost</b>",
            "<td>the run is void</td>",
            "traces.json beside this page",
        ] {
            assert!(html.contains(wanted), "no {wanted:?} in {html}");
        }
        if let Some(played) = &mut above.played {
            played.void.clear();
            played.trial = true;
        }
        let html = page(&report, &above).unwrap();
        assert!(html.contains("Valid only as a trial: short") && html.contains("<td>held</td>"));
    }

    #[test]
    fn what_isn_t_paired_is_not_called_pairs() {
        let mut report = traced(vec![]).traces;
        report.operations = vec![operation(row("", 100.0, 50.0), vec![])];
        assert!(page(&report, &Above::default()).unwrap().contains("<li>3 pairs: "));
        report.pairing = Pairing::Operation;
        assert!(page(&report, &Above::default()).unwrap().contains("<li>3 and 3 requests: "));
    }
}
