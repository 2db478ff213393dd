//! Plays a trace once on one service, in a thread that is pinned and, where allowed, real-time; another thread looks at
//! the service's memory meanwhile.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::live::Live;
use super::watch::{Seen, Watched};
use crate::clock::now_ns;
use crate::compare::{Contender, Event, Moment, Support, Usage};
use crate::engine::{self, Engine, Limits, Record, Target};
use crate::procstat::{Process, context_switches};
use crate::realtime;
use crate::scenario::Scenario;
use crate::trace::{Kinds, Trace};
use crate::workload::{Effect, Workload};

/// Looks at a service's memory in one run, about.
const SAMPLES: u64 = 400;

/// Done once at each such moment.
pub type Settle = Box<dyn Fn(Moment) -> LocalBoxFuture<'static, anyhow::Result<()>> + Send>;

/// What a play needs.
pub struct Order {
    /// For its limits and lengths.
    pub scenario: Scenario,
    /// Its trace.
    pub trace: Arc<Trace>,
    /// Who speaks for it.
    pub workload: &'static (dyn Workload + Sync),
    /// On whom.
    pub contender: Contender,
    /// Those whose CPU is expected.
    pub support: Vec<Support>,
    /// Where the generator runs.
    pub cores: Vec<usize>,
    /// What is done between making, rehearsal and load.
    pub settle: Settle,
}

/// The service at one moment.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sample {
    /// Since the load began, in ms.
    pub at_ms: u64,
    /// Resident memory.
    pub rss_bytes: u64,
}

/// What a play gave.
pub struct Played {
    /// Not measured, but it left rows too.
    pub warm_up: Vec<Record>,
    /// The rest.
    pub record: Record,
    /// Each reply to the rest.
    pub seen: Vec<Seen>,
    /// Replies counted by what they must have left, those of the warm-up too.
    pub effects: Vec<Effect>,
    /// Scheduling policy of the sending thread.
    pub policy: String,
    /// CPU of all while the load lasted; the contender's is one process's.
    pub usage: Usage,
    /// Memory.
    pub samples: Vec<Sample>,
    /// Of the service's threads that are still there.
    pub switches: u64,
    /// It went to its end.
    pub complete: bool,
    /// When the first request was due, by the trace, that didn't come due any more; unset where all did.
    pub ended_us: Option<u64>,
}

/// Plays in a thread of its own; where `stopped` becomes true it ends early with what there is. `follow` hears of the load
/// each second.
pub async fn aside(
    order: Order,
    stopped: &watch::Receiver<bool>,
    follow: &mut dyn FnMut(Event),
) -> anyhow::Result<Played> {
    let (events, mut happened) = unbounded_channel();
    let mut look = Look::at(order.contender.process()?)?;
    let mut playing = pin!(engine::aside(stopped, move |stop| play(&order, stop, events)));
    loop {
        tokio::select! {
            // The last second is shown before the end.
            biased;
            Some(event) = happened.recv() => follow(look.completed(event)),
            played = &mut playing => break played,
        }
    }
}

