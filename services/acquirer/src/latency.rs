//! How long an answer takes, and whether it is an error: drawn by a hash of (seed, trace id, rpc), not by the order of
//! arrival, so that both twins' requests meet the same.

use std::f64::consts::TAU;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// No answer takes longer, whatever is drawn.
pub const LONGEST: Duration = Duration::from_secs(30);
/// The standard normal distribution's 99th percentile.
const Z99: f64 = 2.326_347_874_040_841;

/// A distribution of latencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Log-normal, by two of its percentiles.
    LogNormal {
        /// The median.
        p50: Duration,
        /// The 99th percentile.
        p99: Duration,
    },
}

impl Latency {
    /// Reads `fixed:2ms` or `lognormal:p50=20ms,p99=200ms`.
    pub fn parse(text: &str) -> Option<Latency> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "fixed" => Some(Latency::Fixed(parse_duration(rest)?)),
            "lognormal" => {
                let (p50, p99) = rest.strip_prefix("p50=")?.split_once(",p99=")?;
                let (p50, p99) = (parse_duration(p50)?, parse_duration(p99)?);
                (Duration::ZERO < p50 && p50 < p99).then_some(Latency::LogNormal { p50, p99 })
            }
            _ => None,
        }
    }
}

/// A whole number with `us`, `ms` or `s`, at most 30 s.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let duration = match unit {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        _ => return None,
    };
    (duration <= LONGEST).then_some(duration)
}

/// What was drawn for one call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// How long the answer takes.
    pub latency: Duration,
    /// Whether the first ask is answered UNAVAILABLE.
    pub fails: bool,
}

/// Draws for a call: `key` is the trace id, or the operation id where there is no trace.
pub fn draw(latency: Latency, error_rate: f64, seed: u64, key: &str, rpc: &str) -> Draw {
    // The separators keep (ab, c) and (a, bc) apart.
    let hash =
        Sha256::new().chain_update(seed.to_be_bytes()).chain_update(key).chain_update([0]).chain_update(rpc);
    let digest: [u8; 32] = hash.finalize().into();
    let latency = match latency {
        Latency::Fixed(latency) => latency,
        Latency::LogNormal { p50, p99 } => {
            let sigma = (p99.as_secs_f64() / p50.as_secs_f64()).ln() / Z99;
            let seconds = p50.as_secs_f64() * (sigma * normal(share(&digest, 0), share(&digest, 8))).exp();
            Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64()))
        }
    };
    Draw { latency, fails: share(&digest, 16) < error_rate }
}

/// Eight bytes of the digest as a number in [0, 1).
fn share(digest: &[u8; 32], from: usize) -> f64 {
    let bits = digest[from..from + 8].iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    // The upper 53 bits are what a double holds exactly.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// A standard normal number out of two uniform ones (Box and Muller).
fn normal(one: f64, two: f64) -> f64 {
    (-2.0 * (1.0 - one).ln()).sqrt() * (TAU * two).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Latency =
        Latency::LogNormal { p50: Duration::from_millis(20), p99: Duration::from_millis(200) };

    #[test]
    fn texts_are_read_strictly() {
        assert_eq!(Latency::parse("fixed:2ms"), Some(Latency::Fixed(Duration::from_millis(2))));
        assert_eq!(Latency::parse("fixed:0ms"), Some(Latency::Fixed(Duration::ZERO)));
        assert_eq!(Latency::parse("fixed:150us"), Some(Latency::Fixed(Duration::from_micros(150))));
        assert_eq!(Latency::parse("lognormal:p50=20ms,p99=200ms"), Some(SLOW));
        for bad in [
            "",
            "fixed",
            "fixed:",
            "fixed:2",
            "fixed:-2ms",
            "fixed:2 ms",
            "fixed:31s",
            "fixed:1.5ms",
            "uniform:1ms",
            "lognormal:p50=20ms",
            "lognormal:p50=200ms,p99=20ms",
            "lognormal:p50=0ms,p99=20ms",
        ] {
            assert_eq!(Latency::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_same_trace_meets_the_same_latency_and_another_seed_another() {
        let key = "0af7651916cd43dd8448eb211c80319c";
        let one = draw(SLOW, 0.5, 7, key, "Sale");
        assert_eq!(one, draw(SLOW, 0.5, 7, key, "Sale"));
        assert_ne!(one.latency, draw(SLOW, 0.5, 8, key, "Sale").latency);
        assert_ne!(one.latency, draw(SLOW, 0.5, 7, key, "Capture").latency);
        assert_ne!(one.latency, draw(SLOW, 0.5, 7, "another", "Sale").latency);
    }

    #[test]
    fn draws_have_the_wanted_percentiles_and_error_share() {
        let draws: Vec<Draw> = (0..20_000).map(|i| draw(SLOW, 0.1, 1, &i.to_string(), "Sale")).collect();
        let mut latencies: Vec<Duration> = draws.iter().map(|draw| draw.latency).collect();
        latencies.sort();
        let (p50, p99) = (latencies[10_000].as_millis(), latencies[19_800].as_millis());
        assert!((19..=21).contains(&p50), "p50 is {p50} ms");
        assert!((180..=220).contains(&p99), "p99 is {p99} ms");
        let errors = draws.iter().filter(|draw| draw.fails).count();
        assert!((1_850..=2_150).contains(&errors), "{errors} errors");
    }

    #[test]
    fn a_rate_of_zero_never_fails_and_a_rate_of_one_always() {
        for i in 0..1_000 {
            assert!(!draw(SLOW, 0.0, 1, &i.to_string(), "Sale").fails);
            assert!(draw(SLOW, 1.0, 1, &i.to_string(), "Sale").fails);
        }
    }
}
