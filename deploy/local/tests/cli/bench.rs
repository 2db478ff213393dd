//! A stack of a test's own, with stand-ins for the services.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use stack::Identity;
use stack::postgres::free_port;
use stack::stack_json::Stack;

pub const PORTS: [&str; 8] = [
    "TWINPAY_POSTGRES_PORT",
    "TWINPAY_ACQUIRER_PORT",
    "TWINPAY_RUST_HTTP_PORT",
    "TWINPAY_RUST_GRPC_PORT",
    "TWINPAY_RUST_ADMIN_PORT",
    "TWINPAY_GO_HTTP_PORT",
    "TWINPAY_GO_GRPC_PORT",
    "TWINPAY_GO_ADMIN_PORT",
];

/// As much of a service as the stack can see: `examples/stand_in.rs`.
pub fn stand_in() -> PathBuf {
    let exe = std::env::current_exe().expect("a path");
    let stand_in = exe.parent().and_then(Path::parent).expect("a folder").join("examples/stand_in");
    assert!(stand_in.is_file(), "{} is built with the tests", stand_in.display());
    stand_in
}

/// A stack of this test's own.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub env: Vec<(String, String)>,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = tempfile::tempdir().expect("folder");
        let stand_in = stand_in();
        let mut env = vec![("TWINPAY_STACK".into(), folder.path().display().to_string())];
        env.extend(
            ["RUST", "GO", "ACQUIRER"]
                .map(|name| (format!("TWINPAY_BIN_{name}"), stand_in.display().to_string())),
        );
        env.extend(PORTS.map(|name| (name.to_string(), free_port().expect("a port").to_string())));
        Bench { folder, env }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(other, _)| other != name);
        self.env.push((name.into(), value.into()));
    }

    pub fn port(&self, name: &str) -> u16 {
        let (_, value) = self.env.iter().find(|(other, _)| other == name).expect("set");
        value.parse().expect("a port")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
        command
            .args(arguments)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env_remove("TEST_DATABASE_URL");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("runs")
    }

    /// Makes a program out of a shell's lines; gives its path. Other users can run it, and it can write beside itself.
    pub fn script(&self, name: &str, lines: &str) -> String {
        let path = self.folder.path().join("bin").join(name);
        // Not by us: what another test starts meanwhile would hold it open for writing, and nothing could run it.
        let write = "mkdir -p \"${0%/*}\" && printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && \
                     chmod 711 \"${0%/bin/*}\" && chmod 777 \"${0%/*}\" && chmod 755 \"$0\"";
        let mut shell = Command::new("sh");
        assert!(shell.args(["-c", write]).arg(&path).arg(lines).status().expect("runs").success());
        path.display().to_string()
    }

    /// Gives the stack a Postgres whose initdb never ends; the file that says initdb's pid.
    pub fn slow_initdb(&mut self) -> PathBuf {
        self.script("postgres", "echo 'postgres (PostgreSQL) 15.0'");
        let initdb = self.script("initdb", "echo $$ > \"$0.new\"; mv \"$0.new\" \"$0.pid\"; exec sleep 600");
        self.set("TWINPAY_POSTGRES_BIN", &self.folder.path().join("bin").display().to_string());
        format!("{initdb}.pid").into()
    }

    pub fn stack(&self) -> Option<Stack> {
        let text = fs::read(self.folder.path().join("stack.json")).ok()?;
        Some(serde_json::from_slice(&text).expect("JSON"))
    }

    pub fn pids(&self) -> [u32; 4] {
        let stack = self.stack().expect("up");
        [stack.postgres.pid, stack.acquirer.pid, stack.twins.rust.pid, stack.twins.go.pid]
    }

    pub fn free_ports(&self) -> usize {
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

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("runs");
}

/// Waits until a program has written its pid.
pub fn pid_in(file: &Path) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(pid) = fs::read_to_string(file).unwrap_or_default().trim().parse() {
            return pid;
        }
        assert!(Instant::now() < deadline, "{} is never written", file.display());
        std::thread::yield_now();
    }
}

/// Until the process is gone; a stuck one fails the test.
pub fn gone(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Identity::of(pid).is_some() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}
