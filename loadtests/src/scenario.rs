//! A scenario: what arrives, how fast, for how long, and how the comparison cuts it. Read from TOML, checked whole.
//!
//! Unknown fields and impossible values are refused here with one line that names file, field and problem; what comes
//! out of `Scenario::load` can be played.

mod name;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::plain;
use crate::solo;
use crate::trace::Door;

pub use name::check_names;

/// Named values that a flow hands to its workload, such as the outcome that it is meant to have.
pub type Parameters = serde_json::Map<String, serde_json::Value>;

/// What the surroundings of a scenario are to be, by names that its workload knows.
pub type Settings = BTreeMap<String, String>;

/// Flows a second beyond which one machine's generator is not the right tool.
const MAX_RATE: f64 = 100_000.0;
/// Length of a stage: a trace is made by walking through its stages again and again.
const MIN_SECONDS: f64 = 0.001;
/// The same: a day.
const MAX_SECONDS: f64 = 86_400.0;
/// Files of the same name as the scenario, next to each other: where `--scenario checkout` looks.
const FOLDER: &str = "loadtests/scenarios";

/// Why a scenario can't be used: one line.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file is wrong.
    #[error("{file}: {field}: {problem}")]
    File {
        /// As the caller named it.
        file: String,
        /// Dotted path of the field, such as `stages[0].rate`.
        field: String,
        /// What is wrong with it, and the bound.
        problem: String,
    },
    /// What the command line puts in place of the file's values is.
    #[error("{options}: {problem}")]
    Options {
        /// `--rate`, or several.
        options: String,
        /// What is wrong with it, and the bound.
        problem: String,
    },
}

/// A field or an option, and what is wrong with it.
pub(crate) type Fault = (String, String);

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Equal gaps.
    Constant,
    /// Exponential gaps: independent customers.
    Poisson,
}

/// A stretch of constant offered rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Flows that begin, a second.
    pub rate: f64,
    /// Length in seconds.
    pub seconds: f64,
}

/// A customer's sequence of operations; each step is due a think time after the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Shown in messages only.
    pub name: String,
    /// Weight of this flow among all.
    pub share: u32,
    /// Operations of the workload, in order.
    pub steps: Vec<String>,
    /// Handed to the workload.
    #[serde(default)]
    pub parameters: Parameters,
}

/// Weights of the doors; each flow takes one of them for all of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doors {
    /// HTTP/1.1.
    #[serde(default)]
    pub http: u32,
    /// HTTP/2 without TLS.
    #[serde(default)]
    pub http2: u32,
    /// gRPC.
    #[serde(default)]
    pub grpc: u32,
}

impl Doors {
    const NONE: Self = Self { http: 0, http2: 0, grpc: 0 };

    /// One for all.
    pub fn only(door: Door) -> Self {
        match door {
            Door::Http => Self { http: 1, ..Self::NONE },
            Door::Http2 => Self { http2: 1, ..Self::NONE },
            Door::Grpc => Self { grpc: 1, ..Self::NONE },
        }
    }

    /// Half and half.
    pub fn http_and_grpc() -> Self {
        Self { http: 1, grpc: 1, ..Self::NONE }
    }

    /// Each with its weight.
    pub fn shares(&self) -> [(Door, u32); 3] {
        [(Door::Http, self.http), (Door::Http2, self.http2), (Door::Grpc, self.grpc)]
    }
}

impl Default for Doors {
    fn default() -> Self {
        Self::only(Door::Http)
    }
}

/// A whole scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without its ending; can't be set in the file.
    #[serde(default)]
    pub name: String,
    /// The file that its trace was read from; unset where it is drawn. Can't be set in the file.
    #[serde(default)]
    pub trace_file: Option<PathBuf>,
    /// One sentence for the report.
    pub description: String,
    /// The module that knows what the operations are.
    pub workload: String,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// How arrivals are spaced.
    pub arrivals: Arrivals,
    /// Between two steps of a flow.
    pub think_time_ms: u64,
    /// Other than usual for this scenario.
    #[serde(default)]
    pub settings: Settings,
    /// Which doors the flows take; left out: HTTP/1.1 alone.
    #[serde(default)]
    pub doors: Doors,
    /// Keep-alive connections held open to each twin, for each door that is used.
    pub connections: usize,
    /// Requests sent or waiting for a connection at most; what comes due beyond is dropped and counted.
    pub in_flight: usize,
    /// Length of one slice of the trace.
    pub slice_ms: u64,
    /// Slices; each is played on both twins.
    pub pairs: usize,
    /// Wait for the last replies of a slice at most this long.
    pub drain_ms: u64,
    /// Played on each twin before the first slice, not measured. What databases need is done before its last quarter, so that no
    /// slice is the first to ask for anything after it.
    pub warm_up: Stage,
    /// What arrives in the warm-up's first three quarters instead of `flows`, which may then need what it has made.
    #[serde(default)]
    pub warm_up_flows: Vec<Flow>,
    /// Walked in order, and again from the first, until `pairs` slices are full.
    pub stages: Vec<Stage>,
    /// What arrives.
    pub flows: Vec<Flow>,
    /// About being played on one service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solo: Option<solo::Settings>,
    /// Of the workload `plain`: what is drawn for its requests, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub draw: BTreeMap<String, plain::Source>,
    /// Of the workload `plain`: its operations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<plain::RequestSpec>,
}

