//! Real-time scheduling and pinning of the generator's own threads, cores that don't sleep while they are waited for, and a disk that
//! has nothing else to do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::LazyLock;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, sync};
use procfs::{Current, Meminfo};
use thread_priority::unix::{set_thread_priority_and_policy, thread_native_id};
use thread_priority::{
    Error, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
};

/// Where a process asks how late a core may be to wake; what is asked holds until the file is closed
/// (<https://docs.kernel.org/power/pm_qos_interface.html>).
const WAKING: &str = "/dev/cpu_dma_latency";

/// For as long as this process lives.
static AWAKE: LazyLock<io::Result<File>> = LazyLock::new(|| {
    let mut file = File::options().write(true).open(WAKING)?;
    file.write_all(&0_i32.to_ne_bytes())?;
    Ok(file)
});

/// What a disk writes in less than two seconds.
const SOON_WRITTEN_MIB: u64 = 200;
/// Priority of the sending thread: above whatever shares its core, which runs when the sender sleeps.
pub const SENDER: u8 = 1;

/// Asks for SCHED_FIFO for this thread; says what it got.
pub fn go_fifo(priority: u8) -> String {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let wanted = ThreadPriorityValue::try_from(priority).map(ThreadPriority::Crossplatform);
    match wanted.map(|wanted| set_thread_priority_and_policy(thread_native_id(), wanted, policy)) {
        Ok(Ok(())) => format!("SCHED_FIFO {priority}"),
        Ok(Err(Error::OS(code))) => {
            format!("SCHED_OTHER (SCHED_FIFO refused: {})", std::io::Error::from_raw_os_error(code))
        }
        Ok(Err(error)) => format!("SCHED_OTHER (SCHED_FIFO refused: {error:?})"),
        Err(error) => format!("SCHED_OTHER ({error})"),
    }
}

/// What idle cores do, as this process has asked. A core that sleeps is late to wake, and a virtual one that sleeps is given
/// away: the host wakes it when it has time.
pub fn idle_cores() -> String {
    match &*AWAKE {
        Ok(_) => match fs::read_to_string("/sys/devices/system/cpu/cpu0/cpuidle/state0/name") {
            Ok(state) => format!("kept in state {} ({WAKING})", state.trim()),
            Err(_) => "sleep (the kernel has no states of idleness to choose from)".into(),
        },
        Err(why) => format!("sleep ({WAKING}: {why})"),
    }
}

/// What a process does before it measures: it has idle cores stay awake, where it may, has written to disk what waits for that, and
/// keeps to `cores` by itself.
pub fn settle(cores: &[usize]) -> anyhow::Result<()> {
    LazyLock::force(&AWAKE);
    write_back()?;
    pin(cores)
}

/// Waits until the disk has what programs wrote before, such as a build. The kernel would begin half a minute later (`dirty_expire_centisecs`),
/// and commits stand still meanwhile: after 2.4 GB the mean reply of one slice took 31 ms instead of 7, and the play was void.
fn write_back() -> anyhow::Result<()> {
    let waiting = waiting_mib()?;
    if waiting > SOON_WRITTEN_MIB {
        eprintln!("{waiting} MiB that programs wrote aren’t on the disk yet: waiting for that …");
    }
    sync();
    Ok(())
}

/// Written by programs and not yet by the kernel, in MiB.
fn waiting_mib() -> anyhow::Result<u64> {
    let memory = Meminfo::current()?;
    Ok((memory.dirty + memory.writeback) >> 20)
}

/// Keeps this thread, and those it starts from now on, on `cores`.
pub fn pin(cores: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|&core| set.set(core))?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_wrote_is_on_the_disk_before_anything_is_measured() {
        let mut file = tempfile::tempfile_in(stack::folders::shared_folder().unwrap()).unwrap();
        file.write_all(&vec![1; 96 << 20]).unwrap();
        let before = waiting_mib().unwrap();
        assert!(before >= 64, "only {before} MiB wait: does the kernel write at once?");
        write_back().unwrap();
        let after = waiting_mib().unwrap();
        assert!(after < before - 50, "{before} MiB waited before, and {after} after");
    }

    #[test]
    fn cores_are_awake_or_it_is_said_why_not() {
        let said = idle_cores();
        if File::options().write(true).open(WAKING).is_err() {
            assert!(said.starts_with(&format!("sleep ({WAKING}: ")), "{said}");
            return;
        }
        // What all processes ask together, in µs.
        let asked = fs::read(WAKING).unwrap();
        assert_eq!(i32::from_ne_bytes(asked.try_into().unwrap()), 0);
        let states = std::path::Path::new("/sys/devices/system/cpu/cpu0/cpuidle/state0").exists();
        assert!(said.starts_with(if states { "kept in state " } else { "sleep (the kernel" }), "{said}");
    }
}
