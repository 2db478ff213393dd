//! What the commands share that print a table, and keep nothing but the JSON that is asked for.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use stack::instance::Twin;
use tokio::sync::watch;

use super::compare::VOID;
use super::folder::Interrupted;
use super::signals::{stop_on_signal, unless_stopped};
use crate::payments::{Bench, Layout};
use crate::{environment, realtime, report};

/// Where the figures go beside the table.
#[derive(Debug, Args)]
pub struct TabledArgs {
    /// Gets the figures as JSON, each repetition of a measurement too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was measured: all of it, or what there was when it was interrupted.
pub enum Measured<T> {
    /// All that was asked for.
    Whole(T),
    /// Some of it, and something.
    Partial(T),
}

/// Nothing where a part was interrupted and there is something `before` it that is worth to be kept.
pub fn unless_interrupted<P>(part: anyhow::Result<P>, before: bool) -> anyhow::Result<Option<P>> {
    match part {
        Err(error) if before && error.is::<Interrupted>() => Ok(None),
        part => part.map(Some),
    }
}

/// What is measured with.
pub struct Around<'a> {
    /// Whose cores are whose.
    pub layout: Layout,
    /// Gets the logs of what is started.
    pub logs: &'a Path,
    /// Becomes true where everything is to end.
    pub stopped: watch::Receiver<bool>,
}

impl Around<'_> {
    /// Says who runs where, and starts what both services need.
    pub async fn bench(&self, light: bool) -> anyhow::Result<Bench> {
        self.layout.lines().iter().for_each(|(who, cores)| say(&format!("{who}: {cores}")));
        let bench = Bench::start(self.layout.clone(), &Twin::ALL, light, self.logs, say);
        unless_stopped(&self.stopped, bench).await
    }
}

impl TabledArgs {
    /// Does `work` on the cores that the services leave, and prints its table. That the JSON can be written is seen before;
    /// it is of whole measurements only.
    pub fn run<T: Serialize>(
        &self,
        table: fn(&T) -> String,
        work: impl AsyncFnOnce(&Around<'_>) -> anyhow::Result<Measured<T>>,
    ) -> anyhow::Result<T> {
        self.json.as_deref().map_or(Ok(()), report::writable)?;
        let layout = Layout::of(&environment::cores()?);
        realtime::settle(&layout.around())?;
        let logs = tempfile::Builder::new().prefix("loadtest-").tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let found = runtime.block_on(async {
            work(&Around { layout, logs: logs.path(), stopped: stop_on_signal(2)? }).await
        })?;
        let found = match found {
            Measured::Whole(found) => found,
            Measured::Partial(found) => {
                print!("{}", table(&found));
                bail!("interrupted: the table is of what was measured before");
            }
        };
        print!("{}", table(&found));
        if let Some(path) = &self.json {
            report::replace(path, &(serde_json::to_string_pretty(&found)? + "\n"))?;
        }
        Ok(found)
    }
}

/// By the reasons for which it is void.
pub fn exit_code(void: &[String]) -> ExitCode {
    void.iter().for_each(|reason| println!("void: {reason}"));
    if void.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(VOID) }
}

/// Tells a person what is being done.
pub fn say(text: &str) {
    eprintln!("{text}");
}
