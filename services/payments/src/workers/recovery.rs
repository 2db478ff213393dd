//! Settles what requests left pending: a crash, a lost answer of the card network, an unclear write. Leases operations whose time is
//! up, asks the network again under the same id, and records.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, sleep};
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

/// How long to wait when there was nothing to do, or the database couldn't be reached.
const IDLE: Duration = Duration::from_millis(100);
/// Operations a step.
const BATCH: i64 = 50;
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

/// The worker.
pub struct Recovery {
    payments: Arc<Payments>,
}

impl Recovery {
    /// `payments` over the workers' own connections.
    pub fn new(payments: Arc<Payments>) -> Self {
        Self { payments }
    }

    /// Steps until `stop`; a step that has begun ends.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.step().await {
                Ok(Step::Did { recorded, .. }) if recorded > 0 => continue,
                Ok(Step::Did { .. } | Step::Idle) => IDLE,
                Err(failure) => {
                    warn!(error = %chain(&failure), "the recovery can't lease operations");
                    IDLE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Leases what is due and settles all of it at once; the pool bounds how much of that touches the database.
    pub async fn step(&self) -> Result<Step, Failure> {
        let payments = &self.payments;
        let poll =
            Call { deadline: Instant::now() + LEASE_LIMIT, span: Span::none(), trace: spans::nowhere() };
        let now = payments.clock.now();
        let until = now + payments.settings.lease;
        let due = lease_pending_operations(&payments.db, &poll, now, until, BATCH).await?;
        if due.is_empty() {
            return Ok(Step::Idle);
        }
        let leased = due.len();
        let settled = join_all(due.into_iter().map(|leased| self.settle(leased))).await;
        Ok(Step::Did { leased, recorded: settled.into_iter().filter(|recorded| *recorded).count() })
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
