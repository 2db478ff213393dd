//! Reading what is there.

use super::payments::Payments;
use crate::{
    domain::{
        error::{Error, Violations},
        id::{MerchantId, PaymentId, RefundId},
        payment::Payment,
        refund::Refund,
    },
    store::{payments::get_payment, refunds::get_refund},
    telemetry::Call,
};

impl Payments {
    /// One payment of a merchant. `id` is as it was sent.
    pub async fn get_payment(
        &self,
        call: &Call,
        merchant: MerchantId,
        id: &str,
        violations: Violations,
    ) -> Result<Payment, Error> {
        violations.check()?;
        let found = get_payment(&self.db, call, merchant, PaymentId::sent(id)).await;
        found.map_err(|failure| failure.reading())?.ok_or(Error::ResourceNotFound)
    }

    /// One refund of a merchant. `id` is as it was sent.
    pub async fn get_refund(
        &self,
        call: &Call,
        merchant: MerchantId,
        id: &str,
        violations: Violations,
    ) -> Result<Refund, Error> {
        violations.check()?;
        let found = get_refund(&self.db, call, merchant, RefundId::sent(id)).await;
        found.map_err(|failure| failure.reading())?.ok_or(Error::ResourceNotFound)
    }
}
