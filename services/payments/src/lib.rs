//! The payment service. `main` reads the configuration and starts [`app::App`]; everything flows from a door through a use case to
//! the store, the hash pool and the card network.

pub mod config;
pub mod domain;
pub mod reply;
pub mod telemetry;
pub mod store;
pub mod acquirer;
pub mod hash_pool;
pub mod usecase;
pub mod httpapi;
pub mod admin;
pub mod app;
pub mod migrate;
pub mod workers;
pub mod grpcapi;
