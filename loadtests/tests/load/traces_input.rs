//! Files of traces that nobody would wish for: what can't be used is named with its place, and the rest compared.

use std::path::{Path, PathBuf};

use loadtests::command::traces::again;
use loadtests::traces::Blocks;
use loadtests::traces::model::Row;
use serde_json::Value;

use crate::spans::{USUAL, compare, file, line, request, span};

const REQUESTS: u64 = 40;
/// A line of another signal.
const LOGS: &str = "{\"resourceLogs\":[]}\n";

fn requests(service: &str) -> String {
    line(service, (1..=REQUESTS).flat_map(|trace| request(trace, USUAL)).collect())
}

/// A span whose trace has an id of 32 bits.
fn short() -> Value {
    let mut short = span(70, 1, 0, "pay", [0, 1]);
    short["traceId"] = "01010101".into();
    short
}

/// A trace of so many spans.
fn long(spans: u64) -> Vec<Value> {
    (1..=spans).map(|id| span(71, id, u64::from(id > 1), "pay", [id, id + 1])).collect()
}

/// One whose only child ends before it begins.
fn reversed() -> Vec<Value> {
    vec![span(72, 1, 0, "pay", [100, 900]), span(72, 2, 1, "back", [500, 300])]
}

/// A request whose first span doesn't say when it began.
fn beginless() -> Vec<Value> {
    let mut spans = vec![span(74, 1, 0, "pay", [0, 900]), span(74, 2, 1, "bank", [100, 300])];
    spans[0].as_object_mut().expect("a span").remove("startTimeUnixNano");
    spans
}

/// One that ends when no clock can say.
fn endless() -> Value {
    let mut endless = span(75, 1, 0, "pay", [100, 900]);
    endless["endTimeUnixNano"] = u64::MAX.to_string().into();
    endless
}

#[test]
fn what_cant_be_used_is_named_with_file_and_line_and_the_rest_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = file(folder.path(), "a.jsonl", requests("one") + &line("one", reversed()));
    let cut = requests("two");
    let lines = [
        requests("two"),
        LOGS.to_owned(),
        line("two", vec![short()]),
        line("two", long(10_000)),
        line("two", reversed()),
        line("other", request(73, USUAL)),
        line("two", beginless()),
        line("two", vec![endless()]),
        cut[..cut.len() / 2].to_owned(),
    ];
    let bad = file(folder.path(), "b.jsonl", lines.concat());
    let output = compare([&good, &bad], &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for (line, wanted) in [
        (2, "holds log records, not spans"),
        (3, "has a span whose trace id isn't 16 bytes that aren't all zero (\"01010101\" in `pay`)"),
        (4, "has a trace of more spans than are compared: left out (10000 in "),
        (5, "has a span that ends before it begins: taken as nothing long (by up to 0.200 ms)"),
        (6, "has requests of another service than the one that is compared: left out (`other`)"),
        (7, "has a span without a begin: left out (`pay`)"),
        (7, "has a span whose parent isn't there: left out, with all below it"),
        (8, "has a span that begins or ends after 2262: left out (`pay`)"),
        (9, "is cut off ("),
    ] {
        let wanted = format!("{}:{line}: {wanted}", bad.display());
        assert!(said.contains(&wanted), "{wanted}\n{said}");
    }
    assert!(said.contains("41 pairs by trace id; without a partner: 0 of one, 0 of two"), "{said}");
    assert!(said.contains("The same spans in the same places"), "{said}");
}

/// What is said, on one line, of two files that can't be compared.
fn refusal(files: [&Path; 2], arguments: &[&str]) -> String {
    let output = compare(files, arguments);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("loadtest: ")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    lines[0].to_owned()
}

#[test]
fn where_nothing_is_left_to_compare_it_says_why_and_exits_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = file(folder.path(), "good.jsonl", requests("one"));
    let whole = requests("two");
    for (content, wanted) in [
        ("", "there is no request in it; bad.jsonl:1: is empty"),
        (LOGS, "there is no request in it; bad.jsonl:1: holds log records, not spans"),
        (&whole[..200], "there is no request in it; bad.jsonl:1: is cut off ("),
        ("%PDF-1.7", "there is no request in it; bad.jsonl:1: begins with none of what the Collector's"),
        (&line("two", vec![short()]), "there is no request in it; bad.jsonl:1: has a span whose trace id"),
        (
            &line("two", long(10_000)),
            "there is no request in it; bad.jsonl:1: has a trace of more spans than",
        ),
    ] {
        let bad = file(folder.path(), "bad.jsonl", content);
        let wanted = wanted.replace("bad.jsonl", &bad.display().to_string());
        for files in [[good.as_path(), &bad], [&bad, &good]] {
            let said = refusal(files, &[]);
            assert!(said.starts_with(&format!("loadtest: {}: {wanted}", bad.display())), "{said}");
        }
    }
    let sells = whole.replace("\"pay\"", "\"sell\"");
    let said = refusal([&good, &file(folder.path(), "sells.jsonl", sells)], &["--by", "operation"]);
    let wanted = "nothing to compare, no operation is on both sides: one has `pay`; two has `sell`";
    assert_eq!(said, format!("loadtest: {wanted}"));
    let gone = folder.path().join("gone.jsonl");
    assert!(
        refusal([&good, &gone], &[]).starts_with(&format!("loadtest: {} can't be read: ", gone.display()))
    );
    let said = refusal([&good, &good], &["--assert", "p99<1"]);
    assert_eq!(
        said,
        "loadtest: --assert 'p99<1': unknown figure `p99`; known are structure_differences, unpaired, troubles, vocabulary"
    );
}

