//! The page: one HTML file with everything in it, rendered from the model by the template `assets/report.html`.
//!
//! Tables and sentences are made here, so they are there without a script; the script only draws the charts.

mod beside;
mod chart;
mod knee;
mod objections;
mod plots;
mod run;
mod settings;
#[cfg(test)]
mod tests;

pub use run::run_page;

use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;

use beside::beside;
pub(crate) use chart::data;
use objections::objections as doubts;
use plots::{Class, distribution, plots, processes_known, slices};
use settings::settings;

use super::control::{self, objections};
use super::model::{Report, ScenarioReport};
use super::rows::{self, Cells};
use super::server;
use super::standing::{VOID, assert_word, is_trial, is_void, is_void_traced, reasons_of_traced, standing};
use super::wording::{
    IDLE, MEMORY, counted, counts, interval, is_difference, labels, millis, number, operation_cells, ratio,
    starts, verdict, verdict_word, whole,
};
use crate::assert::Asserted;
use crate::compare::{Generator, Usage};
use crate::solo::SoloRun;
use crate::stats::{Interval, Ratio};
use crate::traces;
use crate::validity::Bound;

const TEMPLATES: [(&str, &str); 7] = [
    ("report.html", include_str!("../../assets/report.html")),
    ("run.html", include_str!("../../assets/run.html")),
    ("traces.html", include_str!("../../assets/traces.html")),
    ("traces-parts.html", include_str!("../../assets/traces-parts.html")),
    ("parts.html", include_str!("../../assets/parts.html")),
    ("head.html", include_str!("../../assets/head.html")),
    ("foot.html", include_str!("../../assets/foot.html")),
];
const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = include_str!("../../assets/report.js");
const UPLOT_SCRIPT: &str = include_str!("../../assets/vendor/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../assets/vendor/uPlot.min.css");

/// report.html.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let scenarios: Vec<_> = report.scenarios.iter().map(|scenario| view(report, scenario)).collect();
    let plots: Vec<_> = report.scenarios.iter().map(plots).collect();
    let labels = labels(report);
    let (beside, charts) = beside(report)?;
    let text = assets()?.get_template("report.html")?.render(context! {
        title => format!("{} against {}", labels[0], labels[1]),
        labels => labels.clone(),
        standing => standing(report).0,
        reasons => standing(report).1,
        class => class_of(&report.void, &report.allowed, is_trial(report)),
        report => Value::from(Serde(context_of(report))),
        asserts => Value::from(Serde(asserts(report))),
        starts => starts(report),
        // A service that was there before says nothing of what it was built from.
        started_here => report.contenders.iter().all(|one| !one.version.commit.is_empty()),
        idle => IDLE,
        memory => MEMORY,
        seconds => number(report.seconds),
        command => command_line(&report.command),
        scenarios => Value::from(Serde(scenarios)),
        doubts => Value::from(Serde(doubts(report))),
        beside => Value::from(Serde(beside)),
        again => again(report),
        data => data(&labels, &plots, &charts)?,
        ..scripts()
    })?;
    Ok(text)
}

/// As a shell takes it. Whoever plays a resumed run again begins anew.
fn command_line(command: &[String]) -> String {
    let resume = command.iter().position(|word| word == "--resume");
    let resumed = |place: usize, word: &str| {
        word.starts_with("--resume=") || resume.is_some_and(|resume| (resume..resume + 2).contains(&place))
    };
    let kept = command.iter().enumerate().filter(|(place, word)| !resumed(*place, word));
    let kept: Vec<_> = kept.map(|(_, word)| word.as_str()).collect();
    shlex::try_join(kept.iter().copied()).unwrap_or_else(|_| kept.join(" "))
}

/// The templates.
pub(crate) fn assets() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// What every page carries with it.
pub(crate) fn scripts() -> Value {
    context! { style => STYLE, script => SCRIPT, uplot_script => UPLOT_SCRIPT, uplot_style => UPLOT_STYLE }
}

/// Of what stands on top.
pub(crate) fn class_of(void: &[String], allowed: &[String], trial: bool) -> &'static str {
    match (void.is_empty(), allowed.is_empty() && !trial) {
        (false, _) => "void",
        (true, false) => "allowed",
        (true, true) => "valid",
    }
}

