//! The workload `plain`: its operations are what the scenario writes down.

use std::collections::BTreeMap;

use serde_json::Value;

use super::player::PlainPlayer;
use super::spec::{Each, RequestSpec, Source};
use crate::draw::Draw;
use crate::scenario::{Flow, Parameters, Scenario};
use crate::trace::Trace;
use crate::workload::{Operation, Player, PlayerTarget, Workload};

/// As scenarios name it.
pub const NAME: &str = "plain";
/// The parameter that tells the requests of one flow from those of the others.
pub const FLOW: &str = "flow";
/// The flow of the warm-up whose saved values it may use, too.
pub const ABOUT: &str = "about";
/// So many flows that two of a trace are never called the same.
const FLOWS: u64 = 1 << 53;

/// The workload `plain` of one scenario.
pub struct Plain {
    requests: Vec<RequestSpec>,
    draw: BTreeMap<String, Source>,
    operations: Vec<Operation>,
}

impl Plain {
    /// Of a scenario that was checked.
    pub fn of(scenario: &Scenario) -> Self {
        let requests = scenario.requests.clone();
        let operation = |request: &RequestSpec| {
            let names = request.names();
            let saves = |other: &&RequestSpec| other.save.keys().any(|name| names.contains(name));
            let needs: Vec<_> = requests.iter().filter(saves).map(|other| kept(&other.name)).collect();
            Operation { name: kept(&request.name), needs: needs.leak() }
        };
        let operations = requests.iter().map(operation).collect();
        Self { requests, draw: scenario.draw.clone(), operations }
    }
}

/// Operations' names are there as long as the process: records of every thread refer to them. A scenario has a few.
fn kept(name: &str) -> &'static str {
    name.to_owned().leak()
}

impl Workload for Plain {
    fn name(&self) -> &'static str {
        NAME
    }

    fn operations(&self) -> &[Operation] {
        &self.operations
    }

    fn check_flow(&self, flow: &Flow) -> Result<(), String> {
        let known = "the workload plain has none: what varies is in [draw]";
        flow.parameters
            .keys()
            .next()
            .map_or(Ok(()), |name| Err(format!("unknown parameter `{name}`: {known}")))
    }

    fn draw_flow(&self, flow: &Flow, about: Option<&Parameters>, draw: &mut Draw) -> Vec<Parameters> {
        let number = draw.below(FLOWS);
        let earlier = |name: &str| about.and_then(|parameters| parameters.get(name)).cloned();
        let whole = self.draw.iter().filter(|(_, source)| source.each == Each::Flow);
        let value = |(name, source): (&String, &Source)| {
            let drawn = source.draw(draw);
            (name.clone(), earlier(name).unwrap_or(drawn))
        };
        let whole: Parameters = whole.map(value).collect();
        let mut step = |name: &String| {
            let Some(request) = self.requests.iter().find(|request| request.name == *name) else {
                return Parameters::new();
            };
            let mut parameters = Parameters::new();
            for name in request.names() {
                if let Some(value) = whole.get(&name) {
                    parameters.insert(name, value.clone());
                } else if let Some(source) = self.draw.get(&name) {
                    parameters.insert(name, source.draw(draw));
                }
            }
            parameters.insert(FLOW.into(), Value::from(number));
            if let Some(about) = earlier(FLOW) {
                parameters.insert(ABOUT.into(), about);
            }
            parameters
        };
        flow.steps.iter().map(&mut step).collect()
    }

    fn player(&self, trace: &Trace, target: &PlayerTarget) -> anyhow::Result<Box<dyn Player>> {
        Ok(Box::new(PlainPlayer::new(&self.requests, trace, target)?))
    }
}
