//! What of the page no browser is needed for.

use super::*;
use crate::report::sample::{contender, control, metric, scenario};
use crate::report::{OperationRow, sample};

fn of(scenarios: Vec<ScenarioReport>) -> Report {
    let contenders = ["Rust", "Go"].map(contender).into();
    Report { contenders, scenarios, ..sample::report() }
}

#[test]
fn no_scenario_takes_an_id_that_the_page_has_itself() {
    let mut named = scenario(12, vec![]);
    named.scenario.name = "data".into();
    let page = page(&of(vec![named.clone(), named])).unwrap();
    assert_eq!(page.matches("id=\"data\"").count(), 1);
    let anchors = ["<a href=\"#scenario-2\">data</a>", "<section id=\"scenario-2\""];
    assert!(anchors.iter().all(|wanted| page.contains(wanted)));
}

#[test]
fn the_command_can_be_pasted_and_plays_again_what_was_resumed() {
    let line = |words: &str| command_line(&words.split('|').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(line("loadtest|compare|--assert|p99_ratio<1.1"), "loadtest compare --assert 'p99_ratio<1.1'");
    assert_eq!(line("loadtest|full|--resume|a b|--tuned"), "loadtest full --tuned");
    assert_eq!(line("loadtest|full|--resume=a b|--tuned"), "loadtest full --tuned");
    assert_eq!(line("loadtest|full|--resume"), "loadtest full");
}

#[test]
fn an_operation_that_its_control_doubts_says_so() {
    let ratio = metric(0.8, Some((0.75, 0.86))).ratio;
    let row = OperationRow {
        operation: "capture".into(),
        replies: [10, 10],
        p50_us: [800.0, 1000.0],
        p99_us: None,
        ratio: ratio.clone(),
        p99_ratio: None,
    };
    let shown = operation(&row, &[]);
    assert_eq!((shown.class, shown.cells[4].as_str()), ("first", "0.80 [0.75, 0.86]"));
    let mut doubting = control("Go", vec![]);
    doubting.report.operations = vec![OperationRow { ratio, ..row.clone() }];
    let shown = operation(&row, &[doubting]);
    assert_eq!((shown.class, shown.cells[4].as_str()), ("", "0.80 [0.75, 0.86], its control doubts it"));
}

#[test]
fn a_pair_has_its_place_in_the_plan_in_chart_and_table() {
    let mut disturbed = scenario(3, vec![]);
    disturbed.basis.set_aside = vec![1, 2];
    let places = serde_json::to_value(plots(&disturbed)).unwrap()["pairs"].clone();
    assert_eq!(places, serde_json::json!([1, 4, 5]));
    let (_, rows) = slices(&of(vec![]), &disturbed);
    let shown: Vec<_> = rows.iter().map(|row| row.cells[0].as_str()).collect();
    assert_eq!(shown, ["1", "4", "5"]);
}

#[test]
fn what_is_said_of_started_services_is_said_of_no_other() {
    let said = "each pinned to the same core";
    assert!(!page(&of(vec![])).unwrap().contains(said));
    let mut report = of(vec![]);
    report.contenders.iter_mut().for_each(|one| one.version.commit = "c".into());
    assert!(page(&report).unwrap().contains(said));
}
