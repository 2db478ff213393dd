//! The pacing thread: sleeps to each due time by the kernel's own clock, hands over everything that is due, and wakes
//! the sender through an eventfd. It does nothing else, so nothing delays it.
//!
//! The requests of a slice are in order of due time, so the lock-free queue between the two threads is one counter:
//! how many of them are due. The pacer alone raises it, the sender alone follows it.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::net::unix::pipe::Receiver;

use crate::clock::{now_ns, sleep_until};
use crate::histogram::{Recorder, record_ns, recorder};
use crate::realtime;

/// Longest sleep at a stretch, so that a stop is seen soon.
const NAP_NS: u64 = 50_000_000;

/// What the pacer is asked to do: due times in ns of the clock, ascending.
type Job = Arc<[u64]>;

/// A handle on the pacing thread; dropping it ends the thread.
pub struct Pacer {
    shared: Arc<Shared>,
    jobs: Option<mpsc::Sender<Job>>,
    lags: mpsc::Receiver<Recorder>,
    thread: Option<JoinHandle<()>>,
    policy: String,
}

struct Shared {
    due: AtomicUsize,
    stop: Arc<AtomicBool>,
    wake: EventFd,
}

impl Pacer {
    /// Starts the thread; raising `stop` makes it end the job it is at.
    pub fn start(stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let shared = Arc::new(Shared { due: AtomicUsize::new(0), stop, wake });
        let (jobs, job_receiver) = mpsc::channel::<Job>();
        let (lag_sender, lags) = mpsc::channel();
        let (policy_sender, policies) = mpsc::channel();
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("pacer".into()).spawn(move || {
            let _ = policy_sender.send(realtime::go_fifo(realtime::PACER));
            while let Ok(job) = job_receiver.recv() {
                if lag_sender.send(for_thread.pace(&job)).is_err() {
                    return;
                }
            }
        })?;
        let policy = policies.recv()?;
        Ok(Self { shared, jobs: Some(jobs), lags, thread: Some(thread), policy })
    }

    /// The scheduling policy that the kernel granted.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Begins to hand over; `due` counts from 0 again.
    pub fn begin(&self, job: Job) -> anyhow::Result<()> {
        self.shared.due.store(0, Ordering::Release);
        self.jobs.as_ref().map(|jobs| jobs.send(job)).transpose()?;
        Ok(())
    }

    /// How many requests of the job are due.
    pub fn due(&self) -> usize {
        self.shared.due.load(Ordering::Acquire)
    }

    /// What tells the sender that more are due. Has to be called inside a runtime.
    pub fn wake(&self) -> anyhow::Result<Wake> {
        let descriptor = self.shared.wake.as_fd().try_clone_to_owned()?;
        Ok(Wake(Receiver::from_file_unchecked(File::from(descriptor))?))
    }

    /// After a job: how late the thread woke for each request.
    pub fn finish(&self) -> anyhow::Result<Recorder> {
        Ok(self.lags.recv()?)
    }
}

/// The sender's end of the eventfd. It isn't a pipe, but tokio's safe way to wait for a descriptor that isn't a socket
/// is the pipe's, and only its readiness and eight bytes of reading are used.
pub struct Wake(Receiver);

impl Wake {
    /// Waits until the pacer has handed something over since the last time.
    pub async fn next(&self) -> anyhow::Result<()> {
        self.0.readable().await?;
        // Would block where the wake-up was taken already: the caller looks at the counter in any case.
        let _ = self.0.try_read(&mut [0; 8]);
        Ok(())
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.jobs = None; // the thread's receiver ends
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn pace(&self, job: &[u64]) -> Recorder {
        let mut lag = recorder();
        let mut next = 0;
        while next < job.len() && !self.stop.load(Ordering::Relaxed) {
            let now = now_ns();
            if job[next] > now {
                sleep_until(job[next].min(now + NAP_NS));
                continue;
            }
            while next < job.len() && job[next] <= now {
                record_ns(&mut lag, now - job[next]);
                next += 1;
            }
            self.due.store(next, Ordering::Release);
            // It is full only after 2^64 unread wake-ups; a sender that is awake anyway reads the counter.
            let _ = self.wake.write(1);
        }
        let _ = self.wake.write(1);
        lag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_handed_over_in_order_and_never_before_it_is_due() {
        let pacer = Pacer::start(Arc::default()).unwrap();
        for _ in 0..2 {
            let begin = now_ns() + 1_000_000;
            let job: Arc<[u64]> = (0..50).map(|i| begin + i * 300_000).collect();
            pacer.begin(Arc::clone(&job)).unwrap();
            let mut seen = 0;
            while seen < job.len() {
                let due = pacer.due();
                let now = now_ns();
                assert!(due >= seen && job[..due].iter().all(|at| *at <= now), "{due} handed over too early");
                seen = due;
                std::thread::yield_now();
            }
            assert_eq!(pacer.finish().unwrap().len(), 50);
        }
    }

    #[test]
    fn a_stop_ends_a_job_that_has_hours_to_go() {
        let stop = Arc::new(AtomicBool::new(false));
        let pacer = Pacer::start(Arc::clone(&stop)).unwrap();
        pacer.begin(Arc::from([now_ns() + 3_600_000_000_000])).unwrap();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(pacer.finish().unwrap().len(), 0);
    }
}
