//! What the world is told: one event a recorded change.

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
