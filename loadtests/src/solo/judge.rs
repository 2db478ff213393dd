//! Makes the report of what was played on one service: its raw part is written down here, its figures come from that
//! alone (`figures`).

use std::collections::BTreeMap;

use super::figures::{computed, report_of};
use super::model::{MemoryOverTime, SoloRun, StageReport};
use super::play::Played;
use super::watch::{Stage, stages, tally, ticks, whole};
use crate::compare::{Generator, Slice, SupportCores, raw};
use crate::engine::Record;
use crate::environment;
use crate::report::{Aside, Basis, ContenderReport, Environment, FORMAT};
use crate::scenario::Scenario;
use crate::stats::rounded;
use crate::trace::{Kinds, Trace};
use crate::validity::{Build, Invariant};

/// Everything about a play that isn't in it.
pub struct Judged<'a> {
    /// What was played.
    pub scenario: &'a Scenario,
    /// Flows a second that its rates were multiples of.
    pub capacity: Option<f64>,
    /// Its trace.
    pub trace: &'a Trace,
    /// On whom.
    pub service: ContenderReport,
    /// What its requests are told apart by.
    pub kinds: Kinds,
    /// What was found on the other side, in the order of the effects.
    pub rows: Vec<u64>,
    /// What must hold of all that was found there.
    pub invariants: Vec<Invariant>,
    /// Requests that the service says it got, where it does.
    pub counted: Option<u64>,
    /// Where what stands around runs.
    pub support_cores: SupportCores,
    /// The least that the work of a kind takes, in µs, where that is known.
    pub floors: Vec<(String, u64)>,
    /// Bounds that don't void.
    pub allowed: Vec<String>,
    /// Seconds long, to see that everything works.
    pub trial: bool,
}

/// The report, but for when and on what machine it was made.
pub fn judge(judged: &Judged<'_>, played: Played) -> anyhow::Result<SoloRun> {
    let basis = basis(judged, &played);
    let parts = ticks(&stages(judged.scenario, played.ended_us));
    let ticks = reports(judged.scenario, judged.trace, &parts, &played)?;
    let Played { record, usage, samples, switches, policy, ended_us, .. } = played;
    let slice = Slice {
        first: true,
        record,
        cpu_ns: usage.contenders_ns,
        idle_cpu_ns: 0,
        rss_bytes: samples.last().map_or(0, |sample| sample.rss_bytes),
        generator: (usage.generator_ns, usage.wall_ns),
    };
    let load = raw(&slice, judged.kinds.names())?;
    let nothing = || report_of(&whole(judged.scenario, ended_us), 0, &[]);
    computed(&SoloRun {
        format: FORMAT,
        started_at: String::new(),
        seconds: 0.0,
        command: std::env::args().collect(),
        void: Vec::new(),
        allowed: Vec::new(),
        environment: Environment::default(),
        service: judged.service.clone(),
        scenario: judged.scenario.clone(),
        capacity: judged.capacity,
        trace_sha256: judged.trace.sha256.clone(),
        requests: judged.trace.window(0, judged.scenario.total_us()).len(),
        overall: nothing()?,
        stages: Vec::new(),
        cpu_us_a_reply: 0.0,
        switches_a_reply: 0.0,
        memory: MemoryOverTime { samples, slope_mib_an_hour: None },
        usage,
        generator: Generator { sender_policy: policy, cpu_us_a_request: 0.0 },
        lag_us: Default::default(),
        validity: Vec::new(),
        ticks,
        load,
        switches,
        basis,
        ended_us,
    })
}

/// What became of the whole load.
pub fn overall(scenario: &Scenario, trace: &Trace, played: &Played) -> anyhow::Result<StageReport> {
    let whole = whole(scenario, played.ended_us);
    let found = reports(scenario, trace, &[whole], played)?;
    report_of(&whole, scenario.warm_up_us(), &found)
}

fn reports(
    scenario: &Scenario,
    trace: &Trace,
    stages: &[Stage],
    played: &Played,
) -> anyhow::Result<Vec<StageReport>> {
    let from_us = scenario.warm_up_us();
    let tallies = tally(trace, stages, &played.seen, from_us, played.record.begin_ns);
    stages.iter().zip(&tallies).map(|(stage, tally)| StageReport::of(stage, tally, from_us)).collect()
}

impl Played {
    /// Context switches of the service a reply.
    pub fn switches_a_reply(&self) -> f64 {
        rounded(self.switches as f64 / self.record.replies.max(1) as f64)
    }
}

fn basis(judged: &Judged<'_>, played: &Played) -> Basis {
    let ContenderReport { label, version, .. } = &judged.service;
    let build = Build {
        name: label.clone(),
        commit: version.commit.clone(),
        profile: version.profile.clone(),
        tuned: false,
    };
    let window = judged.trace.window(judged.scenario.warm_up_us(), judged.scenario.total_us());
    let asked = |kind: usize| window.clone().any(|line| judged.kinds.of_line(line) == kind);
    let named = judged.kinds.names().iter().enumerate().filter(|(kind, _)| asked(*kind));
    Basis {
        labels: vec![label.clone()],
        resamples: 0,
        operations: judged.kinds.names().to_vec(),
        asked: named.map(|(_, name)| name.clone()).collect(),
        slices_played: usize::from(played.complete),
        set_aside: Vec::new(),
        support_cores: judged.support_cores,
        generator_profile: environment::build().into(),
        builds: vec![build],
        allowed: judged.allowed.clone(),
        trial: judged.trial,
        inapplicable: Vec::new(),
        floors: judged.floors.clone(),
        connections: judged.scenario.connections as u64 * judged.trace.doors().len() as u64,
        contenders: vec![aside(judged, played)],
    }
}

fn aside(judged: &Judged<'_>, played: &Played) -> Aside {
    let sum = |of: fn(&Record) -> u64| played.warm_up.iter().map(of).sum();
    let mut unexpected: BTreeMap<String, u64> = BTreeMap::new();
    for (kind, count) in played.warm_up.iter().flat_map(|record| &record.kinds) {
        *unexpected.entry(kind.clone()).or_default() += count;
    }
    let effects = played.effects.iter().zip(&judged.rows);
    Aside {
        sent: sum(|record| record.sent),
        replies: sum(|record| record.replies),
        dropped: sum(|record| record.dropped),
        reopened: sum(|record| record.reopened),
        between: 0,
        unexpected,
        effects: effects.map(|(effect, rows)| (effect.name.to_owned(), effect.count, *rows)).collect(),
        invariants: judged.invariants.clone(),
        counted: judged.counted,
        looks: None,
    }
}
