//! The spans of one side on the disk, in buckets by their trace's id: files hold spans in any order, and a trace can only be
//! judged when all of it is there. One bucket at a time is in memory.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use super::read::{Item, Unusable, read};
use super::trouble::{Place, Troubles};

/// Of each side, the same in both: few enough files to be open at once, and enough that of a hundred million spans a bucket
/// still has room in memory.
pub const BUCKETS: usize = 128;
/// Each bucket's buffer while it is filled.
const BUFFER: usize = 32 << 10;
/// More spans than a trace may have that is compared: each is a place of its own in the sums, perhaps.
pub const SPANS_MAX: usize = 4096;
/// The same of requests that one value of an attribute pairs: they are in memory together, as a trace's spans are.
pub const KEYED_MAX: usize = 1 << 16;
const TRACE_ID: usize = 16;
const SPAN_ID: usize = 8;
/// In April of 2262, in ns of the Unix epoch: as far as most clocks count.
const LAST: u64 = i64::MAX as u64;

/// Who made spans: one process.
#[derive(Debug, PartialEq, Eq)]
pub struct Process {
    /// `service.name`; empty where it doesn't say.
    pub service: String,
}

/// A span as it was read.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whose.
    pub process: Arc<Process>,
    /// As it came.
    pub span: Span,
    /// Where.
    pub place: Place,
    /// By what its request is paired; empty: by the trace's id.
    pub key: Vec<u8>,
}

impl Found {
    /// By what its request is paired.
    pub fn key(&self) -> &[u8] {
        if self.key.is_empty() { &self.span.trace_id } else { &self.key }
    }
}

/// A span on the disk.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint32, tag = "1")]
    process: u32,
    #[prost(uint32, tag = "2")]
    file: u32,
    #[prost(uint64, tag = "3")]
    line: u64,
    #[prost(bytes = "vec", tag = "4")]
    key: Vec<u8>,
    #[prost(message, required, tag = "5")]
    span: Span,
}

/// All spans of one side.
#[derive(Debug)]
pub struct Spill {
    processes: Vec<Arc<Process>>,
    /// By all that a process says of itself, encoded.
    known: HashMap<Vec<u8>, u32>,
    buckets: Vec<BufWriter<File>>,
    /// Spans that one key may have.
    most: usize,
    /// How many are held.
    pub spans: u64,
    /// What couldn't be used.
    pub troubles: Troubles,
}

/// The files of a side: one, or all in a folder, as a Collector that begins new ones leaves them.
pub fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let named = || format!("{} can't be read", path.display());
    let entries = std::fs::read_dir(path).with_context(named)?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(named)?.path();
        files.extend(path.is_file().then_some(path));
    }
    files.sort();
    if files.is_empty() {
        bail!("{}: there is no file in it", path.display());
    }
    Ok(files)
}

impl Spill {
    /// Nothing yet, of files with these names.
    pub fn new(names: Vec<String>) -> anyhow::Result<Self> {
        let bucket = || anyhow::Ok(BufWriter::with_capacity(BUFFER, tempfile::tempfile()?));
        let buckets: anyhow::Result<Vec<_>> = (0..BUCKETS).map(|_| bucket()).collect();
        Ok(Self {
            processes: Vec::new(),
            known: HashMap::new(),
            buckets: buckets.context("no place for the spans")?,
            most: SPANS_MAX,
            spans: 0,
            troubles: Troubles::of(names),
        })
    }

    /// Reads files; `progress` hears of each batch.
    pub fn read(files: &[PathBuf], progress: &mut dyn FnMut(u64)) -> anyhow::Result<Self> {
        let names = files.iter().map(|file| file.display().to_string()).collect();
        let mut spill = Self::new(names)?;
        for (file, path) in (0..).zip(files) {
            read(path, &mut |Item { line, spans }| {
                let place = Place { file, line };
                match spans {
                    Ok(spans) => spans.into_iter().try_for_each(|spans| spill.add(place, spans))?,
                    Err(Unusable { what, detail }) => spill.troubles.add(place, what, detail),
                }
                progress(spill.spans);
                Ok(())
            })?;
        }
        Ok(spill)
    }

