//! A whole comparison of two servers of known manners: from the trace to the report.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use loadtests::compare::{
    Contender, Event, Look, Moment, Order, Plan, Playback, Played, SupportCores, computed, judge, play,
};
use loadtests::engine::Addresses;
use loadtests::procstat::Switches;
use loadtests::report::standing::reasons_of_scenario;
use loadtests::report::{
    Compared, ContenderReport, Environment, FORMAT, Given, RawSlice, Report, Rows, ScenarioReport, Version,
    table,
};
use loadtests::scenario::Scenario;
use loadtests::stats::{PAIRS_MIN, rounded};
use loadtests::trace::{Kinds, Trace};
use loadtests::validity::{BY_NAME, Bound, Invariant, OF_THE_MACHINE, name};
use loadtests::workload::{Effect, PlayerTarget, Sampled, Workload};
use loadtests::{environment, histogram};

use crate::support::{Manner, Toy, scenario, serve_aside};

const LABELS: [&str; 2] = ["Quick", "Slow"];
/// Nothing stands around.
pub const SUPPORT_CORES: SupportCores =
    SupportCores { count: 1, with_generator: false, with_contenders: false };

/// One a contender, and both hold.
fn invariants() -> Vec<Vec<Invariant>> {
    let holds = Invariant { name: "what was made stays made".into(), looked_at: 1, ..Invariant::default() };
    vec![vec![holds.clone()], vec![holds]]
}

/// One told of a collector, the other of none.
fn looks() -> Vec<Option<[Look; 2]>> {
    let switched = |at_ns: u64, voluntary: u64| Look {
        at_ns,
        switches: Switches { voluntary, involuntary: 0 },
        ..Look::default()
    };
    let collected = |look: Look, cycles: f64| Look {
        series: [("go_memory_gc_cycles_total".to_owned(), cycles)].into(),
        ..look
    };
    let slow = [collected(switched(0, 5), 1.0), collected(switched(2_000_000_000, 1005), 7.0)];
    vec![Some([switched(0, 0), switched(1, 9_000)]), Some(slow)]
}

/// The same slices once more, as if they were those of tuned servers.
fn tuned_rows(scenario: &ScenarioReport) -> Rows {
    let mut tuned = scenario.clone();
    tuned.basis.labels = LABELS.map(|label| format!("{label} tuned")).into();
    let report = computed(&tuned).expect("computed");
    let env = vec![("GOGC".into(), "400".into())];
    let given =
        |row: &str, env| Given { row: row.into(), label: LABELS[1].into(), build: "as ever".into(), env };
    Rows {
        given: vec![given("defaults", vec![]), given("tuned", env)],
        compared: vec![Compared {
            name: "tuned".into(),
            label: "Quick tuned against Slow tuned".into(),
            report,
        }],
    }
}

pub fn contender(name: &str, manner: fn(u64) -> Manner) -> Contender {
    contender_at(name, serve_aside(manner))
}

pub fn contender_at(name: &str, http: SocketAddr) -> Contender {
    let addresses = Addresses { http, grpc: None };
    Contender {
        name: name.into(),
        // The servers are threads of this process.
        pid: Some(std::process::id()),
        target: PlayerTarget { addresses, credentials: vec![], sampled: Sampled::default() },
    }
}

/// Plays `scenario` on two servers; `stop_after` slices raises the stop.
fn playback(
    scenario: &Scenario,
    trace: &Arc<Trace>,
    manners: [fn(u64) -> Manner; 2],
    stop_after: Option<usize>,
) -> Playback {
    played(scenario, trace, manners, stop_after, (1, None)).0
}

