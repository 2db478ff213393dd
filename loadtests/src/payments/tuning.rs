//! How each service is tuned: its build, and the settings of its language's runtime. Data, from a file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use stack::instance::Twin;

use super::pair::label;
use crate::report::Given;
use crate::toml_lines::line_of;

/// The file that is taken where no other is named.
pub const USUAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning.toml");
/// Variables of the services, which are the same for both.
const OF_SERVICES: &str = "TWINPAY_";
/// What a value may be made of, beside numbers.
const CORES: &str = "cores";
const PERMITS: &str = "permits";

/// Both rows, as the file has them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    defaults: Both<Built>,
    tuned: Both<Tuned>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Both<T> {
    rust: T,
    go: T,
}

impl<T> Both<T> {
    fn of(&self, twin: Twin) -> &T {
        match twin {
            Twin::Rust => &self.rust,
            Twin::Go => &self.go,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Built {
    build: String,
}

/// A service's tuned row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    build: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

impl Tuning {
    /// Reads a file; an error names it, and the line where there is one.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(name)?;
        let read = || {
            let tuning: Self = toml::from_str(&text).map_err(|error| {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                anyhow!("line {}: {}", before.matches('\n').count() + 1, error.message())
            })?;
            Twin::ALL.into_iter().try_for_each(|twin| tuning.tuned.of(twin).check(twin, &text))?;
            anyhow::Ok(tuning)
        };
        read().with_context(name)
    }

    /// The same where the tuned program of each of these is there, too.
    pub fn ready(path: &Path, twins: &[Twin]) -> anyhow::Result<Self> {
        let tuning = Self::read(path)?;
        twins.iter().try_for_each(|twin| twin.tuned_binary().map(drop))?;
        Ok(tuning)
    }

    /// The tuned row of a service.
    pub fn of(&self, twin: Twin) -> &Tuned {
        self.tuned.of(twin)
    }

    /// What these services were given in each row, for the report; `places` is for [`Tuned::env`].
    pub fn given(&self, twins: &[Twin], places: Places) -> Vec<Given> {
        let given = |row: &str, twin: Twin, build: &str, env: Vec<(String, String)>| Given {
            row: row.into(),
            label: label(twin).into(),
            build: build.into(),
            env,
        };
        let defaults =
            twins.iter().map(|twin| given("defaults", *twin, &self.defaults.of(*twin).build, vec![]));
        let tuned = twins.iter().map(|twin| {
            let tuned = self.tuned.of(*twin);
            given("tuned", *twin, &tuned.build, tuned.env(places))
        });
        defaults.chain(tuned).collect()
    }
}

/// What words in values stand for.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Cores that the service runs on.
    pub cores: usize,
    /// Hashes that it runs at once.
    pub permits: usize,
}

impl Tuned {
    fn check(&self, twin: Twin, text: &str) -> anyhow::Result<()> {
        let wrong = self.env.keys().find(|name| name.starts_with(OF_SERVICES));
        let Some(name) = wrong else { return Ok(()) };
        let line = line_of(text, &format!("tuned.{}.env.{name}", twin.name())).unwrap_or(1);
        bail!(
            "line {line}: {name} is a setting of both services: what they are asked to do must be the same in both rows"
        )
    }

    /// Its variables, with their words as numbers.
    pub fn env(&self, places: Places) -> Vec<(String, String)> {
        let value =
            |text: &String| resolved(text, places).map_or_else(|| text.clone(), |sum| sum.to_string());
        self.env.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }
}

/// A sum that has a word in it; any other value stays as it is.
fn resolved(text: &str, places: Places) -> Option<usize> {
    let terms: Vec<_> = text.split('+').map(str::trim).collect();
    if !terms.contains(&CORES) && !terms.contains(&PERMITS) {
        return None;
    }
    let number = |term: &&str| match *term {
        CORES => Some(places.cores),
        PERMITS => Some(places.permits),
        other => other.parse().ok(),
    };
    terms.iter().map(number).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_and_other_values_are_kept() {
        let places = Places { cores: 2, permits: 3 };
        let of = |text: &str| resolved(text, places);
        assert_eq!([of("cores"), of("permits"), of("cores + permits + 4")], [Some(2), Some(3), Some(9)]);
        assert_eq!([of("400"), of("512MiB"), of("cores + x"), of("")], [None; 4]);
    }

    #[test]
    fn the_usual_file_tunes_both_and_is_told_row_by_row() {
        let tuning = Tuning::read(Path::new(USUAL)).unwrap();
        let given = tuning.given(&Twin::ALL, Places { cores: 1, permits: 1 });
        let rows: Vec<_> = given.iter().map(|given| (given.row.as_str(), given.label.as_str())).collect();
        assert_eq!(rows, [("defaults", "Rust"), ("defaults", "Go"), ("tuned", "Rust"), ("tuned", "Go")]);
        assert!(given[..2].iter().all(|given| given.env.is_empty()));
        assert!(given[3].env.contains(&("GOMAXPROCS".into(), "2".into())), "{:?}", given[3]);
    }

    #[test]
    fn a_file_that_changes_the_work_or_is_misspelt_is_refused_with_its_line() {
        let usual = std::fs::read_to_string(USUAL).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let cases = [
            (
                usual.replace("GOGC", "TWINPAY_HASH_PERMITS"),
                "TWINPAY_HASH_PERMITS is a setting of both services",
            ),
            (usual.replace("[tuned.go.env]", "[tuned.go.evn]"), "unknown field `evn`"),
            (usual.replace("[defaults.go]", "[defaults.java]"), "unknown field `java`"),
        ];
        for (text, wanted) in cases {
            std::fs::write(file.path(), &text).unwrap();
            let said = format!("{:#}", Tuning::read(file.path()).unwrap_err());
            assert!(
                said.contains(wanted)
                    && said.contains("line ")
                    && said.contains(file.path().to_str().unwrap()),
                "{said}"
            );
        }
    }
}
