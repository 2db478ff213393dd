//! Whether a report may be believed, whole or in part, and where not, why: the same words in terminal, summary and page.

use super::control::Control;
use super::model::{Report, ScenarioReport};
use super::rows::Compared;
use super::traced::Traced;
use crate::assert::Asserted;
use crate::limits::Limits;
use crate::limits::looking::Looking;
use crate::solo::{Capacity, Footprint, SoloReport, SoloRun};
use crate::validity::Bound;

/// What stands above figures that aren't to be used.
pub const VOID: &str = "Void: these numbers are not a result.";

/// What stands above everything: whether it may be believed, and where not, why.
pub fn standing(report: &Report) -> (&'static str, &[String]) {
    if report.void.is_empty() || is_void_whole(report) {
        return standing_of(&report.void, &report.allowed);
    }
    ("Void in part: what is named here is not a result; everything else is.", &report.void)
}

/// The same by the reasons for its being void, and the missed bounds that were allowed to be.
pub fn standing_of<'a>(void: &'a [String], allowed: &'a [String]) -> (&'static str, &'a [String]) {
    match (void.is_empty(), allowed.is_empty()) {
        (false, _) => (VOID, void),
        (true, false) => {
            ("Valid only as a trial: these bounds were missed, and were allowed to be.", allowed)
        }
        (true, true) => ("Valid: every bound was kept.", &[]),
    }
}

/// A scenario's own figures are no result. One whose controls are void is void: a control that isn't valid controls nothing.
pub fn is_void(report: &Report, scenario: &ScenarioReport) -> bool {
    is_void_whole(report) || named(report, &reasons_of_timed(scenario, Bound::voids))
}

/// The same of what its traces say.
pub fn is_void_traced(report: &Report, scenario: &str, traced: &Traced) -> bool {
    is_void_whole(report) || named(report, &reasons_of_traced(scenario, traced, Bound::voids))
}

/// The report says why: its list is what counts.
fn named(report: &Report, reasons: &[String]) -> bool {
    reasons.iter().any(|reason| report.void.contains(reason))
}

/// Nothing of it is a result: something happened that no part stands for (it was interrupted, a service died), or nothing
/// is left.
fn is_void_whole(report: &Report) -> bool {
    let Report { limits, looking, solo, .. } = report;
    let beside = reasons_beside(limits.as_ref(), looking.as_ref(), solo.as_ref(), Bound::voids);
    let bounds =
        [reasons(&report.scenarios, Bound::voids), reasons_alone(&report.alone, Bound::voids), beside]
            .concat();
    let left = report.scenarios.iter().any(|scenario| reasons_of_timed(scenario, Bound::voids).is_empty())
        || report.alone.iter().any(|run| run.void.is_empty());
    report.void.iter().any(|reason| !bounds.contains(reason)) || (!report.void.is_empty() && !left)
}

/// How an assert came out.
pub fn assert_word(report: &Report, asserted: &Asserted) -> &'static str {
    let scenario = report.scenarios.iter().find(|one| one.scenario.name == asserted.scenario);
    let void = scenario.map_or(!report.void.is_empty(), |scenario| is_void(report, scenario));
    match (void, asserted.held) {
        (true, _) => "the run is void",
        (false, true) => "held",
        (false, false) => "NOT HELD",
    }
}

/// A sentence for each bound that `which` picks, with the part of the scenario that missed it.
pub fn reasons(scenarios: &[ScenarioReport], which: fn(&Bound) -> bool) -> Vec<String> {
    let of = |scenario: &ScenarioReport| {
        let name = &scenario.scenario.name;
        let tuned = scenario.rows.iter().flat_map(|rows| &rows.compared);
        let tuned = tuned.flat_map(|compared| reasons_of_tuned(name, compared, which));
        let traced = scenario.traced.iter().flat_map(|traced| reasons_of_traced(name, traced, which));
        reasons_of_timed(scenario, which).into_iter().chain(tuned).chain(traced).collect::<Vec<_>>()
    };
    scenarios.iter().flat_map(of).collect()
}

