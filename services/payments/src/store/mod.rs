//! The only place that talks to Postgres: one function a statement, each statement a file in `db/queries`, under its own name. No
//! rule of the business stands here; an outcome that SQL computed becomes an enum, and nothing is decided from it.
//!
//! The macros check statements against `services/payments/.sqlx`. After a change in `db/`, with a migrated database at hand:
//! `SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/services/payments/.sqlx DATABASE_URL=postgres://… cargo check -p payments`
//! (empty that folder first), and commit what it writes.

pub mod db;
pub mod events;
pub mod expiry;
pub mod idempotency;
pub mod ledger;
pub mod merchants;
pub mod operations;
pub mod payments;
pub mod refunds;
pub mod tokens;
pub mod upkeep;
pub mod webhooks;
