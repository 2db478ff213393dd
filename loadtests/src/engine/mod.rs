//! The open-loop generator: sends each request of a stretch of a trace when it is due, whatever became of the earlier
//! ones, and records what came back.
//!
//! One thread with a current-thread runtime does all sending and reading; `connection` holds one connection, `record`
//! what is counted and timed. Nothing is ever waited for before a due request goes out, except a free connection: that
//! wait counts in the latency, which runs from the due time.

mod connection;
mod record;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use record::Record;

use crate::clock::now_ns;
use crate::pacer::{Pacer, Wake};
use crate::trace::Trace;
use crate::workload::{Effect, Player, Prepared};

/// From asking for a slice to its first due time: the pacer is asleep by then.
const LEAD_NS: u64 = 2_000_000;
/// Opening all connections to a target that runs takes no longer.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Bounds of one target's play.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections held open.
    pub connections: usize,
    /// Requests on a connection or waiting for one, at most.
    pub in_flight: usize,
    /// Wait for the last replies.
    pub drain: Duration,
}

/// One of those that get the trace: its connections, and the results it has given.
pub struct Target {
    /// As reports call it.
    pub name: String,
    shared: Rc<Shared>,
    address: SocketAddr,
    limits: Limits,
    tasks: Vec<JoinHandle<()>>,
}

/// What the connections of one target share. One thread: cells, no locks.
struct Shared {
    trace: Arc<Trace>,
    operations: Vec<&'static str>,
    player: RefCell<Box<dyn Player>>,
    queue: RefCell<VecDeque<Job>>,
    arrived: Notify,
    /// Connections that wait for a job.
    idle: Cell<usize>,
    in_flight: Cell<usize>,
    /// A connection became idle, or a job ended.
    settled: Notify,
    record: RefCell<Record>,
}

/// A request on its way to a connection.
struct Job {
    index: usize,
    due_ns: u64,
    request: Prepared,
    /// A connection was free when it came due.
    at_once: bool,
}

impl Target {
    /// Opens the connections. Has to be called inside a `LocalSet`.
    pub async fn open(
        name: &str,
        address: SocketAddr,
        trace: Arc<Trace>,
        operations: Vec<&'static str>,
        player: Box<dyn Player>,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let record = RefCell::new(Record::new(&operations));
        let shared = Rc::new(Shared {
            trace,
            operations,
            player: RefCell::new(player),
            queue: RefCell::default(),
            arrived: Notify::new(),
            idle: Cell::new(0),
            in_flight: Cell::new(0),
            settled: Notify::new(),
            record,
        });
        let mut target = Self { name: name.to_owned(), shared, address, limits, tasks: Vec::new() };
        target.connect().await?;
        Ok(target)
    }

    async fn connect(&mut self) -> anyhow::Result<()> {
        let start = |_| tokio::task::spawn_local(connection::serve(Rc::clone(&self.shared), self.address));
        self.tasks = (0..self.limits.connections).map(start).collect();
        let all_idle = async {
            while self.shared.idle.get() < self.limits.connections {
                self.shared.settled.notified().await;
            }
        };
        tokio::time::timeout(OPEN_LIMIT, all_idle).await.with_context(|| {
            format!(
                "{}: only {} of {} connections to {} opened",
                self.name,
                self.shared.idle.get(),
                self.limits.connections,
                self.address
            )
        })
    }

    /// Replies so far that must have left something countable behind.
    pub fn effects(&self) -> Vec<Effect> {
        self.shared.player.borrow().effects()
    }

    /// Connections open and free now.
    pub fn open_connections(&self) -> usize {
        self.shared.idle.get()
    }

    /// Sends or queues what is due, or counts why not.
    fn dispatch(&self, index: usize, due_ns: u64) {
        let shared = &self.shared;
        let mut record = shared.record.borrow_mut();
        record.offered += 1;
        if shared.in_flight.get() >= self.limits.in_flight {
            record.dropped += 1;
            return;
        }
        let Some(request) = shared.player.borrow_mut().prepare(&shared.trace.lines[index]) else {
            record.skipped += 1;
            return;
        };
        let mut queue = shared.queue.borrow_mut();
        let at_once = queue.len() < shared.idle.get();
        if !at_once {
            record.lag_ns(now_ns().saturating_sub(due_ns));
            record.queued += 1;
        }
        queue.push_back(Job { index, due_ns, request, at_once });
        shared.in_flight.set(shared.in_flight.get() + 1);
        shared.arrived.notify_one();
    }

    /// Waits for the last replies; what is still out then is unanswered, and its connections are given up.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let empty = async {
            while self.shared.in_flight.get() > 0 {
                self.shared.settled.notified().await;
            }
        };
        if tokio::time::timeout(self.limits.drain, empty).await.is_ok() {
            return Ok(());
        }
        self.tasks.drain(..).for_each(|task| task.abort());
        self.shared.queue.borrow_mut().clear();
        self.shared.record.borrow_mut().unanswered += self.shared.in_flight.replace(0) as u64;
        tokio::task::yield_now().await; // the aborted tasks go
        self.shared.idle.set(0);
        self.connect().await
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

/// The generator itself: a pacing thread and the sender that follows it.
pub struct Engine {
    pacer: Pacer,
    wake: Wake,
    stop: Arc<AtomicBool>,
}

impl Engine {
    /// Starts the pacing thread. Raising `stop` ends a play between two requests. Has to be called inside a runtime.
    pub fn start(stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let pacer = Pacer::start(Arc::clone(&stop))?;
        let wake = pacer.wake()?;
        Ok(Self { pacer, wake, stop })
    }

    /// The pacing thread's scheduling policy.
    pub fn pacer_policy(&self) -> &str {
        self.pacer.policy()
    }

    /// Plays the requests of `window`, whose time begins at `from_us` of the trace and lasts `length_us`, and drains.
    pub async fn play(
        &self,
        target: &mut Target,
        window: Range<usize>,
        from_us: u64,
        length_us: u64,
    ) -> anyhow::Result<Record> {
        let begin = now_ns() + LEAD_NS;
        let trace = Arc::clone(&target.shared.trace);
        let due: Arc<[u64]> =
            trace.lines[window.clone()].iter().map(|line| begin + (line.due_us - from_us) * 1000).collect();
        target.shared.record.replace(Record::new(&target.shared.operations));
        self.pacer.begin(Arc::clone(&due))?;
        let mut next = 0;
        while next < due.len() && !self.stop.load(Ordering::Relaxed) {
            let released = self.pacer.due();
            while next < released {
                target.dispatch(window.start + next, due[next]);
                next += 1;
            }
            if next < due.len() {
                self.wake.next().await?;
            }
        }
        self.rest_until(begin + length_us * 1000).await;
        target.drain().await?;
        let mut record = target.shared.record.replace(Record::new(&target.shared.operations));
        record.wake_lag = self.pacer.finish()?;
        record.begin_ns = begin;
        record.length_ns = (length_us * 1000).max(record.last_reply_ns.saturating_sub(begin));
        Ok(record)
    }

    /// A slice lasts as long as it says, even if its last request came early.
    async fn rest_until(&self, end_ns: u64) {
        while !self.stop.load(Ordering::Relaxed) {
            let left = end_ns.saturating_sub(now_ns());
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_nanos(left.min(50_000_000))).await;
        }
    }
}
