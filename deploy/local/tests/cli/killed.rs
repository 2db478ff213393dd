//! Starts that are ended in the middle, and two commands at once.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stack::Identity;

use crate::bench::*;

/// Begins a start whose last part never gets ready, and waits for that part: `up` and its pid.
fn up_that_hangs(bench: &mut Bench) -> (Child, u32) {
    let lines =
        "[ \"$1\" = migrate ] && exit\necho $$ > \"$0.new\"; mv \"$0.new\" \"$0.pid\"; exec sleep 600";
    let slow = bench.script("slow", lines);
    let pid_file = format!("{slow}.pid");
    fs::remove_file(&pid_file).ok();
    bench.set("TWINPAY_BIN_GO", &slow);
    let up = bench.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    (up, pid_in(Path::new(&pid_file)))
}

#[test]
fn an_interrupted_start_stops_what_it_started() {
    let mut bench = Bench::new();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (up, pid) = up_that_hangs(&mut bench);
        kill(up.id(), signal);
        let output = up.wait_with_output().expect("ends");
        assert_eq!(output.status.code(), Some(1), "{signal:?}");
        assert!(text(&output).contains("interrupted: what was started is stopped"), "{}", text(&output));
        assert!(gone(pid));
        assert_eq!(bench.free_ports(), PORTS.len(), "{signal:?}");
        assert!(text(&bench.run(&["status"])).starts_with("nothing is running"), "{signal:?}");
    }
}

#[test]
fn a_start_that_is_ended_in_the_middle_of_initdb_leaves_no_initdb_and_the_next_one_works() {
    let mut bench = Bench::new();
    for signal in [Signal::INT, Signal::KILL] {
        let pid_file = bench.slow_initdb();
        fs::remove_file(&pid_file).ok();
        let mut command = bench.command(&["up"]);
        let mut up = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let initdb = pid_in(&pid_file);
        kill(up.id(), signal);
        up.wait().expect("ends");
        assert!(gone(initdb), "{signal:?}");
    }
    bench.env.retain(|(name, _)| name != "TWINPAY_POSTGRES_BIN");
    let output = bench.run(&["up"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_second_command_during_a_start_is_told_to_wait_and_changes_nothing() {
    let mut bench = Bench::new();
    let (mut up, pid) = up_that_hangs(&mut bench);
    for word in ["up", "down"] {
        let second = bench.run(&[word]);
        assert_eq!(second.status.code(), Some(1), "{word}");
        assert!(text(&second).contains("is at work: wait for it"), "{}", text(&second));
    }
    assert!(Identity::of(pid).is_some() && up.try_wait().expect("runs").is_none());
    kill(up.id(), Signal::INT);
    up.wait().expect("ends");
    assert!(gone(pid));
}

#[test]
fn down_finds_what_a_killed_start_left_before_it_was_ready() {
    let mut bench = Bench::new();
    assert!(bench.run(&["up"]).status.success());
    let [_, _, _, go] = bench.pids();
    kill(go, Signal::KILL);
    assert!(gone(go));
    let (mut up, pid) = up_that_hangs(&mut bench);
    let parts = bench.folder.path().join("parts.json");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&parts).is_ok_and(|text| text.contains(&format!("\"pid\": {pid},"))) {
        assert!(Instant::now() < deadline, "the part is never written down");
        std::thread::yield_now();
    }
    kill(up.id(), Signal::KILL);
    up.wait().expect("ends");
    assert!(Identity::of(pid).is_some(), "it lives on in a session of its own");
    assert!(bench.stack().is_none(), "nothing tells of the part that is gone");
    assert!(text(&bench.run(&["down"])).contains("go        stopped"));
    assert!(gone(pid));
    assert_eq!(bench.free_ports(), PORTS.len());
}
