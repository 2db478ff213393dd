//! Requests of both sides, group by group: those that may be paired are in one group.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::links::Whose;
use super::spill::{BUCKETS, Found, Spill};
use super::tree::{Grown, Tree};
use super::waits::Wait;

/// Spans of both sides with the same key.
pub type Group<'a> = [&'a [Found]; 2];

/// All groups of two sides, a bucket at a time; `each` gets those that one side alone has, too.
pub fn groups(
    spills: &mut [Spill; 2],
    each: &mut dyn FnMut(Group<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for index in 0..BUCKETS {
        let [first, second] = spills;
        let (ones, others) = (first.bucket(index)?.spans, second.bucket(index)?.spans);
        let (mut ones, mut others) = (by_key(&ones).peekable(), by_key(&others).peekable());
        loop {
            let group = match (ones.peek(), others.peek()) {
                (None, None) => break,
                (Some(one), Some(other)) => match one[0].key().cmp(other[0].key()) {
                    Ordering::Less => [ones.next(), None],
                    Ordering::Equal => [ones.next(), others.next()],
                    Ordering::Greater => [None, others.next()],
                },
                (Some(_), None) => [ones.next(), None],
                (None, Some(_)) => [None, others.next()],
            };
            each(group.map(Option::unwrap_or_default))?;
        }
    }
    Ok(())
}

fn by_key(spans: &[Found]) -> impl Iterator<Item = &[Found]> {
    spans.chunk_by(|one, other| one.key() == other.key())
}

/// The spans of each trace.
pub fn traces(spans: &[Found]) -> impl Iterator<Item = &[Found]> {
    spans.chunk_by(|one, other| one.span.trace_id == other.span.trace_id)
}

/// The requests of one service in a group's spans.
pub fn of_service<'a>(spans: &'a [Found], whose: &Whose, waits: &[Wait]) -> Vec<Tree<'a>> {
    traces(spans).flat_map(|trace| Grown::new(trace, whose, waits).requests).collect()
}

/// Requests of both sides, and those that have no partner.
#[derive(Debug, Default)]
pub struct Paired<'a> {
    /// First's and second's.
    pub pairs: Vec<[Tree<'a>; 2]>,
    /// Of each side.
    pub alone: [Vec<Tree<'a>>; 2],
}

/// Pairs the requests of one group: those of the same operation in the order of their begin. What is left is the same request
/// under another name where each side has one.
pub fn pair<'a>(sides: [Vec<Tree<'a>>; 2]) -> Paired<'a> {
    let [ones, others] = sides.map(by_operation);
    let mut paired = Paired::default();
    let mut others = others;
    for (operation, ones) in ones {
        let mut theirs = others.remove(&operation).unwrap_or_default().into_iter();
        for one in ones {
            match theirs.next() {
                Some(other) => paired.pairs.push([one, other]),
                None => paired.alone[0].push(one),
            }
        }
        paired.alone[1].extend(theirs);
    }
    paired.alone[1].extend(others.into_values().flatten());
    if let [[_], [_]] = paired.alone.each_ref().map(Vec::as_slice) {
        let [one, other] = &mut paired.alone;
        paired.pairs.extend(one.pop().zip(other.pop()).map(|(one, other)| [one, other]));
    }
    paired
}

fn by_operation(mut requests: Vec<Tree<'_>>) -> BTreeMap<String, Vec<Tree<'_>>> {
    requests.sort_by_key(|tree| tree.nodes[0].start);
    let mut operations: BTreeMap<String, Vec<Tree<'_>>> = BTreeMap::new();
    for request in requests {
        operations.entry(request.nodes[0].found.span.name.clone()).or_default().push(request);
    }
    operations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::made::{Made, made, whose};

    fn named(paired: &Paired<'_>) -> (Vec<[String; 2]>, [Vec<String>; 2]) {
        let name = |tree: &Tree<'_>| {
            let root = &tree.nodes[0];
            format!("{} {}", root.found.span.name, root.start)
        };
        let pairs = paired.pairs.iter().map(|pair| pair.each_ref().map(&name));
        let alone = paired.alone.each_ref().map(|trees| trees.iter().map(&name).collect());
        (pairs.collect(), alone)
    }

    fn paired(ones: &[Made], others: &[Made]) -> (Vec<[String; 2]>, [Vec<String>; 2]) {
        let sides = [made(ones), made(others)];
        named(&pair(sides.each_ref().map(|spans| of_service(spans, &whose(), &[]))))
    }

    #[test]
    fn requests_of_one_trace_are_paired_by_operation_and_order() {
        let (pairs, alone) = paired(
            &[("b", 1, 0, 5, 6), ("a", 2, 0, 10, 11), ("b", 3, 0, 1, 2), ("only", 4, 0, 0, 1)],
            &[("a", 1, 0, 70, 71), ("b", 2, 0, 60, 61), ("b", 3, 0, 50, 51)],
        );
        let wanted = [["a 10", "a 70"], ["b 1", "b 50"], ["b 5", "b 60"]].map(|pair| pair.map(str::to_owned));
        assert_eq!((pairs, alone), (wanted.to_vec(), [vec!["only 0".into()], vec![]]));
    }

    #[test]
    fn a_request_under_another_name_is_the_same_where_there_is_no_other() {
        let (pairs, alone) = paired(&[("a", 1, 0, 0, 1)], &[("b", 1, 0, 0, 1)]);
        assert_eq!((pairs, alone), (vec![["a 0".into(), "b 0".into()]], [vec![], vec![]]));
        let (pairs, alone) = paired(&[("a", 1, 0, 0, 1)], &[("b", 1, 0, 0, 1), ("c", 2, 0, 3, 4)]);
        assert_eq!((pairs, alone), (vec![], [vec!["a 0".into()], vec!["b 0".into(), "c 3".into()]]));
    }

    #[test]
    fn groups_of_both_sides_meet_and_those_of_one_are_told() {
        use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
        let side = |traces: std::ops::Range<u8>| {
            let span = |trace| Span {
                trace_id: vec![trace; 16],
                span_id: vec![1; 8],
                start_time_unix_nano: 1,
                ..Span::default()
            };
            let scope_spans = vec![ScopeSpans { spans: traces.map(span).collect(), ..ScopeSpans::default() }];
            let mut spill = Spill::new(vec![]).unwrap();
            let place = Default::default();
            spill.add(place, ResourceSpans { scope_spans, ..ResourceSpans::default() }).unwrap();
            spill
        };
        let mut seen = Vec::new();
        let mut each = |group: Group<'_>| {
            seen.push(group.map(|spans| spans.first().map(|found| found.span.trace_id[0])));
            Ok(())
        };
        groups(&mut [side(1..5), side(3..8)], &mut each).unwrap();
        seen.sort();
        let wanted = [
            [None, Some(5)],
            [None, Some(6)],
            [None, Some(7)],
            [Some(1), None],
            [Some(2), None],
            [Some(3), Some(3)],
            [Some(4), Some(4)],
        ];
        assert_eq!(seen, wanted);
    }
}
