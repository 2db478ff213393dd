//! What a scenario may be called.

use super::{Scenario, ScenarioError};

/// Length of a name: with what is added to it, a database's has 63 characters at most.
const NAME_MAX: usize = 32;

/// Databases, files and parts of the page are called by it.
pub(super) fn check(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.len() <= NAME_MAX && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits)
    {
        return Ok(());
    }
    Err(format!(
        "a scenario has its file’s name, which must be 1 to {NAME_MAX} of a-z, 0-9, - and _, and begin with a letter, is `{name}`: rename it"
    ))
}

/// Refuses two scenarios of one name: what either is called by would be both’s. A database’s name has no `-`.
pub fn check_names<'a>(scenarios: impl IntoIterator<Item = &'a Scenario>) -> Result<(), ScenarioError> {
    let mut names: Vec<String> = Vec::new();
    for Scenario { name, .. } in scenarios {
        let plain = name.replace('-', "_");
        if names.contains(&plain) {
            let problem = format!("two scenarios are called {name}: name each once, or rename a file");
            return Err(ScenarioError::Options { options: "--scenario".into(), problem });
        }
        names.push(plain);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Overrides;
    use super::*;

    const GOOD: &str = include_str!("../../scenarios/checkout.toml");

    #[test]
    fn a_name_has_to_do_for_a_database_a_file_and_the_page() {
        let named = |name: &str| Scenario::parse("x.toml", name, GOOD, &Overrides::default());
        let long = "a".repeat(32);
        for name in ["a", "checkout-grpc", "my_2nd", &long] {
            assert!(named(name).is_ok(), "{name}");
        }
        for name in ["", "Mine", "2nd", "-x", "my scenario", "a.b", "é", "\"x", &format!("{long}a")] {
            let said = named(name).expect_err("refused").to_string();
            let wanted = format!(
                "x.toml: file: a scenario has its file’s name, which must be 1 to 32 of a-z, 0-9, - and _, and begin with a letter, is `{name}`: rename it"
            );
            assert_eq!(said, wanted);
        }
    }
}
