//! Whether two trees are alike: the same spans in the same places, of the same kind and status, with the same attributes.
//! Siblings have no order: which of two statements that run at the same time begins first is chance.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde::{Deserialize, Serialize};

use super::tree::Tree;

/// How two trees differ in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A span that the second side hasn't.
    OnlyFirst,
    /// A span that the first side hasn't.
    OnlySecond,
    /// The same span under another name.
    Renamed,
    /// The same span more often. Of unpaired sides: forms that are too many to be told apart, which may be other ones.
    Count,
    /// Its kind: server, client and so on.
    Role,
    /// Its status.
    Status,
    /// An attribute that one side hasn't.
    Attribute,
    /// An attribute's value.
    Value,
}

/// Where two trees differ: the same in two pairs is one difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spot {
    /// How.
    pub kind: Kind,
    /// Names from the root down to the span, or to its parent where one side hasn't it.
    pub path: String,
    /// The span's name or the attribute's key; empty where the path says it.
    pub what: String,
}

/// A difference between two trees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Where.
    pub spot: Spot,
    /// What each side has there: a name, a count, a status, a value; empty where there is nothing.
    pub sides: [String; 2],
}

/// Attributes whose values may differ: each process' own, or another each time.
pub type Variable = BTreeSet<String>;

/// By what the message of a status may be allowed to differ.
const MESSAGE: &str = "status.message";

/// Where two trees differ, in order; nothing: they are alike.
pub fn differences(trees: [&Tree<'_>; 2], variable: &Variable) -> Vec<Difference> {
    let names = trees.map(|tree| tree.nodes[0].found.span.name.clone());
    let root = Pair { trees, nodes: [0, 0], path: names[0].clone() };
    let mut found = Vec::new();
    if names[0] != names[1] {
        found.push(root.tell(Kind::Renamed, "", names));
    }
    let mut left = vec![root];
    while let Some(pair) = left.pop() {
        pair.spans(variable, &mut found);
        left.extend(pair.below(variable, &mut found));
    }
    found.sort();
    found
}

/// The same span in both trees.
struct Pair<'a, 'b> {
    trees: [&'b Tree<'a>; 2],
    nodes: [usize; 2],
    path: String,
}

/// What spans are called, and where they stand among their siblings.
type Groups<'b> = BTreeMap<Cow<'b, str>, Vec<usize>>;

impl<'a, 'b> Pair<'a, 'b> {
    fn span(&self, side: usize) -> &'b Span {
        &self.trees[side].nodes[self.nodes[side]].found.span
    }

    fn tell(&self, kind: Kind, what: &str, sides: [String; 2]) -> Difference {
        Difference { spot: Spot { kind, path: self.path.clone(), what: what.to_owned() }, sides }
    }

    /// The two spans themselves.
    fn spans(&self, variable: &Variable, found: &mut Vec<Difference>) {
        let both = [self.span(0), self.span(1)];
        let mut compare = |kind, what: &str, sides: [String; 2]| {
            if sides[0] != sides[1] {
                found.push(self.tell(kind, what, sides));
            }
        };
        compare(Kind::Role, "", both.map(kind));
        compare(Kind::Status, "", both.map(code));
        let [ones, others] = both.map(told);
        let keys: BTreeSet<_> = ones.keys().chain(others.keys()).collect();
        for key in keys {
            match (ones.get(key), others.get(key)) {
                (Some(_), Some(_)) if variable.contains(*key) => {}
                (Some(one), Some(other)) => compare(Kind::Value, key, [one.clone(), other.clone()]),
                (one, other) => {
                    let sides = [one, other].map(|value| value.cloned().unwrap_or_default());
                    compare(Kind::Attribute, key, sides);
                }
            }
        }
    }

    /// What hangs below, paired: those called the same; of the others, those that differ in nothing but the name.
    fn below(&self, variable: &Variable, found: &mut Vec<Difference>) -> Vec<Self> {
        let [ones, mut others] = [0, 1].map(|side| self.groups(side));
        let (mut paired, mut alone) = (Vec::new(), Vec::new());
        for (called, one) in ones {
            let Some(other) = others.remove(&called) else {
                alone.push((called, one));
                continue;
            };
            if one.len() != other.len() {
                let sides = [&one, &other].map(|all| several(&called, all.len()));
                found.push(self.tell(Kind::Count, &called, sides));
            }
            paired.extend(self.zipped(&called, &one, &other, variable));
        }
        let bared = |(other, all): (&Cow<'b, str>, &Vec<usize>)| (other.clone(), bare(self.trees[1], all[0]));
        let bares: Vec<_> = others.iter().filter(|_| !alone.is_empty()).map(bared).collect();
        for (called, one) in alone {
            let told = bare(self.trees[0], one[0]);
            let like = |(other, bare): &&(Cow<'b, str>, String)| {
                *bare == told && others.get(other).is_some_and(|all| all.len() == one.len())
            };
            match bares.iter().find(like).and_then(|(other, _)| others.remove_entry(other)) {
                Some((other, all)) => {
                    let sides = [called.to_string(), other.into_owned()];
                    found.push(self.tell(Kind::Renamed, &called, sides));
                    paired.extend(self.zipped(&called, &one, &all, variable));
                }
                None => {
                    let sides = [several(&called, one.len()), String::new()];
                    found.push(self.tell(Kind::OnlyFirst, &called, sides));
                }
            }
        }
        for (called, all) in others {
            let sides = [String::new(), several(&called, all.len())];
            found.push(self.tell(Kind::OnlySecond, &called, sides));
        }
        paired
    }

    fn groups(&self, side: usize) -> Groups<'b> {
        let tree = self.trees[side];
        let mut groups = Groups::new();
        for child in &tree.nodes[self.nodes[side]].children {
            groups.entry(tree.called(*child)).or_default().push(*child);
        }
        groups
    }

    /// Siblings of one name: first those that are alike, whichever of them began first; the rest by their begin.
    fn zipped(&self, name: &str, ones: &[usize], others: &[usize], variable: &Variable) -> Vec<Self> {
        let pair = |one: usize, other: usize| Self {
            trees: self.trees,
            nodes: [one, other],
            path: format!("{} › {name}", self.path),
        };
        if let ([one], [other]) = (ones, others) {
            return vec![pair(*one, *other)];
        }
        let said = |side: usize, at: &usize| valued(self.trees[side], *at, variable);
        let mut left: Vec<_> = others.iter().map(|other| (*other, said(1, other))).collect();
        let (mut paired, mut unlike) = (Vec::new(), Vec::new());
        for one in ones {
            let told = said(0, one);
            match left.iter().position(|(_, other)| *other == told) {
                Some(at) => paired.push(pair(*one, left.remove(at).0)),
                None => unlike.push(*one),
            }
        }
        paired.extend(unlike.into_iter().zip(left).map(|(one, (other, _))| pair(one, other)));
        paired
    }
}

