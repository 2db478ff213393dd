//! All numbers of a run, as report.json holds them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::basis::Basis;
use super::control::Control;
use super::files::replace_all;
use super::rows::Rows;
use super::traced::Traced;
use crate::assert::Asserted;
use crate::compare::{Generator, ServerRow, Usage};
use crate::development::Development;
use crate::limits::Limits;
use crate::limits::looking::Looking;
use crate::scenario::Scenario;
use crate::solo::{SoloReport, SoloRun};
use crate::stats::Ratio;
use crate::validity::Bound;

/// The format of report.json; goes up when a reader has to know.
pub const FORMAT: u32 = 8;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `FORMAT` when it was written.
    pub format: u32,
    /// Begin, RFC 3339.
    pub started_at: String,
    /// Length in seconds, start and stop of the services included.
    pub seconds: f64,
    /// The command line.
    pub command: Vec<String>,
    /// Why the numbers aren't a result; empty: they are.
    pub void: Vec<String>,
    /// Missed bounds that the caller allowed.
    pub allowed: Vec<String>,
    /// What it ran on.
    pub environment: Environment,
    /// The two that are compared; ratios are the first's by the second's.
    pub contenders: Vec<ContenderReport>,
    /// One a scenario.
    pub scenarios: Vec<ScenarioReport>,
    /// The caller's thresholds, and how they came out.
    pub asserts: Vec<Asserted>,
    /// What the machine could do at most; unset: it wasn't asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What it costs each service to be traced; unset: it wasn't asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looking: Option<Looking>,
    /// What each service does by itself; unset: it wasn't asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solo: Option<SoloReport>,
    /// What developing each service takes; unset: no file of it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub development: Option<Development>,
    /// Whole scenarios on one service each; none: that wasn't asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alone: Vec<SoloRun>,
    /// What was asked for and isn't there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
}

/// A part that couldn't be measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// As a person calls it.
    pub part: String,
    /// The scenario whose own figures don't stand without it; unset: it stands by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// That it isn't complete, and why.
    pub validity: Vec<Bound>,
}

/// What it ran on and with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Name and value, in the order in which a person asks.
    pub machine: Vec<(String, String)>,
    /// Who runs on which cores.
    pub layout: Vec<(String, String)>,
    /// Every setting that was given to the services and what stands around them.
    pub settings: Vec<(String, String)>,
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContenderReport {
    /// Short name.
    pub name: String,
    /// As a sentence calls it.
    pub label: String,
    /// What it says of itself.
    pub version: Version,
    /// From its start to the first sign that it is ready, in ms, in each scenario.
    pub ready_ms: Vec<f64>,
}

/// The reply of `/version`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Version {
    /// `rust` or `go`.
    pub implementation: String,
    /// What it was built from.
    pub commit: String,
    /// How it was built.
    pub profile: String,
}

/// One scenario's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioReport {
    /// All of its settings.
    pub scenario: Scenario,
    /// What the order in the warm-up and within the pairs was drawn from.
    pub order_seed: u64,
    /// The same for both.
    pub trace_sha256: String,
    /// In the whole trace.
    pub requests: usize,
    /// The table.
    pub metrics: Vec<Metric>,
    /// Latency by operation.
    pub operations: Vec<OperationRow>,
    /// Percentile curves, one list a contender.
    pub curves: Vec<Vec<CurvePoint>>,
    /// Every bound.
    pub validity: Vec<Bound>,
    /// How the generator did.
    pub generator: GeneratorReport,
    /// Every slice, one list a contender, in the order of the pairs.
    pub slices: Vec<Vec<RawSlice>>,
    /// Each service against a second instance of itself; none where that wasn't asked for.
    pub controls: Vec<Control>,
    /// What else the figures are made of.
    pub basis: Basis,
    /// First by second at each point that both curves have.
    pub curve_ratios: Vec<Ratio>,
    /// What kernel and runtime tell of each.
    pub server: Vec<ServerRow>,
    /// The same with tuned services; unset where that wasn't asked for.
    pub rows: Option<Rows>,
    /// Once more, with every request traced; unset where that wasn't asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traced: Option<Box<Traced>>,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// `p50`, `rate`, `cpu` and so on.
    pub name: String,
    /// As a person calls it.
    pub label: String,
    /// Of the values.
    pub unit: String,
    /// The contenders' values.
    pub values: [f64; 2],
    /// First by second.
    pub ratio: Ratio,
    /// Whether less is better; unset: neither is.
    pub less_is_better: Option<bool>,
    /// What was asked of both, in the same unit; unset where nothing was.
    pub offered: Option<f64>,
    /// How many measurements each value is made of.
    pub n: [u64; 2],
    /// What those are: `replies` or `slices`.
    pub n_of: String,
}

