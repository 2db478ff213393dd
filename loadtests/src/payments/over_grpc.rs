//! Payments over gRPC: one message in a frame of five bytes and the message, as gRPC over HTTP/2 asks.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use payments_proto::payments::v1::{
    CaptureMethod, CapturePaymentRequest, Card, CreatePaymentRequest, CreatePaymentTokenRequest,
    CreateRefundRequest, GetPaymentRequest, Payment, PaymentState, PaymentToken, Refund, RefundState,
};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::player::{Ask, Outcome, Step};
use crate::workload::{Prepared, Reply};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
/// Of a frame: not compressed, and the length.
const PREFIX: usize = 5;

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const TOKENIZE: &str = "/payments.v1.VaultService/CreatePaymentToken";
const PAY: &str = "/payments.v1.PaymentService/CreatePayment";
const CAPTURE: &str = "/payments.v1.PaymentService/CapturePayment";
const REFUND: &str = "/payments.v1.PaymentService/CreateRefund";
const GET: &str = "/payments.v1.PaymentService/GetPayment";
/// All of them, as a service's metrics name them: without the first slash.
pub(super) const CALLS: [&str; 5] = [TOKENIZE, PAY, CAPTURE, REFUND, GET];

/// What all replies begin with.
#[derive(Clone, PartialEq, Message)]
struct Object {
    #[prost(string, tag = "1")]
    id: String,
}

/// To one target.
pub(super) struct OverGrpc {
    authority: Authority,
}

impl OverGrpc {
    /// To what listens at `address`.
    pub fn new(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { authority: Authority::try_from(address.to_string())? })
    }

    /// What costs next to nothing: the health of the whole.
    pub fn greeting(&self) -> Option<Prepared> {
        self.calling(HEALTH, Bytes::from_static(&[0; PREFIX]))
    }

    /// The call of a step.
    pub fn request(&self, ask: Ask<'_>) -> Option<Prepared> {
        let (path, message) = call(&ask);
        let mut request = self.calling(path, message)?;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, ask.credential.clone());
        headers.insert(TRACEPARENT, HeaderValue::try_from(ask.traceparent).ok()?);
        if let Some(key) = ask.key {
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(key).ok()?);
        }
        Some(request)
    }

    fn calling(&self, path: &'static str, message: Bytes) -> Option<Prepared> {
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = Method::POST;
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(PathAndQuery::from_static(path));
        *request.uri_mut() = uri.build().ok()?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert(TE, TRAILERS);
        Some(request)
    }

    /// Of a reply to `step`.
    pub fn outcome(&self, step: &Step, reply: &Reply) -> Outcome {
        let declined = matches!(step, Step::Pay(pay) if pay.declined);
        match reply.grpc_code() {
            Some(0) if !declined => match message::<Object>(&reply.body) {
                Ok(object) if !object.id.is_empty() => Outcome::Done(object.id),
                Ok(_) => Outcome::Other("OK: no id in the message".into()),
                Err(problem) => Outcome::Other(format!("OK: {problem}")),
            },
            Some(0) => Outcome::Other("OK".into()),
            Some(_) => refused(reply, declined),
            None => Outcome::Other(format!("{} without grpc-status", reply.status.as_u16())),
        }
    }

    /// Looks at the fields whose values follow from the request; `object` is the earlier one that it is about.
    pub fn check_message(&self, step: &Step, object: &str, body: &Bytes) -> Result<(), String> {
        match step {
            Step::Tokenize(card) => {
                let last4 = message::<PaymentToken>(body)?.card.unwrap_or_default().last4;
                same("last4", last4.as_str(), &card.number[card.number.len() - 4..])
            }
            // Its payment is in the details of its status.
            Step::Pay(pay) if pay.declined => Ok(()),
            Step::Pay(pay) => {
                let payment = message::<Payment>(body)?;
                let state = if pay.automatic { PaymentState::Captured } else { PaymentState::Authorized };
                same("amount", payment.amount, pay.amount as i64)?;
                same("currency", payment.currency.as_str(), &pay.currency)?;
                same("state", payment.state(), state)
            }
            Step::Capture => same("state", message::<Payment>(body)?.state(), PaymentState::Captured),
            Step::Refund { amount } => {
                let refund = message::<Refund>(body)?;
                same("payment", refund.payment.as_str(), object)?;
                same("amount", refund.amount, *amount as i64)?;
                same("state", refund.state(), RefundState::Succeeded)
            }
            Step::Get => same("id", message::<Payment>(body)?.id.as_str(), object),
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(name: &str, got: T, wanted: T) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("`{name}` is {got:?}, wanted {wanted:?}")) }
}

