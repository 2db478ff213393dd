//! How much of the machine's limits the services came to use.

use stack::instance::Twin;

use super::pair::label;
use crate::limits::Limits;
use crate::scenario::Scenario;
use crate::solo::{Capacity, LimitShare, part};
use crate::stats::rounded;

/// The operations that a limit is about; none: every request.
const HASHING: [&str; 1] = ["tokenize"];
const PAYING: [&str; 2] = ["sale", "authorize"];

/// One a service and limit that a scenario's requests touch, by the most requests that were answered as expected.
pub fn shares(scenario: &Scenario, capacity: &Capacity, limits: &Limits) -> Vec<LimitShare> {
    let kinds =
        [("hash_", HASHING.as_slice(), true), ("database_sale", &PAYING, false), ("door_", &[], true)];
    let mut shares = Vec::new();
    for twin in Twin::ALL {
        let service = capacity.services.iter().find(|service| service.label == label(twin));
        let Some(most) = service.and_then(|service| service.most_goodput.as_ref()) else { continue };
        for (limit, operations, by_service) in kinds {
            let name = if by_service { format!("{limit}{}", twin.name()) } else { limit.to_owned() };
            let operations: Vec<String> = operations.iter().map(|name| (*name).to_owned()).collect();
            let rate = rounded(most.median * part(scenario, &operations));
            let Some(row) = limits.rows.iter().find(|row| row.name == name) else { continue };
            let Some(figure) = row.figure.as_ref().filter(|_| rate > 0.0) else { continue };
            shares.push(LimitShare {
                service: label(twin).into(),
                scenario: scenario.name.clone(),
                limit: row.label.clone(),
                limit_name: name,
                operations,
                rate,
                of: figure.median,
                unit: row.unit.clone(),
            });
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;
    use crate::scenario::Overrides;
    use crate::solo::{Reach, ServiceCapacity};
    use crate::spread::Spread;

    fn capacity(goodput: f64) -> Capacity {
        let service = |label: &str| ServiceCapacity {
            label: label.into(),
            kept: None,
            most_goodput: Spread::of(&[goodput]),
            blocks: vec![],
        };
        Capacity {
            scenario: "x".into(),
            p99_ms: 1.0,
            trial_seconds: 1.0,
            reach: Reach { start: 1.0, least: 1.0, most: 1.0, resolution: 1.1, confirmations: 0 },
            services: vec![service("Rust"), service("Go")],
        }
    }

    fn limit(name: &str, value: Option<f64>) -> Limit {
        let figure = value.and_then(|value| Spread::of(&[value]));
        Limit {
            name: name.into(),
            label: name.into(),
            unit: "a second".into(),
            figure,
            full: None,
            missing: None,
        }
    }

    #[test]
    fn a_share_is_of_the_requests_that_the_limit_is_about() {
        let scenario = Scenario::load("checkout", &Overrides::default()).unwrap();
        // 55, 4 and 36 and 5 flows of 3, 3, 4 and 4 steps; each tokenises once and pays once.
        let wanted = 100.0 / (59.0 * 3.0 + 41.0 * 4.0);
        let part = |names: &[&str]| {
            part(&scenario, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert!((part(&HASHING) - wanted).abs() < 1e-9);
        assert!((part(&PAYING) - wanted).abs() < 1e-9);
        let rows = vec![
            limit("hash_rust", Some(300.0)),
            limit("hash_go", None),
            limit("database_sale", Some(900.0)),
        ];
        let found = shares(&scenario, &capacity(341.0), &Limits { seconds: 1.0, rows });
        let told: Vec<_> = found.iter().map(|share| (share.service.as_str(), share.limit.as_str())).collect();
        assert_eq!(told, [("Rust", "hash_rust"), ("Rust", "database_sale"), ("Go", "database_sale")]);
        assert!((found[0].rate - 100.0).abs() < 1e-6 && (found[0].share() - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn what_a_scenario_never_asks_for_has_no_share() {
        let scenario = Scenario::load("tokenize", &Overrides::default()).unwrap();
        let rows = vec![limit("hash_rust", Some(500.0)), limit("database_sale", Some(900.0))];
        let found = shares(&scenario, &capacity(480.0), &Limits { seconds: 1.0, rows });
        assert_eq!(found.len(), 1);
        assert!((found[0].share() - 0.96).abs() < 1e-6);
    }
}
