//! What the twins tell of themselves, held against files: span trees as an OTLP receiver sees them, metrics as
//! Prometheus reads them, log lines as they are written. Here lives what sends, receives, gathers and compares; the requests
//! stand in `loadtests/golden/cases/*.toml` (the format of the conformance cases), what must come of them in
//! `loadtests/golden/**/*.txt`, never here.

pub mod file;
pub mod logs;
pub mod metrics;
pub mod play;
pub mod tree;
pub mod webhooks;
