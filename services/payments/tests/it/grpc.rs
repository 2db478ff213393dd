//! The other door: equal outcomes, health, reflection, and what tonic would have answered otherwise.

use futures::StreamExt as _;
use http::Method;
use payments_proto::payments::v1::{
    CaptureMethod, CapturePaymentRequest, CreatePaymentRequest, GetPaymentRequest, PaymentState,
    payment_service_client::PaymentServiceClient,
};
use serde_json::json;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use crate::world::{VISA, World, card};

async fn channel(world: &World) -> Channel {
    Channel::from_shared(format!("http://{}", world.at.grpc)).unwrap().connect().await.unwrap()
}

fn request<T>(message: T, secret: &str, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

fn create(token: &str, reference: &str) -> CreatePaymentRequest {
    CreatePaymentRequest {
        amount: Some(1000),
        currency: Some("USD".into()),
        payment_token: Some(token.into()),
        capture: Some(CaptureMethod::Manual.into()),
        merchant_reference: Some(reference.into()),
        ..CreatePaymentRequest::default()
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}")).reason
}

#[tokio::test]
async fn a_key_answers_the_same_at_both_doors() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let mut client = PaymentServiceClient::new(channel(&world).await);

    let made = client.create_payment(request(create(&token, "k"), &secret, "k")).await.unwrap();
    assert!(made.metadata().get("request-id").unwrap().to_str().unwrap().starts_with("req_"));
    assert!(made.metadata().get("idempotency-replayed").is_none());
    let made = made.into_inner();
    assert_eq!(made.state(), PaymentState::Authorized);
    let again = world.pay(&secret, &token, "manual", "k").await;
    assert_eq!((again.status, again.replayed(), again.text("id")), (201, true, made.id.clone()));
    let back = client.create_payment(request(create(&token, "k"), &secret, "k")).await.unwrap();
    assert_eq!(back.metadata().get("idempotency-replayed").unwrap(), "true");
    assert_eq!(back.into_inner(), made);

    let capture = CapturePaymentRequest { id: Some(made.id.clone()), amount: Some(2000), r#final: None };
    let much = client.capture_payment(request(capture.clone(), &secret, "c")).await.unwrap_err();
    assert_eq!(
        (much.code(), reason(&much).as_str()),
        (Code::FailedPrecondition, "AMOUNT_EXCEEDS_CAPTURABLE")
    );
    let replayed = client.capture_payment(request(capture, &secret, "c")).await.unwrap_err();
    assert_eq!(replayed.metadata().get("idempotency-replayed").unwrap(), "true");
    assert_eq!(replayed.get_details_error_info().unwrap().metadata["payment_id"], made.id);
    let read = request(GetPaymentRequest { id: Some(made.id.clone()) }, &secret, "unused");
    assert_eq!(client.get_payment(read).await.unwrap().into_inner(), made);

    let declined = world.token(&secret, &card("0002")).await;
    let status = client.create_payment(request(create(&declined, "d"), &secret, "d")).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!((status.code(), info.reason.as_str()), (Code::FailedPrecondition, "CARD_DECLINED"));
    assert_eq!(info.metadata["decline_reason"], "do_not_honor");
    world.check_invariants().await;
}

#[tokio::test]
async fn refusals_carry_reasons_and_a_passed_deadline_is_no_cancellation() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, &card("3055")).await;
    let mut client = PaymentServiceClient::new(channel(&world).await);

    let huge = CreatePaymentRequest { description: Some("d".repeat(70_000)), ..create(&token, "k") };
    let huge = client.create_payment(request(huge, &secret, "k")).await.unwrap_err();
    assert_eq!((huge.code(), reason(&huge).as_str()), (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"));
    let odd = CreatePaymentRequest { capture: Some(9), amount: None, ..create(&token, "k") };
    let odd = client.create_payment(request(odd, &secret, "k")).await.unwrap_err();
    let violations = odd.get_error_details().bad_request().unwrap().field_violations.clone();
    let seen: Vec<(&str, &str)> = violations.iter().map(|v| (v.field.as_str(), v.reason.as_str())).collect();
    assert_eq!(seen, [("amount", "REQUIRED"), ("capture", "UNKNOWN_VALUE")]);
    let nobody = client.create_payment(request(create(&token, "k"), "nobody", "k")).await.unwrap_err();
    assert_eq!((nobody.code(), reason(&nobody).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));

    // Past tonic's channel, whose own timer would answer before the service does.
    let raw: hyper_util::client::legacy::Client<_, tonic::body::Body> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .http2_only(true)
            .build_http();
    let origin: http::Uri = format!("http://{}", world.at.grpc).parse().unwrap();
    let mut client = PaymentServiceClient::with_origin(raw.clone(), origin);
    let mut late = request(create(&token, "late"), &secret, "late");
    late.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let late = client.create_payment(late).await.unwrap_err();
    assert_eq!((late.code(), reason(&late).as_str()), (Code::DeadlineExceeded, "OUTCOME_UNKNOWN"));
    let mut over = request(create(&token, "over"), &secret, "over");
    over.metadata_mut().insert("grpc-timeout", "0m".parse().unwrap());
    let over = client.create_payment(over).await.unwrap_err();
    assert_eq!((over.code(), reason(&over).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));

    let call = async |method: &str, sent: &'static [u8]| {
        let uri = format!("http://{}/payments.v1.PaymentService/{method}", world.at.grpc);
        let request = http::Request::builder().method(Method::POST).uri(uri);
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let body = tonic::body::Body::new(http_body_util::Full::new(bytes::Bytes::from_static(sent)));
        let answer = raw.request(request.body(body).unwrap()).await.unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        (status.code(), reason(&status))
    };
    let unknown = call("StealPayment", b"").await;
    assert_eq!(unknown, (Code::Unimplemented, "ROUTE_NOT_FOUND".into()));
    // Nothing; half a prefix; a field that ends early; a message that ends early; a compressed one, in no known way.
    let unreadable: [&[u8]; 5] =
        [b"", b"\0\0", b"\0\0\0\0\x01\x08", b"\0\0\0\0\x09\x08", b"\x01\0\0\0\x01\x08"];
    for sent in unreadable {
        let answer = call("CreatePayment", sent).await;
        assert_eq!(answer, (Code::InvalidArgument, "MALFORMED_BODY".into()), "{sent:?}");
    }
}

