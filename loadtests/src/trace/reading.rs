//! Reads a trace that `loadtest trace` wrote, and refuses what can't be played: the line, and what is wrong with it.

use std::path::Path;

use super::{Line, Trace};
use crate::scenario::{Scenario, ScenarioError};
use crate::workload::Workload;

/// What helps against all of it.
const REMEDY: &str = "`loadtest trace` with the same scenario writes a whole one";

/// The lines of a file, each of which `scenario` and `workload` can play.
pub(super) fn lines(
    path: &Path,
    scenario: &Scenario,
    workload: &dyn Workload,
) -> Result<Vec<Line>, ScenarioError> {
    let file = path.display().to_string();
    let fail = |field: String, problem: String| ScenarioError::File { file: file.clone(), field, problem };
    let text = std::fs::read_to_string(path)
        .map_err(|error| fail("file".into(), format!("can't be read: {error}")))?;
    if text.is_empty() {
        return Err(fail("line 1".into(), format!("has no requests; {REMEDY}")));
    }
    let mut lines: Vec<Line> = Vec::new();
    for (index, text) in text.split_inclusive('\n').enumerate() {
        let read = read(text, scenario, lines.last());
        let line = read.map_err(|problem| fail(format!("line {}", index + 1), problem))?;
        lines.push(line);
    }
    if let Some(problem) = short(&lines, scenario) {
        return Err(fail(format!("line {}", lines.len()), problem));
    }
    let trace = Trace::from_lines(lines);
    workload
        .check_trace(&trace)
        .map_err(|(id, problem)| fail(format!("line {}", id + 1), format!("{problem}; {REMEDY}")))?;
    Ok(trace.lines)
}

/// Whether it ends so early that whole slices have no request.
fn short(lines: &[Line], scenario: &Scenario) -> Option<String> {
    let (end_us, last_us) = (scenario.total_us(), lines.last()?.due_us);
    (end_us - last_us > scenario.slice_ms * 1000).then(|| {
        let (last_s, end_s) = (last_us as f64 / 1e6, end_us as f64 / 1e6);
        format!(
            "is the last, due after {last_s} s, and the scenario ends after {end_s} s: give the options that the trace was written with"
        )
    })
}

/// One line, which follows on `before`.
fn read(text: &str, scenario: &Scenario, before: Option<&Line>) -> Result<Line, String> {
    let Some(whole) = text.strip_suffix('\n') else {
        return Err(format!("is cut off; {REMEDY}"));
    };
    let line: Line = serde_json::from_str(whole)
        .map_err(|error| format!("isn't a request of this version's traces ({error}); {REMEDY}"))?;
    let (number, earliest_us) = before.map_or((0, 0), |before| (before.id + 1, before.due_us));
    if line.id != number {
        return Err(format!(
            "has the number {}, expected {number}: a line is missing or moved; {REMEDY}",
            line.id
        ));
    }
    if line.due_us < earliest_us {
        return Err(format!("is due at {} µs, before the line above; {REMEDY}", line.due_us));
    }
    if line.due_us >= scenario.total_us() {
        let (due_s, end_s) = (line.due_us as f64 / 1e6, scenario.total_us() as f64 / 1e6);
        let end = format!("the scenario ends after {end_s} s");
        return Err(format!(
            "is due after {due_s} s, and {end}: give the options that the trace was written with"
        ));
    }
    if line.needs.is_some_and(|earlier| earlier >= line.id) {
        return Err(format!(
            "needs the request {}, which isn't before it; {REMEDY}",
            line.needs.unwrap_or(0)
        ));
    }
    Ok(line)
}
