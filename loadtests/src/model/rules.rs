//! The rules of single members, as the comments in `proto/` have them: each broken one is a
//! violation, in the order in which they are asked for.

use serde_json::{Map, Value};

use super::call::Wanted;
use crate::conformance::case::Violation;

/// The largest amount.
pub const MOST: i64 = 999_999_999_999;
const SHOWN: usize = 20;

/// The body of a request, and what is wrong with it so far.
pub struct Rules<'a> {
    body: &'a Map<String, Value>,
    broken: Vec<Violation>,
}

impl<'a> Rules<'a> {
    /// Nothing is wrong yet.
    pub fn new(body: &'a Map<String, Value>) -> Self {
        Self { body, broken: Vec::new() }
    }

    /// A member, or a member of a member.
    pub fn get(&self, path: &str) -> Option<&'a Value> {
        let mut names = path.split('.');
        let first = self.body.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// Breaks a rule.
    pub fn add(&mut self, field: &str, reason: &str, min: Option<i64>, max: Option<i64>) {
        self.broken.push(Violation { field: field.into(), reason: reason.into(), min, max });
    }

    /// Breaks REQUIRED where the member is absent.
    pub fn required(&mut self, path: &str) -> Option<&'a Value> {
        let found = self.get(path);
        if found.is_none() {
            self.add(path, "REQUIRED", None, None);
        }
        found
    }

    /// A text that must be there and look like something.
    pub fn formed(&mut self, path: &str, looks: impl Fn(&str) -> bool) -> &'a str {
        let found = self.required(path).and_then(Value::as_str);
        if found.is_some_and(|text| !looks(text)) {
            self.add(path, "MALFORMED", None, None);
        }
        found.unwrap_or_default()
    }

    /// An integer within bounds, where it is there.
    pub fn integer(&mut self, path: &str, min: i64, max: i64) -> Option<i64> {
        let found = self.get(path)?.as_i64()?;
        if !(min..=max).contains(&found) {
            self.add(path, "OUT_OF_RANGE", Some(min), Some(max));
        }
        Some(found)
    }

    /// A text out of a list, where it is there.
    pub fn choice(&mut self, path: &str, listed: &[&str]) -> Option<&'a str> {
        let found = self.get(path)?;
        let text = found.as_str().filter(|text| listed.contains(text));
        if text.is_none() {
            self.add(path, "UNKNOWN_VALUE", None, None);
        }
        text
    }

    /// A text of so many bytes, where it is there.
    pub fn text(&mut self, path: &str, min: usize, max: usize) -> Option<&'a str> {
        let found = self.get(path)?.as_str()?;
        self.bytes(path, found, min, max);
        Some(found)
    }

    /// Whether no rule is broken.
    fn bytes(&mut self, field: &str, text: &str, min: usize, max: usize) -> bool {
        let bound = |bytes: usize| i64::try_from(bytes).ok();
        if text.len() < min {
            self.add(field, "TOO_SHORT", bound(min), None);
        } else if text.len() > max {
            self.add(field, "TOO_LONG", None, bound(max));
        } else if text.contains('\0') {
            self.add(field, "HAS_NUL", None, None);
        } else {
            return true;
        }
        false
    }

    /// A text of so many bytes that must be there and look like something.
    pub fn sized(&mut self, path: &str, min: usize, max: usize, looks: impl Fn(&str) -> bool) -> &'a str {
        let found = self.required(path).and_then(Value::as_str);
        if found.is_some_and(|text| self.bytes(path, text, min, max) && !looks(text)) {
            self.add(path, "MALFORMED", None, None);
        }
        found.unwrap_or_default()
    }

    /// A text that is as absent where it is empty.
    pub fn optional_text(&mut self, path: &str, max: usize) -> Option<&'a str> {
        self.text(path, 0, max).filter(|text| !text.is_empty())
    }

    /// ASCII digits, so many.
    pub fn digits(&mut self, path: &str, min: usize, max: usize) -> Option<&'a str> {
        let found = self.required(path)?.as_str()?;
        if (min..=max).contains(&found.len()) && !found.bytes().all(|byte| byte.is_ascii_digit()) {
            self.add(path, "MALFORMED", None, None);
        } else {
            self.bytes(path, found, min, max);
        }
        Some(found)
    }

    /// Pairs of texts; none where the member is absent.
    pub fn pairs(&mut self, path: &str, most: usize, key_bytes: usize, value_bytes: usize) {
        let Some(Value::Object(pairs)) = self.get(path) else { return };
        if pairs.len() > most {
            return self.add(path, "TOO_MANY", None, i64::try_from(most).ok());
        }
        let mut pairs: Vec<_> = pairs.iter().collect();
        pairs.sort_by_key(|(key, _)| key.as_bytes());
        for (key, value) in pairs {
            if self.bytes(path, key, 1, key_bytes) {
                self.bytes(&format!("{path}.{key}"), value.as_str().unwrap_or_default(), 0, value_bytes);
            }
        }
    }

    /// VALIDATION_FAILED, where a rule is broken.
    pub fn check(mut self) -> Result<(), Wanted> {
        self.broken.truncate(SHOWN);
        if self.broken.is_empty() {
            return Ok(());
        }
        Err(Wanted { violations: self.broken, ..Wanted::error("VALIDATION_FAILED") })
    }
}