/// Path and framed message.
fn call(ask: &Ask<'_>) -> (&'static str, Bytes) {
    let id = || Some(ask.object.to_owned());
    match ask.step {
        Step::Tokenize(card) => {
            let card = Card {
                number: Some(card.number.clone()),
                exp_month: Some(card.exp_month as i32),
                exp_year: Some(card.exp_year as i32),
                cvc: Some(card.cvc.clone()),
            };
            (TOKENIZE, framed(&CreatePaymentTokenRequest { card: Some(card) }))
        }
        Step::Pay(pay) => {
            let capture = if pay.automatic { CaptureMethod::Automatic } else { CaptureMethod::Manual };
            let payment = CreatePaymentRequest {
                amount: Some(pay.amount as i64),
                currency: Some(pay.currency.clone()),
                payment_token: id(),
                capture: Some(capture.into()),
                merchant_reference: Some(pay.reference.clone()),
                ..CreatePaymentRequest::default()
            };
            (PAY, framed(&payment))
        }
        Step::Capture => {
            (CAPTURE, framed(&CapturePaymentRequest { id: id(), ..CapturePaymentRequest::default() }))
        }
        Step::Refund { .. } => {
            (REFUND, framed(&CreateRefundRequest { id: id(), ..CreateRefundRequest::default() }))
        }
        Step::Get => (GET, framed(&GetPaymentRequest { id: id() })),
    }
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(length as u32);
    message.encode_raw(&mut frame);
    frame.freeze()
}

/// Of a reply's body.
fn message<M: Message + Default>(body: &Bytes) -> Result<M, String> {
    let mut rest = body.clone();
    let whole = rest.try_get_u8() == Ok(0) && rest.try_get_u32() == Ok(rest.remaining() as u32);
    if !whole {
        return Err("a badly framed message".into());
    }
    M::decode(rest).map_err(|error| format!("the message can't be decoded: {error}"))
}

