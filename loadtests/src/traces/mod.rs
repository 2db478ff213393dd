//! Two services' OpenTelemetry traces against each other: whether they do the same things, and where the difference of their
//! times comes from. Nothing here knows what the services are.
//!
//! Files of the Collector's file exporter (`read`) go to the disk by trace (`spill`), become trees (`links`, `tree`) whose critical
//! path divides each request's time among its spans (`path`), and are compared pair by pair: shape (`shape`) and time
//! (`sums`). What is kept in memory grows with operations and places, not with traces.

mod begins;
mod compare;
mod counts;
mod links;
mod look;
#[cfg(test)]
mod made;
pub mod model;
mod oddity;
mod page;
mod path;
mod read;
mod requests;
mod shape;
mod slices;
mod spill;
mod structure;
mod sums;
mod survey;
mod text;
mod tree;
mod trouble;
mod vocabulary;
mod waits;

pub use compare::{Blocks, Options, compare};
pub use model::TracesReport;
pub use page::{Above, Asked, Played, page, part};
pub use shape::Variable;
pub use slices::Slices;
pub use spill::{Spill, files};
pub use sums::BLOCKS;
pub use text::{paired, text};
pub use trouble::Trouble;
pub use waits::{Wait, WaitError};

#[cfg(test)]
mod tests;
