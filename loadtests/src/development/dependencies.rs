//! What a service's program is made of that isn't its own: as cargo and go resolve it for this machine.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::{row, said};
use crate::solo::Row;

/// A package's, with what only its build needs, without what only its tests do.
pub fn cargo(root: &Path, package: &str) -> anyhow::Result<Vec<Row>> {
    let tree = |more: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "-p", package]);
        Ok::<_, anyhow::Error>(crates(&said(command.args(more).current_dir(root))?).len())
    };
    Ok(rows(tree(&["--depth", "1"])?, tree(&[])?))
}

/// Names and versions in what `cargo tree` prints, but for those of this repository.
fn crates(tree: &str) -> BTreeSet<(&str, &str)> {
    let foreign = tree.lines().filter(|line| !line.contains(" (/"));
    foreign.filter_map(|line| line.split_once(' ')).map(|(name, rest)| (name, first(rest))).collect()
}

fn first(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// The modules of which a program needs a package.
pub fn go(root: &Path, program: &str) -> anyhow::Result<Vec<Row>> {
    let format = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Indirect}}{{end}}{{end}}";
    let mut command = Command::new("go");
    let listed =
        said(command.args(["list", "-deps", "-f", format, program]).current_dir(root.join("go-service")))?;
    let all: BTreeSet<&str> = listed.lines().filter(|line| !line.is_empty()).collect();
    let direct = all.iter().filter(|line| line.ends_with(" false")).count();
    Ok(rows(direct, all.len()))
}

fn rows(direct: usize, all: usize) -> Vec<Row> {
    let rows = [
        row("dependencies_direct", "Dependencies, direct (crates; modules)", "", &[direct as f64]),
        row("dependencies_all", "Dependencies in all (crates; modules)", "", &[all as f64]),
    ];
    rows.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_counts_once_a_version_and_the_repositorys_own_not_at_all() {
        let tree = "payments v0.1.0 (/here/services/payments)\nserde v1.0.1\nsyn v2.0.0 (proc-macro)\nserde v1.0.1 (*)\n\
                    payments-proto v0.1.0 (/here/services/payments-proto)\nsyn v1.0.0\n";
        assert_eq!(
            crates(tree).into_iter().collect::<Vec<_>>(),
            [("serde", "v1.0.1"), ("syn", "v1.0.0"), ("syn", "v2.0.0")]
        );
    }
}
