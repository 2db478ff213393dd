//! The card network, as a process of its own: both twins talk to it, and tests say what it does by the card they use.
//!
//! | ending of the card | what happens |
//! |---|---|
//! | 0002, 9995, 0069, 0127, 9987, 0119 | declined, each with its own reason |
//! | 3063 | approved, but the reply to the first ask is lost: its stream is reset, not the connection |
//! | 3055 | approved, but the first ask hangs until the caller's deadline |
//! | 3071 | approved, and the capture is refused |
//! | 3089 | approved, and the void is refused |
//! | 3097 | approved, and the refund is refused |
//! | any other | approved |
//!
//! 3063 and 3055 bite only authorisations and sales. The ending travels inside the network token, so the network keeps
//! no cards. Every call is idempotent by its operation id: see [`operations`].

pub mod config;
mod deadline;
pub mod journal;
pub mod latency;
pub mod log;
pub mod operations;
mod requests;
pub mod script;
pub mod server;
mod service;
pub mod telemetry;

pub use config::Config;
pub use server::serve;
pub use service::Network;
