//! The steps of an operation: claim, reject, record, release; and the recovery's lease. Each is one statement, atomic by itself.

use serde_json::Value;
use sqlx::types::Json;
use time::OffsetDateTime;
use tracing::error;
use uuid::Uuid;

use super::{
    db::{Db, Failure, Step, broken},
    idempotency::{Taken, replay},
    payments::metadata,
    tokens::status,
};
use crate::{
    domain::{
        id::{MerchantId, OperationId, PaymentId, TokenId},
        money::{Amount, Currency, Fees},
        payment::{CAPTURABLE, CaptureMethod, Change, Command, Payment, State},
    },
    reply::{Pairs, Reply},
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
}

/// What a claim came to. Only `Claimed` has written anything.
pub enum Claim {
    /// Ours.
    Claimed(Box<Pending>),
    /// The key was taken.
    Taken(Taken),
    /// No such payment, or no such payment token.
    NotFound,
    /// Another operation of the payment is pending.
    Busy,
    /// The payment is in this state, from which it can't start.
    StateInvalid(State),
    /// Another payment has the reference.
    DuplicateReference,
    /// Another took key or payment meanwhile: run it again.
    LookAgain,
}

/// Under which key, with which lease, in which trace.
pub struct Ticket<'a> {
    /// Whose.
    pub merchant: MerchantId,
    /// The idempotency key.
    pub key: &'a str,
    /// What the key stands for.
    pub request_hash: [u8; 32],
    /// The new operation.
    pub operation: OperationId,
    /// The clock of this request.
    pub now: OffsetDateTime,
    /// When the recovery may take it.
    pub leased_until: OffsetDateTime,
    /// What the recovery's span links to.
    pub traceparent: &'a str,
}

struct ClaimPaymentRow {
    outcome: Option<String>,
    reply_status: Option<i16>,
    reply_body: Option<String>,
    risk_blocked: Option<bool>,
    network_token: Option<String>,
    fee_bps: Option<i32>,
    fee_fixed: Option<i64>,
}

/// Takes the key and creates the payment, `created` as its event's data.
pub async fn claim_payment(
    db: &Db,
    call: &Call,
    ticket: &Ticket<'_>,
    payment: &Payment,
    command: Command,
    created: &str,
) -> Result<Claim, Failure> {
    let event = Uuid::now_v7();
    let make = || {
        sqlx::query_file_as!(
            ClaimPaymentRow,
            "../../db/queries/claim_payment.sql",
            ticket.merchant.0,
            ticket.key,
            ticket.request_hash.as_slice(),
            payment.id.0,
            ticket.operation.0,
            command.kind(),
            payment.payment_token.0,
            payment.amount.minor(),
            payment.currency.code(),
            payment.capture.as_str(),
            payment.merchant_reference,
            payment.description.as_deref(),
            Json(Pairs(&payment.metadata)) as _,
            payment.expires_at,
            ticket.now,
            ticket.leased_until,
            event,
            created,
            ticket.traceparent,
        )
    };
    let row = match db.rows(Step::first(call, "claim_payment"), make).await {
        Err(Failure::Constraint(name)) if name == "payments_merchant_reference_key" => {
            return Ok(Claim::DuplicateReference);
        }
        other => other?.pop().ok_or_else(|| broken("claim_payment"))?,
    };
    if row.outcome.as_deref() != Some("claimed") {
        return unclaimed("claim_payment", row.outcome.as_deref(), row.reply_status, row.reply_body, None);
    }
    let (Some(network_token), Some(bps), Some(fixed), Some(risk_blocked)) =
        (row.network_token, row.fee_bps, row.fee_fixed, row.risk_blocked)
    else {
        return Err(broken("claim_payment"));
    };
    Ok(Claim::Claimed(Box::new(Pending {
        payment: payment.clone(),
        operation: ticket.operation,
        lease_token: 0,
        command,
        risk_blocked,
        network_token,
        fees: Fees { bps, fixed },
    })))
}