    /// Takes what one process sent at once.
    pub fn add(&mut self, place: Place, sent: ResourceSpans) -> anyhow::Result<()> {
        let process = self.process(sent.resource.unwrap_or_default());
        for span in sent.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            if let Some((what, detail)) = unusable(&span) {
                self.troubles.add(place, what, detail);
                continue;
            }
            self.write(Record { process, file: place.file, line: place.line, key: Vec::new(), span })?;
        }
        Ok(())
    }

    fn write(&mut self, record: Record) -> anyhow::Result<()> {
        let key = if record.key.is_empty() { &record.span.trace_id } else { &record.key };
        let bucket = bucket_of(key);
        let bytes = record.encode_length_delimited_to_vec();
        self.buckets[bucket].write_all(&bytes).context("no place for the spans")?;
        self.spans += 1;
        Ok(())
    }

    /// The same files with other spans in place of these: requests by another key than their trace's id.
    pub fn rekeyed(&self) -> anyhow::Result<Self> {
        let Self { processes, known, .. } = self;
        let (processes, known) = (processes.clone(), known.clone());
        Ok(Self { processes, known, most: KEYED_MAX, ..Self::new(Vec::new())? })
    }

    /// Takes a span of a process that it knows, with its request's key.
    pub fn add_keyed(&mut self, found: &Found, key: &[u8]) -> anyhow::Result<()> {
        let same = |known: &Arc<Process>| Arc::ptr_eq(known, &found.process);
        let process = self.processes.iter().position(same).context("a span of a process that isn't known")?;
        let Place { file, line } = found.place;
        self.write(Record {
            process: process as u32,
            file,
            line,
            key: key.to_vec(),
            span: found.span.clone(),
        })
    }

    fn process(&mut self, resource: Resource) -> u32 {
        let next = self.processes.len() as u32;
        let said = resource.encode_to_vec();
        *self.known.entry(said).or_insert_with(|| {
            self.processes.push(Arc::new(Process { service: service(&resource).to_owned() }));
            next
        })
    }

    /// All spans of a bucket.
    pub fn bucket(&mut self, index: usize) -> anyhow::Result<Bucket> {
        let bucket = &mut self.buckets[index];
        bucket.flush().context("no place for the spans")?;
        let file = bucket.get_mut();
        file.seek(SeekFrom::Start(0))?;
        let mut file = BufReader::with_capacity(BUFFER, file);
        let mut keys: HashMap<Vec<u8>, Key> = HashMap::new();
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        while let Some(record) = next(&mut file, &mut bytes)? {
            let Record { process, file, line, key, span } = record;
            let process = self.processes[process as usize].clone();
            let found = Found { process, span, place: Place { file, line }, key };
            let known = match keys.get_mut(found.key()) {
                Some(known) => known,
                None => keys.entry(found.key().to_vec()).or_insert(Key { first: found.place, spans: 0 }),
            };
            known.spans += 1;
            if known.spans <= self.most {
                spans.push(found);
            }
        }
        keys.retain(|_, key| key.spans > self.most);
        if !keys.is_empty() {
            spans.retain(|found| !keys.contains_key(found.key()));
        }
        let order = |found: &Found| (found.key().to_vec(), found.span.trace_id.clone());
        spans.sort_by_cached_key(order);
        let mut long: Vec<_> = keys.into_iter().collect();
        long.sort_by_key(|(_, key)| key.first);
        Ok(Bucket { spans, long })
    }
}

/// What there is of a bucket. No more than a key may have of spans is in memory for any.
#[derive(Debug)]
pub struct Bucket {
    /// By their key, then by their trace's id; within a trace in the order in which they were read. Of a key with too many none.
    pub spans: Vec<Found>,
    /// The keys of those.
    pub long: Vec<(Vec<u8>, Key)>,
}

/// The spans of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Where the first was read.
    pub first: Place,
    /// How many there are.
    pub spans: usize,
}

