//! The steps of an operation: claim, reject, record, release; and the recovery's lease. Each is one statement, atomic by itself.

use time::OffsetDateTime;
use tracing::error;
use uuid::Uuid;

use super::{
    db::{Db, Failure, Step, broken},
    idempotency::{Claim, Ticket, claimed, status},
    payments::{metadata, shown},
};
use crate::{
    domain::{
        error::Error,
        id::{MerchantId, OperationId, PaymentId, TokenId},
        money::{Amount, Currency, Fees},
        payment::{CaptureMethod, Change, Command, Payment, State},
    },
    reply::Reply,
    telemetry::Call,
};

/// An operation that is pending under our token: nothing else can change the payment until it is recorded, rejected or leased away.
pub struct Pending {
    /// The payment as it stands.
    pub payment: Payment,
    /// What the card network is asked under.
    pub operation: OperationId,
    /// Fences late writers: 0 for the request that claimed it, one more for each lease.
    pub lease_token: i64,
    /// What was asked.
    pub command: Command,
    /// A risk rule said no: don't ask.
    pub risk_blocked: bool,
    /// What the card network knows the card by.
    pub network_token: String,
    /// At which its captures are charged.
    pub fees: Fees,
    /// When it was claimed.
    pub created_at: OffsetDateTime,
}

/// Takes the key and locks the payment, if it is in a state from which the command may start.
pub async fn claim_operation(
    db: &Db,
    call: &Call,
    ticket: &Ticket<'_>,
    payment: PaymentId,
    command: Command,
) -> Result<Claim<Box<Pending>>, Failure> {
    let (amount, last, reason) = match &command {
        Command::Capture { amount, last } => (*amount, Some(*last), None),
        Command::Refund { amount, reason } => (*amount, None, reason.as_deref()),
        Command::Authorize | Command::Sale | Command::Void => (None, None, None),
    };
    let allowed = command.allowed();
    let from = allowed.iter().map(|state| state.as_str()).collect::<Vec<_>>();
    let make = || {
        sqlx::query_file!(
            "../../db/queries/claim_operation.sql",
            ticket.merchant.0,
            ticket.key,
            ticket.request_hash.as_slice(),
            payment.0,
            ticket.operation.0,
            command.kind(),
            amount.map(Amount::minor),
            last,
            ticket.now,
            ticket.leased_until,
            ticket.traceparent,
            from.as_slice() as _,
            reason,
        )
    };
    let row = db.rows(Step::first(call, "claim_operation"), make).await?.pop();
    let row = row.ok_or_else(|| broken("claim_operation"))?;
    match (row.outcome.as_deref(), row.state.as_deref().and_then(State::parse)) {
        (Some("busy"), _) => return Ok(Claim::Answered(Err(Error::PaymentBusy(payment)))),
        (Some("state_invalid"), Some(current)) => {
            return Ok(Claim::Answered(Err(Error::PaymentStateInvalid { payment, current, allowed })));
        }
        (_, _) => {}
    }
    claimed("claim_operation", row.outcome.as_deref(), row.reply_status, row.reply_body, || {
        Some(Box::new(Pending {
            payment: shown!([?] row, ticket.merchant, payment, None, ticket.now)?,
            operation: ticket.operation,
            lease_token: 0,
            command,
            risk_blocked: false,
            network_token: row.network_token?,
            fees: Fees { bps: row.fee_bps?, fixed: row.fee_fixed? },
            created_at: ticket.now,
        }))
    })
}

/// Undoes a claim that the domain refused and stores the refusal. False: somebody else has it.
pub async fn reject_operation(
    db: &Db,
    call: &Call,
    pending: &Pending,
    reply: &Reply,
) -> Result<bool, Failure> {
    let make = || {
        sqlx::query_file!(
            "../../db/queries/reject_operation.sql",
            pending.payment.merchant.0,
            pending.operation.0,
            pending.lease_token,
            status(reply),
            reply.body.as_str(),
        )
    };
    Ok(!db.rows(Step::later(call, "reject_operation"), make).await?.is_empty())
}

