//! The subcommands about load: their arguments, and what they print. Each ends in an exit code.

pub mod calibrate;
pub mod compare;
pub mod development;
pub mod diff;
pub mod folder;
pub mod full;
pub mod golden;
pub mod limits;
pub mod model;
pub mod parts;
pub mod receive;
pub mod replay;
pub mod run;
pub mod signals;
pub mod solo;
pub mod tabled;
pub mod task;
pub mod trace;
pub mod traces;
pub mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::payments::Payments;
use crate::plain::{self, Plain};
use crate::scenario::{Doors, Overrides, Scenario, ScenarioError, locate};
use crate::toml_lines::line_of;
use crate::trace::{Door, Trace};
use crate::workload::Workload;

/// In place of the scenario file's values.
#[derive(Debug, Clone, Default, Args)]
pub struct OverrideArgs {
    /// Flows that begin a second, in the warm-up and in every stage
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Pairs of slices: each slice is played on both services
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,
    /// Length of a slice in milliseconds
    #[arg(long, value_name = "MS")]
    slice: Option<u64>,
    /// Seed of the trace and of the order in warm-up and pairs [default: the file's, and another order for each run]
    #[arg(long)]
    seed: Option<u64>,
    /// Length of the warm-up in seconds
    #[arg(long, value_name = "SECONDS")]
    warm_up: Option<f64>,
    /// Play this trace, which `loadtest trace` wrote, instead of drawing one. The scenario and the options that it was
    /// written with say all the rest
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// How requests get in; both is http and grpc, half of the flows each
    #[arg(long, value_enum)]
    door: Option<DoorArg>,
}

/// Of `--door`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum DoorArg {
    Http,
    Http2,
    Grpc,
    Both,
}

impl DoorArg {
    fn doors(self) -> Doors {
        match self {
            Self::Http => Doors::only(Door::Http),
            Self::Http2 => Doors::only(Door::Http2),
            Self::Grpc => Doors::only(Door::Grpc),
            Self::Both => Doors::http_and_grpc(),
        }
    }
}

impl OverrideArgs {
    /// As the scenario takes them.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            rate: self.rate,
            pairs: self.pairs,
            slice_ms: self.slice,
            seed: self.seed,
            warm_up_seconds: self.warm_up,
            doors: self.door.map(DoorArg::doors),
            think_time_ms: None,
            trace: self.trace.clone(),
        }
    }
}

/// A scenario that was read, its trace, and who speaks for it.
pub struct Drawn {
    /// As it is in its file, but for what the options change.
    pub scenario: Scenario,
    /// Drawn from it.
    pub trace: Trace,
    /// What its requests are.
    pub workload: Arc<dyn Workload + Send + Sync>,
}

/// Reads a scenario and draws its trace.
pub fn draw(name: &str, overrides: &Overrides) -> anyhow::Result<Drawn> {
    let file = locate(name).display().to_string();
    let mut scenario = Scenario::load(name, overrides).map_err(placed)?;
    let Some(workload) = workload(&scenario) else {
        let (unknown, payments) = (&scenario.workload, Payments.name());
        let problem = format!("unknown workload `{unknown}`, expected {payments} or {}", plain::NAME);
        bail!(placed(ScenarioError::File { file, field: "workload".into(), problem }))
    };
    let trace = match &overrides.trace {
        Some(path) => {
            Trace::check_settings(&file, &scenario, &*workload).map_err(placed)?;
            Trace::read(path, &scenario, &*workload)?
        }
        None => Trace::draw(&file, &scenario, &*workload).map_err(|error| placed(blame(error, overrides)))?,
    };
    scenario.trace_file.clone_from(&overrides.trace);
    Ok(Drawn { scenario, trace, workload })
}

/// The trace of a scenario that was read, and could be drawn, before.
pub fn drawn(scenario: &Scenario) -> anyhow::Result<Drawn> {
    let (name, unknown) = (&scenario.name, &scenario.workload);
    let workload = workload(scenario).with_context(|| format!("{name}: unknown workload `{unknown}`"))?;
    let trace = match &scenario.trace_file {
        Some(path) => Trace::read(path, scenario, &*workload)?,
        None => Trace::draw(name, scenario, &*workload)?,
    };
    Ok(Drawn { scenario: scenario.clone(), trace, workload })
}

/// Who speaks for a scenario's requests; nobody where its workload isn't known here.
pub fn workload(scenario: &Scenario) -> Option<Arc<dyn Workload + Send + Sync>> {
    match scenario.workload.as_str() {
        plain::NAME => Some(Arc::new(Plain::of(scenario))),
        known if known == Payments.name() => Some(Arc::new(Payments)),
        _ => None,
    }
}

/// The same for services that are started here: nobody else's.
pub fn draw_payments(name: &str, overrides: &Overrides) -> anyhow::Result<(Scenario, Trace)> {
    let Drawn { scenario, trace, .. } = draw(name, overrides)?;
    if scenario.workload != Payments.name() {
        bail!("{name}: its workload is {}, which only `loadtest compare` plays", scenario.workload);
    }
    Ok((scenario, trace))
}

/// Refuses a scenario of which a slice says nothing.
pub fn interleavable(scenario: &Scenario) -> anyhow::Result<()> {
    if scenario.solo.as_ref().is_some_and(|solo| solo.only) {
        let name = &scenario.name;
        bail!(
            "{name}: is for one service at a time: loadtest run --service rust --scenario {name}, and again with go"
        );
    }
    Ok(())
}

/// With the line of the field that is wrong.
fn placed(error: ScenarioError) -> ScenarioError {
    let ScenarioError::File { file, field, problem } = error else { return error };
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let line = line_of(&text, &field);
    let field = line.map_or(field.clone(), |line| format!("line {line}: {field}"));
    ScenarioError::File { file, field, problem }
}

/// A trace that is too long by what the options ask for is theirs, not the file's.
fn blame(error: ScenarioError, overrides: &Overrides) -> ScenarioError {
    let options = overrides.sizes();
    match error {
        ScenarioError::File { field, problem, .. } if field == "stages" && !options.is_empty() => {
            ScenarioError::Options { options, problem }
        }
        ScenarioError::File { .. } | ScenarioError::Options { .. } => error,
    }
}
