//! One twin's side of a payment trace: builds each request from its line and the earlier replies, judges each reply.

use std::fmt::Write as _;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use crate::trace::{Line, Trace};
use crate::workload::{Checked, Effect, Player, PlayerTarget, Prepared};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a line asks for, decided once before the first request is due.
enum Step {
    Tokenize { body: Bytes },
    Pay { head: String, tail: String, automatic: bool, declined: bool },
    Capture,
    Refund,
    Get,
}

/// Plays payment traces; see the module's text.
pub struct PaymentPlayer {
    steps: Vec<Step>,
    merchants: Vec<usize>,
    /// Ids of the objects that earlier requests made, by the number of the request.
    made: Vec<Option<Box<str>>>,
    host: HeaderValue,
    credentials: Vec<HeaderValue>,
    /// Of the trace: makes keys and references of two traces differ, and those of one trace's two plays equal.
    mark: String,
    tokens: u64,
    payments: u64,
    captures: u64,
    refunds: u64,
}

impl PaymentPlayer {
    /// Prepares to play `trace` for the target; fails on lines that aren't of this workload.
    pub fn new(trace: &Trace, target: &PlayerTarget) -> anyhow::Result<Self> {
        let credential = |key: &String| {
            let mut value = HeaderValue::try_from(format!("Bearer {key}"))?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        };
        let credentials = target.credentials.iter().map(credential).collect::<Result<Vec<_>, _>>()?;
        let mark = trace.sha256[..16].to_owned();
        let (mut steps, mut merchants) = (Vec::new(), Vec::new());
        for line in &trace.lines {
            let merchant = number(line, "merchant")? as usize;
            if merchant >= credentials.len() {
                bail!("request {}: merchant {merchant} has no API key", line.id);
            }
            merchants.push(merchant);
            steps.push(step(line, &mark).with_context(|| format!("request {}", line.id))?);
        }
        let made = vec![None; trace.lines.len()];
        let host = HeaderValue::try_from(&target.authority)?;
        Ok(Self {
            steps,
            merchants,
            made,
            host,
            credentials,
            mark,
            tokens: 0,
            payments: 0,
            captures: 0,
            refunds: 0,
        })
    }

    fn earlier(&self, line: &Line) -> Option<&str> {
        self.made.get(line.needs? as usize)?.as_deref()
    }

