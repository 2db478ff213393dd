//! A reply against what was wanted, where ids and times are names that get their meaning from the first reply that shows
//! them.

use serde_json::Value;

use crate::conformance::case::Values;

/// Everything that differs. A name that has no meaning yet gets it here; two names of ids never get the same.
/// What stands before a name stands before what it means, too: one name holds `ref_…` to `op_…`.
pub fn unify(wanted: &Value, found: &Value, values: &mut Values, path: &str, faults: &mut Vec<String>) {
    match (wanted, found) {
        (Value::String(text), found) if named(text).is_some() => {
            let (before, name) = named(text).unwrap_or_default();
            match found.as_str().and_then(|found| found.strip_prefix(before)) {
                Some(rest) => learn(name, rest, values, path, faults),
                None => {
                    faults.push(format!("{path} is {found}, expected a text that begins with {before:?}"))
                }
            }
        }
        (Value::Object(wanted), Value::Object(found)) => {
            for (member, wanted) in wanted {
                match found.get(member) {
                    Some(found) => unify(wanted, found, values, &format!("{path}.{member}"), faults),
                    None => faults.push(format!("{path}.{member} is missing, expected {wanted}")),
                }
            }
            let unknown = found.iter().filter(|(member, _)| !wanted.contains_key(*member));
            faults.extend(unknown.map(|(member, found)| format!("{path}.{member} is there: {found}")));
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                unify(wanted, found, values, &format!("{path}.{index}"), faults);
            }
        }
        _ if wanted == found => {}
        _ => faults.push(format!("{path} is {found}, expected {wanted}")),
    }
}

/// What stands before a text's name, and the name.
fn named(text: &str) -> Option<(&str, &str)> {
    let (before, name) = text.split_once("${")?;
    Some((before, name.strip_suffix('}')?))
}

fn learn(name: &str, found: &str, values: &mut Values, path: &str, faults: &mut Vec<String>) {
    match values.get(name) {
        Some(known) if known == found => {}
        Some(known) => faults.push(format!("{path} is {found:?}, expected {name}, which was {known}")),
        None => {
            // Two times may be one microsecond.
            let other = values.iter().find(|(_, known)| *known == found && !name.starts_with("time_"));
            if let Some((other, _)) = other {
                faults.push(format!("{path} is {found:?}, which is {other} already"));
            }
            values.insert(name.to_owned(), found.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_learnt_once_and_held_to() {
        let (mut values, mut faults) = (Values::new(), Vec::new());
        let wanted = json!({"id": "${pay0}", "at": "${time_a}", "n": [1]});
        unify(&wanted, &json!({"id": "x", "at": "t", "n": [1]}), &mut values, "body", &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        unify(&wanted, &json!({"id": "y", "at": "t", "n": [2], "more": 1}), &mut values, "body", &mut faults);
        let wanted = [
            "body.id is \"y\", expected pay0, which was \"x\"",
            "body.n.0 is 2, expected 1",
            "body.more is there: 1",
        ];
        assert_eq!(
            faults.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
            wanted.into()
        );
    }

    #[test]
    fn a_name_is_the_same_behind_another_prefix() {
        let (mut values, mut faults) = (Values::new(), Vec::new());
        let wanted = json!(["ref_${op1}", "op_${op1}", "op_${op1}", "op_${op2}"]);
        unify(&wanted, &json!(["ref_x", "op_x", "op_y", "ref_z"]), &mut values, "body", &mut faults);
        let wanted = [
            "body.2 is \"y\", expected op1, which was \"x\"",
            "body.3 is \"ref_z\", expected a text that begins with \"op_\"",
        ];
        assert_eq!(faults, wanted);
    }

    #[test]
    fn two_ids_are_never_the_same_two_times_may_be() {
        let (mut values, mut faults) = (Values::new(), Vec::new());
        let wanted = json!(["${pay0}", "${pay1}", "${time_a}", "${time_b}"]);
        unify(&wanted, &json!(["x", "x", "t", "t"]), &mut values, "body", &mut faults);
        assert_eq!(faults, ["body.1 is \"x\", which is pay0 already"]);
    }
}
