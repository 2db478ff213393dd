//! How much one service takes before a scenario's bound is missed, and what was full then.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use stack::instance::Twin;
use tokio::sync::watch;

use super::bench::Bench;
use super::pair::label;
use super::service::{Service, Special};
use super::{Payments, metrics};
use crate::budget;
use crate::command::folder::Interrupted;
use crate::draw::Draw;
use crate::limits::database::CONNECTIONS;
use crate::report::wording::number;
use crate::scenario::{Scenario, Stage};
use crate::solo::{
    Block, Capacity, Order, Probe, Reach, Search, ServiceCapacity, Used, aside, missed, overall,
};
use crate::stats::rounded;
use crate::surroundings::{Care, Late, Meanwhile, Surroundings, undisturbed};
use crate::trace::Trace;

/// Flows a second: more than one core of either service takes of anything.
const MOST: f64 = 20_000.0;
const LEAST: f64 = 1.0;
/// Of a trial's warm-up, three quarters of which make what its load is about.
const MAKING_SECONDS: f64 = 3.0;
/// The first rate where the scenario has none of its own.
const START: f64 = 50.0;

/// Trials of a search at most: more than any that doesn't go back and forth needs.
pub const TRIALS: usize = 30;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Length of a trial's load; its warm-up is a quarter of that.
    pub trial: Duration,
    /// Searches of each service.
    pub blocks: usize,
    /// How close the ends of a bracket are: the upper by the lower.
    pub resolution: f64,
    /// How often the lower end is asked again.
    pub confirmations: usize,
    /// Trials of a search at most.
    pub trials: usize,
    /// The order of the services in the blocks and all trials' traces are drawn from it.
    pub seed: u64,
}

impl Effort {
    /// For a figure that only other rates are made of; the seed is the scenario's.
    pub fn quick(seed: u64) -> Self {
        Self {
            trial: Duration::from_secs(4),
            blocks: 1,
            resolution: 1.1,
            confirmations: 1,
            trials: TRIALS,
            seed,
        }
    }

    /// Length of the searches of both services, about, in seconds.
    pub fn seconds(&self, scenario: &Scenario) -> f64 {
        2.0 * self.blocks as f64 * self.search_seconds(scenario)
    }

    /// Length of one search, about, in seconds.
    pub fn search_seconds(&self, scenario: &Scenario) -> f64 {
        let one = trial(scenario, START, self.trial, self.seed);
        budget::search(self.trial.as_secs_f64() + one.warm_up.seconds, self.resolution, self.trials)
    }
}

/// What all searches of a scenario have in common.
pub struct Searching<'a> {
    /// What stands around.
    pub bench: &'a Bench,
    /// What is played, at other rates.
    pub scenario: &'a Scenario,
    /// How thoroughly.
    pub effort: Effort,
    /// How strictly trials are judged.
    pub care: &'a Care,
    /// Becomes true where the whole run is to end.
    pub stopped: &'a watch::Receiver<bool>,
    /// Hears what is being done.
    pub say: &'a dyn Fn(&str),
}

