//! Who is compared: the built program on the built services.

use std::fs;
use std::process::Command;

use loadtests::report::Report;

/// A comparison of seconds; its report, and its folder.
fn compared(arguments: &[&str]) -> (Report, tempfile::TempDir) {
    let out = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let run = ["compare", "--smoke", "--scenario", "tokenize"];
    let output = command.args(run).args(arguments).arg("--out").arg(out.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}{said}", String::from_utf8_lossy(&output.stdout));
    (Report::read(&out.path().join("report.json")).expect("a report"), out)
}

#[test]
fn a_service_is_compared_with_a_second_instance_of_itself() {
    let (report, out) = compared(&["--pair", "go,go", "--pairs", "2"]);
    let called: Vec<_> =
        report.contenders.iter().map(|one| (one.name.as_str(), one.label.as_str())).collect();
    assert_eq!(called, [("go_a", "Go A"), ("go_b", "Go B")]);
    assert!(
        report.contenders.iter().all(|one| one.version.implementation == "go"),
        "{:?}",
        report.contenders
    );
    for file in ["report.html", "summary.md"] {
        let text = fs::read_to_string(out.path().join(file)).expect("written");
        for wanted in ["Go A against Go B", "Both are the same program (an A/A comparison)"] {
            assert!(text.contains(wanted), "{file} lacks {wanted:?}: {text}");
        }
        assert!(!text.contains("Rust"), "{file} speaks of a service that had no part: {text}");
    }
    // Each had a database of its own: what both were asked for is there twice, not once.
    let bound = report.scenarios[0].validity.iter().find(|bound| bound.name == "counts").expect("counts");
    assert!(bound.held && bound.measured.contains("Go A ") && bound.measured.contains("Go B "), "{bound:?}");
}

#[test]
fn a_control_of_each_service_stands_beside_the_ratios() {
    let (report, out) = compared(&["--control", "--control-pairs", "2"]);
    let scenario = &report.scenarios[0];
    let names: Vec<_> = scenario.controls.iter().map(|control| control.name.as_str()).collect();
    assert_eq!(names, ["rust", "go"]);
    for control in &scenario.controls {
        let played = &control.report;
        assert_eq!((played.scenario.pairs, scenario.scenario.pairs), (2, 3));
        assert!(played.slices.iter().all(|slices| slices.len() == 2), "raw slices of both");
        assert_eq!(played.trace_sha256, scenario.trace_sha256);
        let same = |index: usize| played.slices[index].iter().map(|slice| slice.offered).collect::<Vec<_>>();
        assert_eq!(same(0), same(1));
        let counts = played.validity.iter().find(|bound| bound.name == "counts").expect("counts");
        assert!(counts.held && counts.measured.contains(&format!("{} A ", control.label)), "{counts:?}");
    }
    for file in ["report.html", "summary.md"] {
        let text = fs::read_to_string(out.path().join(file)).expect("written");
        for wanted in [
            "A/A control",
            "Control (A/A): Go against a second instance of itself, the first 2 of 3 pairs of slices",
            "Each was compared with a second instance of itself, too (A/A)",
        ] {
            assert!(text.contains(wanted), "{file} lacks {wanted:?}");
        }
    }
}
