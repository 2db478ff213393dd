//! The program `stack`, with stand-ins for the services: what it starts, what it says, what it leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use stack::Identity;
use stack::postgres::free_port;
use stack::stack_json::Stack;

const PORTS: [&str; 8] = [
    "TWINPAY_POSTGRES_PORT",
    "TWINPAY_ACQUIRER_PORT",
    "TWINPAY_RUST_HTTP_PORT",
    "TWINPAY_RUST_GRPC_PORT",
    "TWINPAY_RUST_ADMIN_PORT",
    "TWINPAY_GO_HTTP_PORT",
    "TWINPAY_GO_GRPC_PORT",
    "TWINPAY_GO_ADMIN_PORT",
];

/// A stack of this test's own.
struct Bench {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("folder");
        let exe = std::env::current_exe().expect("a path");
        let stand_in = exe.parent().and_then(Path::parent).expect("a folder").join("examples/stand_in");
        assert!(stand_in.is_file(), "{} is built with the tests", stand_in.display());
        let mut env = vec![("TWINPAY_STACK".into(), folder.path().display().to_string())];
        env.extend(
            ["RUST", "GO", "ACQUIRER"]
                .map(|name| (format!("TWINPAY_BIN_{name}"), stand_in.display().to_string())),
        );
        env.extend(PORTS.map(|name| (name.to_string(), free_port().expect("a port").to_string())));
        Bench { folder, env }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(other, _)| other != name);
        self.env.push((name.into(), value.into()));
    }

    fn port(&self, name: &str) -> u16 {
        let (_, value) = self.env.iter().find(|(other, _)| other == name).expect("set");
        value.parse().expect("a port")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
        command
            .args(arguments)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env_remove("TEST_DATABASE_URL");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("runs")
    }

    fn stack(&self) -> Option<Stack> {
        let text = fs::read(self.folder.path().join("stack.json")).ok()?;
        Some(serde_json::from_slice(&text).expect("JSON"))
    }

    fn pids(&self) -> [u32; 4] {
        let stack = self.stack().expect("up");
        [stack.postgres.pid, stack.acquirer.pid, stack.twins.rust.pid, stack.twins.go.pid]
    }

    fn free_ports(&self) -> usize {
        PORTS
            .iter()
            .filter(|name| std::net::TcpListener::bind(("127.0.0.1", self.port(name))).is_ok())
            .count()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.run(&["down"]);
        fs::remove_dir_all(stack::folders::data_folder_of(self.folder.path()).expect("a folder")).ok();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("runs");
}

fn make_executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("changed");
}

/// Until the process is gone; a stuck one fails the test.
fn gone(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Identity::of(pid).is_some() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

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
fn a_shells_settings_of_one_runtime_stay_out_and_where_traces_go_gets_in() {
    let mut bench = Bench::new();
    bench.set("GOMAXPROCS", "1");
    bench.set("RUST_LOG", "trace");
    bench.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    assert!(bench.run(&["up"]).status.success());
    let [_, _, rust, go] = bench.pids();
    for pid in [rust, go] {
        let bytes = fs::read(format!("/proc/{pid}/environ")).expect("runs");
        let environment = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!environment.contains("GOMAXPROCS") && !environment.contains("RUST_LOG"), "{environment}");
        assert!(environment.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{environment}");
    }
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
    let broken = bench.folder.path().join("broken");
    fs::write(&broken, "#!/bin/sh\n[ \"$1\" = migrate ] && exit\necho the pepper is missing\nexit 2\n")
        .expect("written");
    make_executable(&broken);
    bench.set("TWINPAY_BIN_GO", &broken.display().to_string());
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

/// Begins a start whose last part never gets ready, and waits for that part: `up` and its pid.
fn up_that_hangs(bench: &mut Bench) -> (Child, u32) {
    let slow = bench.folder.path().join("slow");
    fs::write(&slow, "#!/bin/sh\n[ \"$1\" = migrate ] && exit\necho $$ > \"$0.pid\"\nexec sleep 600\n")
        .expect("written");
    make_executable(&slow);
    bench.set("TWINPAY_BIN_GO", &slow.display().to_string());
    let up = bench.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let pid_file = bench.folder.path().join("slow.pid");
    let deadline = Instant::now() + Duration::from_secs(60);
    let read = || fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
    let mut pid = None;
    while pid.is_none() && Instant::now() < deadline {
        std::thread::yield_now();
        pid = read();
    }
    (up, pid.expect("the last part is started"))
}

#[test]
fn an_interrupted_start_stops_what_it_started() {
    let mut bench = Bench::new();
    let (mut up, pid) = up_that_hangs(&mut bench);
    kill(up.id(), Signal::INT);
    assert!(!up.wait().expect("ends").success());
    assert!(gone(pid));
    assert_eq!(bench.free_ports(), PORTS.len());
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
        let deadline = Instant::now() + Duration::from_secs(60);
        while !mark.exists() {
            assert!(Instant::now() < deadline, "the command is never run");
            std::thread::yield_now();
        }
        let servers = postmasters_of(running.id());
        assert_eq!(servers.len(), 1, "{servers:?}");
        kill(running.id(), signal);
        running.wait().expect("ends");
        assert!(servers.into_iter().all(gone), "after {signal:?}");
        let sleeper: u32 = fs::read_to_string(&mark).expect("a pid").trim().parse().expect("a pid");
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
