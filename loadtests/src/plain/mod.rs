//! Any two services: a workload of plain HTTP requests that a scenario writes down, and two base URLs.
//!
//! What a scenario says of its requests (`spec`), texts with `${names}` in them (`template`), what is drawn for each flow
//! and which request needs which (`workload`), one service's side of a trace (`player`), the two services, which run
//! already (`given`), and who listens on a port (`listener`).

mod given;
mod listener;
mod player;
mod spec;
mod template;
mod workload;

pub use given::{Given, GivenArgs, NAMES};
pub use spec::{Each, RequestSpec, Source, check};
pub use workload::{NAME, Plain};