/// The next record; `bytes` are for it. Nothing at the end.
fn next(file: &mut impl BufRead, bytes: &mut Vec<u8>) -> anyhow::Result<Option<Record>> {
    let begin = file.fill_buf()?;
    if begin.is_empty() {
        return Ok(None);
    }
    // The length has a byte for each seven bits; the last has no highest bit.
    bytes.clear();
    loop {
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        bytes.extend(byte);
        if byte[0] < 0x80 {
            break;
        }
    }
    let length = prost::decode_length_delimiter(bytes.as_slice())?;
    bytes.clear();
    file.take(length as u64).read_to_end(bytes)?;
    Ok(Some(Record::decode(bytes.as_slice())?))
}

/// `service.name`.
fn service(resource: &Resource) -> &str {
    let named = resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    match named.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(name)) => name,
        Some(_) | None => "",
    }
}

/// What is wrong with a span that can stand in no trace.
fn unusable(span: &Span) -> Option<(&'static str, String)> {
    let ids = [
        (&span.trace_id, TRACE_ID, "has a span whose trace id isn't 16 bytes that aren't all zero"),
        (&span.span_id, SPAN_ID, "has a span whose id isn't 8 bytes that aren't all zero"),
    ];
    let bad = |id: &[u8], length: usize| id.len() != length || id.iter().all(|byte| *byte == 0);
    let named = |id: &[u8]| format!("{:?} in `{}`", hex::encode(id), span.name);
    if let Some((id, _, what)) = ids.into_iter().find(|(id, length, _)| bad(id, *length)) {
        return Some((what, named(id)));
    }
    let parent = &span.parent_span_id;
    if !parent.is_empty() && parent.len() != SPAN_ID {
        return Some(("has a span whose parent's id is neither 8 bytes nor nothing", named(parent)));
    }
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    let odd = [
        (start == 0, "has a span without a begin: left out"),
        (start.max(end) > LAST, "has a span that begins or ends after 2262: left out"),
    ];
    let (_, what) = odd.into_iter().find(|(is, _)| *is)?;
    Some((what, format!("`{}`", span.name)))
}

