//! What is known of a run while it lasts.

use std::time::{Duration, Instant};

use crate::compare::{Event, Seen};
use crate::scenario::Scenario;
use crate::validity::{Bound, Counts, Evidence, judge, name};

/// Bounds that can be looked at before the end.
const SO_FAR: [&str; 7] =
    [name::UNEXPECTED, name::LAG, name::RATE, name::SKIPPED, name::SHED, name::DROPPED, name::GENERATOR];

/// All of it.
#[derive(Debug, Clone)]
pub struct State {
    /// When it began.
    pub begun: Instant,
    /// What is being done.
    pub doing: String,
    /// What was said and stays.
    pub lines: Vec<String>,
    /// The scenario that is played.
    pub act: Option<Act>,
    /// A signal came: it is being ended.
    pub interrupted: bool,
}

impl State {
    /// Nothing yet.
    pub fn new(begun: Instant) -> Self {
        Self { begun, doing: String::new(), lines: Vec::new(), act: None, interrupted: false }
    }
}

/// A scenario being played.
#[derive(Debug, Clone)]
pub struct Act {
    /// For a person.
    pub name: String,
    /// Of the two, or of the one that is played alone.
    pub labels: Vec<String>,
    /// Played, and of how many, of all together.
    pub slices: (usize, usize),
    /// What they are, for a person.
    pub slices_are: &'static str,
    /// When it began.
    pub begun: Instant,
    /// In the order of the labels.
    pub sides: Vec<Side>,
    /// Of all warm-ups and slices, as the scenario says.
    planned: Duration,
    slice_ms: u64,
    /// Bounds that can be looked at so far.
    bounds: Vec<&'static str>,
    /// When the slices began, and the last ended.
    played: Option<(Instant, Instant)>,
}

/// One of the two so far.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// Slices played.
    pub slices: u64,
    /// What they gave.
    pub seen: Seen,
    /// Pair and median in ms, a point a slice.
    pub medians: Vec<(f64, f64)>,
}

impl Act {
    /// Before anything is played.
    pub fn new(name: &str, scenario: &Scenario, labels: [String; 2]) -> Self {
        Self {
            name: name.to_owned(),
            slices: (0, scenario.pairs * 2),
            slices_are: "slices",
            begun: Instant::now(),
            sides: vec![Side::default(); labels.len()],
            labels: labels.into(),
            planned: Duration::from_micros(scenario.total_us()) * 2,
            slice_ms: scenario.slice_ms,
            bounds: SO_FAR.to_vec(),
            played: None,
        }
    }

    /// The same of one service alone, whose load is told a second at a time.
    pub fn alone(name: &str, scenario: &Scenario, label: &str) -> Self {
        let load_us = scenario.total_us() - scenario.warm_up_us();
        let solo = scenario.solo.as_ref();
        // How late a request leaves isn't told of each second.
        let told = |bound: &&str| *bound != name::LAG && !solo.is_some_and(|solo| solo.waives(bound));
        Self {
            name: name.to_owned(),
            labels: vec![label.to_owned()],
            slices: (0, load_us.div_ceil(1_000_000) as usize),
            slices_are: "seconds",
            begun: Instant::now(),
            sides: vec![Side::default()],
            planned: Duration::from_micros(scenario.total_us()),
            slice_ms: 1000,
            bounds: SO_FAR.into_iter().filter(told).collect(),
            played: None,
        }
    }

    /// Takes in what happened.
    pub fn event(&mut self, event: Event) {
        match event {
            // The slices begin when both are warm.
            Event::Warm(_) => self.played = Some((Instant::now(), Instant::now())),
            Event::Slice(seen) => {
                // Waiting for the last replies may take longer than was planned.
                self.slices.0 = (self.slices.0 + 1).min(self.slices.1);
                self.played = self.played.map(|(begun, _)| (begun, Instant::now()));
                self.sides[seen.contender].take(&seen);
            }
        }
    }

    /// Until the last slice: by how long those took that were played, or by the plan.
    pub fn left(&self, now: Instant) -> Duration {
        let (done, all) = self.slices;
        match self.played {
            Some((begun, last)) if done > 0 => {
                let rest = last.duration_since(begun).mul_f64((all - done.min(all)) as f64 / done as f64);
                rest.saturating_sub(now.saturating_duration_since(last))
            }
            _ => self.planned.saturating_sub(now.saturating_duration_since(self.begun)),
        }
    }

    /// The bounds that can be looked at so far.
    pub fn validity(&self) -> Vec<Bound> {
        let counts = |(side, label): (&Side, &String)| side.counts(label, self.slice_ms);
        let generator =
            |of: fn((u64, u64)) -> u64| self.sides.iter().map(|side| of(side.seen.generator)).sum::<u64>();
        let evidence = Evidence {
            contenders: self.sides.iter().zip(&self.labels).map(counts).collect(),
            generator_share: generator(|of| of.0) as f64 / generator(|of| of.1).max(1) as f64,
            ..Evidence::default()
        };
        let all = judge(&evidence, &[]);
        let of = |name: &&str| all.iter().find(|bound| bound.name == **name).cloned();
        self.bounds.iter().filter_map(of).collect()
    }
}

impl Side {
    fn take(&mut self, seen: &Seen) {
        self.slices += 1;
        self.seen.add(seen);
        let median = seen.latency.percentile(50.0).map(|us| (seen.pair as f64 + 1.0, us as f64 / 1e3));
        self.medians.extend(median);
    }

    fn counts(&self, label: &str, slice_ms: u64) -> Counts {
        let seen = &self.seen;
        let unexpected = (seen.unexpected > 0).then(|| ("unexpected".to_owned(), seen.unexpected));
        Counts {
            name: label.to_owned(),
            offered: seen.offered,
            offered_rate: seen.offered as f64 * 1e3 / (self.slices * slice_ms).max(1) as f64,
            achieved_rate: seen.rate(),
            skipped: seen.skipped,
            shed: seen.shed,
            dropped: seen.dropped,
            unexpected: unexpected.into_iter().collect(),
            lag_p99_us: seen.lag.percentile(99.0).unwrap_or(0) as f64,
            ..Counts::default()
        }
    }
}
