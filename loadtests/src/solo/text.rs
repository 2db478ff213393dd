//! Services by themselves, as tables for the terminal.

use super::model::{
    Capacity, Footprint, MemoryOverTime, ServiceCapacity, SoloReport, SoloRun, StageReport, footprint_n,
    footprint_ratio, footprint_rows,
};
use crate::report::standing::standing_of;
use crate::report::wording::{number, repeated, spread};
use crate::report::{align, plain};

const MIB: f64 = 1_048_576.0;

/// One run.
pub fn run_table(run: &SoloRun) -> String {
    let mut table = plain(&[
        "from s",
        "flows/s",
        "offered/s",
        "good/s",
        "shed %",
        "other %",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
    ]);
    for stage in &run.stages {
        table.add_row(cells(number(stage.from_seconds), stage));
    }
    if run.stages.len() > 1 {
        table.add_row(cells("all".into(), &run.overall));
    }
    align(&mut table, &Vec::from_iter(0..10));
    let mut text =
        format!("{} alone, {}: {}\n", run.service.label, run.scenario.name, run.scenario.description);
    let (standing, reasons) = standing_of(&run.void, &run.allowed, run.basis.trial);
    text += &format!("{standing}\n");
    reasons.iter().for_each(|reason| text += &format!("- {reason}\n"));
    text += &format!("{table}\n");
    text += "good: answered as expected; latencies are theirs, from the due time; other: wrong, dropped, skipped or unanswered\n";
    text += &format!(
        "CPU a reply {} µs, context switches a reply {}; memory {}\n",
        number(run.cpu_us_a_reply),
        number(run.switches_a_reply),
        memory_over_time(&run.memory)
    );
    text
}

fn cells(from: String, stage: &StageReport) -> Vec<String> {
    let share = |count: u64| number(count as f64 / stage.offered.max(1) as f64 * 100.0);
    let other = stage.other();
    let mut cells = vec![from, number(stage.rate), number(stage.offered_rate()), number(stage.goodput())];
    cells.extend([share(stage.shed), share(other)]);
    cells.extend(stage.latency_ms.map(|ms| ms.map_or("too few".into(), number)));
    cells
}

/// Memory in one line: at first, at most, and whether it rises.
pub fn memory_over_time(memory: &MemoryOverTime) -> String {
    let bytes = || memory.samples.iter().map(|sample| sample.rss_bytes);
    let (Some(first), Some(most)) = (memory.samples.first(), bytes().max()) else {
        return "wasn’t looked at".into();
    };
    let mib = |bytes: u64| number(bytes as f64 / MIB);
    let slope = memory.slope_mib_an_hour.map_or("too short for a slope".into(), |slope| {
        let interval =
            format!("95 % interval {} to {}", number(slope.interval.low), number(slope.interval.high));
        let so = match memory.risen_mib() {
            Some(mib) => format!("rose by {} MiB", number(mib)),
            None if slope.is_flat() => "flat".into(),
            None => "no rise of 5 %".into(),
        };
        format!("{so}: {} MiB an hour, {interval}", number(slope.estimate))
    });
    format!("{} MiB at first, {} at most, {slope}", mib(first.rss_bytes), mib(most))
}

/// Capacities and footprints.
pub fn solo_table(report: &SoloReport) -> String {
    let capacities = report.capacities.iter().map(capacity);
    let footprints = footprint_table("What a service takes beside the work", &report.footprints);
    capacities.chain([footprints]).collect()
}

fn capacity(capacity: &Capacity) -> String {
    let mut table =
        plain(&["", "kept, requests/s", "n", "in each block, flows/s", "most good/s", "what was full"]);
    for service in &capacity.services {
        let full: Vec<_> = service.blocks.iter().map(|block| block.full.clone()).collect();
        table.add_row([
            service.label.clone(),
            service.kept.as_ref().map_or("none".into(), spread),
            service.searches(),
            brackets(service),
            service.most_goodput.as_ref().map_or("–".into(), spread),
            full.join("\n"),
        ]);
    }
    align(&mut table, &[1, 2]);
    let Capacity { scenario, p99_ms, trial_seconds, .. } = capacity;
    format!(
        "\n{scenario}: capacity, the highest rate with a p99 below {} ms in trials of {} s\n{table}\n{}",
        number(*p99_ms),
        number(*trial_seconds),
        capacity.surroundings.line().map(|line| line + "\n").unwrap_or_default()
    )
}

/// `310 to 325` a block: kept, and missed.
fn brackets(service: &ServiceCapacity) -> String {
    let end = |end: Option<f64>, none: &str| end.map_or(none.to_owned(), number);
    let lines = service.blocks.iter().map(|block| {
        let unsure = if block.bracket.confirmed { "" } else { " (not confirmed)" };
        format!("{} to {}{unsure}", end(block.bracket.low, "none"), end(block.bracket.high, "more"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Figures of services beside each other, in the first one's order; nothing of none.
pub fn footprint_table(title: &str, footprints: &[Footprint]) -> String {
    if footprints.is_empty() {
        return String::new();
    }
    let between = footprints.iter().map(|footprint| footprint.label.as_str()).collect::<Vec<_>>().join("/");
    let mut header = vec![""];
    header.extend(footprints.iter().map(|footprint| footprint.label.as_str()));
    header.extend(["unit", &between, "n"]);
    let mut table = plain(&header);
    for row in footprint_rows(footprints) {
        let of = |footprint: &Footprint| footprint.figure(&row.name).map_or("–".into(), spread);
        let ratio = footprint_ratio(footprints, &row.name).map_or("–".into(), |found| repeated(&found));
        let mut cells = vec![row.label.clone()];
        cells.extend(footprints.iter().map(of));
        cells.extend([row.unit.clone(), ratio, footprint_n(footprints, &row.name)]);
        table.add_row(cells);
    }
    let left_out = footprints
        .iter()
        .flat_map(|footprint| footprint.left_out.iter().map(|why| format!("{}: {why}\n", footprint.label)));
    let lines = footprints
        .iter()
        .filter_map(|footprint| Some(format!("{}: {}\n", footprint.label, footprint.surroundings.line()?)));
    format!(
        "\n{title}: median (least to most); ratio with its 95 % interval over repetitions\n{table}\n{}",
        left_out.chain(lines).collect::<String>()
    )
}