/// What an operation came to.
pub struct Outcome<'a> {
    /// Whether it was approved.
    pub succeeded: bool,
    /// Why it failed.
    pub failure_reason: Option<&'a str>,
    /// The payment as it is now, journal and events.
    pub change: &'a Change,
    /// The JSON of the payment or the refund, which every event of the step carries.
    pub event_data: &'a str,
    /// What the key answers from now on.
    pub reply: &'a Reply,
}

/// Writes an outcome. False: somebody else has it, or has recorded it.
pub async fn record_operation(
    db: &Db,
    call: &Call,
    pending: &Pending,
    outcome: &Outcome<'_>,
) -> Result<bool, Failure> {
    let (payment, change) = (&outcome.change.payment, outcome.change);
    let entry_ids: Vec<Uuid> = change.journal.iter().map(|_| Uuid::now_v7()).collect();
    let accounts: Vec<&str> = change.journal.iter().map(|entry| entry.account.as_str()).collect();
    let amounts: Vec<i64> = change.journal.iter().map(|entry| entry.amount).collect();
    let event_ids: Vec<Uuid> = change.events.iter().map(|_| Uuid::now_v7()).collect();
    let event_types: Vec<&str> = change.events.iter().map(|event| event.as_str()).collect();
    let event_data = vec![outcome.event_data; change.events.len()];
    let make = || {
        sqlx::query_file!(
            "../../db/queries/record_operation.sql",
            payment.merchant.0,
            pending.operation.0,
            pending.lease_token,
            if outcome.succeeded { "succeeded" } else { "failed" },
            change.amount.minor(),
            outcome.failure_reason,
            payment.state.as_str(),
            payment.authorized,
            payment.captured,
            payment.refunded,
            payment.decline_reason.map(|reason| reason.as_str()),
            payment.expires_at,
            payment.updated_at,
            &entry_ids,
            accounts.as_slice() as _,
            &amounts,
            payment.currency.code(),
            &event_ids,
            event_types.as_slice() as _,
            event_data.as_slice() as _,
            status(outcome.reply),
            outcome.reply.body.as_str(),
        )
    };
    Ok(!db.rows(Step::later(call, "record_operation"), make).await?.is_empty())
}

/// Hands an operation to the recovery at `until`. Whether it was still ours doesn't matter.
pub async fn release_operation(
    db: &Db,
    call: &Call,
    pending: &Pending,
    until: OffsetDateTime,
) -> Result<(), Failure> {
    let make = || {
        sqlx::query_file!(
            "../../db/queries/release_operation.sql",
            pending.payment.merchant.0,
            pending.operation.0,
            pending.lease_token,
            until,
        )
    };
    db.rows(Step::later(call, "release_operation"), make).await.map(|_| ())
}

/// A leased operation and the trace of the request that claimed it.
pub struct Leased {
    /// With a token that fences all earlier holders.
    pub pending: Pending,
    /// As it was stored.
    pub traceparent: Option<String>,
}

/// Up to `limit` operations whose lease has ended. Not part of any trace: it polls.
pub async fn lease_pending_operations(
    db: &Db,
    call: &Call,
    now: OffsetDateTime,
    leased_until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Leased>, Failure> {
    let make =
        || sqlx::query_file!("../../db/queries/lease_pending_operations.sql", now, leased_until, limit);
    let rows = db.rows(Step::background(call, "lease_pending_operations"), make).await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let (operation, merchant) = (OperationId(row.operation_id), MerchantId(row.merchant_id));
        let command = Command::parse(&row.kind, row.requested_amount, row.r#final, row.reason);
        let payment = shown!([] row, merchant, PaymentId(row.payment_id), None, now);
        let (Some(command), Some(payment)) = (command, payment) else {
            // A newer program's, perhaps; the others mustn't wait for it.
            error!(%operation, kind = row.kind, "an operation that this program can't read stays pending");
            continue;
        };
        let pending = Pending {
            payment,
            operation,
            lease_token: row.lease_token,
            command,
            risk_blocked: row.risk_blocked,
            network_token: row.network_token,
            fees: Fees { bps: row.fee_bps, fixed: row.fee_fixed },
            created_at: row.operation_created_at,
        };
        all.push(Leased { pending, traceparent: row.traceparent });
    }
    Ok(all)
}
