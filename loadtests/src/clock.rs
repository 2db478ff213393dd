//! The one clock of the load test: CLOCK_MONOTONIC in nanoseconds, shared by sender and records.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// Now, in ns of CLOCK_MONOTONIC.
pub fn now_ns() -> u64 {
    // It can't fail for this clock on Linux; 0 would show as an absurd latency at once.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(nanos).unwrap_or(0)
}

/// Sleeps until `at_ns` of the same clock; returns at once where that has passed, or earlier on a signal.
pub fn sleep_until(at_ns: u64) {
    let at = TimeSpec::new((at_ns / 1_000_000_000) as _, (at_ns % 1_000_000_000) as _);
    // Interrupted by a signal: callers look at the clock again.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
}

/// A kernel time as whole ns.
pub fn nanos(time: TimeSpec) -> u64 {
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
