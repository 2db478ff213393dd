//! What a run of `loadtest full` is of: parts of another build, machine or plan can't stand beside its own.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stack::instance::Twin;

use super::plan::Planned;
use crate::environment;
use crate::limits::hash;
use crate::payments::{Layout, label};

/// What all parts of a run have to have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Name and SHA-256 of each program that takes part.
    pub programs: Vec<(String, String)>,
    /// What they were built from, as far as this program knows.
    pub commit: String,
    /// On the command line.
    pub options: Vec<String>,
    /// Who runs on which cores, and what the machine is.
    pub machine: Vec<(String, String)>,
    /// Each part, and the SHA-256 of all of its settings.
    pub parts: Vec<(String, String)>,
}

impl About {
    /// As everything is now; `tuned` services take part, or don't. `postgres` is the database's program.
    pub fn now(
        planned: &[Planned],
        options: Vec<String>,
        layout: &Layout,
        (tuned, postgres): (bool, PathBuf),
    ) -> anyhow::Result<Self> {
        let programs = programs(tuned, postgres)?;
        let program = |(name, path): (String, PathBuf)| {
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            anyhow::Ok((name, sha256(&bytes)))
        };
        let settings = |one: &Planned| (one.task.name(), sha256(format!("{:?}", one.task).as_bytes()));
        Ok(Self {
            programs: programs.into_iter().map(program).collect::<anyhow::Result<_>>()?,
            commit: environment::commit().into(),
            options,
            machine: [layout.lines(), environment::machine()?].concat(),
            parts: planned.iter().map(settings).collect(),
        })
    }

    /// Why parts of this can't stand beside parts of `now`; nothing: they can.
    pub fn differs(&self, now: &Self) -> Option<String> {
        if self.commit != now.commit {
            return Some(format!(
                "it is of another build: of commit {}, and this is {}",
                self.commit, now.commit
            ));
        }
        if let Some(name) = first_other(&self.programs, &now.programs) {
            let commit = &now.commit;
            return Some(format!(
                "it is of another build: {name} has changed since, though its commit is {commit}"
            ));
        }
        if let Some(name) = first_other(&self.machine, &now.machine) {
            let of = |about: &Self| {
                let line = about.machine.iter().find(|(known, _)| *known == name);
                line.map_or("not there".to_owned(), |(_, value)| value.clone())
            };
            return Some(format!(
                "it is of another machine or layout: {name} was {}, and is {}",
                of(self),
                of(now)
            ));
        }
        if self.options != now.options {
            let told = |options: &[String]| match options {
                [] => "no options".to_owned(),
                some => some.join(" "),
            };
            return Some(format!(
                "it was begun with {}, and this is with {}",
                told(&self.options),
                told(&now.options)
            ));
        }
        let name = first_other(&self.parts, &now.parts)?;
        Some(format!("the scenario or settings of “{name}” have changed since"))
    }
}

/// Each program that takes part, by name.
fn programs(tuned: bool, postgres: PathBuf) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut programs = vec![("loadtest".to_owned(), std::env::current_exe()?)];
    for twin in Twin::ALL {
        programs.push((format!("the {} service", label(twin)), twin.binary()?));
        if tuned {
            programs.push((format!("the tuned {} service", label(twin)), twin.tuned_binary()?));
        }
    }
    programs.push(("the card network".to_owned(), stack::binaries::acquirer()?));
    // Where it is missing, a row of the limits says so.
    programs.extend(hash::hashloop().ok().map(|path| ("Go’s loop of hashes".to_owned(), path)));
    programs.push(("Postgres".to_owned(), postgres));
    Ok(programs)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The name of the first that isn't the same in both.
fn first_other(then: &[(String, String)], now: &[(String, String)]) -> Option<String> {
    let gone = then.iter().find(|line| !now.contains(line));
    gone.or_else(|| now.iter().find(|line| !then.contains(line))).map(|(name, _)| name.clone())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A run of two parts.
    pub fn about() -> About {
        let lines = |lines: &[(&str, &str)]| {
            lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        About {
            programs: lines(&[("loadtest", "1"), ("the Rust service", "2")]),
            commit: "abc".into(),
            options: vec!["--smoke".into()],
            machine: lines(&[("Load generator", "core 0"), ("Memory", "8 GiB")]),
            parts: lines(&[("checkout", "3"), ("checkout, Rust against itself", "4")]),
        }
    }

    type Change = fn(&mut About);

    #[test]
    fn what_differs_from_the_begin_is_named_with_what_it_was_and_is() {
        let change = |change: Change| {
            let mut now = about();
            change(&mut now);
            about().differs(&now)
        };
        assert_eq!(change(|_| {}), None);
        let cases: [(Change, &str); 6] = [
            (|now| now.commit = "def".into(), "it is of another build: of commit abc, and this is def"),
            (
                |now| now.programs[1].1 = "9".into(),
                "it is of another build: the Rust service has changed since, though its commit is abc",
            ),
            (
                |now| now.machine[0].1 = "core 3".into(),
                "it is of another machine or layout: Load generator was core 0, and is core 3",
            ),
            (
                |now| drop(now.machine.pop()),
                "it is of another machine or layout: Memory was 8 GiB, and is not there",
            ),
            (|now| now.options.clear(), "it was begun with --smoke, and this is with no options"),
            (|now| now.parts[0].1 = "9".into(), "the scenario or settings of “checkout” have changed since"),
        ];
        for (make, wanted) in cases {
            assert_eq!(change(make).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn each_program_that_takes_part_is_named() {
        let names = |tuned: bool| {
            let named = programs(tuned, "/bin/postgres".into()).unwrap();
            named.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let usual = [
            "loadtest",
            "the Rust service",
            "the Go service",
            "the card network",
            "Go’s loop of hashes",
            "Postgres",
        ];
        assert_eq!(names(false), usual);
    }
}
