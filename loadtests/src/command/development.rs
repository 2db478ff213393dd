//! `loadtest development`: what developing each service takes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::development::{Development, TITLE, Times, commit, compilers, measure};
use crate::environment;
use crate::report::{replace, writable};
use crate::solo::footprint_table;

/// Measure what developing each service takes: builds, size, dependencies, lines
///
/// Builds: each service's program is built from nothing, with everything that it depends on, then again after a function
/// was added to one file that both services have (usecase/create). The Rust service is built optimised and unoptimised; Go
/// has one kind of build. That is done in a temporary folder, from a copy of the files that git knows: nothing that was
/// built before is used or touched, and the folder goes in the end. What has to be downloaded is fetched before a clock
/// runs. On two cores this takes about 20 minutes with one build each from nothing, and each further one 15 more; nothing
/// else should run meanwhile. --builds 0 leaves builds out.
///
/// Dependencies: of the program, for this machine: crates with what their build needs, and modules. Lines: of code, without
/// tests and generated code, and without the SQL that both services share.
///
/// The file is for `loadtest compare --development FILE`, which shows it on its page.
///
/// Exit codes: 0 measured; 2 could not run (one line says why).
#[derive(Debug, Args)]
pub struct DevelopmentArgs {
    /// Builds from nothing, of each kind
    #[arg(long, value_name = "N", default_value_t = 1)]
    builds: usize,
    /// Builds after a change in one file, of each kind
    #[arg(long, value_name = "N", default_value_t = 3)]
    changes: usize,
    /// Gets the figures
    #[arg(long, value_name = "FILE", default_value = "loadtests/out/development.json")]
    json: PathBuf,
}

impl DevelopmentArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        ensure!(self.builds <= 100, "--builds: must be 0 to 100, is {}", self.builds);
        ensure!(self.changes <= 100, "--changes: must be 0 to 100, is {}", self.changes);
        let folder = self.json.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        writable(&self.json)?;
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize()?;
        let measured_at = OffsetDateTime::now_utc().truncate_to_second().format(&Rfc3339)?;
        let machine = [environment::machine()?, compilers()?].concat();
        let times = Times { clean: self.builds, changed: self.changes };
        let services = measure(&root, times, &|text| eprintln!("{text}"))?;
        let development = Development { measured_at, commit: commit(&root)?, machine, services };
        print!("{}", footprint_table(TITLE, &development.services));
        replace(&self.json, &(serde_json::to_string_pretty(&development)? + "\n"))?;
        println!("For a page: loadtest compare --development {}", self.json.display());
        Ok(ExitCode::SUCCESS)
    }
}
