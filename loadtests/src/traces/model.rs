//! What a comparison of traces found: everything that its renderings show, and what report.json has of it.

use serde::{Deserialize, Serialize};

use super::shape::Spot;
use super::slices::Slices;
use super::trouble::Trouble;
use crate::stats::{Interval, Ratio};

/// By what the requests of the two sides were paired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// The trace's id.
    Trace,
    /// The value of this attribute of the request's first span.
    Attribute(String),
    /// Not at all: operations are held against each other, without paired statistics.
    Operation,
}

/// A comparison of traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TracesReport {
    /// Both sides.
    pub sides: [Side; 2],
    /// By what.
    pub pairing: Pairing,
    /// Windows of time that the intervals resample; of a play, stretches of whole slices.
    pub blocks: usize,
    /// Of a play: its slices; unset: files were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<Slices>,
    /// How often.
    pub resamples: usize,
    /// What the resamples were drawn from.
    pub seed: u64,
    /// Those with the most requests first.
    pub operations: Vec<Operation>,
    /// What the semantic conventions say of the spans.
    pub vocabulary: Vec<Remark>,
}

/// Where a side's spans came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// For headings.
    pub label: String,
    /// Its files.
    pub files: Vec<String>,
    /// Whose requests were compared; empty where its spans don't say.
    pub service: String,
    /// Spans that could be used.
    pub spans: u64,
    /// Traces with any.
    pub traces: u64,
    /// Requests of the service.
    pub requests: u64,
    /// What couldn't be used, and what was odd.
    pub troubles: Vec<Trouble>,
}

/// Requests that begin with the same span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// That span's name: the first side's, where they differ.
    pub name: String,
    /// Requests that were compared.
    pub requests: [u64; 2],
    /// Requests that had no partner.
    pub alone: [u64; 2],
    /// The whole requests.
    pub whole: Row,
    /// Where the time went, the largest difference first. Their differences sum to the whole's.
    pub rows: Vec<Row>,
    /// Of the difference of the whole, in ns: what stands in rows of spans below the first one. The rest is the first span's
    /// own time, of which the traces don't say what it was.
    pub explained_ns: f64,
    /// Where the trees differ.
    pub differences: Vec<Counted>,
    /// What the slowest requests of each side are made of; unset where there are too few.
    pub tails: [Option<Tail>; 2],
    /// Pairs to look at.
    pub examples: Vec<Example>,
}

/// Times of one side, in ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Of the requests that have it; unset where there are too few beyond.
    pub p50: Option<u64>,
    /// The same.
    pub p90: Option<u64>,
    /// The same.
    pub p99: Option<u64>,
}

/// One place in an operation's tree: what it takes while none of its children is running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Names from the operation down.
    pub path: Vec<String>,
    /// Places as they were first seen: parents before their children, siblings by their begin.
    pub order: usize,
    /// Of the span's own time, what this attribute says was waited; unset: all that is no wait.
    pub wait: Option<String>,
    /// Spans.
    pub spans: [u64; 2],
    /// Requests that have it.
    pub requests: [u64; 2],
    /// Its own time a request. Of the whole: from begin to end.
    pub times: [Times; 2],
    /// The first's by the second's: p50, p90, p99.
    pub ratios: [Ratio; 3],
    /// On the critical path: the mean of all requests of the operation, in ns.
    pub critical_ns: [f64; 2],
    /// The second's less the first's, in ns.
    pub difference_ns: f64,
    /// Of that.
    pub interval: Option<Interval>,
}

impl Row {
    /// Whether its difference is told from nothing.
    pub fn told(&self) -> bool {
        self.interval.is_some_and(|interval| interval.low > 0.0 || interval.high < 0.0)
    }
}

/// A difference of structure, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Where.
    pub spot: Spot,
    /// In how many pairs; of unpaired sides in how many requests of the side that has it.
    pub count: u64,
    /// What each side has there, in the first of them.
    pub sides: [String; 2],
    /// That one's trace.
    pub trace: String,
}

/// The slowest requests of a side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Those above this one.
    pub percentile: f64,
    /// How many.
    pub requests: u64,
    /// All of them took longer, in ns.
    pub above_ns: u64,
    /// Their mean, in ns.
    pub mean_ns: f64,
    /// For each of the operation's rows, in their order: the mean on the critical path, in ns.
    pub critical_ns: Vec<f64>,
}

/// Why a pair is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Both together took as long as half of all pairs.
    Median,
    /// One of the five that took longest together.
    Slowest,
}

/// A pair as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Why it is kept.
    pub why: Why,
    /// Trace ids.
    pub traces: [String; 2],
    /// Spans of each side, parents before their children.
    pub spans: [Vec<ExampleSpan>; 2],
}

/// A span of an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExampleSpan {
    /// Its name, and whose it is where that isn't the request's own service.
    pub name: String,
    /// How deep below the first one.
    pub depth: usize,
    /// Since the first one's begin, in ns, with what was waited before it; before the first one's where it is negative.
    pub start_ns: i64,
    /// In ns.
    pub duration_ns: u64,
    /// Of the duration, waited before the span itself began.
    #[serde(default)]
    pub before_ns: u64,
    /// Of the duration, on the critical path and no child's.
    pub critical_ns: u64,
    /// `server`, `client` and so on.
    pub kind: String,
    /// `unset`, `ok`, or `error` with its message.
    pub status: String,
    /// Keys and values.
    pub attributes: Vec<(String, String)>,
}

/// What the semantic conventions say of a span's name or attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Remark {
    /// For a sentence: "`http.method`: is deprecated, …".
    pub said: String,
    /// Spans that it is true of.
    pub spans: [u64; 2],
}
