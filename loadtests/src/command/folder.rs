//! The folder of a report. It is made and tried before anything is started: a run isn't lost at its end for want of a
//! place, and the logs of what it starts are there from their first line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use tempfile::TempDir;
use thiserror::Error;

/// Why an interrupted run has no report.
#[derive(Debug, Error)]
#[error("interrupted before there was anything to report")]
pub struct Interrupted;

/// The folder of a report, with one in it for logs that goes with this value unless it is kept.
pub struct Folder {
    path: PathBuf,
    logs: TempDir,
    /// Whether it wasn't there before.
    made: bool,
}

impl Folder {
    /// Makes both. That the inner one can be made shows that the outer one can be written to.
    pub fn make(path: PathBuf) -> anyhow::Result<Self> {
        let made = !path.exists();
        let logs = fs::create_dir_all(&path)
            .and_then(|()| tempfile::Builder::new().prefix("logs-").tempdir_in(&path))
            .with_context(|| {
                format!("no report can be written to {}, name another folder by --out", path.display())
            })?;
        Ok(Self { path, logs, made })
    }

    /// Gets the report.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gets the logs.
    pub fn logs(&self) -> &Path {
        self.logs.path()
    }

    /// Lets the logs stay: where they are.
    pub fn keep_logs(self) -> PathBuf {
        self.logs.keep()
    }

    /// Ends a run without a report: its logs stay where there are any, else nothing does.
    pub fn give_up(self, error: anyhow::Error) -> anyhow::Error {
        let logged = fs::read_dir(self.logs()).is_ok_and(|mut entries| entries.next().is_some());
        if logged && !error.is::<Interrupted>() {
            return anyhow!("{error:#}; the logs are in {}", self.keep_logs().display());
        }
        let Self { path, logs, made } = self;
        drop(logs);
        if made {
            // Only an empty one goes.
            fs::remove_dir(path).ok();
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outer() -> (TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("a/b");
        (outer, path)
    }

    #[test]
    fn a_failed_run_keeps_its_logs_and_says_where() {
        let (_outer, path) = outer();
        let folder = Folder::make(path).unwrap();
        fs::write(folder.logs().join("rust.log"), "why").unwrap();
        let logs = folder.logs().to_owned();
        let said = folder.give_up(anyhow!("broken")).to_string();
        assert_eq!(said, format!("broken; the logs are in {}", logs.display()));
        assert!(logs.join("rust.log").exists());
    }

    #[test]
    fn a_run_that_logged_nothing_or_was_interrupted_leaves_nothing() {
        for interrupted in [false, true] {
            let (_outer, path) = outer();
            let folder = Folder::make(path.clone()).unwrap();
            let error = if interrupted {
                fs::write(folder.logs().join("rust.log"), "why").unwrap();
                Interrupted.into()
            } else {
                anyhow!("broken")
            };
            let said = folder.give_up(error).to_string();
            assert!(!said.contains("logs") && !path.exists(), "{said}");
        }
    }

    #[test]
    fn a_folder_that_was_there_stays_and_a_valid_run_keeps_no_logs() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::make(outer.path().into()).unwrap();
        let logs = folder.logs().to_owned();
        folder.give_up(anyhow!("broken"));
        let folder = Folder::make(outer.path().into()).unwrap();
        drop(folder);
        assert!(outer.path().exists() && !logs.exists());
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 0);
    }
}
