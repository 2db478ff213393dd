//! The built program plays one service by itself, and looks at what it takes beside the work.

use std::process::Command;

use loadtests::solo::{SoloReport, SoloRun};
use loadtests::validity::name;

use crate::verify::loadtest;

#[test]
fn one_scenario_is_played_once_on_one_service_and_everything_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    // The first stage is 36 s long: the trace ends in it.
    command.args(["run", "--service", "rust", "--smoke", "--rate", "10", "--pairs", "2", "--slice", "1000"]);
    let output = command.args(["--warm-up", "0.5", "--out"]).arg(folder.path()).output().expect("it runs");
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{table}");
    let text = std::fs::read_to_string(folder.path().join("report.json")).expect("written");
    let run: SoloRun = serde_json::from_str(&text).expect("a run");
    assert!(run.overall.offered > 20 && run.stages.len() == 1 && run.stages[0].seconds == 2.0, "{table}");
    assert!(run.overall.expected * 100 >= run.overall.offered * 85, "{table}");
    let held = |wanted: &str| run.validity.iter().any(|bound| bound.name == wanted && bound.held);
    assert!(held(name::COUNTS) && held(name::INVARIANTS) && held(name::COMPLETE), "{:#?}", run.validity);
    assert!(
        run.cpu_us_a_reply > 0.0 && run.switches_a_reply > 0.0 && run.memory.samples.len() > 10,
        "{table}"
    );
    assert!(table.contains("Rust alone, checkout: "), "{table}");
    assert!(
        said.contains("checkout: rust is warm") && said.contains(" requests on Rust, trace sha256 "),
        "{said}"
    );
    let (code, said) = loadtest(folder.path());
    assert!(code == Some(0) && said.contains("every trace was drawn again the same"), "{said}");
}

#[test]
fn a_profile_of_the_service_is_recorded_while_its_load_lasts() {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("go.pprof");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["run", "--service", "go", "--smoke", "--rate", "10", "--pairs", "2", "--slice", "1000"]);
    command.args(["--warm-up", "0.5", "--out"]).arg(folder.path().join("out")).arg("--profile").arg(&profile);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = std::fs::read(&profile).expect("a profile");
    assert!(written.len() > 200 && written.starts_with(&[0x1f, 0x8b]), "no gzip: {} bytes", written.len());
}

#[test]
fn what_services_take_beside_the_work_is_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let (json, scenario) = (folder.path().join("solo.json"), folder.path().join("boundless.toml"));
    // Without a bound there is no capacity to look for, which would take longer than a test may.
    let text = include_str!("../../scenarios/checkout.toml").replace("p99_ms = 50.0", "");
    std::fs::write(&scenario, text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["solo", "--smoke", "--blocks", "1", "--starts", "2", "--held", "30", "--scenario"]);
    let output = command.arg(&scenario).arg("--json").arg(&json).output().expect("it runs");
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{table}");
    assert!(said.contains("boundless: names no solo.p99_ms"), "{said}");
    let report: SoloReport =
        serde_json::from_str(&std::fs::read_to_string(json).expect("written")).expect("JSON");
    assert!(report.capacities.is_empty());
    for footprint in &report.footprints {
        let names: Vec<_> = footprint.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(
            names,
            ["start_ms", "binary", "rss_idle", "rss_loaded", "connection", "request", "switches"],
            "{:?}",
            footprint.left_out
        );
        let figure = |name: &str| &footprint.rows.iter().find(|row| row.name == name).expect("a row").figure;
        assert!(figure("start_ms").values.len() == 2 && figure("start_ms").low > 0.0, "{table}");
        assert!(figure("rss_loaded").median > figure("rss_idle").median / 2.0, "{table}");
    }
    assert_eq!(report.footprints.len(), 2);
}
