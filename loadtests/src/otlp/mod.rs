//! An OTLP receiver for spans: over gRPC and over HTTP on one port (`server`), for what keeps them: memory (`held`) or a
//! file (`record`). Nothing here knows what the spans are about.

mod held;
pub mod lenient;
mod lines;
mod record;
mod server;

/// The longest batch, in bytes: as a request, decompressed, and as a line of a file.
pub const LONGEST: usize = 64 << 20;

pub use held::{Received, Receiver};
pub use record::Recorder;
pub use server::{Discard, Refused, Server, Sink};
