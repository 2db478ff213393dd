//! A run of one server of known manners, alone: its report, and that a wrong figure in it is found.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use loadtests::compare::Event;
use loadtests::draw::Draw;
use loadtests::environment;
use loadtests::report::{ContenderReport, Environment, Verified, Version, verify_run, write_run};
use loadtests::scenario::{Flow, Parameters, Scenario, Stage};
use loadtests::solo::{Judged, Order, Settings, SoloRun, judge, play};
use loadtests::trace::{Kinds, Line, Trace};
use loadtests::validity::{Invariant, name};
use loadtests::workload::{Checked, Effect, Operation, Player, PlayerTarget, Prepared, Reply, Workload};
use serde_json::{Value, json};

use crate::compare::{SUPPORT_CORES, contender};
use crate::support::{Manner, Toy, scenario};
use crate::verify::{grow, loadtest};

/// The server's requests are numbered: those from here on until the next are refused.
const SHED: [u64; 2] = [150, 200];

fn manner(id: u64) -> Manner {
    if (SHED[0]..SHED[1]).contains(&id) {
        Manner::Status(429)
    } else {
        Manner::Late(Duration::from_millis(5))
    }
}

/// Three stages, in the middle one twice as many requests.
fn staged() -> Scenario {
    let toy = scenario(r#"["make"]"#, 100.0, 32, 256);
    let stage = |rate: f64| Stage { rate, seconds: 0.8 };
    let solo = Some(Settings { sheds: true, ..Settings::default() });
    let stages = vec![stage(100.0), stage(200.0), stage(100.0)];
    Scenario { stages, solo, pairs: 2, slice_ms: 1200, drain_ms: 3000, ..toy }
}

fn played() -> (SoloRun, Vec<Event>) {
    played_until(&Toy, &Arc::default())
}

/// The same, whoever speaks for it; raising `stop` ends it.
fn played_until(workload: &'static (dyn Workload + Sync), stop: &Arc<AtomicBool>) -> (SoloRun, Vec<Event>) {
    let scenario = staged();
    let trace = Arc::new(Trace::draw("toy.toml", &scenario, &Toy).expect("a trace"));
    let order = Order {
        scenario: scenario.clone(),
        trace: Arc::clone(&trace),
        workload,
        contender: contender("quick", manner),
        support: vec![],
        cores: environment::cores().expect("cores"),
        settle: Box::new(|_| async { Ok(()) }.boxed_local()),
    };
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    let stop = Arc::clone(stop);
    let play = move || play(&order, &stop, events).expect("played");
    let played = std::thread::spawn(play).join().expect("the thread");
    let told = std::iter::from_fn(|| happened.try_recv().ok()).collect();
    let rows = played.effects.iter().map(|effect| effect.count).collect();
    let version = Version { implementation: "toy".into(), commit: "c".into(), profile: "release".into() };
    let holds = Invariant { name: "what was made stays made".into(), looked_at: 1, ..Invariant::default() };
    let judged = Judged {
        scenario: &scenario,
        capacity: None,
        trace: &trace,
        service: ContenderReport {
            name: "quick".into(),
            label: "Quick".into(),
            version,
            ready_ms: vec![1.0],
        },
        kinds: Kinds::of(&trace, Toy.operations()),
        rows,
        invariants: vec![holds],
        counted: None,
        support_cores: SUPPORT_CORES,
        floors: vec![],
        allowed: loadtests::validity::OF_THE_MACHINE.map(String::from).to_vec(),
        trial: true,
    };
    let run = judge(&judged, played).expect("judged");
    let line = |what: &str| (what.to_owned(), "here".to_owned());
    let environment = Environment {
        machine: vec![line("Kernel")],
        layout: vec![line("All")],
        settings: vec![line("None")],
    };
    (SoloRun { environment, started_at: "2026-01-01T00:00:00Z".into(), seconds: 3.0, ..run }, told)
}

fn once() -> &'static (SoloRun, Vec<Event>) {
    static ONCE: OnceLock<(SoloRun, Vec<Event>)> = OnceLock::new();
    ONCE.get_or_init(played)
}

/// One for every test that only reads it.
pub fn run() -> &'static SoloRun {
    &once().0
}

fn redraw(scenario: &Scenario) -> Option<anyhow::Result<Trace>> {
    Some(Ok(Trace::draw("toy.toml", scenario, &Toy).expect("a trace")))
}

fn verified(run: &SoloRun) -> Verified {
    verify_run(run, &redraw).expect("readable")
}

