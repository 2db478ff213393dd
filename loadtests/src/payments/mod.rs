//! The payment workload: the only part of the load test that knows what a payment is.
//!
//! Operations and their parameters (`vocabulary`), requests and replies over HTTP (`player`), card numbers (`card`),
//! what is set up before and counted after (`setup`, `rows`), and the twins and what stands around them (`bench`).

mod card;
mod player;
mod vocabulary;

pub use vocabulary::{MERCHANTS, Payments};
