//! A report as JUnit XML, which CI systems show: a suite for the run as a whole, which says whether it is valid; one a
//! scenario, in it a test case for each bound of its validity, of its controls', tuned and traced services' too, and for
//! each assert; and one for each service that played a scenario alone.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use crate::assert::Asserted;
use crate::report::standing::is_void;
use crate::report::{Report, ScenarioReport, rows};
use crate::solo::SoloRun;
use crate::validity::Bound;

/// The suite that stands for all of it.
const RUN: &str = "run";

/// The whole file. In a void run asserts count as skipped: their figures aren't to be used.
pub fn xml(report: &Report) -> anyhow::Result<String> {
    let mut all = quick_junit::Report::new("loadtest compare");
    let mut run = named_suite(report, RUN);
    run.add_test_case(named(RUN, "valid", valid(report)));
    all.add_test_suite(run);
    all.add_test_suites(report.scenarios.iter().map(|scenario| suite(report, scenario)));
    all.add_test_suites(report.alone.iter().map(|run| alone(report, run)));
    Ok(all.to_string()?)
}

/// What voids a run may be no bound of any scenario: that it was interrupted, that a service died.
fn valid(report: &Report) -> TestCaseStatus {
    if report.void.is_empty() {
        return TestCaseStatus::success();
    }
    with(TestCaseStatus::non_success(NonSuccessKind::Failure), &report.void.join(" "))
}

fn named_suite(report: &Report, name: &str) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.extra.insert("timestamp".into(), report.started_at.as_str().into());
    suite
}

fn alone(report: &Report, run: &SoloRun) -> TestSuite {
    let name = &run.scenario.name;
    let mut suite = named_suite(report, &format!("{name}, {} alone", run.service.label));
    suite.add_test_cases(bounds(&format!("{name}.alone_{}.validity", run.service.name), &run.validity));
    suite
}

fn suite(report: &Report, scenario: &ScenarioReport) -> TestSuite {
    let name = &scenario.scenario.name;
    let mut suite = named_suite(report, name);
    suite.add_test_cases(bounds(&format!("{name}.validity"), &scenario.validity));
    for control in &scenario.controls {
        let place = format!("{name}.control_{}.validity", control.name);
        suite.add_test_cases(bounds(&place, &control.report.validity));
    }
    for (compared, validity) in rows::bounds(scenario) {
        suite.add_test_cases(bounds(&format!("{name}.{}.validity", compared.name), validity));
    }
    if let Some(traced) = &scenario.traced {
        suite.add_test_cases(bounds(&format!("{name}.traced.validity"), &traced.validity));
    }
    let asserted = report.asserts.iter().filter(|asserted| asserted.scenario == *name);
    let void = is_void(report, scenario);
    suite.add_test_cases(asserted.map(|asserted| assert(&format!("{name}.asserts"), asserted, void)));
    suite
}

fn bounds(place: &str, bounds: &[Bound]) -> Vec<TestCase> {
    let case = |bound: &Bound| {
        let told = format!("{}; it was {}", bound.asks, bound.measured);
        let status = if bound.held {
            TestCaseStatus::success()
        } else if !bound.applies {
            with(TestCaseStatus::skipped(), &bound.measured)
        } else if bound.allowed {
            with(TestCaseStatus::skipped(), &format!("missed, and allowed to be: {told}"))
        } else {
            with(TestCaseStatus::non_success(NonSuccessKind::Failure), &told)
        };
        named(place, &bound.name, status)
    };
    bounds.iter().map(case).collect()
}

fn assert(place: &str, asserted: &Asserted, void: bool) -> TestCase {
    let told = format!("it was {}", asserted.measured);
    let status = if void {
        with(TestCaseStatus::skipped(), "the run is void")
    } else if asserted.held {
        TestCaseStatus::success()
    } else {
        with(TestCaseStatus::non_success(NonSuccessKind::Failure), &told)
    };
    named(place, &asserted.assert, status)
}

fn with(mut status: TestCaseStatus, message: &str) -> TestCaseStatus {
    status.set_message(message);
    status
}

