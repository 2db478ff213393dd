//! Makes the report of what was played on one service.

use std::collections::BTreeMap;

use super::model::{MemoryOverTime, StageReport};
use super::play::{Played, Sample};
use super::watch::{Stage, Tally, stages, tally};
use crate::compare::{Generator, SupportCores};
use crate::environment;
use crate::histogram::{Recorder, Sparse, encode};
use crate::scenario::Scenario;
use crate::spread::slope;
use crate::stats::{SAMPLES_BEYOND, rounded};
use crate::trace::{Kinds, Trace};
use crate::validity::{self, Bound, Build, Counts, Evidence, Invariant, name};

const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];
const MIB: f64 = 1_048_576.0;

/// Everything that a play's bounds are about and that isn't in it.
pub struct Judged<'a> {
    /// What was played.
    pub scenario: &'a Scenario,
    /// Its trace.
    pub trace: &'a Trace,
    /// The service, as sentences call it.
    pub label: String,
    /// What its requests are told apart by.
    pub kinds: Kinds,
    /// What was found on the other side, in the order of the effects.
    pub rows: Vec<u64>,
    /// What must hold of all that was found there.
    pub invariants: Vec<Invariant>,
    /// What it says of itself.
    pub build: Build,
    /// Where what stands around runs.
    pub support_cores: SupportCores,
    /// The least that the work of a kind takes, in µs, where that is known.
    pub floors: Vec<(String, u64)>,
    /// Bounds that don't void.
    pub allowed: &'a [String],
    /// Seconds long, to see that everything works.
    pub trial: bool,
}

/// The whole load, its stages, and every bound.
pub fn judge(
    judged: &Judged<'_>,
    played: &Played,
) -> anyhow::Result<(StageReport, Vec<StageReport>, Vec<Bound>)> {
    let stages = stages(judged.scenario);
    let from_us = judged.scenario.warm_up_us();
    let tallies = tally(judged.trace, &stages, &played.seen, from_us, played.record.begin_ns);
    let reports = stages.iter().zip(&tallies).map(|(stage, tally)| stage_report(stage, tally, from_us));
    let reports: Vec<StageReport> = reports.collect::<anyhow::Result<_>>()?;
    let whole = overall(judged.scenario, &reports, tallies)?;
    let sheds = judged.scenario.solo.as_ref().is_some_and(|solo| solo.sheds);
    let mut bounds = validity::judge(&evidence(judged, played, &whole), judged.allowed);
    bounds.retain(|bound| !(sheds && [name::RATE, name::SHED].contains(&bound.name.as_str())));
    Ok((whole, reports, bounds))
}

impl Played {
    /// How the generator ran.
    pub fn generator(&self) -> Generator {
        let cpu_us = self.usage.generator_ns as f64 / 1e3;
        Generator {
            sender_policy: self.policy.clone(),
            cpu_us_a_request: rounded(cpu_us / self.record.sent.max(1) as f64),
        }
    }

    /// CPU of the service a reply, in µs.
    pub fn cpu_us_a_reply(&self) -> f64 {
        rounded(self.usage.contenders_ns as f64 / 1e3 / self.record.replies.max(1) as f64)
    }

    /// Context switches of the service a reply.
    pub fn switches_a_reply(&self) -> f64 {
        rounded(self.switches as f64 / self.record.replies.max(1) as f64)
    }

    /// The service's memory.
    pub fn memory(&self) -> MemoryOverTime {
        let point = |sample: &Sample| (sample.at_ms as f64 / 3_600_000.0, sample.rss_bytes as f64 / MIB);
        let points: Vec<_> = self.samples.iter().map(point).collect();
        MemoryOverTime { samples: self.samples.clone(), slope_mib_an_hour: slope(&points) }
    }
}

fn stage_report(stage: &Stage, tally: &Tally, load_from_us: u64) -> anyhow::Result<StageReport> {
    let seconds = |us: u64| us as f64 / 1e6;
    Ok(StageReport {
        rate: stage.rate,
        from_seconds: seconds(stage.from_us - load_from_us),
        seconds: seconds(stage.to_us - stage.from_us),
        offered: tally.offered,
        expected: tally.expected,
        shed: tally.shed,
        unexpected: tally.unexpected,
        latency_ms: percentiles(&tally.latency),
        latency: encode(&tally.latency)?,
    })
}

