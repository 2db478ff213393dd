//! The query of a path: `name=value` joined by `&`. A name stands as it is, a value may be percent-encoded; `+` is no space.

use std::collections::HashSet;

use crate::domain::error::{Rule, Violations};

/// What bounds the part of a query that a reply repeats.
const MAX_NAME: usize = 64;

/// The parameters that were given, decoded.
#[derive(Default)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads the query of an operation that has the parameters `known`. What is wrong is told once a name, in the order of the query;
    /// such a parameter is as absent.
    pub fn parse(query: Option<&str>, known: &[&'static str]) -> (Self, Violations) {
        let (mut values, mut violations) = (Vec::new(), Violations::default());
        let mut told = HashSet::new();
        for pair in query.filter(|query| !query.is_empty()).into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // No name is empty.
            let name = if is_name(name) { name } else { "" };
            if told.contains(name) {
                continue;
            }
            let decoded = decode(value);
            let rule = match known.iter().find(|known| **known == name) {
                None if name.is_empty() => Rule::Malformed,
                None => Rule::UnknownParameter,
                Some(known) if values.iter().any(|(given, _)| given == known) => Rule::DuplicateParameter,
                Some(known) => match decoded {
                    None => Rule::Malformed,
                    Some(value) => {
                        values.push((*known, value));
                        continue;
                    }
                },
            };
            told.insert(name);
            violations.add(if name.is_empty() { "query" } else { name }.to_owned(), rule);
        }
        values.retain(|(name, _)| !told.contains(name));
        (Self(values), violations)
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(given, _)| *given == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// An integer, written as JSON would.
    pub fn integer(&mut self, name: &'static str, violations: &mut Violations) -> Option<i64> {
        let text = self.text(name)?;
        let value = text.parse().ok().filter(|value: &i64| value.to_string() == text);
        if value.is_none() {
            violations.add(name, Rule::Malformed);
        }
        value
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// None where an escape isn't two hex digits, or what comes out isn't UTF-8.
fn decode(value: &str) -> Option<String> {
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.as_bytes().split_at_checked(2)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).ok()?;
        bytes.extend_from_slice(&byte);
        bytes.extend_from_slice(rest);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::Error;

    fn told(violations: Violations) -> Vec<(String, &'static str)> {
        match violations.check() {
            Ok(()) => Vec::new(),
            Err(Error::ValidationFailed(all)) => {
                all.into_iter().map(|v| (v.field.into_owned(), v.rule.reason())).collect()
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_told_once_a_name_in_the_order_of_the_query() {
        let all = |query: &str| told(Query::parse(Some(query), &["a", "b"]).1);
        let same = |query: &str, want: &[(&str, &str)]| {
            let want: Vec<_> = want.iter().map(|(field, rule)| ((*field).to_owned(), *rule)).collect();
            assert_eq!(all(query), want, "{query}");
        };
        same("", &[]);
        same("a=1&b=%41", &[]);
        same(
            "limit=1&X=2&limit=3&%61=&&a_1",
            &[("limit", "UNKNOWN_PARAMETER"), ("query", "MALFORMED"), ("a_1", "UNKNOWN_PARAMETER")],
        );
        same("a=1&c=1&a=2&a=3", &[("c", "UNKNOWN_PARAMETER"), ("a", "DUPLICATE_PARAMETER")]);
        same("a=%zz&a=1&b=1&b=%zz", &[("a", "MALFORMED"), ("b", "DUPLICATE_PARAMETER")]);
        for bad in ["%", "%4", "%4g", "%+1", "%ff", "%C3%28", "x%"] {
            same(&format!("a={bad}"), &[("a", "MALFORMED")]);
        }
    }

    #[test]
    fn values_are_decoded_and_plus_is_no_space() {
        let (mut query, violations) = Query::parse(Some("a=%C3%A9+%3d=%26&b"), &["a", "b", "c"]);
        assert_eq!(told(violations), []);
        let values = ["a", "b", "c"].map(|name| query.text(name));
        assert_eq!(values, [Some("é+==&".to_owned()), Some(String::new()), None]);
    }

    #[test]
    fn integers_are_written_as_in_json() {
        for (text, want) in [("0", 0), ("-1", -1), ("100", 100), ("9223372036854775807", i64::MAX)] {
            let (mut query, mut violations) = Query::parse(Some(&format!("a={text}")), &["a"]);
            assert_eq!(query.integer("a", &mut violations), Some(want));
            assert_eq!(told(violations), []);
        }
        for bad in ["", "+1", "-0", "01", "1.0", "1e2", "x", "9223372036854775808"] {
            let (mut query, mut violations) = Query::parse(Some(&format!("a={bad}")), &["a"]);
            assert_eq!(query.integer("a", &mut violations), None, "{bad}");
            assert_eq!(told(violations), [("a".to_owned(), "MALFORMED")]);
        }
    }
}
