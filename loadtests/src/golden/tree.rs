//! The tree of one trace as text that a reader enjoys: one line a span, its attributes beside it.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::otlp::Received;

/// The span that every request names as its parent.
pub const CALLER: &str = "00f067aa0ba902b7";

/// Attributes whose value no two runs, twins or builds share.
const VARIABLE: [&str; 4] =
    ["twinpay.db_wait_ms", "twinpay.wait_ms", "telemetry.sdk.language", "telemetry.sdk.version"];

/// All spans that were received.
pub struct Forest<'a> {
    /// Children by their trace's id and their parent's.
    by_parent: BTreeMap<Vec<u8>, Vec<&'a Received>>,
    by_id: BTreeMap<&'a [u8], &'a Received>,
    /// Linked spans by the trace they are linked to.
    by_link: BTreeMap<&'a [u8], Vec<&'a Received>>,
}

/// One line before its columns are aligned.
struct Row {
    name: String,
    kind: String,
    rest: String,
}

impl<'a> Forest<'a> {
    /// Sorts spans by where they hang, siblings by when they began.
    pub fn grow(spans: &'a [Received]) -> Self {
        let mut ordered: Vec<_> = spans.iter().collect();
        ordered.sort_by(|one, other| {
            (one.span.start_time_unix_nano, &one.span.name)
                .cmp(&(other.span.start_time_unix_nano, &other.span.name))
        });
        let (mut by_parent, mut by_link) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for received in &ordered {
            let span = &received.span;
            let place = [span.trace_id.as_slice(), &span.parent_span_id].concat();
            by_parent.entry(place).or_default().push(*received);
            for link in &span.links {
                by_link.entry(link.trace_id.as_slice()).or_default().push(*received);
            }
        }
        let by_id = spans.iter().map(|received| (received.span.span_id.as_slice(), received)).collect();
        Self { by_parent, by_id, by_link }
    }

    /// The tree of a trace, and below it those of the spans that are linked to it.
    pub fn draw(&self, trace: &[u8]) -> String {
        let caller = hex::decode(CALLER).unwrap_or_default();
        let mut rows = Vec::new();
        let mut drawn = BTreeSet::new();
        for root in self.children(trace, &caller) {
            self.span(root, None, "", "", &mut rows, &mut drawn);
        }
        for linked in self.by_link.get(trace).map(Vec::as_slice).unwrap_or_default() {
            self.span(linked, None, "", "", &mut rows, &mut drawn);
        }
        let all = self.by_id.values().filter(|received| received.span.trace_id == trace);
        for lost in all.filter(|received| !drawn.contains(received.span.span_id.as_slice())) {
            rows.push(self.row(lost, "(its parent never came) "));
        }
        if rows.is_empty() { "no spans\n".into() } else { align(&rows) }
    }

    fn children(&self, trace: &[u8], parent: &[u8]) -> &[&'a Received] {
        self.by_parent.get(&[trace, parent].concat()).map(Vec::as_slice).unwrap_or_default()
    }

    fn span(
        &self,
        received: &'a Received,
        parent: Option<&Span>,
        branch: &str,
        stem: &str,
        rows: &mut Vec<Row>,
        drawn: &mut BTreeSet<&'a [u8]>,
    ) {
        let span = &received.span;
        if !drawn.insert(&span.span_id) {
            return;
        }
        if parent.is_some_and(|parent| gave_up(parent, span)) {
            rows.push(Row { rest: "(whichever deadline came first)".into(), ..self.row(received, branch) });
        } else {
            rows.push(self.row(received, branch));
        }
        let children = self.children(&span.trace_id, &span.span_id);
        for (index, child) in children.iter().enumerate() {
            let (turn, below) =
                if index + 1 == children.len() { ("└── ", "    ") } else { ("├── ", "│   ") };
            let (branch, stem) = (format!("{stem}{turn}"), format!("{stem}{below}"));
            self.span(child, Some(span), &branch, &stem, rows, drawn);
        }
    }

