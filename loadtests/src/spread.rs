//! Figures that were measured some times over, and how they drift: for what isn't played in pairs.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::{Data, Max, Min, OrderStatistics};

use crate::stats::{Interval, Ratio, rounded};

/// Blocks that a series is cut into for its slope. Neighbouring samples of memory are alike, so an interval over samples
/// would be far too narrow; means over blocks of a series are nearly independent.
const BLOCKS: usize = 20;

/// Repetitions of each that an interval of their ratio is made of at least.
const REPETITIONS_MIN: usize = 3;

/// Repetitions of one measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Each, in the order in which they were measured.
    pub values: Vec<f64>,
    /// The middle one.
    pub median: f64,
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

impl Spread {
    /// Of values; nothing of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let values: Vec<f64> = values.iter().copied().map(rounded).collect();
        let mut data = Data::new(values.clone());
        Some(Self { median: rounded(data.median()), low: data.min(), high: data.max(), values })
    }
}

impl Spread {
    /// This by another one's, where all repetitions are independent, such as starts: by the means of logarithms. With so
    /// few, Welch's degrees of freedom are too many where one varies far more: those of the shorter list are safe.
    pub fn ratio_to(&self, other: &Self) -> Ratio {
        if let Some(nothing) = self.by_nothing(other) {
            return nothing;
        }
        let ((own, own_error), (its, its_error)) = (logarithm(&self.values), logarithm(&other.values));
        let least = self.values.len().min(other.values.len());
        ratio(own - its, f64::hypot(own_error, its_error), least)
    }

    /// The same where both were measured in the same turns, one after the other, so that a machine's mood is in both: by
    /// the mean of each turn's ratio. With unlike numbers of turns they can't have been, and are taken as independent.
    pub fn paired_ratio_to(&self, other: &Self) -> Ratio {
        if self.values.len() != other.values.len() {
            return self.ratio_to(other);
        }
        self.by_nothing(other).unwrap_or_else(|| {
            let each = self.values.iter().zip(&other.values).map(|(own, its)| own / its);
            let (change, error) = logarithm(&each.collect::<Vec<_>>());
            ratio(change, error, self.values.len())
        })
    }

    fn by_nothing(&self, other: &Self) -> Option<Ratio> {
        let nothing = self.values.iter().chain(&other.values).any(|value| *value <= 0.0);
        nothing.then(|| Ratio {
            estimate: None,
            interval: None,
            no_interval: Some("no ratio with nothing".into()),
        })
    }
}

/// Of the logarithm of a ratio and its standard error, which is of so many repetitions.
fn ratio(change: f64, error: f64, repetitions: usize) -> Ratio {
    let estimate = Some(rounded(change.exp()));
    let student = StudentsT::new(0.0, 1.0, repetitions as f64 - 1.0).ok();
    let Some(student) = student.filter(|_| repetitions >= REPETITIONS_MIN) else {
        return Ratio {
            estimate,
            interval: None,
            no_interval: Some("too few repetitions for an interval".into()),
        };
    };
    let reach = student.inverse_cdf(0.975) * error;
    let interval = Interval { low: rounded((change - reach).exp()), high: rounded((change + reach).exp()) };
    Ratio { estimate, interval: Some(interval), no_interval: None }
}

/// The mean of the logarithms of values over 0, and its standard error.
fn logarithm(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|value| value.ln()).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value.ln() - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

/// How a series rises with x.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// In units of y for one of x.
    pub estimate: f64,
    /// Of 95 %.
    pub interval: Interval,
}

impl Slope {
    /// Whether no slope at all would explain the series as well.
    pub fn is_flat(&self) -> bool {
        self.interval.low <= 0.0 && self.interval.high >= 0.0
    }
}

