//! The one road of every verb that moves money, for requests and for the recovery: decide, ask the card network, record. The claim
//! comes before it. No transaction is open while the network is asked; what is left behind at any point is a pending operation,
//! which the recovery takes up on this same road.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    idempotency::{IdempotencyKey, take},
    payments::Payments,
};
use crate::{
    acquirer::Answer,
    domain::{
        error::{Cause, Error},
        id::{MerchantId, OperationId, PaymentId, RefundId},
        payment::{self, Change, Command, DeclineReason, Verdict},
        refund::{Refund, RefundState},
    },
    reply::{self, Reply},
    store::{
        db::Failure,
        idempotency::{Ticket, find_replay},
        operations::{
            Outcome, Pending, claim_operation, record_operation, reject_operation, release_operation,
        },
    },
    telemetry::Call,
};

/// The recovery takes a released operation after this: asked at once, a network in trouble would be asked again and again.
const RELEASE_AFTER: time::Duration = time::Duration::seconds(1);
/// How long a release may take; nobody waits for it.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);
/// Between two looks for a reply that somebody else records.
const FENCED_PAUSE: Duration = Duration::from_millis(50);

/// Why an operation failed that the card network didn't accept.
const REFUSED: &str = "refused";

/// What became of an operation.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It is recorded; the key answers this.
    Recorded(Reply),
    /// Somebody else holds it, or has recorded it.
    Fenced,
    /// Nobody knows yet; it stays pending.
    Unknown(Cause),
}

impl Payments {
    /// Runs work that goes on when its client has gone.
    pub(super) async fn detached(
        &self,
        work: impl Future<Output = Result<Reply, Error>> + Send + 'static,
    ) -> Result<Reply, Error> {
        match self.tasks.spawn(work).await {
            Ok(result) => result,
            Err(panic) => Err(Error::Internal(panic.into())),
        }
    }

