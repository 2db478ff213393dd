//! Objects and problems as JSON bytes: what is stored under a key, sent as an event, or answered over HTTP is rendered here, in the
//! contract's order of members, absent rather than null. And back: the gRPC door reads what was stored.

mod problem;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap as _};
use time::OffsetDateTime;

use crate::{
    domain::{
        card::PaymentToken,
        error::{Error, Reason},
        event::Event,
        id::{EndpointId, EntryId, KeyId, MerchantId, OperationId, PaymentId, RefundId, TokenId},
        ledger::{Balance, Written},
        merchant::{ApiKey, Merchant},
        payment::Payment,
        refund::Refund,
        webhook::Endpoint,
    },
    telemetry::rfc3339,
};

pub use self::problem::{Details, StoredProblem, problem, text};

/// What a use case answers: the bytes that a key will answer again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The HTTP status; a problem's from 400 on.
    pub status: u16,
    /// The HTTP body.
    pub body: String,
    /// Whether it was stored before this request came.
    pub replayed: bool,
}

impl Reply {
    /// A first answer.
    pub fn fresh(status: u16, body: String) -> Self {
        Self { status, body, replayed: false }
    }

    /// The answer that a decided error is stored as.
    pub fn of_error(error: &Error) -> Self {
        Self::fresh(text(error.reason()).status, problem(error))
    }

    /// Why it isn't a success.
    pub fn reason(&self) -> Option<Reason> {
        if self.status < 400 {
            return None;
        }
        Some(StoredProblem::parse(&self.body).map_or(Reason::Internal, |problem| problem.reason))
    }
}

fn json(value: &impl Serialize) -> String {
    // Serialising to memory can't fail: every key is a string.
    serde_json::to_string(value).unwrap_or_default()
}

fn time<S: Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

fn time_or_none<S: Serializer>(at: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time(at, serializer),
        None => serializer.serialize_none(),
    }
}

#[derive(Serialize)]
struct PaymentObject<'a> {
    id: PaymentId,
    payment_token: TokenId,
    amount: i64,
    currency: &'static str,
    capture: &'static str,
    merchant_reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    metadata: Pairs<'a>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_reason: Option<&'static str>,
    authorized: i64,
    captured: i64,
    refunded: i64,
    #[serde(serialize_with = "time_or_none", skip_serializing_if = "Option::is_none")]
    expires_at: Option<OffsetDateTime>,
    #[serde(serialize_with = "time")]
    created_at: OffsetDateTime,
    #[serde(serialize_with = "time")]
    updated_at: OffsetDateTime,
}

/// Metadata as a JSON object, in its own order.
pub struct Pairs<'a>(pub &'a [(String, String)]);

impl Pairs<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'a> From<&'a Payment> for PaymentObject<'a> {
    fn from(p: &'a Payment) -> Self {
        Self {
            id: p.id,
            payment_token: p.payment_token,
            amount: p.amount.minor(),
            currency: p.currency.code(),
            capture: p.capture.as_str(),
            merchant_reference: &p.merchant_reference,
            description: p.description.as_deref(),
            metadata: Pairs(&p.metadata),
            state: p.state.as_str(),
            decline_reason: p.decline_reason.map(|reason| reason.as_str()),
            authorized: p.authorized,
            captured: p.captured,
            refunded: p.refunded,
            expires_at: p.expires_at,
            created_at: p.created_at,
            updated_at: p.updated_at,
        }
    }
}

/// A payment, the same in replies, in a 402 and in events.
pub fn payment(payment: &Payment) -> String {
    json(&PaymentObject::from(payment))
}

#[derive(Serialize)]
struct RefundObject<'a> {
    id: RefundId,
    payment: PaymentId,
    amount: i64,
    currency: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'a str>,
    #[serde(serialize_with = "time")]
    created_at: OffsetDateTime,
    #[serde(serialize_with = "time")]
    updated_at: OffsetDateTime,
}

impl<'a> From<&'a Refund> for RefundObject<'a> {
    fn from(r: &'a Refund) -> Self {
        Self {
            id: r.id,
            payment: r.payment,
            amount: r.amount,
            currency: r.currency.code(),
            state: r.state.as_str(),
            reason: r.reason.as_deref(),
            failure_reason: r.failure_reason.as_deref(),
            created_at: r.created_at,
            updated_at: r.updated_at,
        }
    }
}

