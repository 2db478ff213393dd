//! What a run is made of: tasks, each measured by itself.

use stack::instance::Twin;

use crate::budget::{after, spoken};
use crate::payments::{Pair, Tuning, capacity, footprint, label};
use crate::scenario::Scenario;
use crate::{budget, limits};

/// Of a scenario's rate, while every request is traced.
const TRACED_RATE: f64 = 0.5;
/// Seconds before it, at most: where time goes is less a matter of warmth than how much it is.
const TRACED_WARM_UP: f64 = 3.0;

/// One of them.
#[derive(Debug, Clone)]
pub enum Task {
    /// The two against each other.
    Compared(Scenario),
    /// One against a second instance of itself, on the scenario's first pairs.
    Control {
        /// The whole scenario.
        of: Scenario,
        /// The one.
        twin: Twin,
        /// Pairs of slices.
        pairs: usize,
    },
    /// Services that are tuned, or one of them and its default, on the scenario's first pairs.
    Tuned {
        /// The whole scenario.
        of: Scenario,
        /// Pairs of slices.
        pairs: usize,
        /// In report.json.
        name: String,
        /// The two.
        pair: Box<Pair>,
        /// How.
        tuning: Box<Tuning>,
    },
    /// Both once more, with every request traced; the scenario is as `traced` makes it.
    Traced(Scenario),
    /// What the machine could do at most.
    Limits(limits::Effort),
    /// What it costs to be traced.
    Looking(limits::Effort),
    /// How much each service takes of a scenario that names a bound.
    Capacity(Scenario, capacity::Effort),
    /// What each service takes beside the work; the scenario is its load.
    Footprints(Scenario, footprint::Effort),
    /// All of a scenario on one service.
    Alone(Scenario, Twin),
}

impl Task {
    /// A scenario's first `pairs` with services that are tuned: both, then each and its default.
    pub fn tuned(of: &Scenario, pairs: usize, pair: &Pair, tuning: &Tuning) -> Vec<Self> {
        let row = |(name, pair)| Self::Tuned {
            of: of.clone(),
            pairs,
            name,
            pair: Box::new(pair),
            tuning: Box::new(tuning.clone()),
        };
        pair.rows(tuning).into_iter().map(row).collect()
    }

    /// For a person; no two of a run have the same.
    pub fn name(&self) -> String {
        match self {
            Self::Compared(scenario) => scenario.name.clone(),
            Self::Control { of, twin, .. } => control_name(of, *twin),
            Self::Tuned { of, pair, .. } => tuned_name(of, pair),
            Self::Traced(scenario) => traced_name(scenario),
            Self::Limits(_) => "limits of the machine".into(),
            Self::Looking(_) => "the cost of traces".into(),
            Self::Capacity(scenario, _) => format!("{}, how much each takes alone", scenario.name),
            Self::Footprints(..) => "start and memory of each".into(),
            Self::Alone(scenario, twin) => format!("{}, {} alone", scenario.name, label(*twin)),
        }
    }

    /// How long it takes, about.
    pub fn seconds(&self) -> f64 {
        match self {
            Self::Compared(scenario) | Self::Traced(scenario) => {
                budget::interleaved(scenario, scenario.pairs)
            }
            Self::Control { of, pairs, .. } | Self::Tuned { of, pairs, .. } => {
                budget::interleaved(of, *pairs)
            }
            Self::Limits(effort) => budget::limits(effort),
            Self::Looking(effort) => budget::looking(effort),
            Self::Capacity(scenario, effort) => effort.seconds(scenario),
            Self::Footprints(scenario, effort) => {
                budget::footprints(scenario, effort.starts, effort.repetitions, effort.held)
            }
            Self::Alone(scenario, _) => {
                let multiples = scenario.solo.as_ref().is_some_and(|solo| solo.times_capacity);
                let search = if multiples {
                    capacity::Effort::quick(scenario.seed).search_seconds(scenario)
                } else {
                    0.0
                };
                search + budget::alone(scenario)
            }
        }
    }

    /// The scenario that it plays; limits and the cost of traces play none.
    pub fn scenario(&self) -> Option<&Scenario> {
        match self {
            Self::Compared(scenario)
            | Self::Traced(scenario)
            | Self::Control { of: scenario, .. }
            | Self::Tuned { of: scenario, .. }
            | Self::Capacity(scenario, _)
            | Self::Footprints(scenario, _)
            | Self::Alone(scenario, _) => Some(scenario),
            Self::Limits(_) | Self::Looking(_) => None,
        }
    }
}

/// How long all of them take, about, and until when: a line.
pub fn expected(tasks: &[Task]) -> String {
    let seconds = budget::GROUND + tasks.iter().map(Task::seconds).sum::<f64>();
    let each = tasks.iter().map(|task| format!("{} {}", task.name(), spoken(task.seconds())));
    let each = each.collect::<Vec<_>>().join("; ");
    format!("about {}, until {}: {each}", spoken(seconds), after(seconds))
}

/// A scenario as it is played with every request traced: so slowly that no queue of spans is ever full.
pub fn traced(of: &Scenario, pairs: usize) -> Scenario {
    let mut scenario = Scenario { pairs, ..of.clone() };
    scenario.stages.iter_mut().for_each(|stage| stage.rate *= TRACED_RATE);
    scenario.warm_up.seconds = scenario.warm_up.seconds.min(TRACED_WARM_UP);
    scenario
}

/// The two telling of their requests, in a scenario.
pub fn traced_name(scenario: &Scenario) -> String {
    format!("{}, traced", scenario.name)
}

/// A service against itself, in a scenario.
pub fn control_name(scenario: &Scenario, twin: Twin) -> String {
    format!("{}, {} against itself", scenario.name, label(twin))
}

/// Two tuned services, or one and its default, in a scenario.
pub fn tuned_name(scenario: &Scenario, pair: &Pair) -> String {
    format!("{}, {}", scenario.name, pair.against())
}
