//! Who is compared: the built program on the built services.

use std::fs;
use std::process::Command;

use loadtests::report::{Report, ScenarioReport};
use stack::instance::Twin;

/// Has the programs of this build stand in for tuned ones.
pub fn tuned_stand_ins(command: &mut Command) {
    for twin in Twin::ALL {
        let name = format!("TWINPAY_BIN_{}_TUNED", twin.name().to_uppercase());
        command.env(name, twin.binary().expect("built"));
    }
}

/// A comparison of seconds that ends with `code`; its report, and its folder.
fn compared(code: i32, arguments: &[&str]) -> (Report, tempfile::TempDir) {
    let out = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    tuned_stand_ins(&mut command);
    // How fast an unoptimised build is on a busy machine is not the business here.
    let unserved = "skipped,shed,dropped,connections";
    let run = ["compare", "--smoke", "--scenario", "tokenize", "--allow-void", unserved];
    let output = command.args(run).args(arguments).arg("--out").arg(out.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{}{said}", String::from_utf8_lossy(&output.stdout));
    let verify =
        Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("verify").arg(out.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&verify.stdout);
    assert_eq!(verify.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&verify.stderr));
    (Report::read(&out.path().join("report.json")).expect("a report"), out)
}

#[test]
fn a_service_is_compared_with_a_second_instance_of_itself() {
    let (report, out) = compared(0, &["--pair", "go,go", "--pairs", "2"]);
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
        for wanted in ["Go A against Go B", "Both are the same program"] {
            assert!(text.contains(wanted), "{file} lacks {wanted:?}");
        }
        let other = text.match_indices("Rust").map(|(at, _)| &text[at.saturating_sub(40)..at + 20]);
        assert_eq!(
            other.collect::<Vec<_>>(),
            Vec::<&str>::new(),
            "{file} speaks of a service that had no part"
        );
    }
    // The hash of each card was made: nothing was faster than half of one, which is known.
    let floor = report.scenarios[0].validity.iter().find(|bound| bound.name == "floor").expect("floor");
    assert!(floor.held && floor.measured.contains("tokenize "), "{floor:?}");
    assert!(report.scenarios[0].basis.floors.iter().all(|(_, floor_us)| *floor_us > 0), "{floor:?}");
    // Each had a database of its own: what both were asked for is there twice, not once.
    let bound = report.scenarios[0].validity.iter().find(|bound| bound.name == "counts").expect("counts");
    assert!(bound.held && bound.measured.contains("Go A ") && bound.measured.contains("Go B "), "{bound:?}");
    assert_eq!(bound.measured.matches(" counted by the service").count(), 2, "{bound:?}");
}

#[test]
fn a_control_of_each_service_stands_beside_the_ratios() {
    let (report, out) = compared(0, &["--control", "--control-pairs", "2"]);
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
            "Go against a second instance of itself, 2 pairs of slices, the first of 3",
            "Each was compared with a second instance of itself, too",
        ] {
            assert!(text.contains(wanted), "{file} lacks {wanted:?}");
        }
    }
}

#[test]
fn tuned_services_are_compared_too_and_each_with_its_default() {
    let (report, out) = compared(0, &["--tuned", "--pairs", "2"]);
    let scenario = &report.scenarios[0];
    let rows = scenario.rows.as_ref().expect("rows");
    let names: Vec<_> = rows.compared.iter().map(|one| (one.name.as_str(), one.label.as_str())).collect();
    let wanted = [
        ("tuned", "Rust tuned against Go tuned"),
        ("rust_tuned", "Rust tuned against Rust"),
        ("go_tuned", "Go tuned against Go"),
    ];
    assert_eq!(names, wanted);
    for one in &rows.compared {
        let played = &one.report;
        assert_eq!(played.trace_sha256, scenario.trace_sha256);
        assert!(played.slices.iter().all(|slices| slices.len() == 2), "raw slices of both");
        let [first, second] = &one.report.basis.builds[..] else { panic!("{:?}", one.report.basis.builds) };
        assert_eq!((first.tuned, second.tuned), (true, one.name == "tuned"));
    }
    // What a runtime was told is what it does.
    let looked = |report: &ScenarioReport, of: usize, series: &str| {
        let looks = report.basis.contenders[of].looks.as_ref().expect("it was looked at");
        looks.each_ref().map(|look| look.series.get(series).copied())
    };
    let (default, tuned) = (scenario, &rows.compared[0].report);
    let gogc = |report: &ScenarioReport| looked(report, 1, "go_config_gogc_percent");
    assert_eq!([gogc(default), gogc(tuned)], [[Some(100.0); 2], [Some(400.0); 2]]);
    let processors = |report: &ScenarioReport| looked(report, 1, "go_processor_limit")[0];
    assert_eq!([processors(default), processors(tuned)], [Some(1.0), Some(2.0)]);
    assert_eq!(looked(default, 0, "tokio_workers"), [Some(1.0); 2]);
    for row in ["gc_cycles", "jemalloc_resident", "switches_voluntary"] {
        assert!(default.server.iter().any(|told| told.name == row), "{row}: {:?}", default.server);
    }
    for file in ["report.html", "summary.md"] {
        let text = fs::read_to_string(out.path().join(file)).expect("written");
        for wanted in [
            "Rust tuned against Go tuned",
            "GOMAXPROCS=2",
            "TWINPAY_DATABASE_CONNECTIONS",
            "Inside the services",
        ] {
            assert!(text.contains(wanted), "{file} lacks {wanted:?}");
        }
    }
}

#[test]
fn an_assert_that_is_not_held_ends_in_1_and_is_shown_everywhere() {
    let junit = tempfile::NamedTempFile::new().expect("a file");
    let path = junit.path().to_str().expect("a path");
    let asserts = ["--assert", "errors==0", "--assert", "tokenize:cpu_ratio<0.0001", "--junit", path];
    let (report, out) = compared(1, &[&["--pair", "go,go", "--pairs", "2"], asserts.as_slice()].concat());
    let held: Vec<_> = report.asserts.iter().map(|one| (one.assert.as_str(), one.held)).collect();
    assert_eq!(held, [("errors==0", true), ("tokenize:cpu_ratio<0.0001", false)]);
    for (file, not_held) in [("report.html", "<td>NOT HELD</td>"), ("summary.md", "NOT HELD")] {
        let text = fs::read_to_string(out.path().join(file)).expect("written");
        assert!(text.contains(not_held) && text.contains("errors==0"), "{file}: {text}");
    }
    let read = quick_junit::Report::deserialize_from_str(&fs::read_to_string(path).expect("written"));
    let suites = read.expect("JUnit").test_suites;
    let [run, suite] = suites.as_slice() else { panic!("the run and its scenario: {suites:#?}") };
    assert_eq!((run.name.as_str(), run.failures), ("run", 0));
    let bounds = report.scenarios[0].validity.len();
    assert_eq!((suite.name.as_str(), suite.tests, suite.failures), ("tokenize", bounds + 2, 1));
}
