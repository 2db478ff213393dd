//! Ends authorisations that have lapsed. The card network isn't asked: it lets them lapse by itself.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Span, warn};

use crate::{
    domain::payment::expire,
    reply,
    store::{
        db::Failure,
        expiry::{Expired, expire_payments, find_expired_payments},
    },
    telemetry::{Call, chain, spans},
    usecase::payments::Payments,
};

/// Between two looks for what has lapsed.
const IDLE: Duration = Duration::from_secs(1);
/// Payments a step.
const BATCH: usize = 100;
/// How long a step's statements may take together.
const LIMIT: Duration = Duration::from_secs(5);

/// The worker.
#[derive(Clone)]
pub struct Expiry {
    payments: Arc<Payments>,
}

impl Expiry {
    /// `payments` over the workers' own connections.
    pub fn new(payments: Arc<Payments>) -> Self {
        Self { payments }
    }

    /// Steps until `stop`; a step that has begun ends.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let expired = self.step().await.unwrap_or_else(|failure| {
                warn!(error = %chain(&failure), "lapsed authorisations can't be ended");
                0
            });
            if expired == BATCH {
                continue; // There may be more.
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(IDLE) => {}
            }
        }
    }

    /// Ends what has lapsed, up to a batch; how many. What changed or is busy since it was read is left for later.
    pub async fn step(&self) -> Result<usize, Failure> {
        let payments = &self.payments;
        let call = Call { deadline: Instant::now() + LIMIT, span: Span::none(), trace: spans::nowhere() };
        let now = payments.clock.now();
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let lapsed = find_expired_payments(&payments.db, &call, now, limit).await?;
        if lapsed.is_empty() {
            return Ok(0);
        }
        let expired: Vec<Expired> = lapsed
            .into_iter()
            .map(|(before, version)| {
                let payment = expire(before, now);
                Expired { event_data: reply::payment(&payment), payment, version }
            })
            .collect();
        expire_payments(&payments.db, &call, &expired, now).await
    }
}