    fn row(&self, received: &Received, branch: &str) -> Row {
        let span = &received.span;
        let mut rest = Vec::new();
        if let Some(status) = span.status.as_ref().filter(|status| status.code() != StatusCode::Unset) {
            rest.push(format!("{:?}", status.code()).to_uppercase());
            rest.extend((!status.message.is_empty()).then(|| format!("message={:?}", status.message)));
        }
        rest.extend(attributes(&span.attributes));
        for link in &span.links {
            let target = self.by_id.get(link.span_id.as_slice()).map(|known| known.span.name.as_str());
            rest.push(format!("linked to {}", target.unwrap_or("a span that never came")));
            rest.extend(attributes(&link.attributes));
        }
        rest.extend(span.events.iter().map(|event| format!("event {}", event.name)));
        rest.extend(lost(span));
        let kind = format!("{:?}", span.kind()).to_lowercase();
        Row {
            name: format!("{branch}{}", span.name),
            kind: format!("{kind} {}", role(received)),
            rest: rest.join(" "),
        }
    }
}

/// Whether the span's caller waited until its deadline: the server then sees its own deadline, or its caller go away.
fn gave_up(caller: &Span, span: &Span) -> bool {
    let late = |attribute: &KeyValue| {
        attribute.key == "rpc.response.status_code"
            && value(attribute.value.as_ref(), false) == "DEADLINE_EXCEEDED"
    };
    span.kind() == SpanKind::Server && caller.attributes.iter().any(late)
}

/// What can't be right in any span.
fn lost(span: &Span) -> Vec<String> {
    let dropped = span.dropped_attributes_count + span.dropped_events_count + span.dropped_links_count;
    let mut wrong = Vec::new();
    wrong.extend((dropped > 0).then(|| format!("{dropped} parts dropped")));
    wrong.extend(
        (span.end_time_unix_nano < span.start_time_unix_nano).then(|| "ends before it begins".to_owned()),
    );
    wrong.extend((!span.trace_state.is_empty()).then(|| format!("tracestate {}", span.trace_state)));
    wrong
}

fn align(rows: &[Row]) -> String {
    let width =
        |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (names, kinds) = (width(|row| &row.name), width(|row| &row.kind));
    let lines = rows.iter().map(|row| {
        let line = format!("{:names$}  {:kinds$}  {}", row.name, row.kind, row.rest);
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

/// `service.name`.
pub fn service(received: &Received) -> &str {
    let named = received.resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    match named.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(name)) => name,
        _ => "",
    }
}

/// The service, whichever twin it is.
fn role(received: &Received) -> &str {
    let name = service(received);
    name.split_once('-').map_or(name, |(role, _)| role)
}

/// The processes that sent spans, by their roles: scope and resource.
pub fn resources<'a>(spans: impl Iterator<Item = &'a Received>) -> Vec<(String, String)> {
    let mut all = BTreeMap::<String, BTreeSet<String>>::new();
    for received in spans {
        let scope = &received.scope;
        let named = [("name", &scope.name), ("version", &scope.version)];
        let said = named.into_iter().filter(|(_, value)| !value.is_empty());
        let mut parts: Vec<_> = said.map(|(key, value)| format!("scope.{key}={value}")).collect();
        parts.extend(attributes(&scope.attributes));
        let told = attributes(&received.resource.attributes);
        let twin = |line: String| {
            line.replace("=payments-rust", "=payments-(twin)").replace("=payments-go", "=payments-(twin)")
        };
        parts.extend(told.into_iter().map(twin));
        all.entry(role(received).to_owned()).or_default().insert(parts.join("\n"));
    }
    all.into_iter()
        .map(|(role, told)| {
            (role, told.into_iter().map(|lines| lines + "\n").collect::<Vec<_>>().join("or\n"))
        })
        .collect()
}

