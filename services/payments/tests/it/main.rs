//! The service in this process, against a real Postgres and the real card network: a fresh database a test, port 0, the clock passed
//! in, the workers driven by `step()`. What is visible on the wire alone is the conformance suite's.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod expiry;
mod flood;
mod grpc;
mod life;
mod limits;
mod migrations;
mod network;
mod postgres;
mod process;
mod profiles;
mod recovery;
mod relay;
mod road;
mod streams;
mod upkeep;
mod webhooks;
mod world;
