//! The same scenario and seed give the same bytes, and the lines are what the scenario says.

use std::collections::BTreeSet;
use std::path::Path;

use loadtests::payments::Payments;
use loadtests::scenario::{Doors, Overrides, Scenario};
use loadtests::trace::{Door, Kinds, Line, Trace};
use loadtests::workload::Workload;

use crate::support::{Toy, scenario};

fn checkout(overrides: &Overrides) -> (Scenario, Trace) {
    let scenario = Scenario::load("checkout", overrides).expect("a good scenario");
    let trace = Trace::draw("checkout", &scenario, &Payments).expect("a trace");
    (scenario, trace)
}

#[test]
fn a_trace_has_the_same_bytes_everywhere() {
    let text = r#"
        description = "golden"
        workload = "payments"
        seed = 42
        arrivals = "poisson"
        think_time_ms = 100
        connections = 4
        in_flight = 16
        slice_ms = 1000
        pairs = 5
        drain_ms = 1000
        warm_up = { rate = 20.0, seconds = 2.0 }
        stages = [{ rate = 30.0, seconds = 2.0 }, { rate = 60.0, seconds = 1.5 }]
        flows = [
          { name = "a", share = 3, steps = ["tokenize", "sale", "get"] },
          { name = "b", share = 2, steps = ["tokenize", "authorize", "capture", "get"] },
          { name = "c", share = 1, steps = ["tokenize", "sale"], parameters = { card = "declined" } },
        ]
    "#;
    let scenario =
        Scenario::parse("golden.toml", "golden", text, &Overrides::default()).expect("a good scenario");
    let trace = Trace::draw("golden.toml", &scenario, &Payments).expect("a trace");
    assert_eq!(trace.sha256, "0ba0edc7e68d26b37f111dae61ab5b36fa8ea6d10d161ace9469463d5be43c73");
}

#[test]
fn another_seed_gives_another_trace() {
    let short = Overrides { pairs: Some(2), ..Overrides::default() };
    let other = Overrides { seed: Some(7), ..short.clone() };
    assert_eq!(checkout(&short).1.sha256, checkout(&short).1.sha256);
    assert_ne!(checkout(&short).1.sha256, checkout(&other).1.sha256);
}

#[test]
fn lines_are_in_order_of_due_time_and_need_earlier_ones_a_think_time_before() {
    let (scenario, trace) = checkout(&Overrides::default());
    assert!(trace.lines.len() > 5000, "{}", trace.lines.len());
    for (index, line) in trace.lines.iter().enumerate() {
        assert_eq!(line.id, index as u64);
        assert!(index == 0 || trace.lines[index - 1].due_us <= line.due_us);
        assert!(line.due_us < scenario.total_us());
        let Some(needs) = line.needs else { continue };
        assert!(trace.lines[needs as usize].due_us + scenario.think_time_ms * 1000 <= line.due_us);
    }
}

#[test]
fn a_written_trace_reads_back_with_the_same_hash() {
    let (scenario, trace) = checkout(&Overrides { pairs: Some(2), ..Overrides::default() });
    let file = tempfile::NamedTempFile::new().expect("a file");
    trace.write(&mut file.as_file()).expect("written");
    let read = Trace::read(file.path(), &scenario, &Payments).expect("read");
    assert_eq!((read.sha256, read.lines), (trace.sha256, trace.lines));
}

#[test]
fn rates_and_shares_are_those_of_the_scenario() {
    let (scenario, trace) = checkout(&Overrides { pairs: Some(400), ..Overrides::default() });
    let count =
        |operation: &str| trace.lines.iter().filter(|line| line.operation == operation).count() as f64;
    let expected = 50.0 * scenario.total_us() as f64 / 1e6;
    assert!((count("tokenize") / expected - 1.0).abs() < 0.02, "{} of {expected}", count("tokenize"));
    assert!((count("authorize") / count("tokenize") - 0.36).abs() < 0.01);
    assert!((count("capture") / count("authorize") - 1.0).abs() < 0.01);
    assert!((count("refund") / count("tokenize") - 0.05).abs() < 0.005);
}

