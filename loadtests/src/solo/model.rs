//! The figures of services by themselves, as JSON holds them.

use serde::{Deserialize, Serialize};

use super::play::Sample;
use super::search::{Bracket, Reach};
use crate::compare::{Generator, Usage};
use crate::report::{Basis, ContenderReport, Environment, RawSlice};
use crate::scenario::Scenario;
use crate::spread::{Slope, Spread};
use crate::stats::Ratio;
use crate::surroundings::Surroundings;
use crate::validity::Bound;

/// A rise of memory over a run that is small: a pool or a cache that fills once.
const RISE: f64 = 0.05;
const MIB: f64 = 1_048_576.0;

/// One trace played once on one service: report.json of `loadtest run`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoloRun {
    /// `FORMAT` when it was written.
    pub format: u32,
    /// Begin, RFC 3339.
    pub started_at: String,
    /// Length in seconds, start and stop of the service included.
    pub seconds: f64,
    /// The command line.
    pub command: Vec<String>,
    /// Why the numbers aren't a result; empty: they are.
    pub void: Vec<String>,
    /// Missed bounds that were allowed to be.
    pub allowed: Vec<String>,
    /// What it ran on.
    pub environment: Environment,
    /// The service.
    pub service: ContenderReport,
    /// All of its settings; rates are flows a second.
    pub scenario: Scenario,
    /// Flows a second that the scenario's rates were multiples of.
    pub capacity: Option<f64>,
    /// Of the trace.
    pub trace_sha256: String,
    /// In the whole trace.
    pub requests: usize,
    /// The whole load.
    pub overall: StageReport,
    /// Its stages.
    pub stages: Vec<StageReport>,
    /// CPU of the service a reply, in µs.
    pub cpu_us_a_reply: f64,
    /// Of the service's threads, a reply; switches of threads that ended meanwhile are lost.
    pub switches_a_reply: f64,
    /// While the load lasted.
    pub memory: MemoryOverTime,
    /// CPU of all meanwhile.
    pub usage: Usage,
    /// How the generator ran.
    pub generator: Generator,
    /// Due to sent, in µs: p50, p99, p99.9, most.
    pub lag_us: [u64; 4],
    /// Every bound.
    pub validity: Vec<Bound>,
    /// The stages in parts, in order, as they were counted.
    pub ticks: Vec<StageReport>,
    /// The load as one slice.
    pub load: RawSlice,
    /// Context switches of the service while it lasted.
    pub switches: u64,
    /// What else the figures are made of.
    pub basis: Basis,
    /// Where in its trace it was ended, in µs: what was due from then on didn't come due; unset: all did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_us: Option<u64>,
}

impl SoloRun {
    /// By how many MiB memory has risen, where the scenario wants it flat.
    pub fn risen_mib(&self) -> Option<f64> {
        self.scenario.solo.as_ref().filter(|solo| solo.flat)?;
        self.memory.risen_mib()
    }
}

/// What became of the requests that were due in a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Flows that began, a second, by the scenario; of several stages their mean.
    pub rate: f64,
    /// Begin in seconds from the load's.
    pub from_seconds: f64,
    /// Length.
    pub seconds: f64,
    /// Requests that were due.
    pub offered: u64,
    /// Answered as expected.
    pub expected: u64,
    /// Refused for want of capacity.
    pub shed: u64,
    /// Answered otherwise.
    pub unexpected: u64,
    /// Of those answered as expected, from the due time, in ms: p50, p90, p99, p99.9; unset where too few lie beyond.
    pub latency_ms: [Option<f64>; 4],
    /// The same, raw (HdrHistogram V2, deflated, base64; µs).
    pub latency: String,
}

impl StageReport {
    /// Requests a second that were due.
    pub fn offered_rate(&self) -> f64 {
        self.offered as f64 / self.seconds
    }

    /// Requests that were due, and neither answered as expected nor shed: answered wrongly, dropped, skipped, unanswered.
    pub fn other(&self) -> u64 {
        self.offered.saturating_sub(self.expected + self.shed)
    }

    /// Requests a second, of those due, that were answered as expected.
    pub fn goodput(&self) -> f64 {
        self.expected as f64 / self.seconds
    }
}

/// Resident memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryOverTime {
    /// At even distances.
    pub samples: Vec<Sample>,
    /// In MiB an hour; unset where the run is too short to tell.
    pub slope_mib_an_hour: Option<Slope>,
}

impl MemoryOverTime {
    /// By how many MiB it has risen over the run; nothing where that can't be told from none, or is small.
    pub fn risen_mib(&self) -> Option<f64> {
        let slope = self.slope_mib_an_hour.filter(|slope| slope.interval.low > 0.0)?;
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        let risen = slope.estimate * (last.at_ms - first.at_ms) as f64 / 3_600_000.0;
        (risen > RISE * first.rss_bytes as f64 / MIB).then_some(risen)
    }
}

