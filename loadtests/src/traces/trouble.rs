//! What was wrong with the input: counted by kind, the first of each with its file and line.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report::wording::number;

/// Lines that are named of each kind.
const NAMED: usize = 3;

/// Where something was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Of a side's files.
    pub file: u32,
    /// In it, from 1.
    pub line: u64,
}

/// A kind of trouble in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Its file.
    pub file: String,
    /// For a sentence about a line: "holds no spans".
    pub what: String,
    /// More about the first; may be empty.
    pub detail: String,
    /// The first lines.
    pub lines: Vec<u64>,
    /// How many there are of it.
    pub count: u64,
    /// Where it is a matter of time: the most, in ns.
    pub most_ns: Option<u64>,
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.lines.first().copied().unwrap_or_default();
        write!(out, "{}:{first}: {}", self.file, self.what)?;
        if !self.detail.is_empty() {
            write!(out, " ({})", self.detail)?;
        }
        if let Some(ns) = self.most_ns {
            write!(out, " (by up to {} ms)", number(ns as f64 / 1e6))?;
        }
        let others: Vec<_> = self.lines.iter().skip(1).map(u64::to_string).collect();
        match (self.count - 1, others.as_slice()) {
            (0, _) => Ok(()),
            (more, []) => write!(out, "; {more} more there"),
            (more, others) => write!(out, "; {more} more: {}", listed(others, more)),
        }
    }
}

/// `lines 4, 9 …`.
fn listed(lines: &[String], of: u64) -> String {
    let word = if of == 1 { "line" } else { "lines" };
    let rest = if (lines.len() as u64) < of { " …" } else { "" };
    format!("{word} {}{rest}", lines.join(", "))
}

/// All of one side, in no more room than there are kinds and files.
#[derive(Debug, Default)]
pub struct Troubles {
    files: Vec<String>,
    found: BTreeMap<(u32, &'static str), Trouble>,
}

impl Troubles {
    /// Of these files, which [`Place::file`] counts.
    pub fn of(files: Vec<String>) -> Self {
        Self { files, found: BTreeMap::new() }
    }

    /// Counts one; `detail` is kept of the first.
    pub fn add(&mut self, place: Place, what: &'static str, detail: impl ToString) {
        self.known(place, what, detail);
    }

    /// Counts one that is a matter of time.
    pub fn add_time(&mut self, place: Place, what: &'static str, ns: u64) {
        let known = self.known(place, what, "");
        known.most_ns = known.most_ns.max(Some(ns));
    }

    fn known(&mut self, place: Place, what: &'static str, detail: impl ToString) -> &mut Trouble {
        let file = || self.files.get(place.file as usize).cloned().unwrap_or_default();
        let known = self.found.entry((place.file, what)).or_insert_with(|| Trouble {
            file: file(),
            what: what.to_owned(),
            detail: detail.to_string(),
            lines: Vec::new(),
            count: 0,
            most_ns: None,
        });
        known.count += 1;
        if known.lines.len() < NAMED && !known.lines.contains(&place.line) {
            known.lines.push(place.line);
        }
        known
    }

    /// In the files' order.
    pub fn list(&self) -> Vec<Trouble> {
        self.found.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_told_with_its_line_and_the_others_are_counted() {
        let mut troubles = Troubles::of(vec!["a.jsonl".into(), "b.jsonl".into()]);
        let mut add = |file, line, what, detail: &str| troubles.add(Place { file, line }, what, detail);
        add(1, 7, "is odd", "");
        (2..7).for_each(|line| add(0, line, "is cut off", &format!("at {line}")));
        add(0, 9, "is odd", "");
        add(0, 9, "is odd", "");
        add(0, 10, "is even", "");
        add(0, 12, "is even", "");
        [2_000_000, 50_000_000, 1]
            .into_iter()
            .for_each(|ns| troubles.add_time(Place { file: 1, line: 8 }, "is off", ns));
        let told: Vec<_> = troubles.list().iter().map(Trouble::to_string).collect();
        let wanted = [
            "a.jsonl:2: is cut off (at 2); 4 more: lines 3, 4 …",
            "a.jsonl:10: is even; 1 more: line 12",
            "a.jsonl:9: is odd; 1 more there",
            "b.jsonl:7: is odd",
            "b.jsonl:8: is off (by up to 50.0 ms); 2 more there",
        ];
        assert_eq!(told, wanted);
    }
}