#[test]
fn what_the_collector_wrote_says_the_same_as_what_was_received() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collector");
    let said = |name: &str| {
        let out = tempfile::tempdir().expect("a folder");
        let files = ["rust", "go"].map(|side| recorded.join(side).join(name));
        let page = ["--out", out.path().to_str().expect("a name")];
        let output = compare(files.each_ref().map(|file| file.as_path()), &page);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let json = std::fs::read(out.path().join("traces.json")).expect("traces.json");
        let mut report: Value = serde_json::from_slice(&json).expect("JSON");
        for side in report["sides"].as_array_mut().expect("sides") {
            assert_eq!((&side["requests"], &side["troubles"]), (&5.into(), &serde_json::json!([])));
            side["files"].take();
        }
        report
    };
    let received = said("received.jsonl");
    assert_eq!(received, said("exported.jsonl"));
    assert_eq!(received, said("exported.bin"));
}

#[test]
fn what_the_services_waited_for_the_hash_pool_lies_before_its_run() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collector");
    let files = ["rust", "go"].map(|side| recorded.join(side).join("received.jsonl"));
    let report = again(&files, ["rust", "go"].map(String::from), Blocks::Windows(1), 0, 1).expect("traces");
    let made = report.operations.iter().find(|one| one.name == "POST /v1/payment_tokens").expect("one");
    let took = |waited: bool| {
        let hashed = |row: &&Row| row.path.last().is_some_and(|name| name == "hash_pool.run");
        let row = made.rows.iter().filter(hashed).find(|row| row.wait.is_some() == waited);
        row.expect("a row").critical_ns
    };
    // As their spans say: the attributes, and from begin to end.
    assert_eq!(took(true), [377.0, 705.0]);
    assert_eq!(took(false), [2_578_264.0, 3_981_101.0]);
}

/// What is said of two files within a limit of memory.
fn within(limit: &str, files: &[PathBuf; 2]) -> String {
    let output = std::process::Command::new("prlimit")
        .args([limit, env!("CARGO_BIN_EXE_loadtest"), "traces"])
        .args(files)
        .output()
        .expect("prlimit (Debian: util-linux) runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn memory_grows_with_places_and_not_with_traces() {
    // All of these spans at once would take several times as much.
    const LIMIT: &str = "--data=67108864";
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["one", "two"].map(|service| {
        let batches = (0..40_000u64).collect::<Vec<_>>();
        let batches = batches.chunks(500);
        let lines: String = batches
            .map(|batch| line(service, batch.iter().flat_map(|trace| request(*trace + 1, USUAL)).collect()))
            .collect();
        file(folder.path(), service, lines)
    });
    let said = within(LIMIT, &files);
    assert!(said.contains("40\u{202f}000 pairs by trace id") || said.contains("40 000 pairs"), "{said}");
}

#[test]
fn many_places_with_few_requests_each_and_a_trace_without_end_take_little_memory() {
    const LIMIT: &str = "--data=67108864";
    // Each is in every window of time on both sides, with one or two requests.
    const OPERATIONS: u64 = 12;
    const PLACES: u64 = 20;
    let of = |trace: u64| {
        let began = 1_000_000 + trace * 100_000;
        let named = format!("pay {}", trace % OPERATIONS);
        let below = (1..PLACES).map(move |place| {
            let from = began + place * 5000;
            span(trace, place + 1, 1, &format!("place {place}"), [from, from + 4000 + trace % 91])
        });
        let root = span(trace, 1, 0, &named, [began, began + PLACES * 5000]);
        [root].into_iter().chain(below).collect::<Vec<_>>()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["one", "two"].map(|service| {
        let requests = (1..=OPERATIONS * 36).map(|trace| line(service, of(trace)));
        let endless = (0..100u64).map(|part| {
            let spans = (part * 1000 + 1..=part * 1000 + 1000)
                .map(|id| span(1 << 40, id, u64::from(id > 1), "endless", [id, id + 1]));
            line(service, spans.collect())
        });
        let endless: String = if service == "one" { endless.collect() } else { String::new() };
        file(folder.path(), service, requests.collect::<String>() + &endless)
    });
    let said = within(LIMIT, &files);
    assert!(said.contains("has a trace of more spans than are compared: left out (100000 in "), "{said}");
    assert!(said.contains("432 pairs by trace id"), "{said}");
}