/// A reply with another status than OK.
fn refused(reply: &Reply, declined: bool) -> Outcome {
    let headers = reply.trailers.as_ref().unwrap_or(&reply.headers);
    let status = Status::from_header_map(headers).unwrap_or_else(|| Status::unknown("no status"));
    let Some(info) = status.get_details_error_info() else {
        return Outcome::Other(format!("{:?} without ErrorInfo", status.code()));
    };
    match (status.code(), info.reason.as_str()) {
        (Code::FailedPrecondition, "CARD_DECLINED") if declined => match info.metadata.get("payment_id") {
            Some(id) => Outcome::Done(id.clone()),
            None => Outcome::Other("CARD_DECLINED without payment_id".into()),
        },
        (Code::Unavailable | Code::ResourceExhausted, "OVERLOADED") => Outcome::Shed,
        (code, reason) => Outcome::Other(format!("{code:?} {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::payments::player::Pay;

    const PAYMENT: &str = "pay_01k0000000e0000000000000000";

    fn door() -> OverGrpc {
        OverGrpc::new("127.0.0.1:9".parse().unwrap()).unwrap()
    }

    fn sale(declined: bool) -> Step {
        let (currency, reference) = ("USD".to_owned(), "lt-1".to_owned());
        Step::Pay(Pay { amount: 500, currency, automatic: true, declined, reference })
    }

    fn reply(status: Status, message: Option<Payment>) -> Reply {
        let headers = status.into_http::<()>().into_parts().0.headers;
        let body = message.as_ref().map(framed).unwrap_or_default();
        Reply { status: StatusCode::OK, headers: HeaderMap::new(), body, trailers: Some(headers) }
    }

    fn refusal(code: Code, reason: &str) -> Reply {
        let metadata = [("payment_id".to_owned(), PAYMENT.to_owned())];
        let details = ErrorDetails::with_error_info(reason, "twinpay.dev", metadata);
        reply(Status::with_error_details(code, "no", details), None)
    }

    fn payment() -> Payment {
        let state = PaymentState::Captured.into();
        Payment { id: PAYMENT.into(), amount: 500, currency: "USD".into(), state, ..Payment::default() }
    }

    fn said(step: &Step, reply: &Reply) -> String {
        match door().outcome(step, reply) {
            Outcome::Done(id) => id,
            Outcome::Shed => "shed".into(),
            Outcome::Other(what) => what,
        }
    }

    #[test]
    fn a_call_has_its_path_its_metadata_and_one_framed_message() {
        let credential = HeaderValue::from_static("Bearer k");
        let (step, traceparent) = (sale(false), "00-1-2-00".to_owned());
        let key = Some("lt-7".to_owned());
        let ask = Ask { step: &step, object: "ptk_x", credential: &credential, key, traceparent };
        let request = door().request(ask).unwrap();
        assert_eq!(request.uri().to_string(), "http://127.0.0.1:9/payments.v1.PaymentService/CreatePayment");
        assert_eq!(request.headers()["idempotency-key"], "lt-7");
        assert_eq!(request.headers()["te"], "trailers");
        let Step::Pay(pay) = &step else { panic!("a payment") };
        let (_, frame) = call(&Ask {
            step: &step,
            object: "ptk_x",
            credential: &credential,
            key: None,
            traceparent: String::new(),
        });
        let sent: CreatePaymentRequest = message(&frame).unwrap();
        assert_eq!((sent.payment_token.as_deref(), sent.amount), (Some("ptk_x"), Some(pay.amount as i64)));
        assert_eq!(sent.capture(), CaptureMethod::Automatic);
    }

    #[test]
    fn replies_are_told_apart() {
        let (good, bad) = (sale(false), sale(true));
        let made = reply(Status::ok(""), Some(payment()));
        assert_eq!(said(&good, &made), PAYMENT);
        assert_eq!(said(&bad, &made), "OK");
        assert_eq!(said(&bad, &refusal(Code::FailedPrecondition, "CARD_DECLINED")), PAYMENT);
        let declined = refusal(Code::FailedPrecondition, "CARD_DECLINED");
        assert_eq!(said(&good, &declined), "FailedPrecondition CARD_DECLINED");
        assert_eq!(said(&good, &refusal(Code::Unavailable, "OVERLOADED")), "shed");
        let network = refusal(Code::Unavailable, "ACQUIRER_UNAVAILABLE");
        assert_eq!(said(&good, &network), "Unavailable ACQUIRER_UNAVAILABLE");
        let nameless = reply(Status::internal("oops"), None);
        assert_eq!(said(&good, &nameless), "Internal without ErrorInfo");
        let empty = reply(Status::ok(""), None);
        assert_eq!(said(&good, &empty), "OK: a badly framed message");
        let no_id = reply(Status::ok(""), Some(Payment::default()));
        assert_eq!(said(&good, &no_id), "OK: no id in the message");
        let plain = Reply { trailers: None, ..reply(Status::ok(""), None) };
        assert_eq!(said(&good, &plain), "200 without grpc-status");
    }

    #[test]
    fn a_sampled_message_is_held_against_the_request() {
        let body = framed(&payment());
        let check = |step: &Step, object: &str| door().check_message(step, object, &body);
        assert_eq!(check(&sale(false), ""), Ok(()));
        assert_eq!(check(&Step::Get, PAYMENT), Ok(()));
        assert_eq!(check(&Step::Get, "pay_2"), Err(format!("`id` is \"{PAYMENT}\", wanted \"pay_2\"")));
        let Step::Pay(pay) = sale(false) else { panic!("a payment") };
        let other = Step::Pay(Pay { amount: 501, ..pay });
        assert_eq!(check(&other, ""), Err("`amount` is 500, wanted 501".into()));
    }
}
