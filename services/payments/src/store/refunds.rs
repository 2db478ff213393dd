//! Reading refunds; they are written as operations.

use time::OffsetDateTime;
use uuid::Uuid;

use super::db::{Db, Failure, Step, broken};
use crate::{
    domain::{
        id::{MerchantId, PaymentId, RefundId},
        money::Currency,
        refund::{Refund, RefundState},
    },
    telemetry::Call,
};

/// A refund as every statement shows it; what is computed can be null to Postgres.
struct Row {
    id: Uuid,
    payment_id: Uuid,
    amount: Option<i64>,
    currency: String,
    state: String,
    reason: Option<String>,
    failure_reason: Option<String>,
    created_at: OffsetDateTime,
    updated_at: Option<OffsetDateTime>,
}

impl Row {
    fn refund(self) -> Option<Refund> {
        Some(Refund {
            id: RefundId(self.id),
            payment: PaymentId(self.payment_id),
            amount: self.amount?,
            currency: Currency::parse(&self.currency)?,
            state: RefundState::parse(&self.state)?,
            reason: self.reason,
            failure_reason: self.failure_reason,
            created_at: self.created_at,
            updated_at: self.updated_at?,
        })
    }
}

/// None where the merchant has no such refund.
pub async fn get_refund(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    id: RefundId,
) -> Result<Option<Refund>, Failure> {
    let make = || sqlx::query_file_as!(Row, "../../db/queries/get_refund.sql", merchant.0, id.0);
    let row = db.rows(Step::first(call, "get_refund"), make).await?.pop();
    row.map(|row| row.refund().ok_or_else(|| broken("get_refund"))).transpose()
}

/// A merchant's refunds before one of them, newest first.
pub async fn list_refunds(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    before: Option<Uuid>,
    payment: Option<PaymentId>,
    limit: i64,
) -> Result<Vec<Refund>, Failure> {
    let payment = payment.map(|payment| payment.0);
    let make =
        || sqlx::query_file_as!(Row, "../../db/queries/list_refunds.sql", merchant.0, before, payment, limit);
    let rows = db.rows(Step::first(call, "list_refunds"), make).await?;
    let refunds = rows.into_iter().map(Row::refund).collect::<Option<_>>();
    refunds.ok_or_else(|| broken("list_refunds"))
}
