//! The generator against small servers whose behaviour is known, and the trace's bytes.

mod alone;
mod bounds;
mod browser;
mod calibrate;
mod cli;
mod compare;
mod contenders;
mod development;
mod diff;
mod engine;
mod full;
mod given;
mod interrupt;
mod limits;
mod page;
mod solo;
mod spans;
mod support;
mod trace;
mod traces;
mod traces_input;
mod traces_page;
mod verify;
mod verify_alone;
mod view;
