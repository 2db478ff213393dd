//! Runs all cases: each on both twins and over every door that it can take, then compares the replies with each other.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt};

use super::case::{Case, Door, Stage};
use super::check::comparable;
use super::normal::Normaliser;
use super::route::{Route, Site, Target};
use super::session::{Bench, StepRun};
use super::shape::COMPARED;
use crate::draw::Draw;

/// One thing that is wrong.
#[derive(Debug)]
pub struct Finding {
    /// `area: sentence`.
    pub case: String,
    /// Where and what, several lines.
    pub text: String,
}

/// Steps of one operation through one door of one twin.
#[derive(Debug, Default, Clone)]
pub struct Cell {
    /// How many.
    pub steps: usize,
    /// How many had a fault.
    pub failed: usize,
    /// How long they took together.
    pub took: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Cases that ran.
    pub cases: usize,
    /// Cases that need twins which aren't there.
    pub left_out: usize,
    /// Runs of cases: a case has one a twin and door.
    pub runs: usize,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
    /// Operation, door, twin.
    pub tally: BTreeMap<(String, Door, String), Cell>,
}

/// How to run.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Each on a database of its own.
    pub separate: &'a [Target; 2],
    /// Both on one database, where there are such.
    pub shared: Option<&'a [Target; 2]>,
    /// Twins with settings of their own.
    pub stages: &'a [(Stage, [Target; 2])],
    /// Cases at once.
    pub jobs: usize,
    /// Of the scattered runs.
    pub seed: u64,
    /// The only door to take, where not all are.
    pub only: Option<Door>,
}

type Steps = anyhow::Result<Vec<StepRun>>;

/// Runs the cases.
pub async fn run(bench: &Bench, cases: &[Case], plan: &Plan<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut parts = stream::iter(cases).map(|case| one(bench, case, plan)).buffer_unordered(plan.jobs);
    let mut done = 0;
    while let Some(part) = parts.next().await {
        outcome.add(part);
        done += 1;
        if done % 50 == 0 {
            eprintln!("  {done} of {} cases, {} findings", cases.len(), outcome.findings.len());
        }
    }
    outcome.findings.sort_by(|one, other| one.case.cmp(&other.case));
    outcome
}

impl Outcome {
    fn add(&mut self, part: Self) {
        self.cases += part.cases;
        self.left_out += part.left_out;
        self.runs += part.runs;
        self.findings.extend(part.findings);
        for (key, cell) in part.tally {
            let sum = self.tally.entry(key).or_default();
            sum.steps += cell.steps;
            sum.failed += cell.failed;
            sum.took += cell.took;
        }
    }

    /// Counts a run and takes over its faults.
    fn take(&mut self, case: &Case, place: &str, steps: &Steps) {
        self.runs += 1;
        let steps = match steps {
            Ok(steps) => steps,
            Err(error) => return self.find(case, format!("{place}: {error:#}")),
        };
        for (index, step) in steps.iter().enumerate() {
            let cell =
                self.tally.entry((step.operation.clone(), step.door, step.target.clone())).or_default();
            cell.steps += 1;
            cell.failed += usize::from(!step.faults.is_empty());
            cell.took += step.took;
            if !step.faults.is_empty() {
                let faults = step.faults.join("\n    ");
                let at = format!("{place}, step {} at {}/{}", index + 1, step.target, step.door.name());
                self.find(
                    case,
                    format!("{at}\n    {faults}\n  sent {}\n  got  {}", step.request, step.reply.summary()),
                );
            }
        }
    }

    fn find(&mut self, case: &Case, text: String) {
        self.findings.push(Finding { case: format!("{}: {}", case.area, case.name), text });
    }

    /// Compares two runs of one case step by step.
    fn compare(
        &mut self,
        case: &Case,
        what: &str,
        one: &Steps,
        other: &Steps,
        view: fn(&mut Normaliser, &StepRun) -> String,
    ) {
        let (Ok(one), Ok(other)) = (one, other) else { return };
        let (mut ours, mut theirs) = (Normaliser::default(), Normaliser::default());
        for (index, (one, other)) in one.iter().zip(other).enumerate() {
            let (left, right) = (view(&mut ours, one), view(&mut theirs, other));
            if left != right && !one.loose && !other.loose {
                let (name, other_name) = (place(one), place(other));
                let sent = &one.request;
                self.find(
                    case,
                    format!(
                        "{what} differ in step {}\n  sent {sent}\n  {name}: {left}\n  {other_name}: {right}",
                        index + 1
                    ),
                );
            }
        }
    }
}

fn place(step: &StepRun) -> String {
    format!("{}/{}", step.target, step.door.name())
}

