//! Both services played here, for their traces.

use std::path::Path;

use clap::Args;

use crate::budget::{GROUND, after, spoken};
use crate::command::compare::ground::Ground;
use crate::command::compare::run::Run;
use crate::command::compare::{RESAMPLES, SMOKE, SMOKE_RESAMPLES, VOID, allowed, random_seed};
use crate::command::folder::Folder;
use crate::command::parts::Outcome;
use crate::command::signals::stop_on_signal;
use crate::command::task::{Task, traced};
use crate::command::{OverrideArgs, draw_payments, interleavable};
use crate::environment;
use crate::payments::{Bench, Layout, Pair};
use crate::progress::Progress;
use crate::report::standing::reasons_of_traced;
use crate::scenario::Overrides;
use crate::traces::{Played, TracesReport};
use crate::validity::Bound;

/// Pairs of slices, unless an option says otherwise.
const PAIRS: usize = 20;

/// What is played where no files are given.
#[derive(Debug, Args)]
pub struct TwinsArgs {
    /// A file, or the name of one in loadtests/scenarios without its ending
    #[arg(long, default_value = "checkout", value_name = "NAME|FILE", conflicts_with = "first")]
    scenario: String,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Who is compared: `rust,go`, or `rust,rust` or `go,go`, of which the traces should be alike
    #[arg(long, default_value_t, value_name = "A,B", conflicts_with = "first")]
    pair: Pair,
    /// Seconds long, with light hashes; a busy machine and a debug build don't void it
    #[arg(long, conflicts_with = "first")]
    smoke: bool,
    /// Bounds that may be missed without voiding what was played: see `loadtest compare --help`
    #[arg(long, value_name = "BOUNDS", value_delimiter = ',', conflicts_with = "first")]
    allow_void: Vec<String>,
}

impl TwinsArgs {
    /// Whether a scenario's values are to be others.
    pub fn changes(&self) -> bool {
        self.overrides.overrides() != Overrides::default()
    }

    /// Plays, and compares the traces; with whether that may be believed. The files are in `out`.
    pub fn play(&self, out: &Path) -> anyhow::Result<(TracesReport, Played)> {
        let allowed = allowed(&self.allow_void, self.smoke)?;
        let mut overrides = self.overrides.overrides();
        if self.smoke {
            overrides.warm_up_seconds = overrides.warm_up_seconds.or(SMOKE.warm_up_seconds);
            overrides.rate = overrides.rate.or(SMOKE.rate.map(|rate| rate * 2.0));
            overrides.think_time_ms = SMOKE.think_time_ms;
        }
        let (scenario, _) = draw_payments(&self.scenario, &overrides)?;
        interleavable(&scenario)?;
        let pairs = overrides.pairs.unwrap_or(if self.smoke { SMOKE.pairs.unwrap_or(PAIRS) } else { PAIRS });
        let task = Task::Traced(traced(&scenario, pairs));
        let folder = Folder::make(out.to_owned())?;
        let layout = Layout::of(&environment::cores()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        crate::realtime::settle(&layout.around())?;
        let run = Run {
            allowed,
            trial: self.smoke,
            order_seed: overrides.seed.unwrap_or_else(random_seed),
            resamples: if self.smoke { SMOKE_RESAMPLES } else { RESAMPLES },
            stopped: stop_on_signal(VOID)?,
            progress: Progress::new(),
            folder: folder.path().to_owned(),
            contenders: Vec::new(),
            trouble: Vec::new(),
        };
        match runtime.block_on(self.perform(run, layout, &task, &folder)) {
            Ok(Outcome::Traced { of, traced }) => {
                let reasons = |which| reasons_of_traced(&of, &traced, which);
                let (void, allowed) = (reasons(Bound::voids), reasons(|bound| bound.allowed));
                Ok((traced.traces, Played { void, allowed, trial: self.smoke, validity: traced.validity }))
            }
            Ok(_) => anyhow::bail!("{} came to something else", task.name()),
            Err(error) => Err(folder.give_up(error)),
        }
    }

    async fn perform(
        &self,
        mut run: Run,
        layout: Layout,
        task: &Task,
        folder: &Folder,
    ) -> anyhow::Result<Outcome> {
        let seconds = GROUND + task.seconds();
        run.progress.say(&format!("about {}, until {}", spoken(seconds), after(seconds)));
        run.progress.doing("starting what the services need");
        let say = |text: &str| run.progress.say(text);
        let twins = self.pair.twins();
        let bench = Bench::start(layout.clone(), &twins, self.smoke, folder.logs(), say);
        let bench = Box::new(run.unless_stopped(bench).await?);
        let ground = Ground::Twins { bench, pair: self.pair.clone(), layout };
        let outcome = run.perform(&ground, task).await;
        run.progress.doing("stopping");
        let stopping = ground.stop().await;
        run.progress.end();
        stopping?;
        outcome
    }
}
