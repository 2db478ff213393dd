//! A report against its own raw data: a true one verifies, and each kind of wrong figure is named.

use std::path::Path;
use std::process::Command;

use loadtests::assert::{Assert, Asserted};
use loadtests::compare::computed;
use loadtests::report::standing::reasons;
use loadtests::report::{Report, Traced, Verified, sliced, verify};
use loadtests::scenario::Scenario;
use loadtests::trace::Trace;
use serde_json::{Value, json};

use crate::compare::whole;
use crate::support::Toy;

/// Traces of the toy workload can be drawn again here.
fn redraw(scenario: &Scenario) -> Option<anyhow::Result<Trace>> {
    Some(Ok(Trace::draw("toy.toml", scenario, &Toy).expect("a trace")))
}

pub fn verified(report: &Report) -> Verified {
    verify(report, &redraw).expect("readable")
}

/// The report with one place of its JSON changed.
fn tampered(pointer: &str, change: impl Fn(&mut Value)) -> Report {
    let mut json = serde_json::to_value(whole()).expect("JSON");
    change(json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")));
    serde_json::from_value(json).expect("still a report")
}

/// What is done to one value.
type Change<'a> = &'a dyn Fn(&mut Value);

pub fn grow(value: &mut Value) {
    *value = match &*value {
        // By more than figures are rounded.
        Value::Number(number) if number.is_u64() => {
            let number = number.as_u64().expect("u64");
            json!(number + 1 + number / 1000)
        }
        Value::Number(number) => json!(number.as_f64().expect("f64") + 0.001),
        Value::String(text) => json!(format!("{text}!")),
        Value::Bool(held) => json!(!held),
        Value::Null => json!(1.0),
        Value::Array(_) | Value::Object(_) => panic!("{value} is no leaf"),
    };
}

#[test]
fn a_true_report_verifies() {
    let Verified { figures, traces, differences } = verified(whole());
    assert_eq!(differences, Vec::<String>::new());
    assert!(figures > 250 && traces == 1, "{figures} figures, {traces} traces");
}

#[test]
fn each_kind_of_wrong_figure_is_named() {
    let cases = [
        ("/metrics/0/values/0", "toy: metrics.p50.values.Quick: the report says "),
        ("/metrics/0/values/1", "toy: metrics.p50.values.Slow: "),
        ("/metrics/0/ratio/estimate", "toy: metrics.p50.ratio.estimate: "),
        ("/metrics/0/ratio/interval/low", "toy: metrics.p50.ratio.interval.low: "),
        ("/metrics/0/ratio/interval/high", "toy: metrics.p50.ratio.interval.high: "),
        ("/metrics/0/unit", "toy: metrics.p50.unit: "),
        ("/metrics/0/less_is_better", "toy: metrics.p50.less_is_better: "),
        ("/metrics/2/offered", "toy: metrics.rate.offered: "),
        ("/operations/1/p50_us/0", "toy: operations.use.p50_us.Quick: "),
        ("/operations/1/ratio/interval/low", "toy: operations.use.ratio.interval.low: "),
        ("/operations/0/replies/1", "toy: operations.make.replies.Slow: "),
        ("/curves/1/3/latency_us", "toy: curves.Slow.p20.0.latency_us: "),
        ("/curves/0/0/service_us", "toy: curves.Quick.p1.0.service_us: "),
        ("/generator/lag_us/0/1", "toy: generator.lag_us.Quick."),
        ("/generator/wake_lag_us/1/0", "toy: generator.wake_lag_us.Slow."),
        ("/generator/generator/cpu_us_a_request", "toy: generator.generator.cpu_us_a_request: "),
        ("/validity/0/measured", "toy: validity.rate.measured: "),
        ("/validity/6/measured", "toy: validity.counts.measured: "),
        ("/validity/0/asks", "toy: validity.rate.asks: "),
        ("/validity/6/held", "toy: validity.counts.held: "),
        // Wrong raw data show in the figures, or contradict each other.
        ("/slices/0/4/cpu_ns", "toy: metrics.cpu.values.Quick: "),
        ("/slices/0/4/replies", "toy: slices.Quick.4.replies (by status): "),
        ("/slices/0/4/shed", "toy: slices.Quick.4.replies (timed by send, and shed): "),
        ("/slices/0/4/failed", "toy: slices.Quick.4.replies and failures (by kind): "),
        ("/slices/0/4/sent", "toy: validity.counts.measured: "),
        ("/slices/0/4/offered", "toy: slices.Quick.4.offered: "),
        ("/slices/1/4/first", "toy: slices.Slow.4.first: "),
        ("/basis/contenders/0/effects/0/2", "toy: validity.counts.measured: "),
        ("/basis/contenders/1/invariants/0/violations", "toy: validity.invariants.held: "),
        ("/basis/contenders/1/reopened", "toy: validity.connections.measured: "),
        ("/basis/slices_played", "toy: validity.complete.held: "),
        ("/scenario/seed", "toy: trace_sha256: "),
        ("/server/0/values/1", "toy: server.switches_voluntary.values.Slow: "),
        (
            "/basis/contenders/1/looks/1/series/go_memory_gc_cycles_total",
            "toy: server.gc_cycles.values.Slow: ",
        ),
        (
            "/rows/compared/0/report/metrics/0/values/0",
            "toy, Quick tuned against Slow tuned: metrics.p50.values.Quick tuned: ",
        ),
        ("/trace_sha256", "toy: trace_sha256: "),
        ("/requests", "toy: requests: "),
    ];
    for (place, wanted) in cases {
        let differences = verified(&tampered(&format!("/scenarios/0{place}"), grow)).differences;
        let named = differences.iter().any(|line| line.starts_with(wanted));
        assert!(named, "{place}: wanted {wanted:?}, got {differences:#?}");
    }
}

/// The toy comparison, played once more with traces, of which none is missing.
fn traced() -> Report {
    let (mut report, mut traces) = (whole().clone(), crate::traces_page::report().clone());
    let play = report.scenarios[0].clone();
    let trace = redraw(&play.scenario).expect("drawn").expect("a trace");
    traces.slices = Some(sliced(&trace, &play));
    traces.operations[0].requests = [0, 1].map(|side| play.slices[side].iter().map(|slice| slice.sent).sum());
    traces.operations[0].alone = [0; 2];
    report.scenarios[0].traced = Some(Box::new(Traced::of(traces, play, [0; 2])));
    report.allowed = reasons(&report, |bound| bound.allowed);
    report
}

#[test]
fn a_play_with_traces_is_judged_again_by_its_slices_and_its_spans() {
    let report = traced();
    assert_eq!(verified(&report).differences, Vec::<String>::new());
    let last = report.scenarios[0].traced.as_ref().expect("traced").validity.len() - 1;
    let of_spans = "toy, traced: validity.traced.";
    for (place, wanted) in [
        ("lost/1".to_owned(), format!("{of_spans}measured: ")),
        ("lost/0".into(), format!("{of_spans}held: ")),
        ("traces/operations/0/alone/0".into(), format!("{of_spans}measured: ")),
        (format!("validity/{last}/measured"), format!("{of_spans}measured: ")),
        (format!("validity/{last}/held"), format!("{of_spans}held: ")),
        ("validity/0/measured".into(), "toy, traced: validity.rate.measured: ".into()),
        ("play/validity/0/held".into(), "toy, traced: validity.rate.held: ".into()),
        ("play/slices/0/4/sent".into(), "toy, traced: validity.counts.measured: ".into()),
        ("play/requests".into(), "toy, traced: requests: ".into()),
        ("traces/slices/edges/3".into(), "toy, traced: slices of the traces.edges.3: ".into()),
    ] {
        let mut json = serde_json::to_value(&report).expect("JSON");
        grow(json.pointer_mut(&format!("/scenarios/0/traced/{place}")).unwrap_or_else(|| panic!("{place}")));
        let differences = verified(&serde_json::from_value(json).expect("still a report")).differences;
        let named = differences.iter().any(|line| line.starts_with(&wanted));
        assert!(named, "{place}: wanted {wanted:?}, got {differences:#?}");
    }
}

#[test]
fn what_is_left_out_or_exchanged_is_named() {
    let shorten = |value: &mut Value| drop(value.as_array_mut().expect("a list").pop());
    let exchange = |value: &mut Value| value.as_array_mut().expect("a list").swap(2, 3);
    let cases: [(&str, Change<'_>, &str); 8] = [
        ("/scenarios/0/slices/1/4/rss_bytes", &|value| *value = json!(1), "toy: metrics.rss.values.Slow: "),
        ("/scenarios/0/basis/resamples", &|value| *value = json!(20), "toy: metrics.cpu.ratio.interval."),
        ("/scenarios/0/metrics", &shorten, "toy: metrics.rss: the report says null"),
        ("/scenarios/0/curves/0", &shorten, "toy: curves.Quick.p9"),
        ("/scenarios/0/validity", &shorten, "toy: validity.complete: the report says null"),
        ("/scenarios/0/slices/1", &shorten, "toy: slices of Slow: the report says 9, "),
        ("/scenarios/0/slices/0", &exchange, "toy: "),
        ("/allowed", &|value| *value = json!([]), "allowed: the report leaves out: toy, "),
    ];
    for (place, change, wanted) in cases {
        let differences = verified(&tampered(place, change)).differences;
        let named = differences.iter().any(|line| line.starts_with(wanted));
        assert!(named, "{place}: wanted {wanted:?}, got {differences:#?}");
    }
    // A bound that voids has to be said on top.
    let mut hidden = tampered("/scenarios/0/basis/contenders/0/effects/0/2", grow);
    let again = loadtests::compare::computed(&hidden.scenarios[0]);
    hidden.scenarios[0] = again.expect("computed");
    let differences = verified(&hidden).differences;
    assert!(differences[0].starts_with("void: the report leaves out: toy, counts: "), "{differences:#?}");
}

pub fn loadtest(path: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let output = command.arg("verify").arg(path).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn the_command_ends_in_0_1_or_2_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    whole().write(folder.path()).expect("written");
    let (code, said) = loadtest(folder.path());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("are what the raw data say; 0 of 1 traces could be drawn again"), "{said}");

    let summary = std::fs::read_to_string(folder.path().join("summary.md")).expect("a summary");
    std::fs::write(folder.path().join("summary.md"), summary.replace("| Rate ", "| Speed "))
        .expect("written");
    let (code, said) = loadtest(folder.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("summary.md: line "), "{said}");

    let wrong = tampered("/scenarios/0/metrics/0/values/0", grow);
    wrong.write(folder.path()).expect("written");
    let (code, said) = loadtest(&path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("toy: metrics.p50.values.Quick: the report says "), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.contains(": 1 of ")), "{said}");

    let broken = tampered("/scenarios/0/slices/0/3/lag", |value| *value = json!("AAAA"));
    std::fs::write(&path, serde_json::to_string(&broken).expect("JSON")).expect("written");
    let (code, said) = loadtest(&path);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("slice 3 of Quick: lag: "), "{said}");
    for (text, wanted) in [("{", "EOF"), (r#"{"format": 1}"#, "this is a report of format 1")] {
        std::fs::write(&path, text).expect("written");
        let (code, said) = loadtest(&path);
        assert!(code == Some(2) && said.contains(wanted) && said.contains("report.json"), "{said}");
    }
    let (code, said) = loadtest(&folder.path().join("no.json"));
    assert!(code == Some(2) && said.contains("no.json"), "{said}");
}

