//! What the traces of both services say of a scenario, played once more with all of its requests traced.

use serde::{Deserialize, Serialize};

use super::{Aside, RawSlice, ScenarioReport};
use crate::traces::TracesReport;
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
        validity.push(whole(&self.traces, self.unsent(), self.lost));
        validity
    }

    /// Requests that one side was never sent: they have no partner.
    fn unsent(&self) -> u64 {
        let play = &self.play;
        let unsent = |(slices, aside): (&Vec<RawSlice>, &Aside)| {
            let sent = slices.iter().map(|slice| slice.sent).sum::<u64>() + aside.sent;
            (play.requests as u64).saturating_sub(sent)
        };
        play.slices.iter().zip(&play.basis.contenders).map(unsent).sum()
    }
}

fn whole(traces: &TracesReport, unsent: u64, [first, second]: [u64; 2]) -> Bound {
    let alone: u64 = traces.operations.iter().flat_map(|operation| operation.alone).sum();
    Bound {
        name: name::TRACED.into(),
        asks: "no span is lost, and each request that both were sent is traced by both".into(),
        measured: format!(
            "{first} and {second} spans lost; {alone} requests traced by one alone, {unsent} not sent to one of the two"
        ),
        held: first + second == 0 && alone <= unsent,
        allowed: false,
        applies: true,
    }
}
