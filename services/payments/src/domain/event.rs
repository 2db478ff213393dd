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
    /// The card network refused a later operation; the payment is unchanged.
    PaymentOperationFailed,
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
        }
    }
}
