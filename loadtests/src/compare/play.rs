//! Plays a plan on two contenders, in one thread that is pinned and, where allowed, real-time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use futures::future::LocalBoxFuture;
use tokio::sync::mpsc::UnboundedSender;

use super::plan::{Moment, Plan, Window};
use super::usage::Usage;
use crate::clock::now_ns;
use crate::engine::{self, Engine, Limits, Record, Target};
use crate::histogram::Sparse;
use crate::procstat::Process;
use crate::realtime;
use crate::scenario::Scenario;
use crate::trace::{Kinds, Trace};
use crate::workload::{Effect, PlayerTarget, Workload};

/// One of the two that are compared.
#[derive(Debug, Clone)]
pub struct Contender {
    /// As reports call it.
    pub name: String,
    /// Its process, where it is known; else its CPU and memory count as 0, and nothing is said of them.
    pub pid: Option<u32>,
    /// For the workload.
    pub target: PlayerTarget,
}

impl Contender {
    /// Its process, for what can't do without.
    pub fn process(&self) -> anyhow::Result<u32> {
        self.pid.with_context(|| format!("{}: its process isn’t known", self.name))
    }
}

/// A process that isn't compared but belongs to the run, with its children.
#[derive(Debug, Clone)]
pub struct Support {
    /// As reports call it.
    pub name: String,
    /// Its process.
    pub pid: u32,
}

/// What is said while it plays.
#[derive(Debug)]
pub enum Event {
    /// A contender's warm-up has ended.
    Warm(String),
    /// A slice has ended.
    Slice(Box<Seen>),
}

/// What a slice gave, for those who watch; or several of one contender.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// On whom.
    pub contender: usize,
    /// Its pair, from 0; of several, the last one's.
    pub pair: usize,
    /// From the due time.
    pub latency: Sparse,
    /// Due to sent.
    pub lag: Sparse,
    /// Requests that came due.
    pub offered: u64,
    /// Replies read.
    pub replies: u64,
    /// Lacked the result that they need.
    pub skipped: u64,
    /// No room.
    pub dropped: u64,
    /// Refused for want of capacity.
    pub shed: u64,
    /// Unexpected replies and failures.
    pub unexpected: u64,
    /// Until the last reply, in ns.
    pub length_ns: u64,
    /// From the first to the last reply, or the slice's own length where that is longer, in ns: what a rate is over.
    pub answering_ns: u64,
    /// CPU of the contender, in ns; nothing where its process isn't looked at.
    pub cpu_ns: u64,
    /// Its memory at the end, in bytes; the same.
    pub rss_bytes: u64,
    /// CPU of this process meanwhile, and the time it took in all, in ns.
    pub generator: (u64, u64),
}

impl Seen {
    fn of(contender: usize, pair: usize, slice: &Slice) -> Self {
        let record = &slice.record;
        Self {
            contender,
            pair,
            latency: record.all_latency(),
            lag: record.lag.clone(),
            offered: record.offered,
            replies: record.replies,
            skipped: record.skipped,
            dropped: record.dropped,
            shed: record.shed,
            unexpected: record.kinds.values().sum(),
            length_ns: record.length_ns,
            answering_ns: record.answering_ns,
            cpu_ns: slice.cpu_ns,
            rss_bytes: slice.rss_bytes,
            generator: slice.generator,
        }
    }

    /// Takes in what came after it.
    pub fn add(&mut self, later: &Self) {
        (self.contender, self.pair) = (later.contender, later.pair);
        self.latency = Sparse::merge([&self.latency, &later.latency]);
        self.lag = Sparse::merge([&self.lag, &later.lag]);
        self.offered += later.offered;
        self.replies += later.replies;
        self.skipped += later.skipped;
        self.dropped += later.dropped;
        self.shed += later.shed;
        self.unexpected += later.unexpected;
        self.length_ns += later.length_ns;
        self.answering_ns += later.answering_ns;
        self.cpu_ns += later.cpu_ns;
        self.rss_bytes = later.rss_bytes;
        self.generator.0 += later.generator.0;
        self.generator.1 += later.generator.1;
    }

    /// Replies a second.
    pub fn rate(&self) -> f64 {
        self.replies as f64 * 1e9 / self.answering_ns.max(1) as f64
    }
}

/// One slice on one contender.
pub struct Slice {
    /// Whether it had the slice before the other.
    pub first: bool,
    /// What was counted and timed.
    pub record: Record,
    /// CPU of the contender meanwhile.
    pub cpu_ns: u64,
    /// CPU of the one that had nothing to do meanwhile.
    pub idle_cpu_ns: u64,
    /// Resident memory of the contender at the end.
    pub rss_bytes: u64,
    /// CPU of this process meanwhile, and the time it took in all.
    pub generator: (u64, u64),
}