/// The same, and what happened, in order.
fn played(
    scenario: &Scenario,
    trace: &Arc<Trace>,
    manners: [fn(u64) -> Manner; 2],
    stop_after: Option<usize>,
    (order_seed, most_stolen): (u64, Option<f64>),
) -> (Playback, Vec<String>) {
    let contenders = [contender("quick", manners[0]), contender("slow", manners[1])];
    let cores = environment::cores().expect("cores");
    let (scenario, trace) = (scenario.clone(), Arc::clone(trace));
    let stop = Arc::new(AtomicBool::new(false));
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    let for_thread = Arc::clone(&stop);
    let settling = events.clone();
    let settle = move |moment: Moment| {
        let settling = settling.clone();
        async move { Ok(settling.send(Event::Warm(format!("{moment:?}")))?) }.boxed_local()
    };
    let thread = std::thread::spawn(move || {
        let order = Order {
            scenario: &scenario,
            trace,
            workload: &Toy,
            contenders: &contenders,
            support: &[],
            cores: &cores,
            order_seed,
            most_stolen,
            settle: &settle,
        };
        play(&order, &for_thread, &events).expect("played")
    });
    let (mut slices, mut before) = (0, Vec::new());
    while let Some(event) = happened.blocking_recv() {
        match event {
            Event::Slice { .. } => {
                slices += 1;
                before.push("slice".into());
            }
            Event::Warm(name) => before.push(name),
        }
        if stop_after == Some(slices) {
            stop.store(true, Ordering::Relaxed);
        }
    }
    (thread.join().expect("the thread"), before)
}

/// What was played, with a row for each effect, and no bound that may be missed.
pub fn judged_strictly<'a>(scenario: &'a Scenario, trace: &'a Trace, playback: Playback) -> Played<'a> {
    let counts = |effects: &Vec<Effect>| effects.iter().map(|effect| effect.count).collect();
    Played {
        scenario,
        order_seed: 1,
        trace,
        labels: LABELS.map(String::from),
        kinds: Kinds::of(trace, Toy.operations()),
        floors: vec![],
        rows: playback.effects.iter().map(counts).collect(),
        playback,
        invariants: invariants(),
        counted: vec![None; 2],
        looks: vec![None; 2],
        builds: vec![],
        support_cores: SUPPORT_CORES,
        resamples: 50,
        allowed: vec![],
        trial: false,
        inapplicable: vec![],
    }
}

/// One that has intervals, for every test that only reads it.
pub fn whole() -> &'static Report {
    static WHOLE: OnceLock<Report> = OnceLock::new();
    WHOLE.get_or_init(|| report(PAIRS_MIN))
}

