//! The rows of a scenario: both services as they are by default (the scenario itself), both tuned, and each tuned against its
//! own default, all on the same slices.

use serde::{Deserialize, Serialize};

use super::control;
use super::model::{Metric, ScenarioReport};
use super::wording::{self, number, verdict};
use crate::validity::Bound;

/// What was played beside the defaults, and what the services were given for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// One a row and service.
    pub given: Vec<Given>,
    /// Both tuned; then each tuned against its default.
    pub compared: Vec<Compared>,
}

/// How a service was built and set in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// `defaults` or `tuned`.
    pub row: String,
    /// The service, as a sentence calls it.
    pub label: String,
    /// How it was built.
    pub build: String,
    /// Settings of its language's runtime.
    pub env: Vec<(String, String)>,
}

/// Two services on the scenario's slices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// `tuned`, `rust_tuned` or `go_tuned`.
    pub name: String,
    /// As a sentence calls it.
    pub label: String,
    /// All of it, raw slices too.
    pub report: ScenarioReport,
}

/// What stands over the table of rows.
pub const TITLE: &str = "Defaults and tuned";
/// What is to be known of it.
pub const NOTE: &str = "Each of these was played by itself, on the same slices of the same trace: values of the two that its column names, then their ratio with its 95 % interval. Pools, permits and limits are the same in all; what differed stands below. The controls are those of the defaults.";

/// A head and its rows.
pub type Cells = (Vec<String>, Vec<Vec<String>>);

/// A line a metric and a column a comparison, the scenario's own first; nothing where there are no rows. `between` values and ratio.
pub fn cells(scenario: &ScenarioReport, between: &str) -> Option<Cells> {
    let rows = scenario.rows.as_ref()?;
    let columns: Vec<_> =
        std::iter::once(scenario).chain(rows.compared.iter().map(|one| &one.report)).collect();
    let void =
        |column: &ScenarioReport| if column.validity.iter().any(Bound::voids) { " (void)" } else { "" };
    let head = columns.iter().map(|column| column.basis.labels.join(" / ") + void(column));
    let line = |metric: &Metric| {
        let cells = columns.iter().map(|column| cell(column, &metric.name, between));
        std::iter::once(metric.label.clone()).chain(cells).collect()
    };
    let lines = scenario.metrics.iter().map(line).collect();
    Some((std::iter::once(String::new()).chain(head).collect(), lines))
}

fn cell(column: &ScenarioReport, name: &str, between: &str) -> String {
    let Some(metric) = column.metrics.iter().find(|metric| metric.name == name) else { return "–".into() };
    let [first, second] = metric.values.map(number);
    format!("{first}; {second} {}{between}{}", metric.unit, wording::repeated(&metric.ratio))
}

/// What differed: a line a row and service.
pub fn given(rows: &Rows) -> Cells {
    let head = ["", "row", "build", "settings of its runtime"].map(String::from).into();
    let line = |given: &Given| {
        let env: Vec<_> = given.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let env = if env.is_empty() { "none".into() } else { env.join(" ") };
        vec![given.label.clone(), given.row.clone(), given.build.clone(), env]
    };
    (head, rows.given.iter().map(line).collect())
}

/// Of both tuned, a sentence a metric; of the others, whether they may be believed.
pub fn sentences(scenario: &ScenarioReport) -> Vec<String> {
    let of = |compared: &Compared| {
        let Compared { label, report, .. } = compared;
        let of_metric = |metric| verdict(metric, &scenario.controls, &report.basis.labels);
        let void = report.validity.iter().any(Bound::voids);
        let said = report.metrics.iter().filter(|_| compared.name == TUNED && !void).map(of_metric);
        let (pairs, kept) = (control::pairs(report), control::kept(&report.validity));
        let so = if void { "Void, these numbers are not a result: " } else { "" };
        said.chain([format!("{so}{label}: {pairs}; {kept}.")]).collect::<Vec<_>>()
    };
    scenario.rows.iter().flat_map(|rows| &rows.compared).flat_map(of).collect()
}

