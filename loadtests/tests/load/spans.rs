//! Files of spans as a service's exporter and a Collector would have left them, for services that don't exist.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// What a request's parts take, in µs.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// Of the hash, before its work began.
    pub wait: u64,
    /// The hash's work.
    pub run: u64,
    /// The bank.
    pub bank: u64,
}

/// Of a request for which nothing else is asked.
pub const USUAL: Took = Took { wait: 200, run: 2000, bank: 5000 };
/// The attribute that tells [`Took::wait`].
pub const WAIT: &str = "app.wait_ms";
/// Between two requests' begins, in µs.
const APART: u64 = 10_000;

/// A span of a trace; `parent` 0: it has none. Times in µs.
pub fn span(trace: u64, id: u64, parent: u64, name: &str, [start, end]: [u64; 2]) -> Value {
    let parent = if parent == 0 { String::new() } else { format!("{parent:016x}") };
    json!({
        "traceId": format!("{trace:032x}"),
        "spanId": format!("{id:016x}"),
        "parentSpanId": parent,
        "name": name,
        "kind": if parent.is_empty() { 2 } else { 3 },
        "startTimeUnixNano": (start * 1000).to_string(),
        "endTimeUnixNano": (end * 1000).to_string(),
    })
}

/// The request of a trace: `pay`, and below it one after another `hash` and `bank`, a few percent shorter or longer than `took`.
pub fn request(trace: u64, took: Took) -> Vec<Value> {
    // In no order, and the same each time.
    let around = |us: u64, part: u64| us + us * ((trace * 7919 + part * 104_729) % 101) / 1000;
    let began = 1_000_000 + trace * APART;
    let wait = around(took.wait, 1);
    let hashed = began + 50 + wait + around(took.run, 2);
    let paid = hashed + 20 + around(took.bank, 3);
    let mut hash = span(trace, 2, 1, "hash", [began + 50, hashed]);
    hash["attributes"] = json!([{ "key": WAIT, "value": { "doubleValue": wait as f64 / 1e3 } }]);
    vec![span(trace, 1, 0, "pay", [began, paid + 50]), hash, span(trace, 3, 1, "bank", [hashed + 20, paid])]
}

/// A batch of one service, as a line.
pub fn line(service: &str, spans: Vec<Value>) -> String {
    let name = json!({ "key": "service.name", "value": { "stringValue": service } });
    let sent =
        json!({ "resource": { "attributes": [name] }, "scopeSpans": [{ "scope": {}, "spans": spans }] });
    json!({ "resourceSpans": [sent] }).to_string() + "\n"
}

/// A file of these bytes.
pub fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("written");
    path
}

/// `loadtest traces` of two files.
pub fn compare(files: [&Path; 2], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.arg("traces").args(files).args(["--wait", &format!("{WAIT}=ms")]).args(arguments);
    command.output().expect("it runs")
}