async fn one(bench: &Bench, case: &Case, plan: &Plan<'_>) -> Outcome {
    let mut outcome = Outcome { cases: 1, ..Outcome::default() };
    if case.cross {
        match plan.shared {
            Some(shared) => cross(bench, case, shared, &mut outcome).await,
            None => outcome.left_out = 1,
        }
        return outcome;
    }
    let staged = |stage| plan.stages.iter().find(|(known, _)| *known == stage).map(|(_, targets)| targets);
    let Some(targets) = case.stage.map_or(Some(plan.separate), staged) else {
        outcome.left_out = 1;
        return outcome;
    };
    let mut by_door: Vec<(Door, [Steps; 2])> = Vec::new();
    for door in doors(case).into_iter().filter(|door| plan.only.is_none_or(|only| only == *door)) {
        let [one, other] = targets;
        let fixed = |target: &Target| Route::Fixed(Site { target: target.clone(), door });
        let (mut left, mut right) = (fixed(one), fixed(other));
        let (left, right) = tokio::join!(bench.run(case, &mut left), bench.run(case, &mut right));
        outcome.take(case, &format!("{}/{}", one.name, door.name()), &left);
        outcome.take(case, &format!("{}/{}", other.name, door.name()), &right);
        outcome.compare(case, "the twins", &left, &right, twin_view);
        by_door.push((door, [left, right]));
    }
    let find = |wanted: Door| by_door.iter().find(|(door, _)| *door == wanted).map(|(_, steps)| steps);
    for twin in 0..2 {
        if let (Some(http), Some(http2)) = (find(Door::Http), find(Door::Http2)) {
            outcome.compare(case, "HTTP/1.1 and HTTP/2", &http[twin], &http2[twin], twin_view);
        }
        if let (Some(http), Some(grpc)) = (find(Door::Http), find(Door::Grpc)) {
            outcome.compare(case, "HTTP and gRPC", &http[twin], &grpc[twin], door_view);
        }
    }
    if let (Some(shared), true) = (plan.shared, case.scatter && case.stage.is_none()) {
        scatter(bench, case, shared, plan.seed, &mut outcome).await;
    }
    outcome
}

/// The doors of a case, HTTP/2 beside HTTP/1.1 where it wants both.
pub fn doors(case: &Case) -> Vec<Door> {
    let all = case.doors.clone().unwrap_or_else(|| vec![Door::Http, Door::Grpc]);
    let also = (case.http2 && all.contains(&Door::Http)).then_some(Door::Http2);
    all.into_iter().chain(also).collect()
}

/// Both orders of the twins, and every order of the two doors.
async fn cross(bench: &Bench, case: &Case, shared: &[Target; 2], outcome: &mut Outcome) {
    let [rust, go] = shared;
    for pair in [[rust.clone(), go.clone()], [go.clone(), rust.clone()]] {
        for doors in [
            [Door::Http, Door::Http],
            [Door::Http, Door::Grpc],
            [Door::Grpc, Door::Http],
            [Door::Grpc, Door::Grpc],
        ] {
            let place =
                format!("{}/{} then {}/{}", pair[0].name, doors[0].name(), pair[1].name, doors[1].name());
            let steps = bench.run(case, &mut Route::Cross(pair.clone(), doors)).await;
            outcome.take(case, &place, &steps);
        }
    }
}

/// Each step to a twin and a door at random; the draw depends on the case's name, not on the order of cases.
async fn scatter(bench: &Bench, case: &Case, shared: &[Target; 2], seed: u64, outcome: &mut Outcome) {
    let sites = shared
        .iter()
        .flat_map(|target| doors(case).into_iter().map(|door| Site { target: target.clone(), door }));
    let draw = Draw::new(seed, &format!("{}: {}", case.area, case.name));
    let steps = bench.run(case, &mut Route::Scatter(sites.collect(), Box::new(draw))).await;
    outcome.take(case, &format!("scattered with seed {seed}"), &steps);
}

/// All that both twins must show alike.
fn twin_view(normaliser: &mut Normaliser, step: &StepRun) -> String {
    let reply = &step.reply;
    let headers: Vec<_> =
        COMPARED.iter().filter_map(|name| Some(format!("{name}: {}", reply.header(name)?))).collect();
    let code = reply.code.map(super::contract::code_name).unwrap_or_default();
    let named = reply.payment_id.as_deref().unwrap_or_default();
    normaliser.apply(&format!("{} {code} {named} [{}] {}", reply.status, headers.join(", "), reply.text))
}

/// All that both doors must show alike; ids are numbered anew in each step, since only HTTP shows a declined payment.
fn door_view(_: &mut Normaliser, step: &StepRun) -> String {
    let body = comparable(&step.reply).map(|node| node.to_string()).unwrap_or_default();
    Normaliser::default().apply(&format!("{} replayed={} {body}", step.reply.status, step.reply.replayed()))
}
