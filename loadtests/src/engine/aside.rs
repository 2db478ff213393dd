//! A thread for what sends: it is pinned and may become real-time, so it is of no other use afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use tokio::sync::{oneshot, watch};

/// Does `work` in a thread of its own. Where `stopped` becomes true, so does what `work` is given: it is to end early with
/// what there is.
pub async fn aside<T: Send + 'static>(
    stopped: &watch::Receiver<bool>,
    work: impl FnOnce(&Arc<AtomicBool>) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let stop = Arc::new(AtomicBool::new(*stopped.borrow()));
    let (done, mut result) = oneshot::channel();
    let seen = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("sender".into()).spawn(move || {
        // Nobody waits any more: then the result is of no use.
        let _ = done.send(work(&seen));
    })?;
    let mut stopped = stopped.clone();
    let result = loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped), if !stop.load(Ordering::Relaxed) => stop.store(true, Ordering::Relaxed),
            result = &mut result => break result,
        }
    };
    thread.join().map_err(|_| anyhow!("the sending thread panicked"))?;
    result.context("the sending thread ended without a result")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_is_passed_on_and_what_there_is_comes_back() {
        let (stop, stopped) = watch::channel(false);
        let work = |stop: &Arc<AtomicBool>| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            Ok(7)
        };
        let (found, _) = tokio::join!(aside(&stopped, work), async { stop.send_replace(true) });
        assert_eq!(found.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_is_told_as_one() {
        let (_stop, stopped) = watch::channel(false);
        let found = aside(&stopped, |_| -> anyhow::Result<()> { panic!("a test's own") }).await;
        assert_eq!(found.unwrap_err().to_string(), "the sending thread panicked");
    }
}
