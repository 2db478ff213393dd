//! Starting, recognising and ending processes, without `unsafe` and without leaving one behind.
//!
//! A process that must not outlive us is started through `setpriv --pdeathsig` (util-linux, on every Debian and
//! Ubuntu), which becomes the program itself, so pids stay true. The kernel ties that signal to the *thread* that
//! started the child, and test threads come and go; so one thread that lives as long as we do starts them all.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;
use serde::{Deserialize, Serialize};

use crate::environment;
use crate::error::{Error, Result};

/// How often a process that is waited for is looked at.
const POLL: Duration = Duration::from_millis(2);
/// How much of a log an error shows.
const TAIL_LINES: usize = 15;
/// No more of a log than this is read for its tail: lines can be long.
const TAIL_BYTES: u64 = 16 * 1024;

/// Whether a process ends with the one that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Life {
    /// Ends when we end, however we end.
    #[default]
    Tied,
    /// Lives on in a session of its own: what `stack up` starts.
    Detached,
}

/// What to start, and how.
#[derive(Debug)]
pub(crate) struct Launch {
    /// For messages.
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// Added to the inherited environment, from which the stack's own variables and settings of a runtime are taken out.
    pub env: Vec<(String, String)>,
    /// Another user to become, `(uid, gid)`.
    pub user: Option<(u32, u32)>,
    /// Cores to run on from the first instruction; empty: any.
    pub cpus: Vec<usize>,
    /// Gets stdout and stderr, at its end.
    pub log: PathBuf,
    pub life: Life,
    /// Sent by the kernel to a tied process when we are gone.
    pub death_signal: &'static str,
}

/// A process by pid and start time: a pid alone may come to mean another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The pid.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub started: u64,
}

impl Identity {
    /// Of the process that has this pid now; None where it is gone or a zombie.
    pub fn of(pid: u32) -> Option<Identity> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse_stat(&stat).map(|started| Identity { pid, started })
    }

    /// Whether this very process still runs.
    pub fn alive(self) -> bool {
        Identity::of(self.pid) == Some(self)
    }

    /// Sends a signal if this very process still runs.
    pub fn signal(self, signal: Signal) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        self.alive() && pid.is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
    }

    /// Waits for its end; false where it still runs at the deadline.
    pub async fn ends_within(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.alive() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// Asks it to end by `signal`, waits up to `limit`, then kills it. False where it had to be killed.
    pub async fn stop(self, signal: Signal, limit: Duration) -> bool {
        if !self.signal(signal) {
            return true;
        }
        let ended = self.ends_within(limit).await;
        if !ended {
            self.signal(Signal::KILL);
            self.ends_within(Duration::from_secs(5)).await;
        }
        ended
    }
}

/// The start time, unless the process is a zombie or dead. The name in field 2 may hold blanks and parentheses.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A process that we started.
#[derive(Debug)]
pub(crate) struct Process {
    pub name: String,
    pub identity: Identity,
    pub log: PathBuf,
    /// Where this process' part of the log begins.
    pub log_start: u64,
    pub started_at: Instant,
    child: Child,
}

impl Process {
    /// Starts it.
    pub fn start(launch: &Launch) -> Result<Process> {
        let log = open_log(&launch.log)?;
        let log_start = log.metadata().map_or(0, |metadata| metadata.len());
        let errors = log.try_clone().map_err(Error::io("doubling a log's descriptor"))?;
        let mut command = command(launch);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let started_at = Instant::now();
        let child = spawn(command, launch.cpus.clone()).map_err(Error::io(format!(
            "starting {} ({})",
            launch.name,
            launch.program.display()
        )))?;
        let identity = Identity::of(child.id()).unwrap_or(Identity { pid: child.id(), started: 0 });
        Ok(Process {
            name: launch.name.clone(),
            identity,
            log: launch.log.clone(),
            log_start,
            started_at,
            child,
        })
    }

    /// Its exit status, if it has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it at once. It is reaped, so that no zombie stays.
    pub fn kill(&mut self) {
        // Errors mean that it has ended already.
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }

    /// See [`Identity::stop`]; reaps.
    pub async fn stop(&mut self, signal: Signal, limit: Duration) -> bool {
        let ended = self.identity.stop(signal, limit).await;
        self.kill();
        ended
    }

