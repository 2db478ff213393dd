//! Whether a report may be believed, whole or in part, and where not, why: the same words in terminal, summary and page.

use std::iter;

use super::control::Control;
use super::model::{Failed, Report, ScenarioReport};
use super::rows::Compared;
use super::traced::Traced;
use crate::assert::Asserted;
use crate::limits::Limits;
use crate::limits::looking::Looking;
use crate::solo::{Capacity, Footprint, SoloReport, SoloRun};
use crate::validity::Bound;

/// What stands above figures that aren't to be used.
pub const VOID: &str = "Void: these numbers are not a result.";

/// What stands above figures of which some are.
const PART: &str = "Void in part: what is named here is not a result; everything else is.";

/// What stands above everything: whether it may be believed, and where not, why.
pub fn standing(report: &Report) -> (&'static str, Vec<String>) {
    if report.void.is_empty() || is_void_whole(report) {
        return standing_of(&report.void, &report.allowed, is_trial(report));
    }
    let only =
        report.allowed.iter().map(|reason| format!("Only a trial, as a missed bound was allowed: {reason}"));
    (PART, report.void.iter().cloned().chain(only).collect())
}

/// The same by the reasons for its being void, and the missed bounds that were allowed to be; `trial`: it was short, with
/// light hashes and loose bounds.
pub fn standing_of(void: &[String], allowed: &[String], trial: bool) -> (&'static str, Vec<String>) {
    match (void.is_empty(), allowed.is_empty(), trial) {
        (false, ..) => (VOID, void.to_vec()),
        (true, false, _) => {
            ("Valid only as a trial: these bounds were missed, and were allowed to be.", allowed.to_vec())
        }
        (true, true, true) => (
            "Valid only as a trial: short, with light hashes, under loose bounds; each of them was kept.",
            vec![],
        ),
        (true, true, false) => ("Valid: every bound was kept.", vec![]),
    }
}

/// Whether it, or a part of it, was only to show that everything works.
pub fn is_trial(report: &Report) -> bool {
    let compared = report.scenarios.iter().map(|scenario| scenario.basis.trial);
    compared.chain(report.alone.iter().map(|run| run.basis.trial)).any(|trial| trial)
}

/// A scenario's own figures are no result. One whose controls are void is void: a control that isn't valid controls nothing.
pub fn is_void(report: &Report, scenario: &ScenarioReport) -> bool {
    let without = failed_of(report, scenario, Bound::voids);
    is_void_whole(report)
        || named(report, &reasons_of_timed(scenario, Bound::voids))
        || named(report, &without)
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
    let parts = parts(report, Bound::voids);
    let stands_for = |reason: &String| parts.iter().flatten().any(|named| named == reason);
    !report.void.is_empty()
        && (parts.iter().all(|part| !part.is_empty()) || !report.void.iter().all(stands_for))
}

/// How an assert came out.
pub fn assert_word(report: &Report, asserted: &Asserted) -> &'static str {
    let scenario = report.scenarios.iter().find(|one| one.scenario.name == asserted.scenario);
    let void = scenario.map_or(!report.void.is_empty(), |scenario| is_void(report, scenario));
    assert_word_of(void, asserted.held)
}

/// The same of figures that are void or aren't.
pub fn assert_word_of(void: bool, held: bool) -> &'static str {
    match (void, held) {
        (true, _) => "the run is void",
        (false, true) => "held",
        (false, false) => "NOT HELD",
    }
}

/// A sentence for each bound that `which` picks, with the part of the report that missed it.
pub fn reasons(report: &Report, which: fn(&Bound) -> bool) -> Vec<String> {
    parts(report, which).concat()
}

/// The same, each part that can be void by itself apart.
fn parts(report: &Report, which: fn(&Bound) -> bool) -> Vec<Vec<String>> {
    let scenarios = report.scenarios.iter().flat_map(|scenario| {
        let mut parts = parts_of_scenario(scenario, which);
        parts[0].extend(failed_of(report, scenario, which));
        parts
    });
    let alone = report.alone.iter().map(|run| reasons_of_alone(run, which));
    let limits = report.limits.iter().map(|limits| reasons_of_limits(limits, which));
    let looking = report.looking.iter().map(|looking| reasons_of_looking(looking, which));
    let solo = report.solo.iter().flat_map(|solo| parts_of_solo(solo, which));
    let failed = report.failed.iter().filter(|failed| failed.of.is_none());
    let failed = failed.map(|failed| reasons_of_failed(failed, which));
    scenarios.chain(alone).chain(limits).chain(looking).chain(solo).chain(failed).collect()
}

/// The same of what a scenario's own figures don't stand without.
fn failed_of(report: &Report, scenario: &ScenarioReport, which: fn(&Bound) -> bool) -> Vec<String> {
    let name = Some(&scenario.scenario.name);
    let failed = report.failed.iter().filter(|failed| failed.of.as_ref() == name);
    failed.flat_map(|failed| reasons_of_failed(failed, which)).collect()
}