#[test]
fn each_flow_takes_one_door_by_the_shares() {
    let doors = Some(Doors::http_and_grpc());
    let (_, trace) = checkout(&Overrides { pairs: Some(100), doors, ..Overrides::default() });
    let grpc = trace.lines.iter().filter(|line| line.door == Door::Grpc).count() as f64;
    assert!((grpc / trace.lines.len() as f64 - 0.5).abs() < 0.03, "{grpc} of {}", trace.lines.len());
    assert_eq!(trace.doors(), [Door::Http, Door::Grpc]);
    let same_door =
        |line: &Line| line.needs.is_none_or(|earlier| trace.lines[earlier as usize].door == line.door);
    assert!(trace.lines.iter().all(same_door));
    // All else is as it is over one door.
    let (_, plain) = checkout(&Overrides { pairs: Some(100), ..Overrides::default() });
    let without_door = |line: &Line| Line { door: Door::Http, ..line.clone() };
    assert_eq!(trace.lines.iter().map(without_door).collect::<Vec<_>>(), plain.lines);
    let kinds = Kinds::of(&trace, Payments.operations());
    assert_eq!(kinds.names()[..2], ["tokenize, HTTP/1.1", "tokenize, gRPC"]);
}

#[test]
fn what_the_warm_up_has_made_is_read_by_its_owner() {
    let overrides = Overrides { pairs: Some(4), ..Overrides::default() };
    let scenario = Scenario::load("read", &overrides).expect("the shipped scenario");
    let trace = Trace::draw("read", &scenario, &Payments).expect("its trace");
    let (making, reading): (Vec<_>, Vec<_>) =
        trace.lines.iter().partition(|line| line.due_us < scenario.making_us());
    assert!(making.iter().all(|line| line.operation != "get") && !reading.is_empty());
    let rehearsal = trace.window(scenario.making_us(), scenario.warm_up_us());
    assert!(!rehearsal.is_empty(), "the first slice would be the first to read");
    let mut read = BTreeSet::new();
    for line in &reading {
        let earlier = &trace.lines[line.needs.expect("an object") as usize];
        assert_eq!((line.operation.as_str(), earlier.operation.as_str()), ("get", "sale"));
        assert!(earlier.due_us < scenario.making_us());
        assert_eq!(line.parameters["merchant"], earlier.parameters["merchant"]);
        read.insert(earlier.id);
    }
    let sales = making.iter().filter(|line| line.operation == "sale").count();
    assert!(read.len() * 10 > sales * 9, "only {} of {sales} payments are read", read.len());
}

#[test]
fn a_warm_up_that_makes_nothing_to_read_is_refused() {
    let text = include_str!("../../scenarios/read.toml").replacen("seconds = 10.0", "seconds = 0.001", 1);
    let scenario = Scenario::parse("x.toml", "x", &text, &Overrides::default()).expect("well-formed");
    let refusal = Trace::draw("x.toml", &scenario, &Payments).expect_err("refused").to_string();
    assert_eq!(refusal, "x.toml: warm_up: makes nothing in 0.00075 s for “read one”");
}

