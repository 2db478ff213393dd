//! Notes when each reply came and what it was, around any workload's player: what a run's totals can't show, its stages
//! and seconds, is counted from these notes afterwards.

use std::cell::RefCell;
use std::rc::Rc;

use super::live::Live;
use crate::clock::now_ns;
use crate::histogram::{Recorder, record_ns, recorder};
use crate::scenario::{Scenario, micros};
use crate::stats::rounded;
use crate::trace::{Door, Line, Trace};
use crate::workload::{Checked, Effect, Player, Prepared, Reply};

/// The shortest part of a stage that is counted by itself.
const TICK_US: u64 = 500_000;
/// Parts of one stage.
const TICKS_MAX: u64 = 120;

/// What a reply was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As the contract says.
    Expected,
    /// Refused for want of capacity.
    Shed,
    /// Anything else.
    Unexpected,
}

/// A reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// To the request of this number.
    pub id: u64,
    /// By the clock.
    pub done_ns: u64,
    /// What it was.
    pub kind: Kind,
}

/// A player whose replies are noted.
pub struct Watched {
    /// Who plays.
    pub inner: Box<dyn Player>,
    /// The notes.
    pub seen: Rc<RefCell<Vec<Seen>>>,
    /// Tells how it goes, a second at a time.
    pub live: Live,
}

impl Player for Watched {
    fn greeting(&self, door: Door) -> Option<Prepared> {
        self.inner.greeting(door)
    }

    fn prepare(&mut self, line: &Line) -> Option<Prepared> {
        let prepared = self.inner.prepare(line);
        self.live.due(line.due_us, prepared.is_none());
        prepared
    }

    fn check(&mut self, line: &Line, reply: &Reply, sampled: bool) -> Checked {
        let done_ns = now_ns();
        let checked = self.inner.check(line, reply, sampled);
        let kind = match checked {
            Checked::Expected => Kind::Expected,
            Checked::Shed => Kind::Shed,
            Checked::Unexpected(_) => Kind::Unexpected,
        };
        self.seen.borrow_mut().push(Seen { id: line.id, done_ns, kind });
        self.live.reply(line.due_us, done_ns, kind);
        checked
    }

    fn effects(&self) -> Vec<Effect> {
        self.inner.effects()
    }
}

/// A stretch of the trace with one rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Flows a second.
    pub rate: f64,
    /// Begin in µs from the trace's.
    pub from_us: u64,
    /// End in the same.
    pub to_us: u64,
}

/// The stages after the warm-up, as the trace walks them: again from the first until its end, or until it was ended at a
/// time of it.
pub fn stages(scenario: &Scenario, ended_us: Option<u64>) -> Vec<Stage> {
    let (mut from_us, end) = (scenario.warm_up_us(), end_us(scenario, ended_us));
    let mut stages = Vec::new();
    for stage in scenario.stages.iter().cycle() {
        if from_us >= end {
            break;
        }
        let to_us = (from_us + micros(stage.seconds).max(1)).min(end);
        stages.push(Stage { rate: stage.rate, from_us, to_us });
        from_us = to_us;
    }
    stages
}

fn end_us(scenario: &Scenario, ended_us: Option<u64>) -> u64 {
    ended_us.unwrap_or(u64::MAX).clamp(scenario.warm_up_us() + 1, scenario.total_us())
}

/// All of them as one, at their mean rate.
pub fn whole(scenario: &Scenario, ended_us: Option<u64>) -> Stage {
    let (from_us, to_us) = (scenario.warm_up_us(), end_us(scenario, ended_us));
    let flows = |stage: &Stage| stage.rate * (stage.to_us - stage.from_us) as f64;
    let rate = stages(scenario, ended_us).iter().map(flows).sum::<f64>() / (to_us - from_us).max(1) as f64;
    Stage { rate: rounded(rate), from_us, to_us }
}

/// Each stage in equal parts of about `TICK_US`, in order.
pub fn ticks(stages: &[Stage]) -> Vec<Stage> {
    let mut ticks = Vec::new();
    for stage in stages {
        let length = stage.to_us - stage.from_us;
        let count = length.div_ceil(tick_us(length)).max(1);
        let at = |index: u64| stage.from_us + length * index / count;
        ticks.extend((0..count).map(|index| Stage { from_us: at(index), to_us: at(index + 1), ..*stage }));
    }
    ticks
}

/// A long stage has as many as a chart can show.
fn tick_us(length: u64) -> u64 {
    (length / TICKS_MAX).max(TICK_US)
}

/// What became of the requests that were due in a stage.
pub struct Tally {
    /// Due.
    pub offered: u64,
    /// Answered as expected.
    pub expected: u64,
    /// Refused.
    pub shed: u64,
    /// Answered otherwise.
    pub unexpected: u64,
    /// From the due time, of those that were answered as expected.
    pub latency: Recorder,
}