/// The name of the comparison of both tuned.
pub const TUNED: &str = "tuned";

/// Bounds of all that was compared, with its name.
pub fn bounds(scenario: &ScenarioReport) -> impl Iterator<Item = (&Compared, &[Bound])> {
    let compared = scenario.rows.iter().flat_map(|rows| &rows.compared);
    compared.map(|one| (one, one.report.validity.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{control, metric, scenario};

    fn compared(name: &str, labels: [&str; 2], metrics: Vec<Metric>) -> Compared {
        let mut report = scenario(12, metrics);
        report.basis.labels = labels.map(String::from).into();
        Compared { name: name.into(), label: labels.join(" against "), report }
    }

    fn with_rows() -> ScenarioReport {
        let mut whole = scenario(12, vec![metric(0.8, Some((0.75, 0.86)))]);
        let env = vec![("GOGC".into(), "400".into()), ("GOMAXPROCS".into(), "2".into())];
        let given = |row: &str, env| Given { row: row.into(), label: "Go".into(), build: "PGO".into(), env };
        whole.rows = Some(Rows {
            given: vec![given("defaults", vec![]), given("tuned", env)],
            compared: vec![
                compared(TUNED, ["Rust tuned", "Go tuned"], vec![metric(0.9, Some((0.85, 0.95)))]),
                compared("go_tuned", ["Go tuned", "Go"], vec![]),
            ],
        });
        whole
    }

    #[test]
    fn each_comparison_has_a_column_and_each_metric_a_line() {
        assert!(cells(&scenario(12, vec![]), " ").is_none());
        let (head, lines) = cells(&with_rows(), ": ").unwrap();
        assert_eq!(head, ["", "Rust / Go", "Rust tuned / Go tuned", "Go tuned / Go"]);
        let wanted =
            ["p99 latency", "8.00; 10.0 ms: 0.80 [0.75, 0.86]", "9.00; 10.0 ms: 0.900 [0.850, 0.950]", "–"];
        assert_eq!(lines, [wanted]);
        let (_, given) = given(with_rows().rows.as_ref().unwrap());
        assert_eq!(given[0], ["Go", "defaults", "PGO", "none"]);
        assert_eq!(given[1][3], "GOGC=400 GOMAXPROCS=2");
    }

    #[test]
    fn both_tuned_get_a_verdict_under_the_scenario_s_controls_and_all_are_said_to_be_kept_or_not() {
        let mut whole = with_rows();
        let said = sentences(&whole);
        assert!(said[0].contains("Rust tuned’s is 10 % lower than Go tuned’s"), "{said:?}");
        assert_eq!(said[1], "Rust tuned against Go tuned: 12 pairs of slices; every bound was kept.");
        assert_eq!(said[2..], ["Go tuned against Go: 12 pairs of slices; every bound was kept."]);
        let bound = |held| Bound {
            name: "lag".into(),
            asks: String::new(),
            measured: "late".into(),
            held,
            allowed: false,
            applies: true,
        };
        let void = &mut whole.rows.as_mut().unwrap().compared[0].report.validity;
        *void = vec![bound(false)];
        let said = sentences(&whole);
        let wanted = "Void, these numbers are not a result: Rust tuned against Go tuned: 12 pairs of slices; missed: lag (late).";
        assert_eq!((said.len(), said[0].as_str()), (2, wanted));
        assert_eq!(cells(&whole, ": ").unwrap().0[2], "Rust tuned / Go tuned (void)");
        whole.rows.as_mut().unwrap().compared[0].report.validity = vec![bound(true)];
        whole.controls = vec![control("Go", vec![metric(1.05, Some((1.02, 1.08)))])];
        assert!(sentences(&whole)[0].contains("not called a difference"));
    }
}
