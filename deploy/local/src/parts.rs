//! What `up` has started, by name, pid and start time, and in which state it is now. Kept in `.stack/parts.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::binaries::Build;
use crate::error::{Error, Result};
use crate::instance::get_status;
use crate::process::Identity;
use crate::stack_json::{read_file, write_file};

/// The parts of a stack, in the order in which they start.
pub const NAMES: [&str; 4] = ["postgres", "acquirer", "rust", "go"];
/// A part on this machine answers at once, or hangs.
const PROBE_LIMIT: Duration = Duration::from_millis(500);

/// One part that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The process.
    pub process: Identity,
    /// Where it answers: of a twin the admin port.
    pub probe: SocketAddr,
    /// All its ports.
    pub ports: Vec<u16>,
    /// Its log.
    pub log: PathBuf,
    /// The program that it was started from.
    #[serde(default)]
    pub build: Option<Build>,
}

/// What a part is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Never started, or stopped by `down`.
    Absent,
    /// It ended by itself.
    Dead,
    /// The process is there, but doesn't answer as it should.
    Unready,
    /// At work.
    Up,
}

impl State {
    /// In a table.
    pub fn name(self) -> &'static str {
        match self {
            State::Absent => "not started",
            State::Dead => "dead",
            State::Unready => "not ready",
            State::Up => "up",
        }
    }
}

/// All parts that were started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts(pub BTreeMap<String, Part>);

impl Parts {
    /// Reads the file; nothing where there is none.
    pub fn read(folder: &Path) -> Result<Parts> {
        Ok(read_file(&folder.join("parts.json"))?.unwrap_or_default())
    }

    /// Writes the file.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_file(&folder.join("parts.json"), self)
    }

    /// Adds a part and writes the file at once: whatever happens next, `down` knows of it.
    pub fn add(&mut self, folder: &Path, name: &str, part: Part) -> Result<()> {
        self.0.insert(name.into(), part);
        self.write(folder)
    }

    /// The parts that run on, though their program has been built again since they were started.
    pub fn outdated(&self) -> Vec<&'static str> {
        let changed = |part: &Part, name| {
            part.build.zip(Build::of(name)).is_some_and(|(ran, is)| ran != is) && part.process.alive()
        };
        NAMES.into_iter().filter(|name| self.0.get(*name).is_some_and(|part| changed(part, name))).collect()
    }

    /// The state of one part.
    pub async fn state(&self, name: &str) -> State {
        let Some(part) = self.0.get(name) else { return State::Absent };
        if !part.process.alive() {
            return State::Dead;
        }
        if is_ready(name, part.probe).await { State::Up } else { State::Unready }
    }

    /// The states of all parts, in order.
    pub async fn states(&self) -> [State; 4] {
        let [a, b, c, d] = NAMES;
        tokio::join!(self.state(a), self.state(b), self.state(c), self.state(d)).into()
    }
}

/// A twin says so; the others listen.
async fn is_ready(name: &str, probe: SocketAddr) -> bool {
    let ready = async {
        match name {
            "rust" | "go" => get_status(probe, "/readyz").await == Some(200),
            _ => TcpStream::connect(probe).await.is_ok(),
        }
    };
    tokio::time::timeout(PROBE_LIMIT, ready).await.unwrap_or(false)
}

/// Only one command at a time works on a stack. Held until the file is closed.
pub fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Error::io(format!("opening {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Other(
            "another `stack up` or `stack down` of this clone is at work: wait for it".into(),
        )),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(Error::io(format!("locking {}", path.display()))(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(process: Identity, probe: SocketAddr) -> Part {
        Part { process, probe, ports: vec![probe.port()], log: "/dev/null".into(), build: None }
    }

    #[tokio::test]
    async fn a_part_is_absent_dead_unready_or_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let listens = listener.local_addr().expect("bound");
        let me = Identity::of(std::process::id()).expect("runs");
        let mut parts = Parts::default();
        assert_eq!(parts.state("acquirer").await, State::Absent);
        parts.0.insert("acquirer".into(), part(me, listens));
        assert_eq!(parts.state("acquirer").await, State::Up);
        parts.0.insert("acquirer".into(), part(Identity { started: me.started + 1, ..me }, listens));
        assert_eq!(parts.state("acquirer").await, State::Dead, "the pid belongs to another process now");
        drop(listener);
        parts.0.insert("acquirer".into(), part(me, listens));
        assert_eq!(parts.state("acquirer").await, State::Unready);
    }

    #[test]
    fn a_second_command_is_told_to_wait() {
        let folder = tempfile::tempdir().expect("folder");
        let held = lock(folder.path()).expect("free");
        assert!(lock(folder.path()).expect_err("held").to_string().contains("is at work"));
        drop(held);
        lock(folder.path()).expect("free again");
    }
}
