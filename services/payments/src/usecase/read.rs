//! Reading what is there.

use super::payments::Payments;
use crate::{
    domain::{
        error::{Error, Violations},
        id::{MerchantId, PaymentId},
        payment::Payment,
    },
    store::payments::get_payment,
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
}
