//! Runs everything of Twinpay on one machine, without Docker: Postgres, the card network, both twins.
//!
//! As a program it is `make up`, `make down` and `make status`. As a library it gives tests and the judge a Postgres of
//! their own ([`test_postgres`]) and further instances ([`instance`]): two twins on one database, one pinned to a core,
//! a slow card network. What it starts for them ends with them.
//!
//! Nothing here knows what a payment is.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod binaries;
mod cluster;
mod environment;
pub mod error;
pub mod folders;
pub mod instance;
pub mod migrate;
pub mod parts;
pub mod postgres;
mod postgres_bin;
mod process;
pub mod secrets;
pub mod server;
pub mod settings;
pub mod stack_json;
pub mod status;
pub mod terminal;
pub mod test_postgres;
pub mod up;
pub mod urls;
pub mod with_postgres;

pub use process::errand;

pub use error::{Error, Result};
pub use process::{Identity, Life};
