//! One service by itself: what interleaving can't show, since the other would be in the way or in the same state.
//! Capacity, overload, a spike, memory over a long time.
//!
//! `play` plays a trace once, the warm-up in two parts and the load without a break; `watch` notes each reply, so that stages and
//! their parts can be told apart afterwards; `live` tells how it goes meanwhile; `judge` writes a run down, `figures`
//! computes from that; `search` looks for the highest rate that is kept, `capacity` says what it found. Nothing here knows what the requests mean.

mod capacity;
mod figures;
mod judge;
mod live;
mod model;
mod play;
mod search;
mod settings;
mod text;
mod watch;

pub use capacity::{full, missed, p99_ms, unserved};
pub use figures::{computed, percentiles};
pub use judge::{Judged, judge, overall};
pub use model::{
    Block, Capacity, Footprint, MemoryOverTime, Probe, Row, ServiceCapacity, SoloReport, SoloRun,
    StageReport, Used, footprint_n, footprint_ratio, footprint_rows,
};
pub use play::{Order, Played, Sample, Settle, aside, play};
pub use search::{Bracket, Outcome, Reach, Search};
pub use settings::Settings;
pub use text::{footprint_table, memory_over_time, run_table, solo_table};
pub use watch::{Kind, Seen, Stage, Tally, stages, tally, ticks};
