//! `/metrics` without its numbers: a section a family, with its type, help, buckets, and the label sets that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::file::Sections;

/// Labels whose value differs between twins or between builds.
const VARIABLE: [&str; 3] = ["service_name", "telemetry_sdk_language", "telemetry_sdk_version"];

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

    /// One section a family.
    pub fn sections(&self) -> Sections {
        let section = |(name, family): (&String, &Family)| {
            let mut body = format!("{}: {}\n", family.kind, family.help);
            if !family.bounds.is_empty() {
                body.push_str(&format!("buckets {}\n", family.bounds.join(" ")));
            }
            family.series.iter().for_each(|series| body.push_str(&format!("  {series}\n")));
            (name.clone(), body)
        };
        self.0.iter().map(section).collect()
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
}
