//! Times of waiting that a span tells by an attribute of its own instead of by a span below it: for a connection of a pool,
//! for a place in a queue.

use std::str::FromStr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Units by their names, in ns.
const UNITS: [(&str, f64); 4] = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];

/// An attribute that is a wait at its span's begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Its key.
    pub key: String,
    /// What its value counts, in ns.
    pub unit_ns: f64,
}

/// Why a `--wait` isn't one.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no KEY=UNIT with a unit of ns, us, ms or s")]
pub struct WaitError(String);

impl FromStr for Wait {
    type Err = WaitError;

    fn from_str(text: &str) -> Result<Self, WaitError> {
        let (key, unit) = text.split_once('=').ok_or_else(|| WaitError(text.to_owned()))?;
        let unit = UNITS.into_iter().find(|(name, _)| *name == unit);
        match unit {
            Some((_, unit_ns)) if !key.is_empty() => Ok(Self { key: key.to_owned(), unit_ns }),
            Some(_) | None => Err(WaitError(text.to_owned())),
        }
    }
}

/// The waits that a span tells of, by their place in `waits`, in ns.
pub fn told(span: &Span, waits: &[Wait]) -> Vec<(usize, u64)> {
    let of = |(index, wait): (usize, &Wait)| {
        let attribute = span.attributes.iter().find(|attribute| attribute.key == wait.key)?;
        let value = match attribute.value.as_ref()?.value.as_ref() {
            Some(Value::DoubleValue(value)) => *value,
            Some(Value::IntValue(value)) => *value as f64,
            Some(_) | None => return None,
        };
        (value > 0.0).then_some((index, (value * wait.unit_ns).round() as u64))
    };
    waits.iter().enumerate().filter_map(of).collect()
}

/// What is left of `whole` without the waits, and each wait as far as there is room for it: a wait isn't longer than what it
/// is a part of.
pub fn split(whole: u64, waits: &[(usize, u64)]) -> (u64, Vec<(usize, u64)>) {
    let mut left = whole;
    let take = |(index, ns): &(usize, u64)| {
        let taken = (*ns).min(left);
        left -= taken;
        (*index, taken)
    };
    let taken = waits.iter().map(take).collect();
    (left, taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

    #[test]
    fn waits_are_read_with_their_unit() {
        let waits = ["pool_ms=ms", "queue=s", "none=us"].map(|text| text.parse::<Wait>().unwrap());
        let attribute = |key: &str, value| KeyValue {
            key: key.into(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        };
        let attributes = vec![
            attribute("pool_ms", Value::DoubleValue(0.25)),
            attribute("queue", Value::IntValue(2)),
            attribute("none", Value::StringValue("7".into())),
        ];
        let span = Span { attributes, ..Span::default() };
        assert_eq!(told(&span, &waits), [(0, 250_000), (1, 2_000_000_000)]);
    }

    #[test]
    fn no_more_is_waited_than_there_is_time() {
        assert_eq!(split(100, &[(0, 30), (1, 50)]), (20, vec![(0, 30), (1, 50)]));
        assert_eq!(split(100, &[(0, 130), (1, 50)]), (0, vec![(0, 100), (1, 0)]));
        assert_eq!(split(100, &[]), (100, vec![]));
    }

    #[test]
    fn what_is_no_wait_is_refused() {
        for text in ["key", "key=minutes", "=ms", "key="] {
            assert_eq!(text.parse::<Wait>(), Err(WaitError(text.into())));
        }
    }
}
