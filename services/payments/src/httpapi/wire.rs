//! Strict JSON and parameters into commands. Every member is optional to the decoder and null means absent; everything else that isn't exactly the
//! documented shape is MALFORMED_BODY, with no word about where.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use zeroize::Zeroizing;

use super::query::Query;
use crate::{
    domain::{
        error::{Error, Violations},
        ledger::Account,
        payment::{CaptureMethod, State},
    },
    usecase::{
        capture::CapturePayment,
        create::CreatePayment,
        events::{ListEvents, WatchEvents},
        ledger::ListLedgerEntries,
        merchants::CreateMerchant,
        page::Page,
        read::{ListPayments, ListRefunds},
        refund::CreateRefund,
        tokenize::{Card, CreatePaymentToken},
    },
};

/// A JSON object and nothing else: the derived decoders would take an array for a struct.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Only<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Only(PhantomData)).map(Object)
    }
}

/// Pairs of texts, no key twice. A null value is kept: it is a violation, not malformed.
struct Pairs(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Distinct;
        impl<'de> Visitor<'de> for Distinct {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                // A body of 64 KiB can hold ten thousand keys: sorting finds doubles without comparing all with all.
                let mut keys: Vec<&str> = pairs.iter().map(|(key, _): &(String, _)| key.as_str()).collect();
                keys.sort_unstable();
                if keys.windows(2).any(|two| two[0] == two[1]) {
                    return Err(serde::de::Error::custom("a duplicate key"));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Distinct)
    }
}

/// An empty body is `{}`.
fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Error> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map(|Object(value)| value).map_err(|_| Error::MalformedBody)
}

/// The body of an operation that has no members.
pub fn nothing(body: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {}
    parse::<Body>(body).map(|_| ())
}

/// CreateMerchantRequest
pub fn create_merchant(body: &[u8]) -> Result<CreateMerchant, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        name: Option<String>,
        fee_bps: Option<i64>,
        fee_fixed: Option<i64>,
        amount_limit: Option<i64>,
        velocity_limit: Option<i64>,
    }
    let Body { name, fee_bps, fee_fixed, amount_limit, velocity_limit } = parse(body)?;
    Ok(CreateMerchant { name, fee_bps, fee_fixed, amount_limit, velocity_limit })
}

/// CreatePaymentTokenRequest
pub fn create_payment_token(body: &[u8]) -> Result<CreatePaymentToken, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        number: Option<String>,
        exp_month: Option<i64>,
        exp_year: Option<i64>,
        cvc: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        card: Option<Object<Inner>>,
    }
    let card = parse::<Body>(body)?.card.map(|Object(card)| Card {
        number: card.number.map(Zeroizing::new),
        exp_month: card.exp_month,
        exp_year: card.exp_year,
        cvc: card.cvc.map(Zeroizing::new),
    });
    Ok(CreatePaymentToken { card })
}

/// CreatePaymentRequest
pub fn create_payment(body: &[u8]) -> Result<CreatePayment, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        amount: Option<i64>,
        currency: Option<String>,
        payment_token: Option<String>,
        #[serde(borrow)]
        capture: Option<Cow<'a, str>>,
        merchant_reference: Option<String>,
        description: Option<String>,
        metadata: Option<Pairs>,
    }
    let body: Body<'_> = parse(body)?;
    Ok(CreatePayment {
        amount: body.amount,
        currency: body.currency,
        payment_token: body.payment_token,
        capture: body.capture.map(|name| CaptureMethod::parse(&name)),
        merchant_reference: body.merchant_reference,
        description: body.description,
        metadata: body.metadata.map(|Pairs(pairs)| pairs).unwrap_or_default(),
    })
}

/// CapturePaymentRequest; `id` comes from the path.
pub fn capture_payment(id: &str, body: &[u8]) -> Result<CapturePayment, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        amount: Option<i64>,
        r#final: Option<bool>,
    }
    let Body { amount, r#final } = parse(body)?;
    Ok(CapturePayment { id: id.to_owned(), amount, last: r#final })
}

/// CreateRefundRequest; `id` comes from the path.
pub fn create_refund(id: &str, body: &[u8]) -> Result<CreateRefund, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        amount: Option<i64>,
        reason: Option<String>,
    }
    let Body { amount, reason } = parse(body)?;
    Ok(CreateRefund { id: id.to_owned(), amount, reason })
}

/// The parameters of ListPaymentsRequest.
pub const LIST_PAYMENTS: [&str; 4] = [LIMIT, CURSOR, "state", "payment_token"];
const LIMIT: &str = "limit";
const CURSOR: &str = "cursor";

/// ListPaymentsRequest
pub fn list_payments(query: &mut Query, violations: &mut Violations) -> ListPayments {
    ListPayments {
        page: page(query, violations),
        state: query.text("state").map(|name| State::parse(&name)),
        payment_token: query.text("payment_token"),
    }
}

/// The parameters of ListRefundsRequest.
pub const LIST_REFUNDS: [&str; 3] = [LIMIT, CURSOR, "payment"];

/// ListRefundsRequest
pub fn list_refunds(query: &mut Query, violations: &mut Violations) -> ListRefunds {
    ListRefunds { page: page(query, violations), payment: query.text("payment") }
}

/// The parameters of ListLedgerEntriesRequest.
pub const LIST_LEDGER_ENTRIES: [&str; 3] = [LIMIT, CURSOR, "account"];

/// ListLedgerEntriesRequest
pub fn list_ledger_entries(query: &mut Query, violations: &mut Violations) -> ListLedgerEntries {
    let account = query.text("account").map(|name| Account::parse(&name));
    ListLedgerEntries { page: page(query, violations), account }
}

