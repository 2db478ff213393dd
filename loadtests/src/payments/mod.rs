//! The payment workload: the only part of the load test that knows what a payment is.
//!
//! Operations and their parameters (`vocabulary`), requests and replies over HTTP (`player`), card numbers (`card`),
//! the two services with what stands around them (`bench`), what is made before (`setup`), kept away meanwhile
//! (`upkeep`) and counted after (`rows`).

mod bench;
mod card;
mod client;
mod player;
mod rows;
mod setup;
mod upkeep;
mod vocabulary;

pub use bench::{Bench, Layout, Pairing};
pub use vocabulary::{MERCHANTS, Payments};
