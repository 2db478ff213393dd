//! CreateRefund: gives back a part or all of what was captured, under a key.

use std::sync::Arc;

use super::{idempotency::IdempotencyKey, payments::Payments, request_hash::RequestHash};
use crate::{
    domain::{
        error::{Error, Violations, text_rule},
        id::{MerchantId, PaymentId},
        money::{Amount, MAX_AMOUNT},
        payment::Command,
    },
    reply::Reply,
    telemetry::Call,
};

/// The longest reason, in bytes.
const MAX_REASON: usize = 200;

/// What was sent.
#[derive(Default, Debug)]
pub struct CreateRefund {
    /// The payment's, from the path, as it was sent.
    pub id: String,
    /// All that remains where absent.
    pub amount: Option<i64>,
    /// In the merchant's words; an empty one is as absent.
    pub reason: Option<String>,
}

impl Payments {
    /// The reply is the refund (201), or a problem that was decided under the claim (402, 409).
    pub async fn refund(
        self: &Arc<Self>,
        call: Call,
        merchant: MerchantId,
        key: IdempotencyKey,
        command: CreateRefund,
        mut violations: Violations,
    ) -> Result<Reply, Error> {
        let amount =
            violations.optional_integer("amount", command.amount, 1, MAX_AMOUNT).and_then(Amount::new);
        let reason = command.reason.filter(|reason| !reason.is_empty());
        if let Some(rule) = reason.as_deref().and_then(|reason| text_rule(reason, 1, MAX_REASON)) {
            violations.add("reason", rule);
        }
        violations.check()?;
        let request_hash = hash(&command.id, amount, reason.as_deref());
        let payment = PaymentId::sent(&command.id);
        let payments = Arc::clone(self);
        let command = Command::Refund { amount, reason };
        self.detached(async move {
            payments.claim_existing(&call, merchant, &key, request_hash, payment, command).await
        })
        .await
    }
}

fn hash(id: &str, amount: Option<Amount>, reason: Option<&str>) -> [u8; 32] {
    let mut hash = RequestHash::new("create_refund", &[id]);
    hash.integer("amount", amount.map(Amount::minor));
    if let Some(reason) = reason {
        hash.member("reason", reason);
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_vectors() {
        let id = "pay_01h455vb4pex5vsknk084sn02q";
        for (hash, want) in [
            (hash(id, None, None), "0fc282f0d710bcde55fbbafdb7a0f773e4370573b76821990db7ebf2c8df8882"),
            (
                hash(id, Amount::new(1), Some("Größe passt nicht")),
                "0645d04eb4d798aefec3a47d62a052901e9c16e824243ed9469454458dd59dda",
            ),
        ] {
            assert_eq!(hex::encode(hash), want);
        }
    }
}
