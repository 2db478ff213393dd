//! `loadtest verify`: holds a report against its own raw data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::traces::again;
use super::workload;
use crate::report::{Document, page, run_page, summary, verify, verify_run};
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::traces::{Blocks, TracesReport};

/// Compute every figure of a report again from its raw histograms and counts
///
/// Reads report.json alone and starts nothing. Computed again and held against what is printed: each metric with its
/// ratio and interval, each assert, the latencies of each operation, the percentile curves, how the generator did, every bound of the
/// run's validity, and the reasons on top of the report for its being void. The bootstrap draws its resamples from the
/// scenario's seed, so that its intervals come out the same to the last digit.
///
/// The raw data are held against themselves too: the replies of each slice by histogram, by status and by kind, who had
/// each slice first (drawn from the order's seed), and the trace, drawn again from the scenario: its SHA-256 and the
/// number of requests due in each slice.
///
/// Of what was measured beside a comparison: each trial by the rule, each bracket by the search's rule, medians, shares of
/// limits, ratios to what is untraced; not what was full, which was seen and noted. Of a play with traces: its bounds, from that play and the counts of spans. Of a run of
/// one service: its stages, and the load, from their parts, CPU, the slope of memory, and the bounds.
///
/// Given a folder, its summary.md and report.html are made again from report.json and compared line by line. They differ
/// too where another build of loadtest wrote them. Traces beside the report are compared again.
///
/// Exit codes: 0 all is as printed; 1 something differs, a line each on standard output: which figure, what the report
/// says, what the raw data say; 2 the report can't be read.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A report.json of `compare` or `run`, or the folder that it is in
    #[arg(value_name = "REPORT.json|DIR")]
    report: PathBuf,
}

impl VerifyArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let folder = self.report.is_dir().then_some(self.report.as_path());
        let path = folder.map_or_else(|| self.report.clone(), |folder| folder.join("report.json"));
        let named = || path.display().to_string();
        let (mut verified, traces, renderings, traced) = match Document::read(&path)? {
            Document::Comparison(report) => (
                verify(&report, &redraw).with_context(named)?,
                report.scenarios.len(),
                vec![("summary.md", summary(&report)), ("report.html", page(&report)?)],
                report.scenarios.iter().filter_map(|one| Some(one.traced.as_ref()?.traces.clone())).collect(),
            ),
            Document::Alone(run) => {
                let verified = verify_run(&run, &redraw).with_context(named)?;
                (verified, 1, vec![("report.html", run_page(&run)?)], Vec::new())
            }
        };
        if let Some(folder) = folder {
            verified.differences.extend(rendered_otherwise(folder, renderings)?);
            verified.differences.extend(told_otherwise(folder, &traced)?);
            verified.figures += traced.len();
        }
        verified.differences.iter().for_each(|line| println!("{line}"));
        let (path, figures) = (path.display(), verified.figures);
        if !verified.differences.is_empty() {
            println!("{path}: {} of {figures} figures and counts differ", verified.differences.len());
            return Ok(ExitCode::FAILURE);
        }
        let traces = match (verified.traces, traces) {
            (drawn, all) if drawn == all => "every trace was drawn again the same".to_owned(),
            (drawn, all) => format!("{drawn} of {all} traces could be drawn again, and came out the same"),
        };
        println!("{path}: all {figures} figures and counts are what the raw data say; {traces}");
        Ok(ExitCode::SUCCESS)
    }
}

fn redraw(scenario: &Scenario) -> Option<anyhow::Result<Trace>> {
    let drawn = scenario.trace_file.is_none();
    let workload = workload(scenario).filter(|_| drawn)?;
    Some(Trace::draw(&scenario.name, scenario, &*workload).map_err(anyhow::Error::from))
}

/// Traces that don't say what the report says of them.
fn told_otherwise(folder: &Path, traced: &[TracesReport]) -> anyhow::Result<Vec<String>> {
    let mut differences = Vec::new();
    for report in traced {
        let files = report.sides.each_ref().map(|side| folder.join(side.files.concat()));
        if let Some(gone) = files.iter().find(|file| !file.exists()) {
            differences.push(format!(
                "{}: isn't there: nobody can say whether the traces were told rightly",
                gone.display()
            ));
            continue;
        }
        let labels = report.sides.each_ref().map(|side| side.label.clone());
        let slices = report.slices.clone().context("traces of a play without its slices")?;
        if again(&files, labels, Blocks::Slices(slices), report.resamples, report.seed)? != *report {
            differences.push(format!(
                "{}, {}: the traces don't say what the report says of them",
                files[0].display(),
                files[1].display()
            ));
        }
    }
    Ok(differences)
}

/// The first line of each file that isn't what the report makes it.
fn rendered_otherwise(folder: &Path, renderings: Vec<(&str, String)>) -> anyhow::Result<Vec<String>> {
    let mut differences = Vec::new();
    for (name, wanted) in renderings {
        let path = folder.join(name);
        let written = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if written != wanted {
            let same = written.lines().zip(wanted.lines()).take_while(|(written, wanted)| written == wanted);
            differences.push(format!(
                "{name}: line {} isn't what this build of loadtest makes of report.json",
                same.count() + 1
            ));
        }
    }
    Ok(differences)
}
