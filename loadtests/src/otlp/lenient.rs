//! OTLP/JSON as it is found in the wild. `opentelemetry-proto` refuses a whole batch for what its protocol allows to be left out
//! (the Collector writes an empty list as `{"arrayValue":{}}`) or what others write (names of enumerations, `NaN`): such a
//! batch is read span by span, so that no more is lost than the spans that nobody could read.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Map, Value, json};

/// A batch as far as it can be read.
#[derive(Debug, Default)]
pub struct Batch {
    /// What could.
    pub spans: Vec<ResourceSpans>,
    /// Of each span that couldn't, why.
    pub refused: Vec<String>,
}

/// The `resourceSpans` of a batch; nothing where they are no list.
pub fn batch(resource_spans: Value) -> Option<Batch> {
    let Value::Array(all) = resource_spans else { return None };
    let mut batch = Batch::default();
    for mut one in all {
        mend(&mut one);
        let scopes = taken(&mut one, "scopeSpans");
        let mut sent: ResourceSpans = match serde_json::from_value(one) {
            Ok(sent) => sent,
            Err(error) => {
                let lost = scopes.into_iter().flat_map(|mut scope| taken(&mut scope, "spans"));
                batch.refused.extend(lost.map(|span| told(&span, &error)));
                continue;
            }
        };
        sent.scope_spans = scopes.into_iter().map(|scope| scope_of(scope, &mut batch.refused)).collect();
        batch.spans.push(sent);
    }
    Some(batch)
}

/// A scope that can't be read is none; its spans stand without it.
fn scope_of(mut scope: Value, refused: &mut Vec<String>) -> ScopeSpans {
    let spans = taken(&mut scope, "spans");
    let mut read: ScopeSpans = serde_json::from_value(scope).unwrap_or_default();
    for span in spans {
        match serde_json::from_value::<Span>(span.clone()) {
            Ok(span) => read.spans.push(span),
            Err(error) => refused.push(told(&span, &error)),
        }
    }
    read
}

fn told(span: &Value, error: &serde_json::Error) -> String {
    format!("{error} in `{}`", span["name"].as_str().unwrap_or_default())
}

fn taken(object: &mut Value, key: &str) -> Vec<Value> {
    match object.as_object_mut().and_then(|object| object.remove(key)) {
        Some(Value::Array(all)) => all,
        Some(_) | None => Vec::new(),
    }
}

/// Puts in what may be left out, and writes as OTLP has it what others write otherwise.
fn mend(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(mend),
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            mend_object(object);
            object.values_mut().for_each(mend);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn mend_object(object: &mut Map<String, Value>) {
    for list in ["arrayValue", "kvlistValue"] {
        if let Some(Value::Object(list)) = object.get_mut(list) {
            list.entry("values").or_insert_with(|| json!([]));
        }
    }
    if object.contains_key("value") {
        object.entry("key").or_insert_with(|| json!(""));
    }
    // JSON has no such number.
    if let Some(Value::String(_)) = object.get("doubleValue")
        && let Some(text) = object.remove("doubleValue")
    {
        object.insert("stringValue".into(), text);
    }
    if let Some(Value::Array(all)) = object.get_mut("entityRefs") {
        for entity in all.iter_mut().filter_map(Value::as_object_mut) {
            entity.entry("schemaUrl").or_insert_with(|| json!(""));
        }
    }
    let number = |value: &Value, of: fn(&str) -> Option<i32>| value.as_str().and_then(of);
    let kind = object
        .get("kind")
        .and_then(|kind| number(kind, |name| SpanKind::from_str_name(name).map(|kind| kind as i32)));
    let code = object
        .get("code")
        .and_then(|code| number(code, |name| StatusCode::from_str_name(name).map(|code| code as i32)));
    object.extend(kind.map(|kind| ("kind".to_owned(), json!(kind))));
    object.extend(code.map(|code| ("code".to_owned(), json!(code))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(change: impl FnOnce(&mut Value)) -> Value {
        let mut span = json!({
            "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "name": "GET",
            "kind": 2, "startTimeUnixNano": "1", "endTimeUnixNano": "2", "attributes": [], "status": {},
        });
        change(&mut span);
        span
    }

    fn read(span: Value) -> Batch {
        let resource =
            json!({ "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] });
        let scopes = json!([{ "scope": {}, "spans": [span, self::span(|_| {})] }]);
        batch(json!([{ "resource": resource, "scopeSpans": scopes }])).unwrap()
    }

    #[test]
    fn what_may_be_left_out_or_is_written_otherwise_is_read() {
        let attributes =
            |value: Value| span(|span| span["attributes"] = json!([{ "key": "k", "value": value }]));
        let odd = [
            attributes(json!({ "arrayValue": {} })),
            attributes(json!({ "kvlistValue": {} })),
            attributes(json!({ "doubleValue": "NaN" })),
            span(|span| span["attributes"] = json!([{ "value": { "intValue": "1" } }])),
            span(|span| span["parentSpanId"] = Value::Null),
            span(|span| span["kind"] = json!("SPAN_KIND_SERVER")),
            span(|span| span["status"] = json!({ "code": "STATUS_CODE_ERROR" })),
        ];
        for odd in odd {
            assert!(serde_json::from_value::<Span>(odd.clone()).is_err(), "it needs no mending: {odd}");
            let Batch { spans, refused } = read(odd.clone());
            assert_eq!((spans[0].scope_spans[0].spans.len(), refused), (2, vec![]), "{odd}");
        }
        let failed = read(span(|span| span["status"] = json!({ "code": "STATUS_CODE_ERROR" })));
        let status = failed.spans[0].scope_spans[0].spans[0].status.clone().unwrap();
        assert_eq!(status.code(), StatusCode::Error);
    }

    #[test]
    fn a_span_that_cannot_be_read_is_told_and_the_rest_of_its_batch_is_read() {
        let Batch { spans, refused } = read(span(|span| span["startTimeUnixNano"] = json!("soon")));
        assert_eq!((spans[0].scope_spans[0].spans.len(), refused.len()), (1, 1));
        assert!(refused[0].ends_with(" in `GET`"), "{refused:?}");
        assert!(batch(json!({})).is_none());
    }
}