fn asserts(report: &Report) -> Vec<Row> {
    let row = |asserted: &Asserted| {
        let word = assert_word(report, asserted);
        Row {
            class: if word == "held" { "held" } else { "missed" },
            cells: vec![
                asserted.assert.clone(),
                asserted.scenario.clone(),
                asserted.measured.clone(),
                word.into(),
            ],
        }
    };
    report.asserts.iter().map(row).collect()
}

/// The parts of a run of one service that the template reads as they are.
fn facts_of(run: &SoloRun) -> impl Serialize {
    #[derive(Serialize)]
    struct Parts {
        started_at: String,
        environment: super::Environment,
        service: super::ContenderReport,
        validity: Vec<Bound>,
    }
    Parts {
        started_at: run.started_at.clone(),
        environment: run.environment.clone(),
        service: run.service.clone(),
        validity: run.validity.clone(),
    }
}

/// The parts of the report that the template reads as they are.
fn context_of(report: &Report) -> impl Serialize {
    #[derive(Serialize)]
    struct Parts {
        started_at: String,
        environment: super::Environment,
        contenders: Vec<super::ContenderReport>,
    }
    Parts {
        started_at: report.started_at.clone(),
        environment: report.environment.clone(),
        contenders: report.contenders.clone(),
    }
}

#[derive(Serialize)]
struct View {
    name: String,
    description: String,
    /// Its own figures are no result.
    void: bool,
    sentences: Vec<String>,
    metrics: Vec<Row>,
    operations: Vec<Row>,
    curves: Vec<Row>,
    validity: Vec<crate::validity::Bound>,
    generator: Vec<(String, String)>,
    settings: Vec<(String, String)>,
    forest: Vec<Bar>,
    /// What each control was; none: there were none.
    controls: Vec<String>,
    /// Their CPU and memory were looked at.
    processes_known: bool,
    played: String,
    timed: String,
    distribution: Vec<Class>,
    /// Head and rows.
    slices: (Vec<String>, Vec<Row>),
    /// Defaults and tuned, and what differed.
    tuned: Vec<Part>,
    tuned_said: Vec<String>,
    /// Inside the services.
    server: Vec<Part>,
    /// What their traces say, and whether that may be believed.
    traced: Option<Value>,
}

/// A table under a heading of its own, or under the one before.
#[derive(Serialize)]
struct Part {
    title: &'static str,
    note: &'static str,
    class: &'static str,
    head: Vec<String>,
    rows: Vec<Row>,
}

fn part(title: &'static str, note: &'static str, class: &'static str, (head, lines): Cells) -> Part {
    let rows = lines.into_iter().map(|cells| Row { class: "", cells }).collect();
    Part { title, note, class, head, rows }
}

#[derive(Serialize)]
struct Row {
    class: &'static str,
    cells: Vec<String>,
}

/// An interval drawn on a logarithmic axis around 1, in per cent of the axis.
#[derive(Serialize)]
struct Bar {
    label: String,
    class: &'static str,
    low: f64,
    width: f64,
    estimate: f64,
    text: String,
}

