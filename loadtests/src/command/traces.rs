//! `loadtest traces`: two services' OpenTelemetry traces against each other.

mod recording;
mod twins;

pub use recording::{Recording, again};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;

use super::compare::{OUT, RESAMPLES, VOID, timestamp};
use crate::assert::{AssertError, Threshold};
use crate::report::replace;
use crate::report::wording::whole;
use crate::traces::model::Pairing;
use crate::traces::{
    Above, Asked, BLOCKS, Blocks, Options, Spill, TracesReport, Variable, Wait, compare, files, page, paired,
    text,
};
use twins::TwinsArgs;

/// Attributes of Twinpay's services that are waits.
const WAITS: [&str; 2] = ["twinpay.db_wait_ms=ms", "twinpay.wait_ms=ms:before"];
/// Spans between two lines of progress.
const STEP: u64 = 250_000;

/// Those of Twinpay's services.
fn waits() -> anyhow::Result<Vec<Wait>> {
    Ok(WAITS.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

type Figure = fn(&TracesReport) -> u64;

const UNPAIRED: &str = "unpaired";
/// In place of an attribute's key.
const BY_OPERATION: &str = "operation";

/// What may be asserted.
const FIGURES: [(&str, Figure); 4] = [
    ("structure_differences", |report| {
        report.operations.iter().map(|one| one.differences.len() as u64).sum()
    }),
    (UNPAIRED, |report| report.operations.iter().flat_map(|one| one.alone).sum()),
    ("troubles", |report| report.sides.iter().flat_map(|side| &side.troubles).map(|one| one.count).sum()),
    ("vocabulary", |report| report.vocabulary.len() as u64),
];

/// Compare two services' OpenTelemetry traces: do they do the same, and where does the difference of their times come from
///
/// Without A and B it starts the Rust and the Go service, plays a scenario on both at half its rate with every request
/// traced, and compares those; the files stay beside the page. Requests may wait for the hash pool and the database as long
/// as it takes: a refused one has no tree to compare.
///
/// A and B are files as the OpenTelemetry Collector's file exporter writes them (JSON lines or Protobuf, compressed or not;
/// gzip and zstd of a whole file too), or folders of such files. The spans may stand in any order. Any two services will do:
/// best two that got the same requests with the same trace ids.
///
/// Told is, operation by operation: where the trees of spans differ (names, how often, kind, status, attributes); what each
/// span adds to the difference of the mean, with its 95 % interval, the largest first (they sum to the whole: each request's
/// time is divided among the spans of its critical path); percentiles of each span's own time; what the slowest requests
/// are made of. Waits that an attribute tells stand in rows of their own. With --out also as a page, with the median and the
/// slowest pairs side by side, and as traces.json.
///
/// What can't be used is named with its file and line, and the rest compared.
///
/// Exit codes: 0 compared, and every --assert held; 1 one didn't; 2 there is nothing to compare (one line says why); 3 what was
/// played here is void: a bound of its validity was missed, or a span was lost.
#[derive(Debug, Args)]
pub struct TracesArgs {
    /// Traces of the first service
    #[arg(value_name = "A", requires = "second")]
    first: Option<PathBuf>,
    /// Traces of the second service
    #[arg(value_name = "B")]
    second: Option<PathBuf>,
    #[command(flatten)]
    twins: TwinsArgs,
    /// By what requests are paired: trace, or an attribute's key (its value in the request's first span), or operation: not at
    /// all, and without paired statistics
    #[arg(long, default_value = "trace", value_name = "trace|KEY|operation", requires = "first")]
    by: String,
    /// The service of A whose requests are compared, by its service.name: its spans whose parent isn't there or is another
    /// service's, with all below [default: the one with the most that are served below none that is]
    #[arg(long, value_name = "NAME", requires = "first")]
    service_a: Option<String>,
    /// The same of B
    #[arg(long, value_name = "NAME", requires = "first")]
    service_b: Option<String>,
    /// What A is called [default: its service.name]
    #[arg(long, value_name = "TEXT", requires = "first")]
    label_a: Option<String>,
    /// What B is called [default: its service.name]
    #[arg(long, value_name = "TEXT", requires = "first")]
    label_b: Option<String>,
    /// An attribute whose value may differ (it has to be there on both sides); may be given again. Waits always may
    #[arg(long = "may-differ", value_name = "KEY", requires = "first")]
    may_differ: Vec<String>,
    /// An attribute that tells how long its span waited before its work began, with its unit (ns, us, ms, s); may be given
    /// again. Such a wait is a row of its own. With :before it was over when the span began, without it the span began with it
    #[arg(long = "wait", value_name = "KEY=UNIT[:before]", default_values = WAITS, requires = "first")]
    waits: Vec<Wait>,
    /// A threshold, such as 'structure_differences==0'; may be given again. Left, one of structure_differences (places where
    /// the trees differ), unpaired (requests without a partner), troubles (what couldn't be used, and what was odd),
    /// vocabulary (names that the semantic conventions have otherwise). Then < <= == >= or >, and a number
    #[arg(long = "assert", value_name = "EXPRESSION")]
    asserts: Vec<String>,
    /// Folder that gets traces.html and traces.json [default: none with A and B, else loadtests/out/<time>-traces]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl TracesArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let asserts = self.asserts.iter().map(|text| known(text)).collect::<Result<Vec<_>, _>>()?;
        if let Some((text, ..)) =
            asserts.iter().find(|(_, of, _)| of.name == UNPAIRED && self.by == BY_OPERATION)
        {
            let why = format!("with --by {BY_OPERATION} nothing is paired: it would always be 0");
            return Err(AssertError::new(text, why).into());
        }
        if self.first.is_some() && self.twins.changes() {
            bail!(
                "--rate, --pairs and the like change what is played here: they cannot be used with A and B"
            );
        }
        let (report, played, out) = match (&self.first, &self.second) {
            (Some(first), Some(second)) => (self.compared([first, second])?, None, self.out.clone()),
            _ => {
                let at = timestamp(OffsetDateTime::now_utc())?;
                let out = self.out.clone().unwrap_or_else(|| Path::new(OUT).join(format!("{at}-traces")));
                let (report, played) = self.twins.play(&out)?;
                (report, Some(played), Some(out))
            }
        };
        print!("{}", text(&report));
        let asked = |(text, threshold, figure): (&str, Threshold, Figure)| {
            let found = figure(&report);
            let measured = format!("it is {}, of {}", whole(found), paired(&report));
            Asked { assert: text.into(), measured, held: threshold.holds(found as f64) }
        };
        let above = Above { played, asserts: asserts.into_iter().map(asked).collect() };
        if let Some(folder) = &out {
            println!("\n{}", write(folder, &report, &above)?.display());
        }
        for Asked { assert, measured, held } in &above.asserts {
            println!("{}: {assert}: {measured}", if *held { "held" } else { "not held" });
        }
        let void = above.played.map(|played| played.void).unwrap_or_default();
        void.iter().for_each(|reason| println!("void: {reason}"));
        let held = above.asserts.iter().all(|asked| asked.held);
        Ok(ExitCode::from(if void.is_empty() { u8::from(!held) } else { VOID }))
    }

    fn compared(&self, paths: [&PathBuf; 2]) -> anyhow::Result<TracesReport> {
        let mut spills = Vec::new();
        let mut names = Vec::new();
        for path in paths {
            let files = files(path)?;
            spills.push(read(path, &files)?);
            names.push(files.iter().map(|file| file.display().to_string()).collect());
        }
        let (Ok(spills), Ok(names)) = (<[Spill; 2]>::try_from(spills), <[Vec<String>; 2]>::try_from(names))
        else {
            unreachable!("two were read");
        };
        eprintln!("comparing …");
        let variable: Variable = self
            .may_differ
            .iter()
            .cloned()
            .chain(self.waits.iter().map(|wait| wait.key.clone()))
            .collect::<BTreeSet<_>>();
        let options = Options {
            pairing: match self.by.as_str() {
                "trace" => Pairing::Trace,
                BY_OPERATION => Pairing::Operation,
                key => Pairing::Attribute(key.to_owned()),
            },
            labels: [self.label_a.clone(), self.label_b.clone()],
            services: [self.service_a.clone(), self.service_b.clone()],
            variable,
            waits: self.waits.clone(),
            blocks: Blocks::Windows(BLOCKS),
            resamples: RESAMPLES,
            seed: 1,
        };
        compare(spills, names, &options)
    }
}

/// Writes traces.json and traces.html: the page's path.
fn write(folder: &Path, report: &TracesReport, above: &Above) -> anyhow::Result<PathBuf> {
    #[derive(Serialize)]
    struct All<'a> {
        #[serde(flatten)]
        above: &'a Above,
        #[serde(flatten)]
        report: &'a TracesReport,
    }
    std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let html = folder.join("traces.html");
    replace(&folder.join("traces.json"), &(serde_json::to_string_pretty(&All { above, report })? + "\n"))?;
    replace(&html, &page(report, above)?)?;
    Ok(html)
}

fn read(path: &Path, files: &[PathBuf]) -> anyhow::Result<Spill> {
    eprintln!("{}: reading …", path.display());
    let mut next = STEP;
    Spill::read(files, &mut |spans| {
        if spans >= next {
            eprintln!("{}: {} spans", path.display(), whole(spans));
            next = spans + STEP;
        }
    })
}

fn known(text: &str) -> Result<(&str, Threshold, Figure), AssertError> {
    let threshold = Threshold::parse(text)?;
    let figure = FIGURES.into_iter().find(|(name, _)| *name == threshold.name).map(|(_, figure)| figure);
    let figure = figure.ok_or_else(|| {
        let names = FIGURES.map(|(name, _)| name).join(", ");
        AssertError::new(text, format!("unknown figure `{}`; known are {names}", threshold.name))
    })?;
    Ok((text, threshold, figure))
}