/// The same of what its own figures stand on.
fn reasons_of_timed(scenario: &ScenarioReport, which: fn(&Bound) -> bool) -> Vec<String> {
    let name = &scenario.scenario.name;
    let controls = scenario.controls.iter().flat_map(|control| reasons_of_control(name, control, which));
    missed(name, &scenario.validity, which).into_iter().chain(controls).collect()
}

/// The same of one control, in the scenario of this name.
pub fn reasons_of_control(scenario: &str, control: &Control, which: fn(&Bound) -> bool) -> Vec<String> {
    let place = format!("{scenario}, {} against itself", control.label);
    missed(&place, &control.report.validity, which)
}

/// The same of tuned services.
pub fn reasons_of_tuned(scenario: &str, compared: &Compared, which: fn(&Bound) -> bool) -> Vec<String> {
    missed(&format!("{scenario}, {}", compared.label), &compared.report.validity, which)
}

/// The same of services that tell of their requests.
pub fn reasons_of_traced(scenario: &str, traced: &Traced, which: fn(&Bound) -> bool) -> Vec<String> {
    missed(&format!("{scenario}, traced"), &traced.validity, which)
}

/// The same of services alone.
pub fn reasons_alone(runs: &[SoloRun], which: fn(&Bound) -> bool) -> Vec<String> {
    let of = |run: &SoloRun| {
        let place = format!("{}, {} alone", run.scenario.name, run.service.label);
        missed(&place, &run.validity, which)
    };
    runs.iter().flat_map(of).collect()
}

/// The same of all that is measured beside a comparison.
pub fn reasons_beside(
    limits: Option<&Limits>,
    looking: Option<&Looking>,
    solo: Option<&SoloReport>,
    which: fn(&Bound) -> bool,
) -> Vec<String> {
    let limits = limits.into_iter().flat_map(|limits| reasons_of_limits(limits, which));
    let looking = looking.into_iter().flat_map(|looking| reasons_of_looking(looking, which));
    let solo = solo.into_iter().flat_map(|solo| reasons_of_solo(solo, which));
    limits.chain(looking).chain(solo).collect()
}

/// The same of the machine's limits.
pub fn reasons_of_limits(limits: &Limits, which: fn(&Bound) -> bool) -> Vec<String> {
    missed("limits", &limits.surroundings.validity, which)
}

/// The same of what it costs to be traced.
pub fn reasons_of_looking(looking: &Looking, which: fn(&Bound) -> bool) -> Vec<String> {
    missed("the cost of traces", &looking.surroundings.validity, which)
}

/// The same of capacities, and of what services take beside the work.
pub fn reasons_of_solo(solo: &SoloReport, which: fn(&Bound) -> bool) -> Vec<String> {
    let capacities = solo.capacities.iter().flat_map(|capacity| reasons_of_capacity(capacity, which));
    capacities.chain(reasons_of_footprints(&solo.footprints, which)).collect()
}

/// The same of one capacity.
pub fn reasons_of_capacity(capacity: &Capacity, which: fn(&Bound) -> bool) -> Vec<String> {
    missed(&format!("{}, capacity", capacity.scenario), &capacity.surroundings.validity, which)
}

/// The same of what services take beside the work.
pub fn reasons_of_footprints(footprints: &[Footprint], which: fn(&Bound) -> bool) -> Vec<String> {
    let of = |footprint: &Footprint| {
        missed(&format!("start and memory of {}", footprint.label), &footprint.surroundings.validity, which)
    };
    footprints.iter().flat_map(of).collect()
}