/// Sorted `key=value`; a repeated key shows.
fn attributes(all: &[KeyValue]) -> Vec<String> {
    let mut shown: Vec<_> = all
        .iter()
        .map(|attribute| {
            let variable = VARIABLE.contains(&attribute.key.as_str());
            let shown = value(attribute.value.as_ref(), variable);
            format!("{}={shown}", attribute.key)
        })
        .collect();
    shown.sort();
    shown
}

/// A text as it is, quoted where it has a blank; a number without quotes; of a variable one only its type.
fn value(value: Option<&AnyValue>, variable: bool) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(_)) if variable => "(text)".into(),
        Some(Value::DoubleValue(_)) if variable => "(double)".into(),
        Some(Value::IntValue(_)) if variable => "(int)".into(),
        Some(Value::StringValue(text)) if text.parse::<f64>().is_ok() || text.contains(' ') => {
            format!("{text:?}")
        }
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::Link;

    fn text(key: &str, value: &str) -> KeyValue {
        let value = AnyValue { value: Some(Value::StringValue(value.into())) };
        KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
    }

    /// Span `id` of trace 1 in the service, below `parent` (0: the caller).
    fn span(service: &str, name: &str, kind: SpanKind, id: u8, parent: u8) -> Received {
        let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
        let above = if parent == 0 { hex::decode(CALLER).unwrap() } else { vec![parent; 8] };
        Received {
            resource: resource.into(),
            scope: Default::default(),
            span: Span {
                trace_id: vec![1; 16],
                span_id: vec![id; 8],
                parent_span_id: above,
                name: name.into(),
                kind: kind.into(),
                start_time_unix_nano: id.into(),
                end_time_unix_nano: 100,
                ..Span::default()
            },
        }
    }

    #[test]
    fn a_tree_shows_its_spans_in_order_whoever_sent_them_first() {
        let mut spans = vec![
            span("payments-go", "record", SpanKind::Client, 4, 1),
            span("acquirer", "Sale", SpanKind::Server, 3, 2),
            span("payments-go", "Sale", SpanKind::Client, 2, 1),
            span("payments-go", "POST", SpanKind::Server, 1, 0),
        ];
        spans[0].span.attributes = vec![text("z", "1"), text("b", "two words"), text("twinpay.wait_ms", "x")];
        assert_eq!(
            Forest::grow(&spans).draw(&[1; 16]),
            "POST          server payments\n\
             ├── Sale      client payments\n\
             │   └── Sale  server acquirer\n\
             └── record    client payments  b=\"two words\" twinpay.wait_ms=(text) z=\"1\"\n"
        );
        assert_eq!(Forest::grow(&spans).draw(&[2; 16]), "no spans\n");
    }

    #[test]
    fn what_is_linked_lost_or_decided_by_a_race_is_said() {
        let mut spans = vec![
            span("payments-rust", "POST", SpanKind::Server, 1, 0),
            span("payments-rust", "Sale", SpanKind::Client, 2, 1),
            span("acquirer", "Sale", SpanKind::Server, 3, 2),
            span("payments-rust", "orphan", SpanKind::Client, 4, 9),
            span("payments-rust", "settle", SpanKind::Internal, 5, 0),
        ];
        spans[1].span.attributes = vec![text("rpc.response.status_code", "DEADLINE_EXCEEDED")];
        spans[2].span.attributes = vec![text("rpc.response.status_code", "CANCELLED")];
        spans[4].span.trace_id = vec![7; 16];
        spans[4].span.end_time_unix_nano = 1;
        spans[4].span.links = vec![Link { trace_id: vec![1; 16], span_id: vec![1; 8], ..Link::default() }];
        assert_eq!(
            Forest::grow(&spans).draw(&[1; 16]),
            "POST                            server payments\n\
             └── Sale                        client payments    rpc.response.status_code=DEADLINE_EXCEEDED\n    \
             └── Sale                    server acquirer    (whichever deadline came first)\n\
             settle                          internal payments  linked to POST ends before it begins\n\
             (its parent never came) orphan  client payments\n"
        );
    }
}
