//! The only reader of the environment. What is wrong with a variable is said before a port is bound.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::latency::Latency;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `ACQUIRER_ADDR`: where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// `ACQUIRER_LATENCY`: how long an answer takes.
    pub latency: Latency,
    /// `ACQUIRER_SEED`: another seed draws other latencies and other errors.
    pub seed: u64,
    /// `ACQUIRER_ERROR_RATE`: the share of operations whose first ask is answered UNAVAILABLE before anything is decided.
    pub error_rate: f64,
    /// `ACQUIRER_LOG`: the file that keeps the operations over a restart; unset or empty: they are only in memory.
    pub log: Option<PathBuf>,
}

impl Config {
    /// Reads the environment. The error is one line that names the variable, what is wrong, and the bound.
    pub fn from_env() -> Result<Config, String> {
        Config::read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn read(get: impl Fn(&str) -> Option<String>) -> Result<Config, String> {
        let text = |name: &str, default: &str| get(name).unwrap_or_else(|| default.into());
        let wrong = |name: &str, value: &str, bound: &str| format!("{name} is {value:?}: it must be {bound}");

        let addr = text("ACQUIRER_ADDR", "127.0.0.1:9090");
        let latency = text("ACQUIRER_LATENCY", "fixed:2ms");
        let seed = text("ACQUIRER_SEED", "1");
        let error_rate = text("ACQUIRER_ERROR_RATE", "0");
        let log = text("ACQUIRER_LOG", "");
        Ok(Config {
            addr: addr
                .parse()
                .map_err(|_| wrong("ACQUIRER_ADDR", &addr, "an address such as 127.0.0.1:9090"))?,
            latency: Latency::parse(&latency).ok_or_else(|| {
                wrong(
                    "ACQUIRER_LATENCY",
                    &latency,
                    "fixed:2ms or lognormal:p50=20ms,p99=200ms, from 0 to 30s, p99 above p50",
                )
            })?,
            seed: seed
                .parse()
                .map_err(|_| wrong("ACQUIRER_SEED", &seed, "an integer from 0 to 18446744073709551615"))?,
            error_rate: error_rate
                .parse()
                .ok()
                .filter(|rate| (0.0..=1.0).contains(rate))
                .ok_or_else(|| wrong("ACQUIRER_ERROR_RATE", &error_rate, "a number from 0 to 1"))?,
            log: (!log.is_empty()).then(|| log.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Config, String> {
        Config::read(move |asked| (asked == name).then(|| value.to_string()))
    }

    #[test]
    fn defaults_stand_where_nothing_is_set() {
        let config = with("", "").expect("defaults");
        assert_eq!(config.addr.to_string(), "127.0.0.1:9090");
        assert_eq!(config.latency, Latency::Fixed(Duration::from_millis(2)));
        assert_eq!((config.seed, config.error_rate, config.log), (1, 0.0, None));
        assert_eq!(with("ACQUIRER_LOG", "").expect("empty").log, None);
        assert_eq!(with("ACQUIRER_LOG", "/a b").expect("a path").log, Some("/a b".into()));
    }

    #[test]
    fn an_error_names_the_variable_its_value_and_the_bound() {
        for (name, value) in [
            ("ACQUIRER_ADDR", "localhost"),
            ("ACQUIRER_LATENCY", "2ms"),
            ("ACQUIRER_SEED", "-1"),
            ("ACQUIRER_ERROR_RATE", "1.5"),
            ("ACQUIRER_ERROR_RATE", "NaN"),
        ] {
            let error = with(name, value).expect_err(value);
            assert!(error.starts_with(&format!("{name} is {value:?}: it must be ")), "{error}");
            assert!(!error.contains('\n'));
        }
    }
}
