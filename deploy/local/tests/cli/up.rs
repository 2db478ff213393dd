//! `stack up` and `down` on a quiet day, and what is missing or broken.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use stack::Identity;

use crate::bench::*;

#[test]
fn up_is_idempotent_and_down_leaves_nothing() {
    let bench = Bench::new();
    let first = bench.run(&["up"]);
    assert!(first.status.success(), "{}", text(&first));
    let said = text(&first);
    for expected in
        ["up in", "curl -sS -H @", "/v1/merchants", "payments_go", &bench.port(PORTS[2]).to_string()]
    {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let stack = bench.stack().expect("stack.json");
    assert!(!said.contains(&stack.admin_token), "the token stays out of the terminal");
    assert_ne!(stack.twins.rust.database_url, stack.twins.go.database_url);
    let pids = bench.pids();
    assert!(pids.iter().all(|pid| Identity::of(*pid).is_some()), "they outlive the command");

    let begun = Instant::now();
    let second = bench.run(&["up"]);
    assert!(second.status.success() && text(&second).starts_with("already up"), "{}", text(&second));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(bench.pids(), pids);
    assert!(bench.run(&["status", "--quiet"]).status.success());
    assert!(text(&bench.run(&["status"])).contains("postgres  up"));

    let down = bench.run(&["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(pids.iter().all(|pid| Identity::of(*pid).is_none()));
    assert_eq!(bench.free_ports(), PORTS.len());
    assert!(bench.stack().is_none());
    assert_eq!(bench.run(&["status", "--quiet"]).status.code(), Some(1));
    assert!(text(&bench.run(&["down"])).contains("nothing was running"));

    let again = bench.run(&["up"]);
    assert!(again.status.success(), "on the kept data: {}", text(&again));
    let stack_again = bench.stack().expect("stack.json");
    assert_eq!(stack_again.admin_token, stack.admin_token, "secrets are made once");
}

#[test]
fn a_dead_part_is_reported_and_started_again_beside_the_others() {
    let bench = Bench::new();
    assert!(bench.run(&["up"]).status.success());
    let [postgres, acquirer, rust, go] = bench.pids();
    kill(go, Signal::KILL);
    kill(acquirer, Signal::KILL);
    assert!(gone(go) && gone(acquirer));
    let status = bench.run(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status).contains("go        dead"), "{}", text(&status));
    let mended = bench.run(&["up"]);
    assert!(mended.status.success() && text(&mended).contains("go is dead"), "{}", text(&mended));
    let after = bench.pids();
    assert_eq!((after[0], after[2]), (postgres, rust), "what ran runs on");
    assert!(after[1] != acquirer && after[3] != go);
    kill(postgres, Signal::KILL);
    assert!(gone(postgres));
    assert!(bench.run(&["up"]).status.success(), "a crashed postmaster is replaced");
    assert!(bench.run(&["status", "--quiet"]).status.success());
}

#[test]
fn a_taken_port_is_named_before_anything_is_started() {
    let bench = Bench::new();
    let taken =
        std::net::TcpListener::bind(("127.0.0.1", bench.port("TWINPAY_GO_ADMIN_PORT"))).expect("free");
    let output = bench.run(&["up"]);
    let expected =
        format!("port {} for admin of the Go service is taken", bench.port("TWINPAY_GO_ADMIN_PORT"));
    assert!(
        text(&output).contains(&expected) && text(&output).contains("TWINPAY_GO_ADMIN_PORT=<port>"),
        "{}",
        text(&output)
    );
    assert_eq!(output.status.code(), Some(2));
    drop(taken);
    assert_eq!(bench.free_ports(), PORTS.len());
}

#[test]
fn a_part_that_crashes_shows_its_log_and_the_rest_is_stopped() {
    let mut bench = Bench::new();
    let broken = bench.script("broken", "[ \"$1\" = migrate ] && exit\necho the pepper is missing\nexit 2");
    bench.set("TWINPAY_BIN_GO", &broken);
    let output = bench.run(&["up"]);
    let said = text(&output);
    assert!(!output.status.success());
    assert!(
        said.contains("go ended before it was ready") && said.contains("the pepper is missing"),
        "{said}"
    );
    assert_eq!(bench.free_ports(), PORTS.len(), "the rest is stopped");
    assert!(bench.stack().is_none());
}

#[test]
fn a_missing_program_is_named_with_what_builds_it() {
    let mut bench = Bench::new();
    bench.set("TWINPAY_BIN_ACQUIRER", "/nowhere/acquirer");
    let output = bench.run(&["up"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("/nowhere/acquirer is missing: build it with `make build"));
}
