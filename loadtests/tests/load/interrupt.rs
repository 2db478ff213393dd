//! The built program, interrupted: what was measured is reported, and nothing that it started stays behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadtests::report::Report;
use loadtests::report::standing::is_void;
use stack::instance::Twin;

/// The kernel ends what is tied to a process after that process: not at the same moment.
const LINGER: Duration = Duration::from_secs(10);

/// A process and its start time: a pid alone may be another's by now.
pub type Who = (u32, String);

/// What a run came to, and what it had started when it was interrupted.
pub struct End {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    children: Vec<Who>,
    listening: Vec<String>,
}

/// Runs the program, and sends it `signal` at the first line of its standard error that `is_time` picks.
fn interrupted(arguments: &[&str], signal: &str, is_time: fn(&str) -> bool) -> End {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    interrupted_command(command.args(arguments), signal, is_time)
}

/// The same of a command.
pub fn interrupted_command(command: &mut Command, signal: &str, is_time: fn(&str) -> bool) -> End {
    ended(command, is_time, |pid| {
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill runs").success());
    })
}

/// Runs the program, and does `then` with its pid at the first line of its standard error that `is_time` picks.
pub fn ended(command: &mut Command, is_time: fn(&str) -> bool, then: impl FnOnce(u32)) -> End {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run: Child = piped.spawn().expect("it runs");
    let mut lines = BufReader::new(run.stderr.take().expect("piped")).lines().map(|line| line.expect("text"));
    let mut stderr = String::new();
    let mut seen = false;
    for line in lines.by_ref() {
        stderr += &(line.clone() + "\n");
        if is_time(&line) {
            seen = true;
            break;
        }
    }
    assert!(seen, "it ended before its time: {stderr}");
    let children = descendants(run.id());
    let listening = listening(&children);
    then(run.id());
    lines.for_each(|line| stderr += &(line + "\n"));
    let mut stdout = String::new();
    run.stdout.take().expect("piped").read_to_string(&mut stdout).expect("text");
    End { code: run.wait().expect("it ends").code(), stdout, stderr, children, listening }
}

impl End {
    /// No process and no listening socket that was its own is there any more.
    pub fn assert_nothing_stays(&self) {
        let begin = Instant::now();
        while self.children.iter().any(|who| stat(who.0).is_some_and(|(_, start)| start == who.1)) {
            assert!(begin.elapsed() < LINGER, "of {:?} some still run", self.children);
            std::thread::yield_now();
        }
        let stays: Vec<_> = sockets().into_keys().filter(|inode| self.listening.contains(inode)).collect();
        assert!(stays.is_empty(), "sockets {stays:?} still listen");
    }
}

/// Parent and start time; none where the process is gone or waits to be reaped.
fn stat(pid: u32) -> Option<(u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields[0] != "Z").then(|| (fields[1].parse().expect("a pid"), fields[19].to_owned()))
}

/// All that it has started, and what those have.
pub fn descendants(of: u32) -> Vec<Who> {
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<(u32, (u32, String))> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let (mut found, mut parents) = (Vec::new(), vec![of]);
    while let Some(parent) = parents.pop() {
        for (pid, (_, start)) in all.iter().filter(|(_, (its, _))| *its == parent) {
            found.push((*pid, start.clone()));
            parents.push(*pid);
        }
    }
    found
}

/// Those of a program that it has started, parents first.
fn running(of: u32, program: &str) -> Vec<u32> {
    let is_one =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program);
    descendants(of).into_iter().map(|(pid, _)| pid).filter(is_one).collect()
}

fn kill(pid: &u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill runs").success());
}

/// Listening sockets of the machine: inode and address.
fn sockets() -> BTreeMap<String, String> {
    let table = fs::read_to_string("/proc/net/tcp").expect("sockets");
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields
        .filter(|fields| fields.get(3) == Some(&"0A"))
        .map(|fields| (fields[9].to_owned(), fields[1].to_owned()))
        .collect()
}

fn listening(processes: &[Who]) -> Vec<String> {
    let of = |(pid, _): &Who| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = processes.iter().flat_map(of).filter_map(|entry| fs::read_link(entry.path()).ok());
    let open: Vec<String> = links.map(|link| link.display().to_string()).collect();
    sockets().into_keys().filter(|inode| open.contains(&format!("socket:[{inode}]"))).collect()
}