fn missed(place: &str, validity: &[Bound], which: fn(&Bound) -> bool) -> Vec<String> {
    let sentence =
        |bound: &Bound| format!("{place}, {}: {}; it was {}.", bound.name, bound.asks, bound.measured);
    validity.iter().filter(|bound| which(bound)).map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::surroundings::{Care, Meanwhile, Surroundings};
    use crate::validity::Bound;

    fn bound(held: bool) -> Bound {
        let (asks, measured) = ("early enough".into(), "late".into());
        Bound { name: "lag".into(), asks, measured, held, allowed: false, applies: true }
    }

    /// Two scenarios, of which one was played traced and has a control; all bounds are kept.
    fn valid() -> Report {
        let mut scenario = sample::scenario(12, vec![]);
        scenario.validity = vec![bound(true)];
        let mut other = scenario.clone();
        other.scenario.name = "read".into();
        scenario.controls = vec![sample::control("Go", vec![])];
        scenario.traced = Some(Box::new(sample::traced(vec![bound(true)])));
        Report { scenarios: vec![scenario, other], ..sample::report() }
    }

    /// What is void: the whole, the first scenario, what its traces say, the second scenario.
    fn void(change: fn(&mut Report)) -> (&'static str, [bool; 3]) {
        let mut report = valid();
        change(&mut report);
        let found = reasons(&report.scenarios, Bound::voids);
        report.void.extend(found);
        let [first, second] = &report.scenarios[..] else { panic!("two scenarios") };
        let traced = is_void_traced(&report, "checkout", first.traced.as_ref().unwrap());
        (standing(&report).0, [is_void(&report, first), traced, is_void(&report, second)])
    }

    #[test]
    fn only_what_missed_a_bound_is_void_and_what_stands_on_it() {
        let part = "Void in part: what is named here is not a result; everything else is.";
        assert_eq!(void(|_| ()), ("Valid: every bound was kept.", [false; 3]));
        let traced = |report: &mut Report| {
            report.scenarios[0].traced.as_mut().unwrap().validity.push(bound(false));
        };
        assert_eq!(void(traced), (part, [false, true, false]));
        let control = |report: &mut Report| {
            report.scenarios[0].controls[0].report.validity.push(bound(false));
        };
        assert_eq!(void(control), (part, [true, false, false]));
        assert_eq!(
            void(|report| report.scenarios[1].validity.push(bound(false))),
            (part, [false, false, true])
        );
    }

    #[test]
    fn what_is_measured_beside_a_comparison_is_void_by_itself() {
        let seen = vec![Meanwhile { wall_ns: 100, stolen_ns: 6, ..Meanwhile::default() }];
        let surroundings = Surroundings::of(seen, &Care::default());
        let (mut report, at) = (valid(), surroundings.clone());
        report.limits = Some(Limits { seconds: 1.0, rows: vec![], saturations: vec![], surroundings });
        let (rows, left_out) = (vec![], vec![]);
        let footprint = Footprint { label: "Go".into(), rows, left_out, surroundings: at };
        report.solo = Some(SoloReport { capacities: vec![], footprints: vec![footprint] });
        let Report { limits, looking, solo, .. } = &report;
        let void = reasons_beside(limits.as_ref(), looking.as_ref(), solo.as_ref(), Bound::voids);
        let begins: Vec<_> = void.iter().map(|reason| reason.split(": ").next().unwrap()).collect();
        assert_eq!(begins, ["limits, stolen", "start and memory of Go, stolen"]);
        report.void = void;
        assert!(!is_void_whole(&report) && !is_void(&report, &report.scenarios[0]));
    }

    #[test]
    fn all_is_void_where_something_else_happened_or_nothing_is_left() {
        assert_eq!(void(|report| report.void.push("The run was interrupted.".into())), (VOID, [true; 3]));
        let each = |report: &mut Report| {
            report.scenarios.iter_mut().for_each(|scenario| scenario.validity.push(bound(false)));
        };
        assert_eq!(void(each), (VOID, [true; 3]));
    }

    #[test]
    fn an_assert_is_judged_where_its_scenario_is_valid() {
        let mut report = valid();
        report.scenarios[1].validity.push(bound(false));
        report.void = reasons(&report.scenarios, Bound::voids);
        let word = |scenario: &str, held| {
            let (assert, measured) = ("errors==0".into(), "0".into());
            let scenario = scenario.into();
            assert_word(&report, &Asserted { assert, scenario, figure: None, interval: None, measured, held })
        };
        assert_eq!(
            [word("checkout", true), word("checkout", false), word("read", true)],
            ["held", "NOT HELD", "the run is void"]
        );
    }
}
