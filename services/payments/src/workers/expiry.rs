//! Ends authorisations that have lapsed. The card network isn't asked: it lets them lapse by itself.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::poll::{call, poll};
use crate::{
    domain::payment::expire,
    reply,
    store::{
        db::Failure,
        expiry::{Expired, expire_payments, find_expired_payments},
    },
    usecase::payments::Payments,
};

/// Between two looks for what has lapsed.
const PAUSE: Duration = Duration::from_secs(1);
/// Payments a step.
const BATCH: i64 = 100;

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

    /// Until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        poll("expiry", PAUSE, stop, || self.step()).await;
    }

    /// Ends what has lapsed, up to a batch; how many. What changed or is busy since it was read is left for later.
    pub async fn step(&self) -> Result<i64, Failure> {
        let payments = &self.payments;
        let (call, now) = (call(), payments.clock.now());
        let lapsed = find_expired_payments(&payments.db, &call, now, BATCH).await?;
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