fn logs(out: &Path) -> Vec<String> {
    let entries = fs::read_dir(out).expect("a report").flatten();
    let folder = entries.map(|entry| entry.path()).find(|path| path.is_dir()).expect("logs are kept");
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("logs")
        .flatten()
        .filter(|entry| entry.metadata().expect("a file").len() > 0)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The first slices of both have been played; what is left would take a minute.
fn some_of_120_slices(line: &str) -> bool {
    let played = line.split_once("tokenize: ").and_then(|(_, rest)| rest.split_once(" of 120 slices"));
    played.is_some_and(|(done, _)| done.parse::<u32>().is_ok_and(|done| done >= 4))
}

#[test]
fn an_interrupted_comparison_reports_what_it_measured_and_leaves_nothing_behind() {
    let out = tempfile::tempdir().expect("a folder");
    let path = out.path().to_str().expect("a path");
    let run = ["compare", "--smoke", "--scenario", "tokenize", "--pairs", "60", "--out", path];
    let end = interrupted(&run, "-INT", some_of_120_slices);
    let (stdout, stderr) = (&end.stdout, &end.stderr);
    assert_eq!(end.code, Some(3), "{stdout}{stderr}");
    assert!(stderr.contains("interrupted: ending the slice"), "{stderr}");
    assert!(
        end.listening.len() >= 8,
        "three doors of each service, card network, Postgres: {:?}",
        end.listening
    );
    end.assert_nothing_stays();
    let report = Report::read(&out.path().join("report.json")).expect("a report");
    assert!(report.void[0].starts_with("The run was interrupted"), "{:?}", report.void);
    let slices = report.scenarios[0].slices[0].len();
    assert!((1..60).contains(&slices), "{slices} slices");
    assert!(stdout.contains(&format!("The logs: {path}/logs-")), "{stdout}");
    assert_eq!(logs(out.path()), ["acquirer.log", "tokenize_go.log", "tokenize_rust.log"]);
}

/// As Ctrl-C in a shell's `loadtest … 2>&1 | tee log`: it ends the reader too.
#[test]
fn an_interrupted_comparison_is_reported_though_nobody_hears_of_it() {
    let out = tempfile::tempdir().expect("a folder");
    let path = out.path().to_str().expect("a path");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "--smoke", "--scenario", "tokenize", "--pairs", "60", "--out", path]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let lines = BufReader::new(run.stderr.take().expect("piped")).lines();
    let seen = lines.map_while(Result::ok).any(|line| some_of_120_slices(&line));
    assert!(seen, "it ended before its time");
    drop(run.stdout.take());
    let pid = run.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    assert_eq!(run.wait().expect("it ends").code(), Some(3));
    let report = Report::read(&out.path().join("report.json")).expect("a report");
    assert!(report.void[0].starts_with("The run was interrupted"), "{:?}", report.void);
}

#[test]
fn a_service_that_dies_in_the_middle_is_named_and_what_was_measured_before_is_reported() {
    let out = tempfile::tempdir().expect("a folder");
    let path = out.path().to_str().expect("a path");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "--smoke", "--scenario", "tokenize", "--pairs", "60", "--out", path]);
    let end = ended(&mut command, some_of_120_slices, |pid| {
        kill(running(pid, "payments").first().expect("a service"))
    });
    let (stdout, stderr) = (&end.stdout, &end.stderr);
    assert_eq!(end.code, Some(3), "{stdout}{stderr}");
    end.assert_nothing_stays();
    let report = Report::read(&out.path().join("report.json")).expect("a report");
    let wanted =
        |label: &str| format!("tokenize: {label} ended during the run; what is shown was measured before.");
    assert!(["Rust", "Go"].map(wanted).contains(&report.void[0]), "{:?}", report.void);
    assert!(report.void.iter().any(|reason| reason.starts_with("tokenize, complete: ")), "{:?}", report.void);
    let pairs = report.scenarios[0].slices[0].len();
    assert!((1..60).contains(&pairs), "{pairs} pairs");
    let verify =
        Command::new(env!("CARGO_BIN_EXE_loadtest")).args(["verify", path]).output().expect("it runs");
    assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stdout));
}

