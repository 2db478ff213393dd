//! CreatePayment: authorises, or sells, under a key.

use std::sync::Arc;

use super::{
    idempotency::{IdempotencyKey, take},
    payments::Payments,
    request_hash::RequestHash,
};
use crate::{
    domain::{
        error::{Error, Rule, Violations, text_rule},
        id::{MerchantId, PaymentId, TokenId},
        money::{Amount, Currency, MAX_AMOUNT},
        payment::{CaptureMethod, Command, Metadata, Payment, State},
    },
    reply::{self, Reply},
    store::payments::claim_payment,
    telemetry::Call,
};

/// Limits in bytes, and of pairs.
const MAX_REFERENCE: usize = 64;
const MAX_DESCRIPTION: usize = 500;
const MAX_PAIRS: usize = 20;
const MAX_KEY: usize = 40;
const MAX_VALUE: usize = 200;

/// What was sent.
#[derive(Default, Debug)]
pub struct CreatePayment {
    /// Minor units.
    pub amount: Option<i64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// ptk_…
    pub payment_token: Option<String>,
    /// The inner one is none where the value isn't one of the listed.
    pub capture: Option<Option<CaptureMethod>>,
    /// The merchant's own name for it.
    pub merchant_reference: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Pairs; a value is none where it was null.
    pub metadata: Vec<(String, Option<String>)>,
}

struct Checked {
    amount: Amount,
    currency: Currency,
    payment_token: TokenId,
    capture: CaptureMethod,
    merchant_reference: String,
    description: Option<String>,
    metadata: Metadata,
}

impl Payments {
    /// The reply is a payment (201) or a problem about one (402).
    pub async fn create(
        self: &Arc<Self>,
        call: Call,
        merchant: MerchantId,
        key: IdempotencyKey,
        command: CreatePayment,
        violations: Violations,
    ) -> Result<Reply, Error> {
        let request = check(command, violations)?;
        let payments = Arc::clone(self);
        self.detached(async move { payments.claim_new(&call, merchant, &key, request).await }).await
    }

    async fn claim_new(
        &self,
        call: &Call,
        merchant: MerchantId,
        key: &IdempotencyKey,
        request: Checked,
    ) -> Result<Reply, Error> {
        let ticket = self.ticket(call, merchant, key, request.hash());
        let now = ticket.now;
        let command = match request.capture {
            CaptureMethod::Automatic => Command::Sale,
            CaptureMethod::Manual => Command::Authorize,
        };
        let expires_at = (command == Command::Authorize).then_some(now + self.settings.authorization);
        let payment = Payment {
            merchant,
            id: PaymentId::fresh(),
            payment_token: request.payment_token,
            amount: request.amount,
            currency: request.currency,
            capture: request.capture,
            merchant_reference: request.merchant_reference,
            description: request.description,
            metadata: request.metadata,
            state: State::Processing,
            decline_reason: None,
            authorized: 0,
            captured: 0,
            refunded: 0,
            expires_at,
            created_at: now,
            updated_at: now,
        };
        let created = reply::payment(&payment);
        let claim = || claim_payment(&self.db, call, &ticket, &payment, command.clone(), &created);
        match take(None, claim).await? {
            Ok(pending) => self.finish(call, &ticket, *pending).await,
            Err(replay) => Ok(replay),
        }
    }
}

fn check(command: CreatePayment, mut violations: Violations) -> Result<Checked, Error> {
    let amount = violations.integer("amount", command.amount, 1, MAX_AMOUNT).and_then(Amount::new);
    match command.currency.as_deref() {
        None => violations.add("currency", Rule::Required),
        Some(code) if code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()) => {}
        Some(_) => violations.add("currency", Rule::Malformed),
    }
    let payment_token = command.payment_token.as_deref().map(TokenId::parse);
    match payment_token {
        None => violations.add("payment_token", Rule::Required),
        Some(None) => violations.add("payment_token", Rule::Malformed),
        Some(Some(_)) => {}
    }
    match command.capture {
        None => violations.add("capture", Rule::Required),
        Some(None) => violations.add("capture", Rule::UnknownValue),
        Some(Some(_)) => {}
    }
    let merchant_reference =
        violations.text("merchant_reference", command.merchant_reference, 1, MAX_REFERENCE);
    let description = command.description.filter(|text| !text.is_empty());
    if let Some(rule) = description.as_deref().and_then(|text| text_rule(text, 0, MAX_DESCRIPTION)) {
        violations.add("description", rule);
    }
    let metadata = check_metadata(command.metadata, &mut violations);
    violations.check()?;
    let currency = command.currency.as_deref().and_then(Currency::parse).ok_or(Error::CurrencyUnsupported)?;
    match (amount, payment_token.flatten(), command.capture.flatten(), merchant_reference) {
        (Some(amount), Some(payment_token), Some(capture), Some(merchant_reference)) => Ok(Checked {
            amount,
            currency,
            payment_token,
            capture,
            merchant_reference,
            description,
            metadata,
        }),
        (_, _, _, _) => Err(Error::Internal("a member that was checked is missing".into())),
    }
}

