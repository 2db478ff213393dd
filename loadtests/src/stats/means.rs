//! Differences of means, for times that sum to a whole: ratios don't.

use super::resample::{Interval, draw_resamples, interval_of};
use super::{PAIRS_MIN, rounded};

/// A sum over so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summed {
    /// Of all; as many of the longest times as can be don't exceed it.
    pub sum: u128,
    /// How many.
    pub count: u64,
}

/// The second contender's mean less the first's, by the same resamples of blocks as ratios are.
pub struct Means {
    /// Weights of each contender's blocks.
    resamples: Vec<[Vec<u64>; 2]>,
}

impl Means {
    /// For so many blocks.
    pub fn new(blocks: usize, resamples: usize, seed: u64) -> Self {
        let drawn = drawn(blocks, resamples, seed);
        Self { resamples: drawn.map(|weights| [weights.clone(), weights]).collect() }
    }

    /// For blocks that the contenders don't share: each one's are drawn by themselves.
    pub fn apart(blocks: usize, resamples: usize, seed: u64) -> Self {
        let others = drawn(blocks, resamples, seed.wrapping_add(1));
        Self { resamples: drawn(blocks, resamples, seed).zip(others).map(<[_; 2]>::from).collect() }
    }

    /// The difference, and its interval where there are blocks enough; nothing where a contender has nothing.
    pub fn difference(&self, blocks: &[[Summed; 2]]) -> Option<(f64, Option<Interval>)> {
        let sides = [0, 1].map(|side| {
            let of = |block: &[Summed; 2]| (block[side].sum as f64, block[side].count);
            blocks.iter().map(of).collect::<Vec<_>>()
        });
        let of = |weights: [&[u64]; 2]| {
            let [first, second] = [0, 1].map(|side| {
                let add = |(sum, count), ((more, others), weight): (&(f64, u64), &u64)| {
                    (sum + *weight as f64 * more, count + weight * others)
                };
                let (sum, count) = sides[side].iter().zip(weights[side]).fold((0.0, 0), add);
                sum / count as f64
            });
            second - first
        };
        let all = of([&vec![1; blocks.len()]; 2]);
        let resampled: Vec<_> =
            self.resamples.iter().map(|weights| of(weights.each_ref().map(Vec::as_slice))).collect();
        let interval = if resampled.is_empty() { None } else { interval_of(resampled, blocks.len()) };
        all.is_finite().then(|| (rounded(all), interval))
    }
}

fn drawn(blocks: usize, resamples: usize, seed: u64) -> impl Iterator<Item = Vec<u64>> {
    draw_resamples(blocks, if blocks >= PAIRS_MIN { resamples } else { 0 }, seed).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    #[test]
    fn a_difference_of_means_is_covered_in_93_of_100_runs_and_told_where_it_is() {
        const RUNS: u64 = 400;
        let (mut covered, mut told) = (0, 0);
        for seed in 0..RUNS {
            let mut draw = Draw::new(seed, "means");
            let mut block = || {
                let mood = 1.0 + draw.unit();
                [1000.0, 1100.0].map(|mean| {
                    let sum = (0..30).map(|_| (mean * mood + 200.0 * draw.exponential(1.0)) as u128).sum();
                    Summed { sum, count: 30 }
                })
            };
            let blocks: Vec<_> = (0..24).map(|_| block()).collect();
            let (_, interval) = Means::new(24, 400, seed).difference(&blocks).unwrap();
            let interval = interval.unwrap();
            // The moods are 1.5 in the mean.
            covered += u64::from(interval.low <= 150.0 && 150.0 <= interval.high);
            told += u64::from(interval.low > 0.0);
        }
        assert!(covered * 100 >= 93 * RUNS && told == RUNS, "{covered} and {told} of {RUNS}");
    }

    #[test]
    fn blocks_that_share_no_mood_are_drawn_apart_and_covered_as_often() {
        const RUNS: u64 = 400;
        let (mut covered, mut of_pairs) = (0, 0);
        for seed in 0..RUNS {
            let mut draw = Draw::new(seed, "apart");
            let mut side = |mean: f64| -> Vec<_> {
                let mut block = || Summed { sum: (30.0 * mean * (1.0 + draw.unit())) as u128, count: 30 };
                (0..24).map(|_| block()).collect()
            };
            let (mut ones, mut others) = (side(1000.0), side(1100.0));
            // The worst that chance could do to pairs: both sides in order.
            ones.sort_unstable_by_key(|block| block.sum);
            others.sort_unstable_by_key(|block| block.sum);
            let blocks: Vec<_> = ones.into_iter().zip(others).map(<[_; 2]>::from).collect();
            let holds = |means: Means| {
                let interval = means.difference(&blocks).unwrap().1.unwrap();
                u64::from(interval.low <= 150.0 && 150.0 <= interval.high)
            };
            covered += holds(Means::apart(24, 400, seed));
            of_pairs += holds(Means::new(24, 400, seed));
        }
        assert!(covered * 100 >= 93 * RUNS && of_pairs * 2 < RUNS, "{covered} and {of_pairs} of {RUNS}");
    }

    #[test]
    fn a_difference_of_means_needs_both_and_an_interval_ten_blocks() {
        let block = [Summed { sum: 10, count: 2 }, Summed { sum: 14, count: 2 }];
        let of = |blocks: usize| Means::new(blocks, 100, 1).difference(&vec![block; blocks]);
        assert_eq!(of(9), Some((2.0, None)));
        assert_eq!(of(10), Some((2.0, Some(Interval { low: 2.0, high: 2.0 }))));
        assert_eq!(Means::new(1, 100, 1).difference(&[[Summed::default(), block[1]]]), None);
    }
}
