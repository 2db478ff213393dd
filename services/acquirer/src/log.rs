//! JSON lines on stdout, for the few things that happen outside of calls.

use std::io::Write;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Writes `{"timestamp", "level", "message", …}`; `more` is an object whose members come last.
pub fn line(level: &str, message: &str, more: Value) {
    let timestamp = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let mut line = json!({ "timestamp": timestamp, "level": level, "message": message });
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
    }
    // A reader that has gone away is no reason to stop.
    writeln!(std::io::stdout().lock(), "{line}").ok();
}
