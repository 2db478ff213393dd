//! Thresholds that a caller sets on a comparison: `p99_ratio<1`, `checkout:p99_rust<5`, `errors==0`.
//!
//! Read and checked against the known names before anything is started; held against the report at the end. What has no
//! figure (too few requests for a high percentile, say) isn't held: a threshold that can't be looked at proves nothing.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::compare::METRICS;
use crate::report::wording::{number, with_interval};
use crate::report::{RawSlice, ScenarioReport};
use crate::stats::Interval;

/// Requests that came to something else than a reply as expected, in the measured slices.
const COUNTS: [(&str, Count); 4] = [
    ("errors", |slice| slice.unexpected.values().sum::<u64>() + slice.unanswered),
    ("skipped", |slice| slice.skipped),
    ("dropped", |slice| slice.dropped),
    ("shed", |slice| slice.shed),
];

/// A figure's name, how it is compared, and with what.
#[derive(Debug, Clone)]
pub struct Threshold {
    /// Left of the operator, as the caller wrote it.
    pub name: String,
    holds: Holds,
    bound: f64,
}

/// Longest first, so that `<=` isn't read as `<`.
const OPERATORS: [(&str, Holds); 5] = [
    ("<=", |figure, bound| figure <= bound),
    (">=", |figure, bound| figure >= bound),
    ("==", |figure, bound| figure == bound),
    ("<", |figure, bound| figure < bound),
    (">", |figure, bound| figure > bound),
];

type Count = fn(&RawSlice) -> u64;
type Holds = fn(f64, f64) -> bool;

/// Why an assert can't be looked at.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("--assert '{text}': {problem}")]
pub struct AssertError {
    text: String,
    problem: String,
}

impl Threshold {
    /// Reads `name<bound`.
    pub fn parse(text: &str) -> Result<Self, AssertError> {
        let fail = |problem: String| AssertError::new(text, problem);
        let found = OPERATORS.into_iter().find_map(|(sign, holds)| {
            let (left, right) = text.split_once(sign)?;
            Some((left.trim(), holds, right.trim()))
        });
        let (left, holds, right) = found
            .ok_or_else(|| fail("no comparison: <figure> then one of < <= == >= > then a number".into()))?;
        let bound = right.parse::<f64>().ok().filter(|bound| bound.is_finite());
        let bound = bound.ok_or_else(|| fail(format!("`{right}` is no number")))?;
        Ok(Self { name: left.to_owned(), holds, bound })
    }

    /// Whether a figure is as asked.
    pub fn holds(&self, figure: f64) -> bool {
        (self.holds)(figure, self.bound)
    }
}

impl AssertError {
    /// Of `text`.
    pub fn new(text: &str, problem: String) -> Self {
        Self { text: text.to_owned(), problem }
    }
}

/// Whose figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The first's by the second's.
    Ratio,
    /// One contender's.
    Of(usize),
    /// Both together.
    Both,
}

/// One threshold.
#[derive(Debug, Clone)]
pub struct Assert {
    text: String,
    scenario: Option<String>,
    figure: &'static str,
    whose: Whose,
    threshold: Threshold,
}

/// How a threshold came out in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asserted {
    /// As the caller wrote it.
    pub assert: String,
    /// Where.
    pub scenario: String,
    /// What it looked at; unset where this run can't tell it.
    pub figure: Option<f64>,
    /// The figure's, where it is a ratio that has one. The estimate is what is compared.
    pub interval: Option<Interval>,
    /// The figure as a person reads it, or why there is none.
    pub measured: String,
    /// Whether the figure is as asked.
    pub held: bool,
}

impl Assert {
    /// Reads `text`; figures may name a contender by `names`, and a scenario has to be one of `scenarios`.
    pub fn parse(text: &str, names: &[String; 2], scenarios: &[String]) -> Result<Self, AssertError> {
        let fail = |problem: String| AssertError::new(text, problem);
        let threshold = Threshold::parse(text)?;
        let left = threshold.name.as_str();
        let (scenario, name) =
            left.split_once(':').map_or((None, left), |(scenario, name)| (Some(scenario), name));
        if let Some(unknown) = scenario.filter(|name| !scenarios.iter().any(|known| known == name)) {
            return Err(fail(format!(
                "no scenario `{unknown}` is played, there is {}",
                scenarios.join(", ")
            )));
        }
        let (figure, whose) = figures(names)
            .into_iter()
            .find_map(|(known, figure, whose)| (known == name).then_some((figure, whose)))
            .ok_or_else(|| fail(format!("unknown figure `{name}`; {}", known(names))))?;
        let scenario = scenario.map(String::from);
        Ok(Self { text: text.into(), scenario, figure, whose, threshold })
    }

