//! The run as text: a table for the terminal, and summary.md.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{CellAlignment, Table, TableStyle};

use super::control;
use super::model::{Report, ScenarioReport};
use super::rows::{self, Cells};
use super::server;
use super::standing::{assert_word, is_void, standing};
use super::wording::{
    IDLE, MEMORY, interval, labels, number, operation_cells, ratio, starts, verdict, verdict_word,
};
use crate::assert::Asserted;
use crate::development::TITLE as DEVELOPMENT;
use crate::limits::{self, looking};
use crate::solo::{footprint_table, run_table, solo_table};

/// What the terminal shows at the end.
pub fn table(report: &Report) -> String {
    let mut text = standing_lines(report, "");
    for scenario in &report.scenarios {
        text += &format!(
            "\n{}\n{}\n{}",
            title(report, scenario),
            metrics(report, scenario, UTF8_FULL_CONDENSED, "\n"),
            notes(scenario, "")
        );
        text += &more(scenario, UTF8_FULL_CONDENSED, "\n");
    }
    if !report.asserts.is_empty() {
        text += &format!("\n{}\n", asserts(report, UTF8_FULL_CONDENSED));
    }
    text += &format!("\n{IDLE}\n{}\n", starts(report));
    text + &beside(report)
}

/// What was measured beside the comparison.
fn beside(report: &Report) -> String {
    let limits = report.limits.as_ref().map(limits::table);
    let looking = report.looking.as_ref().map(looking::table);
    let solo = limits.into_iter().chain(looking).chain(report.solo.as_ref().map(solo_table));
    let alone = report.alone.iter().map(|run| format!("\n{}", run_table(run)));
    let development = report.development.as_ref();
    let development = development.map(|found| footprint_table(DEVELOPMENT, &found.services));
    solo.chain(alone).chain(development).collect()
}

/// How wide the intervals of the ratios came out, beside what is wanted of a full run.
pub fn half_widths(report: &Report) -> String {
    let wanted = [("rate", 0.03), ("cpu", 0.02), ("p99", 0.1), ("p99.9", 0.2)];
    let head = wanted.map(|(name, most)| format!("{name}, wanted {} %", number(most * 100.0)));
    let mut header = vec!["half of each 95 % interval"];
    header.extend(head.iter().map(String::as_str));
    let mut table = plain(&header);
    for scenario in &report.scenarios {
        let reached = |(name, most): (&str, f64)| {
            let metric = scenario.metrics.iter().find(|metric| metric.name == name);
            let interval = metric.and_then(|metric| metric.ratio.interval);
            interval.map_or("can’t be told".to_owned(), |interval| {
                let mark = if interval.half_width() <= most { "" } else { ", wider" };
                format!("{} %{mark}", number(interval.half_width() * 100.0))
            })
        };
        let mut cells = vec![scenario.scenario.name.clone()];
        cells.extend(wanted.map(reached));
        table.add_row(cells);
    }
    align(&mut table, &[1, 2, 3, 4]);
    table.to_string()
}

/// summary.md.
pub fn summary(report: &Report) -> String {
    let labels = labels(report);
    let title = format!("# {} against {} under the same load", labels[0], labels[1]);
    let mut text = format!("{title}\n\n{}", standing_lines(report, "**"));
    if !report.asserts.is_empty() {
        text += &format!("\n## Asserts\n\n{}\n", asserts(report, ASCII_MARKDOWN));
    }
    for scenario in &report.scenarios {
        let (name, description) = (&scenario.scenario.name, &scenario.scenario.description);
        text += &format!("\n## {name}\n\n{description}{}\n\n", void_mark(report, scenario));
        let sentence = |metric| format!("- {}\n", verdict(metric, &scenario.controls, &labels));
        scenario.metrics.iter().for_each(|metric| text += &sentence(metric));
        text += &format!("\n{}\n\n{IDLE} {MEMORY}\n", metrics(report, scenario, ASCII_MARKDOWN, "; "));
        text += &notes(scenario, "\n");
        text += &format!(
            "\n{}\n\nTrace: {} requests, sha256 `{}`.\n",
            operations(report, scenario),
            scenario.requests,
            scenario.trace_sha256
        );
        text += &own_settings(scenario);
        text += &more(scenario, ASCII_MARKDOWN, ": ");
        text += "\n";
        for bound in &scenario.validity {
            let kept = match (bound.applies, bound.held) {
                (false, _) => "not asked",
                (true, true) => "kept",
                (true, false) => "**missed**",
            };
            text += &format!("- {kept}: `{}`: {}: {}\n", bound.name, bound.asks, bound.measured);
        }
    }
    text += &format!("\n{}\n", starts(report));
    let beside = beside(report);
    if !beside.is_empty() {
        text += &format!("\n## Beside the comparison\n\n```\n{}\n```\n", beside.trim());
    }
    let environment = &report.environment;
    for (title, lines) in [
        ("Machine", &environment.machine),
        ("Layout", &environment.layout),
        ("Settings, unless a scenario sets it", &environment.settings),
    ] {
        text += &format!("\n## {title}\n\n");
        lines.iter().for_each(|(name, value)| text += &format!("- {name}: {value}\n"));
    }
    text
}

