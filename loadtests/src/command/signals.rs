//! The signals that end a run early.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::folder::Interrupted;
use crate::progress;

/// Becomes true on SIGINT, SIGTERM or SIGHUP; a second one ends this process with `exit_code`, and what it started ends
/// with it. Signals have a thread of their own: they are heard while the main one computes.
pub fn stop_on_signal(exit_code: u8) -> anyhow::Result<watch::Receiver<bool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = watch::channel(false);
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    drop(guard);
    let mut next = async move || {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hang_up.recv() => {} }
    };
    let listen = move || {
        runtime.block_on(async {
            next().await;
            progress::interrupted(
                "interrupted: ending the slice or what else is under way, and stopping everything; again to end at once",
            );
            stop.send_replace(true);
            next().await;
        });
        progress::restore();
        std::process::exit(exit_code.into())
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen)?;
    Ok(stopped)
}

/// Gives up on `work` when `stopped` becomes true; what it had started ends with it.
pub async fn unless_stopped<T>(
    stopped: &watch::Receiver<bool>,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let mut stopped = stopped.clone();
    tokio::select! {
        done = work => done,
        _ = stopped.wait_for(|stopped| *stopped) => Err(Interrupted.into()),
    }
}
