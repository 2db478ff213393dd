//! Forgets idempotency keys whose time is over. One whose operation is pending stays: its client may still ask.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::poll::{call, poll};
use crate::{
    store::{db::Failure, upkeep::sweep_idempotency_keys},
    usecase::payments::Payments,
};

/// Between two looks for old keys.
const PAUSE: Duration = Duration::from_secs(60);
/// Keys of one statement.
const BATCH: i64 = 500;

/// The worker. Cheap to clone.
#[derive(Clone)]
pub struct Sweep {
    payments: Arc<Payments>,
}

impl Sweep {
    /// `payments` over the workers' own connections.
    pub fn new(payments: Arc<Payments>) -> Self {
        Self { payments }
    }

    /// Until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        poll("sweep", PAUSE, stop, || self.step()).await;
    }

    /// Forgets a batch; how many keys it were.
    pub async fn step(&self) -> Result<i64, Failure> {
        let payments = &self.payments;
        let before = payments.clock.now() - payments.settings.key_age;
        sweep_idempotency_keys(&payments.db, &call(), before, BATCH).await
    }
}
