//! Every setting of a scenario, a line each: what isn't here would have to be guessed by whoever plays it again.

use std::collections::BTreeMap;

use crate::plain::{Each, RequestSpec, Source};
use crate::scenario::{Flow, Scenario, Stage};
use crate::solo::Settings;

type Line = (String, String);

/// All of them; without an `order_seed` it is played once, not in slices.
pub(super) fn settings(all: &Scenario, requests: usize, sha256: &str, order_seed: Option<u64>) -> Vec<Line> {
    let mut lines = vec![
        line("Trace", format!("{requests} requests, sha256 {sha256}")),
        match order_seed {
            Some(order) => {
                line("Seed of the trace, of the order in warm-up and pairs", format!("{}, {order}", all.seed))
            }
            None => line("Seed of the trace", all.seed.to_string()),
        },
    ];
    lines.extend(all.trace_file.as_ref().map(|file| line("Read from", file.display().to_string())));
    lines.extend(load(all));
    lines.extend(connections(all));
    if order_seed.is_some() {
        lines.push(line("Slices", format!("{} pairs of {} ms", all.pairs, all.slice_ms)));
    }
    lines.push(line("Wait for the last replies of a slice", format!("at most {} ms", all.drain_ms)));
    lines.extend(all.solo.iter().flat_map(alone));
    lines.extend(all.draw.iter().map(|(name, source)| line(&format!("Drawn: {name}"), drawn(source))));
    lines.extend(all.requests.iter().map(|one| line(&format!("Request: {}", one.name), request(one))));
    lines.extend(all.settings.iter().map(|(name, value)| line(name, value.clone())));
    lines
}

fn line(name: &str, value: String) -> Line {
    (name.to_owned(), value)
}

/// What arrives when.
fn load(all: &Scenario) -> [Line; 6] {
    let stage = |stage: &Stage| format!("{} flows/s for {} s", stage.rate, stage.seconds);
    let stages: Vec<_> = all.stages.iter().map(stage).collect();
    let arriving = match all.warm_up_flows.as_slice() {
        [] => "the same flows".into(),
        making => {
            format!("{}, for three quarters of it; then the same flows at the load’s rate", flows(making))
        }
    };
    [
        line("Operations of", all.workload.clone()),
        line("Arrivals", format!("{:?}, {}", all.arrivals, stages.join(", then ")).to_lowercase()),
        line("Flows", flows(&all.flows)),
        line("Think time", format!("{} ms", all.think_time_ms)),
        line("Warm-up of each", stage(&all.warm_up)),
        line("Flows of the warm-up", arriving),
    ]
}

fn flows(flows: &[Flow]) -> String {
    let told = |flow: &Flow| {
        let parameters = flow.parameters.iter().map(|(name, value)| format!(", {name} = {value}"));
        format!(
            "{} × {} ({}{})",
            flow.share,
            flow.name,
            flow.steps.join(" → "),
            parameters.collect::<String>()
        )
    };
    flows.iter().map(told).collect::<Vec<_>>().join("; ")
}

fn connections(all: &Scenario) -> Vec<Line> {
    let doors: Vec<_> = all.doors.shares().into_iter().filter(|(_, share)| *share > 0).collect();
    let labels: Vec<_> = doors.iter().map(|(door, _)| door.label()).collect();
    let connections = format!(
        "{} of {}, kept alive; at most {} requests in flight",
        all.connections,
        labels.join(", and as many of "),
        all.in_flight
    );
    let weights: Vec<_> = doors.iter().map(|(door, share)| format!("{share} × {}", door.label())).collect();
    vec![line("Connections", connections), line("Flows by door", weights.join("; "))]
}

/// What only a run of one service looks at.
fn alone(solo: &Settings) -> Vec<Line> {
    let bound = solo.p99_ms.map(|ms| line("A rate is kept while p99 is below", format!("{ms} ms")));
    let said = [
        (solo.only, "is played on one service alone, not in pairs of slices"),
        (solo.times_capacity, "was given its rates as multiples of the capacity"),
        (solo.sheds, "expects that requests are shed, and what would have followed on them is skipped"),
        (solo.flat, "wants memory to stay as it is"),
    ];
    let said: Vec<_> = said.into_iter().filter_map(|(set, text)| set.then_some(text)).collect();
    let said = (!said.is_empty()).then(|| line("This scenario", said.join("; ")));
    bound.into_iter().chain(said).collect()
}

fn drawn(source: &Source) -> String {
    let range = source.from.zip(source.to).map(|(from, to)| format!("a whole number from {from} to {to}"));
    let hex = source.hex.map(|digits| format!("{digits} hex digits"));
    let of = || format!("one of {}", joined(source.of.iter()));
    let each = match source.each {
        Each::Flow => "flow",
        Each::Request => "request",
    };
    format!("{}, for each {each}", range.or(hex).unwrap_or_else(of))
}