fn several(called: &str, count: usize) -> String {
    if count == 1 { called.to_owned() } else { format!("{count} × {called}") }
}

/// `server`, `client`, `internal` and so on.
pub fn kind(span: &Span) -> String {
    format!("{:?}", span.kind()).to_lowercase()
}

/// `unset`, `ok` or `error`.
fn code(span: &Span) -> String {
    match span.status.as_ref().map(Status::code) {
        None | Some(StatusCode::Unset) => "unset",
        Some(StatusCode::Ok) => "ok",
        Some(StatusCode::Error) => "error",
    }
    .into()
}

/// The same with its message.
pub fn status(span: &Span) -> String {
    let message = span.status.as_ref().map_or("", |status| status.message.as_str());
    format!("{} {message}", code(span)).trim_end().to_owned()
}

/// Attributes, and the status' message as one of them: it may hold what differs each time.
fn told(span: &Span) -> BTreeMap<&str, String> {
    let mut all = attributes(&span.attributes);
    let message = span.status.as_ref().map_or("", |status| status.message.as_str());
    if !message.is_empty() {
        all.insert(MESSAGE, format!("{message:?}"));
    }
    all
}

/// Sorted by key; of one that is there twice, both values.
pub fn attributes(all: &[KeyValue]) -> BTreeMap<&str, String> {
    let mut sorted: BTreeMap<&str, String> = BTreeMap::new();
    for attribute in all {
        let said = shown(attribute.value.as_ref());
        let known = sorted.entry(&attribute.key).or_default();
        *known = if known.is_empty() { said } else { format!("{known} and {said}") };
    }
    sorted
}

