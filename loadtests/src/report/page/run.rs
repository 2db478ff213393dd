//! The page of a run of one service.

use minijinja::value::Serde;
use minijinja::{Value, context};

use super::chart::{Chart, ChartLine, Style, data};
use super::plots::DRAWN_FROM;
use super::settings::settings;
use super::{Row, assets, class_of, command_line, facts_of, unbroken, usage};
use crate::histogram::{Sparse, decode};
use crate::report::standing::standing_of;
use crate::report::wording::{counted, number, whole};
use crate::solo::{SoloRun, StageReport, memory_over_time};
use crate::stats::rounded;

const MIB: f64 = 1_048_576.0;

/// report.html of `loadtest run`.
pub fn run_page(run: &SoloRun) -> anyhow::Result<String> {
    let parts = run.ticks.iter().map(Part::of).collect::<anyhow::Result<Vec<_>>>()?;
    let several = run.stages.len() > 1;
    let mut charts = vec![rates(run), latencies(run, &parts), memory(run)];
    charts.extend(several.then(|| by_stage(run)));
    let (standing, reasons) = standing_of(&run.void, &run.allowed, run.basis.trial);
    let name = &run.scenario.name;
    let text = assets()?.get_template("run.html")?.render(context! {
        title => format!("{} alone: {name}", run.service.label),
        name => name.clone(),
        description => run.scenario.description.clone(),
        class => class_of(&run.void, &run.allowed, run.basis.trial),
        standing,
        reasons,
        run => Value::from(Serde(facts_of(run))),
        seconds => number(run.seconds),
        played => played(run),
        sentences => sentences(run),
        ticks => Value::from(Serde(run.ticks.iter().zip(&parts).map(tick).collect::<Vec<_>>())),
        stages => Value::from(Serde(stages(run))),
        stage_chart => Value::from(Serde(several.then_some(3))),
        memory => unbroken(format!("Memory: {}. {}", memory_over_time(&run.memory), rise(run))),
        looks => Value::from(Serde(looks(run))),
        generator => generator(run),
        settings => settings(&run.scenario, run.requests, &run.trace_sha256, None),
        command => command_line(&run.command),
        data => data(std::slice::from_ref(&run.service.label), (), &charts)?,
        ..super::scripts()
    })?;
    Ok(text)
}

/// What a part of the load is drawn by: median and p90 in ms, where it has enough replies.
struct Part([Option<f64>; 2]);

impl Part {
    fn of(tick: &StageReport) -> anyhow::Result<Self> {
        let latency = Sparse::of(&decode(&tick.latency)?);
        let told = latency.count() >= DRAWN_FROM;
        let ms = |percentile: f64| latency.percentile(percentile).filter(|_| told).map(|us| us as f64 / 1e3);
        Ok(Self([ms(50.0), ms(90.0)]))
    }
}

fn middle(tick: &StageReport) -> f64 {
    rounded(tick.from_seconds + tick.seconds / 2.0)
}

fn a_second(count: u64, stage: &StageReport) -> f64 {
    rounded(count as f64 / stage.seconds)
}

fn colour(run: &SoloRun) -> &'static str {
    if run.service.name == "go" { "second" } else { "first" }
}

fn rates(run: &SoloRun) -> Chart {
    let line = |label: &str, colour, style, of: fn(&StageReport) -> u64| {
        let values = run.ticks.iter().map(|tick| a_second(of(tick), tick)).collect();
        ChartLine::whole(label, colour, style, values)
    };
    Chart {
        x: "s",
        unit: "requests/s",
        log: false,
        at: run.ticks.iter().map(middle).collect(),
        lines: vec![
            line("offered", "soft", Style::Dashed, |tick| tick.offered),
            line("good", colour(run), Style::Line, |tick| tick.expected),
            line("shed", "warn", Style::Line, |tick| tick.shed),
            line("other", "bad", Style::Line, StageReport::other),
        ],
    }
}

fn latencies(run: &SoloRun, parts: &[Part]) -> Chart {
    let line = |label: &str, style, index: usize| ChartLine {
        label: label.to_owned(),
        colour: colour(run),
        style,
        values: parts.iter().map(|part| part.0[index]).collect(),
    };
    Chart {
        x: "s",
        unit: "ms",
        log: false,
        at: run.ticks.iter().map(middle).collect(),
        lines: vec![line("median", Style::Line, 0), line("p90", Style::Dashed, 1)],
    }
}

fn by_stage(run: &SoloRun) -> Chart {
    let line = |label: &str, style, index: usize| ChartLine {
        label: label.to_owned(),
        colour: colour(run),
        style,
        values: run.stages.iter().map(|stage| stage.latency_ms[index]).collect(),
    };
    Chart {
        x: "stage",
        unit: "ms",
        log: true,
        at: (1..=run.stages.len()).map(|stage| stage as f64).collect(),
        lines: vec![
            line("median", Style::Line, 0),
            line("p90", Style::Dashed, 1),
            line("p99", Style::Rings, 2),
        ],
    }
}

