//! The A/A control of a scenario: each service against a second instance of itself, on the same slices. Whatever differs
//! there is chance or the method's own, so a difference between two services counts only where the controls show none.

use serde::{Deserialize, Serialize};

use super::model::ScenarioReport;
use super::wording;
use crate::stats::Ratio;
use crate::validity::Bound;

/// One service against a second instance of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// The service's short name.
    pub name: String,
    /// As a sentence calls it.
    pub label: String,
    /// All of it, raw slices too. Its scenario says how many of the pairs were played.
    pub report: ScenarioReport,
}

impl Control {
    /// The ratio of a metric.
    pub fn metric(&self, name: &str) -> Option<&Ratio> {
        self.report.metrics.iter().find(|metric| metric.name == name).map(|metric| &metric.ratio)
    }

    /// The ratio of an operation's medians.
    pub fn operation(&self, name: &str) -> Option<&Ratio> {
        self.report.operations.iter().find(|row| row.operation == name).map(|row| &row.ratio)
    }
}

/// Why the controls don't let a difference be named, a reason a control that doesn't include 1; none: they do, or there
/// are none. One that says nothing can't include 1 either.
pub fn objections(controls: &[Control], pick: impl Fn(&Control) -> Option<&Ratio>) -> Vec<String> {
    let objection = |control: &Control| {
        let label = &control.label;
        match pick(control) {
            None => {
                Some(format!("the control of {label} against itself has too few requests to say anything"))
            }
            Some(ratio) if ratio.interval.is_none() => {
                let why = wording::interval(ratio);
                Some(format!("the control of {label} against itself says nothing: {why}"))
            }
            Some(ratio) if ratio.differs() => {
                let differs = wording::with_interval(ratio);
                Some(format!("the control of {label} against itself differs too: {differs}"))
            }
            Some(_) => None,
        }
    };
    controls.iter().filter_map(objection).collect()
}

/// What each control found: `Rust 1.010 [0.980, 1.030]`.
pub fn cells(controls: &[Control], pick: impl Fn(&Control) -> Option<&Ratio>) -> Vec<String> {
    let cell = |control: &Control| {
        let found = pick(control).map_or("too few requests".into(), wording::repeated);
        format!("{} {found}", control.label)
    };
    controls.iter().map(cell).collect()
}

/// What was played, and whether it may be believed.
pub fn note(scenario: &ScenarioReport, control: &Control) -> String {
    let (played, of) = (control.report.scenario.pairs, scenario.scenario.pairs);
    let part = if played == of { String::new() } else { format!(", the first of {of}") };
    let (pairs, kept) = (pairs(&control.report), kept(&control.report.validity));
    format!("Control (A/A): {} against a second instance of itself, {pairs}{part}; {kept}.", control.label)
}

/// Of how many pairs the figures are.
pub fn pairs(report: &ScenarioReport) -> String {
    let kept = report.slices.iter().map(Vec::len).min().unwrap_or(0);
    match report.basis.set_aside.len() {
        0 => format!("{kept} pairs of slices"),
        count => format!("{kept} pairs of slices ({count} more were set aside: the host had the core)"),
    }
}

