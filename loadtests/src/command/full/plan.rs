//! What a full run is made of, and how much of each: for 2 cores, wanted are half-widths of 95 % intervals of 3 % for the
//! rate, 2 % for CPU a request, 10 % for p99 and 20 % for p99.9, in two and a half hours.

use anyhow::bail;
use stack::instance::Twin;

use crate::command::compare::SMOKE;
use crate::command::drawn;
use crate::command::solo::{EffortArgs, limits_effort};
use crate::command::task::{Task, traced};
use crate::payments::{Pair, Tuning};
use crate::scenario::{Doors, Overrides, Scenario};
use crate::trace::Door;

/// A scenario to be compared.
struct Compared {
    name: &'static str,
    grpc: bool,
    pairs: usize,
    /// Of each of its controls: as many as its highest percentile needs, 20 000 replies for p99.9.
    control_pairs: usize,
}

/// Over gRPC too where the door is a part of the work that shows: reads are little else, checkout is the default. A quarter
/// of the pairs may be set aside (the bound `disturbed`): what is left has to have intervals, and the replies that the highest
/// percentile needs.
const COMPARED: [Compared; 8] = [
    over_http("checkout", 200, 107),
    over_http("tokenize", 160, 40),
    over_http("sale", 108, 108),
    over_http("read", 160, 56),
    over_grpc("checkout", 40, 20),
    over_grpc("read", 160, 56),
    over_http("waiting", 14, 14),
    over_http("connections", 24, 14),
];
/// Each on each service.
const ALONE: [&str; 3] = ["overload", "spike", "soak"];
/// Parts that are no scenario.
const LIMITS: &str = "limits";
const LOOKING: &str = "looking";
const SOLO: &str = "solo";
/// With tuned services too: the default, and a mix of all the others.
const TUNED: &str = "checkout";
/// Every request is traced of these: so many pairs give thousands of requests.
const TRACED: [&str; 2] = ["checkout", "checkout-grpc"];
const TRACED_PAIRS: usize = 40;
/// Each of what is tuned is played on so many of its pairs.
const TUNED_PAIRS: usize = 30;
/// Of a trial.
const TRIAL_CONTROL_PAIRS: usize = 2;

const fn over_http(name: &'static str, pairs: usize, control_pairs: usize) -> Compared {
    Compared { name, grpc: false, pairs, control_pairs }
}

const fn over_grpc(name: &'static str, pairs: usize, control_pairs: usize) -> Compared {
    Compared { grpc: true, ..over_http(name, pairs, control_pairs) }
}

/// A part to be played.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What `--only` calls it.
    pub group: String,
    /// What it is.
    pub task: Task,
}

/// All parts that are `only` these, in their order; none named: all. With those of tuned services where it is said how. A
/// scenario that couldn't be played is said here.
pub fn planned(only: &[String], smoke: bool, tuning: Option<&Tuning>) -> anyhow::Result<Vec<Planned>> {
    let planned = chosen(all(smoke, tuning)?, only)?;
    let mut looked_at: Vec<&Scenario> = Vec::new();
    for scenario in planned.iter().filter_map(|one| one.task.scenario()) {
        if !looked_at.contains(&scenario) {
            drawn(scenario)?;
            looked_at.push(scenario);
        }
    }
    Ok(planned)
}

