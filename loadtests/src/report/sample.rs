//! Small reports for unit tests.

use super::basis::Basis;
use super::control::Control;
use super::model::{
    ContenderReport, Environment, FORMAT, GeneratorReport, Metric, RawSlice, Report, ScenarioReport, Version,
};
use super::traced::Traced;
use crate::compare::{Generator, Usage};
use crate::scenario::{Overrides, Scenario};
use crate::solo::{MemoryOverTime, SoloRun, StageReport};
use crate::stats::{Interval, Ratio};
use crate::traces::TracesReport;
use crate::traces::model::{Operation, Pairing, Row, Side, Times};
use crate::validity::Bound;

/// p99 with this ratio; the second's is 10 ms.
pub fn metric(estimate: f64, interval: Option<(f64, f64)>) -> Metric {
    let no_interval = interval.is_none().then(|| "too few pairs (4) for an interval".to_owned());
    let interval = interval.map(|(low, high)| Interval { low, high });
    Metric {
        name: "p99".into(),
        label: "p99 latency".into(),
        unit: "ms".into(),
        values: [estimate * 10.0, 10.0],
        ratio: Ratio { estimate: Some(estimate), interval, no_interval },
        less_is_better: Some(true),
        offered: None,
        n: [100, 100],
        n_of: "replies".into(),
    }
}

/// `checkout` with these metrics and nothing else.
pub fn scenario(pairs: usize, metrics: Vec<Metric>) -> ScenarioReport {
    let overrides = Overrides { pairs: Some(pairs), ..Overrides::default() };
    let generator = Generator { sender_policy: String::new(), cpu_us_a_request: 20.0 };
    let usage = Usage::default();
    ScenarioReport {
        scenario: Scenario::load("checkout", &overrides).unwrap(),
        order_seed: 1,
        trace_sha256: String::new(),
        requests: 1,
        metrics,
        operations: vec![],
        curves: vec![],
        validity: vec![],
        generator: GeneratorReport { generator, lag_us: [[0; 4]; 2], wake_lag_us: [[0; 4]; 2], usage },
        slices: vec![vec![slice(); pairs]; 2],
        controls: vec![],
        basis: Basis { labels: vec!["Rust".into(), "Go".into()], ..Basis::default() },
        curve_ratios: vec![],
        server: vec![],
        rows: None,
        traced: None,
    }
}

/// A control with these metrics.
pub fn control(label: &str, metrics: Vec<Metric>) -> Control {
    Control { name: label.to_lowercase(), label: label.into(), report: scenario(12, metrics) }
}

/// What no traces say of `checkout`, with these bounds.
pub fn traced(validity: Vec<Bound>) -> Traced {
    let side = Side {
        label: String::new(),
        files: vec![],
        service: String::new(),
        spans: 0,
        traces: 0,
        requests: 0,
        troubles: vec![],
    };
    let traces = TracesReport {
        sides: [side.clone(), side],
        pairing: Pairing::Trace,
        blocks: 0,
        slices: None,
        resamples: 0,
        seed: 0,
        operations: vec![],
        vocabulary: vec![],
    };
    Traced { traces, play: scenario(12, vec![]), lost: [0; 2], validity }
}

/// One of which so many requests were compared, and so many had no partner; nothing differs.
pub fn operation(requests: [u64; 2], alone: [u64; 2]) -> Operation {
    let ratio = Ratio { estimate: None, interval: None, no_interval: None };
    let whole = Row {
        path: vec!["pay".into()],
        order: 0,
        wait: None,
        spans: requests,
        requests,
        times: [Times::default(); 2],
        ratios: [ratio.clone(), ratio.clone(), ratio],
        critical_ns: [1e6; 2],
        difference_ns: 0.0,
        interval: None,
    };
    Operation {
        name: "pay".into(),
        requests,
        alone,
        whole,
        rows: vec![],
        explained_ns: 0.0,
        differences: vec![],
        tails: [None, None],
        examples: vec![],
    }
}

/// `checkout` on one service, in which nothing happened.
pub fn alone(label: &str) -> SoloRun {
    let ScenarioReport { scenario, trace_sha256, requests, generator, basis, .. } = scenario(12, vec![]);
    let GeneratorReport { generator, usage, .. } = generator;
    let stage = StageReport {
        rate: 50.0,
        from_seconds: 0.0,
        seconds: 36.0,
        offered: 0,
        expected: 0,
        shed: 0,
        unexpected: 0,
        latency_ms: [None; 4],
        latency: String::new(),
    };
    SoloRun {
        format: FORMAT,
        started_at: "2026-01-01T00:00:00Z".into(),
        seconds: 3.0,
        command: vec![],
        void: vec![],
        allowed: vec![],
        environment: Environment::default(),
        service: contender(label),
        scenario,
        capacity: None,
        trace_sha256,
        requests,
        overall: stage.clone(),
        stages: vec![stage],
        cpu_us_a_reply: 0.0,
        switches_a_reply: 0.0,
        memory: MemoryOverTime { samples: vec![], slope_mib_an_hour: None },
        usage,
        generator,
        lag_us: [0; 4],
        validity: vec![],
        ticks: vec![],
        load: slice(),
        switches: 0,
        ended_us: None,
        basis,
    }
}

/// One that says nothing of itself.
pub fn contender(label: &str) -> ContenderReport {
    ContenderReport {
        name: label.to_lowercase(),
        label: label.into(),
        version: Version::default(),
        ready_ms: vec![],
    }
}

/// A slice in which nothing happened.
pub fn slice() -> RawSlice {
    RawSlice { first: true, ..RawSlice::default() }
}

/// A valid run of nothing.
pub fn report() -> Report {
    Report {
        format: FORMAT,
        started_at: "2026-01-01T00:00:00Z".into(),
        seconds: 3.0,
        command: vec![],
        void: vec![],
        allowed: vec![],
        environment: Environment::default(),
        contenders: vec![],
        scenarios: vec![],
        asserts: vec![],
        limits: None,
        solo: None,
        looking: None,
        development: None,
        alone: vec![],
        failed: vec![],
    }
}
