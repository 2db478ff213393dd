//! What a sceptic asks, and the answer that this run gives, with the place on the page where it is told in full.

use serde::Serialize;

use crate::report::wording::{is_difference, labels, number};
use crate::report::{Metric, Report, ScenarioReport};
use crate::validity::{STOLEN_MAX, name};

/// A question and its answer.
#[derive(Serialize)]
pub(super) struct Objection {
    asked: &'static str,
    answer: String,
}

type Answer = (&'static str, fn(&Report) -> String);

/// All of them.
pub(super) fn objections(report: &Report) -> Vec<Objection> {
    let answers: [Answer; 11] = [
        ("Did both do the same work?", same_work),
        ("Were they warm?", warm),
        ("Does a stall hide the requests that it held up (coordinated omission)?", omission),
        ("Is a difference more than noise?", noise),
        ("So many 95 % intervals: how many exclude 1 by chance?", chance),
        ("Who had which core?", cores),
        ("What would they do on more cores?", scale),
        ("Does it matter who goes first?", order),
        ("Does the idle one disturb the other?", idle),
        ("Was the generator, or the database, the limit?", limits),
        ("Why believe the figures?", checked),
    ];
    answers.into_iter().map(|(asked, answer)| Objection { asked, answer: answer(report) }).collect()
}

/// A text for each scenario, with its name where there are several.
fn each(report: &Report, of: impl Fn(&ScenarioReport) -> String) -> String {
    let named = |scenario: &ScenarioReport| match report.scenarios.len() {
        1 => of(scenario),
        _ => format!("{}: {}", scenario.scenario.name, of(scenario)),
    };
    report.scenarios.iter().map(named).collect::<Vec<_>>().join("; ")
}

fn bound(scenario: &ScenarioReport, name: &str) -> String {
    let found = scenario.validity.iter().find(|bound| bound.name == name);
    found.map_or("not measured".into(), |bound| {
        if bound.applies { bound.measured.clone() } else { format!("({})", bound.measured) }
    })
}

fn same_work(report: &Report) -> String {
    format!(
        "Both got the same bytes of one request trace: the same order, due times and parameters. The status of each reply is checked, and the body of a part of them. Counted: {}. Unexpected replies: {}. Built from: {}.",
        each(report, |scenario| bound(scenario, name::COUNTS)),
        each(report, |scenario| bound(scenario, name::UNEXPECTED)),
        report.scenarios.first().map_or(String::new(), |scenario| bound(scenario, name::BUILD)),
    )
}

fn warm(report: &Report) -> String {
    let seconds = each(report, |scenario| format!("{} s", scenario.scenario.warm_up.seconds));
    format!(
        "Each was warmed up for {seconds} before the first slice, not measured: the last quarter of that is the scenario’s own load. Whether there is still a trend is seen slice by slice."
    )
}

fn omission(report: &Report) -> String {
    let lag = each(report, |scenario| bound(scenario, name::LAG));
    format!(
        "No: requests go out when they are due, whatever the replies do, and latency counts from the due time. Beside it stands the latency from the actual send (dashed), which hides such waits. 99 of 100 requests left, or where each connection was busy were queued for one, at most so long after they were due: {lag}; a wait in that queue is part of the latency."
    )
}

fn noise(report: &Report) -> String {
    let pairs = each(report, |scenario| scenario.slices.iter().map(Vec::len).min().unwrap_or(0).to_string());
    let resamples = report.scenarios.first().map_or(0, |scenario| scenario.basis.resamples);
    let controlled = if report.scenarios.iter().any(|scenario| !scenario.controls.is_empty()) {
        " Each service was also compared with a second instance of itself; where that shows a difference too, none is named."
    } else {
        ""
    };
    format!(
        "Each ratio has the 95 % interval of a bootstrap ({resamples} resamples) over whole pairs of slices ({pairs}), since requests within a slice aren’t independent. A difference is named only where the interval excludes 1; otherwise the smallest that would have been seen is.{controlled}"
    )
}

/// Of intervals of 95 %.
const BY_CHANCE: f64 = 0.05;

/// Metrics that have an interval, and how many of those exclude 1.
fn intervals<'a>(metrics: impl Iterator<Item = &'a Metric>) -> (usize, usize) {
    let told: Vec<_> = metrics.filter(|metric| metric.ratio.interval.is_some()).collect();
    (told.len(), told.iter().filter(|metric| metric.ratio.differs()).count())
}