/// A value as its type shows: a text in quotes, a number without.
fn shown(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => format!("{text:?}"),
        Some(Value::BoolValue(yes)) => yes.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => format!("{number:?}"),
        Some(Value::ArrayValue(all)) => {
            let all: Vec<_> = all.values.iter().map(|value| shown(Some(value))).collect();
            format!("[{}]", all.join(", "))
        }
        Some(Value::KvlistValue(all)) => {
            let entry = |one: &KeyValue| format!("{}: {}", one.key, shown(one.value.as_ref()));
            format!("{{{}}}", all.values.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Some(Value::BytesValue(bytes)) => hex::encode(bytes),
        Some(_) | None => "nothing".into(),
    }
}

/// A tree as text, without its attributes' values: two with the same text are alike. Siblings are sorted.
pub fn canonical(tree: &Tree<'_>) -> String {
    text(tree, 0, |at| {
        let span = &tree.nodes[at].found.span;
        let keys: Vec<_> = told(span).into_keys().collect();
        format!("{} [{}, {}] {{{}}}", tree.called(at), kind(span), code(span), keys.join(", "))
    })
}

/// A subtree as text with its attributes' values, but for those that may differ.
fn valued(tree: &Tree<'_>, root: usize, variable: &Variable) -> String {
    text(tree, root, |at| {
        let span = &tree.nodes[at].found.span;
        let value = |(key, value): (&str, String)| {
            if variable.contains(key) { key.to_owned() } else { format!("{key}={value}") }
        };
        let all: Vec<_> = told(span).into_iter().map(value).collect();
        format!("{} [{}, {}] {{{}}}", tree.called(at), kind(span), code(span), all.join(", "))
    })
}

/// What is left of a span that was renamed: its kind, its attributes' keys, and the names below it.
fn bare(tree: &Tree<'_>, root: usize) -> String {
    text(tree, root, |at| {
        let span = &tree.nodes[at].found.span;
        let keys: Vec<_> = attributes(&span.attributes).into_keys().collect();
        let name = if at == root { Cow::Borrowed("") } else { tree.called(at) };
        format!("{name} {} {}", kind(span), keys.join(" "))
    })
}

/// From the leaves up, by a list: a trace may be a chain of thousands of spans.
fn text(tree: &Tree<'_>, root: usize, line: impl Fn(usize) -> String) -> String {
    let mut order = vec![root];
    let mut next = 0;
    while next < order.len() {
        order.extend(&tree.nodes[order[next]].children);
        next += 1;
    }
    let mut texts: BTreeMap<usize, String> = BTreeMap::new();
    for at in order.into_iter().rev() {
        let children = &tree.nodes[at].children;
        let mut below: Vec<String> = children.iter().filter_map(|child| texts.remove(child)).collect();
        below.sort_unstable();
        let below = if below.is_empty() { String::new() } else { format!(" ({})", below.join("; ")) };
        texts.insert(at, format!("{}{below}", line(at)));
    }
    texts.remove(&root).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::made::{Made, made};
    use crate::traces::spill::Found;
    use crate::traces::tree::Grown;
    use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

    const SPANS: [Made; 4] =
        [("GET", 1, 0, 0, 100), ("find", 2, 1, 10, 20), ("hash", 3, 1, 30, 40), ("find", 4, 1, 50, 60)];

    fn attribute(key: &str, value: &str) -> KeyValue {
        let value = AnyValue { value: Some(Value::StringValue(value.into())) };
        KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
    }

    fn usual() -> Vec<Found> {
        let mut spans = made(&SPANS);
        spans[1].span.attributes = vec![attribute("db", "x"), attribute("took", "1")];
        spans
    }

    /// What is found between the usual spans and those that `change` makes of them.
    fn changed(change: impl FnOnce(&mut Vec<Found>)) -> Vec<(Kind, String, [String; 2])> {
        between(|_| {}, change)
    }

    /// The same of both changed.
    fn between(
        one: impl FnOnce(&mut Vec<Found>),
        other: impl FnOnce(&mut Vec<Found>),
    ) -> Vec<(Kind, String, [String; 2])> {
        let (mut ones, mut others) = (usual(), usual());
        one(&mut ones);
        other(&mut others);
        let [ones, others] = [Grown::of(&ones), Grown::of(&others)];
        let variable = Variable::from(["took".to_owned()]);
        let found = differences([&ones.requests[0], &others.requests[0]], &variable);
        let told = |Difference { spot, sides }: Difference| {
            (spot.kind, format!("{}: {}", spot.path, spot.what), sides)
        };
        found.into_iter().map(told).collect()
    }

    fn only(kind: Kind, place: &str, sides: [&str; 2]) -> Vec<(Kind, String, [String; 2])> {
        vec![(kind, place.to_owned(), sides.map(str::to_owned))]
    }

    #[test]
    fn each_change_is_named_and_nothing_else() {
        assert_eq!(changed(|_| {}), []);
        let found = changed(|spans| spans[2].span.name = "hash2".into());
        assert_eq!(found, only(Kind::Renamed, "GET: hash", ["hash", "hash2"]));
        let found = changed(|spans| spans[0].span.name = "POST".into());
        assert_eq!(found, only(Kind::Renamed, "GET: ", ["GET", "POST"]));
        let found = changed(|spans| drop(spans.remove(2)));
        assert_eq!(found, only(Kind::OnlyFirst, "GET: hash", ["hash", ""]));
        let found = changed(|spans| {
            let mut more = spans[2].clone();
            (more.span.span_id, more.span.name) = (vec![9; 8], "more".into());
            spans.push(more);
        });
        assert_eq!(found, only(Kind::OnlySecond, "GET: more", ["", "more"]));
        let found = changed(|spans| {
            let mut again = spans[3].clone();
            again.span.span_id = vec![9; 8];
            spans.push(again);
        });
        assert_eq!(found, only(Kind::Count, "GET: find", ["2 × find", "3 × find"]));
        let found = changed(|spans| spans[2].span.set_kind(SpanKind::Client));
        assert_eq!(found, only(Kind::Role, "GET › hash: ", ["unspecified", "client"]));
        let found = changed(|spans| {
            let mut status = Status::default();
            status.set_code(StatusCode::Error);
            spans[2].span.status = Some(status);
        });
        assert_eq!(found, only(Kind::Status, "GET › hash: ", ["unset", "error"]));
        let found = changed(|spans| drop(spans[1].span.attributes.remove(0)));
        assert_eq!(found, only(Kind::Attribute, "GET › find: db", ["\"x\"", ""]));
        let found = changed(|spans| spans[1].span.attributes[0] = attribute("db", "y"));
        assert_eq!(found, only(Kind::Value, "GET › find: db", ["\"x\"", "\"y\""]));
    }

    #[test]
    fn the_order_of_siblings_and_of_attributes_and_a_variable_value_are_no_difference() {
        let found = changed(|spans| {
            spans[1].span.attributes = vec![attribute("took", "2"), attribute("db", "x")];
            let (hash, find) = (spans[2].span.start_time_unix_nano, spans[3].span.start_time_unix_nano);
            (spans[2].span.start_time_unix_nano, spans[3].span.start_time_unix_nano) = (find, hash);
            spans.reverse();
        });
        assert_eq!(found, []);
    }

    #[test]
    fn siblings_of_one_name_are_paired_by_what_they_are_and_then_by_their_begin() {
        let two = |values: [&'static str; 2]| {
            move |spans: &mut Vec<Found>| {
                spans[1].span.attributes[0] = attribute("db", values[0]);
                spans[3].span.attributes = vec![attribute("db", values[1]), attribute("took", "1")];
            }
        };
        assert_eq!(between(two(["x", "y"]), two(["y", "x"])), []);
        let wanted = only(Kind::Value, "GET › find: db", ["\"x\"", "\"z\""]);
        assert_eq!(between(two(["x", "y"]), two(["y", "z"])), wanted);
    }

    #[test]
    fn the_message_of_a_status_is_a_value_that_may_be_allowed_to_differ() {
        let failed = |message: &'static str| {
            move |spans: &mut Vec<Found>| {
                let mut status = Status { message: message.into(), ..Status::default() };
                status.set_code(StatusCode::Error);
                spans[2].span.status = Some(status);
            }
        };
        let wanted = only(Kind::Value, "GET › hash: status.message", ["\"12 ms\"", "\"13 ms\""]);
        assert_eq!(between(failed("12 ms"), failed("13 ms")), wanted);
        assert_eq!(between(failed("12 ms"), failed("12 ms")), []);
        let wanted = only(Kind::Attribute, "GET › hash: status.message", ["\"12 ms\"", ""]);
        assert_eq!(between(failed("12 ms"), failed("")), wanted);
    }

    #[test]
    fn a_variable_attribute_has_to_be_there() {
        let found = changed(|spans| drop(spans[1].span.attributes.remove(1)));
        assert_eq!(found, only(Kind::Attribute, "GET › find: took", ["\"1\"", ""]));
    }

    #[test]
    fn a_tree_is_written_the_same_whoever_began_first() {
        let (ones, mut others) = (usual(), usual());
        others[2].span.start_time_unix_nano = 5;
        let told = [&ones, &others].map(|spans| canonical(&Grown::of(spans).requests[0]));
        assert_eq!(told[0], told[1]);
        let wanted = "GET [unspecified, unset] {} (find [unspecified, unset] {db, took}; \
                      find [unspecified, unset] {}; hash [unspecified, unset] {})";
        assert_eq!(told[0], wanted);
    }
}
