//! One twin's side of a payment trace: builds each request from its line and the earlier replies, judges each reply.
//!
//! How a request is spoken and a reply is read is the door's: `over_http` and `over_grpc`.

use std::ops::RangeInclusive;

use anyhow::{Context, bail, ensure};
use http::HeaderValue;
use serde_json::Value;

use super::over_grpc::OverGrpc;
use super::over_http::OverHttp;
use super::vocabulary::MERCHANTS;
use crate::trace::{Door, Line, Trace};
use crate::workload::{Checked, Effect, Player, PlayerTarget, Prepared, Reply, Sampled};

/// What a line asks for, decided once before the first request is due.
#[derive(Debug)]
pub(super) enum Step {
    Tokenize(Card),
    Pay(Pay),
    Capture,
    Refund { amount: u64 },
    Get,
}

/// A card to tokenise.
#[derive(Debug)]
pub(super) struct Card {
    pub number: String,
    pub exp_month: u64,
    pub exp_year: u64,
    pub cvc: String,
}

/// A payment to make with an earlier token.
#[derive(Debug)]
pub(super) struct Pay {
    pub amount: u64,
    pub currency: String,
    pub automatic: bool,
    pub declined: bool,
    pub reference: String,
}

/// What a step needs to be sent, whatever the door.
pub(super) struct Ask<'a> {
    pub step: &'a Step,
    /// The earlier object that it is about; empty for a card.
    pub object: &'a str,
    pub credential: &'a HeaderValue,
    /// Unset for a read.
    pub key: Option<String>,
    pub traceparent: String,
}

/// How a reply went.
pub(super) enum Outcome {
    /// As the step asks; with the id of the object.
    Done(String),
    /// Refused for want of capacity.
    Shed,
    /// In a few words that group well.
    Other(String),
}

/// Plays payment traces; see the module's text.
pub struct PaymentPlayer {
    steps: Vec<Step>,
    merchants: Vec<usize>,
    /// Ids of the objects that earlier requests made, by the number of the request.
    made: Vec<Option<Box<str>>>,
    credentials: Vec<HeaderValue>,
    /// Of the trace: makes keys and references of two traces differ, and those of one trace's two plays equal.
    mark: String,
    sampled: Sampled,
    http: OverHttp,
    /// Unset where the target has no such door; then none of the lines takes it.
    grpc: Option<OverGrpc>,
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
        Ok(Self {
            steps,
            merchants,
            made: vec![None; trace.lines.len()],
            credentials,
            mark,
            sampled: target.sampled,
            http: OverHttp::new(target.addresses.http)?,
            grpc: target.addresses.grpc.map(OverGrpc::new).transpose()?,
            tokens: 0,
            payments: 0,
            captures: 0,
            refunds: 0,
        })
    }

    fn earlier(&self, line: &Line) -> Option<&str> {
        self.made.get(line.needs? as usize)?.as_deref()
    }

    /// The same for the same request of the same trace, whoever gets it: the twins' traces pair by it.
    fn traceparent(&self, id: u64) -> String {
        let flags = u8::from(self.sampled.has(id));
        let parent = (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("00-{}{:016x}-{parent:016x}-{flags:02x}", self.mark, id + 1)
    }
}

impl Player for PaymentPlayer {
    fn greeting(&self, door: Door) -> Option<Prepared> {
        match door {
            Door::Http => self.http.greeting(),
            Door::Http2 => self.http.greeting2(),
            Door::Grpc => self.grpc.as_ref()?.greeting(),
        }
    }

    fn prepare(&mut self, line: &Line) -> Option<Prepared> {
        let step = &self.steps[line.id as usize];
        let object = if line.needs.is_some() { self.earlier(line)? } else { "" };
        let ask = Ask {
            step,
            object,
            credential: &self.credentials[self.merchants[line.id as usize]],
            key: (!matches!(step, Step::Get)).then(|| format!("lt-{}-{}", self.mark, line.id)),
            traceparent: self.traceparent(line.id),
        };
        match line.door {
            Door::Http => self.http.request(ask),
            Door::Http2 => self.http.request2(ask),
            Door::Grpc => self.grpc.as_ref()?.request(ask),
        }
    }

