//! One service by itself: what interleaving can't show, since the other would be in the way or in the same state.
//! Capacity, overload, a spike, memory over a long time.
//!
//! `play` plays a trace once, from its warm-up to its end without a break; `watch` notes each reply, so that stages and
//! seconds can be told apart afterwards; `judge` makes the report of a run; `search` looks for the highest rate that is
//! kept. Nothing here knows what the requests mean.

mod judge;
mod model;
mod play;
mod search;
mod settings;
mod text;
mod watch;

pub use judge::{Judged, judge, percentiles};
pub use model::{
    Block, Capacity, Footprint, LimitShare, MemoryOverTime, Probe, Row, ServiceCapacity, SoloReport, SoloRun,
    StageReport, Used, footprint_ratio,
};
pub use play::{Order, Played, Sample, Settle, aside, play};
pub use search::{Bracket, Reach, Search};
pub use settings::Settings;
pub use text::{brackets, run_table, solo_table};
pub use watch::{Kind, Seen, Stage, Tally, stages, tally};