#[tokio::test]
async fn health_is_told_per_service_and_an_unknown_one_is_streamed_as_such() {
    let mut world = World::new().await;
    let channel = channel(&world).await;
    let mut health = HealthClient::new(channel.clone());
    let ask = |service: &str| HealthCheckRequest { service: service.into() };

    let mut watched = health.watch(ask("payments.v1.PaymentService")).await.unwrap().into_inner();
    let mut first = watched.message().await.unwrap().unwrap().status();
    if first == ServingStatus::NotServing {
        first = watched.message().await.unwrap().unwrap().status();
    }
    assert_eq!(first, ServingStatus::Serving);
    for service in ["", "payments.v1.AdminService", "payments.v1.VaultService"] {
        let status = health.check(ask(service)).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    assert_eq!(health.check(ask("nobody")).await.unwrap_err().code(), Code::NotFound);
    let mut unknown = health.watch(ask("nobody")).await.unwrap().into_inner();
    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);

    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let open = tokio_stream_of(list).chain(futures::stream::pending());
    let mut answers = reflection.server_reflection_info(open).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(
        names.contains(&"payments.v1.PaymentService") && names.contains(&"grpc.health.v1.Health"),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.starts_with("acquirer.")), "{names:?}");

    world.stop();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watched.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(unknown.message().await.unwrap_err().code(), Code::Unavailable);
    assert!(answers.message().await.unwrap().is_none(), "its stream is open, and ends all the same");
    world.ended().await.unwrap();
}

fn tokio_stream_of<T: Send + 'static>(one: T) -> impl futures::Stream<Item = T> + Send + 'static {
    futures::stream::once(async { one })
}
