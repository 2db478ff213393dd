//! What the traces of both services say of a scenario, played once more with all of its requests traced.

use serde::{Deserialize, Serialize};

use super::ScenarioReport;
use crate::compare::Plan;
use crate::trace::Trace;
use crate::traces::model::Operation;
use crate::traces::{Slices, TracesReport};
use crate::validity::{Bound, name};

/// One scenario's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// What they say.
    pub traces: TracesReport,
    /// That play, so that its bounds can be judged again. Nothing else is made of its figures: to be traced costs.
    pub play: ScenarioReport,
    /// Spans that each service couldn't hand on.
    pub lost: [u64; 2],
    /// Every bound of that play, and that no span is missing.
    pub validity: Vec<Bound>,
}

/// The slices of a play, by the numbers that its requests' traces have: each one's place in the trace, from 1. One that was
/// played on one side alone is none.
pub fn sliced(trace: &Trace, play: &ScenarioReport) -> Slices {
    let plan = Plan::of(&play.scenario, play.order_seed);
    let left_out = play.basis.set_aside.clone();
    let whole = play.slices.iter().map(Vec::len).min().unwrap_or(0) + left_out.len();
    let number = |us: u64| trace.window(0, us).len() as u64 + 1;
    let windows: Vec<_> = plan.pairs.iter().take(whole).map(|(window, _)| window).collect();
    let end = windows.last().map(|window| number(window.from_us + window.length_us));
    Slices { edges: windows.iter().map(|window| number(window.from_us)).chain(end).collect(), left_out }
}

impl Traced {
    /// Of a play, which keeps its bounds or doesn't; `lost`: spans that each service couldn't hand on.
    pub fn of(traces: TracesReport, play: ScenarioReport, lost: [u64; 2]) -> Self {
        let mut traced = Self { traces, play, lost, validity: Vec::new() };
        traced.validity = traced.judged();
        traced
    }

    /// Its bounds, from everything else of it.
    pub fn judged(&self) -> Vec<Bound> {
        let mut validity = self.play.validity.clone();
        validity.push(self.whole());
        validity
    }

    fn whole(&self) -> Bound {
        let told = [0, 1].map(|side| {
            let of = |operation: &Operation| operation.requests[side] + operation.alone[side];
            self.traces.operations.iter().map(of).sum::<u64>()
        });
        let sent = [0, 1].map(|side| self.play.slices[side].iter().map(|slice| slice.sent).sum::<u64>());
        let [first, second] = self.lost;
        Bound {
            name: name::TRACED.into(),
            asks: "no span is lost, and each request that was sent is traced".into(),
            measured: format!(
                "{first} and {second} spans lost; {} of {} and {} of {} requests traced",
                told[0], sent[0], told[1], sent[1]
            ),
            held: first + second == 0 && told == sent,
            allowed: false,
            applies: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::workload;
    use crate::report::sample;

    #[test]
    fn the_requests_of_a_slice_that_was_set_aside_are_in_none() {
        let mut play = sample::scenario(12, vec![]);
        let of = workload(&play.scenario).unwrap();
        let trace = Trace::draw("checkout", &play.scenario, &*of).unwrap();
        let plan = Plan::of(&play.scenario, play.order_seed);
        // Of twelve pairs eight count and three were set aside; the last was not played on both.
        play.slices.iter_mut().for_each(|slices| slices.truncate(8));
        play.basis.set_aside = vec![0, 4, 5];
        let slices = sliced(&trace, &play);
        assert_eq!(slices.count(), 8);
        let mut places = vec![0; 12];
        for (place, (window, _)) in plan.pairs.iter().enumerate() {
            let lines = trace.window(window.from_us, window.from_us + window.length_us);
            for line in &trace.lines[lines] {
                let id = (u128::from(line.id) + 1).to_be_bytes();
                let wanted = [
                    None,
                    Some(0),
                    Some(1),
                    Some(2),
                    None,
                    None,
                    Some(3),
                    Some(4),
                    Some(5),
                    Some(6),
                    Some(7),
                    None,
                ];
                assert_eq!(slices.of(&id), wanted[place], "slice {place}");
                places[place] += 1;
            }
        }
        assert!(places.iter().all(|count| *count > 0), "{places:?}");
        assert_eq!(slices.of(&1_u128.to_be_bytes()), None, "warm-up");
    }

    #[test]
    fn each_request_that_was_sent_has_to_be_traced() {
        let mut traced = sample::traced(vec![]);
        let held = |traced: &Traced| traced.judged().pop().unwrap().held;
        assert!(held(&traced));
        // Nobody sent the third: both lacked what it needs.
        traced.play.slices.iter_mut().for_each(|slices| slices[0].sent = 2);
        assert!(!held(&traced), "none of two is traced");
        traced.traces.operations = vec![sample::operation([2, 2], [0, 0])];
        assert!(held(&traced));
        traced.lost = [0, 1];
        assert!(!held(&traced), "a span is lost");
        traced.lost = [0, 0];
        traced.play.slices[0][1].sent = 1;
        assert!(!held(&traced), "one that only the first was sent isn't traced");
        traced.traces.operations = vec![sample::operation([2, 2], [1, 0])];
        assert!(held(&traced));
    }
}
