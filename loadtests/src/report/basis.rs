//! What a scenario's figures are made of beside its slices: kept in report.json, so that each figure can be computed
//! again (`loadtest verify`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::{Look, SupportCores};
use crate::validity::{Build, Invariant};

/// Counts and settings that no slice holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// Names of the contenders, as the bounds' texts have them.
    pub labels: Vec<String>,
    /// Resamples of each bootstrap; they are drawn from the scenario's seed.
    pub resamples: usize,
    /// Every operation by door, in the workload's order.
    pub operations: Vec<String>,
    /// Those that the trace asks for after the warm-up.
    pub asked: Vec<String>,
    /// Slices that were played, those of an incomplete pair included.
    pub slices_played: usize,
    /// Pairs that were played while the host took too much of the machine, by their places in the plan: no figure is made
    /// of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<usize>,
    /// Where what stands around runs.
    pub support_cores: SupportCores,
    /// Build profile of the program that measured.
    pub generator_profile: String,
    /// What the contenders say of themselves.
    pub builds: Vec<Build>,
    /// Bounds that the caller allowed to be missed.
    pub allowed: Vec<String>,
    /// Whether it was a short run, to see that everything works.
    pub trial: bool,
    /// Bounds that can't be looked at, by name, and why.
    pub inapplicable: Vec<(String, String)>,
    /// The least that the work of an operation takes, in µs, where that is known.
    pub floors: Vec<(String, u64)>,
    /// Connections that are to be open to each contender.
    pub connections: u64,
    /// One a contender.
    pub contenders: Vec<Aside>,
}

/// What belongs to one contender and was not measured: the warm-up, the slices without their pair or set aside, and what
/// was found in its database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Aside {
    /// Requests sent in warm-up, incomplete pairs and those set aside.
    pub sent: u64,
    /// Replies read there.
    pub replies: u64,
    /// No room there, but in pairs set aside.
    pub dropped: u64,
    /// Connections opened again there.
    pub reopened: u64,
    /// Those of the replies that came between the two `looks`.
    #[serde(default)]
    pub between: u64,
    /// Unexpected replies and failures there, by kind.
    pub unexpected: BTreeMap<String, u64>,
    /// What replies say was made, and the rows found of it: name, replies, rows.
    pub effects: Vec<(String, u64, u64)>,
    /// Requests that the service says it got in all, warm-up included; unset where it doesn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<u64>,
    /// What must always hold of the rows.
    pub invariants: Vec<Invariant>,
    /// The service before the first slice and after the last; unset where its process isn't known.
    pub looks: Option<[Look; 2]>,
}
