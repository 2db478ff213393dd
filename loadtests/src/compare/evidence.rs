//! What the bounds of validity are about, from the raw part of a report: of two that are compared, or of one alone.

use std::collections::BTreeMap;

use anyhow::Context;

use super::usage::Usage;
use crate::histogram::{Sparse, decode};
use crate::report::{Aside, Basis, RawSlice};
use crate::validity::{Counts, Evidence};

/// A slice's histograms.
pub struct Heard {
    /// From the due time, by operation.
    pub latency: BTreeMap<String, Sparse>,
    /// From the actual send.
    pub service: Sparse,
    /// Due to sent.
    pub lag: Sparse,
    /// Due to the sending thread's being awake for it.
    pub wake_lag: Sparse,
}

impl Heard {
    /// Reads them; fails where one can't be, and says which.
    pub fn of_slice(slice: &RawSlice) -> anyhow::Result<Self> {
        let sparse = |what: &str, text: &str| {
            decode(text).map(|histogram| Sparse::of(&histogram)).with_context(|| what.to_owned())
        };
        let latency = slice.latency.iter().map(|(name, text)| Ok((name.clone(), sparse(name, text)?)));
        Ok(Self {
            latency: latency.collect::<anyhow::Result<_>>()?,
            service: sparse("service", &slice.service)?,
            lag: sparse("lag", &slice.lag)?,
            wake_lag: sparse("wake_lag", &slice.wake_lag)?,
        })
    }

    /// Latencies of all operations.
    pub fn all(&self) -> Sparse {
        Sparse::merge(self.latency.values())
    }

    /// Latencies of one.
    pub fn of(&self, operation: &str) -> Sparse {
        self.latency.get(operation).cloned().unwrap_or_default()
    }
}

/// One contender's slices, read.
pub struct Side<'a> {
    /// As the bounds' texts have it.
    pub label: &'a str,
    /// As they are in the report.
    pub slices: &'a [RawSlice],
    /// Their histograms.
    pub heard: &'a [Heard],
    /// Requests a second that came due.
    pub offered_rate: f64,
    /// Of the scenario.
    pub basis: &'a Basis,
    /// Its own.
    pub aside: &'a Aside,
}

impl Side<'_> {
    /// Its counts over the whole scenario.
    pub fn counts(&self) -> Counts {
        let Self { slices, heard, basis, aside, .. } = self;
        let sum = |of: fn(&RawSlice) -> u64| slices.iter().map(of).sum::<u64>();
        let seconds = |ns: u64| (ns as f64 / 1e9).max(f64::MIN_POSITIVE);
        let mut unexpected = aside.unexpected.clone();
        for (kind, count) in slices.iter().flat_map(|slice| &slice.unexpected) {
            *unexpected.entry(kind.clone()).or_default() += count;
        }
        let answered = |name: &String| {
            let count = slices.iter().filter_map(|slice| slice.expected.get(name)).sum();
            (name.clone(), count)
        };
        let lag = Sparse::merge(heard.iter().map(|heard| &heard.lag));
        let timed = |heard: &Heard| heard.all().sum() * 1e3;
        let floor = |(name, floor_us): &(String, u64)| {
            let fastest = heard.iter().filter_map(|heard| heard.of(name).least()).min()?;
            Some((name.clone(), *floor_us, fastest))
        };
        Counts {
            name: self.label.to_owned(),
            offered: sum(|slice| slice.offered),
            offered_rate: self.offered_rate,
            achieved_rate: sum(|slice| slice.replies) as f64 / seconds(sum(|slice| slice.answering_ns)),
            sent: sum(|slice| slice.sent) + aside.sent,
            replies: sum(|slice| slice.replies) + aside.replies,
            skipped: sum(|slice| slice.skipped),
            shed: sum(|slice| slice.shed),
            dropped: sum(|slice| slice.dropped) + aside.dropped,
            answered: basis.asked.iter().map(answered).collect(),
            unexpected: unexpected.into_iter().collect(),
            invariants: aside.invariants.clone(),
            lag_p99_us: lag.percentile(99.0).unwrap_or(0) as f64,
            reopened: sum(|slice| slice.reopened) + aside.reopened,
            open: (slices.iter().map(|slice| slice.open).min().unwrap_or(0), basis.connections),
            seconds: seconds(sum(|slice| slice.length_ns)),
            in_flight_seconds: sum(|slice| slice.in_flight_ns) as f64 / 1e9,
            latency_seconds: (heard.iter().map(timed).sum::<f64>() + sum(|slice| slice.untimed_ns) as f64)
                / 1e9,
            fastest: basis.floors.iter().filter_map(floor).collect(),
            effects: aside.effects.clone(),
            counted: aside.counted,
        }
    }
}

/// All of it; `slices` are those that were asked for, of all contenders together.
pub fn evidence(slices: usize, basis: &Basis, usage: &Usage, sides: &[Side<'_>]) -> Evidence {
    let all = || sides.iter().flat_map(|side| side.slices);
    let busy: u64 = all().map(|slice| slice.generator_cpu_ns).sum();
    let time: u64 = all().map(|slice| slice.generator_ns).sum();
    let wall = usage.wall_ns.max(1) as f64;
    Evidence {
        contenders: sides.iter().map(Side::counts).collect(),
        generator_share: busy as f64 / time.max(1) as f64,
        support_share: usage.support_share(basis.support_cores),
        others_cores: usage.others_ns() as f64 / wall,
        stolen_cores: usage.stolen(),
        builds: basis.builds.clone(),
        generator_profile: basis.generator_profile.clone(),
        slices: (slices, basis.slices_played),
        set_aside: (sides.len() > 1).then_some((basis.set_aside.len(), slices / 2)),
        trial: basis.trial,
        inapplicable: basis.inapplicable.clone(),
    }
}
