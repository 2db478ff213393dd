//! Golden files: sections of text under headings. The twins' own sections are compared with them, line by line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use similar::{ChangeTag, TextDiff};

/// What begins a heading.
const MARK: &str = "## ";
/// Lines around a difference that are shown with it: most trees are shown whole.
const AROUND: usize = 8;

/// Bodies by their headings, in order.
pub type Sections = Vec<(String, String)>;

/// All that one twin told: sections by the file's path below the golden folder.
pub type Told = BTreeMap<PathBuf, Sections>;

/// Reads every golden file of a folder and the folders in it.
pub fn load(folder: &Path) -> anyhow::Result<Told> {
    let mut told = Told::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).with_context(|| format!("{} can't be read", next.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "txt") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
                let name = path.strip_prefix(folder).unwrap_or(&path).to_owned();
                told.insert(name, parse(&text));
            }
        }
    }
    Ok(told)
}

/// Writes what was told over what is there, and removes what nobody tells any more.
pub fn write(folder: &Path, told: &Told) -> anyhow::Result<()> {
    for name in load(folder)?.keys().filter(|name| !told.contains_key(*name)) {
        fs::remove_file(folder.join(name)).with_context(|| format!("removing {}", name.display()))?;
    }
    for (name, sections) in told {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(&path, render(sections)).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn render(sections: &Sections) -> String {
    let parts = sections.iter().map(|(heading, body)| format!("{MARK}{heading}\n\n{body}"));
    parts.collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Sections {
    let mut sections = Sections::new();
    for line in text.lines() {
        match (line.strip_prefix(MARK), sections.last_mut()) {
            (Some(heading), _) => sections.push((heading.to_owned(), String::new())),
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    for (_, body) in &mut sections {
        let trimmed = body.trim_matches('\n');
        *body = if trimmed.is_empty() { String::new() } else { format!("{trimmed}\n") };
    }
    sections
}

/// Every section in which `got` isn't as `wanted`: file, heading, who, and the lines.
pub fn differences(who: &str, wanted: &Told, got: &Told) -> Vec<String> {
    let mut found = Vec::new();
    let none = Sections::new();
    let mut names: Vec<_> = wanted.keys().chain(got.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (wanted, got) = (wanted.get(name).unwrap_or(&none), got.get(name).unwrap_or(&none));
        let mut headings: Vec<_> = wanted.iter().chain(got).map(|(heading, _)| heading).collect();
        headings.sort();
        headings.dedup();
        for heading in headings {
            let (wanted, got) = (body(wanted, heading), body(got, heading));
            if wanted != got {
                let lines = diff(wanted.unwrap_or_default(), got.unwrap_or_default());
                found.push(format!("{}: {heading}: {who}\n{lines}", name.display()));
            }
        }
    }
    found
}

fn body<'a>(sections: &'a Sections, heading: &str) -> Option<&'a str> {
    sections.iter().find(|(known, _)| known == heading).map(|(_, body)| body.as_str())
}

/// `-` is wanted, `+` is what came.
fn diff(wanted: &str, got: &str) -> String {
    let diff = TextDiff::from_lines(wanted, got);
    let mut out = String::new();
    for group in diff.grouped_ops(AROUND) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            out.push_str(&format!("  {sign} {}\n", change.value().trim_end()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sections: &[(&str, &str)]) -> Told {
        let sections = sections.iter().map(|(heading, body)| ((*heading).into(), (*body).into()));
        BTreeMap::from([(PathBuf::from("a.txt"), sections.collect())])
    }

    #[test]
    fn what_is_written_is_read_again_and_what_nobody_tells_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("old.txt"), "## x\n").unwrap();
        let told = told(&[("one", "a\n\n  b\n"), ("two", "c\n")]);
        write(folder.path(), &told).unwrap();
        assert_eq!(load(folder.path()).unwrap(), told);
    }

    #[test]
    fn a_difference_names_file_heading_and_who_and_shows_the_lines() {
        let (wanted, got) = (told(&[("one", "a\nb\n"), ("two", "c\n")]), told(&[("one", "a\nx\n")]));
        assert_eq!(
            differences("go", &wanted, &got),
            ["a.txt: one: go\n    a\n  - b\n  + x\n", "a.txt: two: go\n  - c\n"]
        );
        assert!(differences("go", &wanted, &wanted).is_empty());
    }
}