/// The same for both sides.
fn bucket_of(key: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;

    fn sent(service: &str, spans: Vec<Span>) -> ResourceSpans {
        let value = AnyValue { value: Some(Value::StringValue(service.into())) };
        let name = KeyValue { key: "service.name".into(), value: Some(value), ..KeyValue::default() };
        ResourceSpans {
            resource: Some(Resource { attributes: vec![name], ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    }

    fn span(trace: u8, id: u8) -> Span {
        Span {
            trace_id: vec![trace; 16],
            span_id: vec![id; 8],
            name: format!("{id}"),
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            ..Span::default()
        }
    }

    fn all(spill: &mut Spill) -> Vec<Vec<(u8, u8, String, u64)>> {
        let shown = |found: &Found| {
            let Found { process, span, place, .. } = found;
            (span.trace_id[0], span.span_id[0], process.service.clone(), place.line)
        };
        (0..BUCKETS).map(|index| spill.bucket(index).unwrap().spans.iter().map(shown).collect()).collect()
    }

    #[test]
    fn a_trace_is_whole_in_one_bucket_whoever_sent_its_spans_and_when() {
        let mut spill = Spill::new(vec!["a".into()]).unwrap();
        let mut add = |line, sent| spill.add(Place { file: 0, line }, sent).unwrap();
        add(1, sent("x", (1..=20).map(|trace| span(trace, 1)).collect()));
        add(2, sent("y", (1..=20).map(|trace| span(trace, 2)).collect()));
        for _ in 0..2 {
            let buckets = all(&mut spill);
            let mut together: Vec<_> = buckets.concat();
            for bucket in &buckets {
                let pairs =
                    bucket.chunks(2).all(|two| two[0].0 == two[1].0 && (two[0].1, two[1].1) == (1, 2));
                assert!(pairs, "{bucket:?}");
            }
            together.sort();
            let wanted =
                (1..=20).flat_map(|trace| [(trace, 1, "x".to_owned(), 1), (trace, 2, "y".to_owned(), 2)]);
            assert_eq!(together, wanted.collect::<Vec<_>>(), "and again");
        }
        assert_eq!((spill.spans, spill.processes.len()), (40, 2));
    }

    #[test]
    fn a_key_of_more_spans_than_it_may_have_is_told_and_has_none() {
        let mut spill = Spill::new(vec!["a".into()]).unwrap();
        spill.most = 3;
        let mut add = |line, sent| spill.add(Place { file: 0, line }, sent).unwrap();
        add(1, sent("x", (1..=2).map(|id| span(7, id)).collect()));
        add(2, sent("x", (3..=9).map(|id| span(7, id)).chain((1..=3).map(|id| span(8, id))).collect()));
        let kept: Vec<_> = all(&mut spill).concat().into_iter().map(|(trace, id, ..)| (trace, id)).collect();
        assert_eq!(kept, [(8, 1), (8, 2), (8, 3)]);
        let long: Vec<_> = (0..BUCKETS).flat_map(|index| spill.bucket(index).unwrap().long).collect();
        let key = Key { first: Place { file: 0, line: 1 }, spans: 9 };
        assert_eq!(long, [(vec![7; 16], key)]);
    }

    #[test]
    fn spans_without_proper_ids_are_named_and_left_out() {
        let mut spill = Spill::new(vec!["a.jsonl".into()]).unwrap();
        let bad = [
            Span { trace_id: vec![1; 4], ..span(1, 1) },
            Span { trace_id: vec![0; 16], ..span(1, 2) },
            Span { span_id: vec![7; 4], ..span(1, 3) },
            Span { parent_span_id: vec![1; 4], ..span(1, 4) },
        ];
        let good = Span { parent_span_id: vec![9; 8], ..span(2, 5) };
        let spans = bad.into_iter().chain([good]).collect();
        spill.add(Place { file: 0, line: 3 }, sent("x", spans)).unwrap();
        assert_eq!(all(&mut spill).concat(), [(2, 5, "x".to_owned(), 3)]);
        let told: Vec<_> = spill.troubles.list().iter().map(ToString::to_string).collect();
        let wanted = [
            "a.jsonl:3: has a span whose id isn't 8 bytes that aren't all zero (\"07070707\" in `3`)",
            "a.jsonl:3: has a span whose parent's id is neither 8 bytes nor nothing (\"01010101\" in `4`)",
            "a.jsonl:3: has a span whose trace id isn't 16 bytes that aren't all zero (\"01010101\" in `1`); 1 more there",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn spans_of_no_time_that_could_be_are_named_and_left_out() {
        let mut spill = Spill::new(vec!["a.jsonl".into()]).unwrap();
        let of =
            |id, start, end| Span { start_time_unix_nano: start, end_time_unix_nano: end, ..span(1, id) };
        let spans = vec![of(1, 0, 9), of(2, 9, u64::MAX), of(3, u64::MAX, 9), of(4, 1, LAST), of(5, 9, 0)];
        spill.add(Place { file: 0, line: 3 }, sent("x", spans)).unwrap();
        let kept: Vec<_> = all(&mut spill).concat().into_iter().map(|(_, id, ..)| id).collect();
        // One that ends before it begins is judged where its tree is.
        assert_eq!(kept, [4, 5]);
        let told: Vec<_> = spill.troubles.list().iter().map(ToString::to_string).collect();
        let wanted = [
            "a.jsonl:3: has a span that begins or ends after 2262: left out (`2`); 1 more there",
            "a.jsonl:3: has a span without a begin: left out (`1`)",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_side_is_a_file_or_all_files_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(files(folder.path()).unwrap_err().to_string().contains("there is no file in it"));
        for name in ["b", "a"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(files(folder.path()).unwrap(), ["a", "b"].map(|name| folder.path().join(name)));
        let one = folder.path().join("a");
        assert_eq!(files(&one).unwrap(), [one]);
    }
}
