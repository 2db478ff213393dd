//! The interleaved comparison: both contenders stay up and warm, and each slice of the trace is played on one, drained,
//! then on the other, in an order drawn at random for each pair.
//!
//! `plan` cuts the trace, `play` plays it in a thread of its own, `judge` writes down what came back, `figures` computes
//! from that, `server` from what the services tell of themselves. Nothing here knows what the requests mean.

mod evidence;
mod figures;
mod judge;
mod plan;
mod play;
mod server;
mod usage;

pub use evidence::{Heard, Side, evidence};
pub use figures::{METRICS, MetricLine, computed, sample};
pub use judge::{Played, judge, raw};
pub use plan::{Moment, Plan, Window};
pub use play::{Contender, Event, Generator, Order, Playback, Seen, Slice, Support, play};
pub use server::{Look, ServerRow};
pub use usage::{SupportCores, Usage};
