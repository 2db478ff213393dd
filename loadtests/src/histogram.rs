//! Latency histograms: recorded by hdrhistogram in µs, kept as its V2 bytes, merged exactly.

use std::io::Cursor;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

/// The longest time told apart from longer ones, in µs.
const LONGEST_US: u64 = 120_000_000;
/// Three digits: steps of at most 0.1 %.
const DIGITS: u8 = 3;

/// A histogram being recorded.
pub type Recorder = Histogram<u32>;

/// An empty recorder; it grows with what it sees.
pub fn recorder() -> Recorder {
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_US, DIGITS)
        .or_else(|_| Histogram::new(DIGITS))
        .unwrap_or_else(|_| unreachable!("three digits are always allowed"));
    histogram.auto(false);
    histogram
}

/// Records a time in ns, rounded to µs, at most the longest.
pub fn record_ns(recorder: &mut Recorder, ns: u64) {
    recorder.saturating_record((ns + 500) / 1000);
}

/// The V2 (deflated) bytes in base64: what any HdrHistogram reads.
pub fn encode(recorder: &Recorder) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(recorder, &mut bytes)
        .map_err(|error| anyhow::anyhow!("histogram: {error:?}"))?;
    Ok(STANDARD.encode(bytes))
}

/// Back from `encode`.
pub fn decode(text: &str) -> anyhow::Result<Recorder> {
    let bytes = STANDARD.decode(text).context("histogram: not base64")?;
    Deserializer::new()
        .deserialize(&mut Cursor::new(bytes))
        .map_err(|error| anyhow::anyhow!("histogram: {error:?}"))
}

/// The counted values of a histogram in ascending order: what merging and percentiles need, without the empty buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse(pub Vec<(u64, u64)>);

impl Sparse {
    /// The non-empty buckets, each by its highest value, as HdrHistogram's own percentiles are.
    pub fn of(recorder: &Recorder) -> Self {
        let bucket = |value: hdrhistogram::iterators::IterationValue<u32>| {
            (recorder.highest_equivalent(value.value_iterated_to()), u64::from(value.count_at_value()))
        };
        Self(recorder.iter_recorded().map(bucket).collect())
    }

    /// As it was before [`Sparse::of`].
    pub fn recorder(&self) -> Recorder {
        let mut recorder = recorder();
        for (value, count) in &self.0 {
            recorder.saturating_record_n(*value, u32::try_from(*count).unwrap_or(u32::MAX));
        }
        recorder
    }

    /// All of them as one.
    pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Sparse>) -> Self {
        let mut all: Vec<(u64, u64)> = parts.into_iter().flat_map(|part| part.0.iter().copied()).collect();
        all.sort_unstable();
        all.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        Self(all)
    }

    /// All of them together, in µs.
    pub fn sum(&self) -> f64 {
        self.0.iter().map(|(value, count)| *value as f64 * *count as f64).sum()
    }

    /// The least one.
    pub fn least(&self) -> Option<u64> {
        self.0.first().map(|(value, _)| *value)
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The value that `percentile` per cent of the values don't exceed, in µs; nothing where there are no values.
    pub fn percentile(&self, percentile: f64) -> Option<u64> {
        let rank = rank(self.count(), percentile);
        let mut seen = 0;
        self.0.iter().find_map(|(value, count)| {
            seen += count;
            (seen >= rank).then_some(*value)
        })
    }
}

/// The rank (from 1) of a percentile among `count` values.
pub fn rank(count: u64, percentile: f64) -> u64 {
    // Without the margin 99 % of 100 is the 100th for want of an exact 0.99.
    ((count as f64 * percentile / 100.0 - 1e-9).ceil() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(values: impl IntoIterator<Item = u64>) -> Recorder {
        let mut recorder = recorder();
        values.into_iter().for_each(|us| record_ns(&mut recorder, us * 1000));
        recorder
    }

    #[test]
    fn encoding_keeps_every_count() {
        let histogram = filled((1..5000).map(|i| i * 37 % 90_000));
        assert_eq!(decode(&encode(&histogram).unwrap()).unwrap(), histogram);
    }

    #[test]
    fn sparse_percentiles_are_those_of_the_library() {
        let histogram = filled((1..5000).map(|i| i * i % 70_001));
        let sparse = Sparse::of(&histogram);
        for percentile in [1.0, 50.0, 90.0, 99.0, 99.9, 100.0] {
            assert_eq!(
                sparse.percentile(percentile),
                Some(histogram.value_at_percentile(percentile)),
                "p{percentile}"
            );
        }
    }

    #[test]
    fn nothing_is_lost_between_sparse_and_recorder() {
        let histogram = filled((1..5000).map(|i| i * i % 70_001).chain([400_000_000]));
        assert_eq!(Sparse::of(&histogram).recorder(), histogram);
    }

    #[test]
    fn merging_slices_is_recording_them_together() {
        let (a, b) = (filled([5, 5, 9, 3000]), filled([5, 7, 3000, 80_000]));
        let merged = Sparse::merge([&Sparse::of(&a), &Sparse::of(&b)]);
        assert_eq!(merged, Sparse::of(&filled([5, 5, 9, 3000, 5, 7, 3000, 80_000])));
        assert_eq!(merged.count(), 8);
    }

    #[test]
    fn no_values_have_no_percentile() {
        assert_eq!(Sparse::default().percentile(50.0), None);
    }
}
