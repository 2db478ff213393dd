//! Ratios of two contenders with their 95 % intervals, by a bootstrap over pairs of slices.
//!
//! The pair is the block: requests within a slice share a queue, a garbage collection and a neighbour's burst, so they
//! are not independent and are never resampled one by one. Within a resample the histograms of its slices are merged,
//! bucket by bucket; percentiles are never averaged.

mod means;
mod resample;

use std::rc::Rc;

pub use means::{Means, Summed};
pub use resample::Interval;

use crate::histogram::{Sparse, rank};
use resample::{draw_resamples, interval_of};

/// Values that must lie beyond a percentile before it is reported.
pub const SAMPLES_BEYOND: u64 = 20;

/// Percentiles from here on are about the tail, which needs values beyond.
const TAIL_FROM: f64 = 90.0;
/// Values that a median, or another percentile below the tail, is made of at least.
const SAMPLES_MIN: u64 = 100;

/// Pairs of which an interval is made at least: fewer give resamples that are too much alike to tell chance from a
/// difference.
pub const PAIRS_MIN: usize = 10;

/// Why memory and what is used while idle have no interval: two starts of one service differ by more than slices of one
/// start can show. Timers that fall together in one start and apart in another wake a process less or more often: of ten
/// comparisons of the Rust service with itself, intervals of its idle CPU over slices left out 1 in five.
const ONE_START: &str = "one start of each has no interval";

/// What one contender did in one slice.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Latencies from the due time.
    pub latency: Sparse,
    /// Replies read.
    pub replies: u64,
    /// CPU of the contender's process while the slice played.
    pub cpu_ns: u64,
    /// From the first to the last reply, or the slice's own length where that is longer.
    pub answering_ns: u64,
    /// CPU of the contender's process while the other's slice of the pair played.
    pub idle_cpu_ns: u64,
    /// The time that this is of.
    pub idle_ns: u64,
    /// Resident memory at its end.
    pub rss_bytes: u64,
}

/// One slice as both contenders played it.
pub type Pair = [Sample; 2];

/// The first contender's value by the second's.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ratio {
    /// From all pairs; unset where one of the two is nothing.
    pub estimate: Option<f64>,
    /// Unset where it can't be told; then nothing can be said about a difference.
    pub interval: Option<Interval>,
    /// Why there is no interval.
    pub no_interval: Option<String>,
}

impl Ratio {
    /// Whether it is told from 1.
    pub fn differs(&self) -> bool {
        self.interval.is_some_and(|interval| interval.excludes_one())
    }

    /// This ratio by another run's, with the interval of that: what it has changed by. From the two intervals, which must
    /// come from independent runs, by the MOVER of Zou and Donner (2008) on logarithms; nothing where either is missing.
    pub fn change_from(&self, earlier: &Self) -> Option<(f64, Interval)> {
        let (now, then) = (self.estimate?.ln(), earlier.estimate?.ln());
        let (own, its) = (self.interval?, earlier.interval?);
        let (change, below) = (now - then, f64::hypot(now - own.low.ln(), its.high.ln() - then));
        let above = f64::hypot(own.high.ln() - now, then - its.low.ln());
        let interval = Interval { low: (change - below).exp(), high: (change + above).exp() };
        interval.low.is_finite().then_some((change.exp(), interval))
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// A percentile of latency, in µs.
    Percentile(f64),
    /// Replies a second.
    Rate,
    /// CPU of the process a reply, in µs.
    CpuPerReply,
    /// CPU of the process while the other played, in ns a second.
    IdleCpu,
    /// Mean resident memory at the end of the slices, in bytes. Its ratio has no interval: what would have to be resampled
    /// are starts.
    Rss,
}

/// A quantity of both, and their ratio.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The first contender's, the second's.
    pub values: [f64; 2],
    /// First by second.
    pub ratio: Ratio,
}

/// All pairs, laid out so that a resample is a walk over counts.
pub struct Bootstrap {
    pairs: Vec<Pair>,
    /// The distinct latencies of all slices, ascending.
    values: Vec<u64>,
    /// For each pair and contender: indexes into `values`, and counts.
    buckets: Vec<[Vec<(usize, u64)>; 2]>,
    /// How many those are.
    counts: Vec<[u64; 2]>,
    resamples: Resamples,
}

/// Room for a walk over a resample's counts, the same for all resamples.
struct Walk {
    /// Percentiles with their places.
    ascending: Vec<(usize, f64)>,
    merged: Vec<u64>,
    /// At each percentile, of both.
    found: Vec<[f64; 2]>,
}

