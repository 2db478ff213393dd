//! Times of builds, from a copy of the sources in a folder of its own: what is built elsewhere is neither used nor touched.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

use super::{Times, row, said};
use crate::report::wording::number;
use crate::solo::Row;

const MIB: f64 = 1_048_576.0;

/// The repository's files, as they are, in a folder that goes with its owner.
pub struct Sources {
    folder: PathBuf,
    root: PathBuf,
}

impl Sources {
    /// Copies what git knows of the repository at `root` into `folder`.
    pub fn copy(root: &Path, folder: &Path) -> anyhow::Result<Self> {
        let listed = said(Command::new("git").args(["ls-files", "-z"]).current_dir(root))?;
        let sources = Self { folder: folder.to_owned(), root: folder.join("sources") };
        for name in listed.split('\0').filter(|name| !name.is_empty()) {
            let (from, to) = (root.join(name), sources.root.join(name));
            // Removed and not committed yet.
            if !from.is_file() {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(&sources.root))?;
            fs::copy(&from, &to).with_context(|| from.display().to_string())?;
        }
        Ok(sources)
    }
}

/// How one program is built.
#[derive(Debug)]
pub struct Recipe {
    /// For a person.
    pub name: String,
    /// The command, with its arguments.
    pub command: Vec<String>,
    /// Its variables.
    pub env: Vec<(String, PathBuf)>,
    /// Where it runs.
    pub folder: PathBuf,
    /// What it keeps from one build to the next: removed before a clean one.
    pub kept: Vec<PathBuf>,
    /// The file that is changed.
    pub changed: PathBuf,
    /// What is added to it the n-th time.
    pub added: fn(usize) -> String,
    /// What it makes.
    pub program: PathBuf,
}

/// Seconds of each build.
#[derive(Debug, Default)]
pub struct Tried {
    /// From nothing.
    pub clean: Vec<f64>,
    /// After a change in one file.
    pub changed: Vec<f64>,
    /// Of the program, in bytes, after the last clean one.
    pub bytes: u64,
}

impl Recipe {
    /// Builds so many times.
    pub fn tried(&self, times: Times, say: &dyn Fn(&str)) -> anyhow::Result<Tried> {
        let mut tried = Tried::default();
        for nth in 1..=times.clean {
            for kept in self.kept.iter().filter(|kept| kept.exists()) {
                fs::remove_dir_all(kept).with_context(|| kept.display().to_string())?;
            }
            tried.clean.push(self.build()?);
            say(&format!("{}: {nth} of {} from nothing: {}", self.name, times.clean, told(&tried.clean)));
        }
        tried.bytes = fs::metadata(&self.program).with_context(|| self.program.display().to_string())?.len();
        for nth in 1..=times.changed {
            let mut file = fs::OpenOptions::new().append(true).open(&self.changed)?;
            file.write_all((self.added)(nth).as_bytes())?;
            drop(file);
            tried.changed.push(self.build()?);
            say(&format!(
                "{}: {nth} of {} after a change: {}",
                self.name,
                times.changed,
                told(&tried.changed)
            ));
        }
        Ok(tried)
    }

    fn build(&self) -> anyhow::Result<f64> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).current_dir(&self.folder).envs(self.env.iter().cloned());
        // As somebody has it who sets nothing.
        command.env_remove("CARGO_INCREMENTAL");
        let begun = Instant::now();
        said(&mut command)?;
        Ok(begun.elapsed().as_secs_f64())
    }
}

fn told(seconds: &[f64]) -> String {
    seconds.last().map_or(String::new(), |seconds| format!("{} s", number(*seconds)))
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// The Rust service's: release builds, and unoptimised ones.
pub fn rust(sources: &Sources, times: Times, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    // What has to be downloaded is here before a clock runs.
    said(Command::new("cargo").args(["fetch", "--locked"]).current_dir(&sources.root))?;
    let recipe = |name: &str, command: &str, profile: &str| {
        let target = sources.folder.join(profile);
        Recipe {
            name: name.into(),
            command: words(command),
            env: vec![("CARGO_TARGET_DIR".into(), target.clone())],
            folder: sources.root.clone(),
            program: target.join(profile).join("payments"),
            kept: vec![target],
            changed: sources.root.join("services/payments/src/usecase/create.rs"),
            added: |nth| format!("\n/// Added.\npub fn added_{nth}() -> usize {{\n    {nth}\n}}\n"),
        }
    };
    let release = "cargo build --release --locked --offline -p payments";
    let release = recipe("Rust, release", release, "release").tried(times, say)?;
    let debug = "cargo build --locked --offline -p payments";
    let debug = recipe("Rust, unoptimised", debug, "debug").tried(times, say)?;
    Ok([of_release(&release), of_debug(&debug)].concat())
}

/// The Go service's.
pub fn go(sources: &Sources, times: Times, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    let (folder, cache) = (sources.root.join("go-service"), sources.folder.join("go-cache"));
    said(Command::new("go").args(["mod", "download"]).current_dir(&folder))?;
    let program = sources.folder.join("go-payments");
    let mut command = words("go build -trimpath -o");
    command.extend([program.display().to_string(), "./cmd/payments".into()]);
    let recipe = Recipe {
        name: "Go".into(),
        command,
        env: vec![("GOCACHE".into(), cache.clone())],
        changed: folder.join("internal/usecase/create.go"),
        folder,
        kept: vec![cache],
        added: |nth| format!("\n// Added{nth} is new.\nfunc Added{nth}() int {{ return {nth} }}\n"),
        program,
    };
    Ok(of_release(&recipe.tried(times, say)?))
}

fn of_release(tried: &Tried) -> Vec<Row> {
    let rows = [
        row("build_clean", "Release build from nothing, dependencies too", "s", &tried.clean),
        row("build_changed", "Release build after a change in one file", "s", &tried.changed),
        row("program", "Program, release", "MiB", &[tried.bytes as f64 / MIB]),
    ];
    rows.into_iter().flatten().collect()
}

fn of_debug(tried: &Tried) -> Vec<Row> {
    let rows = [
        row("debug_clean", "Unoptimised build from nothing", "s", &tried.clean),
        row("debug_changed", "Unoptimised build after a change in one file", "s", &tried.changed),
    ];
    rows.into_iter().flatten().collect()
}
