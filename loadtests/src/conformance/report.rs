//! What the suite says at its end.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

use super::run::Outcome;

/// Findings shown in full; the rest is counted.
const SHOWN: usize = 60;

/// Prints findings, then the table, then one line.
pub fn print(outcome: &Outcome, took: Duration) {
    for finding in outcome.findings.iter().take(SHOWN) {
        println!("FAILED {}\n  {}\n", finding.case, finding.text);
    }
    if outcome.findings.len() > SHOWN {
        println!("… and {} more findings\n", outcome.findings.len() - SHOWN);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["operation", "door", "twin", "requests", "failed", "mean ms"]);
    for ((operation, door, twin), cell) in &outcome.tally {
        let mean = cell.took.as_secs_f64() * 1000.0 / cell.steps.max(1) as f64;
        let numbers = [cell.steps.to_string(), cell.failed.to_string(), format!("{mean:.1}")];
        table.add_row([operation.as_str(), door.name(), twin, &numbers[0], &numbers[1], &numbers[2]]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    let mut failed: Vec<_> = outcome.findings.iter().map(|finding| &finding.case).collect();
    failed.dedup();
    let left_out = match outcome.left_out {
        0 => String::new(),
        count => format!(" ({count} left out)"),
    };
    println!(
        "{} cases{left_out} in {} runs, {} s: {}",
        outcome.cases,
        outcome.runs,
        took.as_secs(),
        match failed.len() {
            0 => "both twins, all doors, as the contract says".to_owned(),
            count => format!("{count} cases with {} findings", outcome.findings.len()),
        }
    );
}