/// In the order of the keys' bytes. Too many pairs are one violation, and not looked into; nor is the value of a bad key.
fn check_metadata(mut pairs: Vec<(String, Option<String>)>, violations: &mut Violations) -> Metadata {
    if pairs.len() > MAX_PAIRS {
        violations.add("metadata", Rule::TooMany(MAX_PAIRS));
        return Metadata::new();
    }
    pairs.sort_unstable();
    let mut metadata = Metadata::with_capacity(pairs.len());
    for (key, value) in pairs {
        if let Some(rule) = text_rule(&key, 1, MAX_KEY) {
            violations.add("metadata", rule);
            continue;
        }
        match value {
            None => violations.add(format!("metadata.{key}"), Rule::NullValue),
            Some(value) => match text_rule(&value, 0, MAX_VALUE) {
                Some(rule) => violations.add(format!("metadata.{key}"), rule),
                None => metadata.push((key, value)),
            },
        }
    }
    metadata
}

impl Checked {
    fn hash(&self) -> [u8; 32] {
        let mut hash = RequestHash::new("create_payment", &[]);
        hash.integer("amount", Some(self.amount.minor()));
        hash.member("currency", self.currency.code());
        hash.member("payment_token", &self.payment_token.to_string());
        hash.member("capture", self.capture.as_str());
        hash.member("merchant_reference", &self.merchant_reference);
        if let Some(description) = &self.description {
            hash.member("description", description);
        }
        for (key, value) in &self.metadata {
            hash.member(&format!("metadata.{key}"), value);
        }
        hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> CreatePayment {
        CreatePayment {
            amount: Some(1000),
            currency: Some("USD".into()),
            payment_token: Some("ptk_01k8nkrkayfxg828t5cy4tqkff".into()),
            capture: Some(Some(CaptureMethod::Automatic)),
            merchant_reference: Some("order-1".into()),
            ..CreatePayment::default()
        }
    }

    fn broken(command: CreatePayment) -> Vec<(String, &'static str)> {
        match check(command, Violations::default()) {
            Err(Error::ValidationFailed(all)) => {
                all.into_iter().map(|v| (v.field.into_owned(), v.rule.reason())).collect()
            }
            other => panic!("{:?}", other.err()),
        }
    }

    #[test]
    fn the_hash_is_that_of_the_vectors() {
        let hash = check(good(), Violations::default()).unwrap().hash();
        assert_eq!(hex::encode(hash), "4aed59fde10b687d559ba4ad14b33c6551bb999bdd898cc81dcfb33d2de70fa4");
        let empty = CreatePayment { description: Some(String::new()), ..good() };
        assert_eq!(check(empty, Violations::default()).unwrap().hash(), hash);
    }

    #[test]
    fn violations_stand_in_declared_order() {
        let all = broken(CreatePayment::default());
        let fields: Vec<&str> = all.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["amount", "currency", "payment_token", "capture", "merchant_reference"]);
        assert!(all.iter().all(|(_, reason)| *reason == "REQUIRED"));

        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        let odd = CreatePayment {
            amount: Some(0),
            currency: Some("usd".into()),
            payment_token: Some("pay_x".into()),
            capture: Some(None),
            merchant_reference: Some("a\0".into()),
            description: Some("d".repeat(501)),
            metadata: vec![
                pair("z", None),
                pair("", Some("x")),
                pair("a", Some("\0")),
                pair("b", Some("ok")),
            ],
        };
        let want = [
            ("amount", "OUT_OF_RANGE"),
            ("currency", "MALFORMED"),
            ("payment_token", "MALFORMED"),
            ("capture", "UNKNOWN_VALUE"),
            ("merchant_reference", "HAS_NUL"),
            ("description", "TOO_LONG"),
            ("metadata", "TOO_SHORT"),
            ("metadata.a", "HAS_NUL"),
            ("metadata.z", "NULL_VALUE"),
        ];
        assert_eq!(broken(odd), want.map(|(field, reason)| (field.to_owned(), reason)));
        let many = (0..21).map(|n| pair(&n.to_string(), None)).collect();
        assert_eq!(broken(CreatePayment { metadata: many, ..good() }), [("metadata".to_owned(), "TOO_MANY")]);
    }

    #[test]
    fn an_unlisted_currency_is_told_after_all_violations() {
        let unlisted = CreatePayment { currency: Some("CHF".into()), ..good() };
        assert!(matches!(check(unlisted, Violations::default()), Err(Error::CurrencyUnsupported)));
        let both = CreatePayment { currency: Some("CHF".into()), amount: None, ..good() };
        assert_eq!(broken(both), [("amount".to_owned(), "REQUIRED")]);
    }
}