fn tampered(pointer: &str, change: &dyn Fn(&mut Value)) -> SoloRun {
    let mut json = serde_json::to_value(run()).expect("JSON");
    change(json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")));
    serde_json::from_value(json).expect("still a report")
}

#[test]
fn each_request_counts_in_its_stage_and_the_stages_are_made_of_their_parts() {
    let run = run();
    assert_eq!(run.void, Vec::<String>::new());
    let counts = |stage: &loadtests::solo::StageReport| (stage.expected + stage.shed, stage.shed);
    assert_eq!(run.stages.iter().map(counts).map(|(all, _)| all).sum::<u64>(), run.overall.offered);
    assert_eq!(
        (run.stages[0].shed, run.stages[1].shed, run.overall.shed),
        (0, SHED[1] - SHED[0], SHED[1] - SHED[0])
    );
    assert_eq!((run.stages.len(), run.ticks.len()), (3, 6));
    // Both parts of the warm-up were sent too.
    assert_eq!(run.basis.contenders[0].sent + run.overall.offered, run.requests as u64);
    assert!(run.stages[1].latency_ms[0].is_some_and(|ms| ms >= 5.0), "{:?}", run.stages[1].latency_ms);
    let bound = |wanted: &str| run.validity.iter().find(|bound| bound.name == wanted);
    // Being shed is what is expected.
    assert!(bound(name::SHED).is_none() && bound(name::COUNTS).is_some_and(|bound| bound.held));
}

/// Raises a stop when the request of this number has come due.
struct Stopping {
    after: u64,
    stop: Arc<AtomicBool>,
}

struct StoppingPlayer {
    toy: Box<dyn Player>,
    after: u64,
    stop: Arc<AtomicBool>,
}

impl Workload for Stopping {
    fn name(&self) -> &'static str {
        Toy.name()
    }
    fn operations(&self) -> &'static [Operation] {
        Toy.operations()
    }
    fn check_flow(&self, flow: &Flow) -> Result<(), String> {
        Toy.check_flow(flow)
    }
    fn draw_flow(&self, flow: &Flow, about: Option<&Parameters>, draw: &mut Draw) -> Vec<Parameters> {
        Toy.draw_flow(flow, about, draw)
    }
    fn player(&self, trace: &Trace, target: &PlayerTarget) -> anyhow::Result<Box<dyn Player>> {
        let (after, stop) = (self.after, Arc::clone(&self.stop));
        Ok(Box::new(StoppingPlayer { toy: Toy.player(trace, target)?, after, stop }))
    }
}

impl Player for StoppingPlayer {
    fn prepare(&mut self, line: &Line) -> Option<Prepared> {
        self.stop.fetch_or(line.id == self.after, Ordering::Relaxed);
        self.toy.prepare(line)
    }
    fn check(&mut self, line: &Line, reply: &Reply, sampled: bool) -> Checked {
        self.toy.check(line, reply, sampled)
    }
    fn effects(&self) -> Vec<Effect> {
        self.toy.effects()
    }
}

#[test]
fn one_that_is_stopped_has_what_came_due_and_nothing_is_lost() {
    let stop: Arc<AtomicBool> = Arc::default();
    // In the second of three stages.
    let stopping = Box::leak(Box::new(Stopping { after: SHED[0] - 1, stop: Arc::clone(&stop) }));
    let (run, _) = played_until(stopping, &stop);
    assert!(run.void.len() == 1 && run.void[0].starts_with("complete: "), "{:?}", run.void);
    let whole = self::run();
    let before = whole.stages[0].offered;
    assert_eq!((run.stages.len(), run.stages[0].offered), (2, before));
    let due = SHED[0] - (whole.requests as u64 - whole.overall.offered);
    assert_eq!((run.overall.offered, run.overall.expected, run.overall.other()), (due, due, 0));
    assert!(run.stages[1].seconds < whole.stages[1].seconds && run.ticks.len() < whole.ticks.len());
    // The rates are those of the time that it was played.
    let rates = [&run, whole].map(|run| run.stages[1].offered_rate());
    assert!((rates[0] / rates[1] - 1.0).abs() < 0.05, "{rates:?}");
    assert_eq!(verified(&run).differences, Vec::<String>::new());
}

#[test]
fn each_second_is_told_while_it_plays() {
    let told = &once().1;
    assert!(matches!(&told[0], Event::Warm(name) if name == "quick"));
    let seconds: Vec<_> = told[1..]
        .iter()
        .map(|event| match event {
            Event::Slice(seen) => seen,
            Event::Warm(name) => panic!("{name} is warm twice"),
        })
        .collect();
    assert!((1..=2).contains(&seconds.len()) && seconds[0].pair == 0, "{} seconds", seconds.len());
    let sum = |of: fn(&loadtests::compare::Seen) -> u64| seconds.iter().map(|seen| of(seen)).sum::<u64>();
    let (all, shed) = (run().overall.offered, run().overall.shed);
    assert!(
        sum(|seen| seen.offered) <= all && sum(|seen| seen.shed) <= shed && sum(|seen| seen.replies) > 50
    );
    assert_eq!(sum(|seen| seen.unexpected), 0);
}