/// Changes from the command line, each in place of the file's value.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Overrides {
    /// Flows a second in every stage and in the warm-up.
    pub rate: Option<f64>,
    /// Pairs of slices.
    pub pairs: Option<usize>,
    /// Slice length in milliseconds.
    pub slice_ms: Option<u64>,
    /// Seed.
    pub seed: Option<u64>,
    /// Warm-up length in seconds.
    pub warm_up_seconds: Option<f64>,
    /// Doors.
    pub doors: Option<Doors>,
    /// Between two steps of a flow; no option of its own.
    pub think_time_ms: Option<u64>,
    /// A trace to read instead of drawing one.
    pub trace: Option<PathBuf>,
}

impl Overrides {
    /// The options that are given and make a trace longer or shorter, as a person types them.
    pub fn sizes(&self) -> String {
        let given = [
            ("--rate", self.rate.is_some()),
            ("--pairs", self.pairs.is_some()),
            ("--slice", self.slice_ms.is_some()),
            ("--warm-up", self.warm_up_seconds.is_some()),
        ];
        let given: Vec<_> = given.into_iter().filter_map(|(option, given)| given.then_some(option)).collect();
        given.join(", ")
    }

    /// By the bounds of the fields: what is wrong here is not the file's fault.
    fn check(&self) -> Result<(), Fault> {
        self.rate.map_or(Ok(()), |rate| check_rate("--rate", rate))?;
        self.pairs.map_or(Ok(()), |pairs| check_pairs("--pairs", pairs))?;
        self.slice_ms.map_or(Ok(()), |slice_ms| check_slice("--slice", slice_ms))?;
        self.warm_up_seconds.map_or(Ok(()), |seconds| check_seconds("--warm-up", seconds))
    }
}

impl Scenario {
    /// Reads a scenario by name (`checkout`: a file in `loadtests/scenarios`) or by path, and applies `overrides`.
    pub fn load(name: &str, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let path = locate(name);
        let file = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|error| ScenarioError::File {
            file: file.clone(),
            field: "file".into(),
            problem: format!("can't be read: {error}"),
        })?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Self::parse(&file, &stem, &text, overrides)
    }

    /// Parses and checks the text of a scenario; `file` is named in errors.
    pub fn parse(file: &str, name: &str, text: &str, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let fail =
            |field: String, problem: String| ScenarioError::File { file: file.to_owned(), field, problem };
        overrides.check().map_err(|(options, problem)| ScenarioError::Options { options, problem })?;
        let one_line = |message: &str| message.split_whitespace().collect::<Vec<_>>().join(" ");
        let parsed = toml::Deserializer::parse(text)
            .map_err(|error| fail(line_of(text, error.span()), one_line(error.message())))?;
        let mut scenario: Self = serde_path_to_error::deserialize(parsed).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { line_of(text, error.inner().span()) } else { path };
            fail(field, one_line(error.inner().message()))
        })?;
        if scenario.trace_file.is_some() {
            return Err(fail("trace_file".into(), "can't be set in the file: --trace says it".into()));
        }
        if !scenario.name.is_empty() {
            return Err(fail("name".into(), "is the file's own name and can't be set in it".into()));
        }
        scenario.name = name.to_owned();
        scenario.apply(overrides);
        scenario.check().map_err(|(field, problem)| fail(field, problem))?;
        name::check(name).map_err(|problem| fail("file".into(), problem))?;
        Ok(scenario)
    }

    fn apply(&mut self, overrides: &Overrides) {
        if let Some(rate) = overrides.rate {
            self.warm_up.rate = rate;
            self.stages.iter_mut().for_each(|stage| stage.rate = rate);
        }
        self.pairs = overrides.pairs.unwrap_or(self.pairs);
        self.slice_ms = overrides.slice_ms.unwrap_or(self.slice_ms);
        self.seed = overrides.seed.unwrap_or(self.seed);
        self.doors = overrides.doors.unwrap_or(self.doors);
        self.warm_up.seconds = overrides.warm_up_seconds.unwrap_or(self.warm_up.seconds);
        self.think_time_ms = overrides.think_time_ms.unwrap_or(self.think_time_ms);
    }

    fn check(&self) -> Result<(), Fault> {
        within("connections", self.connections, 1, 10_000)?;
        within("in_flight", self.in_flight, self.connections.min(256), 100_000)?;
        let shares = self.doors.shares().map(|(_, share)| u64::from(share));
        within("doors", shares.iter().sum(), 1, 1_000_000_u64)?;
        check_slice("slice_ms", self.slice_ms)?;
        check_pairs("pairs", self.pairs)?;
        within("drain_ms", self.drain_ms, 100, 60_000)?;
        within("think_time_ms", self.think_time_ms, 1, 60_000)?;
        check_stages(self)?;
        if self.flows.is_empty() {
            return Err(("flows".into(), "must name at least one".into()));
        }
        self.solo.as_ref().map_or(Ok(()), solo::Settings::check)?;
        for (group, flows) in [("flows", &self.flows), ("warm_up_flows", &self.warm_up_flows)] {
            for (index, flow) in flows.iter().enumerate() {
                within(&format!("{group}[{index}].share"), flow.share, 1, 1_000_000)?;
                within(&format!("{group}[{index}].steps"), flow.steps.len(), 1, 32)?;
            }
        }
        plain::check(self)
    }

    /// Length of the warm-up in µs.
    pub fn warm_up_us(&self) -> u64 {
        micros(self.warm_up.seconds)
    }

    /// Length of its first part, which makes what `flows` need; the rest of it rehearses them.
    pub fn making_us(&self) -> u64 {
        self.warm_up_us() - micros(self.warm_up.seconds * REHEARSAL)
    }

    /// Length of the whole trace in µs: the warm-up and all slices.
    pub fn total_us(&self) -> u64 {
        self.warm_up_us() + self.pairs as u64 * self.slice_ms * 1000
    }
}