#[test]
fn what_no_run_can_have_been_is_refused_in_a_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let comparison =
        |place: &str, value: Value| serde_json::to_value(tampered(place, |it| *it = value.clone()));
    let of_one = |place: &str, value: Value| {
        let mut json = serde_json::to_value(crate::alone::run())?;
        *json.pointer_mut(place).expect("a place") = value;
        Ok(json)
    };
    for (json, wanted) in [
        (
            comparison("/scenarios/0/curves", json!([])),
            "toy: curves: a comparison is of two, and these are of 0",
        ),
        (
            comparison("/scenarios/0/scenario/pairs", json!(0)),
            "toy: scenario.pairs: must be 2 to 10000, is 0",
        ),
        (of_one("/scenario/pairs", json!(0)), "toy: scenario.pairs: must be 2 to 10000, is 0"),
        (of_one("/scenario/slice_ms", json!(0)), "toy: scenario.slice_ms: must be 50 to 60000, is 0"),
    ] {
        std::fs::write(&path, json.expect("JSON").to_string()).expect("written");
        let (code, said) = loadtest(&path);
        assert_eq!((code, said), (Some(2), format!("loadtest: {}: {wanted}\n", path.display())));
    }
}

#[test]
fn an_assert_that_says_otherwise_is_named() {
    let names = whole().contenders.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    let names: [String; 2] = names.try_into().expect("two");
    let assert = Assert::parse("p50_ratio<1", &names, &["toy".into()]).expect("an assert");
    let asserts = assert.judge(&whole().scenarios);
    assert!(asserts.len() == 1 && asserts[0].held, "{asserts:?}");
    let of = |asserts: Vec<Asserted>| verified(&Report { asserts, ..whole().clone() }).differences;
    assert_eq!(of(asserts.clone()), Vec::<String>::new());
    let figure = &asserts[0].measured;
    let not_held = Asserted { held: false, ..asserts[0].clone() };
    let wanted = format!(
        "asserts.toy.p50_ratio<1: the report says {figure}, not held, the raw data say {figure}, held"
    );
    assert_eq!(of(vec![not_held]), [wanted]);
    let other = Asserted { measured: "0.10".into(), ..asserts[0].clone() };
    assert!(of(vec![other])[0].starts_with("asserts.toy.p50_ratio<1: the report says 0.10, held"));
}

#[test]
fn pairs_that_were_set_aside_are_no_part_of_the_order_that_is_drawn_again() {
    // As if the host had taken the core in the second pair.
    let mut report = whole().clone();
    let scenario = &mut report.scenarios[0];
    scenario.slices.iter_mut().for_each(|slices| drop(slices.remove(1)));
    scenario.basis.set_aside = vec![1];
    report.scenarios[0] = computed(&report.scenarios[0]).expect("readable");
    let differences = verified(&report).differences;
    assert!(
        !differences.iter().any(|line| line.contains(".first") || line.contains(".offered")),
        "{differences:?}"
    );
    report.scenarios[0].basis.set_aside = vec![0];
    let differences = verified(&report).differences;
    assert!(differences.iter().any(|line| line.contains("slices.Quick.0.offered")), "{differences:?}");
}
