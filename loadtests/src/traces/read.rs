//! Files of spans, as the OpenTelemetry Collector's file exporter writes them: OTLP/JSON, a batch a line, in any order
//! (<https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>). The exporter also writes Protobuf, and either
//! compressed: then four bytes, the highest first, tell each batch's size. A whole file that somebody compressed with gzip
//! or zstd is read too. Which it is, its first bytes tell.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::iter;
use std::path::Path;

use anyhow::Context;
use flate2::bufread::MultiGzDecoder;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::otlp::LONGEST;
use crate::otlp::lenient::{self, Batch};

/// At a time from the disk.
const BUFFER: usize = 1 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const SIZE: usize = size_of::<u32>();
const NOT_OTLP: &str = "holds no spans in JSON as OTLP has it";
const ODD_SPAN: &str = "has a span that isn't as OTLP has it";

/// Why a batch can't be used: what is wrong, the same for all that have it, and of this one in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// For a sentence about the batch.
    pub what: &'static str,
    /// More about this one; may be empty.
    pub detail: String,
}

/// A batch, or why it or one of its spans can't be used.
#[derive(Debug)]
pub struct Item {
    /// Its line from 1, or its number where the file has no lines.
    pub line: u64,
    /// Its spans.
    pub spans: Result<Vec<ResourceSpans>, Unusable>,
}

/// What a batch came to: its spans, and what of it can't be used.
type Came = Vec<Result<Vec<ResourceSpans>, Unusable>>;

/// Takes each batch; its error ends the reading.
type Each<'a> = &'a mut dyn FnMut(Item) -> anyhow::Result<()>;

/// One line. Another signal is told from nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signals {
    resource_spans: Option<Vec<ResourceSpans>>,
    resource_metrics: Option<IgnoredAny>,
    resource_logs: Option<IgnoredAny>,
    resource_profiles: Option<IgnoredAny>,
}

fn unusable(what: &'static str, detail: impl ToString) -> Unusable {
    Unusable { what, detail: detail.to_string() }
}

/// Every batch of a file, in its order. One that can't be used doesn't end it; a file that can't be opened, or a disk that
/// can't be read, is an error.
pub fn read(path: &Path, each: Each<'_>) -> anyhow::Result<()> {
    let named = || format!("{} can't be read", path.display());
    let mut file = BufReader::with_capacity(BUFFER, File::open(path).with_context(named)?);
    let begin = file.fill_buf().with_context(named)?;
    let whole: Box<dyn Read> = if begin.starts_with(&GZIP) {
        Box::new(MultiGzDecoder::new(file))
    } else if begin.starts_with(&ZSTD) {
        Box::new(zstd::Decoder::with_buffer(file).with_context(named)?)
    } else {
        Box::new(file)
    };
    let mut plain = BufReader::with_capacity(BUFFER, whole);
    let first = match plain.fill_buf() {
        Ok(bytes) => bytes.first().copied(),
        Err(error) => return ended(1, error, each).with_context(named),
    };
    match first {
        None => each(Item { line: 1, spans: Err(unusable("is empty", "")) }),
        // The highest byte of a size is below these: no batch is that long.
        Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => lines(plain, each).with_context(named),
        Some(_) => sized(plain, each).with_context(named),
    }
}

/// Where the content can't be read on: a compressed file that is cut off or damaged. Anything else is the disk's.
fn ended(line: u64, error: io::Error, each: Each<'_>) -> anyhow::Result<()> {
    use ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    if matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput | Other) {
        return each(Item { line, spans: Err(unusable("and what follows is cut off or damaged", error)) });
    }
    Err(error.into())
}

fn lines(mut file: impl BufRead, each: Each<'_>) -> anyhow::Result<()> {
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let read = match file.by_ref().take(LONGEST as u64).read_until(b'\n', &mut text) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return ended(line, error, each),
        };
        if read == LONGEST && text.last() != Some(&b'\n') {
            each(Item { line, spans: Err(too_long()) })?;
            if let Err(error) = file.skip_until(b'\n') {
                return ended(line, error, each);
            }
        } else if !text.trim_ascii().is_empty() {
            told(line, json(&text), each)?;
        }
    }
    Ok(())
}

