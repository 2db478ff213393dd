//! What developing each service takes: how long builds take, how large the program is, what it depends on, how many lines
//! it has. Measured by request and kept in a file of its own, since builds take minutes; `compare` shows it on its page.
//!
//! `builds` makes programs from a copy of the sources, `dependencies` asks cargo and go, `lines` counts.

mod builds;
mod dependencies;
mod lines;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

pub use builds::{Recipe, Tried};

use crate::solo::{Footprint, Row};
use crate::spread::Spread;
use crate::surroundings::Surroundings;

/// What tables of it are called.
pub const TITLE: &str = "What developing each takes";

/// What was found, and of what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Development {
    /// RFC 3339.
    pub measured_at: String,
    /// As `git describe` names it; `-dirty` at the end where there were changes beyond it.
    pub commit: String,
    /// What it was measured on and with, name and value.
    pub machine: Vec<(String, String)>,
    /// One a service.
    pub services: Vec<Footprint>,
}

/// How often programs are built.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From nothing; 0: never.
    pub clean: usize,
    /// After a change in one file, each; 0: never.
    pub changed: usize,
}

impl Development {
    /// Reads what `loadtest development` wrote.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(name)?;
        serde_json::from_str(&text).with_context(name)
    }
}

/// Measures both services of the repository at `root`; `say` hears what is being done.
pub fn measure(root: &Path, times: Times, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Footprint>> {
    say("counting lines and dependencies");
    let mut rust = [dependencies::cargo(root, "payments")?, lines::rust(root)?].concat();
    let mut go = [dependencies::go(root, "./cmd/payments")?, lines::go(root, "./cmd/payments")?].concat();
    let mut left_out = [vec![image()], vec![image()]];
    left_out[1].push("an unoptimised build: Go’s compiler has one kind of build".to_owned());
    if times.clean == 0 {
        left_out
            .iter_mut()
            .for_each(|list| list.push("builds and the program’s size: none was asked for".into()));
    } else {
        let folder = tempfile::Builder::new().prefix("loadtest-builds-").tempdir()?;
        let sources = builds::Sources::copy(root, folder.path())?;
        rust = [builds::rust(&sources, times, say)?, rust].concat();
        go = [builds::go(&sources, times, say)?, go].concat();
    }
    let [of_rust, of_go] = left_out;
    let service = |label: &str, rows, left_out| Footprint {
        label: label.into(),
        rows,
        left_out,
        surroundings: Surroundings::default(),
    };
    Ok(vec![service("Rust", rust, of_rust), service("Go", go, of_go)])
}

/// What `git describe` calls the repository at `root`.
pub fn commit(root: &Path) -> anyhow::Result<String> {
    let mut git = Command::new("git");
    let text = said(git.args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(root))?;
    Ok(text.trim().to_owned())
}

/// The compilers, by name and version.
pub fn compilers() -> anyhow::Result<Vec<(String, String)>> {
    let rust = said(Command::new("rustc").arg("--version"))?;
    let go = said(Command::new("go").arg("version"))?;
    Ok([("Rust", rust), ("Go", go)].map(|(name, text)| (name.to_owned(), text.trim().to_owned())).to_vec())
}

/// Why there is no size of an image.
fn image() -> String {
    let engine = std::env::var_os("DOCKER_HOST").is_some() || Path::new("/var/run/docker.sock").exists();
    if engine {
        return "size of an image: the project makes none".into();
    }
    "size of an image: no container engine runs on this machine".into()
}

fn row(name: &str, label: &str, unit: &str, values: &[f64]) -> Option<Row> {
    let figure = Spread::of(values)?;
    Some(Row { name: name.into(), label: label.into(), unit: unit.into(), figure })
}

/// What a program prints; fails with the end of what it says where it does.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let name = format!("{command:?}");
    let output = command.output().with_context(|| name.clone())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last: Vec<_> = text.trim().lines().rev().take(5).collect();
        bail!("{name}: {}: {}", output.status, last.into_iter().rev().collect::<Vec<_>>().join(" | "));
    }
    Ok(String::from_utf8(output.stdout)?)
}