struct ClaimOperationRow {
    outcome: Option<String>,
    reply_status: Option<i16>,
    reply_body: Option<String>,
    payment_token_id: Option<Uuid>,
    amount: Option<i64>,
    currency: Option<String>,
    capture_method: Option<String>,
    merchant_reference: Option<String>,
    description: Option<String>,
    metadata: Option<Value>,
    state: Option<String>,
    authorized: Option<i64>,
    captured: Option<i64>,
    refunded: Option<i64>,
    #[expect(dead_code, reason = "nothing is shown of it yet")]
    version: Option<i32>,
    expires_at: Option<OffsetDateTime>,
    created_at: Option<OffsetDateTime>,
    network_token: Option<String>,
    fee_bps: Option<i32>,
    fee_fixed: Option<i64>,
}

/// Takes the key and locks the payment, if it is in a state that can be captured.
pub async fn claim_operation(
    db: &Db,
    call: &Call,
    ticket: &Ticket<'_>,
    payment: PaymentId,
    command: Command,
) -> Result<Claim, Failure> {
    let (amount, last) = match command {
        Command::Capture { amount, last } => (amount.map(Amount::minor), Some(last)),
        Command::Authorize | Command::Sale => (None, None),
    };
    let from = CAPTURABLE.iter().map(|state| state.as_str()).collect::<Vec<_>>();
    let make = || {
        sqlx::query_file_as!(
            ClaimOperationRow,
            "../../db/queries/claim_operation.sql",
            ticket.merchant.0,
            ticket.key,
            ticket.request_hash.as_slice(),
            payment.0,
            ticket.operation.0,
            command.kind(),
            amount,
            last,
            ticket.now,
            ticket.leased_until,
            ticket.traceparent,
            from.as_slice() as _,
        )
    };
    let row = db.rows(Step::first(call, "claim_operation"), make).await?.pop();
    let row = row.ok_or_else(|| broken("claim_operation"))?;
    if row.outcome.as_deref() != Some("claimed") {
        return unclaimed(
            "claim_operation",
            row.outcome.as_deref(),
            row.reply_status,
            row.reply_body,
            row.state.as_deref(),
        );
    }
    let pending = held(ticket.merchant, payment, ticket.now, row).ok_or_else(|| broken("claim_operation"))?;
    let (payment, network_token, fees) = pending;
    Ok(Claim::Claimed(Box::new(Pending {
        payment,
        operation: ticket.operation,
        lease_token: 0,
        command,
        risk_blocked: false,
        network_token,
        fees,
    })))
}

fn held(
    merchant: MerchantId,
    id: PaymentId,
    now: OffsetDateTime,
    row: ClaimOperationRow,
) -> Option<(Payment, String, Fees)> {
    let payment = Payment {
        merchant,
        id,
        payment_token: TokenId(row.payment_token_id?),
        amount: Amount::new(row.amount?)?,
        currency: Currency::parse(&row.currency?)?,
        capture: CaptureMethod::parse(&row.capture_method?)?,
        merchant_reference: row.merchant_reference?,
        description: row.description,
        metadata: metadata(row.metadata?)?,
        state: State::parse(&row.state?)?,
        decline_reason: None,
        authorized: row.authorized?,
        captured: row.captured?,
        refunded: row.refunded?,
        expires_at: row.expires_at,
        created_at: row.created_at?,
        updated_at: now,
    };
    Some((payment, row.network_token?, Fees { bps: row.fee_bps?, fixed: row.fee_fixed? }))
}

fn unclaimed(
    statement: &'static str,
    outcome: Option<&str>,
    status: Option<i16>,
    body: Option<String>,
    state: Option<&str>,
) -> Result<Claim, Failure> {
    Ok(match (outcome, status, body, state.and_then(State::parse)) {
        (Some("replay"), Some(status), Some(body), _) => Claim::Taken(replay(status, body)),
        (Some("key_reused"), ..) => Claim::Taken(Taken::Reused),
        (Some("in_progress"), ..) => Claim::Taken(Taken::InProgress),
        (Some("not_found"), ..) => Claim::NotFound,
        (Some("busy"), ..) => Claim::Busy,
        (Some("state_invalid"), _, _, Some(state)) => Claim::StateInvalid(state),
        (Some("look_again"), ..) => Claim::LookAgain,
        (_, _, _, _) => return Err(broken(statement)),
    })
}