fn told(line: u64, came: Came, each: Each<'_>) -> anyhow::Result<()> {
    came.into_iter().try_for_each(|spans| each(Item { line, spans }))
}

fn too_long() -> Unusable {
    unusable("is longer than a batch may be", format!("{} MiB", LONGEST >> 20))
}

fn sized(mut file: impl Read, each: Each<'_>) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    for line in 1.. {
        match part(&mut file, SIZE, &mut bytes) {
            Ok(0) => break,
            Ok(SIZE) => {}
            Ok(_) => return each(Item { line, spans: Err(unusable("is cut off", "")) }),
            Err(error) => return ended(line, error, each),
        }
        let size = bytes.iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
        if size > LONGEST {
            let what = "begins with none of what the Collector's file exporter writes";
            let detail = "a line of JSON, or four bytes that tell a batch's size";
            return each(Item { line, spans: Err(unusable(what, detail)) });
        }
        match part(&mut file, size, &mut bytes) {
            Ok(read) if read == size => told(line, batch(&bytes), each)?,
            Ok(_) => return each(Item { line, spans: Err(unusable("is cut off", "")) }),
            Err(error) => return ended(line, error, each),
        }
    }
    Ok(())
}

/// As much of `size` bytes as there is.
fn part(file: &mut impl Read, size: usize, bytes: &mut Vec<u8>) -> io::Result<usize> {
    bytes.clear();
    file.take(size as u64).read_to_end(bytes)
}

/// JSON or Protobuf, compressed or not.
fn batch(bytes: &[u8]) -> Came {
    if !bytes.starts_with(&ZSTD) {
        return message(bytes);
    }
    let mut plain = Vec::new();
    let read = zstd::Decoder::with_buffer(bytes)
        .and_then(|decoder| decoder.take(LONGEST as u64 + 1).read_to_end(&mut plain));
    match read {
        Ok(read) if read > LONGEST => vec![Err(too_long())],
        Ok(_) => message(&plain),
        Err(error) => vec![Err(unusable("can't be decompressed", error))],
    }
}

fn message(bytes: &[u8]) -> Came {
    if bytes.first() == Some(&b'{') {
        return json(bytes);
    }
    let data = TracesData::decode(bytes);
    vec![data.map(|data| data.resource_spans).map_err(|error| unusable("holds no spans in Protobuf", error))]
}

fn json(text: &[u8]) -> Came {
    let found: Signals = match serde_json::from_slice(text) {
        Ok(found) => found,
        Err(error) if error.is_eof() => return vec![Err(unusable("is cut off", error))],
        Err(error) => return span_by_span(text, error),
    };
    let others = [
        (found.resource_metrics, "holds metrics, not spans"),
        (found.resource_logs, "holds log records, not spans"),
        (found.resource_profiles, "holds profiles, not spans"),
    ];
    match (found.resource_spans, others.into_iter().find(|(other, _)| other.is_some())) {
        (Some(spans), _) => vec![Ok(spans)],
        (None, Some((_, what))) => vec![Err(unusable(what, ""))],
        (None, None) => vec![Err(unusable("holds no spans", "there is no `resourceSpans`"))],
    }
}

