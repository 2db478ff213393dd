//! `stack with-postgres`: a server for the time of a command, and nothing after it.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;

use crate::bench::*;

#[test]
fn with_postgres_gives_a_server_for_the_time_of_a_command() {
    let bench = Bench::new();
    let output = bench.run(&["with-postgres", "--", "sh", "-c", "echo \"url=$TEST_DATABASE_URL\"; exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("started a Postgres on port "), "{said}");
    let port = said
        .split("url=postgres://")
        .nth(1)
        .and_then(|rest| rest.split("@127.0.0.1:").nth(1))
        .expect("a URL");
    let port: u16 = port.split('/').next().expect("a port").parse().expect("a port");
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(), "the server is gone");

    let mut given = bench.command(&["with-postgres", "--", "sh", "-c", "echo \"url=$TEST_DATABASE_URL\""]);
    let output = given.env("TEST_DATABASE_URL", "postgres://given").output().expect("runs");
    assert!(
        text(&output).contains("url=postgres://given") && text(&output).contains("using the Postgres of")
    );
}

#[test]
fn with_postgres_leaves_no_server_when_it_is_killed() {
    for signal in [Signal::TERM, Signal::KILL] {
        let bench = Bench::new();
        let mark = bench.folder.path().join("mark");
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", mark.display());
        let mut command = bench.command(&["with-postgres", "--", "sh", "-c", &script]);
        let mut running = command.stderr(Stdio::null()).spawn().expect("starts");
        let sleeper = pid_in(&mark);
        let servers = postmasters_of(running.id());
        assert_eq!(servers.len(), 1, "{servers:?}");
        kill(running.id(), signal);
        running.wait().expect("ends");
        assert!(servers.into_iter().all(gone), "after {signal:?}");
        if signal == Signal::KILL {
            kill(sleeper, Signal::KILL);
        }
        assert!(gone(sleeper));
    }
}

/// The children of a process that are a Postgres.
fn postmasters_of(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).expect("runs").flatten();
    let children = tasks.flat_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect::<Vec<u32>>()
    });
    let is_postgres = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "postgres")
    };
    children.filter(is_postgres).collect()
}

#[test]
fn with_postgres_leaves_no_folder_when_it_is_interrupted_in_the_middle_of_initdb() {
    let mut bench = Bench::new();
    let pid_file = bench.slow_initdb();
    let mut command = bench.command(&["with-postgres", "--", "true"]);
    let mut running = command.stderr(Stdio::null()).spawn().expect("starts");
    let initdb = pid_in(&pid_file);
    assert_eq!(folders_of(running.id()).len(), 1);
    kill(running.id(), Signal::INT);
    assert_eq!(running.wait().expect("ends").code(), Some(1));
    assert!(gone(initdb));
    assert_eq!(folders_of(running.id()), Vec::<PathBuf>::new());
}

#[test]
fn the_folder_that_a_killed_with_postgres_left_is_removed_by_the_next() {
    let mut bench = Bench::new();
    let pid_file = bench.slow_initdb();
    let mut command = bench.command(&["with-postgres", "--", "true"]);
    let mut running = command.stderr(Stdio::null()).spawn().expect("starts");
    let initdb = pid_in(&pid_file);
    kill(running.id(), Signal::KILL);
    running.wait().expect("ends");
    assert!(gone(initdb), "initdb ends with the one that started it");
    bench.script("initdb", "exit 1");
    assert!(!bench.run(&["with-postgres", "--", "true"]).status.success());
    assert_eq!(folders_of(running.id()), Vec::<PathBuf>::new());
}

/// The folders of temporary servers that a process has made.
fn folders_of(pid: u32) -> Vec<PathBuf> {
    let shared = stack::folders::shared_folder().expect("a folder");
    let entries = fs::read_dir(shared).expect("reads").flatten();
    let ours =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("temporary-{pid}-")));
    ours.map(|entry| entry.path()).collect()
}