/// How the generator ran.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Generator {
    /// Scheduling policy of the sending thread.
    pub sender_policy: String,
    /// CPU of this process a request in measured slices, in µs.
    pub cpu_us_a_request: f64,
}

/// All that a play gave.
pub struct Playback {
    /// Records of the warm-up, one list a contender.
    pub warm_up: Vec<Vec<Record>>,
    /// Complete pairs, each in the order of the contenders.
    pub pairs: Vec<[Slice; 2]>,
    /// Records of slices whose pair was not completed, one list a contender: they left rows too.
    pub torn: Vec<Vec<Record>>,
    /// Pairs that were played while the host took too much, by their places in the plan.
    pub set_aside: Vec<usize>,
    /// Records of their slices, one list a contender.
    pub disturbed: Vec<Vec<Record>>,
    /// Slices that were played, those of an incomplete pair included.
    pub slices_played: usize,
    /// Replies counted by what they must have left, one list a contender.
    pub effects: Vec<Vec<Effect>>,
    /// Scheduling policy of the sending thread.
    pub policy: String,
    /// While the pairs above played: wall time, the machine's CPU, this process's, the contenders', each support's.
    pub usage: Usage,
    /// Why it ended before its time, where nobody stopped it: a contender has gone, say.
    pub failure: Option<anyhow::Error>,
}

impl Playback {
    /// A pair, and what was used while it played.
    fn add(&mut self, number: usize, pair: [Slice; 2], meanwhile: Usage, most_stolen: Option<f64>) {
        if most_stolen.is_some_and(|most| meanwhile.stolen() > most) {
            self.set_aside.push(number);
            for (records, slice) in self.disturbed.iter_mut().zip(pair) {
                records.push(slice.record);
            }
            return;
        }
        self.usage.add(&meanwhile);
        self.pairs.push(pair);
    }
}

/// What a play needs.
pub struct Order<'a> {
    /// The scenario, for its limits.
    pub scenario: &'a Scenario,
    /// Its trace.
    pub trace: Arc<Trace>,
    /// Who speaks for it.
    pub workload: &'a dyn Workload,
    /// The two.
    pub contenders: &'a [Contender; 2],
    /// Those whose CPU is expected.
    pub support: &'a [Support],
    /// Where this thread runs.
    pub cores: &'a [usize],
    /// Who has which slice first is drawn from it.
    pub order_seed: u64,
    /// A pair in which the host takes more of a core is set aside: both its slices, by what the machine says and never by
    /// what they gave. Unset: none is.
    pub most_stolen: Option<f64>,
    /// Done once at each such moment.
    pub settle: &'a dyn Fn(Moment) -> LocalBoxFuture<'static, anyhow::Result<()>>,
}

/// Plays the scenario's plan; raising `stop` ends it early with what there is. Blocks: meant for a thread of its own,
/// since it changes the thread's scheduling for good.
pub fn play(
    order: &Order<'_>,
    stop: &Arc<AtomicBool>,
    events: &UnboundedSender<Event>,
) -> anyhow::Result<Playback> {
    realtime::pin(order.cores)?;
    let sender_policy = realtime::go_fifo(realtime::SENDER);
    engine::runtime()?.block_on(async {
        let engine = Engine::start(Arc::clone(stop))?;
        let mut targets = Vec::new();
        for contender in order.contenders {
            targets.push(open(order, contender).await?);
        }
        let mut player = Player { order, engine, targets, stop, events, slices_played: 0 };
        player.all(sender_policy).await
    })
}

async fn open(order: &Order<'_>, contender: &Contender) -> anyhow::Result<Target> {
    let limits = Limits::of(order.scenario);
    let kinds = Kinds::of(&order.trace, order.workload.operations());
    let player = order.workload.player(&order.trace, &contender.target)?;
    let trace = Arc::clone(&order.trace);
    Target::open(&contender.name, contender.target.addresses, trace, kinds, player, limits).await
}

/// What became of a pair.
enum Turn {
    Whole(Box<[Slice; 2]>),
    /// What was played of it, and why no more, where nobody stopped it.
    Torn(Vec<(usize, Slice)>, Option<anyhow::Error>),
}

struct Player<'a> {
    order: &'a Order<'a>,
    engine: Engine,
    targets: Vec<Target>,
    stop: &'a AtomicBool,
    events: &'a UnboundedSender<Event>,
    slices_played: usize,
}