impl Walk {
    fn new(percentiles: &[f64]) -> Self {
        let mut ascending: Vec<_> = percentiles.iter().copied().enumerate().collect();
        ascending.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        Self { ascending, merged: Vec::new(), found: vec![[f64::NAN; 2]; percentiles.len()] }
    }
}

/// How often each pair is in each resample: the same for all that is resampled alike.
pub type Resamples = Rc<[Vec<u64>]>;

/// So many resamples of `pairs` pairs; the same seed draws the same ones.
pub fn resamples(pairs: usize, resamples: usize, seed: u64) -> Resamples {
    draw_resamples(pairs, resamples, seed).into()
}

impl Bootstrap {
    /// Prepares `resamples` resamples of `pairs`; the same seed draws the same ones.
    pub fn new(pairs: Vec<Pair>, resamples: usize, seed: u64) -> Self {
        let drawn = self::resamples(pairs.len(), resamples, seed);
        Self::of(pairs, drawn)
    }

    /// Of pairs whose resamples were drawn before.
    pub fn of(pairs: Vec<Pair>, resamples: Resamples) -> Self {
        let mut values: Vec<u64> =
            pairs.iter().flatten().flat_map(|s| s.latency.0.iter().map(|(value, _)| *value)).collect();
        values.sort_unstable();
        values.dedup();
        let index = |sample: &Sample| -> Vec<(usize, u64)> {
            let position = |(value, count): &(u64, u64)| Some((values.binary_search(value).ok()?, *count));
            sample.latency.0.iter().filter_map(position).collect()
        };
        let buckets = pairs.iter().map(|pair| [index(&pair[0]), index(&pair[1])]).collect();
        let counts = pairs.iter().map(|pair| pair.each_ref().map(|sample| sample.latency.count())).collect();
        Self { pairs, values, buckets, counts, resamples }
    }

    /// One quantity of both; nothing where it can't be said (too few samples, or nothing measured).
    pub fn compare(&self, quantity: Quantity) -> Option<Compared> {
        if self.pairs.is_empty() || !self.enough(quantity) {
            return None;
        }
        let once = vec![1; self.pairs.len()];
        let values = [self.value(quantity, &once, 0)?, self.value(quantity, &once, 1)?];
        let of = |weights: &Vec<u64>| {
            let both = self.value(quantity, weights, 0).zip(self.value(quantity, weights, 1));
            both.map_or(f64::NAN, |(first, second)| first / second)
        };
        let mut ratio = self.ratio(values, || self.resamples.iter().map(of).collect());
        if matches!(quantity, Quantity::IdleCpu | Quantity::Rss) && ratio.estimate.is_some() {
            (ratio.interval, ratio.no_interval) = (None, Some(ONE_START.into()));
        }
        Some(Compared { values, ratio })
    }

    /// Ratios at several percentiles: each as `compare` gives it, however few lie beyond, for about the price of one.
    pub fn percentiles(&self, percentiles: &[f64]) -> Vec<Ratio> {
        let mut walk = Walk::new(percentiles);
        let resampled: &[_] = if self.pairs.len() < PAIRS_MIN { &[] } else { &self.resamples };
        let mut ratios = vec![Vec::with_capacity(resampled.len()); percentiles.len()];
        for weights in resampled {
            self.walk(weights, &mut walk);
            ratios
                .iter_mut()
                .zip(&walk.found)
                .for_each(|(ratios, [first, second])| ratios.push(first / second));
        }
        self.walk(&vec![1; self.pairs.len()], &mut walk);
        walk.found.into_iter().zip(ratios).map(|(values, ratios)| self.ratio(values, || ratios)).collect()
    }

    fn ratio(&self, values: [f64; 2], resampled: impl FnOnce() -> Vec<f64>) -> Ratio {
        let estimate = values.iter().all(|value| *value > 0.0).then(|| rounded(values[0] / values[1]));
        let enough = estimate.is_some() && self.pairs.len() >= PAIRS_MIN;
        let interval = if enough { interval_of(resampled(), self.pairs.len()) } else { None };
        let no_interval = interval.is_none().then(|| match self.pairs.len() {
            few @ ..PAIRS_MIN => format!("too few pairs ({few}) for an interval"),
            _ => "no ratio with nothing".to_owned(),
        });
        Ratio { estimate, interval, no_interval }
    }

    /// How many pairs.
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Replies of each contender, those without a latency too.
    pub fn replies(&self) -> [u64; 2] {
        [0, 1].map(|contender| self.pairs.iter().map(|pair| pair[contender].replies).sum())
    }

    /// Requests of each contender.
    pub fn counts(&self) -> [u64; 2] {
        [0, 1].map(|contender| self.pairs.iter().map(|pair| pair[contender].latency.count()).sum())
    }

