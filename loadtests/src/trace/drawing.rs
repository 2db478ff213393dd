//! Draws the lines of a scenario's trace: when flows begin, which they are, which door they take, what they are about.

use std::collections::BTreeMap;

use super::{Door, Line};
use crate::draw::Draw;
use crate::scenario::{Arrivals, Flow, Parameters, Scenario, ScenarioError, Stage, check_stages};
use crate::workload::Workload;

/// Requests of one trace at most: what memory holds with ease.
const MAX_LINES: usize = 5_000_000;

/// Of a draft: its due time, and what breaks ties: the flow's number and the step.
type Order = (u64, usize, usize);

/// A request before it has its number; `needs` is the order of the one it needs.
struct Draft {
    order: Order,
    needs: Option<Order>,
    door: Door,
    operation: String,
    parameters: Parameters,
}

/// Where a step finds what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    Nothing,
    /// In its own flow, so many steps from the begin.
    Step(usize),
    /// Among what the warm-up has made.
    Made,
}

/// A flow that begins.
struct Begun<'a> {
    flow: &'a Flow,
    number: usize,
    begin_us: u64,
    door: Door,
    /// Nothing of it is due from then on.
    end_us: u64,
}

/// What the warm-up has made, by operation.
type Made = BTreeMap<String, Vec<(Order, Parameters)>>;

/// Refuses what the workload can't be set to.
pub(super) fn check_settings(
    file: &str,
    scenario: &Scenario,
    workload: &dyn Workload,
) -> Result<(), ScenarioError> {
    let fail = |(name, problem): (String, String)| ScenarioError::File {
        file: file.to_owned(),
        field: format!("settings.{name}"),
        problem,
    };
    workload.check_settings(&scenario.settings).map_err(fail)
}

/// All lines, in order of due time.
pub(super) fn lines(
    file: &str,
    scenario: &Scenario,
    workload: &dyn Workload,
) -> Result<Vec<Line>, ScenarioError> {
    let fail = |field: String, problem: String| ScenarioError::File { file: file.to_owned(), field, problem };
    check_stages(scenario)
        .and_then(|()| check("warm_up_flows", &scenario.warm_up_flows, &[], workload))
        .and_then(|()| check("flows", &scenario.flows, &scenario.warm_up_flows, workload))
        .map_err(|(field, problem)| fail(field, problem))?;
    check_settings(file, scenario, workload)?;
    let too_many = || fail("stages".into(), format!("make more than {MAX_LINES} requests"));
    // Each flow has a first step: said before millions of them are drawn.
    if flows_expected(scenario) > MAX_LINES as f64 {
        return Err(too_many());
    }
    let mut drafts: Vec<Draft> = Vec::new();
    let mut made = Made::new();
    let [mut draw, mut doors] = ["flows", "doors"].map(|name| Draw::new(scenario.seed, name));
    for (number, begin_us) in arrivals(scenario).into_iter().enumerate() {
        let making = begin_us < scenario.making_us() && !scenario.warm_up_flows.is_empty();
        let flow = pick(
            if making { &scenario.warm_up_flows } else { &scenario.flows },
            |flow| flow.share,
            &mut draw,
        );
        let (door, _) = *pick(&scenario.doors.shares(), |(_, share)| *share, &mut doors);
        let end_us = if making { scenario.making_us() } else { scenario.total_us() };
        let begun = Begun { flow, number, begin_us, door, end_us };
        let steps = steps(scenario, &begun, &made, workload, &mut draw).ok_or_else(|| {
            let problem =
                format!("makes nothing in {} s for “{}”", scenario.making_us() as f64 / 1e6, flow.name);
            fail("warm_up".into(), problem)
        })?;
        for draft in steps {
            if making {
                let about = (draft.order, draft.parameters.clone());
                made.entry(draft.operation.clone()).or_default().push(about);
            }
            drafts.push(draft);
        }
        if drafts.len() > MAX_LINES {
            return Err(too_many());
        }
    }
    Ok(number(drafts))
}

/// Every flow is one that the workload knows.
fn check(
    group: &str,
    flows: &[Flow],
    before: &[Flow],
    workload: &dyn Workload,
) -> Result<(), (String, String)> {
    for (index, flow) in flows.iter().enumerate() {
        needed_steps(flow, before, workload)
            .map_err(|(step, problem)| (format!("{group}[{index}].steps[{step}]"), problem))?;
        workload.check_flow(flow).map_err(|problem| (format!("{group}[{index}].parameters"), problem))?;
    }
    Ok(())
}

/// What makes keeps the warm-up's rate; what rehearses another load has that one's.
fn warm_up(scenario: &Scenario) -> Vec<Stage> {
    let whole = &scenario.warm_up;
    if scenario.warm_up_flows.is_empty() {
        return vec![whole.clone()];
    }
    let making = Stage { rate: whole.rate, seconds: scenario.making_us() as f64 / 1e6 };
    let rehearsal = Stage { rate: scenario.stages[0].rate, seconds: whole.seconds - making.seconds };
    vec![making, rehearsal]
}