/// What `compare --solo` and `loadtest solo` find.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SoloReport {
    /// One a scenario that names a bound.
    pub capacities: Vec<Capacity>,
    /// One a service.
    pub footprints: Vec<Footprint>,
}

/// How much each service takes before it misses the scenario's bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Its name.
    pub scenario: String,
    /// The bound: p99 from the due time, in ms.
    pub p99_ms: f64,
    /// Length of one trial's load in seconds.
    pub trial_seconds: f64,
    /// How far each search goes.
    pub reach: Reach,
    /// One a service, in the order of the contenders.
    pub services: Vec<ServiceCapacity>,
    /// What went on during the trials, in their order.
    #[serde(default)]
    pub surroundings: Surroundings,
}

/// One service's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceCapacity {
    /// As sentences call it.
    pub label: String,
    /// Requests a second that were kept, over the blocks; unset where none was.
    pub kept: Option<Spread>,
    /// The most requests a second that were answered as expected, over the blocks, kept or not.
    pub most_goodput: Option<Spread>,
    /// Each a search on a fresh service with a fresh database.
    pub blocks: Vec<Block>,
}

impl ServiceCapacity {
    /// How many searches `kept` is of: `2 of 3` where another one found none.
    pub fn searches(&self) -> String {
        let (found, of) = (self.kept.as_ref().map_or(0, |kept| kept.values.len()), self.blocks.len());
        if found == of { of.to_string() } else { format!("{found} of {of}") }
    }
}

/// One search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Place among all of the scenario's searches, from 0: the order was drawn.
    pub turn: usize,
    /// In flows a second.
    pub bracket: Bracket,
    /// What was full where the bound was missed, and how much.
    pub full: String,
    /// Every trial, in order.
    pub probes: Vec<Probe>,
}

/// One rate, tried once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Flows a second that were asked for.
    pub rate: f64,
    /// What became of its requests.
    pub load: StageReport,
    /// The bound was kept, and nearly everything was served.
    pub held: bool,
    /// Why not.
    pub missed: Vec<String>,
    /// How much of each resource was used.
    pub used: Vec<Used>,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// Its name.
    pub resource: String,
    /// In use, from 0 to 1.
    pub share: f64,
}

/// What a service takes beside the work: memory, start, size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Footprint {
    /// As sentences call it.
    pub label: String,
    /// In the order in which a person asks.
    pub rows: Vec<Row>,
    /// What can't be told, and why.
    pub left_out: Vec<String>,
    /// What went on meanwhile.
    #[serde(default)]
    pub surroundings: Surroundings,
}

impl Footprint {
    /// A figure of this name.
    pub fn figure(&self, name: &str) -> Option<&Spread> {
        self.rows.iter().find(|row| row.name == name).map(|row| &row.figure)
    }
}

/// The first's by the second's, where there are two that have it: over starts and programs, not over slices.
pub fn footprint_ratio(footprints: &[Footprint], name: &str) -> Option<Ratio> {
    let [first, second] = footprints else { return None };
    Some(first.figure(name)?.ratio_to(second.figure(name)?))
}

/// The rows that any of them has, once each: in the first one's order, then what only others have.
pub fn footprint_rows(footprints: &[Footprint]) -> Vec<&Row> {
    let mut rows: Vec<&Row> = Vec::new();
    for row in footprints.iter().flat_map(|footprint| &footprint.rows) {
        if !rows.iter().any(|known| known.name == row.name) {
            rows.push(row);
        }
    }
    rows
}

/// Of how many repetitions a figure is: once where each has as many.
pub fn footprint_n(footprints: &[Footprint], name: &str) -> String {
    let count = |footprint: &Footprint| footprint.figure(name).map_or(0, |figure| figure.values.len());
    let mut counts: Vec<_> = footprints.iter().map(count).collect();
    if counts.iter().all(|count| *count == counts[0]) {
        counts.truncate(1);
    }
    counts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// One figure of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `start_ms`, `rss_idle` and so on.
    pub name: String,
    /// As a person calls it.
    pub label: String,
    /// Of the figure.
    pub unit: String,
    /// Over its repetitions.
    pub figure: Spread,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_risen_where_it_is_told_from_none_and_is_not_small() {
        let memory = |slope: f64, low: f64, minutes: u64| {
            let sample = |at_ms| Sample { at_ms, rss_bytes: 100 << 20 };
            let interval = crate::stats::Interval { low, high: slope * 2.0 };
            let slope_mib_an_hour = Some(Slope { estimate: slope, interval });
            MemoryOverTime { samples: vec![sample(0), sample(minutes * 60_000)], slope_mib_an_hour }
        };
        assert_eq!(memory(60.0, 50.0, 10).risen_mib(), Some(10.0));
        assert_eq!(memory(60.0, -1.0, 10).risen_mib(), None);
        assert_eq!(memory(24.0, 20.0, 10).risen_mib(), None);
    }
}