    /// Whether enough requests lie beyond a percentile, for both.
    fn enough(&self, quantity: Quantity) -> bool {
        let Quantity::Percentile(percentile) = quantity else { return true };
        let beyond = |count: u64| count.saturating_sub(rank(count, percentile));
        let enough = |count: u64| {
            if percentile >= TAIL_FROM { beyond(count) >= SAMPLES_BEYOND } else { count >= SAMPLES_MIN }
        };
        self.counts().into_iter().all(enough)
    }

    fn value(&self, quantity: Quantity, weights: &[u64], contender: usize) -> Option<f64> {
        let sum = |of: fn(&Sample) -> u64| -> f64 {
            weights
                .iter()
                .zip(&self.pairs)
                .map(|(weight, pair)| *weight as f64 * of(&pair[contender]) as f64)
                .sum()
        };
        let value = match quantity {
            Quantity::Percentile(percentile) => self.percentile(percentile, weights, contender)? as f64,
            Quantity::Rate => sum(|sample| sample.replies) / (sum(|sample| sample.answering_ns) / 1e9),
            Quantity::CpuPerReply => sum(|sample| sample.cpu_ns) / 1e3 / sum(|sample| sample.replies),
            // A process that used nothing in its own slices either wasn't looked at.
            Quantity::IdleCpu if sum(|sample| sample.cpu_ns) == 0.0 => return None,
            Quantity::IdleCpu => sum(|sample| sample.idle_cpu_ns) / (sum(|sample| sample.idle_ns) / 1e9),
            Quantity::Rss => sum(|sample| sample.rss_bytes) / weights.iter().sum::<u64>() as f64,
        };
        // A process may well use nothing while it is idle; of the rest, nothing is no answer.
        let least = if quantity == Quantity::IdleCpu { 0.0 } else { f64::MIN_POSITIVE };
        (value.is_finite() && value >= least).then_some(value)
    }

    fn merged(&self, weights: &[u64], contender: usize) -> Vec<u64> {
        let mut merged = Vec::new();
        self.merge(weights, contender, &mut merged);
        merged
    }

    fn merge(&self, weights: &[u64], contender: usize, merged: &mut Vec<u64>) {
        merged.clear();
        merged.resize(self.values.len(), 0);
        for (weight, buckets) in weights.iter().zip(&self.buckets).filter(|(weight, _)| **weight > 0) {
            buckets[contender].iter().for_each(|(index, count)| merged[*index] += weight * count);
        }
    }

    /// Percentiles of both, each as [`Self::at`] finds it; what there isn't is no number.
    fn walk(&self, weights: &[u64], walk: &mut Walk) {
        let Walk { ascending, merged, found } = walk;
        found.fill([f64::NAN; 2]);
        for contender in [0, 1] {
            self.merge(weights, contender, merged);
            let all =
                weights.iter().zip(&self.counts).map(|(weight, counts)| weight * counts[contender]).sum();
            let (mut seen, mut left) = (0, ascending.iter());
            let mut next = || left.next().map(|(index, percentile)| (*index, rank(all, *percentile)));
            let mut wanted = next();
            for (value, count) in self.values.iter().zip(merged.iter()) {
                seen += count;
                while let Some((index, _)) = wanted.filter(|(_, rank)| seen >= *rank) {
                    found[index][contender] = *value as f64;
                    wanted = next();
                }
            }
        }
    }

    fn percentile(&self, percentile: f64, weights: &[u64], contender: usize) -> Option<u64> {
        self.at(&self.merged(weights, contender), percentile)
    }

    fn at(&self, merged: &[u64], percentile: f64) -> Option<u64> {
        let rank = rank(merged.iter().sum(), percentile);
        let mut seen = 0;
        let index = merged.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        self.values.get(index).copied()
    }
}

