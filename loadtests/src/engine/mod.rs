//! The open-loop generator: sends each request of a stretch of a trace when it is due, whatever became of the earlier
//! ones, and records what came back.
//!
//! One thread (`aside`) with a current-thread runtime does all of it: `timer` wakes it at due times, `lane` knows which connections
//! have room, `http1` and `http2` hold one connection each, `record` counts and times. Nothing is ever waited for before
//! a due request goes out, except room on a connection: that wait counts in the latency, which runs from the due time.

mod aside;
mod http1;
mod http2;
mod lane;
mod record;
mod timer;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::runtime::{self, LocalOptions, LocalRuntime};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

pub use aside::aside;
pub use record::Record;
use record::Recording;

use crate::clock::now_ns;
use crate::scenario::Scenario;
use crate::trace::{Door, Kinds, Trace};
use crate::workload::{Checked, Effect, Player, Prepared, Reply};
use lane::{Job, Lane};
use timer::Timer;

/// From asking for a stretch to its first due time: all that is done once is done by then.
const LEAD_NS: u64 = 2_000_000;
/// Longest sleep at a stretch, so that a stop is seen soon.
const NAP_NS: u64 = 50_000_000;
/// Opening all connections to a target that runs takes no longer.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// Before opening a refused connection again.
const REOPEN_PAUSE: Duration = Duration::from_millis(50);
/// Connections being opened at once.
const OPENING: usize = 64;
/// One reply in so many has its whole body looked at.
const SAMPLE: u64 = 16;
/// Connections that are served between two looks at the clock: each takes some 20 µs.
const AT_A_STRETCH: u32 = 8;

/// The runtime of a thread that sends.
pub fn runtime() -> std::io::Result<LocalRuntime> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(AT_A_STRETCH)
        .build_local(LocalOptions::default())
}

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

impl Limits {
    /// As a scenario says.
    pub fn of(scenario: &Scenario) -> Self {
        let Scenario { connections, in_flight, drain_ms, .. } = *scenario;
        Self { connections, in_flight, drain: Duration::from_millis(drain_ms) }
    }
}

/// Where a target listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// HTTP/1.1 and HTTP/2 without TLS.
    pub http: SocketAddr,
    /// gRPC; unset where it has none.
    pub grpc: Option<SocketAddr>,
}

impl Addresses {
    fn of(&self, door: Door) -> anyhow::Result<SocketAddr> {
        match door {
            Door::Http | Door::Http2 => Ok(self.http),
            Door::Grpc => self.grpc.context("the trace has gRPC requests, and there is no address for them"),
        }
    }
}

/// One of those that get the trace: its connections, and the results it has given.
pub struct Target {
    /// As reports call it.
    pub name: String,
    shared: Rc<Shared>,
    lanes: Vec<(Door, SocketAddr, Rc<Lane>)>,
    limits: Limits,
    tasks: Vec<JoinHandle<()>>,
    /// It has had a play: what happens to its connections from then on counts.
    played: bool,
}

/// What the connections of one target share. One thread: cells, no locks.
struct Shared {
    trace: Arc<Trace>,
    kinds: Kinds,
    player: RefCell<Box<dyn Player>>,
    in_flight: Cell<usize>,
    /// When `in_flight` was last counted in the record.
    counted_ns: Cell<u64>,
    opening: Semaphore,
    /// Why one couldn't be opened, the last time.
    refused: RefCell<Option<io::Error>>,
    /// A connection has opened or couldn't be, or nothing is in flight any more.
    settled: Notify,
    recording: RefCell<Recording>,
}

