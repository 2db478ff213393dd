//! Reports of several runs beside each other.

use std::path::Path;
use std::process::Command;

use loadtests::report::{Report, Run, diff};
use loadtests::stats::{Interval, Ratio};

use crate::compare::whole;

fn runs(reports: Vec<Report>) -> Vec<Run> {
    let run = |(report, letter): (Report, char)| Run { letter, path: format!("{letter}.json"), report };
    reports.into_iter().zip('A'..).map(run).collect()
}

fn told(reports: Vec<Report>) -> String {
    diff(&runs(reports)).expect("comparable")
}

/// The whole report with a median's ratio and interval of this size.
fn with_ratio(estimate: f64, half: f64) -> Report {
    let mut report = whole().clone();
    let interval = Some(Interval { low: estimate - half, high: estimate + half });
    report.scenarios[0].metrics[0].ratio = Ratio { estimate: Some(estimate), interval, no_interval: None };
    report
}

/// The last cell of run B's line on the median.
fn verdict(text: &str) -> String {
    let line = text.lines().skip_while(|line| !line.contains("p50 latency")).nth(1).expect("run B's line");
    let cells: Vec<_> = line.split('┆').map(|cell| cell.trim_matches([' ', '│'])).collect();
    assert_eq!(cells[1], "B", "{text}");
    cells.last().expect("a cell").to_string()
}

#[test]
fn a_ratio_is_told_from_another_run_s_only_beyond_both_intervals() {
    let cases = [
        (0.68, 0.01, "15 % lower (0.83 to 0.87 times)"),
        (0.92, 0.02, "15 % higher (1.12 to 1.18 times)"),
        (0.81, 0.02, "no difference seen (±2.8 %)"),
        (0.90, 0.60, "too noisy to say"),
    ];
    for (now, half, wanted) in cases {
        let text = told(vec![with_ratio(0.8, 0.01), with_ratio(now, half)]);
        assert_eq!(verdict(&text), wanted, "{text}");
    }
    let mut few = with_ratio(0.8, 0.01);
    few.scenarios[0].metrics[0].ratio.interval = None;
    assert_eq!(verdict(&told(vec![with_ratio(0.8, 0.01), few])), "can’t be told");
    let mut others = with_ratio(0.5, 0.01);
    others.contenders[1].label = "Another".into();
    assert_eq!(verdict(&told(vec![with_ratio(0.8, 0.01), others])), "others are compared");
}

#[test]
fn values_and_ratios_of_every_run_stand_in_the_table() {
    let text = told(vec![with_ratio(0.8, 0.01), with_ratio(0.7, 0.01), with_ratio(0.6, 0.01)]);
    for (letter, ratio) in [("A", "0.80"), ("B", "0.70"), ("C", "0.60")] {
        let line = text.lines().find(|line| line.contains(&format!("┆ {letter} ┆")) && line.contains(ratio));
        assert!(line.is_some_and(|line| line.contains("ms")), "{letter}: {text}");
    }
}

#[test]
fn what_else_differs_is_named_first() {
    let same = told(vec![with_ratio(0.8, 0.01), with_ratio(0.7, 0.01)]);
    assert!(!same.contains("A -") && same.contains("A: Valid only as a trial"), "{same}");
    let mut other = with_ratio(0.7, 0.01);
    other.void = vec!["toy, counts: something was lost.".into()];
    other.contenders[0].version.commit = "0a1b2c".into();
    other.environment.machine.iter_mut().for_each(|(name, value)| {
        if name == "Kernel" {
            *value = "9.9".into();
        }
    });
    other.environment.layout.push(("Load generator".into(), "core 7".into()));
    other.environment.settings.push(("TWINPAY_RATE_LIMIT".into(), "0".into()));
    other.scenarios[0].trace_sha256 = "feed".into();
    other.scenarios[0].scenario.connections = 9;
    other.scenarios[0].generator.generator.sender_policy = "plain".into();
    let text = told(vec![with_ratio(0.8, 0.01), other]);
    for wanted in [
        "- B: Void: these numbers are not a result. toy, counts: something was lost.",
        "- commit of the first: A 0; B 0a1b2c",
        "- Kernel: A ",
        "; B 9.9",
        "- Load generator: A -; B core 7",
        "- TWINPAY_RATE_LIMIT: A -; B 0",
        "- toy, trace (sha256): A ",
        "; B feed",
        "- toy, connections: A 32; B 9",
        "- toy, sending thread: A ",
    ] {
        let at = text.find(wanted).unwrap_or_else(|| panic!("no {wanted:?} in {text}"));
        assert!(at < text.find("p50 latency").expect("a table"), "{wanted} comes after the table");
    }
}

#[test]
fn runs_alike_in_all_else_are_said_to_be() {
    let clean = || {
        let mut report = whole().clone();
        (report.void, report.allowed) = (vec![], vec![]);
        report
    };
    let text = told(vec![clean(), clean()]);
    assert!(text.contains("\nThe same machine, layout, settings, builds, scenarios and traces.\n"), "{text}");
    assert_eq!(verdict(&text).split(' ').take(3).collect::<Vec<_>>(), ["no", "difference", "seen"], "{text}");
}

fn loadtest(paths: &[&Path]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("diff").args(paths).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn the_command_tells_or_names_what_can_t_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    whole().write(folder.path()).expect("written");
    let path = folder.path().join("report.json");
    let (code, said) = loadtest(&[folder.path(), &path]);
    assert!(code == Some(0) && said.contains("p50 latency"), "{said}");
    let mut renamed = whole().clone();
    renamed.scenarios[0].scenario.name = "other".into();
    let another = folder.path().join("other");
    renamed.write(&another).expect("written");
    let (code, said) = loadtest(&[&path, &another]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no scenario in common: A has toy; B has other"), "{said}");
    let (code, said) = loadtest(&[&path, Path::new("/nowhere/report.json")]);
    assert!(code == Some(2) && said.contains("/nowhere/report.json"), "{said}");
    assert_eq!(loadtest(&[&path]).0, Some(2));
}