impl Player<'_> {
    async fn all(&mut self, policy: String) -> anyhow::Result<Playback> {
        let plan = Plan::of(self.order.scenario, self.order.order_seed);
        let warm_up = self.warm_up(&plan).await?;
        let known = |index: usize| self.order.contenders[index].pid.map(Process::of).transpose();
        // Of one alone there would be nothing to compare.
        let processes = match [known(0)?, known(1)?] {
            [Some(a), Some(b)] => Some([a, b]),
            _ => None,
        };
        let used = || Usage::now(processes.as_ref().map_or(&[], |both| both.as_slice()), self.order.support);
        let mut before = used()?;
        let none = || vec![Vec::new(), Vec::new()];
        let mut playback = Playback {
            warm_up,
            pairs: Vec::new(),
            torn: none(),
            set_aside: Vec::new(),
            disturbed: none(),
            slices_played: 0,
            effects: Vec::new(),
            policy,
            usage: before.clone().since(&before),
            failure: None,
        };
        for (number, (window, first)) in plan.pairs.iter().enumerate() {
            match self.pair(number, *window, *first, processes.as_ref()).await {
                Turn::Whole(pair) => {
                    // After each: at the end one of them may be gone.
                    let now = match used() {
                        Ok(now) => now,
                        Err(why) => {
                            playback.pairs.push(*pair);
                            playback.failure = Some(why);
                            break;
                        }
                    };
                    let meanwhile = now.clone().since(&before);
                    before = now;
                    playback.add(number, *pair, meanwhile, self.order.most_stolen);
                }
                Turn::Torn(slices, why) => {
                    slices.into_iter().for_each(|(one, slice)| playback.torn[one].push(slice.record));
                    playback.failure = why;
                    break;
                }
            }
        }
        playback.effects = self.targets.iter().map(Target::effects).collect();
        playback.slices_played = self.slices_played;
        Ok(playback)
    }

    /// One list of records a contender, in their order; played in the drawn one.
    async fn warm_up(&mut self, plan: &Plan) -> anyhow::Result<Vec<Vec<Record>>> {
        let order = [plan.warm_up_first, 1 - plan.warm_up_first];
        let mut records = vec![Vec::new(), Vec::new()];
        for index in order {
            records[index].push(self.stretch(index, plan.making).await?);
        }
        if self.stop.load(Ordering::Relaxed) {
            return Ok(records);
        }
        (self.order.settle)(Moment::Made).await?;
        for index in order {
            records[index].push(self.stretch(index, plan.rehearsal).await?);
            self.say(Event::Warm(self.targets[index].name.clone()));
        }
        (self.order.settle)(Moment::Warm).await?;
        Ok(records)
    }

    /// Half a pair, where the run was stopped meanwhile or a slice failed, is no pair.
    async fn pair(
        &mut self,
        number: usize,
        window: Window,
        first: usize,
        processes: Option<&[Process; 2]>,
    ) -> Turn {
        if self.stop.load(Ordering::Relaxed) {
            return Turn::Torn(Vec::new(), None);
        }
        let earlier = match self.slice(number, first, window, true, processes).await {
            Ok(slice) => slice,
            Err(why) => return Turn::Torn(Vec::new(), Some(why)),
        };
        if self.stop.load(Ordering::Relaxed) {
            return Turn::Torn(vec![(first, earlier)], None);
        }
        let later = match self.slice(number, 1 - first, window, false, processes).await {
            Ok(slice) => slice,
            Err(why) => return Turn::Torn(vec![(first, earlier)], Some(why)),
        };
        if self.stop.load(Ordering::Relaxed) {
            return Turn::Torn(vec![(first, earlier), (1 - first, later)], None);
        }
        Turn::Whole(Box::new(if first == 0 { [earlier, later] } else { [later, earlier] }))
    }

    async fn slice(
        &mut self,
        pair: usize,
        contender: usize,
        window: Window,
        first: bool,
        processes: Option<&[Process; 2]>,
    ) -> anyhow::Result<Slice> {
        let own = Process::of(std::process::id())?;
        let cpu_ns = |index: usize| processes.map_or(Ok(0), |processes| processes[index].cpu_ns());
        let now = || anyhow::Ok((cpu_ns(contender)?, cpu_ns(1 - contender)?, own.cpu_ns()?, now_ns()));
        let before = now()?;
        let record = self.stretch(contender, window).await?;
        let after = now()?;
        if !self.stop.load(Ordering::Relaxed) {
            self.slices_played += 1;
        }
        let slice = Slice {
            first,
            record,
            cpu_ns: after.0 - before.0,
            idle_cpu_ns: after.1 - before.1,
            rss_bytes: processes.map_or(Ok(0), |processes| processes[contender].rss_bytes())?,
            generator: (after.2 - before.2, after.3 - before.3),
        };
        self.say(Event::Slice(Box::new(Seen::of(contender, pair, &slice))));
        Ok(slice)
    }

    async fn stretch(&mut self, contender: usize, window: Window) -> anyhow::Result<Record> {
        let lines = self.order.trace.window(window.from_us, window.from_us + window.length_us);
        self.engine.play(&mut self.targets[contender], lines, window.from_us, window.length_us).await
    }

    fn say(&self, event: Event) {
        // Nobody listens any more: then nobody is told.
        let _ = self.events.send(event);
    }
}
