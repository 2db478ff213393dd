//! CreatePaymentToken: a card in, a token out. The number is hashed, handed to the card network, wiped, and never stored.

use uuid::{Builder, Uuid};
use zeroize::Zeroizing;

use super::{
    idempotency::{IdempotencyKey, take},
    payments::Payments,
    request_hash::RequestHash,
};
use crate::{
    domain::{
        card::{CardNumber, Expiry, PaymentToken},
        error::{Error, Rule, Violations},
        id::{MerchantId, OperationId, TokenId},
    },
    hash_pool::{fingerprint, hmac},
    reply::{self, Reply},
    store::{
        idempotency::find_replay,
        tokens::{NewToken, insert_payment_token},
    },
    telemetry::Call,
};

/// What was sent. No Debug: it holds a card number.
#[derive(Default)]
pub struct CreatePaymentToken {
    /// The card, if there is one.
    pub card: Option<Card>,
}

/// A card as it was sent. Wiped when dropped.
#[derive(Default)]
pub struct Card {
    /// Digits.
    pub number: Option<Zeroizing<String>>,
    /// 1 to 12.
    pub exp_month: Option<i64>,
    /// Four digits.
    pub exp_year: Option<i64>,
    /// Three or four digits.
    pub cvc: Option<Zeroizing<String>>,
}

struct Checked {
    number: CardNumber,
    expiry: Expiry,
    cvc: Zeroizing<String>,
}

impl Payments {
    /// The reply is a payment token (201). One step, nothing pending: of two racing requests the later insert answers the earlier
    /// one's reply. The key is looked up before the hash, so that a replay costs none.
    pub async fn tokenize(
        &self,
        call: &Call,
        merchant: MerchantId,
        key: IdempotencyKey,
        command: CreatePaymentToken,
        violations: Violations,
    ) -> Result<Reply, Error> {
        let asked = self.clock.now();
        let card = check(command, violations, |expiry| expiry.passed(asked))?;
        let pepper = &self.settings.pepper;
        let request_hash = card.hash(pepper);
        let found = find_replay(&self.db, call, true, merchant, key.as_str(), &request_hash).await;
        if let Some(answer) = found.map_err(|failure| failure.reading())? {
            return answer;
        }
        let operation = provision_id(pepper, merchant, key.as_str(), &request_hash).to_string();
        let (card, fingerprint) = self.hash(call, merchant, card).await?;
        let network_token =
            self.acquirer.provision(call, operation, &card.number, card.expiry, &card.cvc).await?;
        let token = PaymentToken {
            id: TokenId::fresh(),
            brand: card.number.brand(),
            last4: card.number.last4().to_owned(),
            expiry: card.expiry,
            created_at: self.clock.now(),
        };
        let reply = Reply::fresh(201, reply::token(&token));
        let new = NewToken {
            merchant,
            key: key.as_str(),
            request_hash,
            token: &token,
            fingerprint,
            network_token: &network_token,
            reply: &reply,
        };
        let inserted = take(None, || insert_payment_token(&self.db, call, &new));
        Ok(inserted.await?.err().unwrap_or(reply))
    }

    /// The card goes into the job and comes back: it is wiped wherever it ends.
    async fn hash(
        &self,
        call: &Call,
        merchant: MerchantId,
        card: Checked,
    ) -> Result<(Checked, [u8; 32]), Error> {
        let settings = self.settings.clone();
        let job = move || {
            let number = card.number.expose();
            let fingerprint = fingerprint(&settings.pepper, number, merchant, settings.hash_iterations);
            (card, fingerprint)
        };
        self.hash_pool.run(call, job).await
    }
}

fn check(
    command: CreatePaymentToken,
    mut violations: Violations,
    expired: impl FnOnce(Expiry) -> bool,
) -> Result<Checked, Error> {
    let Some(card) = command.card else {
        violations.add("card", Rule::Required);
        return Err(violations.check().err().unwrap_or(Error::CardInvalid));
    };
    violations.digits("card.number", card.number.as_ref().map(|n| n.as_str()), 12, 19);
    let month = violations.integer("card.exp_month", card.exp_month, 1, 12);
    let year = violations.integer("card.exp_year", card.exp_year, 2000, 2100);
    violations.digits("card.cvc", card.cvc.as_ref().map(|c| c.as_str()), 3, 4);
    violations.check()?;
    let number = card.number.and_then(CardNumber::new).ok_or(Error::CardInvalid)?;
    let (Some(month), Some(year), Some(cvc)) =
        (month.and_then(|m| i16::try_from(m).ok()), year.and_then(|y| i16::try_from(y).ok()), card.cvc)
    else {
        return Err(Error::Internal("a member that was checked is missing".into()));
    };
    let expiry = Expiry { month, year };
    if expired(expiry) {
        return Err(Error::CardInvalid);
    }
    Ok(Checked { number, expiry, cvc })
}