fn view(report: &Report, scenario: &ScenarioReport) -> View {
    let (labels, controls) = (labels(report), &scenario.controls);
    let of_control = |metric: &super::Metric| {
        let found = control::cells(controls, |control| control.metric(&metric.name));
        (!controls.is_empty()).then(|| found.join("\n"))
    };
    let metric = |metric: &super::Metric| Row {
        class: class(is_difference(metric, controls), &metric.ratio, metric.less_is_better),
        cells: [
            Some(metric.label.clone()),
            Some(format!("{} {}", number(metric.values[0]), metric.unit)),
            Some(format!("{} {}", number(metric.values[1]), metric.unit)),
            Some(counts(metric.n, &metric.n_of)),
            Some(ratio(&metric.ratio)),
            Some(interval(&metric.ratio)),
            of_control(metric),
            Some(verdict_word(metric, controls, &labels)),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let [ones, others] = [0, 1].map(|side| scenario.curves.get(side).map_or(&[][..], Vec::as_slice));
    let curves = ones.iter().zip(others);
    let sentence = |metric: &super::Metric| unbroken(verdict(metric, controls, &labels));
    View {
        name: scenario.scenario.name.clone(),
        description: scenario.scenario.description.clone(),
        void: is_void(report, scenario),
        sentences: scenario.metrics.iter().map(sentence).collect(),
        metrics: scenario.metrics.iter().map(metric).collect(),
        operations: scenario.operations.iter().map(|row| operation(row, controls)).collect(),
        curves: curves.zip(&scenario.curve_ratios).map(point).collect(),
        validity: scenario.validity.clone(),
        generator: generator(report, scenario),
        settings: settings(
            &scenario.scenario,
            scenario.requests,
            &scenario.trace_sha256,
            Some(scenario.order_seed),
        ),
        forest: forest(scenario),
        processes_known: processes_known(scenario),
        controls: controls.iter().map(|one| control::note(scenario, one)).collect(),
        played: played(scenario),
        timed: timed(scenario, &labels),
        distribution: distribution(scenario),
        slices: slices(report, scenario),
        tuned: tuned(scenario),
        tuned_said: rows::sentences(scenario).into_iter().map(unbroken).collect(),
        server: inside(scenario),
        traced: scenario.traced.as_deref().map(|one| traced(report, scenario, one)),
    }
}

fn operation(row: &super::OperationRow, controls: &[super::Control]) -> Row {
    let doubted = !objections(controls, |control| control.operation(&row.operation)).is_empty();
    let mut cells = operation_cells(row);
    if row.ratio.differs() && doubted {
        cells[4] += ", its control doubts it";
    }
    Row { class: class(row.ratio.differs() && !doubted, &row.ratio, Some(true)), cells: cells.into() }
}

fn traced(report: &Report, scenario: &ScenarioReport, traced: &super::Traced) -> Value {
    let name = &scenario.scenario.name;
    let reasons = reasons_of_traced(name, traced, Bound::voids);
    let validity = Value::from(Serde(traced.validity.clone()));
    let void = is_void_traced(report, name, traced).then_some(VOID);
    context! { said => traces::part(&traced.traces), validity => validity, void => void, reasons => reasons }
}

fn inside(scenario: &ScenarioReport) -> Vec<Part> {
    let cells = server::cells(scenario).into_iter();
    cells.map(|cells| part(server::TITLE, server::NOTE, "server", cells)).collect()
}

fn tuned(scenario: &ScenarioReport) -> Vec<Part> {
    let compared = rows::cells(scenario, "\n").map(|cells| part(rows::TITLE, rows::NOTE, "rows", cells));
    let given = scenario.rows.as_ref().map(|rows| part("", "", "given", rows::given(rows)));
    compared.into_iter().chain(given).collect()
}

/// A row of the curves.
fn point(((a, b), of): ((&super::CurvePoint, &super::CurvePoint), &Ratio)) -> Row {
    let ms = |us: u64| millis(us as f64);
    let (latency, service) = ([a, b].map(|at| ms(at.latency_us)), [a, b].map(|at| ms(at.service_us)));
    let mut cells = vec![format!("p{}", a.percentile)];
    cells.extend(latency);
    cells.extend([ratio(of), interval(of)]);
    cells.extend(service);
    Row { class: "", cells }
}

/// A sentence that breaks at no unit.
fn unbroken(sentence: String) -> String {
    ["%", "ms", "µs", "MiB"]
        .into_iter()
        .fold(sentence, |text, unit| text.replace(&format!(" {unit}"), &format!("\u{a0}{unit}")))
}

fn played(scenario: &ScenarioReport) -> String {
    format!(
        "{}, each of {} ms, of a trace of {} requests (sha256 {}…).",
        control::pairs(scenario),
        scenario.scenario.slice_ms,
        whole(scenario.requests as u64),
        scenario.trace_sha256.get(..12).unwrap_or_default()
    )
}

/// Of how many replies the curves are.
fn timed(scenario: &ScenarioReport, labels: &[String]) -> String {
    let replies = |slices: &Vec<super::RawSlice>| {
        slices.iter().map(|slice| slice.replies.saturating_sub(slice.shed)).sum::<u64>()
    };
    let each = scenario.slices.iter().map(replies).zip(labels);
    let each: Vec<_> = each.map(|(replies, label)| format!("{label} {}", whole(replies))).collect();
    format!("n: {} replies.", each.join(", "))
}

/// What a run of the same has to be given.
fn again(report: &Report) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for scenario in &report.scenarios {
        let name = &scenario.scenario.name;
        lines.push((format!("{name}: trace, sha256"), scenario.trace_sha256.clone()));
        let seeds = format!("{} (trace, resamples), {} (order)", scenario.scenario.seed, scenario.order_seed);
        lines.push((format!("{name}: seeds"), seeds));
    }
    lines
}

/// Colours a row by whom it favours; nobody where it isn't called a difference.
fn class(differs: bool, ratio: &Ratio, less_is_better: Option<bool>) -> &'static str {
    match (differs, less_is_better) {
        (true, Some(less)) if ratio.estimate.is_some_and(|estimate| estimate < 1.0) == less => "first",
        (true, Some(_)) => "second",
        _ => "",
    }
}

