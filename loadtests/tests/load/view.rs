//! The view of a run that lasts: what it shows, and that the terminal is given back.

use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadtests::compare::{Event, Seen};
use loadtests::histogram::{Sparse, record_ns, recorder};
use loadtests::progress::state::{Act, State};
use loadtests::progress::view::draw;
use loadtests::report::Report;
use loadtests::scenario::{Overrides, Scenario};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const ROWS: u16 = 30;
const COLUMNS: u16 = 100;

fn shown(state: &State, after: Duration, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal.draw(|frame| draw(frame, state, state.begun + after)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y: u16| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..rows).map(|y| line(y) + "\n").collect()
}

fn times(us: u64) -> Sparse {
    let mut histogram = recorder();
    (0..200).for_each(|_| record_ns(&mut histogram, us * 1000));
    Sparse::of(&histogram)
}

/// 200 requests in a second, each in so many µs.
fn seen(contender: usize, pair: usize, us: u64) -> Seen {
    Seen {
        contender,
        pair,
        latency: times(us),
        lag: times(85),
        offered: 200,
        replies: 200,
        length_ns: 1_000_000_000,
        answering_ns: 1_000_000_000,
        cpu_ns: 300_000_000,
        rss_bytes: 64 << 20,
        generator: (100_000_000, 1_000_000_000),
        ..Seen::default()
    }
}

fn playing(slices: Vec<Seen>) -> State {
    let overrides = Overrides { pairs: Some(12), slice_ms: Some(1000), ..Overrides::default() };
    let scenario = Scenario::load("checkout", &overrides).expect("a scenario");
    let mut act = Act::new("checkout", &scenario, ["Rust".into(), "Go".into()]);
    act.event(Event::Warm("rust".into()));
    slices.into_iter().for_each(|seen| act.event(Event::Slice(Box::new(seen))));
    let mut state = State::new(Instant::now());
    (state.act, state.doing) = (Some(act), "checkout: playing".into());
    state.lines.push("Load generator: core 0".into());
    state
}

