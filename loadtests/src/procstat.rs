//! CPU and memory of processes, and of the machine.
//!
//! A service's CPU is its process's CPU clock (`clock_getcpuclockid`): nanoseconds, all threads, those that have ended
//! included. `/proc/<pid>/stat` has the same sum in ticks of 10 ms, and is used only where many processes count as one
//! over a whole run (Postgres' backends); per-thread `schedstat` loses the threads that have ended.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, ensure};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::clock::nanos;

/// The CPU clock of one process.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    pid: i32,
    clock: ClockId,
}

impl Process {
    /// The clock of `pid`, which must run.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let pid = i32::try_from(pid)?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid))
            .with_context(|| format!("CPU clock of process {pid}"))?;
        Ok(Self { pid, clock })
    }

    /// CPU used since its start, in ns.
    pub fn cpu_ns(&self) -> anyhow::Result<u64> {
        clock_gettime(self.clock)
            .map(nanos)
            .with_context(|| format!("CPU clock of process {}: has it ended?", self.pid))
    }

    /// Resident memory in bytes. Fails where it has ended, even if nobody has waited for it yet: its clock still runs then.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/statm", self.pid))?;
        let pages: u64 = text.split(' ').nth(1).context("statm")?.parse()?;
        ensure!(pages > 0, "process {} has ended", self.pid);
        let page = sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(4096);
        Ok(pages * page as u64)
    }
}

/// CPU of a process and its children in ns, by ticks; ended children that were waited for are in it.
pub fn family_cpu_ns(pid: u32) -> u64 {
    let all = processes();
    let own = all.get(&pid).map_or(0, |stat| stat.ticks + stat.waited_ticks);
    let children = all.values().filter(|stat| stat.parent == pid).map(|stat| stat.ticks);
    (own + children.sum::<u64>()) * tick_ns()
}

/// Whose child a process is; nothing where it isn't there.
pub fn parent(pid: u32) -> Option<u32> {
    Some(stat(pid)?.parent)
}

/// CPU of this process's children that have ended and were waited for, in ns, by ticks.
pub fn waited_cpu_ns() -> u64 {
    stat(std::process::id()).map_or(0, |stat| stat.waited_ticks) * tick_ns()
}

/// Context switches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Switches {
    /// A thread had to wait.
    pub voluntary: u64,
    /// Its time was up, or another one came first.
    pub involuntary: u64,
}

/// Context switches of a process's threads that are there now.
pub fn switches(pid: u32) -> Switches {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    // A thread may end meanwhile.
    let statuses = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    let mut all = Switches::default();
    for status in statuses {
        all.voluntary += switches_in(&status, "voluntary_ctxt_switches:");
        all.involuntary += switches_in(&status, "nonvoluntary_ctxt_switches:");
    }
    all
}

/// All of them, of their own will or not.
pub fn context_switches(pid: u32) -> u64 {
    let Switches { voluntary, involuntary } = switches(pid);
    voluntary + involuntary
}

fn switches_in(status: &str, kind: &str) -> u64 {
    let count = status.lines().find_map(|line| line.strip_prefix(kind));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// CPU time of the machine since its boot, by ticks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    /// In use, by anybody: user, system, interrupts.
    pub busy_ns: u64,
    /// Wanted by this machine and used by another on the same host.
    pub stolen_ns: u64,
}

impl Machine {
    /// As it is now.
    pub fn now() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().context("/proc/stat is empty")?;
        let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
        let field = |index: usize| ticks.get(index).copied().unwrap_or(0);
        // user nice system idle iowait irq softirq steal
        let busy = field(0) + field(1) + field(2) + field(5) + field(6);
        Ok(Self { busy_ns: busy * tick_ns(), stolen_ns: field(7) * tick_ns() })
    }
}

struct Stat {
    parent: u32,
    ticks: u64,
    waited_ticks: u64,
}

fn processes() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// Nothing where the process has ended meanwhile.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold anything, brackets too.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok(); // numbered as in proc(5)
    Some(Stat {
        parent: field(4)? as u32,
        ticks: field(14)? + field(15)?,
        waited_ticks: field(16)? + field(17)?,
    })
}

fn tick_ns() -> u64 {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    1_000_000_000 / ticks.max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_clock_counts_threads_that_have_ended() {
        let me = Process::of(std::process::id()).unwrap();
        let before = me.cpu_ns().unwrap();
        let spin = || {
            let begin = std::time::Instant::now();
            let mut x = 1_u64;
            while begin.elapsed().as_millis() < 50 {
                x = std::hint::black_box(x.wrapping_mul(31));
            }
        };
        std::thread::spawn(spin).join().unwrap();
        let used = me.cpu_ns().unwrap() - before;
        // Other threads and other processes take part of those 50 ms; an ended thread that is lost would leave nearly 0.
        assert!(used > 2_000_000, "{used} ns");
    }

    #[test]
    fn children_that_have_ended_count() {
        let before = waited_cpu_ns();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
        assert!(shell.status().unwrap().success());
        // Some 100 ms, and ticks are of 10 ms.
        assert!(waited_cpu_ns() > before);
    }

    #[test]
    fn switches_of_both_kinds_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        let kinds = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:", "no_switches:"];
        assert_eq!(kinds.map(|kind| switches_in(status, kind)), [12, 3, 0]);
        assert!(context_switches(std::process::id()) > 0);
    }

    #[test]
    fn memory_family_and_machine_are_there() {
        let pid = std::process::id();
        assert!(Process::of(pid).unwrap().rss_bytes().unwrap() > 500_000);
        assert!(Machine::now().unwrap().busy_ns > 0);
        assert!(processes().contains_key(&pid));
        assert!(family_cpu_ns(pid) > 0);
    }
}