/// The report of a comparison of a server that takes 20 ms with one that takes 60: far more than a busy machine adds to either.
pub fn report(pairs: usize) -> Report {
    let toy = scenario(r#"["make", "use"]"#, 100.0, 32, 256);
    let scenario = Scenario { pairs, slice_ms: 250, think_time_ms: 100, drain_ms: 3000, ..toy };
    let trace = Arc::new(Trace::draw("toy.toml", &scenario, &Toy).expect("a trace"));
    let quick = |_| Manner::Late(Duration::from_millis(20));
    let slow = |_| Manner::Late(Duration::from_millis(60));
    let playback = playback(&scenario, &trace, [quick, slow], None);
    let played = Played {
        floors: vec![("make".into(), 20_000)],
        looks: looks(),
        resamples: 200,
        // Other tests use the machine meanwhile.
        allowed: [OF_THE_MACHINE.as_slice(), &BY_NAME].concat().into_iter().map(String::from).collect(),
        ..judged_strictly(&scenario, &trace, playback)
    };
    let mut scenario = judge(&played).expect("judged");
    scenario.rows = Some(tuned_rows(&scenario));
    let contender = |label: &str| ContenderReport {
        name: label.to_lowercase(),
        label: label.into(),
        version: Version {
            implementation: label.to_lowercase(),
            commit: "0".into(),
            profile: "release".into(),
        },
        ready_ms: vec![1.5],
    };
    Report {
        format: FORMAT,
        started_at: "2026-01-01T00:00:00Z".into(),
        seconds: 3.0,
        command: vec!["test </script>".into()],
        void: reasons_of_scenario(&scenario, Bound::voids),
        allowed: reasons_of_scenario(&scenario, |bound| bound.allowed),
        environment: Environment {
            machine: environment::machine().expect("a machine"),
            ..Environment::default()
        },
        contenders: LABELS.map(contender).into(),
        scenarios: vec![scenario],
        asserts: vec![],
        limits: None,
        solo: None,
        looking: None,
        development: None,
        alone: vec![],
        failed: vec![],
    }
}

#[test]
fn a_slower_server_is_found_slower_and_everything_is_counted() {
    let report = whole();
    let scenario = &report.scenarios[0];
    let p50 = scenario.metrics.iter().find(|metric| metric.name == "p50").expect("a median");
    assert!(p50.ratio.differs() && p50.ratio.estimate < Some(0.8), "{p50:?}");
    let idle = scenario.metrics.iter().find(|metric| metric.name == "idle_cpu").expect("CPU while idle");
    for (contender, value) in idle.values.into_iter().enumerate() {
        let others = &scenario.slices[1 - contender];
        let sum = |of: fn(&RawSlice) -> u64| others.iter().map(of).sum::<u64>() as f64;
        let wanted = sum(|slice| slice.idle_cpu_ns) / sum(|slice| slice.generator_ns) * 1e3;
        assert!((value / wanted - 1.0).abs() < 1e-6, "{idle:?}, wanted {wanted}");
    }
    assert!(table(report).contains("CPU while idle is what"));
    for bound in &scenario.validity {
        // Whether the machine is quiet is not this test's business; whether everything came and went is.
        let about_replies =
            [name::DROPPED, name::UNEXPECTED, name::COUNTS, name::CONNECTIONS, name::COMPLETE];
        assert!(bound.held || !about_replies.contains(&bound.name.as_str()), "{bound:?}");
    }
    let offered =
        |contender: usize| scenario.slices[contender].iter().map(|slice| slice.offered).collect::<Vec<_>>();
    assert_eq!(offered(0), offered(1));
    assert_eq!(scenario.slices[0].len(), PAIRS_MIN);
    for pair in scenario.slices[0].iter().zip(&scenario.slices[1]) {
        assert_ne!(pair.0.first, pair.1.first);
    }
}

#[test]
fn report_json_reads_back_as_it_was_and_its_histograms_hold_every_reply() {
    let report = report(4);
    let folder = tempfile::tempdir().expect("a folder");
    report.write(folder.path()).expect("written");
    let read = Report::read(&folder.path().join("report.json")).expect("read");
    assert!(read == report);
    for slice in read.scenarios[0].slices.iter().flatten() {
        let count = |text: &str| histogram::decode(text).expect("a histogram").len();
        assert_eq!(slice.latency.values().map(|text| count(text)).sum::<u64>(), slice.replies);
        assert_eq!(count(&slice.service), slice.replies);
    }
    let summary = std::fs::read_to_string(folder.path().join("summary.md")).expect("a summary");
    assert!(
        summary.contains("| p50 latency") && summary.contains(&report.scenarios[0].trace_sha256),
        "{summary}"
    );
}

#[test]
fn a_report_of_another_format_is_refused_by_its_number() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for format in [FORMAT - 1, FORMAT + 1] {
        std::fs::write(file.path(), format!(r#"{{"format": {format}, "begun": 1}}"#)).expect("written");
        let said = Report::read(file.path()).expect_err("another format").to_string();
        assert!(said.contains(&format!("format {format}, and format {FORMAT} is read here")), "{said}");
    }
}

#[test]
fn few_pairs_get_no_verdict_anywhere() {
    let report = report(4);
    let scenario = &report.scenarios[0];
    let folder = tempfile::tempdir().expect("a folder");
    report.write(folder.path()).expect("written");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("written");
    let why = "too few pairs (4) for an interval";
    let json: serde_json::Value = serde_json::from_str(&read("report.json")).expect("JSON");
    for (index, metric) in scenario.metrics.iter().enumerate() {
        let ratio = &json["scenarios"][0]["metrics"][index]["ratio"];
        assert!(ratio["estimate"].is_number() && ratio["interval"].is_null(), "{ratio}");
        // More pairs would give memory none either.
        let why = if ["idle_cpu", "rss"].contains(&metric.name.as_str()) {
            "one start of each has no interval"
        } else {
            why
        };
        assert_eq!(ratio["no_interval"], why);
    }
    for text in [table(&report), read("summary.md"), read("report.html")] {
        assert!(text.contains(why) && text.contains("no verdict"), "{text}");
        for verdict in ["% lower", "% higher", "no difference seen", "both keep up"] {
            assert!(!text.contains(verdict), "{verdict}: {text}");
        }
    }
    assert!(!read("report.html").contains("class=\"forest\""));
}

#[test]
fn the_warm_up_is_played_in_the_drawn_order() {
    let scenario = Scenario { pairs: 1, slice_ms: 100, ..scenario(r#"["make"]"#, 100.0, 4, 64) };
    let trace = Arc::new(Trace::draw("toy.toml", &scenario, &Toy).expect("a trace"));
    let refuse = |_| Manner::Status(503);
    for first in [0, 1] {
        let drawn = |seed: &u64| Plan::of(&scenario, *seed).warm_up_first == first;
        let seed = (0..100).find(drawn).expect("a seed that draws it");
        let (playback, before) = played(&scenario, &trace, [|_| Manner::Reply, refuse], None, (seed, None));
        let names = ["quick", "slow"];
        assert_eq!(before, ["Made", names[first], names[1 - first], "Warm", "slice", "slice"]);
        // Whoever was first, the records are in the contenders' order.
        let replies =
            |index: usize| playback.warm_up[index].iter().map(|part| part.replies).collect::<Vec<_>>();
        let unexpected =
            |index: usize| playback.warm_up[index].iter().flat_map(|part| part.kinds.values()).sum::<u64>();
        // What came due in 75 and in 25 ms of it, at 100 a second.
        assert_eq!([replies(0), replies(1)], [[7, 3], [7, 3]]);
        assert_eq!([unexpected(0), unexpected(1)], [0, 10]);
    }
}

#[test]
fn a_stop_ends_a_run_and_the_report_says_so() {
    let scenario = Scenario { pairs: 6, slice_ms: 250, ..scenario(r#"["make"]"#, 100.0, 4, 64) };
    let trace = Arc::new(Trace::draw("toy.toml", &scenario, &Toy).expect("a trace"));
    let playback = playback(&scenario, &trace, [|_| Manner::Reply, |_| Manner::Reply], Some(4));
    assert!((1..4).contains(&playback.pairs.len()), "{} pairs", playback.pairs.len());
    let judged = judge(&judged_strictly(&scenario, &trace, playback)).expect("judged");
    let missed = |wanted: &str| judged.validity.iter().any(|bound| bound.name == wanted && bound.voids());
    assert!(missed(name::COMPLETE) && !missed(name::COUNTS), "{:#?}", judged.validity);
}

#[test]
fn what_was_played_while_the_host_took_the_core_is_counted_and_not_measured() {
    let scenario = scenario(r#"["make", "use"]"#, 100.0, 32, 256);
    let trace = Arc::new(Trace::draw("toy.toml", &scenario, &Toy).expect("a trace"));
    let reply = |_| Manner::Reply;
    // Less than nothing: every pair has more.
    let (playback, _) = played(&scenario, &trace, [reply, reply], None, (1, Some(-1.0)));
    assert_eq!((playback.pairs.len(), playback.set_aside.len()), (0, scenario.pairs));
    assert_eq!(playback.usage.wall_ns, 0);
    let replies = playback.disturbed[1].iter().map(|record| record.replies).sum::<u64>();
    let report = judge(&judged_strictly(&scenario, &trace, playback)).expect("judged");
    let bound = |name: &str| report.validity.iter().find(|bound| bound.name == name).expect("the bound");
    assert!(bound(name::COUNTS).held && bound(name::COMPLETE).held, "{:#?}", report.validity);
    assert!(bound(name::DISTURBED).voids(), "{:#?}", report.validity);
    assert!(report.metrics.is_empty() && report.slices.iter().all(Vec::is_empty));
    // Their requests were sent, and so count.
    let sent = report.basis.contenders.iter().map(|aside| aside.sent as usize);
    assert_eq!(sent.collect::<Vec<_>>(), [report.requests; 2]);
    // What the service did for them lies between the looks at it.
    assert_eq!(report.basis.contenders[1].between, replies);
}

#[test]
fn what_a_service_did_for_slices_set_aside_is_counted_with_their_replies() {
    let mut scenario = report(12).scenarios.remove(0);
    let measured = scenario.slices[1].iter().map(|slice| slice.replies).sum::<u64>();
    let switches = |scenario: &ScenarioReport| {
        let report = computed(scenario).expect("computed");
        let row = report.server.iter().find(|row| row.name == "switches_voluntary").expect("the row").clone();
        row.values[1]
    };
    // 1000 between the looks.
    assert_eq!(switches(&scenario), Some(rounded(1000.0 / measured as f64)));
    scenario.basis.contenders[1].between = measured;
    assert_eq!(switches(&scenario), Some(rounded(500.0 / measured as f64)));
}
