//! What goes on without a request. Each worker is a `run()` until the shutdown, and a `step()` that does what is due and says how much,
//! which tests drive by hand. Workers use their own connections.

pub mod delivery;
pub mod expiry;
pub mod poll;
pub mod recovery;
pub mod relay;
pub mod rollup;
pub mod sweep;
pub mod waker;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::{
    delivery::Delivery, expiry::Expiry, recovery::Recovery, relay::Relay, rollup::RollUp, sweep::Sweep,
    waker::Waker,
};
use crate::{config::Config, receiver::Receiver, telemetry::Metrics, usecase::payments::Payments};

/// All of them.
#[derive(Clone)]
pub struct Workers {
    /// Settles what requests left pending.
    pub recovery: Recovery,
    /// Ends what has lapsed.
    pub expiry: Expiry,
    /// Publishes events.
    pub relay: Relay,
    /// Tells streams of them.
    pub waker: Waker,
    /// Sends webhooks.
    pub delivery: Delivery,
    /// Folds journals into balances.
    pub roll_up: RollUp,
    /// Forgets old idempotency keys.
    pub sweep: Sweep,
}

impl Workers {
    /// `payments` over the workers' own connections.
    pub fn new(payments: Payments, config: &Config, metrics: Arc<Metrics>) -> Self {
        let payments = Arc::new(payments);
        Self {
            recovery: Recovery::new(payments.clone()),
            expiry: Expiry::new(payments.clone()),
            relay: Relay::new(payments.db.clone(), payments.clock.clone(), metrics),
            waker: Waker::new(config.database_url.clone(), payments.streams.clone()),
            delivery: Delivery::new(payments.clone(), Receiver::new(config.webhook_targets)),
            roll_up: RollUp::new(payments.clone()),
            sweep: Sweep::new(payments),
        }
    }

    /// All of them until `stop`; what was begun by then ends.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(
            self.recovery.run(stop.clone()),
            self.expiry.run(stop.clone()),
            self.relay.run(stop.clone()),
            self.waker.run(stop.clone()),
            self.delivery.run(stop.clone()),
            self.roll_up.run(stop.clone()),
            self.sweep.run(stop),
        );
    }
}
