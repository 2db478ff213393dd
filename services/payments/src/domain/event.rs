//! What the world is told: one event a recorded change.

use time::OffsetDateTime;

use super::id::EventId;

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

/// Types of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventType {
    /// A payment was claimed; its first operation is pending.
    PaymentCreated,
    /// The issuer reserved the amount.
    PaymentAuthorized,
    /// A part or all of it was captured.
    PaymentCaptured,
    /// What wasn't captured was released.
    PaymentVoided,
    /// The issuer or a risk rule said no.
    PaymentDeclined,
    /// The card network refused a capture or a void; the payment is unchanged.
    PaymentOperationFailed,
    /// A part or all of what was captured was given back.
    RefundSucceeded,
    /// The card network refused a refund; the payment is unchanged.
    RefundFailed,
}

impl EventType {
    /// Its name in events and in Postgres.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PaymentCreated => "payment.created",
            Self::PaymentAuthorized => "payment.authorized",
            Self::PaymentCaptured => "payment.captured",
            Self::PaymentVoided => "payment.voided",
            Self::PaymentDeclined => "payment.declined",
            Self::PaymentOperationFailed => "payment.operation_failed",
            Self::RefundSucceeded => "refund.succeeded",
            Self::RefundFailed => "refund.failed",
        }
    }
}
