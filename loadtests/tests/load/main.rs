//! The generator against small servers whose behaviour is known, and the trace's bytes.

mod engine;
mod support;
mod trace;