/// A batch that can't be read at once.
fn span_by_span(text: &[u8], error: serde_json::Error) -> Came {
    let whole = serde_json::from_slice::<Value>(text).ok();
    match whole.and_then(|mut whole| lenient::batch(whole.get_mut("resourceSpans")?.take())) {
        Some(Batch { spans, refused }) => {
            let refused = refused.into_iter().map(|why| Err(unusable(ODD_SPAN, why)));
            iter::once(Ok(spans)).chain(refused).collect()
        }
        None => vec![Err(unusable(NOT_OTLP, error))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
    use std::io::Write;

    fn spans(name: &str) -> Vec<ResourceSpans> {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: name.into(),
            start_time_unix_nano: u64::MAX - 1,
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }]
    }

    fn line(name: &str) -> Vec<u8> {
        let text = serde_json::json!({ "resourceSpans": spans(name) }).to_string() + "\n";
        text.into_bytes()
    }

    fn protobuf(name: &str) -> Vec<u8> {
        TracesData { resource_spans: spans(name) }.encode_to_vec()
    }

    fn with_size(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 0).unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    /// Each item's line, and its first span's name or what is wrong.
    fn items(content: &[u8]) -> Vec<(u64, String)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let mut found = Vec::new();
        let mut each = |item: Item| {
            let told = match item.spans {
                Ok(spans) => spans[0].scope_spans[0].spans[0].name.clone(),
                Err(Unusable { what, .. }) => what.to_owned(),
            };
            found.push((item.line, told));
            Ok(())
        };
        read(file.path(), &mut each).unwrap();
        found
    }

    fn told(wanted: &[(u64, &str)]) -> Vec<(u64, String)> {
        wanted.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn each_form_of_the_file_exporter_is_read_and_whole_files_compressed() {
        let json = [line("one"), line("two")].concat();
        let forms = [
            json.clone(),
            gzip(&json),
            zstd(&json),
            [with_size(&protobuf("one")), with_size(&protobuf("two"))].concat(),
            [with_size(&zstd(&protobuf("one"))), with_size(&zstd(&protobuf("two")))].concat(),
            [with_size(&zstd(&line("one"))), with_size(&zstd(&line("two")))].concat(),
        ];
        for (index, form) in forms.iter().enumerate() {
            assert_eq!(items(form), told(&[(1, "one"), (2, "two")]), "form {index}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_line_and_the_rest_is_read() {
        let cut = &line("two")[..40];
        let bad =
            [&line("one"), b"\n".as_slice(), b"{\"resourceLogs\":[]}\n", b"{}\n", b"{]\n", cut].concat();
        let wanted = [
            (1, "one"),
            (3, "holds log records, not spans"),
            (4, "holds no spans"),
            (5, "holds no spans in JSON as OTLP has it"),
            (6, "is cut off"),
        ];
        assert_eq!(items(&bad), told(&wanted));
        assert_eq!(items(b""), told(&[(1, "is empty")]));
        let unknown = "begins with none of what the Collector's file exporter writes";
        assert_eq!(items(b"%PDF-1.7"), told(&[(1, unknown)]));
    }

    #[test]
    fn an_odd_span_is_told_and_the_rest_of_its_line_is_read() {
        let text = String::from_utf8(line("one")).unwrap();
        let begin = text.find("\"spans\":[").unwrap() + "\"spans\":[".len();
        let odd = format!("{}{}{}", &text[..begin], r#"{"traceId":"x","name":"odd"},"#, &text[begin..]);
        assert_eq!(items(odd.as_bytes()), told(&[(1, "one"), (1, ODD_SPAN)]));
        assert_eq!(items(b"{\"resourceSpans\":{}}\n"), told(&[(1, NOT_OTLP)]));
    }

    #[test]
    fn a_file_that_is_cut_off_is_read_up_to_there() {
        let json = [line("one"), line("two")].concat();
        let zstd = zstd(&json);
        let (last, read) = (items(&zstd[..zstd.len() - 8]), "and what follows is cut off or damaged");
        assert_eq!(last.last().map(|(_, what)| what.as_str()), Some(read));
        let sized = [with_size(&protobuf("one")), with_size(&protobuf("two"))].concat();
        assert_eq!(items(&sized[..sized.len() - 3]), told(&[(1, "one"), (2, "is cut off")]));
        assert_eq!(
            items(&sized[..with_size(&protobuf("one")).len() + 2]),
            told(&[(1, "one"), (2, "is cut off")])
        );
    }
}
