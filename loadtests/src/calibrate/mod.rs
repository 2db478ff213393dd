//! Whether the comparison tells the truth: two toy servers of a known cost, under the very machinery that compares
//! services. The known ratio must lie in the interval, and of two equal servers 95 of 100 intervals must hold 1.
//!
//! `spin` is such a server and how it is asked, `play` compares two of them, `coverage` counts intervals.

mod coverage;
mod play;
mod spin;
mod text;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use coverage::{choose, cover};
pub use play::Players;
pub use spin::{Spin, serve};
pub use text::table;

use crate::command::tabled::{Measured, unless_interrupted};
use crate::stats::{Bootstrap, Interval, Quantity, Ratio};

/// Resamples of each interval.
const RESAMPLES: usize = 500;
/// Of 100 intervals so many must hold the truth.
const WANTED: f64 = 0.93;

/// What is done.
#[derive(Debug, Clone)]
pub struct Effort {
    /// The program that serves: this one.
    pub program: PathBuf,
    /// Costs of the first server by the second's.
    pub ratios: Vec<f64>,
    /// Pairs of slices for each of these.
    pub ratio_pairs: usize,
    /// Slice lengths in ms for the coverage; the middle one serves for the ratios.
    pub slices_ms: Vec<u64>,
    /// Runs that the one long run of each length is cut into.
    pub runs: usize,
    /// Pairs of slices of each of these.
    pub run_pairs: usize,
    /// Everything is drawn from it.
    pub seed: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// One a known ratio.
    pub known: Vec<Known>,
    /// One a slice length.
    pub coverage: Vec<Coverage>,
    /// The slice length in ms that is best; unset: none covers well enough.
    pub chosen_ms: Option<u64>,
}

/// A known ratio and what the comparison made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The first server's cost by the second's.
    pub truth: f64,
    /// Length of a slice.
    pub slice_ms: u64,
    /// Pairs of slices.
    pub pairs: usize,
    /// CPU a reply, as it was found.
    pub ratio: Ratio,
    /// Of the median latency, which has no known ratio: a server's cost is only a part of it.
    pub p50: Option<Ratio>,
}

impl Known {
    /// The interval holds the truth.
    pub fn held(&self) -> bool {
        self.ratio.interval.is_some_and(|Interval { low, high }| low <= self.truth && self.truth <= high)
    }
}

/// How often intervals of two equal servers hold 1, at one slice length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Length of a slice.
    pub slice_ms: u64,
    /// Pairs of slices of a run.
    pub pairs: usize,
    /// One a quantity that the runs can tell.
    pub quantities: Vec<Covered>,
}

/// One quantity's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Covered {
    /// `p50` and so on.
    pub name: String,
    /// Runs with an interval.
    pub runs: usize,
    /// Of them, with 1 in it.
    pub held: usize,
    /// Half of the median interval's width, as a minute of load on each server would have it.
    pub half_width_of_a_minute: f64,
}

impl Covered {
    /// Often enough.
    pub fn enough(&self) -> bool {
        self.held as f64 >= WANTED * self.runs as f64
    }
}

impl Calibration {
    /// Every known ratio was found, and a slice length covers.
    pub fn held(&self) -> bool {
        self.known.iter().all(Known::held) && (self.coverage.is_empty() || self.chosen_ms.is_some())
    }
}

impl Effort {
    /// How long the load lasts, in seconds: two servers, each slice on both.
    pub fn seconds(&self) -> f64 {
        let ratios = self.ratios.len() as u64 * self.ratio_pairs as u64 * self.slice_of_ratios();
        let coverage = self.slices_ms.iter().sum::<u64>() * (self.runs * self.run_pairs) as u64;
        (ratios + coverage) as f64 * 2.0 / 1e3
    }

    fn slice_of_ratios(&self) -> u64 {
        self.slices_ms.get(self.slices_ms.len() / 2).copied().unwrap_or(250)
    }
}

/// Does it all, or as much as it is let.
pub async fn calibrate(effort: &Effort, players: &Players<'_>) -> anyhow::Result<Measured<Calibration>> {
    let mut found = Calibration { known: Vec::new(), coverage: Vec::new(), chosen_ms: None };
    for truth in &effort.ratios {
        let slice_ms = effort.slice_of_ratios();
        players
            .say(&format!("costs of ratio {truth}: {} pairs of slices of {slice_ms} ms", effort.ratio_pairs));
        let played = players.play(effort, *truth, slice_ms, effort.ratio_pairs).await;
        let Some(pairs) = unless_interrupted(played, !found.known.is_empty())? else {
            return Ok(Measured::Partial(found));
        };
        let pairs_played = pairs.len();
        let bootstrap = Bootstrap::new(pairs, RESAMPLES, effort.seed);
        let compared = |quantity| bootstrap.compare(quantity).map(|found| found.ratio);
        let nothing =
            Ratio { estimate: None, interval: None, no_interval: Some("nothing was measured".into()) };
        found.known.push(Known {
            truth: *truth,
            slice_ms,
            pairs: pairs_played,
            ratio: compared(Quantity::CpuPerReply).unwrap_or(nothing),
            p50: compared(Quantity::Percentile(50.0)),
        });
    }
    for slice_ms in &effort.slices_ms {
        let pairs = effort.runs * effort.run_pairs;
        players.say(&format!("equal costs: {pairs} pairs of slices of {slice_ms} ms"));
        let played = players.play(effort, 1.0, *slice_ms, pairs).await;
        let Some(pairs) = unless_interrupted(played, !found.known.is_empty())? else {
            return Ok(Measured::Partial(found));
        };
        found.coverage.push(cover(&pairs, *slice_ms, effort.run_pairs, effort.seed));
    }
    found.chosen_ms = choose(&found.coverage);
    Ok(Measured::Whole(found))
}
