//! `/metrics` without its numbers: a section a family, with its type, help, buckets, and the label sets that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use stack::instance::Twin;

use super::file::Sections;

/// Labels whose value differs between twins or between builds.
const VARIABLE: [&str; 3] = ["service_name", "telemetry_sdk_language", "telemetry_sdk_version"];

/// Families that one twin alone can have, by how their names begin, and why. All others are both's.
const OF_ONE: [(Twin, &str, &str); 3] = [
    (Twin::Go, "go_", "its runtime's, by the names of OpenTelemetry's conventions"),
    (Twin::Rust, "jemalloc_", "its allocator's; that of Go is a part of the runtime"),
    (Twin::Rust, "tokio_", "its runtime's, which is a library of Rust"),
];

static LABEL: LazyLock<Regex> = LazyLock::new(|| pattern(r#"([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)""#));
static SAMPLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([a-zA-Z0-9_:]+)(?:\{(.*)\})? \S+$"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a valid pattern")
}

/// Families by name. Those of several processes of one twin add up.
#[derive(Debug, Default, PartialEq)]
pub struct Families(BTreeMap<String, Family>);

#[derive(Debug, Default, PartialEq)]
struct Family {
    kind: String,
    help: String,
    /// Of a histogram: bounds in the order in which they stand, once each.
    bounds: Vec<String>,
    series: BTreeSet<String>,
}

impl Families {
    /// Adds what a process shows. Lines that aren't in Prometheus' text format become families of their own.
    pub fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                help.clone_into(&mut self.0.entry(name.into()).or_default().help);
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                kind.clone_into(&mut self.0.entry(name.into()).or_default().kind);
            } else {
                self.sample(line);
            }
        }
    }

    fn sample(&mut self, line: &str) {
        let Some(found) = SAMPLE.captures(line) else {
            self.0.entry(format!("not understood: {line}")).or_default();
            return;
        };
        let name = self.family(&found[1]).to_owned();
        let family = self.0.entry(name).or_default();
        let mut labels = Vec::new();
        for label in LABEL.captures_iter(found.get(2).map_or("", |labels| labels.as_str())) {
            let (key, value) = (&label[1], &label[2]);
            if key == "le" {
                if !family.bounds.iter().any(|bound| bound == value) {
                    family.bounds.push(value.to_owned());
                }
            } else if VARIABLE.contains(&key) {
                labels.push(key.to_owned());
            } else {
                labels.push(format!("{key}={value}"));
            }
        }
        labels.sort();
        family.series.insert(if labels.is_empty() { "(no labels)".into() } else { labels.join(" ") });
    }

    /// The family that a sample belongs to: a histogram's samples have endings of their own.
    fn family<'a>(&self, sample: &'a str) -> &'a str {
        let parts =
            ["_bucket", "_sum", "_count"].into_iter().filter_map(|ending| sample.strip_suffix(ending));
        let histogram = |name: &&str| self.0.get(*name).is_some_and(|family| family.kind == "histogram");
        parts.into_iter().find(histogram).unwrap_or(sample)
    }

    /// Takes out what only `twin` can have; without buckets, which its runtime chooses.
    pub fn take_own(&mut self, twin: Twin) -> Sections {
        let mut own = Sections::new();
        for (_, prefix, why) in OF_ONE.into_iter().filter(|(of, ..)| *of == twin) {
            for (name, family) in self.0.extract_if(.., |name, _| name.starts_with(prefix)) {
                let body = Family { bounds: Vec::new(), ..family }.body();
                own.push((name, format!("{} alone: {why}\n{body}", twin.name())));
            }
        }
        own
    }

    /// One section a family.
    pub fn sections(&self) -> Sections {
        self.0.iter().map(|(name, family)| (name.clone(), family.body())).collect()
    }
}

impl Family {
    fn body(&self) -> String {
        let mut body = format!("{}: {}\n", self.kind, self.help);
        if !self.bounds.is_empty() {
            body.push_str(&format!("buckets {}\n", self.bounds.join(" ")));
        }
        self.series.iter().for_each(|series| body.push_str(&format!("  {series}\n")));
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_shown_without_their_numbers() {
        let mut families = Families::default();
        families.add(
            "# HELP a_seconds How long.\n# TYPE a_seconds histogram\n\
             a_seconds_bucket{route=\"/v1/{id}\",le=\"0.5\"} 1\na_seconds_bucket{route=\"/v1/{id}\",le=\"+Inf\"} 2\n\
             a_seconds_sum{route=\"/v1/{id}\"} 1.5\na_seconds_count{route=\"/v1/{id}\"} 2\n",
        );
        families.add("# TYPE b gauge\nb 3\nb{z=\"1\",a=\"x=\\\"y\\\"\"} 4\n?\n");
        assert_eq!(
            families.sections(),
            [
                ("a_seconds".into(), "histogram: How long.\nbuckets 0.5 +Inf\n  route=/v1/{id}\n".into()),
                ("b".into(), "gauge: \n  (no labels)\n  a=x=\\\"y\\\" z=1\n".into()),
                ("not understood: ?".into(), ": \n".to_owned()),
            ]
        );
    }

    #[test]
    fn what_one_twin_alone_can_have_is_taken_out_of_its_own_and_of_no_other_s() {
        let text = "# TYPE go_a histogram\ngo_a_bucket{le=\"0.5\"} 1\ngo_a_sum 1\ngo_a_count 2\n# TYPE tokio_b gauge\ntokio_b 1\n# TYPE c gauge\nc 1\n";
        let told = |twin| {
            let mut families = Families::default();
            families.add(text);
            let own = families.take_own(twin);
            let names = |sections: Sections| sections.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
            (own.first().cloned(), names(own), names(families.sections()))
        };
        let (first, own, left) = told(Twin::Go);
        assert_eq!((own, left), (vec!["go_a".into()], vec!["c".into(), "tokio_b".into()]));
        let body = "go alone: its runtime's, by the names of OpenTelemetry's conventions\nhistogram: \n  (no labels)\n";
        assert_eq!(first.map(|(_, body)| body).as_deref(), Some(body));
        assert_eq!(told(Twin::Rust).2, ["c", "go_a"]);
    }
}
