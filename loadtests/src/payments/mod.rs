//! The payment workload: the only part of the load test that knows what a payment is.
//!
//! Operations and their parameters (`vocabulary`), requests and replies (`player`, spoken by `over_http` and `over_grpc`),
//! card numbers (`card`), which two services are compared (`pair`) and how they are tuned (`tuning`), the services
//! (`service`, `pairing`) and what stands around them (`bench`), what is made before (`setup`), kept away meanwhile
//! (`upkeep`) and counted after (`rows`).

mod bench;
pub mod capacity;
mod card;
mod client;
pub mod footprint;
mod metrics;
mod over_grpc;
mod over_http;
mod pair;
mod pairing;
mod player;
mod pools;
mod rows;
mod service;
mod setup;
mod tuning;
mod upkeep;
mod variables;
mod vocabulary;

pub use bench::{Bench, Layout};
pub use pair::{Pair, Side, Traced, label};
pub use pairing::Pairing;
pub use service::{EXPORTER, Service, Special};
pub use tuning::{Tuning, USUAL as USUAL_TUNING};
pub use vocabulary::{MERCHANTS, Payments};
