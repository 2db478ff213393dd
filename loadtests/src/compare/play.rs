//! Plays a plan on two contenders, in one thread that is pinned and, where allowed, real-time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use futures::future::LocalBoxFuture;
use tokio::sync::mpsc::UnboundedSender;

use super::plan::{Plan, Window};
use crate::clock::now_ns;
use crate::engine::{self, Engine, Limits, Record, Target};
use crate::histogram::Sparse;
use crate::procstat::{Machine, Process, family_cpu_ns};
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
            lag: Sparse::of(&record.lag),
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
    /// One record a contender.
    pub warm_up: Vec<Record>,
    /// Complete pairs, each in the order of the contenders.
    pub pairs: Vec<[Slice; 2]>,
    /// Records of slices whose pair was not completed, one list a contender: they left rows too.
    pub torn: Vec<Vec<Record>>,
    /// Slices that were played, those of an incomplete pair included.
    pub slices_played: usize,
    /// Replies counted by what they must have left, one list a contender.
    pub effects: Vec<Vec<Effect>>,
    /// Scheduling policy of the sending thread.
    pub policy: String,
    /// While the complete pairs played: wall time, the machine's CPU, this process's, the contenders', each support's.
    pub usage: Usage,
    /// Why it ended before its time, where nobody stopped it: a contender has gone, say.
    pub failure: Option<anyhow::Error>,
}

/// CPU over all measured slices.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Wall time in ns.
    pub wall_ns: u64,
    /// All of the machine.
    pub machine_ns: u64,
    /// Taken by the host.
    pub stolen_ns: u64,
    /// This process.
    pub generator_ns: u64,
    /// Both contenders.
    pub contenders_ns: u64,
    /// What stands around, by name.
    pub support_ns: Vec<(String, u64)>,
}

/// The cores of what stands around, and who else runs on them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SupportCores {
    /// How many.
    pub count: usize,
    /// The generator does.
    pub with_generator: bool,
    /// The contenders do.
    pub with_contenders: bool,
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
    /// Done once, when both are warm and before the first slice.
    pub settle: &'a dyn Fn() -> LocalBoxFuture<'static, anyhow::Result<()>>,
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
        (self.order.settle)().await?;
        let known = |index: usize| self.order.contenders[index].pid.map(Process::of).transpose();
        // Of one alone there would be nothing to compare.
        let processes = match [known(0)?, known(1)?] {
            [Some(a), Some(b)] => Some([a, b]),
            _ => None,
        };
        let used = || Usage::now(processes.as_ref().map_or(&[], |both| both.as_slice()), self.order.support);
        let before = used()?;
        let mut usage = used()?.since(&before);
        let (mut pairs, mut torn, mut failure) = (Vec::new(), vec![Vec::new(), Vec::new()], None);
        for (number, (window, first)) in plan.pairs.iter().enumerate() {
            match self.pair(number, *window, *first, processes.as_ref()).await {
                Turn::Whole(pair) => pairs.push(*pair),
                Turn::Torn(slices, why) => {
                    slices.into_iter().for_each(|(contender, slice)| torn[contender].push(slice.record));
                    failure = why;
                    break;
                }
            }
            // After each: at the end one of them may be gone.
            match used() {
                Ok(now) => usage = now.since(&before),
                Err(why) => {
                    failure = Some(why);
                    break;
                }
            }
        }
        let effects = self.targets.iter().map(Target::effects).collect();
        let slices_played = self.slices_played;
        Ok(Playback { warm_up, pairs, torn, slices_played, effects, policy, usage, failure })
    }

    /// One record a contender, in their order; played in the drawn one.
    async fn warm_up(&mut self, plan: &Plan) -> anyhow::Result<Vec<Record>> {
        let first = plan.warm_up_first;
        let mut records = Vec::new();
        for index in [first, 1 - first] {
            records.push(self.stretch(index, plan.warm_up).await?);
            self.say(Event::Warm(self.targets[index].name.clone()));
        }
        if first == 1 {
            records.swap(0, 1);
        }
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

impl Usage {
    /// Since each one's own begin; two of them make a stretch.
    pub fn now(contenders: &[Process], support: &[Support]) -> anyhow::Result<Self> {
        let machine = Machine::now()?;
        let of_support = |support: &Support| (support.name.clone(), family_cpu_ns(support.pid));
        let contenders_ns = contenders.iter().map(Process::cpu_ns).sum::<anyhow::Result<u64>>()?;
        Ok(Self {
            wall_ns: now_ns(),
            machine_ns: machine.busy_ns,
            stolen_ns: machine.stolen_ns,
            generator_ns: Process::of(std::process::id())?.cpu_ns()?,
            contenders_ns,
            support_ns: support.iter().map(of_support).collect(),
        })
    }

    /// What was used from `before` until this.
    pub fn since(self, before: &Self) -> Self {
        let support = self.support_ns.into_iter().zip(&before.support_ns);
        Self {
            wall_ns: self.wall_ns - before.wall_ns,
            machine_ns: self.machine_ns.saturating_sub(before.machine_ns),
            stolen_ns: self.stolen_ns.saturating_sub(before.stolen_ns),
            generator_ns: self.generator_ns - before.generator_ns,
            contenders_ns: self.contenders_ns.saturating_sub(before.contenders_ns),
            support_ns: support
                .map(|((name, after), (_, before))| (name, after.saturating_sub(*before)))
                .collect(),
        }
    }

    /// The part of the support's cores that is in use, by everything of the run that is pinned to them.
    pub fn support_share(&self, cores: SupportCores) -> f64 {
        let support: u64 = self.support_ns.iter().map(|(_, ns)| ns).sum();
        let generator = if cores.with_generator { self.generator_ns } else { 0 };
        let contenders = if cores.with_contenders { self.contenders_ns } else { 0 };
        let there_is = self.wall_ns.max(1) as f64 * cores.count.max(1) as f64;
        (support + generator + contenders) as f64 / there_is
    }

    /// CPU of processes that aren't part of the run, in ns.
    pub fn others_ns(&self) -> u64 {
        let ours =
            self.generator_ns + self.contenders_ns + self.support_ns.iter().map(|(_, ns)| ns).sum::<u64>();
        self.machine_ns.saturating_sub(ours)
    }
}