fn forest(scenario: &ScenarioReport) -> Vec<Bar> {
    let drawn = || {
        let better = scenario.metrics.iter().filter(|metric| metric.less_is_better.is_some());
        better.filter_map(|metric| Some((metric, metric.ratio.estimate?, metric.ratio.interval?)))
    };
    let reach = |(_, _, interval): (&super::Metric, f64, Interval)| {
        interval.low.ln().abs().max(interval.high.ln().abs())
    };
    let most = drawn().map(reach).fold(0.1, f64::max) * 1.1;
    let at = |ratio: f64| 50.0 + 50.0 * ratio.ln() / most;
    let bar = |(metric, estimate, interval): (&super::Metric, f64, Interval)| Bar {
        label: metric.label.clone(),
        class: class(is_difference(metric, &scenario.controls), &metric.ratio, metric.less_is_better),
        low: at(interval.low),
        width: (at(interval.high) - at(interval.low)).max(0.4),
        estimate: at(estimate),
        text: format!("{} ({})", ratio(&metric.ratio), super::wording::interval(&metric.ratio)),
    };
    drawn().map(bar).collect()
}

fn generator(report: &Report, scenario: &ScenarioReport) -> Vec<(String, String)> {
    let generator = &scenario.generator;
    let us = |what: &'static str, lags: [[u64; 4]; 2]| {
        lags.into_iter().zip(labels(report)).map(move |([p50, p99, p999, most], label)| {
            let text = format!("p50 {p50} µs, p99 {p99} µs, p99.9 {p999} µs, most {most} µs");
            (format!("{what}, {label}’s slices"), text)
        })
    };
    let mut lines: Vec<_> = us("From due to sent, or queued for a connection", generator.lag_us).collect();
    let queued = |slices: &Vec<super::RawSlice>| slices.iter().map(|slice| slice.queued).sum::<u64>();
    let queued = scenario.slices.iter().map(queued).zip(labels(report));
    lines.extend(queued.map(|(count, label)| {
        (format!("Queued for a connection, {label}’s slices"), counted(count, "request"))
    }));
    lines.extend(us("From due to the sending thread awake", generator.wake_lag_us));
    lines.extend(usage(&generator.generator, &generator.usage));
    lines
}

/// Who used how much CPU meanwhile.
fn usage(generator: &Generator, usage: &Usage) -> Vec<(String, String)> {
    let share = |ns: u64| format!("{:.1} % of a core", ns as f64 / usage.wall_ns.max(1) as f64 * 100.0);
    let mut lines = vec![
        ("Sending thread".to_owned(), generator.sender_policy.clone()),
        ("Generator, CPU a request".to_owned(), format!("{} µs", number(generator.cpu_us_a_request))),
        ("Generator, CPU".to_owned(), share(usage.generator_ns)),
    ];
    lines.extend(usage.support_ns.iter().map(|(name, ns)| (format!("{name}, CPU"), share(*ns))));
    lines.push(("Everybody else, CPU".to_owned(), share(usage.others_ns())));
    lines
}
