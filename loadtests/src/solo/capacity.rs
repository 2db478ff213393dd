//! What a capacity is by its trials: which are kept, what a search found, what was full. The same when it is measured and
//! when it is verified.

use super::model::{Block, Probe, ServiceCapacity, StageReport, Used};
use super::search::{Outcome, Reach, Search};
use crate::histogram::{Sparse, decode};
use crate::report::wording::number;
use crate::spread::Spread;

/// A resource of which more is in use is called full.
const FULL: f64 = 0.9;
/// Requests that may go unserved in a trial that is kept.
const UNSERVED_MAX: f64 = 0.001;

/// Not the reported p99, which needs more beyond it than a short trial has: here it is a rule, not a figure. In ms; nothing
/// where nothing was served.
pub fn p99_ms(load: &StageReport) -> anyhow::Result<Option<f64>> {
    Ok(Sparse::of(&decode(&load.latency)?).percentile(99.0).map(|us| us as f64 / 1e3))
}

/// The share of what was due that wasn't answered as expected.
pub fn unserved(load: &StageReport) -> f64 {
    1.0 - load.expected as f64 / load.offered.max(1) as f64
}

/// Why a trial's load wasn't kept; nothing where it was.
pub fn missed(load: &StageReport, bound_ms: f64) -> anyhow::Result<Vec<String>> {
    let mut missed = Vec::new();
    let unserved = unserved(load);
    if unserved > UNSERVED_MAX {
        missed.push(format!("{} % not served", number(unserved * 100.0)));
    }
    match p99_ms(load)? {
        Some(p99_ms) if p99_ms <= bound_ms => {}
        Some(p99_ms) => missed.push(format!("p99 {} ms", number(p99_ms))),
        None => missed.push("nothing served".into()),
    }
    Ok(missed)
}

impl Probe {
    /// What it says of its rate.
    pub fn outcome(&self) -> Outcome {
        match self.used.iter().any(|used| used.share >= FULL) {
            _ if self.held => Outcome::Kept,
            true => Outcome::Missed,
            false => Outcome::Doubtful,
        }
    }

    /// What was full; where nothing was, also by what it missed: a short queue sheds long before a core is full.
    fn ended_by(&self) -> String {
        let full = full(&self.used);
        match self.outcome() {
            Outcome::Doubtful => format!("{full}; missed by {}", self.missed.join(", ")),
            Outcome::Kept | Outcome::Missed => full,
        }
    }
}

impl Block {
    /// What a search found by its trials, in their order.
    pub fn of(turn: usize, reach: Reach, probes: Vec<Probe>) -> Self {
        let mut search = Search::new(reach);
        probes.iter().for_each(|probe| search.tell(probe.rate, probe.outcome()));
        let bracket = search.bracket();
        let missed = probes.iter().rfind(|probe| !probe.held && Some(probe.rate) == bracket.high);
        let full = missed.map_or("nothing: no rate was missed".into(), Probe::ended_by);
        Self { turn, bracket, full, probes }
    }

    /// Requests a second at the lower end, over the trials that kept it.
    fn kept(&self) -> Option<f64> {
        let low = self.bracket.low?;
        let at_low = self.probes.iter().filter(|probe| probe.held && probe.rate == low);
        let rates: Vec<f64> = at_low.map(|probe| probe.load.offered_rate()).collect();
        Some(rates.iter().sum::<f64>() / rates.len().max(1) as f64)
    }

    fn most(&self) -> Option<f64> {
        self.probes.iter().map(|probe| probe.load.goodput()).max_by(f64::total_cmp)
    }
}

impl ServiceCapacity {
    /// Of its searches.
    pub fn of(label: &str, blocks: Vec<Block>) -> Self {
        let kept: Vec<f64> = blocks.iter().filter_map(Block::kept).collect();
        let most: Vec<f64> = blocks.iter().filter_map(Block::most).collect();
        let (kept, most_goodput) = (Spread::of(&kept), Spread::of(&most));
        Self { label: label.into(), kept, most_goodput, blocks }
    }
}