impl Searching<'_> {
    /// Searches in blocks of both services, in an order drawn for each block.
    pub async fn capacity(&self) -> anyhow::Result<Capacity> {
        let mut draw = Draw::new(self.effort.seed, "blocks");
        let (mut rust, mut go, mut turn, mut seen) = (Vec::new(), Vec::new(), 0, Vec::new());
        for _ in 0..self.effort.blocks {
            let order = if draw.coin() { [Twin::Rust, Twin::Go] } else { [Twin::Go, Twin::Rust] };
            for twin in order {
                let found = self.block(twin, turn, &mut seen).await?;
                turn += 1;
                match twin {
                    Twin::Rust => rust.push(found),
                    Twin::Go => go.push(found),
                }
            }
        }
        Ok(Capacity {
            scenario: self.scenario.name.clone(),
            p99_ms: self.p99_ms()?,
            trial_seconds: self.effort.trial.as_secs_f64(),
            reach: self.reach(),
            services: vec![
                ServiceCapacity::of(label(Twin::Rust), rust),
                ServiceCapacity::of(label(Twin::Go), go),
            ],
            surroundings: Surroundings::of(seen, self.care),
        })
    }

    /// One search, on a fresh service with a fresh database; `seen` gets what went on during each of its trials.
    pub async fn block(&self, twin: Twin, turn: usize, seen: &mut Vec<Meanwhile>) -> anyhow::Result<Block> {
        let home = self.bench.home(twin, &format!("{}_capacity_{turn}", self.scenario.name)).await?;
        let service = self.bench.service(&home, &Special::default()).await?;
        let found = self.search(twin, &service, turn, seen).await.map_err(|error| service.explain(error));
        service.stop().await;
        found
    }

    async fn search(
        &self,
        twin: Twin,
        service: &Service,
        turn: usize,
        seen: &mut Vec<Meanwhile>,
    ) -> anyhow::Result<Block> {
        let mut search = Search::new(self.reach());
        let (mut probes, mut asked) = (Vec::new(), 0);
        while let Some(rate) = search.next() {
            let what = format!("{}, search {}, trial {}", label(twin), turn + 1, probes.len() + 1);
            let measure = async |_| {
                if *self.stopped.borrow() {
                    bail!(Interrupted);
                }
                // Another seed each, or the keys of one trial would be the next one's, and answered from what is stored.
                let seed = self.effort.seed.wrapping_add((turn * 1000 + asked) as u64);
                asked += 1;
                self.probe(service, rate, seed, &what).await
            };
            let (probe, meanwhile) = undisturbed(self.care, self.say, measure).await?;
            seen.push(meanwhile);
            (self.say)(&format!(
                "{}: {} at {} flows/s: {}",
                self.scenario.name,
                label(twin),
                number(rate),
                if probe.held { "kept".into() } else { probe.missed.join(", ") }
            ));
            search.tell(rate, probe.outcome());
            probes.push(probe);
        }
        Ok(Block::of(turn, self.reach(), probes))
    }

    fn reach(&self) -> Reach {
        let Effort { resolution, confirmations, trials, .. } = self.effort;
        let multiples = self.scenario.solo.as_ref().is_some_and(|solo| solo.times_capacity);
        let start = if multiples { START } else { self.scenario.stages[0].rate };
        Reach { start, least: LEAST, most: MOST, resolution, confirmations, trials }
    }

    async fn probe(
        &self,
        service: &Service,
        rate: f64,
        seed: u64,
        what: &str,
    ) -> anyhow::Result<(Probe, Meanwhile)> {
        let scenario = trial(self.scenario, rate, self.effort.trial, seed);
        let trace = Arc::new(Trace::draw(&scenario.name, &scenario, &Payments)?);
        let warm = Arc::new(Mutex::new(String::new()));
        let order = Order { settle: service.look(&warm), ..service.order(self.bench, &scenario, &trace) };
        let played = aside(order, self.stopped, &mut |_| ()).await?;
        let after = service.metrics().await?;
        let before = warm.lock().map_err(|_| anyhow!("a look at /metrics panicked"))?.clone();
        let layout = self.bench.layout();
        let load = overall(&scenario, &trace, &played)?;
        let wall = played.usage.wall_ns.max(1) as f64;
        let share = |resource: &str, share: f64| Used { resource: resource.into(), share: rounded(share) };
        let cores = layout.service.len() as f64;
        let busy = |family: &str| {
            metrics::sum(&after, family, &metrics::OF_WORKERS)
                - metrics::sum(&before, family, &metrics::OF_WORKERS)
        };
        let mut used = vec![
            share("the service’s core", played.usage.contenders_ns as f64 / wall / cores),
            share("the generator’s core", played.usage.generator_ns as f64 / wall),
            share(
                "the cores of Postgres and the card network",
                played.usage.support_share(layout.support_cores()),
            ),
            share("Postgres connections", busy(metrics::STATEMENTS) * 1e9 / wall / f64::from(CONNECTIONS)),
            share("hash permits", busy(metrics::HASHES) * 1e9 / wall / cores),
        ];
        used.sort_by(|one, other| other.share.total_cmp(&one.share));
        let missed = missed(&load, self.p99_ms()?)?;
        let held = missed.is_empty();
        let meanwhile = Meanwhile {
            late: Some(Late::of(&played.record.lag, !held)?),
            ..Meanwhile::of(what, &played.usage, played.warm_up.iter().chain([&played.record]))
        };
        Ok((Probe { rate, held, missed, load, used }, meanwhile))
    }

    fn p99_ms(&self) -> anyhow::Result<f64> {
        let named = self.scenario.solo.as_ref().and_then(|solo| solo.p99_ms);
        named.with_context(|| {
            format!("{}: solo.p99_ms: isn’t there, so there is no bound to keep", self.scenario.name)
        })
    }
}

/// The same mix at one rate for so long, a quarter of it as the warm-up.
fn trial(scenario: &Scenario, rate: f64, length: Duration, seed: u64) -> Scenario {
    let seconds = length.as_secs_f64();
    // A warm-up that makes what the load is about keeps its own rate, and lasts long enough to make some.
    let warm_up = match scenario.warm_up_flows.is_empty() {
        true => Stage { rate, seconds: seconds / 4.0 },
        false => Stage { rate: scenario.warm_up.rate, seconds: scenario.warm_up.seconds.min(MAKING_SECONDS) },
    };
    Scenario {
        seed,
        slice_ms: length.as_millis() as u64,
        pairs: 1,
        warm_up,
        stages: vec![Stage { rate, seconds }],
        ..scenario.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_has_one_rate_and_a_warm_up_of_a_quarter() {
        let scenario = Scenario::load("checkout", &crate::scenario::Overrides::default()).unwrap();
        let one = trial(&scenario, 70.0, Duration::from_secs(4), 9);
        assert_eq!((one.total_us(), one.warm_up_us(), one.stages[0].rate), (5_000_000, 1_000_000, 70.0));
        let making = Scenario::load("sale", &crate::scenario::Overrides::default()).unwrap();
        let other = trial(&making, 700.0, Duration::from_secs(4), 9);
        assert_eq!((other.warm_up_us(), other.warm_up.rate, other.stages[0].rate), (3_000_000, 100.0, 700.0));
    }
}