/// How many flows begin, about.
fn flows_expected(scenario: &Scenario) -> f64 {
    let flows = |stage: &Stage| stage.rate * stage.seconds;
    let seconds: f64 = scenario.stages.iter().map(|stage| stage.seconds).sum();
    let rate = scenario.stages.iter().map(flows).sum::<f64>() / seconds;
    let measured_us = scenario.total_us() - scenario.warm_up_us();
    warm_up(scenario).iter().map(flows).sum::<f64>() + rate * measured_us as f64 / 1e6
}

/// Begin of each flow, in µs.
fn arrivals(scenario: &Scenario) -> Vec<u64> {
    let mut draw = Draw::new(scenario.seed, "arrivals");
    let (total, mut begins, mut stage_begin) = (scenario.total_us() as f64 / 1e6, Vec::new(), 0.0);
    let warm_up = warm_up(scenario);
    let stages = warm_up.iter().chain(scenario.stages.iter().cycle());
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

fn pick<'a, T>(all: &'a [T], share: impl Fn(&T) -> u32, draw: &mut Draw) -> &'a T {
    let total: u64 = all.iter().map(|one| u64::from(share(one))).sum();
    let mut left = draw.below(total);
    for one in all {
        if left < u64::from(share(one)) {
            return one;
        }
        left -= u64::from(share(one));
    }
    &all[0] // unreachable: the shares sum to the bound of the draw
}

/// The steps of one flow that are due before its end; nothing where the warm-up has made none of what one needs.
fn steps(
    scenario: &Scenario,
    begun: &Begun<'_>,
    made: &Made,
    workload: &dyn Workload,
    draw: &mut Draw,
) -> Option<Vec<Draft>> {
    let Begun { flow, number, begin_us, door, end_us } = *begun;
    let order = |step: usize| (begin_us + step as u64 * scenario.think_time_ms * 1000, number, step);
    let needed = needed_steps(flow, &scenario.warm_up_flows, workload).unwrap_or_default();
    // One object of the warm-up for the whole flow.
    let first_made = needed.iter().position(|needed| *needed == Needed::Made);
    let about = match first_made {
        Some(step) => Some(one_made(&flow.steps[step], made, workload, draw)?),
        None => None,
    };
    let drawn = workload.draw_flow(flow, about.map(|(_, parameters)| parameters), draw);
    let draft = |(step, (parameters, operation)): (usize, (Parameters, &String))| Draft {
        order: order(step),
        needs: match needed[step] {
            Needed::Nothing => None,
            Needed::Step(earlier) => Some(order(earlier)),
            Needed::Made => about.map(|(order, _)| *order),
        },
        door,
        operation: operation.clone(),
        parameters,
    };
    let drafts = drawn.into_iter().zip(&flow.steps).enumerate().map(draft);
    Some(drafts.filter(|draft| draft.order.0 < end_us).collect())
}

/// One of what the warm-up has made that `step` can be about, each as likely as the others.
fn one_made<'a>(
    step: &str,
    made: &'a Made,
    workload: &dyn Workload,
    draw: &mut Draw,
) -> Option<&'a (Order, Parameters)> {
    let operation = workload.operations().iter().find(|operation| operation.name == step)?;
    let groups: Vec<_> = operation.needs.iter().filter_map(|name| made.get(*name)).collect();
    let count: usize = groups.iter().map(|group| group.len()).sum();
    let chosen = (count > 0).then(|| draw.below(count as u64) as usize)?;
    groups.into_iter().flatten().nth(chosen)
}

/// For each step the nearest earlier one whose result it needs, or the step and its problem.
fn needed_steps(
    flow: &Flow,
    warm_up: &[Flow],
    workload: &dyn Workload,
) -> Result<Vec<Needed>, (usize, String)> {
    let known = workload.operations();
    let find = |(step, name): (usize, &String)| {
        let operation = known.iter().find(|operation| operation.name == name).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|operation| operation.name).collect();
            (step, format!("unknown operation `{name}`, expected one of {}", names.join(", ")))
        })?;
        let gives = |earlier: &String| operation.needs.contains(&earlier.as_str());
        if operation.needs.is_empty() {
            return Ok(Needed::Nothing);
        }
        if let Some(earlier) = flow.steps[..step].iter().rposition(gives) {
            return Ok(Needed::Step(earlier));
        }
        if warm_up.iter().any(|flow| flow.steps.iter().any(gives)) {
            return Ok(Needed::Made);
        }
        Err((step, format!("`{name}` needs {} before it, or in warm_up_flows", operation.needs.join(" or "))))
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
        door: draft.door,
        operation: draft.operation,
        parameters: draft.parameters,
        needs: draft.needs.and_then(id_of),
    };
    drafts.into_iter().enumerate().map(line).collect()
}
