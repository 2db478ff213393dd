//! What a report.json can be: a comparison's, or that of a run of one service. Read by its format, written whole.

use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::files::replace_all;
use super::model::{FORMAT, Report};
use super::page::run_page;
use crate::solo::SoloRun;

/// A report.
#[derive(Debug)]
pub enum Document {
    /// `loadtest compare`'s.
    Comparison(Box<Report>),
    /// `loadtest run`'s.
    Alone(Box<SoloRun>),
}

impl Document {
    /// Reads a report.json of this format; another one is refused by its number.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            /// Only a run of one service has it.
            service: Option<IgnoredAny>,
        }
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(name)?;
        let Head { format, service } = serde_json::from_str(&text).with_context(name)?;
        if format != FORMAT {
            bail!(
                "{}: this is a report of format {format}, and format {FORMAT} is read here: read it with the loadtest that wrote it",
                name()
            );
        }
        if service.is_some() {
            return Ok(Self::Alone(serde_json::from_str(&text).with_context(name)?));
        }
        Ok(Self::Comparison(serde_json::from_str(&text).with_context(name)?))
    }
}

impl Report {
    /// Reads a comparison's report.json; that of a run of one service is refused.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        match Document::read(path)? {
            Document::Comparison(report) => Ok(*report),
            Document::Alone(run) => {
                bail!("{}: this is a run of {} alone, not a comparison", path.display(), run.service.label)
            }
        }
    }
}

/// Writes report.json and report.html of a run into `folder`: both, or none where one can't be written.
pub fn write_run(run: &SoloRun, folder: &Path) -> anyhow::Result<()> {
    replace_all(&[
        (folder.join("report.json"), serde_json::to_string_pretty(run)? + "\n"),
        (folder.join("report.html"), run_page(run)?),
    ])
}
