//! `loadtest model`: random sequences of requests, against both twins and an executable model of the contract.

use std::ops::Range;
use std::time::{Duration, Instant};

use clap::Args;
use futures::stream::{self, StreamExt};
use proptest::strategy::ValueTree;

use crate::conformance::contract::Contract;
use crate::conformance::ledger;
use crate::conformance::session::Bench;
use crate::conformance::vars::unique;
use crate::conformance::wire::Wire;
use crate::conformance::world::{Ground, leave_logs};
use crate::model::effects;
use crate::model::play::{Failure, Lane};
use crate::model::script::{self, Script};
use crate::model::tally::Tally;

/// Shrinking ends after this many tries: each runs on a merchant of its own.
const TRIES: usize = 500;
/// Between two lines of progress.
const TOLD_EVERY: Duration = Duration::from_secs(20);

/// Send random sequences of requests, valid and not, to both services, and compare each reply with a model of the contract
///
/// Starts a Postgres (or uses the one of TEST_DATABASE_URL), a card network and both services, each on a database of its
/// own or both on one. Each sequence has a merchant of its own; each of its requests takes a random door. The model says
/// beforehand what each must be answered, to the last member, and what ledger and events hold at the end. A sequence that
/// is answered otherwise is shrunk to a smallest one, which is printed with its seed. At the end the databases' invariants
/// are checked.
///
/// Exit codes: 0 all is answered as the model says; 1 something isn't; 2 could not run, or was interrupted (one line says
/// why).
#[derive(Debug, Args)]
pub struct Model {
    /// Sequences, 1 to 10000000
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    sequences: u64,
    /// Seed of the first sequence; each further one has the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Both services on one database, each request to one of them at random
    #[arg(long)]
    shared: bool,
    /// Sequences at once, 1 to 16
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=16))]
    jobs: u16,
}

/// What plays.
struct Stage {
    bench: Bench,
    lanes: Vec<Lane>,
}

impl Model {
    /// True where the model was right throughout.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (ground, _acquirer) = Ground::start(&[("ACQUIRER_LATENCY", "fixed:0ms")]).await?;
        let admin_token = ground.credentials.admin_token.clone();
        let bench = Bench { contract: Contract::load()?, wire: Wire::default(), admin_token };
        let lanes = if self.shared {
            vec![Lane::shared(&ground, &bench).await?]
        } else {
            Lane::separate(&ground, &bench).await?.into()
        };
        let stage = Stage { bench, lanes };
        let how = if self.shared { "both services on one database" } else { "a database a service" };
        eprintln!(
            "model: {} sequences from seed {}, {} at once, {how}",
            self.sequences, self.seed, self.jobs
        );
        let begin = Instant::now();
        let (tally, failed) = self.all(&stage, begin).await?;
        let took = begin.elapsed().as_secs_f64();
        let kept = match failed {
            Some((seed, failure)) => {
                stage.shrink(seed, failure).await?;
                false
            }
            None => {
                let requests: usize = tally.all().map(|(_, count)| count.requests).sum();
                let requests = requests * stage.lanes.len();
                println!("{tally}");
                println!(
                    "{} sequences from seed {}, {requests} requests in {took:.0} s: all as the model says",
                    self.sequences, self.seed
                );
                true
            }
        };
        let databases: Vec<_> =
            stage.lanes.iter().map(|lane| (lane.name.clone(), lane.database.clone())).collect();
        let whole = ledger::verify(&databases).await?;
        Ok(leave_logs(&ground.logs, whole && kept))
    }

    /// Plays all sequences: the requests to each lane, and the seed and the fault of one that failed.
    async fn all(&self, stage: &Stage, begin: Instant) -> anyhow::Result<(Tally, Option<(u64, Failure)>)> {
        let seeds = self.seed..self.seed + self.sequences;
        let mut runs = stream::iter(seeds.clone())
            .map(|seed| async move {
                let script = stage.script(seed)?;
                let failure = stage.play(&script).await;
                anyhow::Ok((seed, script.lines, failure))
            })
            .buffer_unordered(self.jobs.into());
        let (mut done, mut tally, mut told) = (0, Tally::default(), begin);
        while let Some(run) = runs.next().await {
            let (seed, lines, failure) = run?;
            if let Some(failure) = failure {
                return Ok((tally, Some((seed, failure))));
            }
            done += 1;
            tally.add(&lines);
            if told.elapsed() > TOLD_EVERY {
                eprintln!("  {done} of {} sequences", self.sequences);
                told = Instant::now();
            }
        }
        drop(runs);
        Ok((tally, stage.left_behind(seeds).await?))
    }
}

