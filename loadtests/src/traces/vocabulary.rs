//! Names of attributes and spans against OpenTelemetry's semantic conventions, whose registry stands in
//! `assets/semantic-conventions.tsv`. Attributes in namespaces of one's own are nobody's business; a name in one of theirs that
//! they don't have, or don't have any more, is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::model::Remark;

const REGISTRY: &str = include_str!("../../assets/semantic-conventions.tsv");
/// Different remarks that are told.
const REMARKS_MAX: usize = 100;

static KNOWN: LazyLock<Registry> = LazyLock::new(|| Registry::of(REGISTRY));

/// What the registry has.
struct Registry {
    by_key: HashMap<&'static str, Known>,
    /// First parts of the keys.
    namespaces: HashSet<&'static str>,
}

/// An attribute.
struct Known {
    /// As the registry names it.
    kind: &'static str,
    /// What to say of it where it is deprecated.
    deprecated: Option<&'static str>,
}

impl Registry {
    /// Of lines of key, type, and what to say where it is deprecated.
    fn of(text: &'static str) -> Self {
        let line = |line: &'static str| {
            let mut parts = line.split('\t');
            let (key, kind) = (parts.next()?, parts.next()?);
            Some((key, Known { kind, deprecated: parts.next() }))
        };
        let by_key: HashMap<_, _> =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect();
        let namespaces = by_key.keys().filter_map(|key| Some(key.split_once('.')?.0)).collect();
        Self { by_key, namespaces }
    }

    /// An attribute by its key; of those whose last part is the user's, by what is before.
    fn find(&self, key: &str) -> Option<&Known> {
        let template = |key: &str| {
            let known = self.by_key.get(key)?;
            known.kind.starts_with("template").then_some(known)
        };
        let shorter = || key.match_indices('.').rev().find_map(|(at, _)| template(&key[..at]));
        self.by_key.get(key).or_else(shorter)
    }
}

/// What was found in the spans of both sides.
#[derive(Debug, Default)]
pub struct Vocabulary {
    found: BTreeMap<String, [u64; 2]>,
}

impl Vocabulary {
    /// A span of a side.
    pub fn look(&mut self, side: usize, span: &Span) {
        for attribute in &span.attributes {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            if let Some(said) = said(&attribute.key, value) {
                self.add(side, said);
            }
        }
        if let Some(said) = misnamed(span) {
            self.add(side, said);
        }
    }

    fn add(&mut self, side: usize, said: String) {
        let full = self.found.len() >= REMARKS_MAX && !self.found.contains_key(&said);
        let said = if full { "and more of the same".to_owned() } else { said };
        self.found.entry(said).or_default()[side] += 1;
    }

    /// In the order of the names.
    pub fn remarks(self) -> Vec<Remark> {
        self.found.into_iter().map(|(said, spans)| Remark { said, spans }).collect()
    }
}

