//! The calibration as tables.

use super::{Calibration, Coverage, Covered, Known};
use crate::report::plain;
use crate::report::wording::{interval, ratio};

/// For the terminal.
pub fn table(calibration: &Calibration) -> String {
    let mut known =
        plain(&["known ratio", "CPU a reply", "95 % interval", "holds it", "median latency", "pairs"]);
    calibration.known.iter().for_each(|row| {
        known.add_row(known_cells(row));
    });
    let mut coverage =
        plain(&["slice ms", "figure", "intervals with 1", "wanted", "half-width of a minute", "pairs"]);
    for length in &calibration.coverage {
        length.quantities.iter().for_each(|quantity| {
            coverage.add_row(coverage_cells(length, quantity));
        });
    }
    let chosen = match calibration.chosen_ms {
        Some(ms) => format!("Best slice length: {ms} ms."),
        None if calibration.coverage.is_empty() => "No slice length was tried.".into(),
        None => "No slice length has enough intervals that hold 1.".into(),
    };
    format!("Servers of a known cost\n{known}\n\nTwo equal servers, in disjoint runs\n{coverage}\n{chosen}\n")
}

fn known_cells(row: &Known) -> [String; 6] {
    [
        row.truth.to_string(),
        ratio(&row.ratio),
        interval(&row.ratio),
        if row.held() { "yes".into() } else { "NO".into() },
        row.p50.as_ref().map_or("–".into(), ratio),
        row.pairs.to_string(),
    ]
}

fn coverage_cells(length: &Coverage, quantity: &Covered) -> [String; 6] {
    let wanted = if quantity.enough() { "93 of 100" } else { "93 of 100: TOO FEW" };
    [
        length.slice_ms.to_string(),
        quantity.name.clone(),
        format!("{} of {}", quantity.held, quantity.runs),
        wanted.into(),
        format!("{:.2} %", quantity.half_width_of_a_minute * 100.0),
        length.pairs.to_string(),
    ]
}
