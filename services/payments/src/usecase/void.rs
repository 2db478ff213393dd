//! VoidPayment: releases what isn't captured, under a key.

use std::sync::Arc;

use super::{idempotency::IdempotencyKey, payments::Payments, request_hash::RequestHash};
use crate::{
    domain::{
        error::{Error, Violations},
        id::{MerchantId, PaymentId},
        payment::Command,
    },
    reply::Reply,
    telemetry::Call,
};

impl Payments {
    /// The reply is the payment (200), or a problem that was decided under the claim (402). `id` is as it was sent.
    pub async fn void(
        self: &Arc<Self>,
        call: Call,
        merchant: MerchantId,
        key: IdempotencyKey,
        id: &str,
        violations: Violations,
    ) -> Result<Reply, Error> {
        violations.check()?;
        let request_hash = RequestHash::new("void_payment", &[id]).finish();
        let payment = PaymentId::sent(id);
        let payments = Arc::clone(self);
        self.detached(async move {
            payments.claim_existing(&call, merchant, &key, request_hash, payment, Command::Void).await
        })
        .await
    }
}
