//! A comparison of traces as text, for the terminal.

use comfy_table::Table;

use super::model::{Counted, Operation, Pairing, Remark, Row, Side, Tail, TracesReport};
use super::shape::Kind;
use crate::report::wording::{counted, number, ratio, whole};
use crate::report::{align, plain};
use crate::stats::{Interval, PAIRS_MIN};

/// Rows that are shown of an operation; the page has all.
const ROWS: usize = 10;
/// Differences of structure that are shown.
const DIFFERENCES: usize = 30;

/// All of it.
pub fn text(report: &TracesReport) -> String {
    let mut text: String = report.sides.iter().map(side).collect();
    text += &format!("\n{}\n", paired(report));
    text += &format!("\n{}\n", structure(report));
    for operation in report.operations.iter().filter(|operation| !operation.requests.contains(&0)) {
        text += &format!("\n{}\n", heading(operation, report));
        text += &format!("{}\n", contributions(operation, report));
        text += &format!("{}\n", explained(operation));
        text += &tails(operation, report);
    }
    for remark in &report.vocabulary {
        text += &format!("semantic conventions: {}\n", remarked(remark, report));
    }
    text
}

/// What the conventions say, and of how many spans of each side.
pub fn remarked(remark: &Remark, report: &TracesReport) -> String {
    let [first, second] =
        [0, 1].map(|side| format!("{} of {}", counted(remark.spans[side], "span"), report.sides[side].label));
    format!("{} ({first}, {second})", remark.said)
}

fn side(side: &Side) -> String {
    let Side { label, service, spans, traces, requests, troubles, .. } = side;
    let service = if service.is_empty() { "a service without a name" } else { service };
    let [spans, traces, requests] =
        [(spans, "span"), (traces, "trace"), (requests, "request")].map(|(count, one)| counted(*count, one));
    let mut text = format!("{label}: {spans} in {traces}; {requests} of {service}\n");
    troubles.iter().for_each(|trouble| text += &format!("  {trouble}\n"));
    text
}

/// How many pairs there are, by what, and what had no partner.
pub fn paired(report: &TracesReport) -> String {
    let sum = |of: fn(&Operation) -> u64| whole(report.operations.iter().map(of).sum());
    let alone = [sum(|one| one.alone[0]), sum(|one| one.alone[1])];
    let by = match &report.pairing {
        Pairing::Trace => "trace id".to_owned(),
        Pairing::Attribute(key) => format!("the value of `{key}`"),
        Pairing::Operation => {
            return "Not paired: operations are held against each other. Chance between the requests of the two sides is not taken out: intervals are wider, and ratios have none."
                .into();
        }
    };
    let [first, second] = [0, 1].map(|index| &report.sides[index].label);
    let pairs = sum(|one| one.requests[0]);
    let few = match report.blocks {
        few @ ..PAIRS_MIN => format!("; from {few} slices, too few for intervals"),
        _ => String::new(),
    };
    let left_out = match report.slices.as_ref().map_or(0, |slices| slices.left_out.len()) {
        0 => String::new(),
        count => format!("; what was in {count} pairs of slices that were set aside isn’t among them"),
    };
    format!(
        "{pairs} pairs by {by}; without a partner: {} of {first}, {} of {second}{few}{left_out}",
        alone[0], alone[1]
    )
}

fn structure(report: &TracesReport) -> String {
    let all: Vec<_> = report
        .operations
        .iter()
        .flat_map(|one| one.differences.iter().map(|found| (&one.name, found)))
        .collect();
    if all.is_empty() {
        return alike(report).into();
    }
    let [first, second] = [0, 1].map(|index| report.sides[index].label.as_str());
    let mut table = plain(&["where", "what", first, second, "times", "in trace"]);
    for (_, found) in all.iter().take(DIFFERENCES) {
        table.add_row(cells(found));
    }
    let more = match all.len().saturating_sub(DIFFERENCES) {
        0 => String::new(),
        more => format!("\n{more} more"),
    };
    format!("{} differences of structure:\n{table}{more}", all.len())
}

/// Said where no tree differs.
pub fn alike(report: &TracesReport) -> &'static str {
    match report.pairing {
        Pairing::Operation => {
            "Each form that a tree has on one side it has on the other, too: the same spans in the same places, of the same kind and status, with the same attributes. How often each, and the attributes' values, are not compared without pairs."
        }
        Pairing::Trace | Pairing::Attribute(_) => {
            "The same spans in the same places, of the same kind and status, with the same attributes, in every pair."
        }
    }
}

