//! Profiles as `go tool pprof` reads them: where the process spends its CPU time, and what it holds in memory.

use std::time::Duration;

use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use jemalloc_pprof::{PROF_CTL, StackProfile, WeightedStack};
use mappings::MAPPINGS;
use nix::sys::signal::{Signal, raise};
use pprof::{ProfilerGuard, ProfilerGuardBuilder};
use tokio::{task::spawn_blocking, time::sleep};

use super::Shared;
use crate::domain::error::Cause;

const DEFAULT_SECONDS: u64 = 30;
/// The asker waits for it.
const MAX_SECONDS: u64 = 60;
/// Samples a second of CPU time, as Go takes.
const FREQUENCY: i32 = 100;
/// CPU time that a sample stands for, in nanoseconds.
const PERIOD: f64 = 1e9 / FREQUENCY as f64;
/// What the encoder takes off an address to be inside of the call that returns there: one for the location, one for its name.
const INSIDE: usize = 2;

/// What the process does in the next seconds, or until the drain begins. One at a time: another is refused.
pub(super) async fn cpu(State(mut shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let Some(seconds) = seconds(query.as_deref().unwrap_or_default()) else {
        return text(StatusCode::BAD_REQUEST, "seconds must be an integer from 1 to 60");
    };
    let guard = match spawn_blocking(begin).await.map_err(Cause::from) {
        Ok(Ok(guard)) => guard,
        Ok(Err(pprof::Error::Running)) => {
            return text(StatusCode::CONFLICT, "another profile is being taken: wait for its end");
        }
        Ok(Err(error)) => return written(Err(error.into())),
        Err(panic) => return written(Err(panic)),
    };
    tokio::select! {
        () = sleep(Duration::from_secs(seconds)) => {}
        _ = shared.readiness.wait_for(|readiness| readiness.draining) => {}
    }
    written(spawn_blocking(move || end(guard)).await.unwrap_or_else(|panic| Err(panic.into())))
}

/// What is allocated and not freed, sampled.
pub(super) async fn heap() -> Response {
    let Some(control) = PROF_CTL.clone() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "allocations aren't sampled: see _RJEM_MALLOC_CONF");
    };
    let mut control = control.lock_owned().await;
    let dumped = spawn_blocking(move || {
        let profile = control.dump_profile()?;
        Ok(encode(profile, ("inuse_space", "bytes")))
    });
    written(dumped.await.unwrap_or_else(|panic| Err(panic.into())))
}

/// None: it isn't from 1 to 60.
fn seconds(query: &str) -> Option<u64> {
    let Some(given) = query.split('&').find_map(|pair| pair.strip_prefix("seconds=")) else {
        return Some(DEFAULT_SECONDS);
    };
    // A plus would be parsed.
    let digits = given.bytes().all(|byte| byte.is_ascii_digit());
    given.parse().ok().filter(|seconds| digits && (1..=MAX_SECONDS).contains(seconds))
}

/// Begins to sample. The unwinder allocates at its first sample, and later ones interrupt the allocator: so the first comes from here,
/// before there is a timer (an interval below a microsecond is none).
fn begin() -> pprof::Result<ProfilerGuard<'static>> {
    let builder = ProfilerGuardBuilder::default();
    let untimed = builder.clone().frequency(i32::MAX).build()?;
    let raised = raise(Signal::SIGPROF);
    drop(untimed);
    raised.map_err(std::io::Error::from)?;
    builder.frequency(FREQUENCY).build()
}

/// Ends it.
fn end(guard: ProfilerGuard<'_>) -> Result<Vec<u8>, Cause> {
    let report = guard.report().build_unresolved()?;
    drop(guard);
    let mut profile =
        StackProfile { mappings: MAPPINGS.clone().unwrap_or_default(), ..StackProfile::default() };
    for (stack, count) in &report.data {
        // The outermost first.
        let mut addrs: Vec<usize> = stack.frames.iter().rev().map(|frame| frame.ip).collect();
        // The innermost was interrupted, and is perhaps the first of its function.
        if let Some(interrupted) = addrs.last_mut() {
            *interrupted += INSIDE;
        }
        profile.push_stack(WeightedStack { addrs, weight: *count as f64 * PERIOD }, None);
    }
    Ok(encode(profile, ("cpu", "nanoseconds")))
}

/// Looks a name up for each address, which takes long.
fn encode(mut profile: StackProfile, kind: (&str, &str)) -> Vec<u8> {
    // The reader would come back for the names of a library that has none, and fail; the program itself is the first, and has some.
    let program = profile.mappings.first().map(|mapping| mapping.pathname.clone());
    profile.mappings.retain(|mapping| Some(&mapping.pathname) == program.as_ref());
    profile.to_pprof(kind, kind, None)
}

fn written(profile: Result<Vec<u8>, Cause>) -> Response {
    match profile {
        Ok(profile) => ([(header::CONTENT_TYPE, "application/octet-stream")], profile).into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("no profile: {error}")),
    }
}

fn text(status: StatusCode, line: &str) -> Response {
    (status, format!("{line}\n")).into_response()
}