/// Counts each stage from the notes; the trace's time `from_us` was at `begin_ns` of the clock.
pub fn tally(trace: &Trace, stages: &[Stage], seen: &[Seen], from_us: u64, begin_ns: u64) -> Vec<Tally> {
    let offered = |stage: &Stage| trace.window(stage.from_us, stage.to_us).len() as u64;
    let empty = |stage| {
        let latency = recorder();
        Tally { offered: offered(stage), expected: 0, shed: 0, unexpected: 0, latency }
    };
    let mut tallies: Vec<Tally> = stages.iter().map(empty).collect();
    for reply in seen {
        let due_us = trace.lines[reply.id as usize].due_us;
        let index = stages.partition_point(|stage| stage.to_us <= due_us);
        let Some(tally) = tallies.get_mut(index).filter(|_| due_us >= from_us) else { continue };
        match reply.kind {
            Kind::Expected => {
                let due_ns = begin_ns + (due_us - from_us) * 1000;
                record_ns(&mut tally.latency, reply.done_ns.saturating_sub(due_ns));
                tally.expected += 1;
            }
            Kind::Shed => tally.shed += 1,
            Kind::Unexpected => tally.unexpected += 1,
        }
    }
    tallies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Parameters};
    use crate::trace::Door;

    fn scenario(stages: &str) -> Scenario {
        let text = format!(
            r#"
            description = "test"
            workload = "toy"
            seed = 1
            arrivals = "constant"
            think_time_ms = 20
            connections = 1
            in_flight = 1
            slice_ms = 500
            pairs = 5
            drain_ms = 300
            warm_up = {{ rate = 1.0, seconds = 1.0 }}
            stages = [{stages}]
            flows = [{{ name = "only", share = 1, steps = ["make"] }}]
            "#
        );
        Scenario::parse("x.toml", "x", &text, &Overrides::default()).unwrap()
    }

    /// Greets, and answers nothing.
    struct Greeter;

    impl Player for Greeter {
        fn greeting(&self, _: Door) -> Option<Prepared> {
            Some(Prepared::default())
        }

        fn prepare(&mut self, _: &Line) -> Option<Prepared> {
            None
        }

        fn check(&mut self, _: &Line, _: &Reply, _: bool) -> Checked {
            Checked::Expected
        }

        fn effects(&self) -> Vec<Effect> {
            Vec::new()
        }
    }

    #[test]
    fn whose_replies_are_noted_greets_as_before() {
        let (events, _told) = tokio::sync::mpsc::unbounded_channel();
        let live = Live::new(events, "rust", 0);
        let watched = Watched { inner: Box::new(Greeter), seen: Rc::default(), live };
        assert!(watched.greeting(Door::Http).is_some());
    }

    #[test]
    fn stages_are_walked_again_until_the_trace_ends() {
        let scenario = scenario("{ rate = 10.0, seconds = 1.0 }, { rate = 20.0, seconds = 0.75 }");
        let found = stages(&scenario, None);
        let ends: Vec<_> = found.iter().map(|stage| (stage.rate, stage.from_us, stage.to_us)).collect();
        let wanted =
            [(10.0, 1_000_000, 2_000_000), (20.0, 2_000_000, 2_750_000), (10.0, 2_750_000, 3_500_000)];
        assert_eq!(ends, wanted);
        // A load that was ended has what came due: half of its second stage, and none of the third.
        let ended = stages(&scenario, Some(2_375_000));
        assert_eq!(ended, [found[0], Stage { to_us: 2_375_000, ..found[1] }]);
        let all = whole(&scenario, Some(2_500_000));
        assert_eq!((all.from_us, all.to_us), (1_000_000, 2_500_000));
        assert!((all.rate - 40.0 / 3.0).abs() < 0.001, "{all:?}");
        assert_eq!(stages(&scenario, Some(0)).len(), 1);
    }

    #[test]
    fn stages_are_cut_into_equal_parts_that_a_chart_can_show() {
        let stage = |from_us, to_us| Stage { rate: 10.0, from_us, to_us };
        let parts = ticks(&[stage(1_000_000, 2_100_000), stage(2_100_000, 2_200_000)]);
        let ends: Vec<_> = parts.iter().map(|part| (part.from_us, part.to_us)).collect();
        let wanted =
            [(1_000_000, 1_366_666), (1_366_666, 1_733_333), (1_733_333, 2_100_000), (2_100_000, 2_200_000)];
        assert_eq!(ends, wanted);
        assert_eq!(ticks(&[stage(0, 600_000_000)]).len(), 120);
        let all = whole(&scenario("{ rate = 10.0, seconds = 1.0 }, { rate = 20.0, seconds = 1.5 }"), None);
        assert_eq!((all.rate, all.from_us, all.to_us), (16.0, 1_000_000, 3_500_000));
    }

    #[test]
    fn a_reply_counts_where_its_request_was_due_and_from_then_on() {
        let line = |id: u64| Line {
            due_us: id * 100_000,
            id,
            door: Door::Http,
            operation: "make".into(),
            parameters: Parameters::new(),
            needs: None,
        };
        let trace = Trace { lines: (0..20).map(line).collect(), sha256: String::new() };
        let stage = |from_us, to_us| Stage { rate: 10.0, from_us, to_us };
        let both = [stage(1_000_000, 1_500_000), stage(1_500_000, 2_000_000)];
        let begin = 7_000_000_000;
        // The request of number 14 was due 0.4 s after the begin, and is answered in the next stage.
        let seen = [
            Seen { id: 9, done_ns: begin, kind: Kind::Expected },
            Seen { id: 14, done_ns: begin + 900_000_000, kind: Kind::Expected },
            Seen { id: 15, done_ns: begin + 501_000_000, kind: Kind::Shed },
            Seen { id: 19, done_ns: begin + 910_000_000, kind: Kind::Unexpected },
        ];
        let found = tally(&trace, &both, &seen, 1_000_000, begin);
        let counts: Vec<_> =
            found.iter().map(|tally| (tally.offered, tally.expected, tally.shed, tally.unexpected)).collect();
        assert_eq!(counts, [(5, 1, 0, 0), (5, 0, 1, 1)]);
        let latency = found[0].latency.max();
        assert!((499_000..=501_000).contains(&latency), "{latency} µs");
    }
}