impl Shared {
    /// A new connection, and the permission to open it, to be kept until it is of use: a listener has a bounded queue.
    async fn connect(&self, address: SocketAddr) -> Option<(TcpStream, SemaphorePermit<'_>)> {
        let permit = self.opening.acquire().await.ok()?;
        match TcpStream::connect(address).await.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => Some((stream, permit)),
            Err(error) => {
                self.refused.replace(Some(error));
                self.settled.notify_one();
                None
            }
        }
    }

    /// This process may open no more: waiting doesn't help.
    fn is_out_of_descriptors(&self) -> bool {
        let found = self.refused.borrow().as_ref().and_then(io::Error::raw_os_error);
        found.is_some_and(|number| [Errno::EMFILE, Errno::ENFILE].contains(&Errno::from_raw(number)))
    }

    fn greeting(&self, door: Door) -> Option<Prepared> {
        self.player.borrow().greeting(door)
    }

    /// When a request goes out; counts it.
    fn sent(&self, due_ns: u64, at_once: bool) -> u64 {
        let sent_ns = now_ns();
        let mut recording = self.recording.borrow_mut();
        recording.counts.sent += 1;
        if at_once {
            recording.lag_ns(sent_ns.saturating_sub(due_ns));
        }
        sent_ns
    }

    /// What became of a request that was answered.
    fn reply(&self, index: usize, due_ns: u64, sent_ns: u64, done_ns: u64, reply: &Reply) {
        let line = &self.trace.lines[index];
        let checked = self.player.borrow_mut().check(line, reply, line.id.is_multiple_of(SAMPLE));
        let kind = self.kinds.of_line(index);
        let mut recording = self.recording.borrow_mut();
        recording.counts.reply(kind, reply.code(), done_ns);
        let timed = match checked {
            Checked::Shed => {
                recording.counts.shed += 1;
                recording.counts.untimed_ns += done_ns - due_ns;
                false
            }
            Checked::Expected => {
                recording.counts.expected[kind] += 1;
                true
            }
            Checked::Unexpected(what) => {
                recording.counts.unexpected(what);
                true
            }
        };
        if timed {
            recording.time(kind, done_ns - due_ns, done_ns - sent_ns);
        }
        drop(recording);
        self.ended(done_ns);
    }

    /// What was sent has failed.
    fn failed(&self, due_ns: u64, what: &str) {
        let done_ns = now_ns();
        let mut recording = self.recording.borrow_mut();
        recording.counts.untimed_ns += done_ns.saturating_sub(due_ns);
        recording.counts.failure(what);
        drop(recording);
        self.ended(done_ns);
    }

    /// A request is under way since `due_ns`.
    fn begun(&self, due_ns: u64) {
        let now_ns = self.count();
        self.recording.borrow_mut().counts.in_flight_ns += now_ns.saturating_sub(due_ns);
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// A request has ended at `done_ns`, however.
    fn ended(&self, done_ns: u64) {
        let now_ns = self.count();
        self.recording.borrow_mut().counts.in_flight_ns -= now_ns - done_ns;
        self.in_flight.set(self.in_flight.get() - 1);
        if self.in_flight.get() == 0 {
            self.settled.notify_one();
        }
    }

    /// Brings the record's sum of what is in flight up to now.
    fn count(&self) -> u64 {
        let now_ns = now_ns();
        let since_ns = now_ns - self.counted_ns.replace(now_ns);
        self.recording.borrow_mut().counts.in_flight_ns += since_ns * self.in_flight.get() as u64;
        now_ns
    }
}

impl Target {
    /// Opens the connections, as many for each door that the trace takes. Has to be called inside `runtime()`.
    pub async fn open(
        name: &str,
        addresses: Addresses,
        trace: Arc<Trace>,
        kinds: Kinds,
        player: Box<dyn Player>,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let lane = |door: Door| {
            let room = if door == Door::Http { 1 } else { http2::STREAMS };
            let lane = Rc::new(Lane::new(limits.connections, room));
            Ok((door, addresses.of(door).with_context(|| name.to_owned())?, lane))
        };
        let lanes = trace.doors().into_iter().map(lane).collect::<anyhow::Result<_>>()?;
        let recording = RefCell::new(Recording::new(kinds.names().len()));
        let shared = Rc::new(Shared {
            trace,
            kinds,
            player: RefCell::new(player),
            in_flight: Cell::new(0),
            counted_ns: Cell::new(0),
            opening: Semaphore::new(OPENING),
            refused: RefCell::new(None),
            settled: Notify::new(),
            recording,
        });
        let mut target =
            Self { name: name.to_owned(), shared, lanes, limits, tasks: Vec::new(), played: false };
        target.connect().await?;
        Ok(target)
    }

    async fn connect(&mut self) -> anyhow::Result<()> {
        for (door, address, lane) in &self.lanes {
            for number in 0..self.limits.connections {
                let (shared, lane) = (Rc::clone(&self.shared), Rc::clone(lane));
                self.tasks.push(match door {
                    Door::Http => tokio::task::spawn_local(http1::serve(shared, lane, number, *address)),
                    Door::Http2 | Door::Grpc => {
                        tokio::task::spawn_local(http2::serve(shared, lane, number, (*door, *address)))
                    }
                });
            }
        }
        let wanted = self.limits.connections * self.lanes.len();
        self.shared.refused.take();
        let all_open = async {
            while self.open_connections() < wanted && !self.shared.is_out_of_descriptors() {
                self.shared.settled.notified().await;
            }
        };
        // Past the limit there are fewer, too.
        let _ = tokio::time::timeout(OPEN_LIMIT, all_open).await;
        let open = self.open_connections();
        if open < wanted {
            let addresses: Vec<_> = self.lanes.iter().map(|(_, address, _)| address.to_string()).collect();
            let remedy = match self.shared.is_out_of_descriptors() {
                true => "; let it open more files (ulimit -n), or ask for fewer connections",
                false => "",
            };
            let why = self.shared.refused.take().map_or(String::new(), |error| format!(": {error}{remedy}"));
            let (name, addresses) = (&self.name, addresses.join(" and "));
            bail!("{name}: only {open} of {wanted} connections to {addresses} opened{why}");
        }
        Ok(())
    }