fn named(place: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(place);
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{alone, control, report, scenario, traced};

    fn bound(name: &str, held: bool, allowed: bool) -> Bound {
        let (asks, measured) = ("all is <well>".to_owned(), "\"ill\" & so".to_owned());
        Bound { name: name.into(), asks, measured, held, allowed, applies: true }
    }

    fn asserted(assert: &str, held: bool) -> Asserted {
        let (scenario, measured) = ("checkout".into(), "1.20 [1.10, 1.30]".into());
        Asserted { assert: assert.into(), scenario, figure: Some(1.2), interval: None, measured, held }
    }

    fn judged(void: Vec<String>) -> Report {
        let mut scenario = scenario(12, vec![]);
        scenario.validity =
            vec![bound("rate", true, false), bound("lag", false, true), bound("counts", false, false)];
        let mut control = control("Go", vec![]);
        control.report.validity = vec![bound("rate", true, false)];
        scenario.controls = vec![control];
        scenario.traced = Some(Box::new(traced(vec![bound("traced", false, false)])));
        let asserts = vec![asserted("p99_ratio<1", false), asserted("errors==0", true)];
        Report { void, asserts, scenarios: vec![scenario], ..report() }
    }

    const WANTED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="loadtest compare" tests="8" skipped="1" failures="3" errors="0">
    <testsuite name="run" tests="1" skipped="0" errors="0" failures="0" timestamp="2026-01-01T00:00:00Z">
        <testcase name="valid" classname="run"/>
    </testsuite>
    <testsuite name="checkout" tests="7" skipped="1" errors="0" failures="3" timestamp="2026-01-01T00:00:00Z">
        <testcase name="rate" classname="checkout.validity"/>
        <testcase name="lag" classname="checkout.validity">
            <skipped message="missed, and allowed to be: all is &lt;well&gt;; it was &quot;ill&quot; &amp; so"/>
        </testcase>
        <testcase name="counts" classname="checkout.validity">
            <failure message="all is &lt;well&gt;; it was &quot;ill&quot; &amp; so"/>
        </testcase>
        <testcase name="rate" classname="checkout.control_go.validity"/>
        <testcase name="traced" classname="checkout.traced.validity">
            <failure message="all is &lt;well&gt;; it was &quot;ill&quot; &amp; so"/>
        </testcase>
        <testcase name="p99_ratio&lt;1" classname="checkout.asserts">
            <failure message="it was 1.20 [1.10, 1.30]"/>
        </testcase>
        <testcase name="errors==0" classname="checkout.asserts"/>
    </testsuite>
</testsuites>
"#;

    #[test]
    fn a_case_is_a_bound_or_an_assert_and_fails_where_that_is_not_held() {
        assert_eq!(xml(&judged(vec![])).unwrap(), WANTED);
    }

    #[test]
    fn asserts_of_a_void_run_are_skipped() {
        let text = xml(&judged(vec!["checkout, counts: void".into()])).unwrap();
        let read = quick_junit::Report::deserialize_from_str(&text).unwrap();
        let suite = &read.test_suites[1];
        assert_eq!((suite.tests, suite.skipped, suite.failures), (7, 3, 2));
        assert_eq!(text.matches(r#"<skipped message="the run is void"/>"#).count(), 2);
    }

    #[test]
    fn a_void_run_fails_a_case_of_its_own_whatever_voids_it() {
        let failed = |void: &[&str]| {
            let void = void.iter().map(|reason| (*reason).to_owned()).collect();
            let read = quick_junit::Report::deserialize_from_str(&xml(&Report { void, ..report() }).unwrap());
            read.unwrap().failures
        };
        assert_eq!([failed(&[]), failed(&["The run was interrupted."]), failed(&["one", "two"])], [0, 1, 1]);
        let text = xml(&Report { void: vec!["one".into(), "two".into()], ..report() }).unwrap();
        assert!(text.contains(r#"<failure message="one two"/>"#), "{text}");
    }

    #[test]
    fn each_bound_of_a_service_alone_is_a_case() {
        let mut run = alone("Go");
        run.validity = vec![bound("rate", true, false), bound("lag", false, false)];
        let text = xml(&Report { alone: vec![run], ..report() }).unwrap();
        let read = quick_junit::Report::deserialize_from_str(&text).unwrap();
        let suite = &read.test_suites[1];
        assert_eq!((suite.name.as_str(), suite.tests, suite.failures), ("checkout, Go alone", 2, 1));
        assert!(text.contains(r#"<testcase name="lag" classname="checkout.alone_go.validity">"#), "{text}");
    }
}
