//! The built program compares servers of known costs.

use std::process::Command;

use loadtests::calibrate::{Calibration, Known};

#[test]
fn a_known_ratio_is_found_and_intervals_are_counted() {
    let json = tempfile::NamedTempFile::new().expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args([
        "calibrate",
        "--ratio",
        "0.5",
        "--pairs",
        "20",
        "--slice",
        "50",
        "--runs",
        "2",
        "--run-pairs",
        "10",
    ]);
    let output = command.arg("--json").arg(json.path()).output().expect("it runs");
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(json.path()).expect("written");
    let found: Calibration = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {said}"));
    let [Known { truth, pairs, ratio, .. }] = found.known.as_slice() else { panic!("one ratio: {table}") };
    let estimate = ratio.estimate.expect("a ratio");
    // 200 requests each of costs that vary by half of their mean: five standard errors are 0.12.
    assert!(*truth == 0.5 && *pairs == 20 && (0.38..0.62).contains(&estimate), "{table}");
    let cpu = found.coverage[0].quantities.iter().find(|quantity| quantity.name == "cpu").expect("CPU");
    assert_eq!((found.coverage.len(), found.coverage[0].slice_ms, cpu.runs), (1, 50, 2), "{table}");
    // One run of so few may well miss; what it says and how it ends have to agree.
    assert_eq!(output.status.code(), Some(i32::from(!found.held())), "{said}{table}");
    assert!(
        table.contains("holds it") && said.contains("equal costs: 20 pairs of slices of 50 ms"),
        "{said}{table}"
    );
}
