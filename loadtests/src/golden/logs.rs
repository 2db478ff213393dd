//! Log lines without their values: a section a message, with the fields and types of each of its forms.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::file::Sections;

/// Fields that one twin may have and the other not: message, field, and why.
const ALLOWED: [(&str, &str, &str); 1] =
    [("listening", "gomaxprocs", "how many threads Go's scheduler took; Rust's are a setting")];

/// Forms by message. Those of several processes of one twin add up.
#[derive(Debug, Default)]
pub struct Messages(BTreeMap<String, BTreeSet<String>>);

impl Messages {
    /// Adds a log. A line that is no JSON object becomes a message of its own.
    pub fn add(&mut self, log: &str) {
        for line in log.lines() {
            let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
                self.0.entry(format!("not a JSON object: {line}")).or_default();
                continue;
            };
            let message = fields.get("message").and_then(Value::as_str).unwrap_or("(no message)");
            self.0.entry(message.to_owned()).or_default().insert(form(message, &fields));
        }
    }

    /// One section a message.
    pub fn sections(&self) -> Sections {
        let lines = |forms: &BTreeSet<String>| forms.iter().map(|form| format!("{form}\n")).collect();
        self.0.iter().map(|(message, forms)| (message.clone(), lines(forms))).collect()
    }
}

/// `warn OVERLOADED: duration_ms number, …`: level and reason are values that both must say, all else is a type.
fn form(message: &str, fields: &Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let mut parts: Vec<_> = fields
        .iter()
        .filter(|(name, _)| !ALLOWED.iter().any(|(of, field, _)| (*of, *field) == (message, name.as_str())))
        .map(|(name, value)| format!("{name} {}", kind(value)))
        .collect();
    parts.sort();
    let said: Vec<_> = [text("level"), text("reason")].into_iter().flatten().collect();
    format!("{}: {}", said.join(" "), parts.join(", "))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_by_message_level_reason_and_types() {
        let mut messages = Messages::default();
        messages.add(concat!(
            r#"{"level":"warn","message":"request failed","reason":"OVERLOADED","status":503}"#,
            "\n",
            r#"{"level":"info","message":"listening","gomaxprocs":2,"http_addr":"127.0.0.1:1"}"#,
            "\npanic\n",
        ));
        assert_eq!(
            messages.sections(),
            [
                ("listening".into(), "info: http_addr text, level text, message text\n".into()),
                ("not a JSON object: panic".to_owned(), String::new()),
                (
                    "request failed".into(),
                    "warn OVERLOADED: level text, message text, reason text, status number\n".into()
                ),
            ]
        );
    }
}