/// The slope of a series of `(x, y)` in order of x, by least squares through the means of blocks; nothing where the
/// series has less than two samples a block.
pub fn slope(series: &[(f64, f64)]) -> Option<Slope> {
    if series.len() < 2 * BLOCKS {
        return None;
    }
    let means: Vec<(f64, f64)> = (0..BLOCKS)
        .map(|block| {
            let part = &series[block * series.len() / BLOCKS..(block + 1) * series.len() / BLOCKS];
            mean(part)
        })
        .collect();
    let (mean_x, mean_y) = mean(&means);
    let sum =
        |of: &dyn Fn(f64, f64) -> f64| means.iter().map(|(x, y)| of(x - mean_x, y - mean_y)).sum::<f64>();
    let spread_x = sum(&|x, _| x * x);
    let estimate = sum(&|x, y| x * y) / spread_x;
    let residuals = sum(&|x, y| (y - estimate * x).powi(2));
    let freedom = BLOCKS as f64 - 2.0;
    let error = (residuals / freedom / spread_x).sqrt();
    let reach = error * StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975);
    let interval = Interval { low: rounded(estimate - reach), high: rounded(estimate + reach) };
    estimate.is_finite().then_some(Slope { estimate: rounded(estimate), interval })
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (sum.0 / count, sum.1 / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        let spread = Spread::of(&[4.0, 1.0, 10.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.low, spread.high), (3.0, 1.0, 10.0));
        assert_eq!(spread.values, [4.0, 1.0, 10.0, 2.0]);
        assert!(Spread::of(&[]).is_none());
    }

    fn normal(draw: &mut Draw) -> f64 {
        (0..12).map(|_| draw.unit()).sum::<f64>() - 6.0
    }

    #[test]
    fn a_known_ratio_of_repetitions_lies_in_at_least_93_of_100_intervals() {
        let mut draw = Draw::new(1, "repetitions");
        let mut values = |middle: f64, spread: f64, count: usize| {
            let values: Vec<f64> = (0..count).map(|_| middle * (spread * normal(&mut draw)).exp()).collect();
            Spread::of(&values).unwrap()
        };
        for (count, other) in [(3, 3), (3, 20), (20, 20)] {
            let mut held = || {
                let ratio = values(40.0, 0.02, count).ratio_to(&values(100.0, 0.10, other));
                ratio.interval.is_some_and(|found| found.low <= 0.4 && 0.4 <= found.high)
            };
            let held = (0..1000).filter(|_| held()).count();
            assert!(held >= 930, "{held} of 1000 with {count} and {other}");
        }
    }

    #[test]
    fn turns_that_share_a_mood_are_held_against_each_other_turn_by_turn() {
        let mut draw = Draw::new(1, "turns");
        let mut turns = || {
            let turn = |_| {
                let mood = 0.3 * normal(&mut draw);
                [40.0_f64, 100.0].map(|middle| middle * (mood + 0.02 * normal(&mut draw)).exp())
            };
            let turns: Vec<[f64; 2]> = (0..5).map(turn).collect();
            [0, 1].map(|side| Spread::of(&turns.iter().map(|turn| turn[side]).collect::<Vec<_>>()).unwrap())
        };
        let (mut held, mut narrower) = (0, 0);
        for _ in 0..1000 {
            let [own, its] = turns();
            let [paired, apart] =
                [own.paired_ratio_to(&its), own.ratio_to(&its)].map(|one| one.interval.unwrap());
            held += usize::from(paired.low <= 0.4 && 0.4 <= paired.high);
            narrower += usize::from(paired.half_width() < apart.half_width() / 3.0);
        }
        assert!(held >= 930 && narrower >= 950, "{held} held and {narrower} far narrower of 1000");
    }

    #[test]
    fn a_ratio_of_few_or_of_nothing_has_no_interval() {
        let of = |values: &[f64]| Spread::of(values).unwrap();
        let few = of(&[10.0, 10.0]).ratio_to(&of(&[20.0, 20.0, 20.0]));
        assert_eq!((few.estimate, few.interval), (Some(0.5), None));
        assert_eq!(of(&[-1.0, 2.0, 3.0]).ratio_to(&of(&[1.0; 3])).estimate, None);
        let even = of(&[10.0; 3]).ratio_to(&of(&[20.0; 3]));
        assert_eq!(even.interval, Some(Interval { low: 0.5, high: 0.5 }));
        let few = of(&[10.0, 30.0]).paired_ratio_to(&of(&[20.0, 60.0]));
        assert_eq!((few.estimate, few.interval), (Some(0.5), None));
        assert_eq!(of(&[1.0; 3]).paired_ratio_to(&of(&[0.0, 1.0, 2.0])).estimate, None);
        let [three, four] = [of(&[10.0, 11.0, 12.0]), of(&[20.0; 4])];
        assert_eq!(three.paired_ratio_to(&four), three.ratio_to(&four));
    }

    /// A walk that returns to its middle: neighbours are alike.
    fn series(seed: u64, slope: f64) -> Vec<(f64, f64)> {
        let mut draw = Draw::new(seed, "series");
        let mut wander = 0.0;
        let mut point = |x: usize| {
            wander = 0.8 * wander + draw.unit() - 0.5;
            (x as f64, 100.0 + slope * x as f64 + wander)
        };
        (0..600).map(&mut point).collect()
    }

    #[test]
    fn a_known_slope_lies_in_its_interval_and_a_flat_series_is_flat() {
        let held = |wanted: f64| {
            let found = (0..100).filter_map(|seed| slope(&series(seed, wanted)));
            found.filter(|slope| slope.interval.low <= wanted && wanted <= slope.interval.high).count()
        };
        // 95 of 100 are wanted; of 100 draws with the right coverage fewer than 88 are seen in one of 400.
        assert!(held(0.0) >= 88 && held(0.01) >= 88, "{} {}", held(0.0), held(0.01));
        assert!(!slope(&series(1, 0.05)).unwrap().is_flat());
    }

    #[test]
    fn a_straight_line_has_its_slope_and_a_short_series_none() {
        let line: Vec<_> = (0..40).map(|x| (f64::from(x), 3.0 * f64::from(x))).collect();
        assert!((slope(&line).unwrap().estimate - 3.0).abs() < 1e-9);
        assert!(slope(&line[..39]).is_none());
    }
}
