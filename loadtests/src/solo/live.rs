//! How a play on one service goes while it lasts, told a second at a time to whoever shows it.

use tokio::sync::mpsc::UnboundedSender;

use super::watch::Kind;
use crate::clock::now_ns;
use crate::compare::{Event, Seen};
use crate::histogram::{Recorder, Sparse, record_ns, recorder};

/// Between two tellings.
pub const SECOND_NS: u64 = 1_000_000_000;

/// Counts what comes due and what is answered. Nobody is told of the warm-up.
pub struct Live {
    events: UnboundedSender<Event>,
    /// For a person.
    name: String,
    /// The load's begin in the trace.
    from_us: u64,
    /// The same by the clock, and the begin of this second; unset before it.
    begun: Option<(u64, u64)>,
    /// Told so far.
    seconds: usize,
    latency: Recorder,
    offered: u64,
    replies: u64,
    skipped: u64,
    shed: u64,
    unexpected: u64,
}

impl Live {
    /// Of a load that begins at `from_us` of its trace.
    pub fn new(events: UnboundedSender<Event>, name: &str, from_us: u64) -> Self {
        Self {
            events,
            name: name.to_owned(),
            from_us,
            begun: None,
            seconds: 0,
            latency: recorder(),
            offered: 0,
            replies: 0,
            skipped: 0,
            shed: 0,
            unexpected: 0,
        }
    }

    /// A request came due.
    pub fn due(&mut self, due_us: u64, skipped: bool) {
        if due_us < self.from_us {
            return;
        }
        let now = now_ns();
        let begin = now.saturating_sub((due_us - self.from_us) * 1000);
        let (load, second) = match self.begun {
            // Whoever was least late tells best when the load began.
            Some((load, second)) => (load.min(begin), second),
            None => {
                self.tell(Event::Warm(self.name.clone()));
                (begin, begin)
            }
        };
        self.begun = Some((load, second));
        self.offered += 1;
        self.skipped += u64::from(skipped);
        self.end_second(now);
    }

    /// A request was answered.
    pub fn reply(&mut self, due_us: u64, done_ns: u64, kind: Kind) {
        let Some((load, _)) = self.begun.filter(|_| due_us >= self.from_us) else { return };
        self.replies += 1;
        match kind {
            Kind::Expected => {
                let due_ns = load + (due_us - self.from_us) * 1000;
                record_ns(&mut self.latency, done_ns.saturating_sub(due_ns));
            }
            Kind::Shed => self.shed += 1,
            Kind::Unexpected => self.unexpected += 1,
        }
        self.end_second(done_ns);
    }

    fn end_second(&mut self, now: u64) {
        let Some((load, second)) = self.begun.filter(|(_, second)| now >= second + SECOND_NS) else { return };
        self.begun = Some((load, now));
        let seen = Seen {
            contender: 0,
            pair: self.seconds,
            latency: Sparse::of(&self.latency),
            lag: Sparse::default(),
            offered: std::mem::take(&mut self.offered),
            replies: std::mem::take(&mut self.replies),
            skipped: std::mem::take(&mut self.skipped),
            dropped: 0,
            shed: std::mem::take(&mut self.shed),
            unexpected: std::mem::take(&mut self.unexpected),
            length_ns: now - second,
            answering_ns: now - second,
            // Whoever shows it looks at the processes, not the thread that sends.
            cpu_ns: 0,
            rss_bytes: 0,
            generator: (0, 0),
        };
        self.seconds += 1;
        self.latency.reset();
        self.tell(Event::Slice(Box::new(seen)));
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more: then nobody needs it.
        let _ = self.events.send(event);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn each_second_of_the_load_is_told_once_and_nothing_of_the_warm_up() {
        let (events, mut told) = unbounded_channel();
        let mut live = Live::new(events, "rust", 1_000_000);
        live.due(999_999, false);
        live.reply(999_999, now_ns(), Kind::Expected);
        assert!(told.try_recv().is_err());
        live.due(1_000_000, false);
        live.due(1_000_001, true);
        assert!(matches!(told.try_recv(), Ok(Event::Warm(name)) if name == "rust"));
        let (load, _) = live.begun.unwrap();
        live.reply(1_000_000, load + 3_000_000, Kind::Expected);
        assert!(told.try_recv().is_err());
        live.reply(1_000_000, load + 1_100_000_000, Kind::Shed);
        let Ok(Event::Slice(seen)) = told.try_recv() else { panic!("nothing was told") };
        assert_eq!([seen.offered, seen.replies, seen.skipped, seen.shed, seen.unexpected], [2, 2, 1, 1, 0]);
        let median = seen.latency.percentile(50.0).unwrap();
        assert!(seen.latency.count() == 1 && (2_990..=3_010).contains(&median), "{median} µs");
        live.reply(1_000_000, load + 2_200_000_000, Kind::Unexpected);
        let Ok(Event::Slice(seen)) = told.try_recv() else { panic!("nothing was told") };
        let counts = [seen.pair as u64, seen.offered, seen.replies, seen.unexpected, seen.latency.count()];
        assert_eq!(counts, [1, 0, 1, 1, 0]);
    }
}