fn reasons_of_failed(failed: &Failed, which: fn(&Bound) -> bool) -> Vec<String> {
    missed(&failed.part, &failed.validity, which)
}

/// The same of one scenario with all that belongs to it.
pub fn reasons_of_scenario(scenario: &ScenarioReport, which: fn(&Bound) -> bool) -> Vec<String> {
    parts_of_scenario(scenario, which).concat()
}

fn parts_of_scenario(scenario: &ScenarioReport, which: fn(&Bound) -> bool) -> Vec<Vec<String>> {
    let name = &scenario.scenario.name;
    let tuned = scenario.rows.iter().flat_map(|rows| &rows.compared);
    let tuned = tuned.map(|compared| reasons_of_tuned(name, compared, which));
    let traced = scenario.traced.iter().map(|traced| reasons_of_traced(name, traced, which));
    iter::once(reasons_of_timed(scenario, which)).chain(tuned).chain(traced).collect()
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

/// The same of a service alone.
pub fn reasons_of_alone(run: &SoloRun, which: fn(&Bound) -> bool) -> Vec<String> {
    missed(&format!("{}, {} alone", run.scenario.name, run.service.label), &run.validity, which)
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
    parts_of_solo(solo, which).concat()
}

fn parts_of_solo(solo: &SoloReport, which: fn(&Bound) -> bool) -> Vec<Vec<String>> {
    let capacities = solo.capacities.iter().map(|one| reasons_of_capacity(one, which));
    capacities.chain(solo.footprints.iter().map(|one| reasons_of_footprint(one, which))).collect()
}

/// The same of one capacity.
pub fn reasons_of_capacity(capacity: &Capacity, which: fn(&Bound) -> bool) -> Vec<String> {
    missed(&format!("{}, capacity", capacity.scenario), &capacity.surroundings.validity, which)
}

/// The same of what a service takes beside the work.
pub fn reasons_of_footprint(footprint: &Footprint, which: fn(&Bound) -> bool) -> Vec<String> {
    missed(&format!("start and memory of {}", footprint.label), &footprint.surroundings.validity, which)
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
        let found = reasons(&report, Bound::voids);
        report.void.extend(found);
        let [first, second] = &report.scenarios[..] else { panic!("two scenarios") };
        let traced = is_void_traced(&report, "checkout", first.traced.as_ref().unwrap());
        (standing(&report).0, [is_void(&report, first), traced, is_void(&report, second)])
    }

    #[test]
    fn only_what_missed_a_bound_is_void_and_what_stands_on_it() {
        assert_eq!(void(|_| ()), ("Valid: every bound was kept.", [false; 3]));
        let traced = |report: &mut Report| {
            report.scenarios[0].traced.as_mut().unwrap().validity.push(bound(false));
        };
        assert_eq!(void(traced), (PART, [false, true, false]));
        let control = |report: &mut Report| {
            report.scenarios[0].controls[0].report.validity.push(bound(false));
        };
        assert_eq!(void(control), (PART, [true, false, false]));
        assert_eq!(
            void(|report| report.scenarios[1].validity.push(bound(false))),
            (PART, [false, false, true])
        );
    }

    #[test]
    fn a_trial_says_so_and_an_allowed_miss_is_told_beside_what_is_void() {
        let mut report = valid();
        report.scenarios[1].basis.trial = true;
        let (said, reasons) = standing(&report);
        assert!(said.starts_with("Valid only as a trial: short") && reasons.is_empty(), "{said}");
        report.allowed = vec!["read, lag: late.".into()];
        assert_eq!(standing(&report).1, ["read, lag: late."]);
        report.scenarios[0].validity.push(bound(false));
        report.void = super::reasons(&report, Bound::voids);
        let (said, reasons) = standing(&report);
        let allowed = "Only a trial, as a missed bound was allowed: read, lag: late.";
        assert_eq!((said, reasons.len(), reasons[1].as_str()), (PART, 2, allowed));
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
        let void = reasons(&report, Bound::voids);
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
            report.scenarios[0].traced.as_mut().unwrap().validity.push(bound(false));
        };
        assert_eq!(void(each), (VOID, [true; 3]));
        let beside = |report: &mut Report| {
            report.scenarios.iter_mut().for_each(|scenario| scenario.validity.push(bound(false)));
            report.scenarios[0].traced.as_mut().unwrap().validity.push(bound(false));
            let surroundings = Surroundings::of(vec![], &Care::default());
            report.limits = Some(Limits { seconds: 1.0, rows: vec![], saturations: vec![], surroundings });
        };
        assert_eq!(void(beside), (PART, [true; 3]));
    }

    #[test]
    fn an_assert_is_judged_where_its_scenario_is_valid() {
        let mut report = valid();
        report.scenarios[1].validity.push(bound(false));
        report.void = reasons(&report, Bound::voids);
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
