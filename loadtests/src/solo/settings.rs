//! What a scenario says about being played on one service alone: the table `[solo]` of its file.

use serde::{Deserialize, Serialize};

use crate::validity::name;

/// The longest p99 that may be asked for.
const P99_MAX_MS: f64 = 60_000.0;

/// `[solo]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A rate is kept where 99 of 100 latencies stay below this. Without it there is no capacity to look for.
    pub p99_ms: Option<f64>,
    /// Isn't for interleaving: a slice of it says nothing.
    #[serde(default)]
    pub only: bool,
    /// Rates of stages and warm-up are multiples of the capacity, not flows a second.
    #[serde(default)]
    pub times_capacity: bool,
    /// Being shed is what is expected, and so fewer replies than requests, and later steps without what they need.
    #[serde(default)]
    pub sheds: bool,
    /// Memory has to stay as it is.
    #[serde(default)]
    pub flat: bool,
}

impl Settings {
    /// Whether it is expected that this bound is missed, so that it says nothing.
    pub fn waives(&self, bound: &str) -> bool {
        self.sheds && [name::RATE, name::SHED, name::SKIPPED].contains(&bound)
    }

    /// What is wrong, with the field's name.
    pub fn check(&self) -> Result<(), (String, String)> {
        match self.p99_ms {
            Some(p99) if !(p99 > 0.0 && p99 <= P99_MAX_MS) => {
                Err(("solo.p99_ms".into(), format!("must be over 0 and at most {P99_MAX_MS}, is {p99}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validity::BY_NAME;

    #[test]
    fn only_where_requests_are_to_be_shed_is_it_no_fault_that_they_are_and_that_nothing_follows() {
        let shedding = Settings { sheds: true, ..Settings::default() };
        let waived = |settings: &Settings| BY_NAME.into_iter().filter(|name| settings.waives(name)).collect();
        let none: Vec<&str> = waived(&Settings::default());
        let some: Vec<&str> = waived(&shedding);
        assert_eq!((none, some), (vec![], vec![name::SKIPPED, name::SHED]));
        assert!(shedding.waives(name::RATE) && !shedding.waives(name::UNEXPECTED));
    }
}
