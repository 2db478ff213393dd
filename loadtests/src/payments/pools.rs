//! Pools and permits, the same for both services and however they are tuned: from the configuration that both read.

use super::variables::Config;

/// Those that a comparison depends on.
const POOLS: [&str; 5] =
    ["DATABASE_CONNECTIONS", "WORKER_CONNECTIONS", PERMITS, "HASH_QUEUE", "HASH_ITERATIONS"];
const PERMITS: &str = "HASH_PERMITS";

/// Each with its value, as `env` sets it or by default, on so many cores.
pub fn lines(env: &[(String, String)], cores: usize) -> anyhow::Result<Vec<(String, String)>> {
    let config = Config::read()?;
    let value = |name: &str| {
        let set = env.iter().rev().find(|(set, _)| set.strip_prefix(&config.prefix) == Some(name));
        let default = || config.variable.iter().find(|variable| variable.name == name)?.default.clone();
        set.map(|(_, value)| value.clone()).or_else(default).unwrap_or_default()
    };
    let permits = value(PERMITS).parse().unwrap_or(cores);
    let line = |name: &str| {
        let value = match value(name).as_str() {
            "cores" => cores.to_string(),
            "4 x permits" => (4 * permits).to_string(),
            other => other.to_owned(),
        };
        (format!("{}{name}", config.prefix), value)
    };
    Ok(POOLS.iter().map(|name| line(name)).collect())
}

/// Hashes at once.
pub fn permits(env: &[(String, String)], cores: usize) -> anyhow::Result<usize> {
    let all = lines(env, cores)?;
    let found = all.iter().find(|(name, _)| name.ends_with(PERMITS));
    Ok(found.and_then(|(_, value)| value.parse().ok()).unwrap_or(cores))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_configuration_and_what_is_set_wins() {
        let told = |env: &[(&str, &str)], cores| {
            let env: Vec<_> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let values = lines(&env, cores).unwrap().into_iter().map(|(_, value)| value).collect::<Vec<_>>();
            (values.join(" "), permits(&env, cores).unwrap())
        };
        assert_eq!(told(&[], 2), ("16 4 2 8 16384".into(), 2));
        let set = [("TWINPAY_HASH_PERMITS", "3"), ("TWINPAY_DATABASE_CONNECTIONS", "7")];
        assert_eq!(told(&set, 2), ("7 4 3 12 16384".into(), 3));
    }
}
