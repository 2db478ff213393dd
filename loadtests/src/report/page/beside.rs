//! What was measured beside the comparison, as tables and charts: the machine's own limits, and each service by itself.

use serde::Serialize;

use super::Row;
use super::chart::Chart;
use super::knee::{brackets, knee, trials};
use super::settings::settings;
use crate::development::{self, Development};
use crate::limits::looking::{self, Looking};
use crate::limits::{Between, Limits, Saturation, between};
use crate::report::Report;
use crate::report::standing::{VOID, reasons_of_alone};
use crate::report::wording::{labels, number, repeated, spread, whole};
use crate::solo::{
    Capacity, Footprint, SoloRun, StageReport, footprint_n, footprint_ratio, footprint_rows, memory_over_time,
};
use crate::spread::Spread;
use crate::surroundings::Surroundings;
use crate::validity::Bound;

/// One table, with what it says.
#[derive(Default, Serialize)]
pub(super) struct Beside {
    /// None: it belongs to the one before.
    title: String,
    note: String,
    class: &'static str,
    head: Vec<String>,
    rows: Vec<Row>,
    /// What has no figure, and why.
    missing: Vec<String>,
    /// The chart above it, among the page's.
    chart: Option<usize>,
    /// What it is called where it is folded away.
    folded: Option<String>,
    /// Of the scenario, where it is one.
    settings: Vec<(String, String)>,
    /// The same: its bounds, and why it is no result where one of them makes it void.
    validity: Vec<Bound>,
    void: Option<&'static str>,
    reasons: Vec<String>,
}

/// All that this run has, and its charts.
pub(super) fn beside(report: &Report) -> anyhow::Result<(Vec<Beside>, Vec<Chart>)> {
    let (mut parts, mut charts) = (Vec::new(), Vec::new());
    parts.extend(report.limits.iter().map(limits));
    parts.extend(report.limits.iter().filter_map(saturations));
    parts.extend(report.limits.iter().filter_map(ratios));
    parts.extend(report.looking.iter().map(looked));
    if let Some(solo) = &report.solo {
        for one in &solo.capacities {
            parts.extend(capacity(one, charts.len())?);
            charts.push(knee(one, &labels(report))?);
        }
        let note = "Start-up, memory, size: median (least to most); the ratio with its 95 % interval over the repetitions, each on a fresh service.";
        parts.extend(footprints("What each takes beside the work", note.into(), &solo.footprints));
    }
    parts.extend(report.alone.iter().map(alone));
    parts.extend(report.development.as_ref().and_then(development));
    Ok((parts, charts))
}

pub(super) fn row(cells: Vec<String>) -> Row {
    Row { class: "", cells }
}

