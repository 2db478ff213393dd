//! Turns what was played into a scenario's report: its raw part is written down here, its figures come from that alone
//! (`figures`).

use std::collections::BTreeMap;

use super::figures::computed;
use super::play::{Generator, Playback, Slice};
use super::server::Look;
use super::usage::SupportCores;
use crate::engine::Record;
use crate::environment;
use crate::histogram::{Sparse, encode};
use crate::report::{Aside, Basis, GeneratorReport, RawSlice, ScenarioReport};
use crate::scenario::Scenario;
use crate::trace::{Kinds, Trace};
use crate::validity::{Build, Invariant};

/// Everything about one scenario that was played.
pub struct Played<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What the order within the pairs was drawn from.
    pub order_seed: u64,
    /// Its trace.
    pub trace: &'a Trace,
    /// Names of the contenders, as sentences call them.
    pub labels: [String; 2],
    /// Operations by door, as its records count them.
    pub kinds: Kinds,
    /// What came back.
    pub playback: Playback,
    /// What was found on the other side, one list a contender, in the order of its effects.
    pub rows: Vec<Vec<u64>>,
    /// What must hold of all that was found there, one list a contender.
    pub invariants: Vec<Vec<Invariant>>,
    /// Requests that each contender says it got, where it does.
    pub counted: Vec<Option<u64>>,
    /// Each contender before the first slice and after the last, where its process is known.
    pub looks: Vec<Option<[Look; 2]>>,
    /// What the contenders say of themselves.
    pub builds: Vec<Build>,
    /// Where what stands around runs.
    pub support_cores: SupportCores,
    /// Resamples of each bootstrap.
    pub resamples: usize,
    /// The least that the work of a kind takes, in µs, where that is known.
    pub floors: Vec<(String, u64)>,
    /// Bounds that don't void.
    pub allowed: Vec<String>,
    /// A short run to see that everything works.
    pub trial: bool,
    /// Bounds that can't be looked at, by name, and why.
    pub inapplicable: Vec<(String, String)>,
}

/// The report of one scenario.
pub fn judge(played: &Played<'_>) -> anyhow::Result<ScenarioReport> {
    let playback = &played.playback;
    let slices = (0..2).map(|contender| {
        let slices = playback.pairs.iter().map(|pair| raw(&pair[contender], played.kinds.names()));
        slices.collect::<anyhow::Result<Vec<_>>>()
    });
    let without_figures = ScenarioReport {
        scenario: played.scenario.clone(),
        order_seed: played.order_seed,
        trace_sha256: played.trace.sha256.clone(),
        requests: played.trace.window(0, played.scenario.total_us()).len(),
        metrics: Vec::new(),
        operations: Vec::new(),
        curves: Vec::new(),
        validity: Vec::new(),
        generator: GeneratorReport {
            generator: Generator { sender_policy: playback.policy.clone(), cpu_us_a_request: 0.0 },
            lag_us: Default::default(),
            wake_lag_us: Default::default(),
            usage: playback.usage.clone(),
        },
        slices: slices.collect::<anyhow::Result<_>>()?,
        controls: Vec::new(),
        basis: basis(played),
        curve_ratios: Vec::new(),
        server: Vec::new(),
        rows: None,
        traced: None,
    };
    computed(&without_figures)
}

fn basis(played: &Played<'_>) -> Basis {
    Basis {
        labels: played.labels.to_vec(),
        resamples: played.resamples,
        operations: played.kinds.names().to_vec(),
        asked: asked(played),
        slices_played: played.playback.slices_played,
        set_aside: played.playback.set_aside.clone(),
        support_cores: played.support_cores,
        generator_profile: environment::build().into(),
        builds: played.builds.clone(),
        allowed: played.allowed.clone(),
        trial: played.trial,
        inapplicable: played.inapplicable.clone(),
        floors: played.floors.clone(),
        connections: played.scenario.connections as u64 * played.trace.doors().len() as u64,
        contenders: (0..2).map(|contender| aside(played, contender)).collect(),
    }
}

