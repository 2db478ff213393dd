//! What is counted and timed while a stretch of a trace plays on one target.

use std::collections::BTreeMap;

use crate::histogram::{Recorder, Sparse, record_ns, recorder};

/// Different texts of unexpected replies and failures kept; further ones are counted as one.
const MAX_KINDS: usize = 50;

/// Counts and histograms of one play.
pub struct Record {
    /// Requests that came due.
    pub offered: u64,
    /// Requests that were written to a connection.
    pub sent: u64,
    /// Replies read whole.
    pub replies: u64,
    /// Due, but the result they need wasn't there.
    pub skipped: u64,
    /// Due, but too many in flight.
    pub dropped: u64,
    /// Waited for a connection.
    pub queued: u64,
    /// Sent, and the connection broke before the reply.
    pub failed: u64,
    /// Sent or queued, and no reply when draining ended.
    pub unanswered: u64,
    /// Replies that refused for want of capacity: counted as replies, not timed.
    pub shed: u64,
    /// Connections opened again.
    pub reopened: u64,
    /// Replies that aren't what the contract says, and broken connections, by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Replies that are what the contract says, one count a kind.
    pub expected: Vec<u64>,
    /// Replies by kind and status (gRPC: its code).
    pub statuses: BTreeMap<(usize, u16), u64>,
    /// From the due time to the last byte of the reply, one a kind.
    pub latency: Vec<Recorder>,
    /// From the actual send to the last byte.
    pub service: Recorder,
    /// From the due time to the actual send; where a request has to wait for a connection, to its being queued.
    pub lag: Recorder,
    /// From the due time to the sending thread being awake for it.
    pub wake_lag: Recorder,
    /// When the stretch began, by the clock.
    pub begin_ns: u64,
    /// Its length, or until the last reply if that came later.
    pub length_ns: u64,
    /// From the first to the last reply, or the stretch's own length where that is longer.
    pub answering_ns: u64,
    /// Requests in flight, each from its due time, summed over time in ns: counted apart from the latencies.
    pub in_flight_ns: u64,
    /// The part of that which no histogram of latencies holds: of what was shed, or failed.
    pub untimed_ns: u64,
    /// Connections open at the end.
    pub open: u64,
    /// When the first reply was read.
    pub first_reply_ns: u64,
    /// When the last one was.
    pub last_reply_ns: u64,
}

impl Record {
    pub(super) fn new(kinds: usize) -> Self {
        Self {
            offered: 0,
            sent: 0,
            replies: 0,
            skipped: 0,
            dropped: 0,
            queued: 0,
            failed: 0,
            unanswered: 0,
            shed: 0,
            reopened: 0,
            kinds: BTreeMap::new(),
            expected: vec![0; kinds],
            statuses: BTreeMap::new(),
            latency: std::iter::repeat_with(recorder).take(kinds).collect(),
            service: recorder(),
            lag: recorder(),
            wake_lag: recorder(),
            begin_ns: 0,
            length_ns: 0,
            answering_ns: 0,
            in_flight_ns: 0,
            untimed_ns: 0,
            open: 0,
            first_reply_ns: 0,
            last_reply_ns: 0,
        }
    }

    /// Latencies of all kinds together.
    pub fn all_latency(&self) -> Sparse {
        Sparse::merge(&self.latency.iter().map(Sparse::of).collect::<Vec<_>>())
    }

    pub(super) fn lag_ns(&mut self, ns: u64) {
        record_ns(&mut self.lag, ns);
    }

    pub(super) fn wake_lag_ns(&mut self, ns: u64) {
        record_ns(&mut self.wake_lag, ns);
    }

    pub(super) fn reply(&mut self, kind: usize, status: u16, done_ns: u64) {
        self.replies += 1;
        *self.statuses.entry((kind, status)).or_default() += 1;
        if self.replies == 1 {
            self.first_reply_ns = done_ns;
        }
        self.last_reply_ns = done_ns;
    }

    pub(super) fn time(&mut self, kind: usize, latency_ns: u64, service_ns: u64) {
        record_ns(&mut self.latency[kind], latency_ns);
        record_ns(&mut self.service, service_ns);
    }

    pub(super) fn unexpected(&mut self, what: String) {
        let full = self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&what);
        *self.kinds.entry(if full { "others".into() } else { what }).or_default() += 1;
    }

    pub(super) fn failure(&mut self, what: &str) {
        self.failed += 1;
        self.unexpected(format!("connection: {what}"));
    }
}