impl Checked {
    /// Number and cvc stand in it under the pepper: the hash alone gives no card away.
    fn hash(&self, pepper: &[u8; 32]) -> [u8; 32] {
        let keyed = |text: &str| hex::encode(hmac(pepper, &[text.as_bytes()]));
        let mut hash = RequestHash::new("create_payment_token", &[]);
        hash.member("card.number", &keyed(self.number.expose()));
        hash.integer("card.exp_month", Some(self.expiry.month.into()));
        hash.integer("card.exp_year", Some(self.expiry.year.into()));
        hash.member("card.cvc", &keyed(&self.cvc));
        hash.finish()
    }
}

/// Under which the network is asked: a retry asks under the same id, another card never does.
fn provision_id(pepper: &[u8; 32], merchant: MerchantId, key: &str, request_hash: &[u8; 32]) -> OperationId {
    let parts: [&[u8]; 5] = [b"provision\0", merchant.0.as_bytes(), key.as_bytes(), b"\0", request_hash];
    let digest = hmac(pepper, &parts);
    let first: [u8; 16] = std::array::from_fn(|n| digest[n]);
    let uuid: Uuid = Builder::from_bytes(first)
        .with_version(uuid::Version::SortRand)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid();
    OperationId(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(number: &str, month: i64, year: i64, cvc: &str) -> CreatePaymentToken {
        let text = |text: &str| Some(Zeroizing::new(text.to_owned()));
        let (exp_month, exp_year) = (Some(month), Some(year));
        CreatePaymentToken { card: Some(Card { number: text(number), exp_month, exp_year, cvc: text(cvc) }) }
    }

    fn broken(command: CreatePaymentToken) -> Vec<(String, &'static str)> {
        match check(command, Violations::default(), |_| false) {
            Err(Error::ValidationFailed(all)) => {
                all.into_iter().map(|v| (v.field.into_owned(), v.rule.reason())).collect()
            }
            other => panic!("{:?}", other.err()),
        }
    }

    #[test]
    fn operation_ids_are_those_of_the_vectors() {
        let vectors: toml::Table =
            include_str!("../../../../proto/vectors/fingerprint.toml").parse().unwrap();
        for case in vectors["provision"].as_array().unwrap() {
            let text = |name: &str| case[name].as_str().unwrap();
            let bytes = |name: &str| -> [u8; 32] { hex::decode(text(name)).unwrap().try_into().unwrap() };
            let merchant = MerchantId::parse(text("merchant")).unwrap();
            let id = provision_id(&bytes("pepper"), merchant, text("key"), &bytes("request_hash"));
            assert_eq!(id.to_string(), text("operation_id"));
        }
    }

    #[test]
    fn the_hash_is_that_of_the_vectors() {
        let pepper: [u8; 32] = std::array::from_fn(|n| u8::try_from(n).unwrap());
        let checked = check(card("4242424242424242", 12, 2030, "123"), Violations::default(), |_| false);
        let want = "8ce7269415d13af34b86346a988049b8041e555d07e8ddaf70306331fc22b3e6";
        assert_eq!(hex::encode(checked.ok().unwrap().hash(&pepper)), want);
    }

    #[test]
    fn shape_comes_before_luhn_and_expiry() {
        assert_eq!(broken(CreatePaymentToken::default()), [("card".to_owned(), "REQUIRED")]);
        let all = broken(CreatePaymentToken { card: Some(Card::default()) });
        let fields: Vec<&str> = all.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["card.number", "card.exp_month", "card.exp_year", "card.cvc"]);
        for (number, reason) in [
            ("42424242424", "TOO_SHORT"),
            ("42424242424242424242", "TOO_LONG"),
            ("4242 4242 4242", "MALFORMED"),
        ] {
            assert_eq!(broken(card(number, 1, 2030, "123")), [("card.number".to_owned(), reason)]);
        }
        assert_eq!(
            broken(card("4242424242424241", 0, 2030, "12"))[0],
            ("card.exp_month".to_owned(), "OUT_OF_RANGE")
        );
        for (number, expired) in [("4242424242424241", false), ("4242424242424242", true)] {
            let refused = check(card(number, 1, 2030, "123"), Violations::default(), |_| expired);
            assert!(matches!(refused, Err(Error::CardInvalid)));
        }
    }
}
