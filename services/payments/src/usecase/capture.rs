//! CapturePayment: takes a part or all of what was authorised, under a key.

use std::sync::Arc;

use super::{idempotency::IdempotencyKey, payments::Payments, request_hash::RequestHash};
use crate::{
    domain::{
        error::{Error, Violations},
        id::{MerchantId, PaymentId},
        money::{Amount, MAX_AMOUNT},
        payment::Command,
    },
    reply::Reply,
    telemetry::Call,
};

/// What was sent.
#[derive(Default, Debug)]
pub struct CapturePayment {
    /// From the path, as it was sent.
    pub id: String,
    /// All that remains where absent.
    pub amount: Option<i64>,
    /// Whether nothing more will be captured.
    pub last: Option<bool>,
}

impl Payments {
    /// The reply is the payment (200), or a problem that was decided under the claim (402, 409).
    pub async fn capture(
        self: &Arc<Self>,
        call: Call,
        merchant: MerchantId,
        key: IdempotencyKey,
        command: CapturePayment,
        mut violations: Violations,
    ) -> Result<Reply, Error> {
        let amount =
            violations.optional_integer("amount", command.amount, 1, MAX_AMOUNT).and_then(Amount::new);
        violations.check()?;
        let last = command.last.unwrap_or(amount.is_none());
        let request_hash = hash(&command.id, amount, last);
        let payment = PaymentId::sent(&command.id);
        let payments = Arc::clone(self);
        let command = Command::Capture { amount, last };
        self.detached(async move {
            payments.claim_existing(&call, merchant, &key, request_hash, payment, command).await
        })
        .await
    }
}

fn hash(id: &str, amount: Option<Amount>, last: bool) -> [u8; 32] {
    let mut hash = RequestHash::new("capture_payment", &[id]);
    hash.integer("amount", amount.map(Amount::minor));
    hash.member("final", if last { "true" } else { "false" });
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_vectors() {
        let id = "pay_01h455vb4pex5vsknk084sn02q";
        for (hash, want) in [
            (hash(id, None, true), "25e6367cafed6ef818e20834c1b87e8863b9ceff69c1b381aa28f49e1c997ca8"),
            (
                hash(id, Amount::new(400), false),
                "54b8ed5fba3d5c86e3991dec37888e83ff4e7f3a4dcca0cec14697b6c99ad8cb",
            ),
        ] {
            assert_eq!(hex::encode(hash), want);
        }
    }
}
