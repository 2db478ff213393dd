//! How much of a scenario's requests a limit of the machine is about.

use crate::scenario::{Flow, Scenario};

/// Of a scenario's requests those that are of one of the operations; of none: all.
pub fn part(scenario: &Scenario, operations: &[String]) -> f64 {
    if operations.is_empty() {
        return 1.0;
    }
    let count = |of: &dyn Fn(&Flow) -> usize| -> f64 {
        scenario.flows.iter().map(|flow| f64::from(flow.share) * of(flow) as f64).sum()
    };
    let ours = |flow: &Flow| flow.steps.iter().filter(|step| operations.contains(step)).count();
    count(&ours) / count(&|flow| flow.steps.len())
}