    /// What a claim is made under.
    pub(super) fn ticket<'a>(
        &self,
        call: &Call,
        merchant: MerchantId,
        key: &'a IdempotencyKey,
        request_hash: [u8; 32],
    ) -> Ticket<'a> {
        let now = self.clock.now();
        Ticket {
            merchant,
            key: key.as_str(),
            request_hash,
            operation: OperationId::fresh(),
            now,
            leased_until: now + self.settings.lease,
            traceparent: call.trace.header(),
        }
    }

    /// Of a payment that is there, from the claim to the request's reply.
    pub(super) async fn claim_existing(
        &self,
        call: &Call,
        merchant: MerchantId,
        key: &IdempotencyKey,
        request_hash: [u8; 32],
        payment: PaymentId,
        command: Command,
    ) -> Result<Reply, Error> {
        let ticket = self.ticket(call, merchant, key, request_hash);
        let claim = || claim_operation(&self.db, call, &ticket, payment, command.clone());
        match take(Some(payment), claim).await? {
            Ok(pending) => self.finish(call, &ticket, *pending).await,
            Err(replay) => Ok(replay),
        }
    }

    /// From a fresh claim to the request's reply.
    pub(super) async fn finish(
        &self,
        call: &Call,
        ticket: &Ticket<'_>,
        pending: Pending,
    ) -> Result<Reply, Error> {
        let payment = pending.payment.id;
        match self.settle(call, pending).await {
            Ok(Settled::Recorded(reply)) => Ok(reply),
            Ok(Settled::Fenced) => self.await_replay(call, ticket).await.ok_or_else(|| {
                Error::OutcomeUnknown(Some(payment), Some("fenced, and no reply before the deadline".into()))
            }),
            Ok(Settled::Unknown(cause)) => Err(Error::OutcomeUnknown(Some(payment), Some(cause))),
            Err(failure) => Err(failure.claimed(payment)),
        }
    }

    /// Decides, asks, records. The decision comes first: what the domain refuses must never reach the network.
    pub(crate) async fn settle(&self, call: &Call, pending: Pending) -> Result<Settled, Failure> {
        let pending = Arc::new(pending);
        let _held = self.hold(call, &pending);
        let change = match payment::decide(&pending.payment, &pending.command, pending.fees) {
            Ok(decision) => decision,
            Err(refusal) => {
                let reply = Reply::of_error(&refusal);
                let ours = reject_operation(&self.db, call, &pending, &reply).await?;
                return Ok(if ours { Settled::Recorded(reply) } else { Settled::Fenced });
            }
        };
        let verdict = if pending.risk_blocked {
            Verdict::Declined(DeclineReason::RiskBlocked)
        } else {
            match self.acquirer.operate(call, &pending, change.amount).await {
                Answer::Decided(verdict) => verdict,
                Answer::Unknown(cause) => {
                    self.release(call, pending);
                    return Ok(Settled::Unknown(cause));
                }
            }
        };
        self.record(call, &pending, change, verdict).await
    }

    async fn record(
        &self,
        call: &Call,
        pending: &Pending,
        change: Change,
        verdict: Verdict,
    ) -> Result<Settled, Failure> {
        let change =
            payment::conclude(pending.payment.clone(), &pending.command, change, verdict, self.clock.now());
        let object = pending.object(&change, verdict);
        let (reply, failure_reason) = match verdict {
            Verdict::Approved => (Reply::fresh(pending.success_status(), object.clone()), None),
            Verdict::Declined(reason) => {
                let payment = Box::new(change.payment.clone());
                let error = match reason {
                    DeclineReason::RiskBlocked => Error::RiskBlocked(payment),
                    DeclineReason::InsufficientFunds
                    | DeclineReason::DoNotHonor
                    | DeclineReason::ExpiredCard
                    | DeclineReason::IncorrectCvc
                    | DeclineReason::LostOrStolen
                    | DeclineReason::ProcessingError => Error::CardDeclined(payment),
                };
                (Reply::of_error(&error), Some(reason.as_str()))
            }
            Verdict::Refused => {
                let error = Error::OperationRefused(Box::new(change.payment.clone()));
                (Reply::of_error(&error), Some(REFUSED))
            }
        };
        let outcome = Outcome {
            succeeded: verdict == Verdict::Approved,
            failure_reason,
            change: &change,
            event_data: &object,
            reply: &reply,
        };
        let ours = record_operation(&self.db, call, pending, &outcome).await?;
        Ok(if ours { Settled::Recorded(reply) } else { Settled::Fenced })
    }

    /// Nobody waits for this: the client's answer is that nobody knows. If it fails, the lease ends by itself.
    fn release(&self, call: &Call, pending: Arc<Pending>) {
        let (payments, call) = (self.clone(), call.until(Instant::now() + RELEASE_LIMIT));
        self.tasks.spawn(async move {
            let until = payments.clock.now() + RELEASE_AFTER;
            let _ = release_operation(&payments.db, &call, &pending, until).await;
        });
    }

    /// Hands back what is being settled when this process ends before it is; nobody here will finish it.
    pub(crate) async fn release_held(&self) {
        let until = self.clock.now();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let releases = held.values().map(|(call, pending)| async move {
            let call = call.until(Instant::now() + RELEASE_LIMIT);
            release_operation(&self.db, &call, pending, until).await
        });
        join_all(releases).await;
    }

    fn hold(&self, call: &Call, pending: &Arc<Pending>) -> Hold<'_> {
        self.metrics.pending.add(1, &[]);
        let held = (call.clone(), pending.clone());
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(pending.operation, held);
        Hold { payments: self, operation: pending.operation }
    }

    /// The reply that somebody else records under this key, if it comes before the deadline. It is this request's own, not a replay.
    async fn await_replay(&self, call: &Call, ticket: &Ticket<'_>) -> Option<Reply> {
        loop {
            let look = find_replay(&self.db, call, false, ticket.merchant, ticket.key, &ticket.request_hash);
            if let Ok(Some(Ok(reply))) = look.await {
                return Some(Reply { replayed: false, ..reply });
            }
            timeout_at(call.deadline, sleep(FENCED_PAUSE)).await.ok()?;
        }
    }
}

/// The operations that are being settled, each under its request's deadline and trace.
pub(super) type Held = Arc<Mutex<HashMap<OperationId, (Call, Arc<Pending>)>>>;

/// An operation that is being settled, told and counted until this is dropped.
struct Hold<'a> {
    payments: &'a Payments,
    operation: OperationId,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.payments.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.operation);
        self.payments.metrics.pending.add(-1, &[]);
    }
}

impl Pending {
    fn success_status(&self) -> u16 {
        match self.command {
            Command::Authorize | Command::Sale | Command::Refund { .. } => 201,
            Command::Capture { .. } | Command::Void => 200,
        }
    }

    /// The JSON of what the operation is about, as it is answered and told: the refund, or else the payment.
    fn object(&self, change: &Change, verdict: Verdict) -> String {
        let Command::Refund { reason, .. } = &self.command else {
            return reply::payment(&change.payment);
        };
        let done = verdict == Verdict::Approved;
        reply::refund(&Refund {
            id: RefundId(self.operation.0),
            payment: self.payment.id,
            amount: change.amount.minor(),
            currency: self.payment.currency,
            state: if done { RefundState::Succeeded } else { RefundState::Failed },
            reason: reason.clone(),
            failure_reason: (!done).then(|| REFUSED.to_owned()),
            created_at: self.created_at,
            updated_at: change.payment.updated_at,
        })
    }
}
