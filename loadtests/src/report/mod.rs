//! The answer: a model with every number and raw histogram (`model`, which is report.json), and its three renderings:
//! the terminal's table, summary.md and the page. Renderings only read the model, so a report can be shown again. A run of
//! one service (`solo`) has a page and a report.json too.

mod basis;
mod control;
mod diff;
mod document;
mod files;
mod model;
mod page;
pub mod rows;
#[cfg(test)]
pub mod sample;
mod server;
pub mod standing;
mod table;
mod traced;
mod verify;
pub mod wording;

pub use basis::{Aside, Basis};
pub use control::Control;
pub use diff::{Run, diff};
pub use document::{Document, write_run};
pub use files::{replace, writable};
pub use model::{
    ContenderReport, CurvePoint, Environment, FORMAT, Failed, GeneratorReport, Metric, OperationRow,
    RawSlice, Report, ScenarioReport, Version,
};
pub(crate) use page::{assets, class_of, data, scripts};
pub use page::{page, run_page};
pub use rows::{Compared, Given, Rows};
pub(crate) use table::{align, plain};
pub use table::{half_widths, summary, table};
pub use traced::{Traced, sliced};
pub use verify::{Redraw, Verified, verify, verify_run};
