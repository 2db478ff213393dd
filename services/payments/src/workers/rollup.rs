//! Folds the journals into the balances, so that a balance is read from few rows. Readers add what is not folded yet: no reader sees a
//! difference.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::poll::{call, poll};
use crate::{
    store::{db::Failure, upkeep::roll_up_balances},
    usecase::payments::Payments,
};

/// Between two looks for new journals.
const PAUSE: Duration = Duration::from_secs(1);
/// Journals of one statement: it locks balances that others wait for.
const BATCH: i64 = 500;

/// The worker. Cheap to clone.
#[derive(Clone)]
pub struct RollUp {
    payments: Arc<Payments>,
}

impl RollUp {
    /// `payments` over the workers' own connections.
    pub fn new(payments: Arc<Payments>) -> Self {
        Self { payments }
    }

    /// Until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        poll("rollup", PAUSE, stop, || self.step()).await;
    }

    /// Folds a batch; how many journals it were.
    pub async fn step(&self) -> Result<i64, Failure> {
        roll_up_balances(&self.payments.db, &call(), BATCH).await
    }
}