fn chance(report: &Report) -> String {
    let scenarios = &report.scenarios;
    let (shown, exclude) = intervals(scenarios.iter().flat_map(|scenario| &scenario.metrics));
    let named = |scenario: &ScenarioReport| {
        scenario.metrics.iter().filter(|metric| is_difference(metric, &scenario.controls)).count()
    };
    let named: usize = scenarios.iter().map(named).sum();
    let controls: Vec<_> = scenarios.iter().flat_map(|scenario| &scenario.controls).collect();
    let controlled = if controls.is_empty() {
        "There were no controls here (compare --control): chance alone may be what is named.".to_owned()
    } else {
        let (of, found) = intervals(controls.iter().flat_map(|control| &control.report.metrics));
        format!(
            "In the controls, where both are the same program, {found} of {of} do. A difference is named only where the interval excludes 1 and those of its controls don’t."
        )
    };
    format!(
        "The tables of metrics show {shown} of them. If nothing differed, about {} would exclude 1 by chance alone; {exclude} do, and {named} are called a difference. Those of one scenario hang together: what moves p50 moves p90. {controlled}",
        number(shown as f64 * BY_CHANCE)
    )
}

fn cores(report: &Report) -> String {
    let line = |(who, cores): &(String, String)| format!("{who}: {cores}. ");
    let layout: String = report.environment.layout.iter().map(line).collect();
    let others = each(report, |scenario| bound(scenario, name::OTHERS));
    let stolen = each(report, |scenario| bound(scenario, name::STOLEN));
    let disturbed = each(report, |scenario| bound(scenario, name::DISTURBED));
    let aside = match report.scenarios.iter().all(|scenario| scenario.basis.trial) {
        true => "In a trial like this one no pair is set aside for that.".to_owned(),
        false => format!(
            "A pair in which the host took more than {} % of a core is set aside, both slices of it, whatever they gave: {disturbed}.",
            STOLEN_MAX * 100.0
        ),
    };
    format!("{layout}CPU used by other processes: {others} of a core; taken by the host: {stolen}. {aside}")
}

fn scale(_: &Report) -> String {
    "That isn’t told here. Each was measured on the cores named above, and only there: how a service scales over more is another question, and neither ratio says anything of it.".into()
}

fn order(report: &Report) -> String {
    let labels = labels(report);
    let firsts = each(report, |scenario| {
        let first =
            |slices: &Vec<_>| slices.iter().filter(|slice: &&crate::report::RawSlice| slice.first).count();
        let counts: Vec<_> = scenario.slices.iter().map(first).map(|count| count.to_string()).collect();
        counts.join(" and ")
    });
    format!(
        "It would: whoever is first meets what the other left in the caches. So the order within each pair is drawn at random, half of all pairs each: of those that count, {} were first in {firsts}.",
        labels.join(" and ")
    )
}

fn idle(report: &Report) -> String {
    let labels = labels(report);
    let used = each(report, |scenario| {
        let metric = scenario.metrics.iter().find(|metric| metric.name == "idle_cpu");
        let of = |metric: &Metric| {
            let each = metric.values.iter().zip(&labels);
            let each = each.map(|(value, label)| format!("{label} {} {}", number(*value), metric.unit));
            each.collect::<Vec<_>>().join(", ")
        };
        metric.map_or("not measured".into(), of)
    });
    format!(
        "By the CPU that it uses in the other’s slices: {used}. That is what timers and garbage collection took."
    )
}

fn limits(report: &Report) -> String {
    format!(
        "CPU of the generator: {} of a core; of the database and what else stands around: {} of theirs. Beyond the bounds of these a run is void.",
        each(report, |scenario| bound(scenario, name::GENERATOR)),
        each(report, |scenario| bound(scenario, name::SUPPORT)),
    )
}

fn checked(_: &Report) -> String {
    "Every slice’s raw histograms and counts are in report.json. `loadtest verify` computes each figure again from them (what was full was seen, and is noted) and draws the trace again; a run that misses a bound of its validity says so on top and isn’t a result.".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{control, metric, report, scenario};

    #[test]
    fn it_is_said_how_many_intervals_chance_would_have_exclude_one() {
        let named = |name: &str, ends| Metric { name: name.into(), ..metric(1.2, ends) };
        let far = Some((1.1, 1.3));
        let metrics =
            vec![named("p50", far), named("p99", far), named("cpu", Some((0.9, 1.3))), named("rss", None)];
        let mut shown = scenario(12, metrics);
        let mut report = report();
        report.scenarios = vec![shown.clone()];
        let wanted = "show 3 of them. If nothing differed, about 0.150 would exclude 1 by chance alone; 2 do, and 2 are called a difference.";
        let said = chance(&report);
        assert!(said.contains(wanted) && said.contains("There were no controls here"), "{said}");
        // Of two controls one shows what is seen at p99, too.
        let none = || vec![named("p50", Some((0.9, 1.1))), named("p99", Some((0.9, 1.1)))];
        let some = vec![named("p50", Some((0.9, 1.1))), named("p99", far)];
        shown.controls = vec![control("Rust", none()), control("Go", some)];
        report.scenarios = vec![shown];
        let said = chance(&report);
        assert!(said.contains("2 do, and 1 are called a difference"), "{said}");
        assert!(said.contains("where both are the same program, 1 of 4 do."), "{said}");
    }
}
