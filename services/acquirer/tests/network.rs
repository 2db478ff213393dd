//! The network over a real socket: each card, each rule.

use std::time::{Duration, Instant};

use acquirer::latency::Latency;
use acquirer::telemetry::Telemetry;
use acquirer::{Config, Network, serve};
use payments_proto::acquirer::v1::acquirer_service_client::AcquirerServiceClient;
use payments_proto::acquirer::v1::{
    AuthorizeRequest, CaptureRequest, DeclineReason, GetOperationRequest, Outcome, ProvisionTokenRequest,
    RefundRequest, Result as Decision, SaleRequest, VoidRequest,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Channel;
use tonic::{Code, Request};

type Client = AcquirerServiceClient<Channel>;

fn config() -> Config {
    let addr = "127.0.0.1:0".parse().expect("an address");
    Config { addr, latency: Latency::Fixed(Duration::ZERO), seed: 1, error_rate: 0.0, log: None }
}

/// A network of this test's own. It ends with the sender.
async fn network(config: Config) -> (Client, oneshot::Sender<()>) {
    let listener = TcpListener::bind(config.addr).await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel();
    let network = Network::open(config).expect("no log to open");
    tokio::spawn(serve(listener, network, Telemetry::default(), async move {
        stopped.await.ok();
    }));
    let client = AcquirerServiceClient::connect(format!("http://{addr}")).await.expect("connects");
    (client, stop)
}

fn card(ending: &str) -> String {
    let luhn = |number: &str| {
        let digits = number.bytes().rev().map(|digit| u32::from(digit - b'0')).enumerate();
        digits.map(|(i, d)| if i % 2 == 0 { d } else { d * 2 / 10 + d * 2 % 10 }).sum::<u32>() % 10 == 0
    };
    (0..10)
        .map(|filler| format!("40000000000{filler}{ending}"))
        .find(|number| luhn(number))
        .expect("some filler fits")
}

fn provision(id: &str, number: &str) -> ProvisionTokenRequest {
    let (operation_id, card_number) = (id.into(), number.into());
    ProvisionTokenRequest { operation_id, card_number, exp_month: 12, exp_year: 2030, cvc: "123".into() }
}

async fn token(client: &mut Client, ending: &str) -> String {
    let request = provision(&format!("provision-{ending}"), &card(ending));
    client.provision_token(request).await.expect("always succeeds").into_inner().network_token
}

fn sale(id: &str, token: &str) -> SaleRequest {
    SaleRequest { operation_id: id.into(), network_token: token.into(), amount: 500, currency: "USD".into() }
}

fn authorize(id: &str, token: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        operation_id: id.into(),
        network_token: token.into(),
        amount: 500,
        currency: "USD".into(),
    }
}

fn capture(id: &str, token: &str) -> CaptureRequest {
    CaptureRequest {
        operation_id: id.into(),
        network_token: token.into(),
        amount: 500,
        currency: "USD".into(),
    }
}

fn void(id: &str, token: &str) -> VoidRequest {
    VoidRequest { operation_id: id.into(), network_token: token.into(), amount: 500, currency: "USD".into() }
}

fn refund(id: &str, token: &str) -> RefundRequest {
    RefundRequest {
        operation_id: id.into(),
        network_token: token.into(),
        amount: 500,
        currency: "USD".into(),
    }
}

fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn decision(outcome: Outcome, reason: DeclineReason) -> Option<Decision> {
    Some(Decision { outcome: outcome.into(), decline_reason: reason.into() })
}

fn approved() -> Option<Decision> {
    decision(Outcome::Approved, DeclineReason::Unspecified)
}

#[tokio::test]
async fn each_card_is_answered_as_the_script_says() {
    let (mut client, _stop) = network(config()).await;
    let declined = |reason| decision(Outcome::Declined, reason);
    let refused = decision(Outcome::Refused, DeclineReason::Unspecified);
    for (ending, authorization, refuses) in [
        ("4242", approved(), ""),
        ("0002", declined(DeclineReason::DoNotHonor), ""),
        ("9995", declined(DeclineReason::InsufficientFunds), ""),
        ("0069", declined(DeclineReason::ExpiredCard), ""),
        ("0127", declined(DeclineReason::IncorrectCvc), ""),
        ("9987", declined(DeclineReason::LostOrStolen), ""),
        ("0119", declined(DeclineReason::ProcessingError), ""),
        ("3071", approved(), "Capture"),
        ("3089", approved(), "Void"),
        ("3097", approved(), "Refund"),
        ("1234", approved(), ""),
    ] {
        let token = token(&mut client, ending).await;
        let reply = client.authorize(authorize(&format!("a-{ending}"), &token)).await.expect("answers");
        assert_eq!(reply.into_inner().result, authorization, "authorise {ending}");
        let reply = client.sale(sale(&format!("s-{ending}"), &token)).await.expect("answers");
        assert_eq!(reply.into_inner().result, authorization, "sale {ending}");
        let [c, v, r] = ["c", "v", "r"].map(|verb| format!("{verb}-{ending}"));
        let captured = client.capture(capture(&c, &token)).await.expect("answers").into_inner().result;
        let voided = client.void(void(&v, &token)).await.expect("answers").into_inner().result;
        let refunded = client.refund(refund(&r, &token)).await.expect("answers").into_inner().result;
        for (rpc, id, result) in [("Capture", c, captured), ("Void", v, voided), ("Refund", r, refunded)] {
            assert_eq!(result, if rpc == refuses { refused } else { approved() }, "{rpc} {ending}");
            let found = client.get_operation(GetOperationRequest { operation_id: id }).await.expect("found");
            assert_eq!((found.get_ref().rpc.as_str(), found.get_ref().result), (rpc, result));
        }
    }
}

