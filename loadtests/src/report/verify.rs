//! Whether a report says what its raw part says: every figure is computed again and held against the printed one, and
//! the raw part against itself, against the order that was drawn and against the trace.

mod alone;
mod run;

pub use run::verify_run;

use anyhow::{Context, anyhow, ensure};
use serde::Serialize;
use serde_json::Value;

use super::model::{RawSlice, Report, ScenarioReport};
use super::standing::reasons;
use super::traced::{Traced, sliced};
use crate::assert::{Assert, Asserted};
use crate::compare::{Plan, computed};
use crate::histogram::decode;
use crate::scenario::{Scenario, check_lengths};
use crate::solo::percentiles;
use crate::spread::Spread;
use crate::trace::Trace;
use crate::validity::Bound;

/// Draws the trace of a scenario again; nothing where its workload isn't known here.
pub type Redraw<'a> = &'a dyn Fn(&Scenario) -> Option<anyhow::Result<Trace>>;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Figures and counts that were looked at.
    pub figures: usize,
    /// Traces that were drawn again.
    pub traces: usize,
    /// What isn't as it should be, a line each: which figure, what the report says, what it should be.
    pub differences: Vec<String>,
}

/// Verifies a report, its controls too; fails where its raw part can't be read.
pub fn verify(report: &Report, redraw: Redraw<'_>) -> anyhow::Result<Verified> {
    let mut verified = Verified::default();
    for scenario in &report.scenarios {
        let name = &scenario.scenario.name;
        let trace = redraw(&scenario.scenario).transpose()?;
        verified.scenario(name, scenario, trace.as_ref())?;
        verified.traces += usize::from(trace.is_some());
        for control in &scenario.controls {
            let name = format!("{name}, {} against itself", control.label);
            // A control plays the first pairs of the same trace.
            verified.scenario(&name, &control.report, trace.as_ref())?;
        }
        for compared in scenario.rows.iter().flat_map(|rows| &rows.compared) {
            verified.scenario(&format!("{name}, {}", compared.label), &compared.report, trace.as_ref())?;
        }
        if let Some(traced) = &scenario.traced {
            let trace = redraw(&traced.play.scenario).transpose()?;
            verified.traced(&format!("{name}, traced"), traced, trace.as_ref())?;
        }
    }
    verified.repeated("limits", &serde_json::to_value(&report.limits)?)?;
    verified.saturations(report.limits.as_ref())?;
    verified.repeated("looking", &serde_json::to_value(&report.looking)?)?;
    verified.looking(report.looking.as_ref())?;
    verified.repeated("solo", &serde_json::to_value(&report.solo)?)?;
    verified.repeated("development", &serde_json::to_value(&report.development)?)?;
    if let Some(solo) = &report.solo {
        verified.alone(solo, &report.scenarios)?;
    }
    for run in &report.alone {
        let found = verify_run(run, redraw)?;
        let of = |line: String| format!("{}, {} alone: {line}", run.scenario.name, run.service.label);
        verified.figures += found.figures;
        verified.differences.extend(found.differences.into_iter().map(of));
    }
    verified.surroundings(report)?;
    verified.asserts(report)?;
    verified.reasons("void", &report.void, &reasons(report, Bound::voids));
    verified.reasons("allowed", &report.allowed, &reasons(report, |bound| bound.allowed));
    Ok(verified)
}

impl Verified {
    fn equal<T: PartialEq + std::fmt::Display>(&mut self, what: String, printed: T, found: T) {
        self.figures += 1;
        if printed != found {
            self.differences.push(format!("{what}: the report says {printed}, the raw data say {found}"));
        }
    }

    /// Each leaf by its place.
    fn walk(&mut self, at: &str, printed: &Value, again: &Value, labels: &[String]) {
        match (printed, again) {
            (Value::Object(printed), Value::Object(again)) => {
                for (key, again) in again {
                    let printed = printed.get(key).unwrap_or(&Value::Null);
                    self.walk(&format!("{at}.{key}"), printed, again, labels);
                }
            }
            (Value::Array(printed), Value::Array(again)) => {
                for index in 0..printed.len().max(again.len()) {
                    let (printed, again) = (printed.get(index), again.get(index));
                    let named = place(index, printed.or(again).unwrap_or(&Value::Null), labels);
                    let (printed, again) = (printed.unwrap_or(&Value::Null), again.unwrap_or(&Value::Null));
                    self.walk(&format!("{at}.{named}"), printed, again, labels);
                }
            }
            (printed, again) => self.equal(at.to_owned(), printed, again),
        }
    }