/// One operation's latency from the due time, in µs: p50 and p99 of each contender, and their ratios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRow {
    /// The operation.
    pub operation: String,
    /// Replies of each.
    pub replies: [u64; 2],
    /// Medians.
    pub p50_us: [f64; 2],
    /// 99th percentiles; unset where too few lie beyond.
    pub p99_us: Option<[f64; 2]>,
    /// Of the medians.
    pub ratio: Ratio,
    /// Of the 99th percentiles, where there are any.
    pub p99_ratio: Option<Ratio>,
}

/// A point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The percentile.
    pub percentile: f64,
    /// From the due time, in µs.
    pub latency_us: u64,
    /// From the actual send, in µs.
    pub service_us: u64,
}

/// The generator's own quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorReport {
    /// Policies and cost.
    pub generator: Generator,
    /// Due to sent in each contender's slices, in µs: p50, p99, p99.9, most.
    pub lag_us: [[u64; 4]; 2],
    /// Due to the sending thread's being awake for it, in µs: the same.
    pub wake_lag_us: [[u64; 4]; 2],
    /// CPU while the slices played.
    pub usage: Usage,
}

/// One slice on one contender, with its raw histograms (HdrHistogram V2, deflated, base64; µs).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RawSlice {
    /// Whether it had the slice before the other.
    pub first: bool,
    /// Requests that came due.
    pub offered: u64,
    /// Requests sent.
    pub sent: u64,
    /// Replies read.
    pub replies: u64,
    /// Lacked the result that they need.
    pub skipped: u64,
    /// No room.
    pub dropped: u64,
    /// Refused for want of capacity; counted as replies, not timed.
    pub shed: u64,
    /// Waited for a connection.
    pub queued: u64,
    /// The connection broke.
    pub failed: u64,
    /// No reply in time.
    pub unanswered: u64,
    /// Replies by operation and status.
    pub statuses: BTreeMap<String, u64>,
    /// Unexpected ones by kind.
    pub unexpected: BTreeMap<String, u64>,
    /// Until the last reply, in ns.
    pub length_ns: u64,
    /// From the first to the last reply, or the slice's own length where that is longer, in ns: what a rate is over.
    pub answering_ns: u64,
    /// Requests in flight, each from its due time, summed over time in ns.
    pub in_flight_ns: u64,
    /// The part of that which the latencies don't hold: of what was shed, or failed.
    pub untimed_ns: u64,
    /// Connections open at the end.
    pub open: u64,
    /// CPU of the contender's process, in ns; this, the next and memory are 0 where the processes aren't known.
    pub cpu_ns: u64,
    /// CPU of the other's, which had nothing to do, in ns.
    pub idle_cpu_ns: u64,
    /// Memory at the end, in bytes.
    pub rss_bytes: u64,
    /// From the due time, by operation.
    pub latency: BTreeMap<String, String>,
    /// From the actual send.
    pub service: String,
    /// Due to sent.
    pub lag: String,
    /// Due to the sending thread's being awake for it.
    pub wake_lag: String,
    /// Connections opened again.
    pub reopened: u64,
    /// Replies as expected, by operation.
    pub expected: BTreeMap<String, u64>,
    /// CPU of the generator, in ns.
    pub generator_cpu_ns: u64,
    /// The time that this is of, draining included, in ns.
    pub generator_ns: u64,
}

impl Report {
    /// Writes report.json, summary.md and report.html into `folder`: all three, or none where one can't be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        replace_all(&[
            (folder.join("report.json"), serde_json::to_string_pretty(self)? + "\n"),
            (folder.join("summary.md"), super::summary(self)),
            (folder.join("report.html"), super::page(self)?),
        ])
    }
}
