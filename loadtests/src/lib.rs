//! The judge of the two twins: request traces, an open-loop generator, the interleaved comparison, and its report.
//!
//! Everything about load (scenario, trace, engine, statistics, report) is free of any word about payments; the
//! payment workload is one module on top. Here lives what measures; never what is measured.

// Before all others: they say what they say by its macros. What a unit test says is the test's own business.
#[cfg(not(test))]
#[macro_use]
mod said;

pub mod assert;
pub mod budget;
pub mod calibrate;
pub mod clock;
pub mod command;
pub mod compare;
pub mod conformance;
pub mod development;
pub mod draw;
pub mod engine;
pub mod environment;
pub mod golden;
pub mod histogram;
pub mod junit;
pub mod limits;
pub mod model;
pub mod otlp;
pub mod payments;
pub mod plain;
pub mod procstat;
pub mod progress;
pub mod realtime;
pub mod report;
pub mod scenario;
pub mod solo;
pub mod spread;
pub mod stats;
pub mod surroundings;
pub mod toml_lines;
pub mod trace;
pub mod traces;
pub mod validity;
pub mod workload;