#[test]
fn a_true_run_verifies() {
    let Verified { figures, traces, differences } = verified(run());
    assert_eq!(differences, Vec::<String>::new());
    assert!(figures > 100 && traces == 1, "{figures} figures");
    // What was written and read again is the same.
    let read = serde_json::from_str(&serde_json::to_string(run()).expect("JSON")).expect("a run");
    assert_eq!(run(), &read);
}

#[test]
fn each_wrong_figure_of_a_run_is_named() {
    let cases = [
        ("/overall/expected", "overall.expected: "),
        ("/overall/latency_ms/0", "overall.latency_ms.0: "),
        ("/overall/rate", "overall.rate: "),
        ("/stages/1/shed", "stages.1.shed: "),
        ("/stages/1/latency_ms/0", "stages.1.latency_ms.0: "),
        ("/stages/2/offered", "stages.2.offered: "),
        ("/stages/2/from_seconds", "stages.2.from_seconds: "),
        ("/cpu_us_a_reply", "cpu_us_a_reply: "),
        ("/switches_a_reply", "switches_a_reply: "),
        ("/memory/slope_mib_an_hour/estimate", "memory.slope_mib_an_hour.estimate: "),
        ("/memory/slope_mib_an_hour/interval/high", "memory.slope_mib_an_hour.interval.high: "),
        ("/generator/cpu_us_a_request", "generator.cpu_us_a_request: "),
        ("/lag_us/1", "lag_us.1: "),
        ("/validity/0/measured", "validity.dropped.measured: "),
        ("/validity/3/held", "validity.counts.held: "),
        // Wrong raw data show in the figures, or contradict each other.
        ("/ticks/3/shed", "stages.1.shed: "),
        ("/ticks/3/expected", "ticks.3.expected: "),
        ("/ticks/3/offered", "ticks.3.offered: "),
        ("/ticks/3/seconds", "ticks.3.seconds: "),
        ("/ticks/0/rate", "ticks.0.rate: "),
        ("/ticks/0/latency_ms/0", "ticks.0.latency_ms: "),
        ("/load/replies", "load.replies (by status): "),
        ("/load/shed", "load.shed (by part): "),
        ("/load/sent", "validity.counts.measured: "),
        ("/load/cpu_ns", "load.cpu_ns: "),
        ("/usage/generator_ns", "load.generator_cpu_ns: "),
        ("/switches", "switches_a_reply: "),
        ("/basis/contenders/0/effects/0/2", "void.0: "),
        ("/basis/contenders/0/invariants/0/violations", "validity.invariants.held: "),
        ("/scenario/seed", "toy: trace_sha256: "),
        ("/trace_sha256", "toy: trace_sha256: "),
        ("/requests", "toy: requests: "),
    ];
    for (place, wanted) in cases {
        let differences = verified(&tampered(place, &grow)).differences;
        let named = differences.iter().any(|line| line.starts_with(wanted));
        assert!(named, "{place}: wanted {wanted:?}, got {differences:#?}");
    }
    let last = tampered("/memory/samples", &|value| {
        value.as_array_mut().expect("samples").last_mut().expect("one")["rss_bytes"] = json!(1);
    });
    assert!(verified(&last).differences[0].starts_with("memory.slope_mib_an_hour."), "{:?}", verified(&last));
    let shorter = tampered("/ticks", &|value| drop(value.as_array_mut().expect("ticks").pop()));
    assert!(verified(&shorter).differences.iter().any(|line| line.starts_with("ticks: how many: ")));
}

#[test]
fn the_commands_know_a_run_of_one_service() {
    let folder = tempfile::tempdir().expect("a folder");
    write_run(run(), folder.path()).expect("written");
    let (code, said) = loadtest(folder.path());
    assert!(code == Some(0) && said.contains("are what the raw data say"), "{said}");
    for place in
        ["/stages/1/expected", "/overall/latency_ms/0", "/cpu_us_a_reply", "/memory/samples/3/rss_bytes"]
    {
        write_run(&tampered(place, &grow_far), folder.path()).expect("written");
        let (code, said) = loadtest(folder.path());
        assert_eq!(code, Some(1), "{place}: {said}");
    }
    write_run(run(), folder.path()).expect("written");
    let page = folder.path().join("report.html");
    let text = std::fs::read_to_string(&page).expect("a page").replace("Memory:", "Storage:");
    std::fs::write(&page, text).expect("written");
    let (code, said) = loadtest(folder.path());
    assert!(code == Some(1) && said.starts_with("report.html: line "), "{said}");
    let mut diff = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let output = diff.arg("diff").args([folder.path(), folder.path()]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && said.contains("a run of Quick alone, not a comparison"),
        "{said}"
    );
}

/// One look at memory alone hardly moves a slope.
fn grow_far(value: &mut Value) {
    match value.as_u64() {
        Some(count) => *value = json!(count * 2 + 1),
        None => grow(value),
    }
}
