//! Seeded draws that give the same values on every machine, release and library version.
//!
//! ChaCha20 is a written-down algorithm; what turns its words into numbers stands here rather than in a library whose
//! next version may round differently, and the logarithm is software (libm), not the platform's.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// A stream of draws for one purpose of one seed.
pub struct Draw(ChaCha20Rng);

impl Draw {
    /// The stream of `seed` for `purpose`; streams of different purposes don't overlap.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"twinpay draw 1\0");
        hash.update(seed.to_le_bytes());
        hash.update(purpose.as_bytes());
        Self(ChaCha20Rng::from_seed(hash.finalize().into()))
    }

    /// A whole number from 0 up to, not including, `bound` (at least 1).
    pub fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0);
        // The high half of a 128-bit product; its bias is below 2^-40 for every bound used here.
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The gap to the next arrival of a Poisson process of `rate` a second, in seconds.
    pub fn exponential(&mut self, rate: f64) -> f64 {
        -libm::log(1.0 - self.unit()) / rate
    }

    /// True in half of the draws.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_purpose_draw_the_same_numbers() {
        let take = |seed, purpose| {
            (0..8).map(|_| 0).scan(Draw::new(seed, purpose), |d, _| Some(d.below(1000))).collect::<Vec<_>>()
        };
        assert_eq!(take(7, "a"), take(7, "a"));
        assert_ne!(take(7, "a"), take(7, "b"));
        assert_ne!(take(7, "a"), take(8, "a"));
    }

    #[test]
    fn exponential_gaps_have_the_mean_of_their_rate() {
        let mut draw = Draw::new(1, "gaps");
        let mean = (0..100_000).map(|_| draw.exponential(50.0)).sum::<f64>() / 100_000.0;
        assert!((mean - 0.02).abs() < 0.0005, "mean gap {mean}");
    }
}