    fn scenario(
        &mut self,
        name: &str,
        scenario: &ScenarioReport,
        trace: Option<&Trace>,
    ) -> anyhow::Result<()> {
        playable(name, &scenario.scenario)?;
        let curves = scenario.curves.len();
        ensure!(curves == 2, "{name}: curves: a comparison is of two, and these are of {curves}");
        let mut of_scenario = OfScenario { name, labels: &scenario.basis.labels, verified: self };
        of_scenario.figures(scenario, &computed(scenario)?)?;
        of_scenario.slices(scenario)?;
        if let Some(trace) = trace {
            of_scenario.trace(scenario, trace);
        }
        Ok(())
    }

    /// The bounds of a play with traces, from that play and the counts of spans; what its traces say is compared again where
    /// their files are there.
    fn traced(&mut self, name: &str, traced: &Traced, trace: Option<&Trace>) -> anyhow::Result<()> {
        self.scenario(name, &traced.play, trace)?;
        if let Some(trace) = trace {
            let slices = [traced.traces.slices.clone(), Some(sliced(trace, &traced.play))];
            let [printed, again] = [serde_json::to_value(&slices[0])?, serde_json::to_value(&slices[1])?];
            self.walk(&format!("{name}: slices of the traces"), &printed, &again, &[]);
        }
        let [printed, again] =
            [serde_json::to_value(&traced.validity)?, serde_json::to_value(traced.judged())?];
        self.walk(&format!("{name}: validity"), &printed, &again, &[]);
        Ok(())
    }

