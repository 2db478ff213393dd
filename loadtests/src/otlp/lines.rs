//! What was sent as lines of OTLP/JSON, none longer than may be read again. JSON says the same in several times as many bytes as
//! Protobuf: a request that was short enough may be too long as one line.

use std::io::{self, ErrorKind, Write};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

/// What became of spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lined {
    /// In lines that were taken.
    pub taken: usize,
    /// Too long for a line of their own.
    pub long: usize,
    /// In lines that weren't taken.
    pub lost: usize,
}

/// How many spans.
pub fn count(sent: &[ResourceSpans]) -> usize {
    sent.iter().flat_map(|sent| &sent.scope_spans).map(|scope| scope.spans.len()).sum()
}

/// Hands out one line after another, each with its end and of at most `longest` bytes, until one isn't taken.
pub fn lined(sent: Vec<ResourceSpans>, longest: usize, take: &mut dyn FnMut(Vec<u8>) -> bool) -> Lined {
    let mut lined = Lined::default();
    let mut left = vec![ExportTraceServiceRequest { resource_spans: sent }];
    while let Some(batch) = left.pop() {
        let spans = count(&batch.resource_spans);
        match line(&batch, longest).map(&mut *take) {
            Some(true) => lined.taken += spans,
            Some(false) => {
                lined.lost = spans + left.iter().map(|batch| count(&batch.resource_spans)).sum::<usize>();
                break;
            }
            None if spans > 1 => {
                let halves = halves(batch.resource_spans, spans / 2).into_iter().rev();
                left.extend(halves.map(|resource_spans| ExportTraceServiceRequest { resource_spans }));
            }
            None => lined.long += spans,
        }
    }
    lined
}

/// Nothing where it would be longer.
fn line(batch: &ExportTraceServiceRequest, longest: usize) -> Option<Vec<u8>> {
    let mut line = Line { text: Vec::new(), longest };
    // Nothing else can go wrong in memory.
    serde_json::to_writer(&mut line, batch).ok()?;
    line.write_all(b"\n").ok()?;
    Some(line.text)
}

/// Text of a length that isn't exceeded.
struct Line {
    text: Vec<u8>,
    longest: usize,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.longest {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first so many spans and the rest, each with who made them.
fn halves(sent: Vec<ResourceSpans>, mut first: usize) -> [Vec<ResourceSpans>; 2] {
    let mut halves = [Vec::new(), Vec::new()];
    for mut sent in sent {
        let mut scopes = [Vec::new(), Vec::new()];
        for mut scope in std::mem::take(&mut sent.scope_spans) {
            let rest = scope.spans.split_off(first.min(scope.spans.len()));
            first -= scope.spans.len();
            if !rest.is_empty() {
                scopes[1].push(ScopeSpans {
                    spans: rest,
                    scope: scope.scope.clone(),
                    schema_url: scope.schema_url.clone(),
                });
            }
            if !scope.spans.is_empty() {
                scopes[0].push(scope);
            }
        }
        for (half, scope_spans) in halves.iter_mut().zip(scopes) {
            if !scope_spans.is_empty() {
                half.push(ResourceSpans { scope_spans, ..sent.clone() });
            }
        }
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::Span;

    /// Resource (as its count of dropped attributes), scope, and span by its name.
    type Named = (u32, String, String);

    fn named(sent: &[ResourceSpans]) -> Vec<Named> {
        let mut all = Vec::new();
        for sent in sent {
            for scope in &sent.scope_spans {
                let of = (sent.resource.as_ref().unwrap(), scope.scope.as_ref().unwrap());
                let told =
                    |span: &Span| (of.0.dropped_attributes_count, of.1.name.clone(), span.name.clone());
                all.extend(scope.spans.iter().map(told));
            }
        }
        all
    }

    /// Two processes with two scopes each, of so many spans.
    fn sent(spans: [usize; 4]) -> Vec<ResourceSpans> {
        let scope = |index: usize| {
            let span = |number| Span { name: format!("{index} {number}"), ..Span::default() };
            let scope = InstrumentationScope { name: format!("scope {index}"), ..Default::default() };
            let spans = (0..spans[index]).map(span).collect();
            ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }
        };
        let process = |index: usize| ResourceSpans {
            resource: Some(Resource { dropped_attributes_count: index as u32, ..Resource::default() }),
            scope_spans: vec![scope(2 * index), scope(2 * index + 1)],
            ..ResourceSpans::default()
        };
        vec![process(0), process(1)]
    }

    #[test]
    fn what_is_too_long_for_a_line_is_several_with_every_span_of_whoever_made_it() {
        const LONGEST: usize = 2000;
        for spans in [[3, 20, 1, 11], [0, 0, 50, 0], [1, 1, 1, 1], [0, 0, 0, 1]] {
            let sent = sent(spans);
            let (wanted, count) = (named(&sent), spans.iter().sum());
            let (mut lines, mut found) = (0, Vec::new());
            let told = lined(sent, LONGEST, &mut |line| {
                assert!(line.len() <= LONGEST && line.ends_with(b"\n"));
                let batch: ExportTraceServiceRequest = serde_json::from_slice(&line).unwrap();
                found.extend(named(&batch.resource_spans));
                lines += 1;
                true
            });
            assert_eq!((found, told), (wanted, Lined { taken: count, long: 0, lost: 0 }));
            assert!(lines > count / 8 && lines <= count, "{lines} lines of {count} spans");
        }
    }

    #[test]
    fn a_span_that_is_too_long_alone_is_left_out_and_what_isnt_taken_is_counted() {
        let mut long = sent([5, 5, 5, 5]);
        long[1].scope_spans[0].spans[2].name = "x".repeat(2000);
        let all = |long: &[ResourceSpans], takes: usize| {
            let mut lines = 0;
            lined(long.to_vec(), 2000, &mut |_| {
                lines += 1;
                lines <= takes
            })
        };
        assert_eq!(all(&long, 100), Lined { taken: 19, long: 1, lost: 0 });
        let Lined { taken, lost, .. } = all(&long, 1);
        assert!(taken > 0 && lost > 0 && taken + lost == 20, "{taken} and {lost}");
    }
}
