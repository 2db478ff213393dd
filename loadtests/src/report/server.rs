//! What kernel and runtime tell of each service, as a table.

use super::model::ScenarioReport;
use super::rows::{Cells, TUNED};
use super::wording::number;
use crate::compare::ServerRow;

/// What stands over it.
pub const TITLE: &str = "Inside the services";
/// What is to be known of it.
pub const NOTE: &str = "From before the first slice to after the last, the other’s slices included; what one language alone has is – in the other. Neither is better for less of these: they explain what stands above.";

/// A line a figure, of the two by default and of the two tuned; nothing where the services couldn’t be looked at.
pub fn cells(scenario: &ScenarioReport) -> Option<Cells> {
    let compared = scenario.rows.iter().flat_map(|rows| &rows.compared);
    let tuned = compared.filter(|one| one.name == TUNED).map(|one| &one.report);
    let columns: Vec<_> = std::iter::once(scenario).chain(tuned).collect();
    let labels = columns.iter().flat_map(|column| column.basis.labels.iter().cloned());
    let head = std::iter::once(String::new()).chain(labels).chain([String::from("unit")]).collect();
    let line = |row: &ServerRow| {
        let values = columns.iter().flat_map(|column| {
            let found = column.server.iter().find(|other| other.name == row.name);
            found.map_or([None; 2], |found| found.values)
        });
        let cells = values.map(|value| value.map_or("–".into(), number));
        std::iter::once(row.label.clone()).chain(cells).chain([row.unit.clone()]).collect()
    };
    let lines: Vec<_> = scenario.server.iter().map(line).collect();
    (!lines.is_empty()).then_some((head, lines))
}
