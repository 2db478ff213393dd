//! What the world is told: one event a recorded change.

use time::OffsetDateTime;

use super::{error::names, id::EventId};

/// An event as it was published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// evt_…
    pub id: EventId,
    /// The name of an [`EventType`].
    pub kind: String,
    /// Its place among the merchant's events: from 1, without gaps.
    pub sequence: i64,
    /// When it happened.
    pub created_at: OffsetDateTime,
    /// The object as it was then: JSON.
    pub object: String,
}

names! {
    /// Types of events.
    EventType {
        PaymentCreated = "payment.created",
        PaymentAuthorized = "payment.authorized",
        PaymentCaptured = "payment.captured",
        PaymentDeclined = "payment.declined",
        PaymentVoided = "payment.voided",
        PaymentExpired = "payment.expired",
        PaymentOperationFailed = "payment.operation_failed",
        RefundSucceeded = "refund.succeeded",
        RefundFailed = "refund.failed",
    }
}
