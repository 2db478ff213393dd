//! The built program measures the machine's limits, from starting everything to the table and the JSON.

use std::fs;
use std::process::Command;

use loadtests::limits::Limits;

use crate::interrupt::{descendants, ended};

#[test]
fn every_limit_is_measured_or_says_how_to_get_it() {
    let json = tempfile::NamedTempFile::new().expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["limits", "--seconds", "2", "--repetitions", "1", "--smoke", "--json"]).arg(json.path());
    let output = command.output().expect("it runs");
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let text = std::fs::read_to_string(json.path()).expect("written");
    let limits: Limits = serde_json::from_str(&text).expect("limits");
    let names: Vec<_> = limits.rows.iter().map(|row| row.name.as_str()).collect();
    let wanted = [
        "hash_rust",
        "hash_go",
        "database_sale",
        "database_tokenize",
        "door_rust",
        "door_cpu_rust",
        "door_go",
        "door_cpu_go",
    ];
    assert_eq!(names, wanted, "{table}");
    for row in &limits.rows {
        let Some(figure) = &row.figure else {
            // Not everybody's Postgres comes with it.
            let why = row.missing.as_deref().unwrap_or_default();
            assert!(
                row.name.starts_with("database_") && why.contains("apt-get install postgresql"),
                "{row:?}"
            );
            continue;
        };
        assert!(figure.values.len() == 1 && figure.low > 0.0 && figure.median <= figure.high, "{row:?}");
        assert!(table.contains(&row.label), "{table}");
    }
    let names: Vec<_> = limits.saturations.iter().map(|one| one.name.as_str()).collect();
    let wanted = ["tokenize", "sale", "read"]
        .map(|kind| ["rust", "go"].map(|twin| format!("saturated_{kind}_{twin}")));
    assert_eq!(names, wanted.concat(), "{table}");
    for one in &limits.saturations {
        let limit = limits.rows.iter().find(|row| row.label == one.limit).expect("a row of it");
        assert!(one.rate.low > 0.0 && one.cpu_us.low > 0.0, "{one:?}");
        assert_eq!(one.share.is_some(), limit.figure.is_some(), "{one:?}");
        assert!(table.contains(&one.label), "{table}");
    }
}

/// What the machine can do at most isn't asked of services that are set for a slow card network, nor with one.
#[test]
fn limits_are_measured_in_the_usual_surroundings_whatever_was_played_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = folder.path().join("slow.toml");
    let settings = r#"settings = { card_network_latency = "fixed:70ms", TWINPAY_HASH_ITERATIONS = "1025" }"#;
    let text = include_str!("../../scenarios/tokenize.toml");
    let (head, rest) = text.split_once("\n\n").expect("a paragraph");
    fs::write(&scenario, format!("{head}\n{settings}\n\n{rest}")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "--smoke", "--limits", "--scenario"]).arg(&scenario);
    command.arg("--out").arg(folder.path().join("report"));
    let mut set = Vec::new();
    let is_time = |line: &str| line.starts_with("limits: repetition 1");
    let end = ended(&mut command, is_time, |pid| {
        for (child, _) in descendants(pid) {
            let environment = fs::read_to_string(format!("/proc/{child}/environ")).unwrap_or_default();
            let ours =
                |line: &&str| line.starts_with("ACQUIRER_LATENCY") || line.starts_with("TWINPAY_HASH_IT");
            set.extend(environment.split('\0').filter(ours).map(str::to_owned));
        }
        assert!(Command::new("kill").args(["-INT", &pid.to_string()]).status().expect("kill runs").success());
    });
    set.sort();
    // The card network, and two services of a trial.
    let wanted =
        ["ACQUIRER_LATENCY=fixed:2ms", "TWINPAY_HASH_ITERATIONS=1024", "TWINPAY_HASH_ITERATIONS=1024"];
    assert_eq!(set, wanted, "{}", end.stderr);
}
