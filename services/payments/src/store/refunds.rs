//! Reading refunds; they are written as operations.

use super::db::{Db, Failure, Step, broken};
use crate::{
    domain::{
        id::{MerchantId, PaymentId, RefundId},
        money::Currency,
        refund::{Refund, RefundState},
    },
    telemetry::Call,
};

/// None where the merchant has no such refund.
pub async fn get_refund(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    id: RefundId,
) -> Result<Option<Refund>, Failure> {
    let make = || sqlx::query_file!("../../db/queries/get_refund.sql", merchant.0, id.0);
    let Some(row) = db.rows(Step::first(call, "get_refund"), make).await?.pop() else {
        return Ok(None);
    };
    let refund = (|| {
        Some(Refund {
            id: RefundId(row.id),
            payment: PaymentId(row.payment_id),
            amount: row.amount?,
            currency: Currency::parse(&row.currency)?,
            state: RefundState::parse(&row.state)?,
            reason: row.reason,
            failure_reason: row.failure_reason,
            created_at: row.created_at,
            updated_at: row.updated_at?,
        })
    })();
    refund.map(Some).ok_or_else(|| broken("get_refund"))
}