impl Stage {
    fn script(&self, seed: u64) -> anyhow::Result<Script> {
        script::write(&self.bench.contract, &script::tree(seed)?.current(), &merchant(seed))
    }

    /// On all lanes at once.
    async fn play(&self, script: &Script) -> Option<Failure> {
        let runs = self.lanes.iter().map(|lane| lane.play(&self.bench, script));
        futures::future::join_all(runs).await.into_iter().flatten().next()
    }

    /// The first sequence whose ledger or events aren't the model's: looked at once, at the end.
    async fn left_behind(&self, seeds: Range<u64>) -> anyhow::Result<Option<(u64, Failure)>> {
        for lane in &self.lanes {
            let found = effects::read(&lane.database, None).await?;
            for seed in seeds.clone() {
                let effects = found.get(&merchant(seed)).cloned().unwrap_or_default();
                let faults = effects::faults(&self.script(seed)?.machine, &effects);
                if !faults.is_empty() {
                    return Ok(Some((seed, Failure::at_the_end(&lane.name, faults))));
                }
            }
        }
        Ok(None)
    }

    /// Plays, and looks at what was left behind.
    async fn try_out(&self, script: &Script) -> anyhow::Result<Option<Failure>> {
        let failure = self.play(script).await;
        if failure.is_some() {
            return Ok(failure);
        }
        for lane in &self.lanes {
            let found = effects::read(&lane.database, Some(&script.name)).await?;
            let found = found.get(&script.name).cloned().unwrap_or_default();
            let faults = effects::faults(&script.machine, &found);
            if !faults.is_empty() {
                return Ok(Some(Failure::at_the_end(&lane.name, faults)));
            }
        }
        Ok(None)
    }

    /// Looks for the smallest sequence that still fails, and prints it.
    async fn shrink(&self, seed: u64, first: Failure) -> anyhow::Result<()> {
        let mut tree = script::tree(seed)?;
        let mut smallest: Option<(Script, Failure)> = None;
        let mut tries = 0;
        while tries < TRIES {
            tries += 1;
            let script = script::write(&self.bench.contract, &tree.current(), &unique())?;
            let failure = self.try_out(&script).await?;
            let failed = failure.is_some();
            smallest = failure.map(|failure| (script, failure)).or(smallest);
            if !(if failed { tree.simplify() } else { tree.complicate() }) {
                break;
            }
        }
        match smallest {
            Some((script, failure)) => {
                println!(
                    "FAILED the sequence of seed {seed}; the smallest of {tries} tries that still fails:"
                );
                print(&script, &failure);
            }
            None => {
                println!("FAILED the sequence of seed {seed}, but not a second time:");
                print(&self.script(seed)?, &first);
            }
        }
        let shared = if self.lanes.len() == 1 { " --shared" } else { "" };
        println!("again: loadtest model --seed {seed} --sequences 1{shared}");
        Ok(())
    }
}

fn merchant(seed: u64) -> String {
    format!("sequence {seed}")
}

fn print(script: &Script, failure: &Failure) {
    let shown = failure.step.map_or(script.lines.len(), |step| step + 1);
    for (index, line) in script.lines.iter().take(shown).enumerate() {
        println!("  {}. {} {}", index + 1, line.place.door.name(), line.call.line());
        println!("     -> {}", line.wanted.line());
    }
    let place = failure.step.map_or("the end".to_owned(), |step| format!("step {}", step + 1));
    println!("{}, {place}:\n    {}", failure.lane, failure.faults.join("\n    "));
    if let Some((sent, got)) = &failure.exchange {
        println!("  sent {sent}\n  got  {got}");
    }
}
