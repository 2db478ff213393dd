//! Cuts one long run of two equal servers into many short ones that share no slice, and counts whose interval holds 1.

use super::{Coverage, Covered, RESAMPLES};
use crate::draw::Draw;
use crate::spread::Spread;
use crate::stats::{Bootstrap, Pair, Quantity, rounded};

/// What is looked at; a short run can't tell a high percentile.
const QUANTITIES: [(&str, Quantity); 4] = [
    ("p50", Quantity::Percentile(50.0)),
    ("p90", Quantity::Percentile(90.0)),
    ("p99", Quantity::Percentile(99.0)),
    ("cpu", Quantity::CpuPerReply),
];
/// Half-widths that are as good as one another: they are measured, too.
const NEAR: f64 = 1.1;

/// Counts, for runs of `run_pairs` pairs drawn from all of them without putting any back.
pub fn cover(pairs: &[Pair], slice_ms: u64, run_pairs: usize, seed: u64) -> Coverage {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    let mut draw = Draw::new(seed, "disjoint");
    for index in (1..order.len()).rev() {
        order.swap(index, draw.below(index as u64 + 1) as usize);
    }
    let run = |(number, indexes): (usize, &[usize])| {
        let run = indexes.iter().map(|index| pairs[*index].clone()).collect();
        Bootstrap::new(run, RESAMPLES, seed.wrapping_add(number as u64))
    };
    let runs: Vec<Bootstrap> = order.chunks_exact(run_pairs.max(1)).enumerate().map(run).collect();
    let seconds = run_pairs as f64 * slice_ms as f64 / 1e3;
    let covered = |(name, quantity): (&str, Quantity)| {
        let intervals: Vec<_> = runs.iter().filter_map(|run| run.compare(quantity)?.ratio.interval).collect();
        let widths: Vec<f64> = intervals.iter().map(|interval| interval.half_width()).collect();
        Some(Covered {
            name: name.into(),
            runs: intervals.len(),
            held: intervals.iter().filter(|interval| !interval.excludes_one()).count(),
            // An interval narrows with the root of what it is made of.
            half_width_of_a_minute: rounded(Spread::of(&widths)?.median * (seconds / 60.0).sqrt()),
        })
    };
    let quantities = QUANTITIES.into_iter().filter_map(covered).collect();
    Coverage { slice_ms, pairs: run_pairs, quantities }
}

/// Of the slice lengths that cover well enough the shortest one whose intervals are about as narrow as any's.
pub fn choose(coverage: &[Coverage]) -> Option<u64> {
    let covers =
        |found: &&Coverage| !found.quantities.is_empty() && found.quantities.iter().all(Covered::enough);
    let good: Vec<&Coverage> = coverage.iter().filter(covers).collect();
    // A longer slice may tell a quantity that a shorter one can't: only what all tell is compared.
    let told = |name: &str| good.iter().all(|found| width(found, name).is_some());
    let least = |name: &str| good.iter().filter_map(|found| width(found, name)).min_by(f64::total_cmp);
    let excess = |found: &Coverage| {
        let names = found.quantities.iter().map(|quantity| quantity.name.as_str()).filter(|name| told(name));
        names.filter_map(|name| Some(width(found, name)? / least(name)?)).fold(1.0, f64::max)
    };
    let best = good.iter().map(|found| excess(found)).min_by(f64::total_cmp)?;
    let near = good.iter().filter(|found| excess(found) <= best * NEAR);
    near.map(|found| found.slice_ms).min()
}

fn width(coverage: &Coverage, name: &str) -> Option<f64> {
    let found = coverage.quantities.iter().find(|quantity| quantity.name == name)?;
    Some(found.half_width_of_a_minute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Sparse, record_ns, recorder};
    use crate::stats::Sample;

    /// Two servers whose mean costs are as given, in slices of a common mood.
    fn pairs(means_us: [f64; 2], count: usize) -> Vec<Pair> {
        let mut draw = Draw::new(5, "pairs");
        let mut pair = || {
            let mood = 0.9 + 0.2 * draw.unit();
            means_us.map(|mean| {
                let (mut histogram, mut cpu_ns) = (recorder(), 0);
                for _ in 0..30 {
                    let ns = (mean * mood * (0.5 + draw.exponential(2.0)) * 1e3) as u64;
                    cpu_ns += ns;
                    record_ns(&mut histogram, ns);
                }
                let latency = Sparse::of(&histogram);
                Sample {
                    latency,
                    replies: 30,
                    cpu_ns,
                    answering_ns: 1,
                    idle_cpu_ns: 1,
                    idle_ns: 1,
                    rss_bytes: 1,
                }
            })
        };
        (0..count).map(|_| pair()).collect()
    }

    fn counts(found: &Coverage, name: &str) -> (usize, usize) {
        let quantity = found.quantities.iter().find(|quantity| quantity.name == name).unwrap();
        (quantity.runs, quantity.held)
    }

    #[test]
    fn equal_servers_are_covered_and_unequal_ones_are_not() {
        let equal = cover(&pairs([400.0, 400.0], 485), 100, 12, 1);
        for name in ["p50", "p90", "cpu"] {
            let (runs, held) = counts(&equal, name);
            assert!(runs == 40 && held >= 35, "{name}: {held} of {runs}");
        }
        assert!(equal.quantities.iter().all(|quantity| quantity.name != "p99"), "too few requests for it");
        let unequal = cover(&pairs([400.0, 600.0], 60), 100, 12, 1);
        assert_eq!(counts(&unequal, "cpu"), (5, 0));
        assert!(!unequal.quantities.iter().any(Covered::enough));
    }

    #[test]
    fn a_half_width_is_that_of_a_minute_of_load() {
        let of = |slice_ms| {
            cover(&pairs([400.0, 400.0], 36), slice_ms, 12, 1).quantities[0].half_width_of_a_minute
        };
        assert!((of(400) / of(100) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn the_shortest_of_the_narrow_ones_that_cover_is_chosen() {
        let coverage = |slice_ms, held, width| Coverage {
            slice_ms,
            pairs: 12,
            quantities: vec![Covered { name: "p50".into(), runs: 100, held, half_width_of_a_minute: width }],
        };
        assert_eq!(
            choose(&[coverage(100, 92, 0.01), coverage(250, 93, 0.03), coverage(500, 97, 0.029)]),
            Some(250)
        );
        assert_eq!(choose(&[coverage(100, 95, 0.05), coverage(250, 93, 0.03)]), Some(250));
        assert_eq!(choose(&[coverage(100, 92, 0.01)]), None);
        assert_eq!(choose(&[]), None);
    }
}