    /// How it comes out: once in its scenario, or in each where it names none.
    pub fn judge(&self, scenarios: &[ScenarioReport]) -> Vec<Asserted> {
        let meant = |report: &&ScenarioReport| {
            self.scenario.as_ref().is_none_or(|name| *name == report.scenario.name)
        };
        scenarios.iter().filter(meant).map(|report| self.in_one(report)).collect()
    }

    fn in_one(&self, report: &ScenarioReport) -> Asserted {
        let (figure, interval, measured) = self.look(report);
        Asserted {
            assert: self.text.clone(),
            scenario: report.scenario.name.clone(),
            figure,
            interval,
            measured,
            held: figure.is_some_and(|figure| self.threshold.holds(figure)),
        }
    }

    fn look(&self, report: &ScenarioReport) -> (Option<f64>, Option<Interval>, String) {
        if let Some((_, count)) = COUNTS.iter().find(|(name, _)| *name == self.figure) {
            let of = |index: usize| report.slices.get(index).into_iter().flatten().map(count).sum::<u64>();
            let count = match self.whose {
                Whose::Of(index) => of(index),
                Whose::Both | Whose::Ratio => of(0) + of(1),
            };
            return (Some(count as f64), None, count.to_string());
        }
        let Some(metric) = report.metrics.iter().find(|metric| metric.name == self.figure) else {
            return (None, None, "this run can’t tell it (too few requests, or nothing measured)".into());
        };
        match self.whose {
            Whose::Of(index) => {
                let value = metric.values[index];
                (Some(value), None, format!("{} {}", number(value), metric.unit))
            }
            Whose::Ratio | Whose::Both => {
                (metric.ratio.estimate, metric.ratio.interval, with_interval(&metric.ratio))
            }
        }
    }
}

/// Every name, what it is of, and whose.
fn figures(names: &[String; 2]) -> Vec<(String, &'static str, Whose)> {
    let sides = |figure: &'static str| {
        let side = move |(side, index): (&str, usize)| (format!("{figure}_{side}"), figure, Whose::Of(index));
        [("a", 0), ("b", 1), (names[0].as_str(), 0), (names[1].as_str(), 1)].map(side)
    };
    let mut all = Vec::new();
    for line in &METRICS {
        all.push((format!("{}_ratio", line.name), line.name, Whose::Ratio));
        all.extend(sides(line.name));
    }
    for (name, _) in &COUNTS {
        all.push(((*name).to_owned(), *name, Whose::Both));
        all.extend(sides(name));
    }
    all
}