/// p50 and so on in ms; one with too few beyond is no figure.
pub fn percentiles(latency: &Recorder) -> [Option<f64>; 4] {
    let sparse = Sparse::of(latency);
    PERCENTILES.map(|percentile| {
        let beyond = sparse.count() as f64 * (100.0 - percentile) / 100.0;
        let told = beyond >= SAMPLES_BEYOND as f64;
        sparse.percentile(percentile).filter(|_| told).map(|us| rounded(us as f64 / 1e3))
    })
}

fn overall(scenario: &Scenario, stages: &[StageReport], tallies: Vec<Tally>) -> anyhow::Result<StageReport> {
    let mut latency = crate::histogram::recorder();
    for tally in &tallies {
        latency.add(&tally.latency)?;
    }
    let sum = |of: fn(&StageReport) -> u64| stages.iter().map(of).sum();
    let seconds = (scenario.total_us() - scenario.warm_up_us()) as f64 / 1e6;
    let flows: f64 = stages.iter().map(|stage| stage.rate * stage.seconds).sum();
    Ok(StageReport {
        rate: rounded(flows / seconds),
        from_seconds: 0.0,
        seconds,
        offered: sum(|stage| stage.offered),
        expected: sum(|stage| stage.expected),
        shed: sum(|stage| stage.shed),
        unexpected: sum(|stage| stage.unexpected),
        latency_ms: percentiles(&latency),
        latency: encode(&latency)?,
    })
}

fn evidence(judged: &Judged<'_>, played: &Played, whole: &StageReport) -> Evidence {
    let usage = &played.usage;
    let wall = usage.wall_ns.max(1) as f64;
    Evidence {
        contenders: vec![counts(judged, played, whole)],
        generator_share: usage.generator_ns as f64 / wall,
        support_share: usage.support_share(judged.support_cores),
        others_cores: usage.others_ns() as f64 / wall,
        stolen_cores: usage.stolen_ns as f64 / wall,
        builds: vec![judged.build.clone()],
        generator_profile: environment::build().into(),
        slices: (1, usize::from(played.complete)),
        trial: judged.trial,
        inapplicable: Vec::new(),
    }
}

fn counts(judged: &Judged<'_>, played: &Played, whole: &StageReport) -> Counts {
    let (record, warm_up) = (&played.record, &played.warm_up);
    let mut unexpected: BTreeMap<String, u64> = BTreeMap::new();
    for (kind, count) in warm_up.kinds.iter().chain(&record.kinds) {
        *unexpected.entry(kind.clone()).or_default() += count;
    }
    let window = judged.trace.window(judged.scenario.warm_up_us(), judged.scenario.total_us());
    let asked = |kind: usize| window.clone().any(|line| judged.kinds.of_line(line) == kind);
    let named = judged.kinds.names().iter().enumerate().filter(|(kind, _)| asked(*kind));
    let effects = played.effects.iter().zip(&judged.rows);
    let fastest = |(name, floor_us): &(String, u64)| {
        let kind = judged.kinds.names().iter().position(|kind| kind == name)?;
        Some((name.clone(), *floor_us, Sparse::of(&record.latency[kind]).least()?))
    };
    Counts {
        name: judged.label.clone(),
        offered: record.offered,
        offered_rate: whole.offered_rate(),
        achieved_rate: record.replies as f64 * 1e9 / record.answering_ns.max(1) as f64,
        sent: warm_up.sent + record.sent,
        replies: warm_up.replies + record.replies,
        skipped: record.skipped,
        shed: record.shed,
        dropped: warm_up.dropped + record.dropped,
        answered: named.map(|(kind, name)| (name.clone(), record.expected[kind])).collect(),
        unexpected: unexpected.into_iter().collect(),
        invariants: judged.invariants.clone(),
        lag_p99_us: Sparse::of(&record.lag).percentile(99.0).unwrap_or(0) as f64,
        reopened: warm_up.reopened + record.reopened,
        open: (record.open, judged.scenario.connections as u64 * judged.trace.doors().len() as u64),
        seconds: record.length_ns as f64 / 1e9,
        in_flight_seconds: record.in_flight_ns as f64 / 1e9,
        latency_seconds: (record.all_latency().sum() * 1e3 + record.untimed_ns as f64) / 1e9,
        fastest: judged.floors.iter().filter_map(fastest).collect(),
        effects: effects.map(|(effect, rows)| (effect.name.to_owned(), effect.count, *rows)).collect(),
    }
}