#[test]
fn a_slice_is_the_lines_that_are_due_in_it() {
    let scenario = scenario(r#"["make"]"#, 100.0, 4, 64);
    let trace = Trace::draw("toy.toml", &scenario, &Toy).expect("a trace");
    let window = trace.window(100_000, 600_000);
    assert!(trace.lines[window.clone()].iter().all(|line| (100_000..600_000).contains(&line.due_us)));
    assert_eq!(window.len(), 49);
    assert_eq!(trace.window(0, scenario.total_us()).len(), trace.lines.len());
}

#[test]
fn steps_that_cannot_work_are_refused_in_one_line() {
    let refusal = |from: &str, to: &str| {
        let text = include_str!("../../scenarios/checkout.toml").replacen(from, to, 1);
        let scenario = Scenario::parse("x.toml", "x", &text, &Overrides::default()).expect("well-formed");
        Trace::draw("x.toml", &scenario, &Payments).expect_err("refused").to_string()
    };
    assert_eq!(
        refusal(r#"["tokenize", "sale", "get"]"#, r#"["sale"]"#),
        "x.toml: flows[0].steps[0]: `sale` needs tokenize before it, or in warm_up_flows"
    );
    assert_eq!(
        refusal(r#""capture""#, r#""chargeback""#),
        "x.toml: flows[1].steps[2]: unknown operation `chargeback`, expected one of tokenize, sale, authorize, capture, refund, get"
    );
    assert_eq!(
        refusal(r#"card = "declined""#, r#"card = "gold""#),
        "x.toml: flows[2].parameters: `card` must be approved or declined, is \"gold\""
    );
    assert_eq!(
        refusal("card =", "kard ="),
        "x.toml: flows[2].parameters: unknown parameter `kard`, expected card"
    );
}

#[test]
fn a_trace_that_cannot_be_played_is_refused_by_its_line() {
    let (scenario, trace) = checkout(&Overrides { pairs: Some(2), ..Overrides::default() });
    let mut bytes = Vec::new();
    trace.write(&mut bytes).expect("written");
    let whole = String::from_utf8(bytes).expect("text");
    let lines: Vec<&str> = whole.lines().collect();
    let refusal = |text: &str| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let error = Trace::read(file.path(), &scenario, &Payments).expect_err("refused").to_string();
        let message =
            error.strip_prefix(&format!("{}: ", file.path().display())).expect("the file").to_owned();
        assert!(!message.contains('\n'), "{message}");
        message
    };
    let last = format!("line {}: is cut off; ", lines.len());
    assert!(refusal(&whole[..whole.len() - 9]).starts_with(&last));
    let other = whole.replacen(r#""due_us""#, r#""when_us""#, 1);
    let wanted = "line 1: isn't a request of this version's traces (unknown field `when_us`";
    assert!(refusal(&other).starts_with(wanted), "{}", refusal(&other));
    let without = [&lines[..3], &lines[4..]].concat().join("\n") + "\n";
    assert!(
        refusal(&without).starts_with("line 4: has the number 4, expected 3: a line is missing or moved")
    );
    let late = whole.replacen(&format!(r#""due_us":{}"#, trace.lines[5].due_us), r#""due_us":999999999"#, 1);
    assert!(
        refusal(&late).starts_with("line 6: is due after 999.999999 s, and the scenario ends after 11 s")
    );
    let short = refusal(&(lines[..lines.len() / 2].join("\n") + "\n"));
    assert!(
        short.starts_with(&format!("line {}: is the last, due after ", lines.len() / 2))
            && short.ends_with(
                " and the scenario ends after 11 s: give the options that the trace was written with"
            ),
        "{short}"
    );
    let early = whole.replacen(&format!(r#""due_us":{}"#, trace.lines[5].due_us), r#""due_us":1"#, 1);
    assert!(refusal(&early).starts_with("line 6: is due at 1 µs, before the line above"));
    let odd = whole.replacen(r#""operation":"tokenize""#, r#""operation":"melt""#, 1);
    assert!(refusal(&odd).starts_with("line 1: unknown operation `melt`"), "{}", refusal(&odd));
    let nobody = whole.replacen(r#""merchant":"#, r#""merchant":9"#, 1);
    assert!(refusal(&nobody).contains("there are 8, from 0"), "{}", refusal(&nobody));
    assert!(refusal("").starts_with("line 1: has no requests"));
    let missing = Trace::read(Path::new("no/such.jsonl"), &scenario, &Payments).expect_err("refused");
    assert!(missing.to_string().starts_with("no/such.jsonl: file: can't be read: "), "{missing}");
}

#[test]
fn stages_that_no_file_has_are_refused_too() {
    // As a report that somebody has changed may hold them.
    let mut scenario = scenario(r#"["make"]"#, 200.0, 4, 64);
    scenario.stages[0].seconds = 0.0;
    let refused = Trace::draw("report.json", &scenario, &Toy).expect_err("refused").to_string();
    assert_eq!(refused, "report.json: stages[0].seconds: must be 0.001 to 86400, is 0");
}