fn known(names: &[String; 2]) -> String {
    let metrics: Vec<_> = METRICS.iter().map(|line| line.name).collect();
    let counts: Vec<_> = COUNTS.iter().map(|(name, _)| *name).collect();
    let sides = format!("_a, _b, _{}, _{}", names[0], names[1]);
    format!(
        "known are {}, each with one of _ratio, {sides}, and {}, alone or with one of {sides}",
        metrics.join(", "),
        counts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{metric, scenario, slice};

    fn parse(text: &str) -> Result<Assert, String> {
        let names = ["rust", "go"].map(String::from);
        Assert::parse(text, &names, &["checkout".into(), "tokenize".into()])
            .map_err(|error| error.to_string())
    }

    /// p99 of 8 and 10 ms, and 3 and 4 requests that went wrong.
    fn report() -> ScenarioReport {
        let mut report = scenario(12, vec![metric(0.8, Some((0.75, 0.86)))]);
        let went_wrong = |unexpected, unanswered| {
            let mut slice = slice();
            slice.unexpected.insert("get 500".into(), unexpected);
            slice.unanswered = unanswered;
            slice
        };
        report.slices = vec![vec![went_wrong(1, 0), went_wrong(1, 1)], vec![went_wrong(4, 0)]];
        report
    }

    fn held(text: &str) -> (bool, String) {
        let asserted = parse(text).unwrap().judge(&[report()]).remove(0);
        (asserted.held, asserted.measured)
    }

    #[test]
    fn each_operator_holds_where_it_should_and_nowhere_else() {
        let cases = [
            ("<", [true, false, false]),
            ("<=", [true, true, false]),
            ("==", [false, true, false]),
            (">=", [false, true, true]),
            (">", [false, false, true]),
        ];
        for (operator, wanted) in cases {
            // The figure is 8: below, at, and above the bound.
            let got = [9, 8, 7].map(|bound| held(&format!("p99_a {operator} {bound}")).0);
            assert_eq!(got, wanted, "{operator}");
        }
    }

    #[test]
    fn a_figure_is_the_ratio_or_one_s_own_by_letter_or_by_name() {
        let cases = [
            ("p99_ratio<0.81", "0.80 [0.75, 0.86]"),
            ("p99_a<8.1", "8.00 ms"),
            ("p99_rust<8.1", "8.00 ms"),
            ("p99_b>9.9", "10.0 ms"),
            ("p99_go>9.9", "10.0 ms"),
            ("errors==7", "7"),
            ("errors_a==3", "3"),
            ("errors_go==4", "4"),
            ("dropped==0", "0"),
        ];
        for (text, measured) in cases {
            assert_eq!(held(text), (true, measured.to_owned()), "{text}");
        }
        assert_eq!(held("p99_ratio<0.79"), (false, "0.80 [0.75, 0.86]".into()));
    }

    #[test]
    fn the_estimate_of_a_ratio_is_compared_and_its_interval_kept_beside_it() {
        let asserted = parse("p99_ratio<0.81").unwrap().judge(&[report()]).remove(0);
        // The interval reaches beyond the bound.
        assert!(asserted.held);
        assert_eq!(asserted.interval, Some(Interval { low: 0.75, high: 0.86 }));
    }

    #[test]
    fn what_the_run_cannot_tell_is_not_held() {
        for text in ["p99.9_ratio<100", "p99.9_a>0", "rss_ratio>0"] {
            let (held, measured) = held(text);
            assert!(!held && measured.starts_with("this run can’t tell it"), "{text}: {measured}");
        }
    }

    #[test]
    fn one_with_a_scenario_is_of_that_one_and_one_without_is_of_each() {
        let mut other = report();
        other.scenario.name = "tokenize".into();
        let scenarios = [report(), other];
        let of = |text: &str| {
            let asserted = parse(text).unwrap().judge(&scenarios);
            asserted.into_iter().map(|one| one.scenario).collect::<Vec<_>>()
        };
        assert_eq!(of("errors==7"), ["checkout", "tokenize"]);
        assert_eq!(of("tokenize:errors==7"), ["tokenize"]);
    }

    #[test]
    fn instances_of_one_service_are_told_apart_by_their_letters() {
        let names = ["rust_a", "rust_b"].map(String::from);
        let parse = |text: &str| Assert::parse(text, &names, &[]).map(|assert| assert.whose);
        assert_eq!(parse("p99_a<1"), Ok(Whose::Of(0)));
        assert_eq!(parse("p99_rust_a<1"), Ok(Whose::Of(0)));
        assert_eq!(parse("p99_rust_b<1"), Ok(Whose::Of(1)));
        assert!(parse("p99_rust<1").is_err());
    }

    #[test]
    fn each_refusal_is_one_line_that_says_what_is_known() {
        let cases = [
            ("p99", "no comparison"),
            ("p99_ratio=1", "no comparison"),
            ("p99_ratio<", "`` is no number"),
            ("p99_ratio<fast", "`fast` is no number"),
            ("p99_ratio<NaN", "`NaN` is no number"),
            ("p98_ratio<1", "unknown figure `p98_ratio`; known are p50, p90, p99, p99.9, rate, cpu"),
            ("errors_ratio<1", "alone or with one of _a, _b, _rust, _go"),
            ("p99<1", "unknown figure `p99`"),
            ("chekout:p99_ratio<1", "no scenario `chekout` is played, there is checkout, tokenize"),
        ];
        for (text, wanted) in cases {
            let said = parse(text).expect_err("refused");
            let begin = format!("--assert '{text}': ");
            assert!(said.starts_with(&begin) && said.contains(wanted) && !said.contains('\n'), "{said}");
        }
    }
}
