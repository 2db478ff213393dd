//! A reply against what its step expects.

use serde_json::Value;

use super::case::{Expect, Values, Violation};
use super::contract::{Contract, Operation, code, code_name};
use super::node::Node;
use super::normal::Normaliser;
use super::reply::Reply;
use super::vars::{fill, fill_text};

/// Everything in which the reply isn't what is expected. `earlier`: the reply that it must equal.
pub fn check(
    contract: &Contract,
    expect: &Expect,
    operation: Option<&Operation>,
    values: &Values,
    reply: &Reply,
    earlier: Option<&Reply>,
) -> Vec<String> {
    let mut faults = Vec::new();
    outcome(contract, expect, operation, reply, &mut faults);
    if expect.replayed != reply.replayed() {
        faults.push(if expect.replayed { "isn't a replay".into() } else { "is a replay".into() });
    }
    if reply.door.is_http() {
        headers(expect, values, reply, &mut faults);
    }
    if let Err(error) = body(contract, expect, values, reply, &mut faults) {
        faults.push(format!("the case can't be checked: {error}"));
    }
    if let Some(earlier) = earlier {
        same(earlier, reply, &mut faults);
    }
    faults
}

fn outcome(
    contract: &Contract,
    expect: &Expect,
    operation: Option<&Operation>,
    reply: &Reply,
    faults: &mut Vec<String>,
) {
    if expect.reason.as_deref() != reply.reason() {
        let name = |reason: Option<&str>| reason.unwrap_or("no reason").to_owned();
        faults.push(format!("expected {}, got {}", name(expect.reason.as_deref()), name(reply.reason())));
    }
    if let (Some(wanted), Some(found)) = (expect.code.as_deref().and_then(code), reply.code) {
        if wanted != found {
            faults.push(format!("expected {}, got {}", code_name(wanted), code_name(found)));
        }
        return;
    }
    let of_reason =
        expect.reason.as_deref().and_then(|reason| contract.errors.row(reason)).map(|row| row.status);
    let wanted = expect.status.or(of_reason).or(operation.map(|operation| operation.status));
    if wanted.is_some_and(|wanted| wanted != reply.status) {
        faults.push(format!("expected status {}, got {}", wanted.unwrap_or_default(), reply.status));
    }
    if wanted.is_none_or(|wanted| wanted < 400) && reply.is_error() {
        let code = reply.code.map(code_name).unwrap_or_default();
        faults.push(format!("expected success, got an error {code}"));
    }
}

fn headers(expect: &Expect, values: &Values, reply: &Reply, faults: &mut Vec<String>) {
    for (name, wanted) in &expect.headers {
        let wanted = fill_text(wanted, values).unwrap_or_else(|error| error.to_string());
        let found = reply.header(name).unwrap_or_default();
        if wanted != found {
            faults.push(format!("expected {name}: {wanted:?}, got {found:?}"));
        }
    }
}

fn body(
    contract: &Contract,
    expect: &Expect,
    values: &Values,
    reply: &Reply,
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    let found = reply.body.clone().unwrap_or(Node::Object(Vec::new()));
    if let Some(wanted) = &expect.body {
        let mut wanted = fill(wanted, values)?;
        // A gRPC error carries the payment's id instead, which the form demands.
        if let (false, Value::Object(members)) = (reply.door.is_http(), &mut wanted) {
            members.remove("payment");
        }
        let mut found = found.value();
        if expect.unordered {
            sort_lists(&mut wanted);
            sort_lists(&mut found);
        }
        subset(&wanted, &found, "body", faults);
    }
    for path in &expect.absent {
        if reply.door.is_http() || !path.starts_with("payment.") {
            faults.extend(found.at(path).map(|node| format!("{path} is there: {node}")));
        }
    }
    if let Some(wanted) = &expect.violations {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|violation| violation_node(contract, violation, values))
            .collect::<anyhow::Result<_>>()?;
        let found = found.get("violations").cloned().unwrap_or(Node::Null);
        if found != Node::List(wanted.clone()) {
            faults.push(format!("expected violations {}, got {found}", Node::List(wanted)));
        }
    }
    if let (Some(wanted), true) = (&expect.text, reply.door.is_http()) {
        let (wanted, found) = (fill_text(wanted, values)?, Normaliser::default().apply(&reply.text));
        if wanted != found {
            faults.push(format!("expected the text {wanted:?}, got {found:?}"));
        }
    }
    Ok(())
}

fn violation_node(contract: &Contract, violation: &Violation, values: &Values) -> anyhow::Result<Node> {
    let description = contract
        .errors
        .description(&violation.reason, violation.min, violation.max)
        .ok_or_else(|| anyhow::anyhow!("{} has no description, or needs min and max", violation.reason))?;
    Ok(Node::Object(vec![
        ("field".into(), Node::Text(fill_text(&violation.field, values)?)),
        ("reason".into(), Node::Text(violation.reason.clone())),
        ("description".into(), Node::Text(description)),
    ]))
}

/// Every member that is wanted is there with its value; lists have as many items.
fn subset(wanted: &Value, found: &Value, path: &str, faults: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (name, wanted) in wanted {
                match found.get(name) {
                    Some(found) => subset(wanted, found, &format!("{path}.{name}"), faults),
                    None => faults.push(format!("{path}.{name} is missing, expected {wanted}")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                subset(wanted, found, &format!("{path}.{index}"), faults);
            }
        }
        _ if wanted == found => {}
        _ => faults.push(format!("{path} is {found}, expected {wanted}")),
    }
}

fn sort_lists(value: &mut Value) {
    if let Value::Array(items) = value {
        items.sort_by_key(Value::to_string);
    }
    if let Value::Object(members) = value {
        members.values_mut().for_each(sort_lists);
    }
}

/// Over HTTP byte for byte, else by value; what only one door shows is left out.
fn same(earlier: &Reply, reply: &Reply, faults: &mut Vec<String>) {
    let both_http = earlier.door.is_http() && reply.door.is_http();
    let equal = if both_http { earlier.text == reply.text } else { comparable(earlier) == comparable(reply) };
    if !equal {
        faults.push(format!("isn't the same as before: {} {}", earlier.status, earlier.text));
    }
}

/// A body as both doors show it.
pub fn comparable(reply: &Reply) -> Option<Node> {
    let body = reply.body.as_ref()?;
    Some(if reply.is_error() { body.without(&["payment"]) } else { body.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_may_have_more_lists_may_not() {
        let mut faults = Vec::new();
        subset(&json!({"a": {"b": 1}}), &json!({"a": {"b": 1, "c": 2}, "d": 3}), "body", &mut faults);
        assert!(faults.is_empty());
        subset(&json!({"a": [1], "z": 1}), &json!({"a": [1, 2]}), "body", &mut faults);
        assert_eq!(faults, ["body.a is [1,2], expected [1]", "body.z is missing, expected 1"]);
        faults.clear();
        subset(&json!([{"a": 1}, {"a": 2}]), &json!([{"a": 1, "b": 1}, {"a": 3}]), "body", &mut faults);
        assert_eq!(faults, ["body.1.a is 3, expected 2"]);
    }
}
