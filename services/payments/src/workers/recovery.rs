//! Settles what requests left pending: a crash, a lost answer of the card network, an unclear write. Leases operations whose time is
//! up, asks the network again under the same id, and records.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{Span, warn};

use crate::{
    domain::error::Reason,
    store::{
        db::Failure,
        operations::{Leased, lease_pending_operations},
    },
    telemetry::{Call, chain, spans},
    usecase::{operation::Settled, payments::Payments},
};

/// Between two looks for what is due.
const IDLE: Duration = Duration::from_millis(100);
/// Operations at once.
const BATCH: usize = 50;
/// How long the network has to answer, below the lease.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// How long the lease itself may take.
const LEASE_LIMIT: Duration = Duration::from_secs(2);

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing was due.
    Idle,
    /// So many were leased, and so many of them are recorded now.
    Did {
        /// Taken.
        leased: usize,
        /// Settled for good.
        recorded: usize,
    },
}

/// The worker. Cheap to clone.
#[derive(Clone)]
pub struct Recovery {
    payments: Arc<Payments>,
}

impl Recovery {
    /// `payments` over the workers' own connections.
    pub fn new(payments: Arc<Payments>) -> Self {
        Self { payments }
    }

    /// Settles what is due until `stop`; what was begun by then ends. An answer that hangs takes one place and delays nobody else: an
    /// operation that comes due meanwhile is leased all the same.
    pub async fn run(self, stop: CancellationToken) {
        let mut settling = JoinSet::new();
        while !stop.is_cancelled() {
            while let Some(end) = settling.try_join_next() {
                hand_on_panic(end);
            }
            let room = BATCH - settling.len();
            if room == 0 {
                tokio::select! {
                    () = stop.cancelled() => {}
                    Some(end) = settling.join_next() => hand_on_panic(end),
                }
                continue;
            }
            let due = self.lease(room).await.unwrap_or_else(|failure| {
                warn!(error = %chain(&failure), "the recovery can't lease operations");
                Vec::new()
            });
            let more = due.len() == room;
            for leased in due {
                let this = self.clone();
                settling.spawn(async move { this.settle(leased).await });
            }
            if more {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(IDLE) => {}
            }
        }
        while let Some(end) = settling.join_next().await {
            hand_on_panic(end);
        }
    }

    /// Leases what is due and settles all of it at once; the pool bounds how much of that touches the database.
    pub async fn step(&self) -> Result<Step, Failure> {
        let due = self.lease(BATCH).await?;
        if due.is_empty() {
            return Ok(Step::Idle);
        }
        let leased = due.len();
        let settled = join_all(due.into_iter().map(|leased| self.settle(leased))).await;
        Ok(Step::Did { leased, recorded: settled.into_iter().filter(|recorded| *recorded).count() })
    }

    /// Up to `limit` operations that are due.
    async fn lease(&self, limit: usize) -> Result<Vec<Leased>, Failure> {
        let payments = &self.payments;
        let poll =
            Call { deadline: Instant::now() + LEASE_LIMIT, span: Span::none(), trace: spans::nowhere() };
        let now = payments.clock.now();
        lease_pending_operations(&payments.db, &poll, now, now + payments.settings.lease, limit as i64).await
    }

    async fn settle(&self, leased: Leased) -> bool {
        let (span, trace) = spans::settle(leased.pending.command.kind(), leased.traceparent.as_deref());
        let call = Call { deadline: Instant::now() + ASK_LIMIT, span, trace };
        let (operation, payment) = (leased.pending.operation, leased.pending.payment.id);
        let settled = self.payments.settle(&call, leased.pending).await;
        let cause = match &settled {
            Ok(Settled::Recorded(_) | Settled::Fenced) => None,
            Ok(Settled::Unknown(cause)) => Some(chain(cause.as_ref())),
            Err(failure) => Some(chain(failure)),
        };
        if cause.is_some() {
            spans::fail(&call.span, Reason::OutcomeUnknown.as_str());
        }
        // The task that hands it back still holds the span.
        spans::end(&call.span);
        let Some(cause) = cause else {
            return matches!(settled, Ok(Settled::Recorded(_)));
        };
        warn!(trace_id = trace.trace_id(), span_id = trace.span_id(), operation = %operation, payment = %payment,
            error = cause, "an operation stays pending");
        false
    }
}

/// A bug must end the worker, and so the service: nothing else would tell of it.
fn hand_on_panic(end: Result<bool, JoinError>) {
    if let Err(panic) = end {
        resume_unwind(panic.into_panic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "while it settled")]
    async fn a_panic_while_an_operation_is_settled_ends_the_worker() {
        let mut settling = JoinSet::new();
        settling.spawn(async { panic!("while it settled") });
        hand_on_panic(settling.join_next().await.unwrap());
    }
}
