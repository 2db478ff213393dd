//! Waits for due times by the kernel's own timer, in the event loop that sends and reads.
//!
//! tokio's timers have steps of a millisecond. A timerfd has none, and where the thread is SCHED_FIFO it wakes as soon
//! as a pacing thread would, without a second thread that has to be woken first.

use std::fs::File;
use std::os::fd::AsFd;

use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::net::unix::pipe::Receiver;

use crate::clock::now_ns;

/// A timer of one task.
pub struct Timer {
    timer: TimerFd,
    /// The same descriptor. It isn't a pipe, but tokio's safe way to wait for a descriptor that isn't a socket is the
    /// pipe's, and only its readiness and eight bytes of reading are used.
    expiry: Receiver,
}

impl Timer {
    /// Has to be called inside a runtime.
    pub fn new() -> anyhow::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let expiry = Receiver::from_file_unchecked(File::from(timer.as_fd().try_clone_to_owned()?))?;
        Ok(Self { timer, expiry })
    }

    /// Waits until `at_ns` of the clock has come; at once where it has passed.
    pub async fn until(&self, at_ns: u64) -> anyhow::Result<()> {
        if at_ns <= now_ns() {
            return Ok(());
        }
        let at = TimeSpec::new((at_ns / 1_000_000_000) as _, (at_ns % 1_000_000_000) as _);
        // Setting it again forgets an expiry that nobody has read, and the next one is an event of its own.
        self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        while now_ns() < at_ns {
            self.expiry.readable().await?;
            // Would block where the readiness was that of an earlier expiry: it is forgotten so.
            let _ = self.expiry.try_read(&mut [0; 8]);
        }
        Ok(())
    }
}
