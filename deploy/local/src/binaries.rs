//! Where the programs are.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::folders;
use crate::instance::Twin;

/// The Rust service: `payments`, beside the running program. `TWINPAY_BIN_RUST` overrides.
pub fn rust() -> Result<PathBuf> {
    find("TWINPAY_BIN_RUST", beside_us("payments"))
}

/// The Go service: `target/go/payments` of the clone. `TWINPAY_BIN_GO` overrides.
pub fn go() -> Result<PathBuf> {
    find("TWINPAY_BIN_GO", folders::repository().join("target/go/payments"))
}

/// A twin's tuned build: `target/tuned/payments` or `target/go-tuned/payments` of the clone. `TWINPAY_BIN_RUST_TUNED` or
/// `TWINPAY_BIN_GO_TUNED` overrides.
pub fn tuned(twin: Twin) -> Result<PathBuf> {
    let (variable, program) = match twin {
        Twin::Rust => ("TWINPAY_BIN_RUST_TUNED", "target/tuned/payments"),
        Twin::Go => ("TWINPAY_BIN_GO_TUNED", "target/go-tuned/payments"),
    };
    find_of(variable, folders::repository().join(program), "make build-tuned")
}

/// The card network: `acquirer`, beside the running program. `TWINPAY_BIN_ACQUIRER` overrides.
pub fn acquirer() -> Result<PathBuf> {
    find("TWINPAY_BIN_ACQUIRER", beside_us("acquirer"))
}

/// The program of a part that we build; None for Postgres.
pub(crate) fn of(part: &str) -> Option<PathBuf> {
    match part {
        "rust" => rust().ok(),
        "go" => go().ok(),
        "acquirer" => acquirer().ok(),
        _ => None,
    }
}

/// A program's file as it is at one moment: a build puts another one in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    device: u64,
    inode: u64,
    /// A new file may get the number of the one that it replaces.
    modified: (i64, i64),
}

impl Build {
    /// Of a part's program; None where there is none, or it isn't ours.
    pub(crate) fn of(part: &str) -> Option<Build> {
        let file = std::fs::metadata(of(part)?).ok()?;
        Some(Build { device: file.dev(), inode: file.ino(), modified: (file.mtime(), file.mtime_nsec()) })
    }
}

/// What builds the programs of the profile that we are of, with the version in them that they report.
const BUILD: &str = if cfg!(debug_assertions) { "make build-debug" } else { "make build" };

fn find(variable: &'static str, usual: PathBuf) -> Result<PathBuf> {
    find_of(variable, usual, BUILD)
}

/// The same, of what another command builds.
fn find_of(variable: &'static str, usual: PathBuf, command: &'static str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).map_or(usual, PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(Error::NotBuilt { path, command, variable }) }
}

fn beside_us(name: &str) -> PathBuf {
    let ours =
        std::env::current_exe().unwrap_or_else(|_| folders::repository().join("target/debug/deps/unknown"));
    beside(&ours, name)
}

/// Programs are in `target/<profile>/`, test programs in `target/<profile>/deps/`.
fn beside(exe: &Path, name: &str) -> PathBuf {
    let folder = exe.parent().unwrap_or(Path::new("/"));
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    folder.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_from_programs_and_from_tests() {
        assert_eq!(beside(Path::new("/t/release/loadtest"), "payments"), Path::new("/t/release/payments"));
        assert_eq!(beside(Path::new("/t/debug/deps/it-0a1b"), "payments"), Path::new("/t/debug/payments"));
    }

    #[test]
    fn a_missing_program_is_named_in_one_line_with_what_builds_it() {
        let error = find("TWINPAY_NOT_SET", "/nowhere/acquirer".into()).expect_err("missing");
        assert_eq!(
            error.to_string(),
            format!(
                "/nowhere/acquirer is missing: build it with `{BUILD}`, or name another by TWINPAY_NOT_SET"
            )
        );
    }
}
