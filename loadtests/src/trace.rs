//! Request traces: a scenario turned into lines of JSON, one request a line, the same bytes for the same scenario and
//! seed on every machine.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::draw::Draw;
use crate::scenario::{Arrivals, Flow, Parameters, Scenario, ScenarioError, Stage};
use crate::workload::Workload;

/// Requests of one trace at most: what memory holds with ease.
const MAX_LINES: usize = 5_000_000;

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it is to be sent, in µs from the trace's begin.
    pub due_us: u64,
    /// Its number in the trace, from 0, by due time.
    pub id: u64,
    /// The door it takes; `http` is the only one so far.
    pub door: String,
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
        let fail =
            |field: String, problem: String| ScenarioError::File { file: file.to_owned(), field, problem };
        for (index, flow) in scenario.flows.iter().enumerate() {
            needed_steps(flow, workload)
                .map_err(|(step, problem)| fail(format!("flows[{index}].steps[{step}]"), problem))?;
            workload
                .check_flow(flow)
                .map_err(|problem| fail(format!("flows[{index}].parameters"), problem))?;
        }
        let too_many = || fail("stages".into(), format!("make more than {MAX_LINES} requests"));
        // Each flow has a first step: said before millions of them are drawn.
        if flows_expected(scenario) > MAX_LINES as f64 {
            return Err(too_many());
        }
        let mut drafts = Vec::new();
        let mut draw = Draw::new(scenario.seed, "flows");
        for (number, begin_us) in arrivals(scenario).into_iter().enumerate() {
            let flow = pick(&scenario.flows, &mut draw);
            drafts.extend(steps(scenario, flow, number, begin_us, workload, &mut draw));
            if drafts.len() > MAX_LINES {
                return Err(too_many());
            }
        }
        Ok(Self::from_lines(number(drafts)))
    }

    fn from_lines(lines: Vec<Line>) -> Self {
        let mut hash = Sha256::new();
        for line in &lines {
            hash.update(render(line));
        }
        Self { lines, sha256: hex::encode(hash.finalize()) }
    }

    /// Writes the trace as JSON Lines.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        self.lines.iter().try_for_each(|line| out.write_all(render(line).as_bytes()))
    }

    /// Reads a trace that `write` wrote.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Line>, _>>()?;
        Ok(Self::from_lines(lines))
    }

    /// The lines due from `from_us` up to, not including, `to_us`.
    pub fn window(&self, from_us: u64, to_us: u64) -> Range<usize> {
        let at = |us| self.lines.partition_point(|line| line.due_us < us);
        at(from_us)..at(to_us)
    }
}

/// A request before it has its number: `order` breaks ties of due time, `needs` is the order of the one it needs.
struct Draft {
    order: (u64, usize, usize),
    needs: Option<(u64, usize, usize)>,
    operation: String,
    parameters: Parameters,
}

/// How many flows begin, about.
fn flows_expected(scenario: &Scenario) -> f64 {
    let flows = |stage: &Stage| stage.rate * stage.seconds;
    let seconds: f64 = scenario.stages.iter().map(|stage| stage.seconds).sum();
    let rate = scenario.stages.iter().map(flows).sum::<f64>() / seconds;
    let measured_us = scenario.total_us() - scenario.warm_up_us();
    flows(&scenario.warm_up) + rate * measured_us as f64 / 1e6
}

/// Begin of each flow, in µs.
fn arrivals(scenario: &Scenario) -> Vec<u64> {
    let mut draw = Draw::new(scenario.seed, "arrivals");
    let (total, mut begins, mut stage_begin) = (scenario.total_us() as f64 / 1e6, Vec::new(), 0.0);
    let stages = std::iter::once(&scenario.warm_up).chain(scenario.stages.iter().cycle());
    for stage in stages {
        let end = (stage_begin + stage.seconds).min(total);
        let mut at = stage_begin;
        loop {
            at += match scenario.arrivals {
                Arrivals::Constant => 1.0 / stage.rate,
                Arrivals::Poisson => draw.exponential(stage.rate),
            };
            if at >= end || begins.len() > MAX_LINES {
                break;
            }
            begins.push((at * 1e6) as u64);
        }
        stage_begin = end;
        if end >= total || begins.len() > MAX_LINES {
            return begins;
        }
    }
    begins
}

fn pick<'a>(flows: &'a [Flow], draw: &mut Draw) -> &'a Flow {
    let total: u64 = flows.iter().map(|flow| u64::from(flow.share)).sum();
    let mut left = draw.below(total);
    for flow in flows {
        if left < u64::from(flow.share) {
            return flow;
        }
        left -= u64::from(flow.share);
    }
    &flows[0] // unreachable: the shares sum to the bound of the draw
}

/// The steps of one flow that are due before the trace ends.
fn steps(
    scenario: &Scenario,
    flow: &Flow,
    number: usize,
    begin_us: u64,
    workload: &dyn Workload,
    draw: &mut Draw,
) -> Vec<Draft> {
    let order = |step: usize| (begin_us + step as u64 * scenario.think_time_ms * 1000, number, step);
    let needed = needed_steps(flow, workload).unwrap_or_default();
    let drafts = workload.draw_flow(flow, draw).into_iter().zip(&flow.steps).enumerate().map(
        |(step, (parameters, operation))| Draft {
            order: order(step),
            needs: needed[step].map(order),
            operation: operation.clone(),
            parameters,
        },
    );
    drafts.filter(|draft| draft.order.0 < scenario.total_us()).collect()
}

/// For each step the nearest earlier one whose result it needs, or the step and its problem.
fn needed_steps(flow: &Flow, workload: &dyn Workload) -> Result<Vec<Option<usize>>, (usize, String)> {
    let known = workload.operations();
    let find = |(step, name): (usize, &String)| {
        let operation = known.iter().find(|operation| operation.name == name).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|operation| operation.name).collect();
            (step, format!("unknown operation `{name}`, expected one of {}", names.join(", ")))
        })?;
        if operation.needs.is_empty() {
            return Ok(None);
        }
        let earlier =
            flow.steps[..step].iter().rposition(|earlier| operation.needs.contains(&earlier.as_str()));
        earlier
            .map(Some)
            .ok_or_else(|| (step, format!("`{name}` needs {} before it", operation.needs.join(" or "))))
    };
    flow.steps.iter().enumerate().map(find).collect()
}

/// Sorts by due time and gives numbers.
fn number(mut drafts: Vec<Draft>) -> Vec<Line> {
    drafts.sort_by_key(|draft| draft.order);
    let orders: Vec<_> = drafts.iter().map(|draft| draft.order).collect();
    let id_of = |order| orders.binary_search(&order).ok().map(|index| index as u64);
    let line = |(id, draft): (usize, Draft)| Line {
        due_us: draft.order.0,
        id: id as u64,
        door: "http".into(),
        operation: draft.operation,
        parameters: draft.parameters,
        needs: draft.needs.and_then(id_of),
    };
    drafts.into_iter().enumerate().map(line).collect()
}

fn render(line: &Line) -> String {
    // A map of text keys and plain values: it can't fail to serialise.
    serde_json::to_string(line).unwrap_or_default() + "\n"
}
