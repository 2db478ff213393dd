//! What the machine could do at most, measured on the cores of the comparison: hashes in a tight loop, the statements
//! without a service around them, a handler that does nothing. A service's figure is then a share of its limit.
//!
//! `hash`, `database` and `door` measure one kind each; here they take turns, so that a machine's mood hits all alike.

pub mod database;
pub mod door;
pub mod hash;
mod pinned;
mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use pinned::{on_cores, said_on_cores};
pub use text::table;

use crate::payments::{Bench, Pair};
use crate::spread::Spread;

/// Hashes of two languages, statements of two kinds, doors of two services.
pub const KINDS: usize = 6;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Of one measurement.
    pub length: Duration,
    /// Measurements of each kind.
    pub repetitions: usize,
    /// Connections to the bare handler.
    pub connections: usize,
}

/// All limits of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Length of one measurement in seconds.
    pub seconds: f64,
    /// One a kind and, where it matters, a service.
    pub rows: Vec<Limit>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// `hash_rust`, `database_sale` and so on.
    pub name: String,
    /// As a person calls it.
    pub label: String,
    /// Of the figure.
    pub unit: String,
    /// Over the repetitions; unset where it couldn't be measured.
    pub figure: Option<Spread>,
    /// How much was in use of what may be full, over all repetitions.
    pub full: Option<String>,
    /// Why there is no figure, and how to get it.
    pub missing: Option<String>,
}

impl Limit {
    fn measured(name: &str, label: String, unit: &str, values: &[f64], full: Option<String>) -> Self {
        let figure = Spread::of(values);
        Self { name: name.into(), label, unit: unit.into(), figure, full, missing: None }
    }

    fn missing(name: &str, label: String, unit: &str, why: String) -> Self {
        Self { name: name.into(), label, unit: unit.into(), figure: None, full: None, missing: Some(why) }
    }
}

impl Limits {
    /// The limit of this name, where it was measured.
    pub fn figure(&self, name: &str) -> Option<&Spread> {
        self.rows.iter().find(|row| row.name == name)?.figure.as_ref()
    }
}

/// Measures all of them beside `bench`; `say` hears what is being done.
pub async fn measure(bench: &Bench, effort: &Effort, say: &dyn Fn(&str)) -> anyhow::Result<Limits> {
    let layout = bench.layout();
    let mut hashes = hash::Hashes::find(&layout.service, bench.hash_rounds()?);
    let mut database = database::Statements::prepare(bench).await?;
    let pairing = bench.pairing("limits", &Pair::default()).await?;
    let mut doors = door::Doors::of(&pairing.contenders, &layout.generator, effort.connections)?;
    for repetition in 1..=effort.repetitions {
        say(&format!("limits: repetition {repetition} of {}", effort.repetitions));
        hashes.repeat(effort.length).await?;
        doors.repeat(effort.length).await?;
        database.repeat(effort.length).await?;
    }
    pairing.stop().await;
    let rows = [hashes.limits(), database.limits(), doors.limits()].concat();
    Ok(Limits { seconds: effort.length.as_secs_f64(), rows })
}