    /// Calls `probe` until it gives something, the process ends, or the time is over.
    pub async fn wait_until<T>(
        &mut self,
        limit: Duration,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = probe().await {
                return Ok(found);
            }
            if let Some(status) = self.exit_status() {
                return Err(Error::Died {
                    name: self.name.clone(),
                    status: status.to_string(),
                    log: self.log.display().to_string(),
                    tail: self.tail(),
                });
            }
            if Instant::now() >= deadline {
                return Err(Error::Late {
                    name: self.name.clone(),
                    waited: limit,
                    log: self.log.display().to_string(),
                    tail: self.tail(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The last lines that this process logged.
    pub fn tail(&self) -> String {
        tail(&self.log, self.log_start)
    }
}

/// The last lines of a log from `start` on.
pub(crate) fn tail(log: &Path, start: u64) -> String {
    let text = read_from(log, start).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    if lines.is_empty() { "  (empty)".into() } else { format!("  {}", lines[from..].join("\n  ")) }
}

fn read_from(log: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io(format!("opening {}", path.display())))
}

/// The command, wrapped so that it has a session of its own and, if tied, dies with us. Without these tools it is
/// started bare: then it has a process group of its own, and a tied one outlives us only if we are killed.
fn command(launch: &Launch) -> Command {
    let mut words = if launch.life == Life::Tied { tie(launch.death_signal) } else { Vec::new() };
    let own_session = tool("setsid").is_some();
    if own_session {
        words.push("setsid".into());
    }
    words.push(launch.program.display().to_string());
    words.extend(launch.args.iter().cloned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir("/");
    if !own_session {
        command.process_group(0);
    }
    // With a uid given, std also drops the supplementary groups.
    if let Some((uid, gid)) = launch.user {
        command.uid(uid).gid(gid);
    }
    environment::clean(&mut command, launch.life);
    command.envs(launch.env.iter().map(|(name, value)| (name, value)));
    command
}

/// The words before a command that let it die with the thread that starts it.
fn tie(signal: &str) -> Vec<String> {
    let words = ["setpriv", "--pdeathsig", signal, "--"].map(String::from);
    if tool("setpriv").is_some() { words.into() } else { Vec::new() }
}

/// A program that does its work and ends, such as initdb: without a shell's settings, and gone when we are.
pub fn errand(program: &Path, user: Option<(u32, u32)>) -> tokio::process::Command {
    let mut words = tie("KILL");
    words.push(program.display().to_string());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir("/").stdin(Stdio::null());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    environment::clean(&mut command, Life::Tied);
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    command
}

/// A program of this name on `PATH`.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    on_path(&std::env::var_os("PATH")?, name).next()
}

/// All programs of this name on a path, the first to be taken first.
pub(crate) fn on_path(path: &OsStr, name: &str) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path).map(move |folder| folder.join(name)).filter(|candidate| candidate.is_file())
}

type Job = Box<dyn FnOnce() + Send>;

/// Starts the command on the thread that lives as long as this process, on these cores.
fn spawn(mut command: Command, cpus: Vec<usize>) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        sender
    });
    let (reply, answer) = mpsc::channel();
    let job: Job = Box::new(move || {
        // The other end waits for the answer; it can't be gone.
        reply.send(pinned(&cpus, || command.spawn())).ok();
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner.send(job).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// Runs `start` with this thread on `cpus`: a child inherits the thread's cores, so it never runs elsewhere.
fn pinned(cpus: &[usize], start: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
    if cpus.is_empty() {
        return start();
    }
    let before = rustix::thread::sched_getaffinity(None)?;
    let mut set = CpuSet::new();
    cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(*cpu));
    rustix::thread::sched_setaffinity(None, &set)?;
    let child = start();
    rustix::thread::sched_setaffinity(None, &before)?;
    child
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(log: &Path) -> Launch {
        Launch {
            name: "sleeper".into(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), "echo one; echo two; echo $TWINPAY_X; exec sleep 600".into()],
            env: vec![("TWINPAY_X".into(), "three".into())],
            user: None,
            cpus: vec![],
            log: log.into(),
            life: Life::Tied,
            death_signal: "KILL",
        }
    }

    #[test]
    fn start_time_is_read_past_a_name_with_blanks_and_parentheses() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 2 3 0 0 20 0 1 0 4242 1000 10";
        assert_eq!(parse_stat(stat), Some(4242));
        assert_eq!(parse_stat(&stat.replace(" S ", " Z ")), None);
        assert_eq!(parse_stat("garbage"), None);
    }

    #[tokio::test]
    async fn a_process_has_a_session_of_its_own_and_ends_when_stopped() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("log");
        let mut process = Process::start(&sleeper(&log)).expect("starts");
        process
            .wait_until(Duration::from_secs(10), async || {
                fs::read_to_string(&log).ok().filter(|t| t.contains("three"))
            })
            .await
            .expect("logs");
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.identity.pid)).expect("runs");
        let (_, rest) = stat.rsplit_once(')').expect("a name");
        let session = rest.split_whitespace().nth(3).expect("a session");
        assert_eq!(session, process.identity.pid.to_string());
        assert!(process.stop(Signal::TERM, Duration::from_secs(10)).await);
        assert!(!process.identity.alive());
        assert!(process.tail().ends_with("three"), "{}", process.tail());
    }

    #[tokio::test]
    async fn a_process_that_dies_early_is_an_error_with_the_end_of_its_log() {
        let folder = tempfile::tempdir().expect("folder");
        let mut launch = sleeper(&folder.path().join("log"));
        launch.args[1] = "for i in $(seq 40); do echo line $i; done; exit 3".into();
        let mut process = Process::start(&launch).expect("starts");
        let error = process
            .wait_until(Duration::from_secs(10), async || None::<()>)
            .await
            .expect_err("died")
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("line 40") && !error.contains("line 2\n"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_process_is_pinned_from_its_first_instruction() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("log");
        let mut launch = sleeper(&log);
        launch.args[1] = "grep Cpus_allowed_list /proc/self/status".into();
        launch.cpus = vec![0];
        let mut process = Process::start(&launch).expect("starts");
        process.wait_until(Duration::from_secs(10), async || None::<()>).await.expect_err("ends");
        assert_eq!(process.tail().split_whitespace().last(), Some("0"));
    }

    #[test]
    fn another_process_under_the_same_pid_is_not_taken_for_ours() {
        let me = Identity::of(std::process::id()).expect("runs");
        assert!(me.alive());
        assert!(!Identity { started: me.started + 1, ..me }.alive());
        assert!(!Identity { started: me.started + 1, ..me }.signal(Signal::KILL));
    }
}
