//! Reading payments, and what every statement that returns one has in common.

use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::db::{Db, Failure, Step, broken};
use crate::{
    domain::{
        id::{MerchantId, PaymentId, TokenId},
        money::{Amount, Currency},
        payment::{CaptureMethod, DeclineReason, Metadata, Payment, State},
    },
    telemetry::Call,
};

struct Row {
    id: Uuid,
    payment_token_id: Uuid,
    amount: i64,
    currency: String,
    capture_method: String,
    merchant_reference: String,
    description: Option<String>,
    metadata: Value,
    state: String,
    decline_reason: Option<String>,
    authorized: i64,
    captured: i64,
    refunded: i64,
    expires_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

/// None where the merchant has no such payment.
pub async fn get_payment(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    id: PaymentId,
) -> Result<Option<Payment>, Failure> {
    let make = || sqlx::query_file_as!(Row, "../../db/queries/get_payment.sql", merchant.0, id.0);
    let row = db.rows(Step::first(call, "get_payment"), make).await?.pop();
    row.map(|row| payment(merchant, row).ok_or_else(|| broken("get_payment"))).transpose()
}

fn payment(merchant: MerchantId, row: Row) -> Option<Payment> {
    Some(Payment {
        merchant,
        id: PaymentId(row.id),
        payment_token: TokenId(row.payment_token_id),
        amount: Amount::new(row.amount)?,
        currency: Currency::parse(&row.currency)?,
        capture: CaptureMethod::parse(&row.capture_method)?,
        merchant_reference: row.merchant_reference,
        description: row.description,
        metadata: metadata(row.metadata)?,
        state: State::parse(&row.state)?,
        decline_reason: match row.decline_reason {
            None => None,
            Some(reason) => Some(DeclineReason::parse(&reason)?),
        },
        authorized: row.authorized,
        captured: row.captured,
        refunded: row.refunded,
        expires_at: row.expires_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// Postgres orders members by length first; the contract orders them by their bytes.
pub(super) fn metadata(value: Value) -> Option<Metadata> {
    let Value::Object(members) = value else {
        return None;
    };
    let mut pairs = Metadata::with_capacity(members.len());
    for (key, value) in members {
        let Value::String(value) = value else {
            return None;
        };
        pairs.push((key, value));
    }
    pairs.sort_unstable();
    Some(pairs)
}
