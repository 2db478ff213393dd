//! The one clock of the load test: CLOCK_MONOTONIC in nanoseconds, shared by sender and records.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// Now, in ns of CLOCK_MONOTONIC.
pub fn now_ns() -> u64 {
    // It can't fail for this clock on Linux; 0 would show as an absurd latency at once.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(nanos).unwrap_or(0)
}

/// A kernel time as whole ns.
pub fn nanos(time: TimeSpec) -> u64 {
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
