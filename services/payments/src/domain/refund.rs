//! A refund, as its merchant sees it: an operation of this kind has no row of its own that could disagree.

use time::OffsetDateTime;

use super::{
    error::names,
    id::{PaymentId, RefundId},
    money::Currency,
};

names! {
    /// Where a refund is.
    RefundState {
        Pending = "pending",
        Succeeded = "succeeded",
        Failed = "failed",
    }
}

/// A refund.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refund {
    /// ref_…, with the operation's bits.
    pub id: RefundId,
    /// pay_…
    pub payment: PaymentId,
    /// What was asked for, in minor units; moved where it succeeded.
    pub amount: i64,
    /// Of the payment.
    pub currency: Currency,
    /// Where it is.
    pub state: RefundState,
    /// In the merchant's words.
    pub reason: Option<String>,
    /// Set where it failed.
    pub failure_reason: Option<String>,
    /// When it was claimed.
    pub created_at: OffsetDateTime,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
}
