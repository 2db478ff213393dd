//! Payments over HTTP: paths, headers and JSON.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use serde_json::Value;

use super::player::{Ask, Outcome, Step};
use crate::workload::{Prepared, Reply};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Where all requests of a load go, as a service's metrics name it.
pub(super) const ROUTES: [&str; 5] = [
    "/v1/payment_tokens",
    "/v1/payments",
    "/v1/payments/{id}",
    "/v1/payments/{id}/capture",
    "/v1/payments/{id}/refunds",
];

/// To one target.
pub(super) struct OverHttp {
    host: HeaderValue,
    authority: Authority,
}

impl OverHttp {
    /// To what listens at `address`.
    pub fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let authority = Authority::try_from(address.to_string())?;
        Ok(Self { host: HeaderValue::try_from(authority.as_str())?, authority })
    }

    /// What costs next to nothing, over HTTP/1.1.
    pub fn greeting(&self) -> Option<Prepared> {
        Some(self.to_host(Request::get("/livez").body(Full::default()).ok()?))
    }

    /// And over HTTP/2.
    pub fn greeting2(&self) -> Option<Prepared> {
        self.to_authority(Request::get("/livez").body(Full::default()).ok()?)
    }

    /// A step's request over HTTP/1.1.
    pub fn request(&self, ask: Ask<'_>) -> Option<Prepared> {
        Some(self.to_host(build(ask)?))
    }

    /// And over HTTP/2.
    pub fn request2(&self, ask: Ask<'_>) -> Option<Prepared> {
        self.to_authority(build(ask)?)
    }

    /// HTTP/1.1: the authority is the header `Host`.
    fn to_host(&self, mut request: Prepared) -> Prepared {
        request.headers_mut().insert(HOST, self.host.clone());
        request
    }

    /// HTTP/2: the authority is a part of the URI.
    fn to_authority(&self, mut request: Prepared) -> Option<Prepared> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        Some(request)
    }

    /// Of a reply to `step`.
    pub fn outcome(&self, step: &Step, reply: &Reply) -> Outcome {
        let wanted = match step {
            Step::Pay(pay) if pay.declined => StatusCode::PAYMENT_REQUIRED,
            Step::Tokenize(_) | Step::Pay(_) | Step::Refund { .. } => StatusCode::CREATED,
            Step::Capture | Step::Get => StatusCode::OK,
        };
        let (status, code) = (reply.status, reply.status.as_u16());
        if status != wanted {
            let reason = reason(&reply.body);
            if status == StatusCode::SERVICE_UNAVAILABLE && reason == "OVERLOADED" {
                return Outcome::Shed;
            }
            return Outcome::Other(format!("{code} {reason}"));
        }
        match object_id(&reply.body, status) {
            Some(id) => Outcome::Done(id.to_owned()),
            None => Outcome::Other(format!("{code}: no id in the body")),
        }
    }

    /// Looks at the members whose values follow from the request; `object` is the earlier one that it is about.
    pub fn check_body(&self, step: &Step, object: &str, body: &Bytes) -> Result<(), String> {
        let reply: Value = serde_json::from_slice(body).map_err(|_| "the body isn't JSON".to_owned())?;
        let member = |of: &Value, name: &str, wanted: Value| {
            let got = of.get(name).unwrap_or(&Value::Null);
            if *got == wanted { Ok(()) } else { Err(format!("`{name}` is {got}, wanted {wanted}")) }
        };
        match step {
            Step::Tokenize(card) => {
                let last4 = &card.number[card.number.len() - 4..];
                member(reply.get("card").unwrap_or(&Value::Null), "last4", last4.into())
            }
            Step::Pay(pay) => {
                let payment =
                    if pay.declined { reply.get("payment").unwrap_or(&Value::Null) } else { &reply };
                let state = match (pay.declined, pay.automatic) {
                    (true, _) => "declined",
                    (false, true) => "captured",
                    (false, false) => "authorized",
                };
                member(payment, "amount", pay.amount.into())?;
                member(payment, "currency", pay.currency.as_str().into())?;
                member(payment, "state", state.into())
            }
            Step::Capture => member(&reply, "state", "captured".into()),
            Step::Refund { amount } => {
                member(&reply, "payment", object.into())?;
                member(&reply, "amount", (*amount).into())?;
                member(&reply, "state", "succeeded".into())
            }
            Step::Get => member(&reply, "id", object.into()),
        }
    }
}

fn build(ask: Ask<'_>) -> Option<Prepared> {
    let object = ask.object;
    let (method, path, body) = match ask.step {
        Step::Tokenize(card) => (
            Method::POST,
            Uri::from_static("/v1/payment_tokens"),
            format!(
                r#"{{"card":{{"number":"{}","exp_month":{},"exp_year":{},"cvc":"{}"}}}}"#,
                card.number, card.exp_month, card.exp_year, card.cvc
            ),
        ),
        Step::Pay(pay) => (
            Method::POST,
            Uri::from_static("/v1/payments"),
            format!(
                r#"{{"amount":{},"currency":"{}","payment_token":"{object}","capture":"{}","merchant_reference":"{}"}}"#,
                pay.amount,
                pay.currency,
                if pay.automatic { "automatic" } else { "manual" },
                pay.reference,
            ),
        ),
        Step::Capture => (Method::POST, uri(format!("/v1/payments/{object}/capture"))?, "{}".into()),
        Step::Refund { .. } => (Method::POST, uri(format!("/v1/payments/{object}/refunds"))?, "{}".into()),
        Step::Get => (Method::GET, uri(format!("/v1/payments/{object}"))?, String::new()),
    };
    // Every part was made here from hex, digits and ids: it is a valid request.
    let mut request = Request::new(Full::new(body.into()));
    *request.method_mut() = method;
    *request.uri_mut() = path;
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, ask.credential.clone());
    headers.insert(TRACEPARENT, HeaderValue::try_from(ask.traceparent).ok()?);
    if let Some(key) = ask.key {
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(key).ok()?);
    }
    Some(request)
}

fn uri(path: String) -> Option<Uri> {
    Uri::try_from(path).ok()
}

/// The id of the object in a reply. Objects begin with their id and a decline carries its payment, so nothing needs
/// to be parsed on the hot path; the sampled bodies are.
fn object_id(body: &[u8], status: StatusCode) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let object =
        if status == StatusCode::PAYMENT_REQUIRED { text.split_once(r#""payment":"#)?.1 } else { text };
    object.strip_prefix(r#"{"id":""#)?.split_once('"').map(|(id, _)| id)
}

/// Of a problem: one of few texts, so that they can be counted.
fn reason(body: &Bytes) -> String {
    let problem = serde_json::from_slice::<Value>(body).unwrap_or_default();
    problem.get("reason").and_then(Value::as_str).unwrap_or("no reason given").to_owned()
}
