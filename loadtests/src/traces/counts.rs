//! How often times were seen, in the buckets of an HdrHistogram of two digits. That one has all of its buckets up to the longest
//! time, however few it counts; of an operation's places in each window of time most see a few requests alone.

use crate::histogram::Sparse;

/// Times with no more bits than this have a bucket each; of longer ones as many bits are told apart: steps of at most 1 %.
const BITS: u32 = 8;
/// Buckets of each length in bits.
const STEPS: u16 = 1 << (BITS - 1);

/// In room that grows with the buckets that were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(Vec<(u16, u32)>);

impl Counts {
    /// One more.
    pub fn add(&mut self, ns: u64) {
        let bucket = bucket(ns);
        match self.0.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(1),
            Err(at) => self.0.insert(at, (bucket, 1)),
        }
    }

    /// Each bucket by its longest time.
    pub fn sparse(&self) -> Sparse {
        Sparse(self.0.iter().map(|(bucket, count)| (longest(*bucket), u64::from(*count))).collect())
    }
}

fn bucket(ns: u64) -> u16 {
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(BITS);
    // 56 × 128 + 255 at most.
    shift as u16 * STEPS + (ns >> shift) as u16
}

fn longest(bucket: u16) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = u64::from(bucket - shift * STEPS);
    step << shift | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;
    use hdrhistogram::Histogram;

    #[test]
    fn times_are_told_apart_as_by_an_hdr_histogram_of_two_digits() {
        let mut draw = Draw::new(1, "counts");
        let edges = (0..62).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        let times: Vec<u64> = edges.chain((0..20_000).map(|_| (61.0 * draw.unit()).exp2() as u64)).collect();
        let mut counts = Counts::default();
        let mut wanted = Histogram::<u32>::new(2).unwrap();
        for ns in times {
            counts.add(ns);
            wanted.record(ns).unwrap();
        }
        assert!(counts.0.len() > 2000, "{}", counts.0.len());
        assert_eq!(counts.sparse(), Sparse::of(&wanted));
    }

    #[test]
    fn a_few_times_take_little_room_and_the_longest_have_some() {
        let mut counts = Counts::default();
        [u64::MAX, 0, 5, u64::MAX - 1].into_iter().for_each(|ns| counts.add(ns));
        assert_eq!(counts.sparse(), Sparse(vec![(0, 1), (5, 1), (u64::MAX, 2)]));
        assert!(counts.0.capacity() <= 4, "{}", counts.0.capacity());
        (0..u64::BITS).for_each(|bits| counts.add(1 << bits));
        assert_eq!(counts.sparse().count(), 68);
    }
}