    /// The same for the same request of the same trace, whoever gets it: the twins' traces pair by it. Not sampled:
    /// tracing stays off while timing.
    fn traceparent(&self, id: u64) -> String {
        format!("00-{}{:016x}-{:016x}-00", self.mark, id + 1, (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn request(&self, line: &Line, method: Method, path: &str, body: Option<Bytes>) -> Option<Prepared> {
        let merchant = self.merchants[line.id as usize];
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.host.clone())
            .header(AUTHORIZATION, self.credentials[merchant].clone())
            .header(TRACEPARENT, self.traceparent(line.id));
        if body.is_some() {
            request = request
                .header(CONTENT_TYPE, JSON)
                .header(IDEMPOTENCY_KEY, format!("lt-{}-{}", self.mark, line.id));
        }
        // Every part was made here from hex, digits and ids: it is a valid request.
        request.body(Full::new(body.unwrap_or_default())).ok()
    }
}

impl Player for PaymentPlayer {
    fn prepare(&mut self, line: &Line) -> Option<Prepared> {
        match &self.steps[line.id as usize] {
            Step::Tokenize { body } => {
                self.request(line, Method::POST, "/v1/payment_tokens", Some(body.clone()))
            }
            Step::Pay { head, tail, .. } => {
                let token = self.earlier(line)?;
                let mut body = String::with_capacity(head.len() + token.len() + tail.len());
                let _ = write!(body, "{head}{token}{tail}");
                self.request(line, Method::POST, "/v1/payments", Some(body.into()))
            }
            Step::Capture => {
                let path = format!("/v1/payments/{}/capture", self.earlier(line)?);
                self.request(line, Method::POST, &path, Some(Bytes::from_static(b"{}")))
            }
            Step::Refund => {
                let path = format!("/v1/payments/{}/refunds", self.earlier(line)?);
                self.request(line, Method::POST, &path, Some(Bytes::from_static(b"{}")))
            }
            Step::Get => {
                let path = format!("/v1/payments/{}", self.earlier(line)?);
                self.request(line, Method::GET, &path, None)
            }
        }
    }

    fn check(&mut self, line: &Line, status: StatusCode, body: &Bytes, sampled: bool) -> Checked {
        let wanted = match &self.steps[line.id as usize] {
            Step::Tokenize { .. } => StatusCode::CREATED,
            Step::Pay { declined: true, .. } => StatusCode::PAYMENT_REQUIRED,
            Step::Pay { .. } | Step::Refund => StatusCode::CREATED,
            Step::Capture | Step::Get => StatusCode::OK,
        };
        if status != wanted {
            let reason = reason(body);
            if status == StatusCode::SERVICE_UNAVAILABLE && reason == "OVERLOADED" {
                return Checked::Shed;
            }
            return Checked::Unexpected(format!("{} {} {reason}", line.operation, status.as_u16()));
        }
        let Some(id) = object_id(body, status) else {
            return Checked::Unexpected(format!("{} {}: no id in the body", line.operation, status.as_u16()));
        };
        match &self.steps[line.id as usize] {
            Step::Tokenize { .. } => self.tokens += 1,
            Step::Pay { .. } => self.payments += 1,
            Step::Capture => self.captures += 1,
            Step::Refund => self.refunds += 1,
            Step::Get => {}
        }
        if sampled && let Err(problem) = self.check_body(line, body) {
            return Checked::Unexpected(format!("{} {}: {problem}", line.operation, status.as_u16()));
        }
        self.made[line.id as usize] = Some(id.into());
        Checked::Expected
    }

    fn effects(&self) -> Vec<Effect> {
        let effect = |name, count| Effect { name, count };
        vec![
            effect("payment tokens", self.tokens),
            effect("payments", self.payments),
            effect("captures", self.captures),
            effect("refunds", self.refunds),
        ]
    }
}

impl PaymentPlayer {
    /// Looks at the members whose values follow from the request.
    fn check_body(&self, line: &Line, body: &Bytes) -> Result<(), String> {
        let reply: Value = serde_json::from_slice(body).map_err(|_| "the body isn't JSON".to_owned())?;
        let member = |object: &Value, name: &str, wanted: &Value| {
            let got = object.get(name).unwrap_or(&Value::Null);
            if got == wanted { Ok(()) } else { Err(format!("`{name}` is {got}, wanted {wanted}")) }
        };
        match &self.steps[line.id as usize] {
            Step::Tokenize { .. } => {
                let last4 = line.parameters["number"]
                    .as_str()
                    .map(|number| &number[number.len() - 4..])
                    .unwrap_or_default();
                member(reply.get("card").unwrap_or(&Value::Null), "last4", &last4.into())
            }
            Step::Pay { automatic, declined, .. } => {
                let payment = if *declined { reply.get("payment").unwrap_or(&Value::Null) } else { &reply };
                let state = if *declined {
                    "declined"
                } else if *automatic {
                    "captured"
                } else {
                    "authorized"
                };
                member(payment, "amount", &line.parameters["amount"])?;
                member(payment, "currency", &line.parameters["currency"])?;
                member(payment, "state", &state.into())
            }
            Step::Capture => member(&reply, "state", &"captured".into()),
            Step::Refund => {
                member(&reply, "payment", &self.earlier(line).unwrap_or_default().into())?;
                member(&reply, "amount", &line.parameters["amount"])?;
                member(&reply, "state", &"succeeded".into())
            }
            Step::Get => member(&reply, "id", &self.earlier(line).unwrap_or_default().into()),
        }
    }
}

fn step(line: &Line, mark: &str) -> anyhow::Result<Step> {
    let text = |name: &str| {
        line.parameters.get(name).and_then(Value::as_str).with_context(|| format!("no `{name}`"))
    };
    Ok(match line.operation.as_str() {
        "tokenize" => {
            let (card_number, cvc) = (text("number")?, text("cvc")?);
            let (month, year) = (number(line, "exp_month")?, number(line, "exp_year")?);
            let body = format!(
                r#"{{"card":{{"number":"{card_number}","exp_month":{month},"exp_year":{year},"cvc":"{cvc}"}}}}"#
            );
            Step::Tokenize { body: body.into() }
        }
        "sale" | "authorize" => {
            let automatic = line.operation == "sale";
            let (amount, currency) = (number(line, "amount")?, text("currency")?);
            let capture = if automatic { "automatic" } else { "manual" };
            Step::Pay {
                head: format!(r#"{{"amount":{amount},"currency":"{currency}","payment_token":""#),
                tail: format!(r#"","capture":"{capture}","merchant_reference":"lt-{mark}-{}"}}"#, line.id),
                automatic,
                declined: line.parameters.get("declined").and_then(Value::as_bool).unwrap_or(false),
            }
        }
        "capture" => Step::Capture,
        "refund" => Step::Refund,
        "get" => Step::Get,
        other => bail!("unknown operation `{other}`"),
    })
}

fn number(line: &Line, name: &str) -> anyhow::Result<u64> {
    line.parameters
        .get(name)
        .and_then(Value::as_u64)
        .with_context(|| format!("request {}: no number `{name}`", line.id))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::{MERCHANTS, Payments};
    use crate::scenario::{Overrides, Scenario};

    const PAYMENT: &str = "pay_01k0000000e0000000000000000";

    /// A short trace, and a player of it.
    fn playing() -> (Trace, PaymentPlayer) {
        let overrides = Overrides { pairs: Some(2), ..Overrides::default() };
        let scenario = Scenario::load("checkout", &overrides).unwrap();
        let trace = Trace::draw("checkout", &scenario, &Payments).unwrap();
        let credentials = (0..MERCHANTS).map(|number| format!("tp_live_key{number}")).collect();
        let player =
            PaymentPlayer::new(&trace, &PlayerTarget { authority: "a:1".into(), credentials }).unwrap();
        (trace, player)
    }

    fn first<'a>(trace: &'a Trace, operation: &str, declined: bool) -> &'a Line {
        let wanted = |line: &&Line| {
            line.operation == operation && (line.parameters.get("declined") == Some(&true.into())) == declined
        };
        trace.lines.iter().find(wanted).unwrap()
    }

    fn header<'a>(request: &'a Prepared, name: &str) -> &'a str {
        request.headers()[name].to_str().unwrap()
    }

