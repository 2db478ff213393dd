//! The judge of behaviour: cases written against the contract, run on both twins over every door, the replies compared
//! with the case and with each other; and what takes many clients or a kill to see. Here lives what drives and compares;
//! what is expected stands in `loadtests/conformance/*.toml` and `proto/`, never here.

pub mod agree;
pub mod canary;
pub mod case;
pub mod check;
pub mod contract;
pub mod crowd;
pub mod document;
pub mod fuzz;
pub mod kill;
pub mod ledger;
pub mod message;
pub mod node;
pub mod normal;
pub mod odd_json;
pub mod one_payment;
pub mod races;
pub mod reply;
pub mod report;
pub mod route;
pub mod run;
pub mod session;
pub mod shape;
pub mod slowest;
mod stream;
pub mod vars;
pub mod wire;
pub mod world;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use contract::Contract;
use session::Bench;
use wire::Wire;
use world::World;

/// Runs what ends in yes or no on a runtime of its own: exit code 0 or 1; an error is 2 in `main`, and so is a signal:
/// what was started ends with the work that is given up.
pub fn conclude(work: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let well = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            done = work => done.map(Some),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    })?;
    let Some(well) = well else {
        // There may be none yet.
        std::fs::remove_dir_all(world::logs_folder()?).ok();
        bail!("interrupted");
    };
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Run every case of the contract on both services, over every door, and compare the replies
///
/// Starts a Postgres (or uses the one of TEST_DATABASE_URL), a card network, both services on a database each, and both
/// again on one database. Each case of loadtests/conformance runs on both services over each door that it can take, and
/// once more with each step sent to a service and door at random; replies are compared with the case and with each other.
/// At the end the databases' invariants are checked, and databases and logs are searched for card numbers.
///
/// Prints each finding with what was sent and what came back, and a table. Logs are kept where something was found.
///
/// Exit codes: 0 the contract is kept; 1 it isn't; 2 could not run, or was interrupted (one line says why).
#[derive(Debug, Args)]
pub struct Conformance {
    /// Only cases whose area (the file's name) or sentence contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Cases at once, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Only this door, and no runs that mix services or doors
    #[arg(long, value_enum)]
    door: Option<OneDoor>,
    /// List the cases and run none
    #[arg(long)]
    list: bool,
    /// Judge the running stack that this stack.json describes instead of starting one; what needs both services on one
    /// database, or other settings, is left out
    #[arg(long, value_name = "FILE")]
    stack: Option<PathBuf>,
    /// Folder of the cases
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance"))]
    cases: PathBuf,
    /// Seed of the runs whose steps go to a service and door at random; it is printed [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
}

/// A door by its name on the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OneDoor {
    Http,
    Http2,
    Grpc,
}

impl From<OneDoor> for case::Door {
    fn from(door: OneDoor) -> Self {
        match door {
            OneDoor::Http => Self::Http,
            OneDoor::Http2 => Self::Http2,
            OneDoor::Grpc => Self::Grpc,
        }
    }
}

impl Conformance {
    /// True where both twins keep the contract.
    pub async fn run(self) -> anyhow::Result<bool> {
        let cases = select(&self.cases, self.filter.as_deref())?;
        if self.list {
            for case in &cases {
                println!("{}: {}", case.area, case.name);
            }
            println!("{} cases", cases.len());
            return Ok(true);
        }
        let begin = Instant::now();
        let world = match &self.stack {
            Some(path) => World::running(path)?,
            None => World::start(&stages(&cases)).await?,
        };
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seed = self.seed.unwrap_or(clock);
        let cross = if world.shared.is_some() { "" } else { "; without the cases on one database" };
        eprintln!("conformance: {} cases, {} at once, seed {seed}{cross}", cases.len(), self.jobs);
        let bench = Bench {
            contract: Contract::load()?,
            wire: Wire::default(),
            admin_token: world.admin_token.clone(),
        };
        let plan = run::Plan {
            separate: &world.separate,
            shared: world.shared.as_ref().filter(|_| self.door.is_none()),
            stages: &world.stages,
            jobs: self.jobs.into(),
            seed,
            only: self.door.map(case::Door::from),
        };
        let outcome = run::run(&bench, &cases, &plan).await;
        let whole = ledger::verify(&world.databases).await?;
        let numbers = canary::numbers(&cases);
        let (leaks, searched) =
            canary::search(&numbers, &world.admin_token, &world.databases, world.logs.as_deref()).await?;
        report::print(&outcome, begin.elapsed());
        if cases.iter().any(|case| case.area == odd_json::AREA) {
            println!("{}", odd_json::Table::load()?.summary());
        }
        leaks.iter().for_each(|leak| println!("FAILED {leak}"));
        println!(
            "{searched} rows and log lines searched for {} card numbers and credentials: {} found",
            numbers.len(),
            leaks.len()
        );
        let kept = whole && leaks.is_empty() && outcome.findings.is_empty();
        if let Some(logs) = &world.logs {
            world::leave_logs(logs, kept);
        }
        Ok(kept)
    }
}

/// The stages that the cases need, each once.
fn stages(cases: &[case::Case]) -> Vec<case::Stage> {
    let mut stages = Vec::new();
    for stage in cases.iter().filter_map(|case| case.stage) {
        if !stages.contains(&stage) {
            stages.push(stage);
        }
    }
    stages
}

fn select(folder: &Path, filter: Option<&str>) -> anyhow::Result<Vec<case::Case>> {
    let mut cases = case::load(folder)?;
    if let Some(filter) = filter {
        cases.retain(|case| case.area.contains(filter) || case.name.contains(filter));
    }
    if cases.is_empty() {
        bail!("no case matches");
    }
    Ok(cases)
}
