//! Real-time scheduling and pinning of the generator's own threads.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use thread_priority::unix::{set_thread_priority_and_policy, thread_native_id};
use thread_priority::{
    Error, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
};

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

/// Keeps this thread, and those it starts from now on, on `cores`.
pub fn pin(cores: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|&core| set.set(core))?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(())
}