/// What the conventions have to say of an attribute.
fn said(key: &str, value: Option<&Value>) -> Option<String> {
    let namespace = key.split_once('.')?.0;
    let Some(known) = KNOWN.find(key) else {
        let theirs = KNOWN.namespaces.contains(namespace);
        return theirs.then(|| {
            format!(
                "attribute `{key}`: the conventions have no such name in `{namespace}.*`, which is theirs"
            )
        });
    };
    if let Some(instead) = known.deprecated {
        return Some(format!("attribute `{key}` is deprecated: {instead}"));
    }
    let kind = kind(value?);
    let wanted =
        known.kind.strip_prefix("template[").and_then(|kind| kind.strip_suffix(']')).unwrap_or(known.kind);
    let fits = match wanted {
        "any" => true,
        // An enumeration's values are texts or whole numbers.
        "enum" => matches!(kind, "string" | "int"),
        wanted => wanted == kind,
    };
    (!fits).then(|| format!("attribute `{key}` is of type {kind}, and {wanted} by the conventions"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::StringValue(_) => "string",
        Value::BoolValue(_) => "boolean",
        Value::IntValue(_) => "int",
        Value::DoubleValue(_) => "double",
        Value::ArrayValue(all) => match all.values.first().and_then(|value| value.value.as_ref()) {
            Some(Value::BoolValue(_)) => "boolean[]",
            Some(Value::IntValue(_)) => "int[]",
            Some(Value::DoubleValue(_)) => "double[]",
            Some(_) | None => "string[]",
        },
        Value::KvlistValue(_) | Value::BytesValue(_) | Value::StringValueStrindex(_) => "any",
    }
}

/// Spans of HTTP, of RPC and of databases are named by their attributes.
fn misnamed(span: &Span) -> Option<String> {
    let text = |key: &str| {
        let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
        let Value::StringValue(text) = attribute.value.as_ref()?.value.as_ref()? else { return None };
        Some(text.as_str())
    };
    let (wanted, why) = if let Some(method) = text("rpc.method") {
        (method.to_owned(), "rpc.method")
    } else if let Some(summary) = text("db.query.summary") {
        (summary.to_owned(), "db.query.summary")
    } else {
        let method = match text("http.request.method")? {
            "_OTHER" => "HTTP",
            method => method,
        };
        let target = match span.kind() {
            SpanKind::Server => text("http.route"),
            SpanKind::Client => text("url.template"),
            SpanKind::Unspecified | SpanKind::Internal | SpanKind::Producer | SpanKind::Consumer => {
                return None;
            }
        };
        (target.map_or(method.to_owned(), |target| format!("{method} {target}")), "HTTP’s method and route")
    };
    (span.name != wanted).then(|| format!("span `{}` would be `{wanted}` by {why}", span.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

    fn span(name: &str, kind: SpanKind, attributes: &[(&str, Value)]) -> Span {
        let attribute = |(key, value): &(&str, Value)| KeyValue {
            key: (*key).into(),
            value: Some(AnyValue { value: Some(value.clone()) }),
            ..KeyValue::default()
        };
        let attributes = attributes.iter().map(attribute).collect();
        Span { name: name.into(), kind: kind.into(), attributes, ..Span::default() }
    }

    fn text(value: &str) -> Value {
        Value::StringValue(value.into())
    }

    fn remarks(spans: &[Span]) -> Vec<String> {
        let mut vocabulary = Vocabulary::default();
        spans.iter().for_each(|span| vocabulary.look(0, span));
        vocabulary.remarks().into_iter().map(|remark| remark.said).collect()
    }

    #[test]
    fn names_as_the_conventions_have_them_are_not_remarked_on() {
        let get = [
            ("http.request.method", text("GET")),
            ("http.route", text("/v1/{id}")),
            ("http.response.status_code", Value::IntValue(200)),
            ("http.request.header.x-id", Value::ArrayValue(Default::default())),
            ("error.type", text("500")),
            ("mine.own", text("x")),
            ("alone", text("x")),
        ];
        let spans = [
            span("GET /v1/{id}", SpanKind::Server, &get),
            span("GET", SpanKind::Client, &get[..1]),
            span("HTTP", SpanKind::Server, &[("http.request.method", text("_OTHER"))]),
            span(
                "a.B/C",
                SpanKind::Client,
                &[("rpc.method", text("a.B/C")), ("rpc.system.name", text("grpc"))],
            ),
            span("find", SpanKind::Client, &[("db.query.summary", text("find"))]),
        ];
        assert_eq!(remarks(&spans), Vec::<String>::new());
    }

    #[test]
    fn each_deviation_is_named() {
        let spans = [
            span("x", SpanKind::Internal, &[("http.method", text("GET"))]),
            span("x", SpanKind::Internal, &[("http.response.status_code", text("200"))]),
            span("x", SpanKind::Internal, &[("http.verb", text("GET"))]),
            span(
                "GET /v1/7",
                SpanKind::Server,
                &[("http.request.method", text("GET")), ("http.route", text("/v1/{id}"))],
            ),
            span("select", SpanKind::Client, &[("db.query.summary", text("find"))]),
        ];
        let found = remarks(&spans);
        let wanted = [
            "attribute `http.method` is deprecated: ",
            "attribute `http.response.status_code` is of type string, and int by the conventions",
            "attribute `http.verb`: the conventions have no such name in `http.*`, which is theirs",
            "span `GET /v1/7` would be `GET /v1/{id}` by HTTP’s method and route",
            "span `select` would be `find` by db.query.summary",
        ];
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.starts_with(wanted), "{found}");
        }
    }
}