fn all(smoke: bool, tuning: Option<&Tuning>) -> anyhow::Result<Vec<Planned>> {
    let compared =
        COMPARED.iter().map(|one| one.scenario(smoke)).collect::<anyhow::Result<Vec<Scenario>>>()?;
    let effort = if smoke { EffortArgs::TRIAL } else { EffortArgs::WHOLE };
    let limits = if smoke { limits_effort(0.3, 1) } else { limits_effort(3.0, 5) };
    let in_group = |group: &str, task: Task| Planned { group: group.to_owned(), task };
    let mut all = vec![in_group(LIMITS, Task::Limits(limits)), in_group(LOOKING, Task::Looking(limits))];
    for (one, scenario) in COMPARED.iter().zip(&compared) {
        let pairs = if smoke { TRIAL_CONTROL_PAIRS } else { one.control_pairs };
        let control = |twin| Task::Control { of: scenario.clone(), twin, pairs };
        all.push(in_group(&scenario.name, Task::Compared(scenario.clone())));
        all.extend(Twin::ALL.map(|twin| in_group(&scenario.name, control(twin))));
        if let Some(tuning) = tuning.filter(|_| scenario.name == TUNED) {
            let pairs = scenario.pairs.min(TUNED_PAIRS);
            let tuned = Task::tuned(scenario, pairs, &Pair::default(), tuning);
            all.extend(tuned.into_iter().map(|task| in_group(&scenario.name, task)));
        }
        if TRACED.contains(&scenario.name.as_str()) {
            let pairs = if smoke { scenario.pairs } else { TRACED_PAIRS };
            all.push(in_group(&scenario.name, Task::Traced(traced(scenario, pairs))));
        }
    }
    // A capacity is one of the service, and the doors differ by less than its bracket is wide.
    let http = compared.iter().zip(&COMPARED).filter(|(_, one)| !one.grpc);
    let http: Vec<_> = http.map(|(scenario, _)| scenario.clone()).collect();
    let seed = http.first().map_or(1, |scenario| scenario.seed);
    all.extend(effort.tasks(&http, seed).into_iter().map(|task| in_group(SOLO, task)));
    for name in ALONE {
        let scenario = alone(name, smoke)?;
        all.extend(Twin::ALL.map(|twin| in_group(name, Task::Alone(scenario.clone(), twin))));
    }
    Ok(all)
}

fn chosen(all: Vec<Planned>, only: &[String]) -> anyhow::Result<Vec<Planned>> {
    if let Some(unknown) = only.iter().find(|name| !all.iter().any(|one| one.group == **name)) {
        let mut groups: Vec<_> = all.iter().map(|one| one.group.as_str()).collect();
        groups.dedup();
        bail!("--only: there is no part `{unknown}`; there are {}", groups.join(", "));
    }
    let wanted = |one: &Planned| only.is_empty() || only.contains(&one.group);
    Ok(all.into_iter().filter(wanted).collect())
}

impl Compared {
    fn scenario(&self, smoke: bool) -> anyhow::Result<Scenario> {
        let doors = self.grpc.then(|| Doors::only(Door::Grpc));
        let whole = Overrides { pairs: Some(self.pairs), ..Overrides::default() };
        let scenario = if smoke { trial(self.name, SMOKE)? } else { Scenario::load(self.name, &whole)? };
        let name = if self.grpc { format!("{}-grpc", self.name) } else { scenario.name.clone() };
        Ok(Scenario { name, doors: doors.unwrap_or(scenario.doors), ..scenario })
    }
}

fn alone(name: &str, smoke: bool) -> anyhow::Result<Scenario> {
    if smoke {
        return trial(name, Overrides { pairs: Some(2), ..SMOKE });
    }
    Ok(Scenario::load(name, &Overrides::default())?)
}