/// A refund, the same in replies and in events.
pub fn refund(refund: &Refund) -> String {
    json(&RefundObject::from(refund))
}

/// A page of refunds.
pub fn refunds(data: &[Refund], next_cursor: Option<&str>) -> String {
    page(data.iter().map(RefundObject::from), next_cursor)
}

/// A page of payments.
pub fn payments(data: &[Payment], next_cursor: Option<&str>) -> String {
    page(data.iter().map(PaymentObject::from), next_cursor)
}

/// A page of ledger entries.
pub fn entries(data: &[Written], next_cursor: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Object {
        id: EntryId,
        operation: OperationId,
        payment: PaymentId,
        account: &'static str,
        currency: &'static str,
        amount: i64,
        #[serde(serialize_with = "time")]
        created_at: OffsetDateTime,
    }
    let object = |written: &Written| Object {
        id: written.id,
        operation: written.operation,
        payment: written.payment,
        account: written.entry.account.as_str(),
        currency: written.currency.code(),
        amount: written.entry.amount,
        created_at: written.created_at,
    };
    page(data.iter().map(object), next_cursor)
}

/// All balances of a merchant.
pub fn balances(data: &[Balance]) -> String {
    #[derive(Serialize)]
    struct Balances<'a> {
        data: &'a [Balance],
    }
    json(&Balances { data })
}

fn page<T: Serialize>(data: impl Iterator<Item = T>, next_cursor: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Page<'a, T> {
        data: Vec<T>,
        has_more: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<&'a str>,
    }
    json(&Page { data: data.collect(), has_more: next_cursor.is_some(), next_cursor })
}

/// A payment token.
pub fn token(token: &PaymentToken) -> String {
    #[derive(Serialize)]
    struct Card<'a> {
        brand: &'static str,
        last4: &'a str,
        exp_month: i16,
        exp_year: i16,
    }
    #[derive(Serialize)]
    struct Token<'a> {
        id: TokenId,
        card: Card<'a>,
        #[serde(serialize_with = "time")]
        created_at: OffsetDateTime,
    }
    let PaymentToken { id, brand, last4, expiry, created_at } = token;
    let card = Card { brand: brand.as_str(), last4, exp_month: expiry.month, exp_year: expiry.year };
    json(&Token { id: *id, card, created_at: *created_at })
}

/// A merchant.
pub fn merchant(merchant: &Merchant) -> String {
    #[derive(Serialize)]
    struct Object<'a> {
        id: MerchantId,
        name: &'a str,
        fee_bps: i32,
        fee_fixed: i64,
        amount_limit: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        velocity_limit: Option<i16>,
        #[serde(serialize_with = "time")]
        created_at: OffsetDateTime,
    }
    json(&Object {
        id: merchant.id,
        name: &merchant.name,
        fee_bps: merchant.fees.bps,
        fee_fixed: merchant.fees.fixed,
        amount_limit: merchant.amount_limit,
        velocity_limit: merchant.velocity_limit,
        created_at: merchant.created_at,
    })
}

/// An API key.
pub fn api_key(key: &ApiKey) -> String {
    #[derive(Serialize)]
    struct Object<'a> {
        id: KeyId,
        merchant_id: MerchantId,
        #[serde(skip_serializing_if = "Option::is_none")]
        secret: Option<&'a str>,
        #[serde(serialize_with = "time")]
        created_at: OffsetDateTime,
        #[serde(serialize_with = "time_or_none", skip_serializing_if = "Option::is_none")]
        revoked_at: Option<OffsetDateTime>,
    }
    let ApiKey { id, merchant, secret, created_at, revoked_at } = key;
    let secret = secret.as_deref();
    json(&Object {
        id: *id,
        merchant_id: *merchant,
        secret,
        created_at: *created_at,
        revoked_at: *revoked_at,
    })
}

/// An event: the envelope around the object's own bytes.
pub fn event(event: &Event) -> String {
    let Event { id, kind, sequence, created_at, object } = event;
    let at = rfc3339(*created_at);
    // No name of a type has a character that JSON escapes.
    format!(
        r#"{{"id":"{id}","type":"{kind}","sequence":{sequence},"created_at":"{at}","data":{{"object":{object}}}}}"#
    )
}

