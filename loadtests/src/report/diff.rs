//! Several runs beside each other, as text for a terminal: what else differs first, then the metrics.

use std::collections::BTreeSet;

use anyhow::bail;
use serde_json::Value;

use super::model::{Metric, Report, ScenarioReport};
use super::standing::{is_trial, standing};
use super::table::{align, plain};
use super::wording::{change, interval, labels, number, ratio};

/// What the last column can't say.
const RATIOS: &str = "Only ratios are held against each other: within a run both met the same machine at the same time. Values of two runs\nalso differ by the hour and by the processes' starts.";

/// A report with what it is called here.
pub struct Run {
    /// `A`, `B` and so on.
    pub letter: char,
    /// Where it was read from.
    pub path: String,
    /// It.
    pub report: Report,
}

/// The text; fails where there is nothing to compare.
pub fn diff(runs: &[Run]) -> anyhow::Result<String> {
    let common = common(runs);
    if common.is_empty() {
        let has = |run: &Run| format!("{} has {}", run.letter, names(&run.report).join(", "));
        bail!(
            "the reports have no scenario in common: {}",
            runs.iter().map(has).collect::<Vec<_>>().join("; ")
        );
    }
    let head = |run: &Run| {
        let Run { letter, path, report } = run;
        format!("{letter}: {path}: {} of {}\n", labels(report).join(" against "), report.started_at)
    };
    let mut text: String = runs.iter().map(head).collect();
    let found = beside(runs, &common);
    if found.is_empty() {
        text += "\nThe same machine, layout, settings, builds, scenarios and traces.\n";
    } else {
        text += "\nWhat else differs:\n";
        found.iter().for_each(|line| text += &format!("- {line}\n"));
    }
    for name in &common {
        text += &format!("\n{name}\n{}\n", metrics(runs, name));
    }
    Ok(text + &format!("\n{RATIOS}\n"))
}

fn names(report: &Report) -> Vec<&str> {
    report.scenarios.iter().map(|scenario| scenario.scenario.name.as_str()).collect()
}

/// Scenarios that all runs have, in the first one's order.
fn common(runs: &[Run]) -> Vec<String> {
    let everywhere = |name: &&str| runs.iter().all(|run| names(&run.report).contains(name));
    runs.first().map_or(vec![], |first| {
        names(&first.report).into_iter().filter(everywhere).map(str::to_owned).collect()
    })
}

fn scenario<'a>(run: &'a Run, name: &str) -> Option<&'a ScenarioReport> {
    run.report.scenarios.iter().find(|scenario| scenario.scenario.name == name)
}

/// What differs beside the figures, a line each.
fn beside(runs: &[Run], common: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let odd =
        |run: &&Run| !run.report.void.is_empty() || !run.report.allowed.is_empty() || is_trial(&run.report);
    for run in runs.iter().filter(odd) {
        let (standing, reasons) = standing(&run.report);
        found.push(format!("{}: {standing} {}", run.letter, reasons.join(" ")));
    }
    let environments = |of: fn(&Report) -> &Vec<(String, String)>| -> Vec<Facts> {
        runs.iter().map(|run| of(&run.report).clone()).collect()
    };
    let builds = runs.iter().map(|run| builds(&run.report)).collect();
    for facts in [
        builds,
        environments(|report| &report.environment.machine),
        environments(|report| &report.environment.layout),
        environments(|report| &report.environment.settings),
    ] {
        found.extend(differing("", runs, &facts));
    }
    for run in runs {
        let only = names(&run.report).into_iter().filter(|name| !common.iter().any(|known| known == name));
        found.extend(only.map(|name| format!("{name}: not in every run; {} has it", run.letter)));
    }
    for name in common {
        let facts: Vec<_> = runs.iter().filter_map(|run| Some(settings(scenario(run, name)?))).collect();
        found.extend(differing(&format!("{name}, "), runs, &facts));
    }
    found
}

/// Names and values.
type Facts = Vec<(String, String)>;

fn builds(report: &Report) -> Facts {
    let of = report.contenders.iter().enumerate().flat_map(|(index, contender)| {
        let what = |what: &str| format!("{what} of {}", if index == 0 { "the first" } else { "the second" });
        [
            (what("name"), contender.label.clone()),
            (what("commit"), contender.version.commit.clone()),
            (what("build profile"), contender.version.profile.clone()),
        ]
    });
    of.collect()
}

fn settings(scenario: &ScenarioReport) -> Facts {
    let generator = &scenario.generator.generator;
    let mut facts = vec![
        ("trace (sha256)".to_owned(), scenario.trace_sha256.clone()),
        ("sending thread".to_owned(), generator.sender_policy.clone()),
        ("resamples".to_owned(), scenario.basis.resamples.to_string()),
    ];
    if let Ok(Value::Object(fields)) = serde_json::to_value(&scenario.scenario) {
        facts.extend(fields.into_iter().map(|(name, value)| (name, value.to_string())));
    }
    facts
}

/// A line for each fact that isn't the same in all runs, with its value in each.
fn differing(prefix: &str, runs: &[Run], facts: &[Facts]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let all = facts.iter().flatten().map(|(name, _)| name).filter(|name| seen.insert(name.as_str()));
    let line = |name: &String| {
        let value = |facts: &Facts| {
            let found = facts.iter().find(|(known, _)| known == name);
            found.map_or("-".to_owned(), |(_, value)| value.clone())
        };
        let values: Vec<_> = facts.iter().map(value).collect();
        let each = || runs.iter().zip(&values).map(|(run, value)| format!("{} {value}", run.letter));
        values
            .windows(2)
            .any(|two| two[0] != two[1])
            .then(|| format!("{prefix}{name}: {}", each().collect::<Vec<_>>().join("; ")))
    };
    all.filter_map(line).collect()
}

fn metrics(runs: &[Run], name: &str) -> comfy_table::Table {
    let labels = labels(&runs[0].report);
    let [first, second] = [0, 1].map(|index| labels.get(index).cloned().unwrap_or_default());
    let between = format!("{first}/{second}");
    let mut table = plain(&["", "", &first, &second, "unit", &between, "95 % interval", "ratio against A"]);
    let mut told = BTreeSet::new();
    let all = runs.iter().filter_map(|run| scenario(run, name)).flat_map(|scenario| &scenario.metrics);
    for metric in all.filter(|metric| told.insert(metric.name.as_str())) {
        let of = |run| find(run, name, &metric.name);
        for (index, run) in runs.iter().enumerate() {
            let what = if index == 0 { metric.label.as_str() } else { "" };
            let Some(here) = of(run) else {
                table.add_row([what, &run.letter.to_string(), "-", "-", &metric.unit, "-", "not told", ""]);
                continue;
            };
            let against = match of(&runs[0]) {
                _ if index == 0 => String::new(),
                _ if super::wording::labels(&run.report) != labels => "others are compared".into(),
                first => change(&here.ratio, first.map(|first| &first.ratio)),
            };
            table.add_row([
                what,
                &run.letter.to_string(),
                &number(here.values[0]),
                &number(here.values[1]),
                &here.unit,
                &ratio(&here.ratio),
                &interval(&here.ratio),
                &against,
            ]);
        }
    }
    align(&mut table, &[2, 3, 5]);
    table
}

fn find<'a>(run: &'a Run, scenario_name: &str, metric: &str) -> Option<&'a Metric> {
    scenario(run, scenario_name)?.metrics.iter().find(|known| known.name == metric)
}
