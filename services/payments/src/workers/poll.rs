//! How most workers are looped: step after step until nothing is left, then a pause.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Span, warn};

use crate::{
    store::db::Failure,
    telemetry::{Call, chain, spans},
};

/// How long a step's statements may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(2);

/// Calls `step` until `stop`, and pauses where one did nothing or failed. A step says how much it did; one that has begun ends.
pub(super) async fn poll<F: Future<Output = Result<i64, Failure>> + Send>(
    worker: &'static str,
    pause: Duration,
    stop: CancellationToken,
    step: impl Fn() -> F + Send,
) {
    while !stop.is_cancelled() {
        match step().await {
            Ok(1..) => continue,
            Ok(_) => {}
            Err(failure) => warn!(worker, error = %chain(&failure), "a worker's step failed"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}

/// What goes down with a step's statements: they belong to no request.
pub(super) fn call() -> Call {
    Call { deadline: Instant::now() + STATEMENT_LIMIT, span: Span::none(), trace: spans::nowhere() }
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn steps_follow_each_other_until_nothing_is_left_and_the_pause_ends_with_the_stop() {
        let (calls, stop) = (AtomicUsize::new(0), CancellationToken::new());
        let step = || ready(Ok(if calls.fetch_add(1, SeqCst) < 2 { 500 } else { 0 }));
        let stopping = async {
            while calls.load(SeqCst) < 3 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        tokio::join!(poll("test", NEVER, stop.clone(), step), stopping);
        assert_eq!(calls.load(SeqCst), 3);
    }

    #[tokio::test]
    async fn a_step_that_failed_is_tried_again_after_the_pause() {
        let (calls, stop) = (AtomicUsize::new(0), CancellationToken::new());
        let began = Instant::now();
        let step = || {
            if calls.fetch_add(1, SeqCst) == 1 {
                stop.cancel();
            }
            ready(Err(Failure::Late))
        };
        poll("test", SOON, stop.clone(), step).await;
        assert!(calls.load(SeqCst) == 2 && began.elapsed() >= SOON);
    }
}