/// Of one difference of structure: where, what, the two sides, how often, in which trace.
pub fn cells(found: &Counted) -> [String; 6] {
    let Counted { spot, count, sides, trace } = found;
    let what = match spot.kind {
        Kind::OnlyFirst | Kind::OnlySecond => "on one side only".to_owned(),
        Kind::Renamed => "another name".into(),
        Kind::Count => "how often".into(),
        Kind::Role => "its kind".into(),
        Kind::Status => "its status".into(),
        Kind::Attribute => format!("attribute `{}` on one side only", spot.what),
        Kind::Value => format!("value of `{}`", spot.what),
    };
    let [first, second] =
        sides.each_ref().map(|side| if side.is_empty() { "–".to_owned() } else { side.clone() });
    [spot.path.clone(), what, first, second, whole(*count), trace.clone()]
}

fn heading(operation: &Operation, report: &TracesReport) -> String {
    let [first, second] = [0, 1].map(|index| report.sides[index].label.as_str());
    let [one, other] = operation.whole.critical_ns.map(micros);
    let requests = match operation.requests {
        [ones, others] if ones == others => counted(ones, "request"),
        [ones, others] => format!("{} and {}", whole(ones), counted(others, "request")),
    };
    let difference = difference(&operation.whole);
    format!(
        "{}, {requests}: {first} {one} µs, {second} {other} µs in the mean; {second} less {first}: {difference} µs",
        operation.name
    )
}

fn contributions(operation: &Operation, report: &TracesReport) -> Table {
    let [first, second] = [0, 1].map(|index| report.sides[index].label.as_str());
    let heads = [first, second].map(|label| format!("{label} p50 / p90 / p99 own µs"));
    let shares = [first, second].map(|label| format!("{label} critical µs"));
    let mut table =
        plain(&["span", &heads[0], &heads[1], "p50 ratio", &shares[0], &shares[1], "difference µs"]);
    for row in operation.rows.iter().take(ROWS) {
        let [one, other] = row.critical_ns.map(micros);
        let [ones, others] = row.times.map(|times| [times.p50, times.p90, times.p99].map(shown).join(" / "));
        table.add_row([place(row), ones, others, ratio(&row.ratios[0]), one, other, difference(row)]);
    }
    align(&mut table, &[1, 2, 3, 4, 5]);
    table
}

/// Names below the operation, and which part of the last one's time.
pub fn place(row: &Row) -> String {
    let below = row.path.get(1..).unwrap_or_default().join(" › ");
    let name = if below.is_empty() { "(its own: in no span below it)".to_owned() } else { below };
    match &row.wait {
        Some(key) => format!("{name}: waited, by {key}"),
        None => name,
    }
}

/// What is explained of an operation's difference.
pub fn explained(operation: &Operation) -> String {
    let (gap, explained) = (operation.whole.difference_ns, operation.explained_ns);
    // Of what may be nothing, a share says nothing.
    let share = match operation.whole.told() {
        true => format!(" ({} %)", number(explained / gap * 100.0)),
        false => String::new(),
    };
    let rest = micros(gap - explained);
    format!(
        "Of the difference of {} µs spans below explain {} µs{share}; {rest} µs are the operation's own, of which the traces don't say what they are.",
        micros(gap),
        micros(explained)
    )
}

fn tails(operation: &Operation, report: &TracesReport) -> String {
    let mut text = String::new();
    for (side, tail) in report.sides.iter().zip(&operation.tails) {
        let Some(tail) = tail else { continue };
        let Tail { percentile, requests, above_ns, mean_ns, .. } = tail;
        let above = micros(*above_ns as f64);
        let parts: Vec<_> = most(operation, tail)
            .into_iter()
            .take(3)
            .map(|(row, ns)| format!("{} {} µs", place(row), micros(ns)))
            .collect();
        text += &format!(
            "{}: {} requests above p{percentile} ({above} µs) take {} µs in the mean, of that {}\n",
            side.label,
            whole(*requests),
            micros(*mean_ns),
            parts.join(", ")
        );
    }
    text
}

/// What a tail is made of, the most first.
pub fn most<'a>(operation: &'a Operation, tail: &Tail) -> Vec<(&'a Row, f64)> {
    let mut parts: Vec<_> = operation.rows.iter().zip(tail.critical_ns.iter().copied()).collect();
    parts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    parts
}

/// ns as µs.
pub fn micros(ns: f64) -> String {
    number(ns / 1e3)
}

fn shown(ns: Option<u64>) -> String {
    ns.map_or("–".to_owned(), |ns| micros(ns as f64))
}

/// `+12.3 [11.0, 13.5]`, in µs.
pub fn difference(row: &Row) -> String {
    let sign = if row.difference_ns > 0.0 { "+" } else { "" };
    let interval = row
        .interval
        .map_or(String::new(), |Interval { low, high }| format!(" [{}, {}]", micros(low), micros(high)));
    format!("{sign}{}{interval}", micros(row.difference_ns))
}
