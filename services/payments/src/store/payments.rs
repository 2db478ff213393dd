//! Payments: making one, reading it, and what every statement that returns one has in common.

use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    db::{Db, Failure, Step, broken},
    idempotency::{Claim, Ticket, claimed},
    operations::Pending,
};
use crate::{
    domain::{
        error::Error,
        id::{MerchantId, PaymentId, TokenId},
        money::{Amount, Currency, Fees},
        payment::{CaptureMethod, Command, DeclineReason, Metadata, Payment, State},
    },
    reply::Pairs,
    telemetry::Call,
};

/// The payment that a row shows, whichever statement's: each row has a type of its own. `[?]` where all its columns can be null.
macro_rules! shown {
    ([$($null:tt)?] $row:ident, $merchant:expr, $id:expr, $decline_reason:expr, $updated_at:expr) => {
        (|| {
            Some(Payment {
                merchant: $merchant,
                id: $id,
                payment_token: TokenId($row.payment_token_id $($null)?),
                amount: Amount::new($row.amount $($null)?)?,
                currency: Currency::parse(&$row.currency $($null)?)?,
                capture: CaptureMethod::parse(&$row.capture_method $($null)?)?,
                merchant_reference: $row.merchant_reference $($null)?,
                description: $row.description,
                metadata: metadata($row.metadata $($null)?)?,
                state: State::parse(&$row.state $($null)?)?,
                decline_reason: $decline_reason,
                authorized: $row.authorized $($null)?,
                captured: $row.captured $($null)?,
                refunded: $row.refunded $($null)?,
                expires_at: $row.expires_at,
                created_at: $row.created_at $($null)?,
                updated_at: $updated_at,
            })
        })()
    };
}
pub(super) use shown;

/// The payment of a row that is read, not claimed.
macro_rules! read {
    ($row:ident, $merchant:expr) => {{
        let reason = $row.decline_reason.as_deref().map(DeclineReason::parse);
        let known = reason != Some(None);
        shown!([] $row, $merchant, PaymentId($row.id), reason.flatten(), $row.updated_at).filter(|_| known)
    }};
}

/// Takes the key and creates the payment, `created` as its event's data.
pub async fn claim_payment(
    db: &Db,
    call: &Call,
    ticket: &Ticket<'_>,
    payment: &Payment,
    command: Command,
    created: &str,
) -> Result<Claim<Box<Pending>>, Failure> {
    let event = Uuid::now_v7();
    let make = || {
        sqlx::query_file!(
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
            return Ok(Claim::Answered(Err(Error::DuplicateReference)));
        }
        other => other?.pop().ok_or_else(|| broken("claim_payment"))?,
    };
    claimed("claim_payment", row.outcome.as_deref(), row.reply_status, row.reply_body, || {
        Some(Box::new(Pending {
            payment: payment.clone(),
            operation: ticket.operation,
            lease_token: 0,
            command,
            risk_blocked: row.risk_blocked?,
            network_token: row.network_token?,
            fees: Fees { bps: row.fee_bps?, fixed: row.fee_fixed? },
            created_at: ticket.now,
        }))
    })
}

/// None where the merchant has no such payment.
pub async fn get_payment(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    id: PaymentId,
) -> Result<Option<Payment>, Failure> {
    let make = || sqlx::query_file!("../../db/queries/get_payment.sql", merchant.0, id.0);
    let row = db.rows(Step::first(call, "get_payment"), make).await?.pop();
    row.map(|row| read!(row, merchant).ok_or_else(|| broken("get_payment"))).transpose()
}

/// A merchant's payments before one of them, newest first.
pub async fn list_payments(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    before: Option<Uuid>,
    state: Option<State>,
    token: Option<TokenId>,
    limit: i64,
) -> Result<Vec<Payment>, Failure> {
    let (state, token) = (state.map(State::as_str), token.map(|token| token.0));
    let make =
        || sqlx::query_file!("../../db/queries/list_payments.sql", merchant.0, before, state, token, limit);
    let rows = db.rows(Step::first(call, "list_payments"), make).await?;
    let payments = rows.into_iter().map(|row| read!(row, merchant)).collect::<Option<_>>();
    payments.ok_or_else(|| broken("list_payments"))
}

/// Postgres orders members by length first; the contract orders them by their bytes.
pub(super) fn metadata(value: Value) -> Option<Metadata> {
    let Value::Object(members) = value else {
        return None;
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut pairs: Metadata =
        members.iter().map(|(key, value)| Some((key.clone(), text(value)?))).collect::<Option<_>>()?;
    pairs.sort_unstable();
    Some(pairs)
}