fn trial(name: &str, overrides: Overrides) -> anyhow::Result<Scenario> {
    let whole = Scenario::load(name, &Overrides::default())?;
    // A multiple of the capacity is no rate.
    let multiples = whole.solo.as_ref().is_some_and(|solo| solo.times_capacity);
    let rate = overrides.rate.filter(|_| !multiples);
    // What the load is about takes more than one think time to make.
    let making = if whole.warm_up_flows.is_empty() { 1.0 } else { 3.0 };
    Ok(Scenario::load(name, &Overrides { rate, warm_up_seconds: Some(making), ..overrides })?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::budget::GROUND;
    use crate::payments::USUAL_TUNING;
    use crate::stats::PAIRS_MIN;
    use crate::validity::DISTURBED_MAX;

    fn usual() -> Tuning {
        Tuning::read(USUAL_TUNING.as_ref()).unwrap()
    }

    fn seconds(planned: &[Planned]) -> f64 {
        planned.iter().map(|one| GROUND + one.task.seconds()).sum()
    }

    /// Of so many pairs, where as many are set aside as may be.
    fn left(pairs: usize) -> usize {
        (pairs as f64 * (1.0 - DISTURBED_MAX)) as usize
    }

    #[test]
    fn what_has_the_replies_for_a_percentile_has_them_still_where_pairs_are_set_aside() {
        const FOR_P999: usize = 20_000;
        for one in &COMPARED {
            let of = one.scenario(false).unwrap();
            let trace = drawn(&of).unwrap().trace;
            let replies = |pairs: usize| {
                let slices = pairs as u64 * of.slice_ms * 1000;
                trace.window(of.warm_up_us(), of.warm_up_us() + slices).len()
            };
            for pairs in [one.pairs, one.control_pairs] {
                let (all, kept) = (replies(pairs), replies(left(pairs)));
                assert!(all < FOR_P999 || kept >= FOR_P999, "{}: {kept} of {pairs} pairs", of.name);
            }
        }
    }

    #[test]
    fn all_of_it_takes_between_one_hour_and_two_and_a_half() {
        for tuning in [None, Some(&usual())] {
            let minutes = seconds(&all(false, tuning).unwrap()) / 60.0;
            assert!((60.0..150.0).contains(&minutes), "{minutes} minutes");
        }
    }

    #[test]
    fn the_checkout_is_played_on_tuned_services_too_where_it_is_said_how() {
        let names = |only: &str| {
            let planned = planned(&[only.to_owned()], true, Some(&usual())).unwrap();
            planned.iter().map(|one| one.task.name()).collect::<Vec<_>>()
        };
        let rows = ["Rust tuned against Go tuned", "Rust tuned against Rust", "Go tuned against Go"];
        assert_eq!(names("checkout")[3..6], rows.map(|row| format!("checkout, {row}")));
        assert_eq!(names("sale").len(), 3);
    }

    #[test]
    fn every_scenario_has_its_controls_with_an_interval_and_no_two_parts_one_name() {
        let all = all(false, Some(&usual())).unwrap();
        let names: BTreeSet<String> = all.iter().map(|one| one.task.name()).collect();
        assert_eq!(names.len(), all.len());
        for one in &all {
            let pairs = match &one.task {
                Task::Compared(scenario) => scenario.pairs,
                Task::Control { pairs, .. } | Task::Tuned { pairs, .. } => *pairs,
                Task::Traced(_) => continue,
                Task::Limits(_)
                | Task::Looking(_)
                | Task::Capacity(..)
                | Task::Footprints(..)
                | Task::Alone(..) => continue,
            };
            assert!(left(pairs) >= PAIRS_MIN, "{}: {pairs} pairs", one.task.name());
        }
        let count = |name: &str| all.iter().filter(|one| one.group == name).count();
        assert_eq!(["checkout", "checkout-grpc", "waiting", "soak", "limits"].map(count), [7, 4, 3, 2, 1]);
        // Checkout, tokenize and sale name a bound; then start and memory.
        assert_eq!(count("solo"), 4);
    }

    #[test]
    fn every_part_of_a_trial_can_be_played() {
        assert_eq!(planned(&[], true, None).unwrap().len(), all(false, None).unwrap().len());
    }

    #[test]
    fn only_what_is_named_is_planned_and_what_there_is_not_is_said() {
        let only = ["spike".to_owned(), "limits".to_owned()];
        let names: Vec<_> = planned(&only, true, None).unwrap().iter().map(|one| one.task.name()).collect();
        assert_eq!(names, ["limits of the machine", "spike, Rust alone", "spike, Go alone"]);
        let said = planned(&["spike".into(), "peak".into()], true, None).unwrap_err().to_string();
        assert!(
            said.starts_with("--only: there is no part `peak`; there are limits, looking, checkout, "),
            "{said}"
        );
    }

    #[test]
    fn the_sum_is_of_the_parts() {
        let all = all(false, None).unwrap();
        let of = |only: &str| seconds(&chosen(all.clone(), &[only.to_owned()]).unwrap());
        let groups: BTreeSet<_> = all.iter().map(|one| one.group.as_str()).collect();
        assert!((groups.into_iter().map(of).sum::<f64>() - seconds(&all)).abs() < 1e-6);
        // Five times three seconds of twelve kinds and of what warms half of them up, on a ground of its own.
        assert!((of("limits") - GROUND - 196.0).abs() < 1e-9);
    }
}
