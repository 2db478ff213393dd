//! Webhook endpoints, and the deliveries to them.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::db::{Db, Failure, Step};
use crate::{
    domain::{
        event::Event,
        id::{EndpointId, EventId, MerchantId},
        webhook::{Attempt, Endpoint, MAX_ENDPOINTS},
    },
    telemetry::Call,
};

/// False where the merchant has enough of them.
pub async fn insert_webhook_endpoint(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    endpoint: &Endpoint,
) -> Result<bool, Failure> {
    let make = || {
        sqlx::query_file!(
            "../../db/queries/insert_webhook_endpoint.sql",
            merchant.0,
            endpoint.id.0,
            endpoint.url,
            endpoint.created_at,
            MAX_ENDPOINTS as i64,
        )
    };
    let rows = db.rows(Step::first(call, "insert_webhook_endpoint"), make).await?;
    Ok(!rows.is_empty())
}

/// A merchant's endpoints before one of them, newest first.
pub async fn list_webhook_endpoints(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Endpoint>, Failure> {
    let make = || sqlx::query_file!("../../db/queries/list_webhook_endpoints.sql", merchant.0, before, limit);
    let rows = db.rows(Step::first(call, "list_webhook_endpoints"), make).await?;
    let endpoints = rows.into_iter().map(|row| Endpoint {
        id: EndpointId(row.id),
        url: row.url,
        created_at: row.created_at,
        disabled_at: row.disabled_at,
    });
    Ok(endpoints.collect())
}

/// False where the merchant has no such endpoint.
pub async fn delete_webhook_endpoint(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    id: EndpointId,
) -> Result<bool, Failure> {
    let make = || sqlx::query_file!("../../db/queries/delete_webhook_endpoint.sql", merchant.0, id.0);
    let rows = db.rows(Step::first(call, "delete_webhook_endpoint"), make).await?;
    Ok(!rows.is_empty())
}

/// A delivery that is ours for a while, with its event.
pub struct LeasedDelivery {
    /// Where to.
    pub endpoint: EndpointId,
    /// Which of its deliveries.
    pub delivery: Uuid,
    /// So many were made.
    pub attempts: i16,
    /// Fences all earlier holders.
    pub lease_token: i64,
    /// As the merchant sent it.
    pub url: String,
    /// Whether the receiver said that it is gone.
    pub disabled: bool,
    /// What is told.
    pub event: Event,
    /// Of the request that the event comes from.
    pub traceparent: Option<String>,
}

/// Up to `limit` deliveries that are due, none to a `busy` endpoint. Not part of any trace: it polls.
pub async fn lease_deliveries(
    db: &Db,
    call: &Call,
    now: OffsetDateTime,
    leased_until: OffsetDateTime,
    limit: i64,
    busy: &[EndpointId],
) -> Result<Vec<LeasedDelivery>, Failure> {
    let busy: Vec<Uuid> = busy.iter().map(|endpoint| endpoint.0).collect();
    let make = || sqlx::query_file!("../../db/queries/lease_deliveries.sql", now, leased_until, limit, &busy);
    let rows = db.rows(Step::background(call, "lease_deliveries"), make).await?;
    let leased = rows.into_iter().map(|row| LeasedDelivery {
        endpoint: EndpointId(row.endpoint_id),
        delivery: row.delivery_id,
        attempts: row.attempts,
        lease_token: row.lease_token,
        url: row.url,
        disabled: row.disabled_at.is_some(),
        event: Event {
            id: EventId(row.event_id),
            kind: row.r#type,
            sequence: row.sequence,
            created_at: row.created_at,
            object: row.data,
        },
        traceparent: row.traceparent,
    });
    Ok(leased.collect())
}

/// What is recorded of an attempt.
pub struct Tried {
    /// pending, succeeded or failed.
    pub state: &'static str,
    /// When it is due again.
    pub next: OffsetDateTime,
    /// What came of it.
    pub attempt: Attempt,
    /// How long it was.
    pub took: Duration,
    /// When it ended.
    pub now: OffsetDateTime,
    /// Whether the endpoint gets nothing any more.
    pub disable: bool,
}

/// False where the lease isn't ours any more.
pub async fn record_delivery(
    db: &Db,
    call: &Call,
    leased: &LeasedDelivery,
    tried: &Tried,
) -> Result<bool, Failure> {
    let make = || {
        sqlx::query_file!(
            "../../db/queries/record_delivery.sql",
            leased.endpoint.0,
            leased.delivery,
            leased.lease_token,
            tried.state,
            tried.next,
            tried.attempt.status.and_then(|status| i16::try_from(status).ok()),
            tried.attempt.fault.map(|fault| fault.as_str()),
            i32::try_from(tried.took.as_millis()).unwrap_or(i32::MAX),
            tried.now,
            tried.disable,
        )
    };
    let rows = db.rows(Step::background(call, "record_delivery"), make).await?;
    Ok(!rows.is_empty())
}