    fn payment(line: &Line, state: &str) -> String {
        let (amount, currency) = (&line.parameters["amount"], &line.parameters["currency"]);
        format!(r#"{{"id":"{PAYMENT}","amount":{amount},"currency":{currency},"state":"{state}"}}"#)
    }

    #[test]
    fn both_services_get_the_same_request() {
        let ((trace, mut one), (_, mut other)) = (playing(), playing());
        let line = first(&trace, "tokenize", false);
        let (a, b) = (one.prepare(line).unwrap(), other.prepare(line).unwrap());
        assert_eq!((a.uri(), a.headers()), (b.uri(), b.headers()));
        assert_eq!((a.method(), a.uri().path()), (&Method::POST, "/v1/payment_tokens"));
        assert_eq!(header(&a, "idempotency-key"), format!("lt-{}-{}", &trace.sha256[..16], line.id));
        assert_eq!(header(&a, "traceparent").len(), 55);
        assert!(header(&a, "traceparent").starts_with(&format!("00-{}", &trace.sha256[..16])));
    }

    #[test]
    fn a_payment_waits_for_its_token_and_is_then_the_object_of_capture_and_get() {
        let (trace, mut player) = playing();
        let pay = first(&trace, "authorize", false);
        assert!(player.prepare(pay).is_none());
        player.made[pay.needs.unwrap() as usize] = Some("ptk_x".into());
        assert_eq!(player.prepare(pay).unwrap().uri().path(), "/v1/payments");
        let capture = trace
            .lines
            .iter()
            .find(|line| line.operation == "capture" && line.needs == Some(pay.id))
            .unwrap();
        assert!(player.prepare(capture).is_none());
        let reply = Bytes::from(payment(pay, "authorized"));
        assert_eq!(player.check(pay, StatusCode::CREATED, &reply, true), Checked::Expected);
        assert_eq!(player.prepare(capture).unwrap().uri().path(), format!("/v1/payments/{PAYMENT}/capture"));
        assert_eq!(player.effects()[1], Effect { name: "payments", count: 1 });
    }

    #[test]
    fn a_refund_is_of_the_sale_before_it() {
        let (trace, mut player) = playing();
        let line = trace.lines.iter().find(|line| line.operation == "refund").unwrap();
        assert!(player.prepare(line).is_none());
        player.made[line.needs.unwrap() as usize] = Some(PAYMENT.into());
        assert_eq!(player.prepare(line).unwrap().uri().path(), format!("/v1/payments/{PAYMENT}/refunds"));
        let reply = |payment: &str| {
            let amount = &line.parameters["amount"];
            Bytes::from(format!(
                r#"{{"id":"ref_x","payment":"{payment}","amount":{amount},"state":"succeeded"}}"#
            ))
        };
        let other = player.check(line, StatusCode::CREATED, &reply("pay_other"), true);
        assert!(matches!(other, Checked::Unexpected(_)), "{other:?}");
        assert_eq!(player.check(line, StatusCode::CREATED, &reply(PAYMENT), true), Checked::Expected);
        assert_eq!(player.effects()[3].name, "refunds");
    }

    #[test]
    fn a_declined_payment_is_expected_to_be_declined() {
        let (trace, mut player) = playing();
        let line = first(&trace, "sale", true);
        let body =
            Bytes::from(format!(r#"{{"reason":"CARD_DECLINED","payment":{}}}"#, payment(line, "declined")));
        assert_eq!(player.check(line, StatusCode::PAYMENT_REQUIRED, &body, true), Checked::Expected);
        assert_eq!(player.made[line.id as usize].as_deref(), Some(PAYMENT));
        let other = player.check(line, StatusCode::CREATED, &body, false);
        assert_eq!(other, Checked::Unexpected("sale 201 CARD_DECLINED".into()));
    }

    #[test]
    fn refusals_errors_and_wrong_bodies_are_told_apart() {
        let (trace, mut player) = playing();
        let line = first(&trace, "sale", false);
        let mut check = |status: u16, body: &str, sampled| {
            player.check(
                line,
                StatusCode::from_u16(status).unwrap(),
                &Bytes::copy_from_slice(body.as_bytes()),
                sampled,
            )
        };
        let unexpected = |what: &str| Checked::Unexpected(what.into());
        assert_eq!(check(503, r#"{"reason":"OVERLOADED"}"#, false), Checked::Shed);
        assert_eq!(
            check(503, r#"{"reason":"ACQUIRER_UNAVAILABLE"}"#, false),
            unexpected("sale 503 ACQUIRER_UNAVAILABLE")
        );
        assert_eq!(check(500, "oops", false), unexpected("sale 500 no reason given"));
        assert_eq!(check(201, "{}", false), unexpected("sale 201: no id in the body"));
        let wrong = payment(line, "authorized");
        assert_eq!(
            check(201, &wrong, true),
            unexpected("sale 201: `state` is \"authorized\", wanted \"captured\"")
        );
        assert_eq!(check(201, &payment(line, "captured"), true), Checked::Expected);
    }
}
