//! Authorisations that have lapsed. Not part of any trace: a worker polls.

use time::OffsetDateTime;
use tracing::error;
use uuid::Uuid;

use super::{
    db::{Db, Failure, Step, broken},
    payments::{metadata, shown},
};
use crate::{
    domain::{
        id::{MerchantId, PaymentId, TokenId},
        money::{Amount, Currency},
        payment::{CaptureMethod, Payment, State},
    },
    telemetry::Call,
};

/// Up to `limit` payments whose authorisation has lapsed, each with the version in which it was read.
pub async fn find_expired_payments(
    db: &Db,
    call: &Call,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<(Payment, i32)>, Failure> {
    let make = || sqlx::query_file!("../../db/queries/find_expired_payments.sql", now, limit);
    let rows = db.rows(Step::background(call, "find_expired_payments"), make).await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let (merchant, id) = (MerchantId(row.merchant_id), PaymentId(row.id));
        match shown!([] row, merchant, id, None, now) {
            Some(payment) => all.push((payment, row.version)),
            // A newer program's, perhaps; the others mustn't wait for it.
            None => error!(payment = %id, "a payment that this program can't read doesn't expire"),
        }
    }
    Ok(all)
}

/// A payment as it will be, and the version that it was decided from.
pub struct Expired {
    /// With its new state.
    pub payment: Payment,
    /// As it was read.
    pub version: i32,
    /// What its event shows.
    pub event_data: String,
}

/// Records those that nothing has changed meanwhile; how many.
pub async fn expire_payments(
    db: &Db,
    call: &Call,
    expired: &[Expired],
    now: OffsetDateTime,
) -> Result<i64, Failure> {
    let merchants: Vec<Uuid> = expired.iter().map(|one| one.payment.merchant.0).collect();
    let ids: Vec<Uuid> = expired.iter().map(|one| one.payment.id.0).collect();
    let versions: Vec<i32> = expired.iter().map(|one| one.version).collect();
    let states: Vec<&str> = expired.iter().map(|one| one.payment.state.as_str()).collect();
    let event_ids: Vec<Uuid> = expired.iter().map(|_| Uuid::now_v7()).collect();
    let event_data: Vec<&str> = expired.iter().map(|one| one.event_data.as_str()).collect();
    let make = || {
        sqlx::query_file!(
            "../../db/queries/expire_payments.sql",
            &merchants,
            &ids,
            &versions,
            states.as_slice() as _,
            &event_ids,
            event_data.as_slice() as _,
            now,
        )
    };
    let row = db.rows(Step::background(call, "expire_payments"), make).await?.pop();
    row.and_then(|row| row.expired).ok_or_else(|| broken("expire_payments"))
}