#[test]
fn the_view_shows_both_so_far_and_what_is_left() {
    let mut wrong = seen(1, 1, 3000);
    (wrong.unexpected, wrong.lag) = (3, times(5000));
    let state = playing(vec![seen(0, 0, 1500), seen(1, 0, 3000), seen(0, 1, 1500), wrong]);
    let text = shown(&state, Duration::from_secs(75), COLUMNS, ROWS);
    for wanted in [
        "checkout: playing  1:15, about 0:00 left of this scenario",
        "4 of 24 slices",
        "Load generator: core 0",
        "✗ unexpected: Rust none; Go 3 × unexpected",
        "✗ lag: Rust 85 µs; Go 5",
        "✓ rate: Rust 100.0 %; Go 100.0 %",
        "✓ generator: 10.0 %",
        "Ctrl-C ends the slice and reports what there is",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    let row = |label: &str| {
        let line = text.lines().find(|line| line.contains(&format!("│{label} "))).expect("its line");
        line.trim_matches('│').split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("Rust"), ["Rust", "200", "1.50", "1.50", "1.50", "1", "500", "30", "%", "64.0", "0"]);
    assert_eq!(row("Go")[2..5], ["3.00", "3.00", "3.00"]);
    assert_eq!(row("Go").last().map(String::as_str), Some("3"));
    // The medians are drawn.
    assert!(text.chars().any(|sign| ('\u{2801}'..='\u{28ff}').contains(&sign)), "{text}");
}

#[test]
fn replies_that_are_all_late_by_the_same_come_at_the_rate_of_the_requests() {
    // The last reply came as long after the slice's end as the first after its begin.
    let late = |contender| Seen { length_ns: 1_500_000_000, ..seen(contender, 0, 500_000) };
    let text = shown(&playing(vec![late(0), late(1)]), Duration::ZERO, COLUMNS, ROWS);
    assert!(text.contains("✓ rate: Rust 100.0 %; Go 100.0 %"), "{text}");
}

#[test]
fn the_view_of_one_service_shows_its_load_by_the_second() {
    let overrides = Overrides { pairs: Some(2), slice_ms: Some(20_000), ..Overrides::default() };
    let mut scenario = Scenario::load("spike", &overrides).expect("a scenario");
    let mut act = Act::alone("spike", &scenario, "Go");
    act.event(Event::Warm("go".into()));
    let second = |pair: usize| Seen { shed: 50, lag: Sparse::default(), ..seen(0, pair, 1500) };
    (0..3).for_each(|pair| act.event(Event::Slice(Box::new(second(pair)))));
    let mut long = act.clone();
    (3..45).for_each(|pair| long.event(Event::Slice(Box::new(second(pair)))));
    assert_eq!(long.slices, (40, 40));
    let mut state = State::new(Instant::now());
    state.act = Some(act);
    let text = shown(&state, Duration::ZERO, COLUMNS, ROWS);
    for wanted in ["3 of 40 seconds", "Median by second, ms", "✓ unexpected: Go none", "shed %"] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    let row = text.lines().find(|line| line.contains("│Go ")).expect("its line");
    let row: Vec<_> = row.trim_matches('│').split_whitespace().collect();
    assert_eq!(row, ["Go", "200", "1.50", "1.50", "1.50", "25.0", "30", "%", "64.0", "0"]);
    // It sheds as it should, and how late requests leave isn't told by the second.
    for untold in ["shed:", "skipped:", "lag:", "rate:"] {
        assert!(!text.contains(untold), "{untold} in\n{text}");
    }
    scenario.solo = None;
    let act = Act::alone("spike", &scenario, "Go");
    let told = ["shed", "skipped", "rate"];
    assert_eq!(act.validity().iter().filter(|bound| told.contains(&bound.name.as_str())).count(), 3);
}

#[test]
fn before_the_first_slice_the_plan_says_what_is_left() {
    let mut state = playing(vec![]);
    state.act.as_mut().expect("an act").begun = state.begun;
    // Twice 8 s of warm-up and 12 slices of a second.
    let text = shown(&state, Duration::from_secs(10), COLUMNS, ROWS);
    assert!(text.contains("0:10, about 0:30 left"), "{text}");
    state.interrupted = true;
    assert!(shown(&state, Duration::ZERO, COLUMNS, ROWS).contains("interrupted, ending"));
}

#[test]
fn every_size_of_terminal_can_be_drawn_on() {
    let state = playing(vec![seen(0, 0, 1500), seen(1, 0, 3000)]);
    for (columns, rows) in [(1, 1), (20, 3), (80, 24), (300, 100)] {
        shown(&state, Duration::ZERO, columns, rows);
        shown(&State::new(state.begun), Duration::ZERO, columns, rows);
    }
    let usual = shown(&state, Duration::ZERO, 80, 24);
    assert!(usual.contains("2 of 24 slices") && usual.contains("Validity so far"), "{usual}");
}

/// The program with its standard error on a terminal, as that shows it.
struct OnTerminal {
    run: Child,
    terminal: File,
    screen: vt100::Parser,
}

impl OnTerminal {
    fn start(command: &mut Command) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a pseudo-terminal");
        let slave: OwnedFd = pty.slave;
        command.env("TERM", "xterm-256color").stdout(Stdio::null()).stderr(slave);
        let run = command.spawn().expect("it runs");
        // The command keeps the other end open until it goes; then its end is seen here.
        command.stderr(Stdio::null());
        let [rows, columns] = [ROWS, COLUMNS].map(|size| NonZero::new(size).expect("not none"));
        let screen = vt100::Parser::new(rows, columns, 0);
        Self { run, terminal: File::from(pty.master), screen }
    }

    /// Reads until `is_time`, or the program's end: whether it was time.
    fn until(&mut self, is_time: impl Fn(&vt100::Screen) -> bool) -> bool {
        let mut buffer = [0; 4096];
        loop {
            if is_time(self.screen.screen()) {
                return true;
            }
            // When nobody has the other end any more, reading fails.
            match self.terminal.read(&mut buffer) {
                Ok(read @ 1..) => self.screen.process(&buffer[..read]),
                Ok(0) | Err(_) => return false,
            }
        }
    }

    /// Its end: exit code, and what stands on the terminal, which has to be given back.
    fn end(mut self) -> (Option<i32>, String) {
        self.until(|_| false);
        let screen = self.screen.screen();
        let text = screen.contents();
        assert!(
            !screen.alternate_screen() && !screen.hide_cursor(),
            "the terminal isn’t given back:\n{text}"
        );
        (self.run.wait().expect("it ends").code(), text)
    }
}

fn compare(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "--smoke", "--scenario", "tokenize", "--pairs", "60", "--out"]).arg(out);
    command
}

#[test]
fn an_interrupted_run_gives_the_terminal_back_and_keeps_what_was_measured() {
    let out = tempfile::tempdir().expect("a folder");
    let mut run = OnTerminal::start(&mut compare(out.path()));
    let begun = |screen: &vt100::Screen| {
        let text = screen.contents();
        let done = text.split_once(" of 120 slices").and_then(|(before, _)| before.split_whitespace().last());
        done.and_then(|done| done.parse::<u32>().ok()) >= Some(4)
    };
    assert!(run.until(begun), "{}", run.screen.screen().contents());
    let screen = run.screen.screen();
    assert!(screen.alternate_screen() && screen.hide_cursor(), "{}", screen.contents());
    kill(Pid::from_raw(run.run.id().cast_signed()), Signal::SIGINT).expect("it is there");
    let said = run.until(|screen| screen.contents().contains("reporting what there is; Ctrl-C ends at once"));
    assert!(said, "{}", run.screen.screen().contents());
    let (code, text) = run.end();
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("Load generator: core"), "what was said is gone: {text}");
    let report = Report::read(&out.path().join("report.json")).expect("a report");
    assert!(report.void[0].starts_with("The run was interrupted"), "{:?}", report.void);
    assert!(!report.scenarios[0].slices[0].is_empty());
}

#[test]
fn a_failed_run_gives_the_terminal_back_and_says_why() {
    let out = tempfile::tempdir().expect("a folder");
    let (code, text) =
        OnTerminal::start(compare(out.path()).env("TWINPAY_BIN_GO", "/nowhere/payments")).end();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("loadtest: /nowhere/payments is missing"), "{text}");
}