/// A page of events: their bytes go in as they are.
pub fn events(data: &[Event], next_cursor: Option<&str>) -> String {
    let events = data.iter().map(event).collect::<Vec<_>>().join(",");
    page(std::iter::empty::<()>(), next_cursor).replacen("[]", &format!("[{events}]"), 1)
}

#[derive(Serialize)]
struct EndpointObject<'a> {
    id: EndpointId,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(serialize_with = "time")]
    created_at: OffsetDateTime,
    #[serde(serialize_with = "time_or_none", skip_serializing_if = "Option::is_none")]
    disabled_at: Option<OffsetDateTime>,
}

impl<'a> EndpointObject<'a> {
    fn new(endpoint: &'a Endpoint, secret: Option<&'a str>) -> Self {
        let Endpoint { id, url, created_at, disabled_at } = endpoint;
        Self { id: *id, url, secret, created_at: *created_at, disabled_at: *disabled_at }
    }
}

/// A webhook endpoint that was just made, with its secret.
pub fn webhook_endpoint(endpoint: &Endpoint, secret: &str) -> String {
    json(&EndpointObject::new(endpoint, Some(secret)))
}

/// A page of webhook endpoints.
pub fn webhook_endpoints(data: &[Endpoint], next_cursor: Option<&str>) -> String {
    page(data.iter().map(|endpoint| EndpointObject::new(endpoint, None)), next_cursor)
}

/// A stored payment or merchant or token or problem that isn't as this module writes it: a bug, or a hand in the database.
#[derive(Debug, thiserror::Error)]
#[error("a stored reply can't be read")]
pub struct Unreadable;

/// Reads what this module wrote.
pub fn read<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(body).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        money::{Amount, Currency},
        payment::{CaptureMethod, State},
    };
    use ::time::macros::datetime;
    use uuid::Uuid;

    pub(super) fn paid() -> Payment {
        let at = datetime!(2026-01-02 3:04:05.000_006 UTC);
        Payment {
            merchant: MerchantId(Uuid::nil()),
            id: PaymentId(Uuid::nil()),
            payment_token: TokenId(Uuid::nil()),
            amount: Amount::new(1000).unwrap(),
            currency: Currency::Usd,
            capture: CaptureMethod::Manual,
            merchant_reference: "order \"1\"\u{1}é<\u{2028}".into(),
            description: None,
            metadata: vec![("a".into(), "1".into()), ("é".into(), String::new())],
            state: State::Authorized,
            decline_reason: None,
            authorized: 1000,
            captured: 0,
            refunded: 0,
            expires_at: Some(at),
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn objects_have_the_members_in_the_contracts_order() {
        let want = concat!(
            r#"{"id":"pay_00000000000000000000000000","payment_token":"ptk_00000000000000000000000000","#,
            r#""amount":1000,"currency":"USD","capture":"manual","merchant_reference":"order \"1\"\u0001é<"#,
            "\u{2028}",
            r#"","metadata":{"a":"1","é":""},"state":"authorized","authorized":1000,"captured":0,"refunded":0,"#,
            r#""expires_at":"2026-01-02T03:04:05.000006Z","created_at":"2026-01-02T03:04:05.000006Z","#,
            r#""updated_at":"2026-01-02T03:04:05.000006Z"}"#
        );
        assert_eq!(payment(&paid()), want);
    }

    #[test]
    fn an_event_is_an_envelope_around_the_object_as_it_was() {
        let told = Event {
            id: crate::domain::id::EventId(Uuid::nil()),
            kind: "payment.created".into(),
            sequence: 7,
            created_at: datetime!(2026-01-02 3:04:05.000_006 UTC),
            object: r#"{"a": []}"#.into(),
        };
        let want = concat!(
            r#"{"id":"evt_00000000000000000000000000","type":"payment.created","sequence":7,"#,
            r#""created_at":"2026-01-02T03:04:05.000006Z","data":{"object":{"a": []}}}"#
        );
        assert_eq!(event(&told), want);
        let page = events(&[told.clone(), told], Some("next"));
        assert_eq!(page, format!(r#"{{"data":[{want},{want}],"has_more":true,"next_cursor":"next"}}"#));
        assert_eq!(events(&[], None), r#"{"data":[],"has_more":false}"#);
    }
}
