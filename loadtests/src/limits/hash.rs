//! PBKDF2 in a tight loop on the services' core, in each one's language with the library that it uses. Rust's loop runs
//! here; Go's is a program of its own, `hashloop`, built beside the Go service.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Deserialize;
use sha2::Sha256;
use stack::errand;

use super::{InTurns, Limit, on_cores, said_on_cores};
use crate::environment;

/// As the services hash by default; `proto/config.toml` has the number.
pub const ROUNDS: u32 = 16_384;
/// As long as what the services hash: a keyed hash of a card number, and a merchant's id.
const PASSWORD: [u8; 32] = [7; 32];
const SALT: [u8; 16] = [9; 16];

/// Looks at both loops for a floor, and the length of each: of so many, one had the core to itself.
const LOOKS: usize = 5;
const LOOK: Duration = Duration::from_millis(5);
/// Of the fastest loop's time for one hash. Libraries and a core's clock differ by less than this leaves; whoever answers
/// faster hasn't hashed.
const FLOOR_SHARE: f64 = 0.5;

/// What both loops say.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Looped {
    /// Hashes made.
    pub hashes: u64,
    /// Wall time.
    pub seconds: f64,
}

impl Looped {
    fn rate(self) -> f64 {
        self.hashes as f64 / self.seconds
    }
}

/// Go's loop, or why there is none.
pub fn hashloop() -> Result<PathBuf, String> {
    let service = stack::binaries::go().map_err(|error| error.to_string())?;
    let path = service.with_file_name("hashloop");
    let missing = || format!("{} is missing: build it with `make build`", path.display());
    path.is_file().then(|| path.clone()).ok_or_else(missing)
}

/// Both loops, measured in turn.
pub struct Hashes {
    cores: Vec<usize>,
    /// Of each hash, as the services of this run have them.
    rounds: u32,
    /// Go's loop, or why there is none.
    go: Result<PathBuf, String>,
    rates: [Vec<f64>; 2],
    turns: usize,
}

impl Hashes {
    /// On the services' `cores`; where there are several, one of them stands for each.
    pub fn find(cores: &[usize], rounds: u32) -> Self {
        let go = hashloop();
        Self { cores: cores.to_vec(), rounds, go, rates: [Vec::new(), Vec::new()], turns: 0 }
    }

    /// Of an answer that needs one hash, in µs; unset where no loop was built for speed. Go's always is; an unoptimised loop
    /// here takes longer than a service does.
    fn floor_us(&self, optimised: bool) -> Option<u64> {
        let rates = &self.rates[usize::from(!optimised)..];
        let most = rates.iter().flatten().copied().reduce(f64::max)?;
        Some((FLOOR_SHARE * 1e6 / most) as u64)
    }

    /// One a language.
    pub fn limits(self) -> Vec<Limit> {
        let label = |language: &str| format!("PBKDF2 of {} rounds in a loop, {language}", self.rounds);
        let full = || Some("the services’ core".to_owned());
        let unit = "hashes/s";
        let rust = Limit::measured("hash_rust", label("Rust"), unit, &self.rates[0], full());
        let go = match self.go {
            Ok(_) => Limit::measured("hash_go", label("Go"), unit, &self.rates[1], full()),
            Err(why) => Limit::missing("hash_go", label("Go"), unit, why),
        };
        vec![rust, go]
    }
}

impl InTurns for Hashes {
    const WHAT: &'static str = "hashes";

    /// One measurement of each; who is first changes from turn to turn.
    async fn repeat(&mut self, length: Duration) -> anyhow::Result<()> {
        let (one, rounds) = (&self.cores[..1], self.rounds);
        for language in [self.turns % 2, 1 - self.turns % 2] {
            let looped = match (language, &self.go) {
                (0, _) => on_cores(one, move || Ok(rust_loop(rounds, length))).await?,
                (_, Ok(program)) => go_loop(program, one, rounds, length)
                    .await
                    .with_context(|| program.display().to_string())?,
                (_, Err(_)) => continue,
            };
            self.rates[language].push(looped.rate() * self.cores.len() as f64);
        }
        self.turns += 1;
        Ok(())
    }

    fn take_back(&mut self) {
        for rates in &mut self.rates {
            rates.pop();
        }
    }
}

/// The least that an answer takes which needs one hash of so many rounds on one of these cores, in µs; nothing where that
/// can't be told here. Takes some tens of ms.
pub async fn floor_us(cores: &[usize], rounds: u32) -> anyhow::Result<Option<u64>> {
    let mut hashes = Hashes::find(&cores[..1], rounds);
    for _ in 0..LOOKS {
        hashes.repeat(LOOK).await?;
    }
    Ok(hashes.floor_us(environment::build() == "release"))
}

fn rust_loop(rounds: u32, length: Duration) -> Looped {
    let begin = Instant::now();
    let mut hashes = 0;
    while begin.elapsed() < length {
        std::hint::black_box(pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(&PASSWORD, &SALT, rounds));
        hashes += 1;
    }
    Looped { hashes, seconds: begin.elapsed().as_secs_f64() }
}

async fn go_loop(program: &Path, cores: &[usize], rounds: u32, length: Duration) -> anyhow::Result<Looped> {
    let mut command = errand(program, None);
    command.args(["-rounds", &rounds.to_string(), "-length", &format!("{}ms", length.as_millis())]);
    let text = said_on_cores(cores, command).await?;
    serde_json::from_str(&text).with_context(|| format!("it said {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_are_the_services_own() {
        let config: toml::Table = include_str!("../../../proto/config.toml").parse().unwrap();
        let variables = config["variable"].as_array().unwrap();
        let rounds = variables.iter().find(|variable| variable["name"].as_str() == Some("HASH_ITERATIONS"));
        assert_eq!(rounds.unwrap()["default"].as_str().unwrap(), ROUNDS.to_string());
    }

    #[test]
    fn a_floor_is_half_of_the_fastest_hash_of_a_loop_that_was_built_for_speed() {
        let floor_us = |rust: &[f64], go: &[f64], optimised| {
            let (go, rates) = (go.to_vec(), rust.to_vec());
            let found =
                Hashes { cores: vec![0], rounds: 7, go: Err("why".into()), rates: [rates, go], turns: 2 };
            found.floor_us(optimised)
        };
        assert_eq!(floor_us(&[300.0, 400.0], &[250.0, 200.0], true), Some(1250));
        assert_eq!(floor_us(&[300.0, 400.0], &[250.0, 500.0], true), Some(1000));
        assert_eq!(floor_us(&[20.0, 21.0], &[250.0, 200.0], false), Some(2000));
        assert_eq!(floor_us(&[20.0, 21.0], &[], false), None);
    }

    #[test]
    fn rates_are_a_second_and_for_all_cores() {
        let mut hashes = Hashes {
            cores: vec![0, 1],
            rounds: 7,
            go: Err("why".into()),
            rates: Default::default(),
            turns: 0,
        };
        let looped = Looped { hashes: 300, seconds: 1.5 };
        hashes.rates[0].push(looped.rate() * 2.0);
        let rows = hashes.limits();
        assert_eq!(rows[0].label, "PBKDF2 of 7 rounds in a loop, Rust");
        assert_eq!(rows[0].figure.as_ref().unwrap().median, 400.0);
        assert_eq!((rows[1].figure.as_ref(), rows[1].missing.as_deref()), (None, Some("why")));
    }
}