/// Which page of a list.
pub fn page(query: &mut Query, violations: &mut Violations) -> Page {
    Page { field: LIMIT, size: query.integer(LIMIT, violations), cursor: query.text(CURSOR) }
}

/// The parameters of ListEventsRequest.
pub const LIST_EVENTS: [&str; 3] = [LIMIT, CURSOR, "type"];

/// ListEventsRequest
pub fn list_events(query: &mut Query, violations: &mut Violations) -> ListEvents {
    ListEvents { page: page(query, violations), kind: query.text("type") }
}

/// The parameters of WatchEventsRequest.
pub const WATCH_EVENTS: [&str; 1] = ["after_sequence"];

/// WatchEventsRequest; `resumes` is the header's, which wins.
pub fn watch_events(resumes: Option<i64>, query: &mut Query, violations: &mut Violations) -> WatchEvents {
    let parameter = query.integer("after_sequence", violations);
    match resumes {
        Some(_) => WatchEvents { field: "last_event_id", after_sequence: resumes },
        None => WatchEvents { field: "after_sequence", after_sequence: parameter },
    }
}

/// The parameters of ListWebhookEndpointsRequest, which are those of its page.
pub const LIST_WEBHOOK_ENDPOINTS: [&str; 2] = [LIMIT, CURSOR];

/// CreateWebhookEndpointRequest: the URL.
pub fn create_webhook_endpoint(body: &[u8]) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        url: Option<String>,
    }
    Ok(parse::<Body>(body)?.url)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What decodes, though a rule may refuse it later.
    #[test]
    fn odd_bodies_that_are_the_documented_shape_decode() {
        for good in [
            "",
            "{}",
            " \t\r\n{ } \n",
            r#"{"amount":null,"metadata":null,"capture":null}"#,
            r#"{"amount":0}"#,
            r#"{"amount":-1}"#,
            r#"{"amount":9223372036854775807}"#,
            r#"{"amount":-9223372036854775808}"#,
            r#"{"\u0061mount":1}"#,
            r#"{"capture":"AUTOMATIC"}"#,
            r#"{"metadata":{}}"#,
            r#"{"metadata":{"a":null}}"#,
            r#"{"metadata":{"":"\u0000"}}"#,
            r#"{"description":"\ud83d\ude00"}"#,
        ] {
            assert!(create_payment(good.as_bytes()).is_ok(), "{good}");
        }
        assert!(create_payment_token(br#"{"card":null}"#).unwrap().card.is_none());
        assert!(create_payment_token(br#"{"card":{}}"#).unwrap().card.is_some());
    }

    /// One a line.
    const MALFORMED: &[u8] = br#"null
[]
true
1
""
{
}
{}{}
{} x
[1000,"USD"]
{"amount":1,}
{"amount":1 "currency":"USD"}
{amount:1}
{'amount':1}
{"amount":-0}
{"amount":0.0}
{"amount":1.0}
{"amount":1e3}
{"amount":1E400}
{"amount":01}
{"amount":+1}
{"amount":"1"}
{"amount":true}
{"amount":[1]}
{"amount":{}}
{"amount":NaN}
{"amount":9223372036854775808}
{"amount":-9223372036854775809}
{"amount":0x10}
{"amount":1,"amount":1}
{"amount":null,"amount":1}
{"amount":1,"\u0061mount":2}
{"Amount":1}
{"unknown":1}
{"":1}
{"id":"pay_x"}
{"currency":1}
{"capture":1}
{"capture":["automatic"]}
{"metadata":[]}
{"metadata":[["a","b"]]}
{"metadata":{"a":1}}
{"metadata":{"a":{}}}
{"metadata":{"a":"1","a":"2"}}
{"metadata":{"a":"1","\u0061":"2"}}
{"metadata":{"a":null,"a":"2"}}
{"description":"\ud800"}
{"description":"\udc00\ud800"}
{"description":"\x"}
{"description":"\u00g0"}
{/**/}
{}//"#;

    #[test]
    fn everything_else_is_malformed() {
        let deep = format!("{{\"metadata\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        let raw: [&[u8]; 8] = [
            b" ",
            b"{}\0",
            b"\xef\xbb\xbf{}",
            b"{\"description\":\"\xff\"}",
            b"{\"description\":\"\xed\xa0\x80\"}",
            b"{\"description\":\"a\nb\"}",
            b"{\"description\":\"\0\"}",
            deep.as_bytes(),
        ];
        for bad in MALFORMED.split(|b| *b == b'\n').chain(raw) {
            let result = create_payment(bad);
            assert!(matches!(result, Err(Error::MalformedBody)), "{}", String::from_utf8_lossy(bad));
        }
        for bad in [r#"{"card":[]}"#, r#"{"card":["4242424242424242",12,2030,"123"]}"#, r#"{"card":"x"}"#] {
            assert!(matches!(create_payment_token(bad.as_bytes()), Err(Error::MalformedBody)), "{bad}");
        }
        for bad in [r#"{"card":{"number":1}}"#, r#"{"card":{"x":1}}"#, r#"{"card":{"cvc":"1","cvc":"1"}}"#] {
            assert!(matches!(create_payment_token(bad.as_bytes()), Err(Error::MalformedBody)), "{bad}");
        }
        for bad in [r#"{"final":1}"#, r#"{"final":"true"}"#, r#"{"amount":1.5}"#] {
            assert!(matches!(capture_payment("x", bad.as_bytes()), Err(Error::MalformedBody)), "{bad}");
        }
        assert!(matches!(nothing(br#"{"merchant_id":"x"}"#), Err(Error::MalformedBody)));
    }
}
