//! The only place that talks to Postgres: one function a statement, each statement a file in `db/queries`, under its own name. No
//! rule of the business stands here; an outcome that SQL computed becomes an enum, and nothing is decided from it.

pub mod db;
pub mod idempotency;
pub mod merchants;
pub mod operations;
pub mod payments;
pub mod tokens;