#[test]
fn a_part_that_fails_is_void_alone_and_what_was_compared_before_it_stands_though_the_database_ends() {
    let out = tempfile::tempdir().expect("a folder");
    let path = out.path().to_str().expect("a path");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let unserved = "skipped,shed,dropped,connections";
    command.args(["compare", "--smoke", "--scenario", "tokenize", "--limits", "--allow-void", unserved]);
    let is_time = |line: &str| line.starts_with("limits: repetition 1");
    let end = ended(command.args(["--out", path]), is_time, |pid| {
        running(pid, "payments").iter().for_each(kill);
        kill(running(pid, "postgres").first().expect("a database"));
    });
    let (stdout, stderr) = (&end.stdout, &end.stderr);
    assert_eq!(end.code, Some(3), "{stdout}{stderr}");
    end.assert_nothing_stays();
    let report = Report::read(&out.path().join("report.json")).expect("a report");
    let wanted = "limits of the machine, complete: it is measured to its end; it was ended by an error: ";
    assert!(report.void.len() == 1 && report.void[0].starts_with(wanted), "{:?}", report.void);
    assert!(report.limits.is_none() && !is_void(&report, &report.scenarios[0]));
    let settings: Vec<_> = report.environment.settings.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(settings, ["Settings"]);
    let verify =
        Command::new(env!("CARGO_BIN_EXE_loadtest")).args(["verify", path]).output().expect("it runs");
    assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stdout));
}

#[test]
fn a_comparison_interrupted_before_its_first_slice_leaves_nothing_at_all() {
    let outer = tempfile::tempdir().expect("a folder");
    let out = outer.path().join("report");
    let path = out.to_str().expect("a path");
    let is_time = |line: &str| line.contains("starting both services");
    let end = interrupted(&["compare", "--smoke", "--out", path], "-TERM", is_time);
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    assert!(
        end.stderr.ends_with("loadtest: interrupted before there was anything to report\n"),
        "{}",
        end.stderr
    );
    end.assert_nothing_stays();
    assert!(!out.exists(), "the report's folder is there");
}

#[test]
fn interrupted_limits_leave_nothing_behind() {
    let is_time = |line: &str| line.starts_with("limits: repetition 1");
    let end = interrupted(&["limits", "--seconds", "60"], "-INT", is_time);
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    let wanted = "loadtest: interrupted before there was anything to report\n";
    assert!(end.stderr.ends_with(wanted), "{}", end.stderr);
    assert!(end.children.len() >= 4, "two services, a card network, Postgres: {:?}", end.children);
    end.assert_nothing_stays();
}

#[test]
fn an_interrupted_calibration_tells_what_it_had_found() {
    let is_time = |line: &str| line.starts_with("costs of ratio 0.9");
    let end = interrupted(&["calibrate", "--pairs", "10", "--slice", "50"], "-INT", is_time);
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    let wanted = "loadtest: interrupted: the table is of what was measured before\n";
    assert!(end.stderr.ends_with(wanted), "{}", end.stderr);
    assert!(end.stdout.contains("│ 0.5") && !end.stdout.contains("│ 0.9"), "{}", end.stdout);
    end.assert_nothing_stays();
}

#[test]
fn interrupted_races_leave_nothing_behind() {
    let is_time = |line: &str| line.starts_with("races: ");
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["races", "--rounds", "100000"]).env("TWINPAY_STACK", folder.path());
    let end = interrupted_command(&mut command, "-INT", is_time);
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    assert!(end.stderr.ends_with("loadtest: interrupted\n"), "{}", end.stderr);
    assert!(end.children.len() >= 3, "two services and a card network: {:?}", end.children);
    end.assert_nothing_stays();
    let stays: Vec<_> = fs::read_dir(folder.path()).expect("the folder").flatten().collect();
    assert!(stays.is_empty(), "{stays:?}");
}

#[test]
fn a_failed_comparison_keeps_the_logs_and_says_where() {
    let out = tempfile::tempdir().expect("a folder");
    let path = out.path().to_str().expect("a path");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "--smoke", "--out", path]).env("TWINPAY_BIN_ACQUIRER", "/bin/pwd");
    let output = command.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(&format!("; the logs are in {path}/logs-")), "{stderr}");
    assert_eq!(logs(out.path()), ["acquirer.log"]);
}

#[test]
fn a_program_that_is_the_other_service_is_named() {
    let out = tempfile::tempdir().expect("a folder");
    let path = out.path().to_str().expect("a path");
    let rust = Twin::Rust.binary().expect("built");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "--smoke", "--out", path]).env("TWINPAY_BIN_GO", &rust);
    let output = command.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let wanted = format!("loadtest: {}: this is the rust service, wanted the go one", rust.display());
    assert!(stderr.contains(&wanted), "{stderr}");
}