fn head(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// A dash where there is none.
fn told(figure: Option<&Spread>) -> String {
    figure.map_or("–".into(), spread)
}

/// A note, and what went on meanwhile; what makes the figures void comes first.
fn with(note: String, surroundings: &Surroundings) -> String {
    match surroundings.line() {
        Some(line) if surroundings.validity.iter().any(Bound::voids) => format!("{line} {note}"),
        Some(line) => format!("{note} {line}"),
        None => note,
    }
}

fn limits(limits: &Limits) -> Beside {
    let dash = || "–".to_owned();
    let line = |limit: &crate::limits::Limit| {
        let n = limit.figure.as_ref().map_or_else(dash, |figure| figure.values.len().to_string());
        let figure = format!("{} {}", told(limit.figure.as_ref()), limit.unit);
        row(vec![limit.label.clone(), figure, n, limit.full.clone().unwrap_or_else(dash)])
    };
    let missing =
        limits.rows.iter().filter_map(|limit| Some(format!("{}: {}", limit.label, limit.missing.as_ref()?)));
    Beside {
        title: "What the machine could do at most".into(),
        note: with(
            format!(
                "In the same run, on the same cores, {} s each: median (least to most).",
                number(limits.seconds)
            ),
            &limits.surroundings,
        ),
        class: "limits",
        head: head(&["limit", "figure", "n", "what was full"]),
        rows: limits.rows.iter().map(line).collect(),
        missing: missing.collect(),
        ..Beside::default()
    }
}

fn looked(looking: &Looking) -> Beside {
    Beside {
        title: "What it costs to be traced".into(),
        note: with(
            format!(
                "Each service at its most, {} s each, in turn: without traces, with one request in a hundred traced, with all; n: measurements; the median, and the ratio to untraced with its 95 % interval. A span is lost where the queue is full: telemetry never has a request wait.",
                number(looking.seconds)
            ),
            &looking.surroundings,
        ),
        class: "looking",
        head: head(&looking::HEAD),
        rows: looking.rows.iter().map(|one| row(looking::cells(one).into())).collect(),
        ..Beside::default()
    }
}

/// How much each takes, what each search found, and each trial; above them the chart.
fn capacity(capacity: &Capacity, chart: usize) -> anyhow::Result<[Beside; 3]> {
    let line = |service: &crate::solo::ServiceCapacity| {
        row(vec![
            service.label.clone(),
            told(service.kept.as_ref()),
            told(service.most_goodput.as_ref()),
            service.searches(),
        ])
    };
    let bound = number(capacity.p99_ms);
    let all = Beside {
        title: format!("{}: how much each takes alone", capacity.scenario),
        note: with(
            format!(
                "Every trial of {} s by the rate that it was offered: a full point was kept (p99 below {bound} ms, at most one in 1\u{202f}000 not served), an empty one missed. n: searches that found such a rate, each on a fresh service; median (least to most).",
                number(capacity.trial_seconds)
            ),
            &capacity.surroundings,
        ),
        class: "capacity",
        head: head(&["", "kept, requests/s", "most good/s", "n"]),
        rows: capacity.services.iter().map(line).collect(),
        chart: Some(chart),
        ..Beside::default()
    };
    let found = Beside {
        note: "What each search found: the highest rate kept, the lowest missed, and what was full where it was missed. Where that is the database or the generator, the rate isn’t the service’s. A flow is what one customer asks for, one request after another.".into(),
        class: "brackets",
        head: head(&["", "search", "kept, flows/s", "missed, flows/s", "trials", "what was full"]),
        rows: brackets(capacity),
        ..Beside::default()
    };
    let columns = [
        "",
        "search",
        "trial",
        "flows/s",
        "offered/s",
        "good/s",
        "p99, ms",
        "not served, %",
        "so",
        "fullest",
    ];
    let tried = Beside {
        class: "trials",
        head: head(&columns),
        rows: trials(capacity)?,
        folded: Some("Every trial as numbers".into()),
        ..Beside::default()
    };
    Ok([all, found, tried])
}

fn saturations(limits: &Limits) -> Option<Beside> {
    let line = |one: &Saturation| {
        let figure = |of: &Spread, unit: &str| format!("{} {unit}", spread(of));
        row(vec![
            one.label.clone(),
            figure(&one.rate, &one.unit),
            figure(&one.cpu_us, "µs"),
            one.share.as_ref().map_or("–".into(), spread),
            one.rate.values.len().to_string(),
            one.limit.clone(),
            one.full.clone(),
        ])
    };
    (!limits.saturations.is_empty()).then(|| Beside {
        title: "What each answers at most".into(),
        note: with(
            "Clients that ask again as soon as they are answered, in turn with the limits: median (least to most); n: turns. A share is of the limit as it was measured in the same turn.".into(),
            &limits.surroundings,
        ),
        class: "saturations",
        head: head(&["", "answered", "CPU a reply", "share", "n", "of the limit", "how busy"]),
        rows: limits.saturations.iter().map(line).collect(),
        ..Beside::default()
    })
}

fn ratios(limits: &Limits) -> Option<Beside> {
    let found = between(&limits.saturations);
    (!found.is_empty()).then(|| Beside {
        note: "One by the other, with the 95 % interval over the turns. Where something else than the service was full, the rate is not the service’s.".into(),
        class: "between",
        head: head(&Between::HEAD),
        rows: found.iter().map(|one| row(one.cells().into())).collect(),
        ..Beside::default()
    })
}

fn development(found: &Development) -> Option<Beside> {
    let machine: Vec<_> = found.machine.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let note = format!(
        "Of commit {}, measured {} on: {}. Median (least to most); n: builds. Builds are of everything that the program needs, in an empty folder; a change adds a function to one file.",
        found.commit,
        found.measured_at,
        machine.join("; ")
    );
    footprints(development::TITLE, note, &found.services)
}

fn footprints(title: &str, note: String, footprints: &[Footprint]) -> Option<Beside> {
    if footprints.is_empty() {
        return None;
    }
    let mut columns = head(&[""]);
    columns.extend(footprints.iter().map(|footprint| footprint.label.clone()));
    let labels: Vec<_> = footprints.iter().map(|footprint| footprint.label.as_str()).collect();
    columns.extend([labels.join("/"), "n".into()]);
    let line = |known: &crate::solo::Row| {
        let of = |footprint: &Footprint| format!("{} {}", told(footprint.figure(&known.name)), known.unit);
        let mut cells = vec![known.label.clone()];
        cells.extend(footprints.iter().map(of));
        cells.push(footprint_ratio(footprints, &known.name).map_or("–".into(), |found| repeated(&found)));
        cells.push(footprint_n(footprints, &known.name));
        row(cells)
    };
    let note = footprints.iter().fold(note, |note, footprint| match footprint.surroundings.line() {
        Some(line) => format!("{note} {}: {line}", footprint.label),
        None => note,
    });
    let left_out = |footprint: &Footprint| {
        let label = footprint.label.clone();
        footprint.left_out.iter().map(move |why| format!("{label}: {why}")).collect::<Vec<_>>()
    };
    Some(Beside {
        title: title.into(),
        note,
        class: "footprints",
        head: columns,
        rows: footprint_rows(footprints).into_iter().map(line).collect(),
        missing: footprints.iter().flat_map(left_out).collect(),
        ..Beside::default()
    })
}

fn alone(run: &SoloRun) -> Beside {
    let percent = |count: u64, of: u64| number(count as f64 / of.max(1) as f64 * 100.0);
    let line = |stage: &StageReport| {
        let mut cells = vec![
            format!("{} s", number(stage.from_seconds)),
            number(stage.rate),
            whole(stage.expected),
            number(stage.offered_rate()),
            number(stage.goodput()),
            percent(stage.shed, stage.offered),
            percent(stage.other(), stage.offered),
        ];
        cells.extend(stage.latency_ms.map(|ms| ms.map_or("too few".into(), number)));
        row(cells)
    };
    let reasons = reasons_of_alone(run, Bound::voids);
    Beside {
        title: format!("{}: {} alone", run.scenario.name, run.service.label),
        note: format!(
            "{} A stage a row; flows/s: how many customers begin a second, each with one request after another; n: requests answered as expected (good), of which the latencies are, in ms from the due time; shed: refused for want of capacity; other: answered wrongly, skipped, dropped or unanswered. CPU a reply: {} µs. Memory: {}.",
            run.scenario.description,
            number(run.cpu_us_a_reply),
            memory_over_time(&run.memory)
        ),
        class: "alone",
        head: head(&[
            "from",
            "flows/s",
            "n",
            "offered/s",
            "good/s",
            "shed, %",
            "other, %",
            "p50",
            "p90",
            "p99",
            "p99.9",
        ]),
        rows: run.stages.iter().map(line).collect(),
        settings: settings(&run.scenario, run.requests, &run.trace_sha256, None),
        validity: run.validity.clone(),
        void: (!reasons.is_empty()).then_some(VOID),
        reasons,
        ..Beside::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;
    use crate::report::{page, sample};
    use crate::solo::SoloReport;

    fn of(values: &[f64]) -> Spread {
        Spread::of(values).unwrap()
    }

    #[test]
    fn a_run_of_one_service_that_is_void_says_so_where_its_figures_stand() {
        let mut report = sample::report();
        report.contenders = ["Rust", "Go"].map(sample::contender).into();
        let mut run = sample::alone("Rust");
        (run.stages[0].offered, run.stages[0].expected) = (10_000, 9_990);
        let bound = |held| Bound {
            name: "lag".into(),
            asks: "early enough".into(),
            measured: "late".into(),
            held,
            allowed: false,
            applies: true,
        };
        run.validity = vec![bound(true)];
        let of = |run: &SoloRun| page(&Report { alone: vec![run.clone()], ..report.clone() }).unwrap();
        let valid = of(&run);
        assert!(!valid.contains("checkout, Rust alone, lag") && valid.contains("<b>early enough</b>"));
        assert!(valid.contains("<td>9\u{202f}990</td>"), "n");
        run.validity = vec![bound(false)];
        let void = of(&run);
        let alone = void.split_once("checkout: Rust alone").unwrap().1;
        let wanted = "checkout, Rust alone, lag: early enough; it was late.";
        assert!(alone.contains(VOID) && alone.contains(wanted), "{alone}");
    }

    #[test]
    fn what_only_one_service_has_is_shown_with_its_own_n() {
        let row = |name: &str, values: &[f64]| crate::solo::Row {
            name: name.into(),
            label: name.into(),
            unit: "ms".into(),
            figure: of(values),
        };
        let footprint = |label: &str, rows| Footprint {
            label: label.into(),
            rows,
            left_out: vec![],
            surroundings: Surroundings::default(),
        };
        let both = [
            footprint("Rust", vec![row("start", &[1.0, 2.0, 3.0])]),
            footprint("Go", vec![row("start", &[1.0, 2.0]), row("request", &[5.0])]),
        ];
        let shown = footprints("", String::new(), &both).unwrap();
        let cells: Vec<_> =
            shown.rows.iter().map(|row| (row.cells[0].as_str(), row.cells[4].as_str())).collect();
        assert_eq!(cells, [("start", "3; 2"), ("request", "0; 1")]);
        assert_eq!(shown.rows[1].cells[1..3], ["– ms", "5.00 ms"]);
        let text = crate::solo::footprint_table("", &both);
        assert!(text.contains("request") && text.contains("3; 2"), "{text}");
    }

    #[test]
    fn limits_and_footprints_stand_on_the_page_with_unit_and_n_and_nothing_where_there_are_none() {
        let mut report = sample::report();
        report.contenders = ["Rust", "Go"].map(sample::contender).into();
        let heading = "What each takes beside the work";
        assert!(!page(&report).unwrap().contains(heading));
        let limit = |label: &str, values: Option<&[f64]>| Limit {
            name: label.into(),
            label: label.into(),
            unit: "hashes".into(),
            figure: values.map(of),
            full: None,
            missing: values.is_none().then(|| "pgbench is missing: get it".into()),
        };
        let rows = vec![limit("Hash", Some(&[300.0, 310.0, 290.0])), limit("Sale", None)];
        let saturation = |service: &str, rate: f64| Saturation {
            name: format!("saturated_sale_{service}"),
            label: format!("Sales, {service}"),
            unit: "sales".into(),
            rate: of(&[rate]),
            cpu_us: of(&[700.0]),
            limit: "Sale".into(),
            share: Some(of(&[0.8])),
            full: "service 50 %".into(),
        };
        let saturations = vec![saturation("rust", 820.0), saturation("go", 656.0)];
        report.limits =
            Some(Limits { seconds: 1.0, rows, saturations, surroundings: Surroundings::default() });
        let footprint = |label: &str, mib: f64| Footprint {
            label: label.into(),
            rows: vec![crate::solo::Row {
                name: "binary".into(),
                label: "Binary".into(),
                unit: "MiB".into(),
                figure: of(&[mib]),
            }],
            left_out: vec!["its heap".into()],
            surroundings: Surroundings::default(),
        };
        let footprints = vec![footprint("Rust", 12.5), footprint("Go", 31.0)];
        report.solo = Some(SoloReport { capacities: vec![], footprints });
        let page = page(&report).unwrap();
        for wanted in [
            heading,
            "<td>300 (290 to 310) hashes</td><td>3</td>",
            "Sale: pgbench is missing: get it",
            "<td>12.5 MiB</td><td>31.0 MiB</td><td>0.40</td><td>1</td>",
            "Go: its heap",
            "<td>656 sales</td><td>700 µs</td><td>0.800</td><td>1</td><td>Sale</td><td>service 50 %</td>",
            "<td>rust&#x2f;go</td><td>1.25 (too few repetitions for an interval)</td>",
        ] {
            assert!(page.contains(wanted), "no {wanted:?}");
        }
    }
}
