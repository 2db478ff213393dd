//! Both services' spans into a file each, while they are played, and the two files against each other.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::waits;
use crate::otlp::Recorder;
use crate::payments::Pair;
use crate::traces::model::Pairing;
use crate::traces::{Blocks, Options, Slices, Spill, TracesReport, Variable, compare};

/// A receiver a service.
pub struct Recording {
    recorders: [Recorder; 2],
    files: [PathBuf; 2],
    labels: [String; 2],
}

impl Recording {
    /// Listens for both on free ports; the files stay in `folder`.
    pub async fn start(folder: &Path, scenario: &str, pair: &Pair) -> anyhow::Result<Self> {
        let files =
            pair.0.each_ref().map(|side| folder.join(format!("traces-{scenario}-{}.jsonl.zst", side.name)));
        let free = || ([127, 0, 0, 1], 0).into();
        let recorders =
            [Recorder::start(free(), &files[0]).await?, Recorder::start(free(), &files[1]).await?];
        Ok(Self { recorders, files, labels: pair.0.each_ref().map(|side| side.label.clone()) })
    }

    /// Where each service sends its spans.
    pub fn endpoints(&self) -> [&str; 2] {
        self.recorders.each_ref().map(Recorder::endpoint)
    }

    /// What the traces say, when both services have ended and so sent all that they had.
    pub async fn compared(self, slices: Slices, resamples: usize, seed: u64) -> anyhow::Result<TracesReport> {
        let Self { recorders, files, labels } = self;
        for recorder in recorders {
            recorder.close().await?;
        }
        let compare = move || again(&files, labels, Blocks::Slices(slices), resamples, seed);
        tokio::task::spawn_blocking(compare).await.context("the comparison of the traces panicked")?
    }
}

/// What two files say, the same each time.
pub fn again(
    files: &[PathBuf; 2],
    labels: [String; 2],
    blocks: Blocks,
    resamples: usize,
    seed: u64,
) -> anyhow::Result<TracesReport> {
    let waits = waits()?;
    let read = |file: &PathBuf| Spill::read(std::slice::from_ref(file), &mut |_| {});
    let spills = [read(&files[0])?, read(&files[1])?];
    // Without their folder: the report may be moved.
    let name = |file: &PathBuf| vec![file.file_name().unwrap_or_default().to_string_lossy().into_owned()];
    let options = Options {
        pairing: Pairing::Trace,
        labels: labels.map(Some),
        services: [None, None],
        variable: waits.iter().map(|wait| wait.key.clone()).collect::<Variable>(),
        waits,
        blocks,
        resamples,
        seed,
    };
    compare(spills, files.each_ref().map(name), &options)
}
