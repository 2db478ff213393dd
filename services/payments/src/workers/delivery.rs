//! Sends webhooks: leases deliveries that are due, posts each to its endpoint, and records what came of it. At least once: what was sent
//! and not recorded is sent again, under the same id.

use std::{collections::HashMap, panic::resume_unwind, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use opentelemetry::KeyValue;

use super::poll::call;
use crate::{
    domain::{
        id::EndpointId,
        webhook::{Attempt, Fault, Outcome, Target, Targets},
    },
    receiver::Receiver,
    reply,
    store::{
        db::Failure,
        webhooks::{LeasedDelivery, Tried, lease_deliveries, record_delivery},
    },
    telemetry::{chain, spans},
    usecase::{payments::Payments, webhooks::Secret},
};

/// Between two looks for what is due.
const IDLE: Duration = Duration::from_millis(100);
/// Deliveries at once.
const PLACES: usize = 20;
/// An endpoint that has so many under way gets no more; nor does a lease take more, so that a slow receiver can't take all places.
const PLACES_OF_ONE: usize = 5;
/// How long a delivery is ours: an attempt, its record, and some.
const LEASE: Duration = Duration::from_secs(15);

/// The worker. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    payments: Arc<Payments>,
    /// Whom it posts by.
    pub receiver: Receiver,
}

impl Delivery {
    /// `payments` over the workers' own connections.
    pub fn new(payments: Arc<Payments>, receiver: Receiver) -> Self {
        Self { payments, receiver }
    }

    /// Delivers what is due until `stop`; what was begun by then ends.
    pub async fn run(self, stop: CancellationToken) {
        let mut delivering = JoinSet::new();
        let mut endpoints: HashMap<Id, EndpointId> = HashMap::new();
        while !stop.is_cancelled() {
            while let Some(end) = delivering.try_join_next_with_id() {
                endpoints.remove(&ended(end));
            }
            let room = PLACES_OF_ONE.min(PLACES - delivering.len());
            let due = self.lease(room, &busy(endpoints.values())).await.unwrap_or_else(|failure| {
                warn!(error = %chain(&failure), "the webhook worker can't lease deliveries");
                Vec::new()
            });
            let more = due.len() == room && room > 0;
            for leased in due {
                let (this, endpoint) = (self.clone(), leased.endpoint);
                let task = delivering.spawn(async move { this.deliver(leased).await });
                endpoints.insert(task.id(), endpoint);
            }
            if more {
                continue;
            }
            let next = delivering.join_next_with_id();
            tokio::select! {
                () = stop.cancelled() => {}
                Some(end) = next, if room == 0 => { endpoints.remove(&ended(end)); }
                () = sleep(IDLE) => {}
            }
        }
        while let Some(end) = delivering.join_next_with_id().await {
            ended(end);
        }
    }

    /// Delivers up to a batch of what is due at once, and says how many were.
    pub async fn step(&self) -> Result<usize, Failure> {
        let due = self.lease(PLACES, &[]).await?;
        Ok(join_all(due.into_iter().map(|leased| self.deliver(leased))).await.len())
    }

    async fn lease(&self, limit: usize, busy: &[EndpointId]) -> Result<Vec<LeasedDelivery>, Failure> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let now = self.payments.clock.now();
        lease_deliveries(&self.payments.db, &call(), now, now + LEASE, limit as i64, busy).await
    }

    async fn deliver(&self, leased: LeasedDelivery) {
        let began = Instant::now();
        let number = leased.attempts + 1;
        let attempt = if leased.disabled {
            Attempt { status: None, fault: Some(Fault::Disabled) }
        } else {
            self.attempt(&leased, number).await
        };
        let outcome = attempt.outcome(number, self.payments.settings.webhook_retry);
        let attributes = [KeyValue::new("outcome", outcome.as_str())];
        self.payments.metrics.webhook_attempts.add(1, &attributes);
        let now = self.payments.clock.now();
        let (state, next) = match outcome {
            Outcome::Succeeded => ("succeeded", now),
            Outcome::Failed | Outcome::Disabled => ("failed", now),
            // Full jitter: what failed together isn't tried together.
            Outcome::Retried(wait) => ("pending", now + wait.mul_f64(rand::random::<f64>())),
        };
        let disable = outcome == Outcome::Disabled;
        let tried = Tried { state, next, attempt, took: began.elapsed(), now, disable };
        // Where it isn't recorded it is delivered again when the lease ends.
        if let Err(failure) = record_delivery(&self.payments.db, &call(), &leased, &tried).await {
            warn!(endpoint = %leased.endpoint, event = %leased.event.id, error = %chain(&failure),
                "an attempt to deliver a webhook isn't recorded");
        }
    }

    /// One POST in a trace of its own, linked to that of the event.
    async fn attempt(&self, leased: &LeasedDelivery, number: i16) -> Attempt {
        // It was checked when it came in; the targets may have been narrowed since, which the dial sees.
        let Some(target) = Target::parse(&leased.url, Targets::Any) else {
            return Attempt { status: None, fault: Some(Fault::Connect) };
        };
        let span = spans::webhook(&target, number, leased.traceparent.as_deref());
        let body = reply::event(&leased.event);
        let (id, timestamp) = (leased.event.id.to_string(), self.payments.clock.now().unix_timestamp());
        let secret = Secret::of(&self.payments.settings.webhook_master, leased.endpoint);
        let signature = secret.sign(leased.event.id, timestamp, &body);
        let timestamp = timestamp.to_string();
        let signed = [
            ("webhook-id", id.as_str()),
            ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        let attempt = self.receiver.post(target, signed, body).await;
        if let Some(status) = attempt.status {
            span.record("http.response.status_code", i64::from(status));
        }
        if let Some(fault) = attempt.fault {
            spans::fail(&span, fault.as_str());
        }
        attempt
    }
}

/// Those that have as many under way as one may have.
fn busy<'a>(under_way: impl Iterator<Item = &'a EndpointId>) -> Vec<EndpointId> {
    let mut counts: HashMap<EndpointId, usize> = HashMap::new();
    under_way.for_each(|endpoint| *counts.entry(*endpoint).or_default() += 1);
    counts.into_iter().filter(|(_, count)| *count >= PLACES_OF_ONE).map(|(endpoint, _)| endpoint).collect()
}

/// A bug must end the worker, and so the service: nothing else would tell of it.
fn ended(end: Result<(Id, ()), JoinError>) -> Id {
    match end {
        Ok((id, ())) => id,
        Err(panic) => resume_unwind(panic.into_panic()),
    }
}