#[tokio::test]
async fn a_lost_reply_resets_its_stream_and_the_next_ask_tells_what_was_decided() {
    let (mut client, _stop) = network(config()).await;
    let token = token(&mut client, "3063").await;
    // The calls before and after share one connection: had it been closed, the slow one would fail.
    let mut slow_client = client.clone();
    let hanging = self::token(&mut client, "3055").await;
    let slow = tokio::spawn(async move {
        slow_client
            .sale(within(Duration::from_secs(2), sale("slow", &hanging)))
            .await
            .expect_err("hangs")
            .code()
    });
    for round in 0..200 {
        let id = format!("lost-{round}");
        let lost = client.sale(sale(&id, &token)).await.expect_err("lost");
        assert_eq!(lost.code(), Code::Internal, "{lost}");
        let found =
            client.get_operation(GetOperationRequest { operation_id: id.clone() }).await.expect("decided");
        assert_eq!(found.into_inner().result, approved());
        let again = client.sale(sale(&id, &token)).await.expect("the second ask is answered");
        assert_eq!(again.into_inner().result, approved());
    }
    // tonic's client calls its own deadline CANCELLED; a closed connection would be UNAVAILABLE or UNKNOWN.
    assert!(matches!(slow.await.expect("no panic"), Code::DeadlineExceeded | Code::Cancelled));
}

#[tokio::test]
async fn a_lost_authorisation_can_be_captured_and_the_capture_is_answered() {
    let (mut client, _stop) = network(config()).await;
    let token = token(&mut client, "3063").await;
    assert!(client.authorize(authorize("a", &token)).await.is_err());
    assert_eq!(client.capture(capture("c", &token)).await.expect("answers").into_inner().result, approved());
}

#[tokio::test]
async fn a_hanging_card_waits_for_the_deadline_and_was_approved() {
    let (mut client, _stop) = network(config()).await;
    let token = token(&mut client, "3055").await;
    let limit = Duration::from_millis(300);
    let start = Instant::now();
    let status = client.authorize(within(limit, authorize("a", &token))).await.expect_err("hangs");
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    assert!(start.elapsed() >= limit);
    let again =
        client.authorize(within(limit, authorize("a", &token))).await.expect("the second ask is answered");
    assert_eq!(again.into_inner().result, approved());
}

#[tokio::test]
async fn one_operation_id_is_one_request() {
    let (mut client, _stop) = network(config()).await;
    let token = token(&mut client, "4242").await;
    client.sale(sale("one", &token)).await.expect("answers");
    client.sale(sale("one", &token)).await.expect("the same again");
    let other_amount = SaleRequest { amount: 501, ..sale("one", &token) };
    assert_eq!(client.sale(other_amount).await.expect_err("another").code(), Code::AlreadyExists);
    assert_eq!(
        client.authorize(authorize("one", &token)).await.expect_err("another").code(),
        Code::AlreadyExists
    );
    assert_eq!(
        client.provision_token(provision("one", &card("4242"))).await.expect_err("another").code(),
        Code::AlreadyExists
    );

    let first = client.provision_token(provision("card", &card("4242"))).await.expect("answers").into_inner();
    let again = client.provision_token(provision("card", &card("4242"))).await.expect("answers").into_inner();
    assert_eq!(first, again);
    let other_card = client.provision_token(provision("card", &card("0002"))).await.expect_err("another");
    assert_eq!(other_card.code(), Code::AlreadyExists);
    assert!(!other_card.message().contains("0002"));
}

#[tokio::test]
async fn concurrent_asks_with_two_requests_settle_on_one() {
    let (mut client, _stop) = network(config()).await;
    let token = token(&mut client, "4242").await;
    for round in 0..20 {
        let asks = (0..32).map(|i| {
            let mut client = client.clone();
            let request = SaleRequest { amount: 500 + i % 2, ..sale(&format!("race-{round}"), &token) };
            tokio::spawn(async move {
                (i % 2, client.sale(request).await.map_err(|status| status.code()).map(drop))
            })
        });
        let mut won = [0, 0];
        for ask in asks.collect::<Vec<_>>() {
            match ask.await.expect("no panic") {
                (side, Ok(())) => won[side as usize] += 1,
                (_, Err(code)) => assert_eq!(code, Code::AlreadyExists),
            }
        }
        assert!(won == [16, 0] || won == [0, 16], "{won:?}");
    }
}