struct Touched {
    #[expect(dead_code, reason = "that there is a row says it all")]
    payment_id: Uuid,
}

/// Undoes a claim that the domain refused and stores the refusal. False: somebody else has it.
pub async fn reject_operation(
    db: &Db,
    call: &Call,
    pending: &Pending,
    reply: &Reply,
) -> Result<bool, Failure> {
    let make = || {
        sqlx::query_file_as!(
            Touched,
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
    /// The payment's JSON, which every event of the step carries.
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
        sqlx::query_file_as!(
            Touched,
            "../../db/queries/record_operation.sql",
            payment.merchant.0,
            pending.operation.0,
            pending.lease_token,
            if outcome.succeeded { "succeeded" } else { "failed" },
            change.moved,
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
    struct Row {
        #[expect(dead_code, reason = "nobody asks")]
        id: Uuid,
    }
    let make = || {
        sqlx::query_file_as!(
            Row,
            "../../db/queries/release_operation.sql",
            pending.payment.merchant.0,
            pending.operation.0,
            pending.lease_token,
            until,
        )
    };
    db.rows(Step::later(call, "release_operation"), make).await.map(|_| ())
}

struct LeasedRow {
    merchant_id: Uuid,
    operation_id: Uuid,
    kind: String,
    requested_amount: Option<i64>,
    r#final: Option<bool>,
    risk_blocked: bool,
    lease_token: i64,
    traceparent: Option<String>,
    #[expect(dead_code, reason = "for the eyes of whoever looks into the database")]
    operation_created_at: OffsetDateTime,
    payment_id: Uuid,
    payment_token_id: Uuid,
    amount: i64,
    currency: String,
    capture_method: String,
    merchant_reference: String,
    description: Option<String>,
    metadata: Value,
    state: String,
    authorized: i64,
    captured: i64,
    refunded: i64,
    #[expect(dead_code, reason = "nothing is shown of it yet")]
    version: i32,
    expires_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    network_token: String,
    fee_bps: i32,
    fee_fixed: i64,
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
    let make = || {
        sqlx::query_file_as!(
            LeasedRow,
            "../../db/queries/lease_pending_operations.sql",
            now,
            leased_until,
            limit
        )
    };
    let rows = db.rows(Step::background(call, "lease_pending_operations"), make).await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let (operation, kind) = (OperationId(row.operation_id), row.kind.clone());
        match leased(now, row) {
            Some(leased) => all.push(leased),
            // A newer program's, perhaps; the others mustn't wait for it.
            None => error!(%operation, kind, "an operation that this program can't read stays pending"),
        }
    }
    Ok(all)
}

fn leased(now: OffsetDateTime, row: LeasedRow) -> Option<Leased> {
    let command = match row.kind.as_str() {
        "authorize" => Command::Authorize,
        "sale" => Command::Sale,
        "capture" => Command::Capture {
            amount: match row.requested_amount {
                None => None,
                Some(amount) => Some(Amount::new(amount)?),
            },
            last: row.r#final?,
        },
        _ => return None,
    };
    let payment = Payment {
        merchant: MerchantId(row.merchant_id),
        id: PaymentId(row.payment_id),
        payment_token: TokenId(row.payment_token_id),
        amount: Amount::new(row.amount)?,
        currency: Currency::parse(&row.currency)?,
        capture: CaptureMethod::parse(&row.capture_method)?,
        merchant_reference: row.merchant_reference,
        description: row.description,
        metadata: metadata(row.metadata)?,
        state: State::parse(&row.state)?,
        decline_reason: None,
        authorized: row.authorized,
        captured: row.captured,
        refunded: row.refunded,
        expires_at: row.expires_at,
        created_at: row.created_at,
        updated_at: now,
    };
    let pending = Pending {
        payment,
        operation: OperationId(row.operation_id),
        lease_token: row.lease_token,
        command,
        risk_blocked: row.risk_blocked,
        network_token: row.network_token,
        fees: Fees { bps: row.fee_bps, fixed: row.fee_fixed },
    };
    Some(Leased { pending, traceparent: row.traceparent })
}