    fn check(&mut self, line: &Line, reply: &Reply, sampled: bool) -> Checked {
        let step = &self.steps[line.id as usize];
        let outcome = match (line.door, &self.grpc) {
            (Door::Grpc, Some(grpc)) => grpc.outcome(step, reply),
            (Door::Http | Door::Http2 | Door::Grpc, _) => self.http.outcome(step, reply),
        };
        let id = match outcome {
            Outcome::Done(id) => id,
            Outcome::Shed => return Checked::Shed,
            Outcome::Other(what) => return Checked::Unexpected(format!("{} {what}", line.operation)),
        };
        match step {
            Step::Tokenize(_) => self.tokens += 1,
            Step::Pay(_) => self.payments += 1,
            Step::Capture => self.captures += 1,
            Step::Refund { .. } => self.refunds += 1,
            Step::Get => {}
        }
        if sampled {
            let object = self.earlier(line).unwrap_or_default();
            let checked = match (line.door, &self.grpc) {
                (Door::Grpc, Some(grpc)) => grpc.check_message(step, object, &reply.body),
                (Door::Http | Door::Http2 | Door::Grpc, _) => self.http.check_body(step, object, &reply.body),
            };
            if let Err(problem) = checked {
                let (operation, code) = (&line.operation, reply.code());
                return Checked::Unexpected(format!("{operation} {code}: {problem}"));
            }
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

/// Refuses a line that isn't of this workload.
pub(super) fn check_line(line: &Line) -> anyhow::Result<()> {
    let merchant = number(line, "merchant")?;
    if merchant >= MERCHANTS as u64 {
        bail!("merchant {merchant}: there are {MERCHANTS}, from 0");
    }
    step(line, "").map(drop)
}

fn step(line: &Line, mark: &str) -> anyhow::Result<Step> {
    let text = |name: &str| {
        let value = line.parameters.get(name).and_then(Value::as_str);
        value.map(str::to_owned).with_context(|| format!("no `{name}`"))
    };
    // They go into JSON as they are, and a trace may be read.
    let of = |name: &str, lengths: RangeInclusive<usize>, what: &str, is: fn(&u8) -> bool| {
        let value = text(name)?;
        ensure!(
            lengths.contains(&value.len()) && value.as_bytes().iter().all(is),
            "`{name}` isn't {} to {} {what}",
            lengths.start(),
            lengths.end()
        );
        Ok(value)
    };
    Ok(match line.operation.as_str() {
        "tokenize" => Step::Tokenize(Card {
            number: of("number", 12..=19, "digits", u8::is_ascii_digit)?,
            exp_month: number(line, "exp_month")?,
            exp_year: number(line, "exp_year")?,
            cvc: of("cvc", 3..=4, "digits", u8::is_ascii_digit)?,
        }),
        "sale" | "authorize" => Step::Pay(Pay {
            amount: number(line, "amount")?,
            currency: of("currency", 3..=3, "capitals", u8::is_ascii_uppercase)?,
            automatic: line.operation == "sale",
            declined: line.parameters.get("declined").and_then(Value::as_bool).unwrap_or(false),
            reference: format!("lt-{mark}-{}", line.id),
        }),
        "capture" => Step::Capture,
        "refund" => Step::Refund { amount: number(line, "amount")? },
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method, StatusCode};

    use super::*;
    use crate::engine::Addresses;
    use crate::payments::Payments;
    use crate::scenario::{Overrides, Scenario};

    const PAYMENT: &str = "pay_01k0000000e0000000000000000";

    /// A short trace, and a player of it.
    fn playing() -> (Trace, PaymentPlayer) {
        sampled(Sampled::default())
    }

    fn sampled(sampled: Sampled) -> (Trace, PaymentPlayer) {
        let overrides = Overrides { pairs: Some(2), ..Overrides::default() };
        let scenario = Scenario::load("checkout", &overrides).unwrap();
        let trace = Trace::draw("checkout", &scenario, &Payments).unwrap();
        let credentials = (0..MERCHANTS).map(|number| format!("tp_live_key{number}")).collect();
        let address = "127.0.0.1:1".parse().unwrap();
        let addresses = Addresses { http: address, grpc: Some(address) };
        let player = PaymentPlayer::new(&trace, &PlayerTarget { addresses, credentials, sampled }).unwrap();
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

    fn reply(status: StatusCode, body: &str) -> Reply {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Reply { status, headers: HeaderMap::new(), body, trailers: None }
    }

    fn payment(line: &Line, state: &str) -> String {
        let (amount, currency) = (&line.parameters["amount"], &line.parameters["currency"]);
        format!(r#"{{"id":"{PAYMENT}","amount":{amount},"currency":{currency},"state":"{state}"}}"#)
    }

    #[test]
    fn a_line_whose_texts_would_make_no_request_is_refused() {
        let (trace, _) = playing();
        let said = |operation: &str, name: &str, value: &str| {
            let mut line = first(&trace, operation, false).clone();
            line.parameters[name] = value.into();
            check_line(&line).err().map(|error| error.to_string())
        };
        assert_eq!(said("tokenize", "number", "4242424242424242"), None);
        assert_eq!(said("tokenize", "number", "12").as_deref(), Some("`number` isn't 12 to 19 digits"));
        assert_eq!(said("tokenize", "cvc", "7\"7").as_deref(), Some("`cvc` isn't 3 to 4 digits"));
        assert_eq!(said("sale", "currency", "usd").as_deref(), Some("`currency` isn't 3 to 3 capitals"));
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
        assert!(header(&a, "traceparent").ends_with("-00"));
        let (_, mut sampled) = sampled(Sampled { share: 1.0, from: 0 });
        assert!(header(&sampled.prepare(line).unwrap(), "traceparent").ends_with("-01"));
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
        let made = reply(StatusCode::CREATED, &payment(pay, "authorized"));
        assert_eq!(player.check(pay, &made, true), Checked::Expected);
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
        let refund = |payment: &str| {
            let amount = &line.parameters["amount"];
            let body =
                format!(r#"{{"id":"ref_x","payment":"{payment}","amount":{amount},"state":"succeeded"}}"#);
            reply(StatusCode::CREATED, &body)
        };
        let other = player.check(line, &refund("pay_other"), true);
        assert!(matches!(other, Checked::Unexpected(_)), "{other:?}");
        assert_eq!(player.check(line, &refund(PAYMENT), true), Checked::Expected);
        assert_eq!(player.effects()[3].name, "refunds");
    }

    #[test]
    fn a_declined_payment_is_expected_to_be_declined() {
        let (trace, mut player) = playing();
        let line = first(&trace, "sale", true);
        let body = format!(r#"{{"reason":"CARD_DECLINED","payment":{}}}"#, payment(line, "declined"));
        let refusal = reply(StatusCode::PAYMENT_REQUIRED, &body);
        assert_eq!(player.check(line, &refusal, true), Checked::Expected);
        assert_eq!(player.made[line.id as usize].as_deref(), Some(PAYMENT));
        let other = player.check(line, &reply(StatusCode::CREATED, &body), false);
        assert_eq!(other, Checked::Unexpected("sale 201 CARD_DECLINED".into()));
    }

    #[test]
    fn refusals_errors_and_wrong_bodies_are_told_apart() {
        let (trace, mut player) = playing();
        let line = first(&trace, "sale", false);
        let mut check = |status: u16, body: &str, sampled| {
            player.check(line, &reply(StatusCode::from_u16(status).unwrap(), body), sampled)
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