/// Plays. Blocks: meant for a thread of its own, since it changes the thread's scheduling for good.
pub fn play(order: &Order, stop: &Arc<AtomicBool>, events: UnboundedSender<Event>) -> anyhow::Result<Played> {
    realtime::pin(&order.cores)?;
    engine::runtime()?.block_on(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let live = Live::new(events, &order.contender.name, order.scenario.warm_up_us());
        let mut target = open(order, Rc::clone(&seen), live).await?;
        let (from_us, end_us) = (order.scenario.warm_up_us(), order.scenario.total_us());
        let pid = order.contender.process()?;
        let process = Process::of(pid)?;
        // Before this thread becomes real-time: a thread inherits that.
        let sampler = Sampler::start(process, end_us - from_us)?;
        let policy = realtime::go_fifo(realtime::SENDER);
        let engine = Engine::start(Arc::clone(stop))?;
        let mut warm_up = Vec::new();
        let making_us = order.scenario.making_us();
        for (begin, end, done) in [(0, making_us, Moment::Made), (making_us, from_us, Moment::Warm)] {
            let lines = order.trace.window(begin, end);
            warm_up.push(engine.play(&mut target, lines, begin, end - begin).await?);
            (order.settle)(done).await?;
        }
        seen.borrow_mut().clear();
        sampler.begin.store(true, Ordering::Relaxed);
        let before = (Usage::now(&[process], &order.support)?, context_switches(pid));
        let window = order.trace.window(from_us, end_us);
        let record = engine.play(&mut target, window.clone(), from_us, end_us - from_us).await?;
        let usage = Usage::now(&[process], &order.support)?.since(&before.0);
        let switches = context_switches(pid).saturating_sub(before.1);
        let (effects, seen) = (target.effects(), seen.take());
        let complete = !stop.load(Ordering::Relaxed);
        let left = &order.trace.lines[window][record.offered as usize..];
        let ended_us = left.first().map(|line| line.due_us);
        let samples = sampler.end();
        Ok(Played { warm_up, record, seen, effects, policy, usage, samples, switches, complete, ended_us })
    })
}

async fn open(order: &Order, seen: Rc<RefCell<Vec<Seen>>>, live: Live) -> anyhow::Result<Target> {
    let limits = Limits::of(&order.scenario);
    let kinds = Kinds::of(&order.trace, order.workload.operations());
    let inner = order.workload.player(&order.trace, &order.contender.target)?;
    let (trace, contender) = (Arc::clone(&order.trace), &order.contender);
    let player = Box::new(Watched { inner, seen, live });
    Target::open(&contender.name, contender.target.addresses, trace, kinds, player, limits).await
}

/// What the sending thread doesn't look at: the processes.
struct Look {
    service: Process,
    generator: Process,
    /// CPU of both, and when, in ns.
    last: (u64, u64, u64),
}

impl Look {
    fn at(pid: u32) -> anyhow::Result<Self> {
        let (service, generator) = (Process::of(pid)?, Process::of(std::process::id())?);
        Ok(Self { service, generator, last: (service.cpu_ns()?, generator.cpu_ns()?, now_ns()) })
    }

    /// The event with CPU since the last one, and memory. A service that has ended is noticed by who plays.
    fn completed(&mut self, event: Event) -> Event {
        let cpu_ns = |process: Process, before: u64| process.cpu_ns().unwrap_or(before);
        let before = self.last;
        self.last = (cpu_ns(self.service, before.0), cpu_ns(self.generator, before.1), now_ns());
        match event {
            Event::Warm(_) => event,
            Event::Slice(mut seen) => {
                seen.cpu_ns = self.last.0.saturating_sub(before.0);
                seen.rss_bytes = self.service.rss_bytes().unwrap_or(0);
                seen.generator = (self.last.1.saturating_sub(before.1), self.last.2 - before.2);
                Event::Slice(seen)
            }
        }
    }
}

/// The thread that looks at memory.
struct Sampler {
    begin: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    fn start(process: Process, length_us: u64) -> anyhow::Result<Self> {
        let pause = Duration::from_micros((length_us / SAMPLES).clamp(10_000, 5_000_000));
        let (begin, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (begun, stopped) = (Arc::clone(&begin), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("sampler".into()).spawn(move || {
            let (mut samples, mut begin_ns) = (Vec::new(), None);
            while !stopped.load(Ordering::Relaxed) {
                if begun.load(Ordering::Relaxed) {
                    let at_ns = now_ns();
                    let at_ms = (at_ns - *begin_ns.get_or_insert(at_ns)) / 1_000_000;
                    // A service that has ended is noticed by who plays.
                    samples.extend(process.rss_bytes().ok().map(|rss_bytes| Sample { at_ms, rss_bytes }));
                }
                std::thread::park_timeout(pause);
            }
            samples
        })?;
        Ok(Self { begin, stop, thread })
    }

    fn end(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}