fn memory(run: &SoloRun) -> Chart {
    let samples = &run.memory.samples;
    let at: Vec<f64> = samples.iter().map(|sample| sample.at_ms as f64 / 1e3).collect();
    let mib: Vec<f64> = samples.iter().map(|sample| rounded(sample.rss_bytes as f64 / MIB)).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (middle_s, middle_mib) = (mean(&at), mean(&mib));
    let mut lines = vec![ChartLine::whole("memory", colour(run), Style::Line, mib)];
    lines.extend(run.memory.slope_mib_an_hour.map(|slope| {
        let trend = |at: &f64| rounded(middle_mib + slope.estimate * (at - middle_s) / 3600.0);
        ChartLine::whole("trend", "soft", Style::Dashed, at.iter().map(trend).collect())
    }));
    Chart { x: "s", unit: "MiB", log: false, at, lines }
}

fn played(run: &SoloRun) -> String {
    let capacity = run.capacity.map_or(String::new(), |capacity| {
        format!(" Its rates are multiples of a capacity of {} flows/s.", number(capacity))
    });
    format!(
        "{} s of load after {} s of warm-up, from a trace of {} requests (sha256 {}…).{capacity}",
        number(run.overall.seconds),
        number(run.scenario.warm_up.seconds),
        whole(run.requests as u64),
        run.trace_sha256.get(..12).unwrap_or_default()
    )
}

fn sentences(run: &SoloRun) -> Vec<String> {
    let all = &run.overall;
    let share = |count: u64| number(count as f64 * 100.0 / all.offered.max(1) as f64);
    let percentiles = ["p50", "p90", "p99", "p99.9"].iter().zip(all.latency_ms);
    let told: Vec<_> =
        percentiles.filter_map(|(name, ms)| Some(format!("{name} {} ms", number(ms?)))).collect();
    let told = if told.is_empty() { "too few replies".to_owned() } else { told.join(", ") };
    let sentences = [
        format!(
            "Of {} requests {} % were answered as expected, {} % were shed, {} % neither.",
            whole(all.offered),
            share(all.expected),
            share(all.shed),
            share(all.other())
        ),
        format!(
            "{} requests a second were offered in the mean, {} answered as expected.",
            number(all.offered_rate()),
            number(all.goodput())
        ),
        format!("Latency of the whole load, from the due time: {told}."),
        format!(
            "CPU a reply: {} µs; context switches a reply: {}.",
            number(run.cpu_us_a_reply),
            number(run.switches_a_reply)
        ),
        format!("Memory: {}.", memory_over_time(&run.memory)),
    ];
    sentences.map(unbroken).to_vec()
}

/// The verdict on the slope, by the rule of the exit code.
fn rise(run: &SoloRun) -> String {
    match run.memory.risen_mib() {
        Some(mib) => format!("It rose by {} MiB over the run.", number(mib)),
        None => "No rise over the run that can be told from none and is more than 5 % of what it was.".into(),
    }
}

fn row(cells: Vec<String>) -> Row {
    Row { class: "", cells }
}

fn ms(value: Option<f64>) -> String {
    value.map_or("–".into(), number)
}

fn tick((tick, part): (&StageReport, &Part)) -> Row {
    let rate = |count: u64| number(a_second(count, tick));
    let [median, p90] = part.0;
    row(vec![
        number(tick.from_seconds),
        rate(tick.offered),
        rate(tick.expected),
        rate(tick.shed),
        rate(tick.other()),
        ms(median),
        ms(p90),
    ])
}

fn stages(run: &SoloRun) -> Vec<Row> {
    let cells = |name: String, stage: &StageReport| {
        let share = |count: u64| {
            format!("{} ({} %)", whole(count), number(count as f64 * 100.0 / stage.offered.max(1) as f64))
        };
        let mut cells = vec![
            name,
            number(stage.from_seconds),
            number(stage.rate),
            whole(stage.expected),
            number(stage.offered_rate()),
            number(stage.goodput()),
            share(stage.shed),
            share(stage.other()),
        ];
        cells.extend(stage.latency_ms.map(|ms| ms.map_or("too few".into(), number)));
        row(cells)
    };
    let each = run.stages.iter().enumerate().map(|(index, stage)| cells((index + 1).to_string(), stage));
    let mut rows: Vec<_> = each.collect();
    rows.extend((run.stages.len() > 1).then(|| cells("all".into(), &run.overall)));
    rows
}

fn looks(run: &SoloRun) -> Vec<Row> {
    let samples = run.memory.samples.iter();
    let cells = samples.map(|at| vec![number(at.at_ms as f64 / 1e3), number(at.rss_bytes as f64 / MIB)]);
    cells.map(row).collect()
}

fn generator(run: &SoloRun) -> Vec<(String, String)> {
    let [p50, p99, p999, most] = run.lag_us;
    let lag = format!("p50 {p50} µs, p99 {p99} µs, p99.9 {p999} µs, most {most} µs");
    let queued = ("Queued for a connection".to_owned(), counted(run.load.queued, "request"));
    let mut lines = vec![("From due to sent, or queued for a connection".to_owned(), lag), queued];
    lines.extend(usage(&run.generator, &run.usage));
    lines
}
