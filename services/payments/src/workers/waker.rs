//! Hears from Postgres of merchants with new events, and wakes their streams. Has one connection of its own, outside of the pools.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{domain::error::Cause, store::events::Notices, telemetry::chain, usecase::events::Streams};

/// Between two tries to connect: it doubles up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The worker.
#[derive(Clone)]
pub struct Waker {
    url: String,
    streams: Arc<Streams>,
}

impl Waker {
    /// Of the database at `url`.
    pub fn new(url: String, streams: Arc<Streams>) -> Self {
        Self { url, streams }
    }

    /// Wakes streams until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                failed = self.listen(&mut pause) => {
                    if let Err(error) = failed {
                        warn!(error = %chain(error.as_ref()), "notices of events aren't heard");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
            }
        }
    }

    /// Until the connection is lost.
    async fn listen(&self, pause: &mut Duration) -> Result<(), Cause> {
        let mut notices = Notices::listen(&self.url).await?;
        *pause = FIRST_PAUSE;
        self.streams.wake_all();
        while let Some(merchant) = notices.next().await? {
            self.streams.wake(merchant);
        }
        Ok(())
    }
}