    /// Replies so far that must have left something countable behind.
    pub fn effects(&self) -> Vec<Effect> {
        self.shared.player.borrow().effects()
    }

    /// Connections that have opened.
    pub fn open_connections(&self) -> usize {
        self.lanes.iter().map(|(_, _, lane)| lane.open()).sum()
    }

    /// Forgets what was counted since the last play, of replies that came late: it is of none. But connections that were
    /// closed meanwhile, while another target had its play, had to be opened again for this one.
    fn begin(&mut self) {
        let mut recording = self.shared.recording.borrow_mut();
        let between = recording.take();
        if std::mem::replace(&mut self.played, true) {
            recording.counts.reopened = between.reopened;
        }
    }

    /// Sends or queues what is due, or counts why not.
    fn dispatch(&self, index: usize, due_ns: u64) {
        let shared = &self.shared;
        let mut recording = shared.recording.borrow_mut();
        recording.counts.offered += 1;
        if shared.in_flight.get() >= self.limits.in_flight {
            recording.counts.dropped += 1;
            return;
        }
        let line = &shared.trace.lines[index];
        let Some(request) = shared.player.borrow_mut().prepare(line) else {
            recording.counts.skipped += 1;
            return;
        };
        let Some((_, _, lane)) = self.lanes.iter().find(|(door, _, _)| *door == line.door) else { return };
        let at_once = lane.has_room();
        if !at_once {
            recording.lag_ns(now_ns().saturating_sub(due_ns));
            recording.counts.queued += 1;
        }
        drop(recording);
        shared.begun(due_ns);
        lane.give(Job { index, due_ns, request, at_once });
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
        tokio::task::yield_now().await; // the aborted tasks go
        self.shared.recording.borrow_mut().counts.unanswered += self.shared.in_flight.replace(0) as u64;
        for (_, _, lane) in &mut self.lanes {
            *lane = Rc::new(lane.like());
        }
        self.connect().await
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

/// The generator itself.
pub struct Engine {
    timer: Timer,
    stop: Arc<AtomicBool>,
}

impl Engine {
    /// Raising `stop` ends a play between two requests. Has to be called inside `runtime()`.
    pub fn start(stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        Ok(Self { timer: Timer::new()?, stop })
    }

    /// Plays the requests of `window`, whose time begins at `from_us` of the trace and lasts `length_us`, and drains.
    pub async fn play(
        &self,
        target: &mut Target,
        window: Range<usize>,
        from_us: u64,
        length_us: u64,
    ) -> anyhow::Result<Record> {
        let trace = Arc::clone(&target.shared.trace);
        target.begin();
        let begin = now_ns() + LEAD_NS;
        target.shared.counted_ns.set(begin);
        let mut last_ns = None;
        for index in window {
            let due_ns = begin + (trace.lines[index].due_us - from_us) * 1000;
            // A stop falls between two instants, so that a time of the trace tells what came due before it.
            if last_ns.replace(due_ns) != Some(due_ns) && !self.until(due_ns).await? {
                break;
            }
            target.shared.recording.borrow_mut().wake_lag_ns(now_ns() - due_ns);
            target.dispatch(index, due_ns);
        }
        let end = begin + length_us * 1000;
        let end = if self.until(end).await? { end } else { now_ns().clamp(begin, end) };
        target.drain().await?;
        let mut record = target.shared.recording.borrow_mut().take();
        record.begin_ns = begin;
        record.open = target.open_connections() as u64;
        let length_ns = end - begin;
        record.length_ns = length_ns.max(record.last_reply_ns.saturating_sub(begin));
        // All replies may be late by the same: they come as fast as requests did.
        record.answering_ns = length_ns.max(record.last_reply_ns - record.first_reply_ns);
        Ok(record)
    }

    /// Waits until `at_ns`; says whether it may go on.
    async fn until(&self, at_ns: u64) -> anyhow::Result<bool> {
        while !self.stop.load(Ordering::Relaxed) {
            let now = now_ns();
            if at_ns <= now {
                return Ok(true);
            }
            self.timer.until(at_ns.min(now + NAP_NS)).await?;
        }
        Ok(false)
    }
}