#[tokio::test]
async fn get_operation_tells_what_was_decided_and_nothing_of_tokens() {
    let (mut client, _stop) = network(config()).await;
    let token = token(&mut client, "9995").await;
    client.authorize(authorize("a", &token)).await.expect("answers");
    let found = client
        .get_operation(GetOperationRequest { operation_id: "a".into() })
        .await
        .expect("found")
        .into_inner();
    assert_eq!((found.rpc.as_str(), found.amount, found.currency.as_str()), ("Authorize", 500, "USD"));
    assert_eq!(found.result, decision(Outcome::Declined, DeclineReason::InsufficientFunds));
    for id in ["never", "provision-9995"] {
        let missing =
            client.get_operation(GetOperationRequest { operation_id: id.into() }).await.expect_err(id);
        assert_eq!(missing.code(), Code::NotFound, "{id}");
    }
}

#[tokio::test]
async fn malformed_requests_are_invalid_and_decide_nothing() {
    let (mut client, _stop) = network(config()).await;
    let token = token(&mut client, "4242").await;
    let bad = SaleRequest { amount: 0, ..sale("bad", &token) };
    assert_eq!(client.sale(bad).await.expect_err("bad").code(), Code::InvalidArgument);
    let bad = client.provision_token(provision("bad", "4242424242424241")).await.expect_err("bad");
    assert_eq!(bad.code(), Code::InvalidArgument);
    client.sale(sale("bad", &token)).await.expect("the id is still free");
}

#[tokio::test]
async fn configured_errors_bite_the_first_ask_only() {
    let (mut client, _stop) = network(Config { error_rate: 1.0, ..config() }).await;
    let request = provision("card", &card("4242"));
    assert_eq!(client.provision_token(request.clone()).await.expect_err("fails").code(), Code::Unavailable);
    let token = client.provision_token(request).await.expect("then answers").into_inner().network_token;
    assert_eq!(client.sale(sale("s", &token)).await.expect_err("fails").code(), Code::Unavailable);
    let missing =
        client.get_operation(GetOperationRequest { operation_id: "s".into() }).await.expect_err("undecided");
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(client.sale(sale("s", &token)).await.expect("then answers").into_inner().result, approved());
}

#[tokio::test]
async fn the_configured_latency_passes_and_a_deadline_cuts_it() {
    let latency = Duration::from_millis(150);
    let (mut client, _stop) = network(Config { latency: Latency::Fixed(latency), ..config() }).await;
    let start = Instant::now();
    let token = token(&mut client, "4242").await;
    assert!(start.elapsed() >= latency, "{:?}", start.elapsed());
    let cut = client.sale(within(latency / 3, sale("s", &token))).await.expect_err("cut");
    assert!(matches!(cut.code(), Code::DeadlineExceeded | Code::Cancelled), "{cut}");
}

#[tokio::test]
async fn calls_in_flight_are_answered_before_the_end() {
    let latency = Duration::from_millis(200);
    let (mut client, stop) = network(Config { latency: Latency::Fixed(latency), ..config() }).await;
    let token = token(&mut client, "4242").await;
    let mut asking = client.clone();
    let (asked, in_flight) = oneshot::channel();
    let call = tokio::spawn(async move {
        let call = asking.sale(sale("s", &token));
        tokio::pin!(call);
        // Polled once, the request is on its way; a find below shows that it has arrived.
        let early = tokio::time::timeout(Duration::from_millis(1), &mut call).await;
        assert!(early.is_err(), "too fast to be in flight");
        asked.send(()).expect("heard");
        call.await
    });
    in_flight.await.expect("asked");
    client.get_operation(GetOperationRequest { operation_id: "s".into() }).await.expect("it has arrived");
    stop.send(()).expect("serves");
    call.await.expect("no panic").expect("answered");
}

#[tokio::test]
async fn health_is_served_and_unknown_calls_are_unimplemented() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    let network = Network::open(config()).expect("no log to open");
    tokio::spawn(serve(listener, network, Telemetry::default(), std::future::pending()));
    let channel =
        Channel::from_shared(format!("http://{addr}")).expect("a URL").connect().await.expect("connects");
    let mut health = HealthClient::new(channel);
    for service in ["", "acquirer.v1.AcquirerService"] {
        let reply =
            health.check(HealthCheckRequest { service: service.into() }).await.expect("answers").into_inner();
        assert_eq!(reply.status, 1, "{service:?} serves");
    }
    let unknown = health.check(HealthCheckRequest { service: "x".into() }).await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);
}
