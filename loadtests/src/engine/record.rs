//! What is counted and timed while a stretch of a trace plays on one target.

use std::collections::BTreeMap;

use crate::histogram::{Recorder, Sparse, record_ns, recorder};

/// Different texts of unexpected replies and failures kept; further ones are counted as one.
const MAX_KINDS: usize = 50;

/// Counts and times of one play.
#[derive(Debug, Default)]
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
    pub latency: Vec<Sparse>,
    /// From the actual send to the last byte.
    pub service: Sparse,
    /// From the due time to the actual send; where a request has to wait for a connection, to its being queued.
    pub lag: Sparse,
    /// From the due time to the sending thread being awake for it.
    pub wake_lag: Sparse,
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

/// A record that is being made. Its recorders are large, and kept from one play to the next; what they hold at its end is
/// small.
pub(super) struct Recording {
    /// All but the times.
    pub counts: Record,
    latency: Vec<Recorder>,
    service: Recorder,
    lag: Recorder,
    wake_lag: Recorder,
}

impl Recording {
    pub(super) fn new(kinds: usize) -> Self {
        let counts = Record { expected: vec![0; kinds], ..Record::default() };
        let latency = std::iter::repeat_with(recorder).take(kinds).collect();
        Self { counts, latency, service: recorder(), lag: recorder(), wake_lag: recorder() }
    }

    /// What was counted and timed since the last time.
    pub(super) fn take(&mut self) -> Record {
        fn taken(recorder: &mut Recorder) -> Sparse {
            let times = Sparse::of(recorder);
            recorder.reset();
            times
        }
        let next = Record { expected: vec![0; self.latency.len()], ..Record::default() };
        Record {
            latency: self.latency.iter_mut().map(taken).collect(),
            service: taken(&mut self.service),
            lag: taken(&mut self.lag),
            wake_lag: taken(&mut self.wake_lag),
            ..std::mem::replace(&mut self.counts, next)
        }
    }

    pub(super) fn lag_ns(&mut self, ns: u64) {
        record_ns(&mut self.lag, ns);
    }

    pub(super) fn wake_lag_ns(&mut self, ns: u64) {
        record_ns(&mut self.wake_lag, ns);
    }

    pub(super) fn time(&mut self, kind: usize, latency_ns: u64, service_ns: u64) {
        record_ns(&mut self.latency[kind], latency_ns);
        record_ns(&mut self.service, service_ns);
    }
}

impl Record {
    /// Latencies of all kinds together.
    pub fn all_latency(&self) -> Sparse {
        Sparse::merge(&self.latency)
    }

    pub(super) fn reply(&mut self, kind: usize, status: u16, done_ns: u64) {
        self.replies += 1;
        *self.statuses.entry((kind, status)).or_default() += 1;
        if self.replies == 1 {
            self.first_reply_ns = done_ns;
        }
        self.last_reply_ns = done_ns;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_in_no_later_record() {
        let mut recording = Recording::new(2);
        recording.counts.sent += 3;
        recording.counts.expected[1] += 3;
        recording.time(1, 2_000_000, 1_000_000);
        recording.lag_ns(7_000);
        recording.wake_lag_ns(5_000);
        let taken = recording.take();
        assert_eq!((taken.sent, taken.expected.as_slice()), (3, [0, 3].as_slice()));
        let times = |record: &Record| {
            [&record.latency[0], &record.latency[1], &record.service, &record.lag, &record.wake_lag]
                .map(|times| times.count())
        };
        assert_eq!(times(&taken), [0, 1, 1, 1, 1]);
        assert_eq!(taken.latency[1].percentile(50.0), Some(2000));
        let next = recording.take();
        assert_eq!((next.sent, next.expected.as_slice(), times(&next)), (0, [0, 0].as_slice(), [0; 5]));
    }
}
