//! Request traces: a scenario turned into lines of JSON, one request a line, the same bytes for the same scenario and
//! seed on every machine.

mod drawing;
mod reading;

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::scenario::{Parameters, Scenario, ScenarioError};
use crate::workload::{Operation, Workload};

/// How a request gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC.
    Grpc,
}

impl Door {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Http, Self::Http2, Self::Grpc];

    /// As a person calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Http => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
        }
    }
}

/// What requests are told apart by in a report: the operation and, where a trace takes several, the door.
#[derive(Debug, Clone, Default)]
pub struct Kinds {
    names: Vec<String>,
    operations: Vec<String>,
    of_lines: Vec<u16>,
}

impl Kinds {
    /// Of a trace's lines, in the order of `operations`, by door.
    pub fn of(trace: &Trace, operations: &[Operation]) -> Self {
        let doors = trace.doors();
        let operations = operations.iter().map(|operation| operation.name);
        let name = |operation: &str, door: Door| match doors.len() {
            0 | 1 => operation.to_owned(),
            _ => format!("{operation}, {}", door.label()),
        };
        let all: Vec<_> = operations.flat_map(|name| doors.iter().map(move |door| (name, *door))).collect();
        let kind = |line: &Line| all.iter().position(|kind| *kind == (line.operation.as_str(), line.door));
        Self {
            names: all.iter().map(|(operation, door)| name(operation, *door)).collect(),
            operations: all.iter().map(|(operation, _)| (*operation).to_owned()).collect(),
            // A trace of this workload has no other operations; another would count as the first.
            of_lines: trace.lines.iter().map(|line| kind(line).unwrap_or(0) as u16).collect(),
        }
    }

    /// Of those of which `floor_us` knows it by their operation, the least that their work takes, in µs.
    pub fn floors(&self, floor_us: impl Fn(&str) -> Option<u64>) -> Vec<(String, u64)> {
        let floor = |(name, operation): (&String, &String)| Some((name.clone(), floor_us(operation)?));
        self.names.iter().zip(&self.operations).filter_map(floor).collect()
    }

    /// As reports call them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Of a line, by its place in the trace.
    pub fn of_line(&self, index: usize) -> usize {
        usize::from(self.of_lines[index])
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// When it is to be sent, in µs from the trace's begin.
    pub due_us: u64,
    /// Its number in the trace, from 0, by due time.
    pub id: u64,
    /// The door it takes.
    pub door: Door,
    /// The workload's operation.
    pub operation: String,
    /// What the operation needs to know.
    pub parameters: Parameters,
    /// The earlier request whose result it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<u64>,
}

/// All requests of a scenario, in order of due time.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The requests.
    pub lines: Vec<Line>,
    /// SHA-256 of the bytes, in hex: stands in every report.
    pub sha256: String,
}

impl Trace {
    /// Draws the trace of a scenario.
    pub fn draw(file: &str, scenario: &Scenario, workload: &dyn Workload) -> Result<Self, ScenarioError> {
        Ok(Self::from_lines(drawing::lines(file, scenario, workload)?))
    }

    fn from_lines(lines: Vec<Line>) -> Self {
        let mut hash = Sha256::new();
        for line in &lines {
            hash.update(render(line));
        }
        Self { lines, sha256: hex::encode(hash.finalize()) }
    }

    /// Refuses settings of a scenario that its workload doesn't know: what is drawn has been checked.
    pub fn check_settings(
        file: &str,
        scenario: &Scenario,
        workload: &dyn Workload,
    ) -> Result<(), ScenarioError> {
        drawing::check_settings(file, scenario, workload)
    }

    /// Writes the trace as JSON Lines.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        self.lines.iter().try_for_each(|line| out.write_all(render(line).as_bytes()))
    }

    /// Reads a trace that `write` wrote, to be played as `scenario` says.
    pub fn read(path: &Path, scenario: &Scenario, workload: &dyn Workload) -> Result<Self, ScenarioError> {
        Ok(Self::from_lines(reading::lines(path, scenario, workload)?))
    }

    /// The doors that its lines take.
    pub fn doors(&self) -> Vec<Door> {
        Door::ALL.into_iter().filter(|door| self.lines.iter().any(|line| line.door == *door)).collect()
    }

    /// The lines due from `from_us` up to, not including, `to_us`.
    pub fn window(&self, from_us: u64, to_us: u64) -> Range<usize> {
        let at = |us| self.lines.partition_point(|line| line.due_us < us);
        at(from_us)..at(to_us)
    }
}

fn render(line: &Line) -> String {
    // A map of text keys and plain values: it can't fail to serialise.
    serde_json::to_string(line).unwrap_or_default() + "\n"
}
