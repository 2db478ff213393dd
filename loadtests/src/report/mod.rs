//! The answer: a model with every number and raw histogram (`model`, which is report.json), and its three renderings:
//! the terminal's table, summary.md and the page. Renderings only read the model, so a report can be shown again.

mod control;
mod files;
mod model;
mod page;
#[cfg(test)]
pub mod sample;
mod table;
pub mod wording;

pub use control::Control;
pub use files::{replace, writable};
pub use model::{
    ContenderReport, CurvePoint, Environment, FORMAT, GeneratorReport, Metric, OperationRow, RawSlice,
    Report, ScenarioReport, Version,
};
pub use page::page;
pub use table::{summary, table};
