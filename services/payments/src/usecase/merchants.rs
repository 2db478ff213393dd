//! CreateMerchant, CreateApiKey and RevokeApiKey: the administrator's verbs.

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::{
    authenticate::KEY_PREFIX,
    idempotency::{IdempotencyKey, take},
    payments::Payments,
    request_hash::RequestHash,
};
use crate::{
    domain::{
        error::{Error, Violations},
        id::{KeyId, MerchantId},
        merchant::{ApiKey, DEFAULT_FEES, Merchant},
        money::{Fees, MAX_AMOUNT},
    },
    reply::{self, Reply},
    store::merchants::{insert_api_key, insert_merchant, revoke_api_key},
    telemetry::Call,
};

/// The longest name, in bytes.
const MAX_NAME: usize = 200;
/// The whole, in hundredths of a percent.
const MAX_BPS: i64 = 10_000;
/// What bounds the row that counts a card's authorisations.
const MAX_VELOCITY: i64 = 100;

/// What was sent.
#[derive(Default, Debug)]
pub struct CreateMerchant {
    /// Who it is.
    pub name: Option<String>,
    /// Hundredths of a percent.
    pub fee_bps: Option<i64>,
    /// Minor units.
    pub fee_fixed: Option<i64>,
    /// Minor units.
    pub amount_limit: Option<i64>,
    /// Authorisations of one card in 60 s.
    pub velocity_limit: Option<i64>,
}

impl Payments {
    /// The reply is a merchant (201).
    pub async fn create_merchant(
        &self,
        call: &Call,
        key: Option<IdempotencyKey>,
        command: CreateMerchant,
        violations: Violations,
    ) -> Result<Reply, Error> {
        let merchant = check(command, violations, self.clock.now())?;
        let reply = Reply::fresh(201, reply::merchant(&merchant));
        let request_hash = hash(&merchant);
        let key = key.as_ref().map(|key| (key.as_str(), request_hash));
        let inserted = take(None, || insert_merchant(&self.db, call, key, &merchant, &reply));
        Ok(inserted.await?.err().unwrap_or(reply))
    }

    /// `merchant` is as it was sent.
    pub async fn create_api_key(
        &self,
        call: &Call,
        merchant: &str,
        violations: Violations,
    ) -> Result<ApiKey, Error> {
        violations.check()?;
        let merchant = MerchantId::sent(merchant);
        let (id, secret) = (KeyId::fresh(), hex::encode(rand::random::<[u8; 32]>()));
        let created_at = self.clock.now();
        let digest = Sha256::digest(secret.as_bytes()).into();
        let inserted = insert_api_key(&self.db, call, id, merchant, &digest, created_at).await;
        if !inserted.map_err(|failure| failure.writing(None))? {
            return Err(Error::ResourceNotFound);
        }
        let secret = format!("{KEY_PREFIX}{}_{secret}", id.suffix());
        Ok(ApiKey { id, merchant, secret: Some(secret), created_at, revoked_at: None })
    }

    /// `id` is as it was sent. Those who remember the key aren't told: it bites when they forget it.
    pub async fn revoke_api_key(
        &self,
        call: &Call,
        id: &str,
        violations: Violations,
    ) -> Result<ApiKey, Error> {
        violations.check()?;
        let revoked = revoke_api_key(&self.db, call, KeyId::sent(id), self.clock.now()).await;
        revoked.map_err(|failure| failure.writing(None))?.ok_or(Error::ResourceNotFound)
    }
}

fn check(
    command: CreateMerchant,
    mut violations: Violations,
    created_at: OffsetDateTime,
) -> Result<Merchant, Error> {
    let name = violations.text("name", command.name, 1, MAX_NAME);
    let bps = violations.optional_integer("fee_bps", command.fee_bps, 0, MAX_BPS);
    let fixed = violations.optional_integer("fee_fixed", command.fee_fixed, 0, MAX_AMOUNT);
    let amount_limit = violations.optional_integer("amount_limit", command.amount_limit, 1, MAX_AMOUNT);
    let velocity = violations.optional_integer("velocity_limit", command.velocity_limit, 1, MAX_VELOCITY);
    violations.check()?;
    Ok(Merchant {
        id: MerchantId::fresh(),
        name: name.ok_or_else(|| Error::Internal("a name that was checked is missing".into()))?,
        fees: Fees {
            bps: bps.and_then(|bps| i32::try_from(bps).ok()).unwrap_or(DEFAULT_FEES.bps),
            fixed: fixed.unwrap_or(DEFAULT_FEES.fixed),
        },
        amount_limit: amount_limit.unwrap_or(MAX_AMOUNT),
        velocity_limit: velocity.and_then(|limit| i16::try_from(limit).ok()),
        created_at,
    })
}

fn hash(merchant: &Merchant) -> [u8; 32] {
    let mut hash = RequestHash::new("create_merchant", &[]);
    hash.member("name", &merchant.name);
    hash.integer("fee_bps", Some(merchant.fees.bps.into()));
    hash.integer("fee_fixed", Some(merchant.fees.fixed));
    hash.integer("amount_limit", Some(merchant.amount_limit));
    hash.integer("velocity_limit", merchant.velocity_limit.map(i64::from));
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn defaults_stand_in_the_hash_as_the_vectors_say() {
        let now = datetime!(2026-01-01 0:00 UTC);
        let named = |name: &str| CreateMerchant { name: Some(name.into()), ..CreateMerchant::default() };
        let merchant = check(named("Café"), Violations::default(), now).unwrap();
        let want = "861bb3f349913c5214cc4434d5134654965377537c0ddcdbe057233c31cef0ca";
        assert_eq!(hex::encode(hash(&merchant)), want);
        assert_eq!((merchant.amount_limit, merchant.velocity_limit), (MAX_AMOUNT, None));
    }

    #[test]
    fn every_bound_is_a_violation() {
        let odd = CreateMerchant {
            name: Some("n".repeat(201)),
            fee_bps: Some(10_001),
            fee_fixed: Some(-1),
            amount_limit: Some(0),
            velocity_limit: Some(101),
        };
        let Err(Error::ValidationFailed(all)) =
            check(odd, Violations::default(), datetime!(2026-01-01 0:00 UTC))
        else {
            panic!("accepted");
        };
        let fields: Vec<_> = all.iter().map(|v| v.field.as_ref()).collect();
        assert_eq!(fields, ["name", "fee_bps", "fee_fixed", "amount_limit", "velocity_limit"]);
    }
}
