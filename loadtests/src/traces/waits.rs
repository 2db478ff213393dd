//! Times of waiting that a span tells by an attribute of its own instead of by a span below it: for a connection of a pool,
//! for a place in a queue.

use std::str::FromStr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::tree::{Node, Tree};

/// Units by their names, in ns.
const UNITS: [(&str, f64); 4] = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];

/// What a span whose wait was over before it began has behind the unit.
const BEFORE: &str = ":before";

/// An attribute that is a wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Its key.
    pub key: String,
    /// What its value counts, in ns.
    pub unit_ns: f64,
    /// Whether its span begins when it is over, and not with it.
    pub before: bool,
}

/// Why a `--wait` isn't one.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no KEY=UNIT or KEY=UNIT:before with a unit of ns, us, ms or s")]
pub struct WaitError(String);

impl Wait {
    /// What a span says of it, in ns.
    fn of(&self, span: &Span) -> Option<u64> {
        let attribute = span.attributes.iter().find(|attribute| attribute.key == self.key)?;
        let value = match attribute.value.as_ref()?.value.as_ref() {
            Some(Value::DoubleValue(value)) => *value,
            Some(Value::IntValue(value)) => *value as f64,
            Some(_) | None => return None,
        };
        // Who didn't wait counts, too: else the percentiles are of the unlucky alone.
        (value >= 0.0).then_some((value * self.unit_ns).round() as u64)
    }
}

impl FromStr for Wait {
    type Err = WaitError;

    fn from_str(text: &str) -> Result<Self, WaitError> {
        let (key, unit) = text.split_once('=').ok_or_else(|| WaitError(text.to_owned()))?;
        let (unit, before) = unit.strip_suffix(BEFORE).map_or((unit, false), |unit| (unit, true));
        let unit = UNITS.into_iter().find(|(name, _)| *name == unit);
        match unit {
            Some((_, unit_ns)) if !key.is_empty() => Ok(Self { key: key.to_owned(), unit_ns, before }),
            Some(_) | None => Err(WaitError(text.to_owned())),
        }
    }
}

/// What a span says to have been waited before it began, in ns.
pub fn before(span: &Span, waits: &[Wait]) -> u64 {
    let of = waits.iter().filter(|wait| wait.before).filter_map(|wait| wait.of(span));
    of.fold(0, u64::saturating_add)
}

/// The waits that a span tells of, by their place in `waits`, in ns: those before its begin as far as it was moved back for
/// them. What was waited before a request began is no part of it.
pub fn told(tree: &Tree<'_>, at: usize, waits: &[Wait]) -> Vec<(usize, u64)> {
    let Node { found, before: mut room, .. } = tree.nodes[at];
    let mut told = Vec::new();
    for (index, wait) in waits.iter().enumerate().filter(|(_, wait)| at > 0 || !wait.before) {
        let Some(mut ns) = wait.of(&found.span) else { continue };
        if wait.before {
            ns = ns.min(room);
            room -= ns;
        }
        told.push((index, ns));
    }
    told
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
    use crate::traces::made::{attribute, made, whose};
    use crate::traces::tree::Grown;

    #[test]
    fn waits_are_read_with_their_unit() {
        let waits = ["pool_ms=ms", "queue=s", "none=us", "zero=ns"].map(|text| text.parse::<Wait>().unwrap());
        let attributes = vec![
            attribute("pool_ms", Value::DoubleValue(0.25)),
            attribute("queue", Value::IntValue(2)),
            attribute("none", Value::StringValue("7".into())),
            attribute("zero", Value::DoubleValue(0.0)),
        ];
        let mut spans = made(&[("root", 1, 0, 0, 100)]);
        spans[0].span.attributes = attributes;
        let grown = Grown::new(&spans, &whose(), &waits);
        assert_eq!(told(&grown.requests[0], 0, &waits), [(0, 250_000), (1, 2_000_000_000), (3, 0)]);
    }

    #[test]
    fn what_was_waited_before_a_span_is_no_more_than_it_was_moved_back() {
        let waits = ["a=ns:before", "b=ns:before", "c=ns"].map(|text| text.parse::<Wait>().unwrap());
        let told = |a, b| {
            let mut spans = made(&[("root", 1, 0, 100, 200), ("run", 2, 1, 150, 190)]);
            let attributes = [attribute("a", a), attribute("b", b), attribute("c", Value::IntValue(7))];
            spans.iter_mut().for_each(|found| found.span.attributes = attributes.to_vec());
            let grown = Grown::new(&spans, &whose(), &waits);
            [0, 1].map(|at| told(&grown.requests[0], at, &waits))
        };
        let of = |ns| Value::IntValue(ns);
        // The request's own span began after its waits.
        assert_eq!(told(of(20), of(30)), [vec![(2, 7)], vec![(0, 20), (1, 30), (2, 7)]]);
        assert_eq!(told(of(20), of(40))[1], [(0, 20), (1, 30), (2, 7)]);
        assert_eq!(told(of(60), of(40))[1], [(0, 50), (1, 0), (2, 7)]);
        assert_eq!(told(of(-1), of(0))[1], [(1, 0), (2, 7)]);
    }

    #[test]
    fn no_more_is_waited_than_there_is_time() {
        assert_eq!(split(100, &[(0, 30), (1, 50)]), (20, vec![(0, 30), (1, 50)]));
        assert_eq!(split(100, &[(0, 130), (1, 50)]), (0, vec![(0, 100), (1, 0)]));
        assert_eq!(split(100, &[]), (100, vec![]));
    }

    #[test]
    fn what_is_no_wait_is_refused() {
        for text in
            ["key", "key=minutes", "=ms", "key=", "key=ms:", "key=ms:after", "=ms:before", "key=:before"]
        {
            assert_eq!(text.parse::<Wait>(), Err(WaitError(text.into())));
        }
    }
}