/// What is full, or what is nearest to it.
pub fn full(used: &[Used]) -> String {
    let say = |used: &Used| format!("{} {} %", used.resource, number(used.share * 100.0));
    let full: Vec<_> = used.iter().filter(|used| used.share >= FULL).map(say).collect();
    match (full.is_empty(), used.first()) {
        (true, Some(most)) => format!("nothing; nearest {}", say(most)),
        (_, _) => full.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{encode, record_ns, recorder};
    use crate::solo::Bracket;

    const REACH: Reach =
        Reach { start: 90.0, least: 1.0, most: 20_000.0, resolution: 1.05, confirmations: 1, trials: 30 };

    fn load(expected: u64, offered: u64, us: u64) -> StageReport {
        let mut latency = recorder();
        (0..expected).for_each(|_| record_ns(&mut latency, us * 1000));
        StageReport {
            rate: 100.0,
            from_seconds: 0.0,
            seconds: 4.0,
            offered,
            expected,
            shed: offered - expected,
            unexpected: 0,
            latency_ms: [None; 4],
            latency: encode(&latency).unwrap(),
        }
    }

    #[test]
    fn a_miss_is_doubtful_where_nothing_was_full() {
        let probe = |held, share| Probe {
            rate: 1.0,
            load: load(10, 10, 1),
            held,
            missed: Vec::new(),
            used: vec![Used { resource: "core".into(), share }],
        };
        let told =
            [(true, 0.99), (false, 0.95), (false, 0.5)].map(|(held, share)| probe(held, share).outcome());
        assert_eq!(told, [Outcome::Kept, Outcome::Missed, Outcome::Doubtful]);
    }

    #[test]
    fn a_trial_is_kept_by_its_p99_and_by_serving_nearly_all() {
        assert!(missed(&load(1000, 1001, 19_000), 20.0).unwrap().is_empty());
        assert_eq!(missed(&load(1000, 1002, 19_000), 20.0).unwrap(), ["0.200 % not served"]);
        assert_eq!(missed(&load(1000, 1000, 21_000), 20.0).unwrap(), ["p99 21.0 ms"]);
        assert_eq!(missed(&load(0, 10, 0), 20.0).unwrap(), ["100 % not served", "nothing served"]);
    }

    #[test]
    fn what_is_full_is_named_or_what_is_nearest() {
        let used = |shares: &[(&str, f64)]| {
            let one = |(name, share): &(&str, f64)| Used { resource: (*name).into(), share: *share };
            shares.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(
            full(&used(&[("core", 0.97), ("permits", 0.91), ("net", 0.2)])),
            "core 97.0 %, permits 91.0 %"
        );
        assert_eq!(full(&used(&[("core", 0.8), ("net", 0.2)])), "nothing; nearest core 80.0 %");
    }

    #[test]
    fn a_rate_that_is_missed_while_nothing_is_full_is_told_with_what_it_missed() {
        let probe = |rate, held: bool, missed: &[&str]| Probe {
            rate,
            load: load(10, 10, 1),
            held,
            missed: missed.iter().map(|text| (*text).to_owned()).collect(),
            used: vec![Used { resource: "core".into(), share: 0.62 }],
        };
        let reach = Reach { resolution: 1.2, ..REACH };
        let late = probe(100.0, false, &["0.180 % not served"]);
        let block = Block::of(0, reach, vec![probe(90.0, true, &[]), late.clone(), late]);
        assert_eq!(block.full, "nothing; nearest core 62.0 %; missed by 0.180 % not served");
    }

    #[test]
    fn a_block_is_told_by_the_trials_of_its_lower_end() {
        let probe = |rate, held, offered, expected, share| Probe {
            rate,
            load: load(expected, offered, 1),
            held,
            missed: Vec::new(),
            used: vec![Used { resource: "core".into(), share }],
        };
        let probes = vec![
            probe(90.0, true, 360, 360, 0.5),
            probe(100.0, true, 400, 400, 0.6),
            probe(104.0, false, 500, 480, 0.95),
            probe(100.0, true, 408, 408, 0.6),
        ];
        let block = Block::of(0, REACH, probes);
        assert_eq!(block.bracket, Bracket { low: Some(100.0), high: Some(104.0), confirmed: true });
        assert_eq!(
            (block.kept(), block.most(), block.full.as_str()),
            (Some(101.0), Some(120.0), "core 95.0 %")
        );
    }
}
