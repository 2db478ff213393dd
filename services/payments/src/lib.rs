//! The payment service. `main` reads the configuration and starts [`app::App`]; everything flows from a door through a use case to
//! the store, the hash pool and the card network.

pub mod acquirer;
pub mod admin;
pub mod app;
pub mod config;
pub mod domain;
pub mod grpcapi;
pub mod hash_pool;
pub mod httpapi;
pub mod migrate;
pub mod receiver;
pub mod reply;
pub mod store;
pub mod telemetry;
pub mod usecase;
pub mod workers;
