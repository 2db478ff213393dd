//! Spans for tests.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;

use super::links::Whose;
use super::spill::{Found, Process};
use super::trouble::Place;

/// Name, id, parent's id (0: none), start and end in ns.
pub type Made = (&'static str, u16, u16, u64, u64);

fn id(number: u16) -> Vec<u8> {
    if number == 0 { Vec::new() } else { u64::from(number).to_be_bytes().into() }
}

/// Who made them.
const SERVICE: &str = "service";

/// Their requests.
pub fn whose() -> Whose {
    Whose { service: SERVICE.into(), unsure: false }
}

/// Spans of one trace and one process, each on its line from 1.
pub fn made(spans: &[Made]) -> Vec<Found> {
    made_by(SERVICE, spans)
}

/// The same of another process.
pub fn made_by(service: &str, spans: &[Made]) -> Vec<Found> {
    let process = Arc::new(Process { service: service.into() });
    let found = |(line, (name, own, parent, start, end)): (u64, &Made)| Found {
        process: process.clone(),
        span: Span {
            trace_id: vec![1; 16],
            span_id: id(*own),
            parent_span_id: id(*parent),
            name: (*name).into(),
            start_time_unix_nano: *start,
            end_time_unix_nano: *end,
            ..Span::default()
        },
        place: Place { file: 0, line },
        key: Vec::new(),
    };
    (1..).zip(spans).map(found).collect()
}

/// An attribute for them.
pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
