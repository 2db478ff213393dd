//! What the machine could do at most, measured on the cores of the comparison: hashes in a tight loop, the statements
//! without a service around them, a handler that does nothing; and what each service comes to, as a share of its limit.
//!
//! `hash`, `database`, `door` and `saturation` measure one kind each; here they take turns, so that a machine's mood hits
//! all alike.

mod between;
pub mod database;
pub mod door;
pub mod hash;
pub mod looking;
mod pinned;
pub mod saturation;
mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stack::instance::Twin;

pub use between::{Between, between};
pub use pinned::{on_cores, said_on_cores};
use saturation::{KINDS as SATURATED, Saturated};
pub use text::table;

use crate::compare::{Contender, Support};
use crate::payments::{Bench, Special};
use crate::spread::Spread;
use crate::surroundings::{Care, Meanwhile, Since, Surroundings, undisturbed};

/// Hashes of two languages, statements of two kinds, doors of two services; three kinds of requests to two services.
pub const KINDS: usize = 12;

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
    /// One a kind of request and service.
    #[serde(default)]
    pub saturations: Vec<Saturation>,
    /// What went on meanwhile.
    #[serde(default)]
    pub surroundings: Surroundings,
}

/// What a service answered at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// `saturated_tokenize_rust` and so on.
    pub name: String,
    /// As a person calls it.
    pub label: String,
    /// Of the rate and of its limit.
    pub unit: String,
    /// Over the repetitions.
    pub rate: Spread,
    /// CPU of the service a reply, in µs.
    pub cpu_us: Spread,
    /// The limit, as a person calls it.
    pub limit: String,
    /// Of the limit as it was measured in the same repetition, from 0 to 1; unset where that is missing.
    pub share: Option<Spread>,
    /// How busy the service's cores and the others were.
    pub full: String,
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
    /// What a rate is of it, each as measured in the same repetition; nothing where it is missing.
    pub fn share(&self, rate: &Spread) -> Option<Spread> {
        let pairs = rate.values.iter().zip(&self.figure.as_ref()?.values);
        Spread::of(&pairs.map(|(rate, limit)| rate / limit).collect::<Vec<_>>())
    }

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
pub async fn measure(
    bench: &Bench,
    effort: &Effort,
    care: &Care,
    say: &dyn Fn(&str),
) -> anyhow::Result<Limits> {
    let layout = bench.layout();
    let mut hashes = hash::Hashes::find(&layout.service, bench.hash_rounds()?);
    let mut database = database::Statements::prepare(bench).await?;
    let special = Special { env: saturation::patient(), ..Special::default() };
    let mut services = Vec::new();
    for twin in Twin::ALL {
        services.push(bench.service(&bench.home(twin, "limits").await?, &special).await?);
    }
    let contenders: Vec<_> = services.iter().map(|service| service.contender.clone()).collect();
    let mut doors = door::Doors::of(&contenders, &layout.generator, effort.connections)?;
    let mut saturated =
        Saturated::of(&SATURATED, &contenders, bench.support(), layout.support_cores(), &layout.generator);
    let support = bench.support();
    let turns = Turns { length: effort.length, care, say, services: &contenders, support: &support };
    let mut seen = Vec::new();
    for repetition in 1..=effort.repetitions {
        say(&format!("limits: repetition {repetition} of {}", effort.repetitions));
        seen.push(turns.one(&mut hashes, repetition).await?);
        seen.push(turns.one(&mut doors, repetition).await?);
        if database.is_there() {
            seen.push(turns.one(&mut database, repetition).await?);
        }
        seen.push(turns.one(&mut saturated, repetition).await?);
    }
    for service in services {
        service.stop().await;
    }
    let rows = [hashes.limits(), database.limits(), doors.limits()].concat();
    let saturations = saturated.rows(&rows);
    let surroundings = Surroundings::of(seen, care);
    Ok(Limits { seconds: effort.length.as_secs_f64(), rows, saturations, surroundings })
}

/// What is measured in turns, each of which can be taken back.
pub(crate) trait InTurns {
    /// As a person calls it.
    const WHAT: &'static str;

    /// One more.
    async fn repeat(&mut self, length: Duration) -> anyhow::Result<()>;

    /// Takes back the last one.
    fn take_back(&mut self);
}

/// What turns have in common.
pub(crate) struct Turns<'a> {
    length: Duration,
    care: &'a Care,
    say: &'a dyn Fn(&str),
    services: &'a [Contender],
    support: &'a [Support],
}

impl Turns<'_> {
    /// One turn; one that was disturbed is taken back and made again.
    async fn one<T: InTurns>(&self, of: &mut T, repetition: usize) -> anyhow::Result<Meanwhile> {
        let what = format!("{}, repetition {repetition}", T::WHAT);
        let measure = async |again: u32| {
            if again > 0 {
                of.take_back();
            }
            let since = Since::now(self.services, self.support)?;
            of.repeat(self.length).await?;
            Ok(((), since.until_now(&what)?))
        };
        Ok(undisturbed(self.care, self.say, measure).await?.1)
    }
}