    /// Figures that were measured some times over, from their values; percentiles of a stage, from its histogram.
    fn repeated(&mut self, at: &str, part: &Value) -> anyhow::Result<()> {
        match part {
            Value::Object(fields) => {
                if let Ok(spread) = serde_json::from_value::<Spread>(part.clone()) {
                    let again = serde_json::to_value(Spread::of(&spread.values))?;
                    self.equal(at.to_owned(), part, &again);
                }
                if let (Some(printed), Some(Value::String(raw))) =
                    (fields.get("latency_ms"), fields.get("latency"))
                {
                    let again = serde_json::to_value(percentiles(&decode(raw).context(at.to_owned())?))?;
                    self.equal(format!("{at}.latency_ms"), printed, &again);
                }
                fields.iter().try_for_each(|(key, part)| self.repeated(&format!("{at}.{key}"), part))
            }
            Value::Array(parts) => parts.iter().enumerate().try_for_each(|(index, part)| {
                let named = ["name", "scenario", "label"].iter().find_map(|key| part.get(key)?.as_str());
                let named = named.map_or_else(|| index.to_string(), str::to_owned);
                self.repeated(&format!("{at}.{named}"), part)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    /// What a slice counts has to fit together.
    fn slice(&mut self, at: &str, slice: &RawSlice) -> anyhow::Result<()> {
        let count = |text: &str| anyhow::Ok(decode(text)?.len());
        let timed = slice.latency.values().map(|text| count(text)).sum::<anyhow::Result<u64>>()?;
        let of_kinds = slice.expected.values().chain(slice.unexpected.values()).sum::<u64>() + slice.shed;
        let mut equal = |what: &str, says: u64, found: u64| self.equal(format!("{at}.{what}"), says, found);
        equal("replies (timed by due time, and shed)", slice.replies, timed + slice.shed);
        equal("replies (timed by send, and shed)", slice.replies, count(&slice.service)? + slice.shed);
        equal("replies (by status)", slice.replies, slice.statuses.values().sum());
        equal("replies and failures (by kind)", slice.replies + slice.failed, of_kinds);
        Ok(())
    }

    /// The thresholds are held against the figures again, in the order in which they were asked.
    fn asserts(&mut self, report: &Report) -> anyhow::Result<()> {
        let scenarios: Vec<_> = report.scenarios.iter().map(|one| one.scenario.name.clone()).collect();
        let names: Vec<_> = report.contenders.iter().map(|one| one.name.clone()).collect();
        let names: [String; 2] = names.try_into().map_err(|_| anyhow!("a comparison is of two"))?;
        for printed in &report.asserts {
            let assert = Assert::parse(&printed.assert, &names, &scenarios)?;
            let found =
                assert.judge(&report.scenarios).into_iter().find(|one| one.scenario == printed.scenario);
            let found = found.with_context(|| format!("{}: no scenario of it", printed.assert))?;
            let what = format!("asserts.{}.{}", printed.scenario, printed.assert);
            let told =
                |one: &Asserted| format!("{}, {}", one.measured, if one.held { "held" } else { "not held" });
            self.equal(what, told(printed), told(&found));
        }
        Ok(())
    }

    /// Each missed bound has to stand on top of the report.
    fn reasons(&mut self, list: &str, printed: &[String], wanted: &[String]) {
        self.figures += wanted.len();
        let missing = wanted.iter().filter(|reason| !printed.contains(reason));
        self.differences.extend(missing.map(|reason| format!("{list}: the report leaves out: {reason}")));
    }
}

/// Fails where no play of a scenario as it stands in the report can have been.
fn playable(name: &str, scenario: &Scenario) -> anyhow::Result<()> {
    check_lengths(scenario).map_err(|(field, problem)| anyhow!("{name}: scenario.{field}: {problem}"))
}

/// An element by its name; one of two without a name is a contender's.
fn place(index: usize, element: &Value, labels: &[String]) -> String {
    let named = ["name", "operation", "percentile"].iter().find_map(|key| element.get(key));
    match named {
        Some(Value::String(name)) => name.clone(),
        Some(number) => format!("p{number}"),
        None => labels.get(index).cloned().unwrap_or_else(|| index.to_string()),
    }
}

struct OfScenario<'a> {
    name: &'a str,
    labels: &'a [String],
    verified: &'a mut Verified,
}

impl OfScenario<'_> {
    fn figures(&mut self, printed: &ScenarioReport, again: &ScenarioReport) -> serde_json::Result<()> {
        fn pair<T: Serialize>(what: &str, both: [&T; 2]) -> serde_json::Result<(String, [Value; 2])> {
            Ok((what.to_owned(), [serde_json::to_value(both[0])?, serde_json::to_value(both[1])?]))
        }
        let parts = [
            pair("metrics", [&printed.metrics, &again.metrics])?,
            pair("operations", [&printed.operations, &again.operations])?,
            pair("curves", [&printed.curves, &again.curves])?,
            pair("curve_ratios", [&printed.curve_ratios, &again.curve_ratios])?,
            pair("validity", [&printed.validity, &again.validity])?,
            pair("generator", [&printed.generator, &again.generator])?,
            pair("server", [&printed.server, &again.server])?,
        ];
        for (what, [printed, again]) in &parts {
            self.verified.walk(&format!("{}: {what}", self.name), printed, again, self.labels);
        }
        Ok(())
    }

    /// What each slice counts, and who had it first, which was drawn.
    fn slices(&mut self, scenario: &ScenarioReport) -> anyhow::Result<()> {
        let name = self.name.to_owned();
        let [first, second] = [scenario.slices[0].len(), scenario.slices[1].len()];
        self.verified.equal(format!("{name}: slices of {}", self.labels[1]), second, first);
        let plan = Plan::of(&scenario.scenario, scenario.order_seed);
        let kept: Vec<_> = plan.kept(&scenario.basis.set_aside).collect();
        for (contender, slices) in scenario.slices.iter().enumerate() {
            for (index, slice) in slices.iter().enumerate() {
                let at = format!("{name}: slices.{}.{index}", self.labels[contender]);
                self.verified.slice(&at, slice)?;
                let drawn = kept.get(index).is_some_and(|(_, (_, first))| *first == contender);
                self.verified.equal(format!("{at}.first"), slice.first, drawn);
            }
        }
        Ok(())
    }

    fn trace(&mut self, scenario: &ScenarioReport, trace: &Trace) {
        let name = self.name.to_owned();
        let mut equal = |what: &str, says: &str, drawn: &str| {
            self.verified.equal(format!("{name}: {what}"), says.to_owned(), drawn.to_owned());
        };
        equal("trace_sha256", &scenario.trace_sha256, &trace.sha256);
        equal(
            "requests",
            &scenario.requests.to_string(),
            &trace.window(0, scenario.scenario.total_us()).len().to_string(),
        );
        let (plan, set_aside) =
            (Plan::of(&scenario.scenario, scenario.order_seed), &scenario.basis.set_aside);
        for (contender, slices) in scenario.slices.iter().enumerate() {
            for (index, (slice, (_, (window, _)))) in slices.iter().zip(plan.kept(set_aside)).enumerate() {
                let due = trace.window(window.from_us, window.from_us + window.length_us).len();
                let what = format!("{name}: slices.{}.{index}.offered", self.labels[contender]);
                self.verified.equal(what, slice.offered, due as u64);
            }
        }
    }
}