/// Operations that the trace asks for after the warm-up; a short one may have none of a rare flow.
fn asked(played: &Played<'_>) -> Vec<String> {
    // A control may play fewer pairs than the trace has.
    let window = played.trace.window(played.scenario.warm_up_us(), played.scenario.total_us());
    let asked = |kind: usize| window.clone().any(|line| played.kinds.of_line(line) == kind);
    let named = played.kinds.names().iter().enumerate().filter(|(kind, _)| asked(*kind));
    named.map(|(_, name)| name.clone()).collect()
}

fn aside(played: &Played<'_>, contender: usize) -> Aside {
    let playback = &played.playback;
    let undisturbed = || [&playback.warm_up, &playback.torn].into_iter().flat_map(|lists| &lists[contender]);
    let all = || undisturbed().chain(playback.disturbed.get(contender).into_iter().flatten());
    let sum = |of: fn(&Record) -> u64| all().map(of).sum::<u64>();
    let mut unexpected: BTreeMap<String, u64> = BTreeMap::new();
    for (kind, count) in all().flat_map(|record| &record.kinds) {
        *unexpected.entry(kind.clone()).or_default() += count;
    }
    let effects = playback.effects[contender].iter().zip(&played.rows[contender]);
    Aside {
        sent: sum(|record| record.sent),
        replies: sum(|record| record.replies),
        // What there was no room for while the host had the core says nothing of anybody here.
        dropped: undisturbed().map(|record| record.dropped).sum(),
        reopened: sum(|record| record.reopened),
        unexpected,
        between: [&playback.torn, &playback.disturbed]
            .into_iter()
            .flat_map(|lists| &lists[contender])
            .map(|record| record.replies)
            .sum(),
        effects: effects.map(|(effect, rows)| (effect.name.to_owned(), effect.count, *rows)).collect(),
        invariants: played.invariants[contender].clone(),
        counted: played.counted[contender],
        looks: played.looks[contender].clone(),
    }
}

/// A slice as report.json holds it; `kinds` are the names of its requests' kinds.
pub fn raw(slice: &Slice, kinds: &[String]) -> anyhow::Result<RawSlice> {
    let record = &slice.record;
    let name = |index: usize| kinds.get(index).map(String::as_str).unwrap_or_default();
    let used = record.latency.iter().enumerate().filter(|(_, times)| !times.0.is_empty());
    let encoded = |times: &Sparse| encode(&times.recorder());
    let latency = used.map(|(index, times)| Ok((name(index).to_owned(), encoded(times)?)));
    let expected = record.expected.iter().enumerate().filter(|(_, count)| **count > 0);
    let statuses = record
        .statuses
        .iter()
        .map(|((operation, status), count)| (format!("{} {status}", name(*operation)), *count));
    Ok(RawSlice {
        first: slice.first,
        offered: record.offered,
        sent: record.sent,
        replies: record.replies,
        skipped: record.skipped,
        dropped: record.dropped,
        shed: record.shed,
        queued: record.queued,
        failed: record.failed,
        unanswered: record.unanswered,
        statuses: statuses.collect(),
        unexpected: record.kinds.clone(),
        length_ns: record.length_ns,
        answering_ns: record.answering_ns,
        in_flight_ns: record.in_flight_ns,
        untimed_ns: record.untimed_ns,
        open: record.open,
        cpu_ns: slice.cpu_ns,
        idle_cpu_ns: slice.idle_cpu_ns,
        rss_bytes: slice.rss_bytes,
        latency: latency.collect::<anyhow::Result<_>>()?,
        service: encoded(&record.service)?,
        lag: encoded(&record.lag)?,
        wake_lag: encoded(&record.wake_lag)?,
        reopened: record.reopened,
        expected: expected.map(|(index, count)| (name(index).to_owned(), *count)).collect(),
        generator_cpu_ns: slice.generator.0,
        generator_ns: slice.generator.1,
    })
}