/// The part of a warm-up that rehearses what is to be measured.
const REHEARSAL: f64 = 0.25;

/// Seconds as whole µs.
pub fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

/// That a trace can be drawn by walking through the stages: those of a report, or multiplied, were never read from a file.
pub(crate) fn check_stages(scenario: &Scenario) -> Result<(), Fault> {
    let check = |field: String, stage: &Stage| {
        check_rate(&format!("{field}.rate"), stage.rate)?;
        check_seconds(&format!("{field}.seconds"), stage.seconds)
    };
    check("warm_up".into(), &scenario.warm_up)?;
    if scenario.stages.is_empty() {
        return Err(("stages".into(), "must name at least one".into()));
    }
    let mut stages = scenario.stages.iter().enumerate();
    stages.try_for_each(|(index, stage)| check(format!("stages[{index}]"), stage))
}

/// That a play of it has a length: of a report's, which was never read from a file.
pub(crate) fn check_lengths(scenario: &Scenario) -> Result<(), Fault> {
    check_slice("slice_ms", scenario.slice_ms)?;
    check_pairs("pairs", scenario.pairs)?;
    check_stages(scenario)
}

fn check_rate(field: &str, rate: f64) -> Result<(), Fault> {
    // Not a number is neither.
    if !(rate > 0.0 && rate <= MAX_RATE) {
        return Err((field.to_owned(), format!("must be over 0 and at most {MAX_RATE}, is {rate}")));
    }
    Ok(())
}

fn check_seconds(field: &str, seconds: f64) -> Result<(), Fault> {
    within(field, seconds, MIN_SECONDS, MAX_SECONDS)
}

/// The shortest that a slice may be, in ms.
pub const SLICE_MS_MIN: u64 = 50;

fn check_slice(field: &str, slice_ms: u64) -> Result<(), Fault> {
    within(field, slice_ms, SLICE_MS_MIN, 60_000)
}

fn check_pairs(field: &str, pairs: usize) -> Result<(), Fault> {
    within(field, pairs, 2, 10_000)
}

fn within<T: PartialOrd + Display>(field: &str, value: T, low: T, high: T) -> Result<(), Fault> {
    // Not a number is neither.
    if !(&low..=&high).contains(&&value) {
        return Err((field.to_owned(), format!("must be {low} to {high}, is {value}")));
    }
    Ok(())
}

/// A name without a slash or an ending is looked up in the scenarios' folder, from here or from the crate's place.
pub fn locate(name: &str) -> PathBuf {
    if name.contains('/') || name.contains('.') {
        return PathBuf::from(name);
    }
    let here = Path::new(FOLDER).join(format!("{name}.toml"));
    if here.exists() {
        return here;
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.toml"))
}

fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    format!("line {}", text[..start].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests;