/// What it sets in place of the usual.
fn own_settings(scenario: &ScenarioReport) -> String {
    let each = scenario.scenario.settings.iter().map(|(name, value)| format!("`{name}={value}`"));
    let each = each.collect::<Vec<_>>().join(", ");
    if each.is_empty() { each } else { format!("\nSet by this scenario: {each}.\n") }
}

/// The verdict on the run, in `mark`s, and a line a reason.
fn standing_lines(report: &Report, mark: &str) -> String {
    let (standing, reasons) = standing(report);
    let reasons: String = reasons.iter().map(|reason| format!("- {reason}\n")).collect();
    let gap = if reasons.is_empty() || mark.is_empty() { "" } else { "\n" };
    format!("{mark}{standing}{mark}\n{gap}{reasons}")
}

fn title(report: &Report, scenario: &ScenarioReport) -> String {
    format!("{}: {}{}", scenario.scenario.name, scenario.scenario.description, void_mark(report, scenario))
}

fn void_mark(report: &Report, scenario: &ScenarioReport) -> &'static str {
    if is_void(report, scenario) { " Void: see above." } else { "" }
}

/// The rows and what is inside of the services, where there is something; `between` two in one cell.
fn more(scenario: &ScenarioReport, style: TableStyle, between: &str) -> String {
    let part = |title: &str, cells: Cells| format!("\n{title}\n\n{}\n", of_cells(style, cells));
    let mut text = String::new();
    if let Some(cells) = rows::cells(scenario, between) {
        text += &part(&format!("{}. {}", rows::TITLE, rows::NOTE), cells);
        rows::sentences(scenario).iter().for_each(|said| text += &format!("- {said}\n"));
    }
    if let Some(rows) = &scenario.rows {
        text += &format!("\n{}\n", of_cells(style, rows::given(rows)));
    }
    if let Some(cells) = server::cells(scenario) {
        text += &part(&format!("{}. {}", server::TITLE, server::NOTE), cells);
    }
    text
}

fn of_cells(style: TableStyle, (head, lines): Cells) -> Table {
    let mut table = styled(style, &head.iter().map(String::as_str).collect::<Vec<_>>());
    table.add_rows(lines);
    table
}

/// What its controls were, a line each.
fn notes(scenario: &ScenarioReport, before: &str) -> String {
    let note = |one| format!("{before}{}\n", control::note(scenario, one));
    scenario.controls.iter().map(note).collect()
}

/// With a column for the controls where there are any; `between` two in one cell.
fn metrics(report: &Report, scenario: &ScenarioReport, style: TableStyle, between: &str) -> Table {
    let (labels, controls) = (labels(report), &scenario.controls);
    let ratios = format!("{}/{}", labels[0], labels[1]);
    let mut header = vec!["", &labels[0], &labels[1], "unit", &ratios, "95 % interval", "so"];
    if !controls.is_empty() {
        header.insert(6, "A/A control");
    }
    let mut table = styled(style, &header);
    for metric in &scenario.metrics {
        let mut cells = vec![
            metric.label.clone(),
            number(metric.values[0]),
            number(metric.values[1]),
            metric.unit.clone(),
            ratio(&metric.ratio),
            interval(&metric.ratio),
            verdict_word(metric, controls, &labels),
        ];
        if !controls.is_empty() {
            let found = control::cells(controls, |control| control.metric(&metric.name));
            cells.insert(6, found.join(between));
        }
        table.add_row(cells);
    }
    align(&mut table, &[1, 2, 4]);
    table
}

fn asserts(report: &Report, style: TableStyle) -> Table {
    let mut table = styled(style, &["assert", "scenario", "measured", "so"]);
    for asserted in &report.asserts {
        let Asserted { assert, scenario, measured, .. } = asserted;
        table.add_row([assert, scenario, measured, assert_word(report, asserted)]);
    }
    table
}

fn operations(report: &Report, scenario: &ScenarioReport) -> Table {
    let labels = labels(report);
    let column = |what: &str, index: usize| format!("{} {what}, ms", labels[index]);
    let ratio_of = |what: &str| format!("{}/{}, {what}", labels[0], labels[1]);
    let header = [
        "operation".to_owned(),
        "n".into(),
        column("p50", 0),
        column("p50", 1),
        ratio_of("p50"),
        column("p99", 0),
        column("p99", 1),
        ratio_of("p99"),
    ];
    let mut table = styled(ASCII_MARKDOWN, &header.each_ref().map(String::as_str));
    for row in &scenario.operations {
        table.add_row(operation_cells(row));
    }
    align(&mut table, &[1, 2, 3, 5, 6]);
    table
}

/// A table for the terminal.
pub(crate) fn plain(header: &[&str]) -> Table {
    styled(UTF8_FULL_CONDENSED, header)
}

fn styled(style: TableStyle, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(style).set_header(header);
    table
}

/// Has columns of numbers stand under each other.
pub(crate) fn align(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
