//! The variables of both services, as the contract lists them: what a scenario may set, and to what.

use anyhow::Context;
use serde::Deserialize;

const CONFIG: &str = include_str!("../../../proto/config.toml");
const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

/// The list.
#[derive(Deserialize)]
pub(super) struct Config {
    /// Of every name in the environment.
    pub prefix: String,
    /// Each of them.
    pub variable: Vec<Variable>,
}

/// One of them.
#[derive(Deserialize)]
pub(super) struct Variable {
    /// Without the prefix.
    pub name: String,
    /// Where nothing sets it.
    pub default: Option<String>,
    kind: String,
    min: Option<u64>,
    max: Option<u64>,
    #[serde(default)]
    choices: Vec<String>,
}

impl Config {
    /// The one that both services are held against.
    pub fn read() -> anyhow::Result<Self> {
        toml::from_str(CONFIG).context("proto/config.toml")
    }

    /// Refuses a name that no service reads, one that is the judge's to set, and a value out of bounds.
    pub fn check(&self, name: &str, value: &str) -> Result<(), String> {
        let short = name.strip_prefix(&self.prefix);
        let Some(variable) = self.variable.iter().find(|variable| Some(variable.name.as_str()) == short)
        else {
            return Err("no service reads it: proto/config.toml lists what they read".into());
        };
        let bound = match variable.kind.as_str() {
            "integer" => {
                let (min, max) = (variable.min.unwrap_or(0), variable.max.unwrap_or(u64::MAX));
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let number = value.parse().ok().filter(|number| digits && (min..=max).contains(number));
                number.is_none().then(|| format!("{min} to {max}"))
            }
            "choice" => {
                let known = variable.choices.iter().any(|choice| choice == value);
                (!known).then(|| variable.choices.join(" or "))
            }
            "level" => (!LEVELS.contains(&value)).then(|| LEVELS.join(" or ")),
            // Addresses, secrets, the database.
            _ => return Err("loadtest sets it by itself: leave it out".into()),
        };
        bound.map_or(Ok(()), |bound| Err(format!("must be {bound}, is {value}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_services_read_may_be_set_and_only_within_its_bounds() {
        let config = Config::read().unwrap();
        let refusal = |name: &str, value: &str| config.check(name, value).expect_err("refused");
        for (name, value) in [
            ("TWINPAY_HASH_QUEUE", "65536"),
            ("TWINPAY_HASH_WAIT_MS", "0"),
            ("TWINPAY_WEBHOOK_TARGETS", "any"),
            ("TWINPAY_LOG_LEVEL", "debug"),
        ] {
            assert_eq!(config.check(name, value), Ok(()), "{name}={value}");
        }
        let unknown = "no service reads it: proto/config.toml lists what they read";
        assert_eq!([refusal("TWINPAY_HASH_QEUE", "1"), refusal("HASH_QUEUE", "1")], [unknown; 2]);
        for value in ["65537", "-1", "+1", "", "many"] {
            let wanted = format!("must be 0 to 65536, is {value}");
            assert_eq!(refusal("TWINPAY_HASH_QUEUE", value), wanted);
        }
        assert_eq!(refusal("TWINPAY_WEBHOOK_TARGETS", "all"), "must be public or any, is all");
        assert_eq!(refusal("TWINPAY_LOG_LEVEL", "loud"), "must be error or warn or info or debug, is loud");
        for name in ["DATABASE_URL", "ACQUIRER_URL", "HTTP_ADDR", "ADMIN_TOKEN", "PEPPER", "SERVICE_PASSWORD"]
        {
            let wanted = "loadtest sets it by itself: leave it out";
            assert_eq!(refusal(&format!("TWINPAY_{name}"), "x"), wanted);
        }
    }
}