/// Nine significant digits: more would be noise, and a reader of report.json gets back exactly what was written.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;
    use crate::histogram::{record_ns, recorder};

    /// Slices of exponential latencies; the mean of each pair wanders, as a machine's mood does.
    fn synthetic(seed: u64, means_us: [f64; 2], pairs: usize, requests: u64) -> Vec<Pair> {
        let mut draw = Draw::new(seed, "synthetic");
        let mut pair = || {
            let mood = 0.8 + 0.4 * draw.unit();
            means_us.map(|mean| {
                let mut histogram = recorder();
                let mut cpu_ns = 0;
                for _ in 0..requests {
                    let us = mean * mood * (0.5 + draw.exponential(2.0));
                    cpu_ns += (us * 500.0) as u64;
                    record_ns(&mut histogram, (us * 1000.0) as u64);
                }
                Sample {
                    latency: Sparse::of(&histogram),
                    replies: requests,
                    cpu_ns,
                    answering_ns: 1_000_000_000,
                    idle_cpu_ns: 4_000,
                    idle_ns: 2_000_000_000,
                    rss_bytes: mean as u64,
                }
            })
        };
        (0..pairs).map(|_| pair()).collect()
    }

    const ALL: [Quantity; 3] =
        [Quantity::Percentile(50.0), Quantity::Percentile(99.0), Quantity::CpuPerReply];

    #[test]
    fn a_known_ratio_is_found_and_told_from_one() {
        let bootstrap = Bootstrap::new(synthetic(1, [700.0, 1000.0], 30, 200), 500, 1);
        for quantity in ALL {
            let Ratio { estimate, interval, .. } = bootstrap.compare(quantity).unwrap().ratio;
            let found = interval.unwrap();
            assert!(found.low < 0.7 && 0.7 < found.high && found.excludes_one(), "{quantity:?}: {found:?}");
            let estimate = estimate.unwrap();
            assert!(found.low <= estimate && estimate <= found.high, "{quantity:?}: {found:?}");
        }
    }

    #[test]
    fn equal_contenders_are_seen_as_equal_in_93_of_100_runs() {
        const RUNS: u64 = 200;
        let quantities = [Quantity::Percentile(50.0), Quantity::CpuPerReply];
        let mut covered = [0; 2];
        for seed in 0..RUNS {
            let bootstrap = Bootstrap::new(synthetic(seed, [1000.0, 1000.0], 24, 40), 200, seed);
            for (covered, quantity) in covered.iter_mut().zip(quantities) {
                let ratio = bootstrap.compare(quantity).unwrap().ratio;
                *covered += u64::from(ratio.interval.is_some() && !ratio.differs());
            }
        }
        // 93 of 100 is asked; the seeds are fixed, so this is one draw from what 200 runs can show.
        assert!(covered.iter().all(|covered| covered * 100 >= 93 * RUNS), "{covered:?} of {RUNS}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let run = |seed| {
            Bootstrap::new(synthetic(3, [900.0, 1000.0], 12, 200), 200, seed)
                .compare(Quantity::CpuPerReply)
                .unwrap()
                .ratio
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }

    #[test]
    fn a_high_percentile_needs_samples_beyond_it() {
        let few = Bootstrap::new(synthetic(1, [700.0, 1000.0], 30, 200), 50, 1); // 6 000 requests: 6 beyond p99.9
        assert!(few.compare(Quantity::Percentile(99.9)).is_none());
        let many = Bootstrap::new(synthetic(1, [700.0, 1000.0], 110, 200), 50, 1); // 22 000: 22 beyond
        assert!(many.compare(Quantity::Percentile(99.9)).is_some());
        let of = |requests| Bootstrap::new(synthetic(1, [700.0, 1000.0], 10, requests), 50, 1);
        assert!(of(19).compare(Quantity::Percentile(90.0)).is_none()); // 190 requests: 19 beyond
        assert!(of(20).compare(Quantity::Percentile(90.0)).is_some());
        assert!(of(9).compare(Quantity::Percentile(50.0)).is_none());
        assert!(of(10).compare(Quantity::Percentile(50.0)).is_some());
    }

    #[test]
    fn fewer_than_ten_pairs_have_no_interval_and_say_why() {
        let of = |pairs| Bootstrap::new(synthetic(1, [700.0, 1000.0], pairs, 200), 200, 1);
        for quantity in [Quantity::Percentile(50.0), Quantity::Rate, Quantity::CpuPerReply] {
            let few = of(9).compare(quantity).unwrap();
            assert_eq!((few.ratio.interval, few.ratio.differs()), (None, false), "{quantity:?}");
            assert_eq!(few.ratio.no_interval.as_deref(), Some("too few pairs (9) for an interval"));
            let enough = of(10).compare(quantity).unwrap().ratio;
            assert!(enough.interval.is_some() && enough.no_interval.is_none(), "{quantity:?}");
        }
    }

    #[test]
    fn a_contender_that_uses_nothing_while_idle_is_told_without_a_ratio() {
        let mut pairs = synthetic(1, [700.0, 1000.0], 12, 20);
        let both = Bootstrap::new(pairs.clone(), 50, 1).compare(Quantity::IdleCpu).unwrap();
        assert_eq!((both.values, both.ratio.estimate), ([2000.0, 2000.0], Some(1.0)));
        pairs.iter_mut().for_each(|pair| pair[1].idle_cpu_ns = 0);
        let one = Bootstrap::new(pairs, 50, 1).compare(Quantity::IdleCpu).unwrap();
        assert_eq!((one.values, one.ratio.estimate, one.ratio.interval), ([2000.0, 0.0], None, None));
        assert_eq!(one.ratio.no_interval.as_deref(), Some("no ratio with nothing"));
    }

    #[test]
    fn where_a_resample_has_no_ratio_there_is_no_interval() {
        let mut pairs = synthetic(1, [700.0, 1000.0], 12, 20);
        pairs[1..].iter_mut().for_each(|pair| pair[1].cpu_ns = 0);
        let found = Bootstrap::new(pairs, 50, 1).compare(Quantity::CpuPerReply).unwrap();
        // About one resample of three leaves the first pair out.
        assert!(found.ratio.estimate.is_some() && found.ratio.interval.is_none(), "{:?}", found.ratio);
    }

    #[test]
    fn processes_that_were_not_looked_at_say_nothing_of_cpu_and_memory() {
        let mut pairs = synthetic(1, [700.0, 1000.0], 12, 20);
        for sample in pairs.iter_mut().flatten() {
            (sample.cpu_ns, sample.idle_cpu_ns, sample.rss_bytes) = (0, 0, 0);
        }
        let bootstrap = Bootstrap::new(pairs, 50, 1);
        for quantity in [Quantity::CpuPerReply, Quantity::IdleCpu, Quantity::Rss] {
            assert!(bootstrap.compare(quantity).is_none(), "{quantity:?}");
        }
        assert!(bootstrap.compare(Quantity::Rate).is_some());
    }

    #[test]
    fn what_a_start_decides_has_its_ratio_without_an_interval() {
        let bootstrap = Bootstrap::new(synthetic(1, [700.0, 1000.0], 12, 20), 50, 1);
        let found = bootstrap.compare(Quantity::Rss).unwrap();
        assert_eq!((found.values, found.ratio.estimate), ([700.0, 1000.0], Some(0.7)));
        for ratio in [found.ratio, bootstrap.compare(Quantity::IdleCpu).unwrap().ratio] {
            assert_eq!(ratio.interval, None);
            assert_eq!(ratio.no_interval.as_deref(), Some("one start of each has no interval"));
        }
    }

    #[test]
    fn ratios_along_a_curve_are_those_of_its_percentiles() {
        let bootstrap = Bootstrap::new(synthetic(4, [700.0, 1000.0], 12, 200), 300, 1);
        let percentiles = [50.0, 90.0, 99.0];
        let wanted = percentiles.map(|at| bootstrap.compare(Quantity::Percentile(at)).unwrap().ratio);
        assert_eq!(bootstrap.percentiles(&percentiles), wanted);
        let few = Bootstrap::new(synthetic(4, [700.0, 1000.0], 9, 200), 300, 1).percentiles(&percentiles);
        assert!(few.iter().all(|ratio| ratio.estimate.is_some() && ratio.interval.is_none()), "{few:?}");
    }

    #[test]
    fn the_change_between_two_runs_is_covered_in_93_of_100_and_seen_where_it_is() {
        let mut draw = Draw::new(1, "runs");
        // Each run's ratio wanders around the truth as its own interval says; the intervals are of different widths.
        let mut run = |truth: f64, spread: f64| {
            let normal: f64 = (0..12).map(|_| draw.unit()).sum::<f64>() - 6.0;
            let estimate = truth * (spread * normal).exp();
            let end = (1.96 * spread).exp();
            let interval = Some(Interval { low: estimate / end, high: estimate * end });
            Ratio { estimate: Some(estimate), interval, no_interval: None }
        };
        let mut told = |later: f64| {
            let differs = |_: &u32| run(later, 0.03).change_from(&run(0.8, 0.05)).unwrap().1.excludes_one();
            (0..1000).filter(differs).count()
        };
        let (same, other) = (told(0.8), told(1.2));
        assert!((20..=70).contains(&same), "{same} of 1000 equal runs are told apart");
        assert!(other >= 990, "only {other} of 1000 different runs are told apart");
        let none = Ratio { estimate: Some(1.0), interval: None, no_interval: None };
        assert_eq!(run(1.0, 0.1).change_from(&none), None);
    }

    #[test]
    fn nothing_played_says_nothing() {
        assert!(Bootstrap::new(Vec::new(), 10, 1).compare(Quantity::Rate).is_none());
        let empty = vec![[Sample::default(), Sample::default()]];
        assert!(Bootstrap::new(empty, 10, 1).compare(Quantity::Percentile(50.0)).is_none());
    }
}
