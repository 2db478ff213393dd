//! Publishes what the outbox holds: gives each merchant's events their sequence, makes webhook deliveries of them and wakes the
//! streams. One relay at a time leads, by a lease; the others look on.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Span, warn};
use uuid::Uuid;

use crate::{
    store::{
        db::{Db, Failure},
        events::publish_events,
    },
    telemetry::{Call, Metrics, chain, spans},
    usecase::payments::Clock,
};

/// Between two looks into the outbox.
const IDLE: Duration = Duration::from_millis(100);
/// Events of a statement.
const BATCH: i64 = 200;
/// How long others wait for a leader that says nothing.
const LEASE: Duration = Duration::from_secs(5);
/// How long a step may take, below the lease.
const STEP_LIMIT: Duration = Duration::from_secs(3);

/// The worker. A clone is the same candidate for the lead.
#[derive(Clone)]
pub struct Relay {
    db: Db,
    clock: Clock,
    metrics: Arc<Metrics>,
    holder: Uuid,
}

impl Relay {
    /// A new candidate; `db` over the workers' own connections.
    pub fn new(db: Db, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self { db, clock, metrics, holder: Uuid::new_v4() }
    }

    /// Publishes until `stop`; then another one may lead at once.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let published = self.step().await.unwrap_or_else(|failure| {
                warn!(error = %chain(&failure), "the relay can't publish events");
                0
            });
            if published == BATCH {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(IDLE) => {}
            }
        }
        if let Err(failure) = self.publish(Duration::ZERO).await {
            warn!(error = %chain(&failure), "the relay can't hand over its lead");
        }
    }

    /// Publishes up to a batch and says how many there were: none also where another one leads.
    pub async fn step(&self) -> Result<i64, Failure> {
        self.publish(LEASE).await
    }

    async fn publish(&self, lease: Duration) -> Result<i64, Failure> {
        let call =
            Call { deadline: Instant::now() + STEP_LIMIT, span: Span::none(), trace: spans::nowhere() };
        let now = self.clock.now();
        let done = publish_events(&self.db, &call, self.holder, now, now + lease, BATCH).await?;
        if let Some(oldest) = done.oldest {
            self.metrics.outbox_lag.record((self.clock.now() - oldest).as_seconds_f64(), &[]);
        }
        Ok(done.events)
    }
}