/// In short: values of headers may be secrets, and bodies are long.
fn request(one: &RequestSpec) -> String {
    let mut told = format!("{} {}", one.method, one.path);
    let mut add = |what: &str, text: String| {
        if !text.is_empty() {
            told += &format!("; {what} {text}");
        }
    };
    add("headers", joined(one.headers.keys()));
    add("body of", one.body.as_ref().map_or(String::new(), |body| format!("{} bytes", body.len())));
    add("expects", joined(one.expect.iter()));
    add("sheds with", joined(one.shed.iter()));
    add("checks", pointers(&one.check));
    add("saves", joined(one.save.iter().map(|(name, pointer)| format!("{pointer} as {name}"))));
    told
}

fn pointers(checks: &BTreeMap<String, String>) -> String {
    joined(checks.iter().map(|(pointer, value)| format!("{pointer} = {value}")))
}

fn joined<T: ToString>(parts: impl Iterator<Item = T>) -> String {
    parts.map(|part| part.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::{page, sample, summary};
    use crate::scenario::{Doors, Overrides};
    use crate::solo::SoloRun;

    /// All that the repository has.
    fn shipped() -> Vec<Scenario> {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
        let load = |file: std::io::Result<std::fs::DirEntry>| {
            let path = file.unwrap().path();
            Scenario::load(path.to_str().unwrap(), &Overrides::default()).unwrap()
        };
        files.map(load).collect()
    }

    #[test]
    fn connections_are_told_by_the_doors_that_the_scenario_takes() {
        let mut scenario = sample::scenario(12, vec![]).scenario;
        scenario.doors = Doors::http_and_grpc();
        let told = settings(&scenario, 1, "", None).into_iter().find(|(name, _)| name == "Connections");
        let wanted = "32 of HTTP/1.1, and as many of gRPC, kept alive; at most 256 requests in flight";
        assert_eq!(told.unwrap().1, wanted);
    }

    #[test]
    fn what_a_scenario_sets_in_place_of_the_usual_is_on_its_page() {
        let mut seen = 0;
        for scenario in shipped() {
            let mut report = sample::report();
            report.contenders = ["Rust", "Go"].map(sample::contender).into();
            report.scenarios = vec![sample::scenario(12, vec![])];
            report.scenarios[0].slices = vec![vec![], vec![]];
            report.scenarios[0].curves = vec![vec![], vec![]];
            report.scenarios[0].scenario = scenario.clone();
            report.alone = vec![SoloRun { scenario: scenario.clone(), ..sample::alone("Go") }];
            let (page, summary) = (page(&report).unwrap(), summary(&report));
            for (name, value) in &scenario.settings {
                let wanted = format!("<dt>{name}</dt><dd>{value}</dd>");
                assert_eq!(page.matches(&wanted).count(), 2, "{}: {wanted}", scenario.name);
                assert!(summary.contains(&format!("`{name}={value}`")), "{}: {name}", scenario.name);
                seen += 1;
            }
        }
        assert!(seen >= 8, "{seen} settings");
    }

    /// Every leaf but what is told elsewhere on the page, or isn't to be told.
    fn leaves(at: &str, value: &Value, found: &mut Vec<String>) {
        let told_elsewhere = ["/name", "/description"].contains(&at);
        if told_elsewhere || at.contains("/headers/") {
            return;
        }
        match value {
            Value::Object(fields) => {
                let escaped = |key: &String| key.replace('~', "~0").replace('/', "~1");
                fields
                    .iter()
                    .for_each(|(key, value)| leaves(&format!("{at}/{}", escaped(key)), value, found));
            }
            Value::Array(parts) => {
                let each = parts.iter().enumerate();
                each.for_each(|(index, value)| leaves(&format!("{at}/{index}"), value, found));
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push(at.to_owned()),
        }
    }

    fn changed(value: &Value) -> Value {
        match value {
            Value::Bool(value) => json!(!value),
            Value::Number(number) if number.is_u64() => json!(number.as_u64().unwrap() + 1),
            Value::Number(number) => json!(number.as_f64().unwrap() + 1.0),
            Value::String(text) if text == "poisson" => json!("constant"),
            Value::String(text) if text == "flow" => json!("request"),
            Value::String(text) => json!(format!("{text}1")),
            Value::Null | Value::Array(_) | Value::Object(_) => value.clone(),
        }
    }

    #[test]
    fn whatever_is_changed_in_a_scenario_changes_what_is_told_of_it() {
        for scenario in shipped() {
            let told = |scenario: &Scenario| settings(scenario, 1, "", Some(1));
            let (whole, before) = (serde_json::to_value(&scenario).unwrap(), told(&scenario));
            let mut found = Vec::new();
            leaves("", &whole, &mut found);
            assert!(found.len() > 15, "{found:?}");
            for at in found {
                let mut other = whole.clone();
                let leaf = other.pointer_mut(&at).unwrap();
                *leaf = changed(leaf);
                let other: Scenario = serde_json::from_value(other).unwrap();
                assert_ne!(told(&other), before, "{}: {at} isn't told", scenario.name);
            }
        }
    }
}