/// Whether every bound was kept, or which weren't.
pub fn kept(validity: &[Bound]) -> String {
    let missed = validity.iter().filter(|bound| bound.missed());
    let missed: Vec<_> = missed.map(|bound| format!("{} ({})", bound.name, bound.measured)).collect();
    if missed.is_empty() {
        "every bound was kept".to_owned()
    } else {
        format!("missed: {}", missed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Metric;
    use crate::report::sample::{control, metric, scenario};
    use crate::report::wording::{is_difference, verdict, verdict_word};

    fn same(label: &str) -> Control {
        control(label, vec![metric(1.01, Some((0.98, 1.03)))])
    }

    /// Whether the metric is called a difference, in a few words, and as a sentence.
    fn said(metric: &Metric, controls: &[Control]) -> (bool, String, String) {
        let labels = ["Rust".to_owned(), "Go".to_owned()];
        let word = verdict_word(metric, controls, &labels);
        (is_difference(metric, controls), word, verdict(metric, controls, &labels))
    }

    #[test]
    fn a_difference_is_called_one_where_the_controls_show_none() {
        let lower = metric(0.8, Some((0.75, 0.86)));
        for controls in [vec![], vec![same("Rust"), same("Go")]] {
            let (called, word, sentence) = said(&lower, &controls);
            assert!(called && word == "Rust 20 % lower", "{word}");
            assert!(sentence.contains("Rust’s is 20 % lower than Go’s"), "{sentence}");
        }
    }

    #[test]
    fn one_that_a_control_shows_too_is_not_called_one_and_says_why() {
        let lower = metric(0.8, Some((0.75, 0.86)));
        let off = |label: &str| control(label, vec![metric(1.05, Some((1.02, 1.08)))]);
        let why =
            |label: &str| format!("the control of {label} against itself differs too: 1.050 [1.020, 1.080]");
        let (called, word, sentence) = said(&lower, &[off("Rust"), same("Go")]);
        assert!(!called && word == "no verdict: see its control", "{word}");
        let wanted = format!(
            "p99 latency: not called a difference (Rust 8.00 ms and Go 10.0 ms; the ratio’s 95 % interval is 0.75 to 0.86), since {}.",
            why("Rust")
        );
        assert_eq!(sentence, wanted);
        let (called, _, sentence) = said(&lower, &[off("Rust"), off("Go")]);
        assert!(!called && sentence.ends_with(&format!("since {}, and {}.", why("Rust"), why("Go"))));
    }

    #[test]
    fn a_control_that_says_nothing_lets_nothing_be_called_a_difference() {
        let lower = metric(0.8, Some((0.75, 0.86)));
        let few = control("Go", vec![metric(1.0, None)]);
        let none = control("Go", vec![]);
        let cases = [
            (few, "the control of Go against itself says nothing: too few pairs (4) for an interval."),
            (none, "the control of Go against itself has too few requests to say anything."),
        ];
        for (control, wanted) in cases {
            let (called, _, sentence) = said(&lower, &[same("Rust"), control]);
            assert!(!called && sentence.ends_with(wanted), "{sentence}");
        }
    }

    #[test]
    fn where_no_difference_is_seen_the_controls_change_nothing() {
        let off = control("Rust", vec![metric(1.05, Some((1.02, 1.08)))]);
        let equal = metric(0.99, Some((0.95, 1.02)));
        assert_eq!(said(&equal, std::slice::from_ref(&off)), said(&equal, &[]));
        let rate =
            Metric { offered: Some(10.0), values: [10.0, 9.95], ..metric(1.005, Some((1.001, 1.009))) };
        assert_eq!(said(&rate, &[off]).1, "both keep up");
    }

    #[test]
    fn each_control_has_its_ratio_with_its_interval_and_what_was_played() {
        let controls = [same("Rust"), control("Go", vec![])];
        let cells = cells(&controls, |control| control.metric("p99"));
        assert_eq!(cells, ["Rust 1.010 [0.980, 1.030]", "Go too few requests"]);
        let mut whole = scenario(24, vec![]);
        let wanted = "Control (A/A): Rust against a second instance of itself, 12 pairs of slices, the first of 24; every bound was kept.";
        assert_eq!(note(&whole, &controls[0]), wanted);
        whole.scenario.pairs = 12;
        assert!(note(&whole, &controls[0]).contains("itself, 12 pairs of slices; every"));
        let mut disturbed = same("Go");
        disturbed.report.basis.set_aside = vec![3, 7];
        disturbed.report.slices.iter_mut().for_each(|slices| slices.truncate(10));
        let wanted = "itself, 10 pairs of slices (2 more were set aside: the host had the core); every";
        assert!(note(&whole, &disturbed).contains(wanted));
    }
}
