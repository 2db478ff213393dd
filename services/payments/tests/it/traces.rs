//! The spans of every operation, as an OTLP receiver sees them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock},
};

use futures::future::join_all;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use payments::telemetry;
use serde_json::json;
use tonic::{Request, Response, Status};

use crate::world::{ADMIN, VISA, World, card, card_body, payment_body};

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let spans = resources.into_iter().flat_map(|r| r.scope_spans).flat_map(|scope| {
            assert_eq!(scope.scope.unwrap().name, "payments");
            scope.spans
        });
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

struct Collector {
    received: Receiver,
    provider: opentelemetry_sdk::trace::SdkTracerProvider,
}

/// One for the process, on a runtime that outlives each test.
fn collector() -> &'static Collector {
    static COLLECTOR: OnceLock<Collector> = OnceLock::new();
    COLLECTOR.get_or_init(|| {
        let (send, collector) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = format!("http://{}", listener.local_addr().unwrap());
                let received = Receiver::default();
                let routes = tonic::service::Routes::new(TraceServiceServer::new(received.clone()));
                let level = tracing::level_filters::LevelFilter::OFF;
                let provider = telemetry::install(level, Some(&endpoint)).unwrap().unwrap();
                send.send(Collector { received, provider }).unwrap();
                let router = routes.into_axum_router();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let service = hyper_util::service::TowerToHyperService::new(router.clone());
                    tokio::spawn(async move {
                        let stream = hyper_util::rt::TokioIo::new(stream);
                        let executor = hyper_util::rt::TokioExecutor::new();
                        let _ = hyper::server::conn::http2::Builder::new(executor)
                            .serve_connection(stream, service)
                            .await;
                    });
                }
            });
        });
        collector.recv().unwrap()
    })
}

/// All spans of a trace, in the order in which they began.
async fn spans_of(trace: u128) -> Vec<Span> {
    let collector = collector();
    tokio::task::spawn_blocking(|| collector.provider.force_flush()).await.unwrap().unwrap();
    let mut spans = collector.received.0.lock().unwrap().clone();
    spans.retain(|span| span.trace_id == trace.to_be_bytes());
    spans.sort_by_key(|span| span.start_time_unix_nano);
    spans
}

fn trace() -> (u128, String) {
    let id = rand::random::<u128>() | 1;
    (id, format!("00-{id:032x}-00f067aa0ba902b7-01"))
}

fn attributes(span: &Span) -> BTreeSet<&str> {
    span.attributes.iter().map(|attribute| attribute.key.as_str()).collect()
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|a| a.value.clone()).and_then(|v| v.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key}: {other:?} in {span:?}"),
    }
}

/// `server POST /v1/payments` and below it its children, all of one parent.
fn tree(spans: &[Span]) -> Vec<String> {
    let root = &spans[0];
    assert_eq!(
        root.parent_span_id,
        0x00f0_67aa_0ba9_02b7_u64.to_be_bytes(),
        "not the caller's child: {root:?}"
    );
    for child in &spans[1..] {
        assert_eq!(child.parent_span_id, root.span_id, "{child:?}");
        assert!(child.end_time_unix_nano >= child.start_time_unix_nano);
    }
    let kind = |span: &Span| format!("{:?}", span.kind()).to_lowercase();
    spans.iter().map(|span| format!("{} {}", kind(span), span.name)).collect()
}

#[tokio::test]
async fn every_operation_has_its_spans_and_no_others() {
    collector();
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let payment = world.pay(&secret, &token, "manual", "k").await.text("id");
    let capture = format!("/v1/payments/{payment}/capture");
    let acquirer = |rpc: &str| format!("client acquirer.v1.AcquirerService/{rpc}");
    let table = [
        (
            "/v1/merchants",
            ADMIN,
            json!({"name": "x"}),
            vec!["client insert_merchant".to_owned()],
            "/v1/merchants",
        ),
        (
            "/v1/payment_tokens",
            &secret,
            card_body(VISA),
            vec![
                "client find_replay".into(),
                "internal hash_pool.run".into(),
                acquirer("ProvisionToken"),
                "client insert_payment_token".into(),
            ],
            "/v1/payment_tokens",
        ),
        (
            "/v1/payments",
            &secret,
            payment_body(&token, 5, "automatic", "sale"),
            vec!["client claim_payment".into(), acquirer("Sale"), "client record_operation".into()],
            "/v1/payments",
        ),
        (
            &capture,
            &secret,
            json!({"amount": 1}),
            vec!["client claim_operation".into(), acquirer("Capture"), "client record_operation".into()],
            "/v1/payments/{id}/capture",
        ),
        (
            &capture,
            &secret,
            json!({"amount": 5000}),
            vec!["client claim_operation".into(), "client reject_operation".into()],
            "/v1/payments/{id}/capture",
        ),
        ("/v1/payments", &secret, json!({}), vec![], "/v1/payments"),
    ];
    for (n, (path, secret, body, children, route)) in table.into_iter().enumerate() {
        let (id, traceparent) = trace();
        let headers = [("traceparent", traceparent.as_str()), ("idempotency-key", &format!("key-{n}"))];
        let answer = world.post(path, secret, &headers, &body).await;
        let spans = spans_of(id).await;
        let mut want = vec![format!("server POST {route}")];
        want.extend(children);
        assert_eq!(tree(&spans), want, "{answer:?}");
        assert_eq!(attribute(&spans[0], "http.route"), route);
        assert_eq!(attribute(&spans[0], "http.response.status_code"), answer.status.to_string());
        check_attributes(&spans);
    }
}

/// Nothing beyond what the contract names: no thread, no code location, no target, no busy time.
fn check_attributes(spans: &[Span]) {
    for span in spans {
        let allowed: &[&str] = match (span.kind(), span.name.starts_with("acquirer.")) {
            (SpanKind::Server, _) => {
                &["http.request.method", "http.route", "http.response.status_code", "twinpay.reason"]
            }
            (SpanKind::Internal, _) => &["twinpay.wait_ms"],
            (_, true) => &["rpc.system.name", "rpc.method", "rpc.response.status_code"],
            (_, false) => &["db.system.name", "db.query.summary", "twinpay.db_wait_ms"],
        };
        let extra: Vec<&str> = attributes(span).into_iter().filter(|key| !allowed.contains(key)).collect();
        assert!(extra.is_empty(), "{extra:?} on {}", span.name);
        assert!(span.events.is_empty(), "{span:?}");
        assert_eq!(span.status.clone().unwrap_or_default().code(), StatusCode::Unset, "{span:?}");
    }
}

#[tokio::test]
async fn reads_and_unknown_routes_and_the_grpc_door_have_spans_and_health_has_none() {
    use payments_proto::payments::v1::{GetPaymentRequest, payment_service_client::PaymentServiceClient};

    collector();
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let authorization = format!("Bearer {secret}");
    let get = async |path: &str, method: http::Method| {
        let (id, traceparent) = trace();
        let headers = [("authorization", authorization.as_str()), ("traceparent", traceparent.as_str())];
        world.send(world.at.http, method, path, &headers, None).await.unwrap();
        spans_of(id).await
    };
    let spans = get("/v1/payments/pay_x", http::Method::GET).await;
    assert_eq!(tree(&spans), ["server GET /v1/payments/{id}", "client get_payment"]);
    assert_eq!(attribute(&spans[0], "twinpay.reason"), "RESOURCE_NOT_FOUND");
    let spans = get("/v1/nothing", http::Method::PUT).await;
    assert_eq!(tree(&spans), ["server PUT"]);
    assert!(!attributes(&spans[0]).contains("http.route"));
    assert!(get("/livez", http::Method::GET).await.is_empty());

    let mut client = PaymentServiceClient::connect(format!("http://{}", world.at.grpc)).await.unwrap();
    let (id, traceparent) = trace();
    let mut request = Request::new(GetPaymentRequest { id: Some("pay_x".into()) });
    request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    client.get_payment(request).await.unwrap_err();
    let spans = spans_of(id).await;
    assert_eq!(tree(&spans), ["server payments.v1.PaymentService/GetPayment", "client get_payment"]);
    assert_eq!(attribute(&spans[0], "rpc.response.status_code"), "NOT_FOUND");
    assert_eq!(attribute(&spans[0], "twinpay.reason"), "RESOURCE_NOT_FOUND");
    assert_eq!(spans[0].status.clone().unwrap_or_default().code(), StatusCode::Unset);
}

#[tokio::test]
async fn an_unknown_outcome_is_an_error_and_its_recovery_is_linked_to_it() {
    collector();
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, &card("3063")).await;
    let (id, traceparent) = trace();
    let headers = [("traceparent", traceparent.as_str())];
    let answer = world.pay_with(&secret, "k", &headers, &payment_body(&token, 5, "automatic", "k")).await;
    assert_eq!(answer.status, 504);
    let released = "select count(*) from operations where leased_until < created_at + interval '2 seconds'";
    while world.count(released).await == 0 {
        tokio::task::yield_now().await;
    }
    let root = loop {
        let spans = spans_of(id).await;
        if spans.len() == 4 {
            let names = tree(&spans);
            assert_eq!(
                names[1..],
                [
                    "client claim_payment",
                    "client acquirer.v1.AcquirerService/Sale",
                    "client release_operation"
                ]
            );
            let failed =
                spans.iter().map(|span| span.status.clone().unwrap_or_default().code() == StatusCode::Error);
            assert_eq!(failed.collect::<Vec<_>>(), [true, false, true, false]);
            assert_eq!(attribute(&spans[0], "error.type"), "OUTCOME_UNKNOWN");
            break spans[0].clone();
        }
    };
    world.pass(5_000);
    world.recovery.step().await.unwrap();
    spans_of(id).await;
    let all = collector().received.0.lock().unwrap().clone();
    let settled = all.iter().find(|s| s.links.iter().any(|link| link.span_id == root.span_id)).unwrap();
    assert_eq!(
        (settled.name.as_str(), attribute(settled, "twinpay.operation").as_str()),
        ("recovery.settle", "sale")
    );
    let below: Vec<&str> =
        all.iter().filter(|s| s.parent_span_id == settled.span_id).map(|s| s.name.as_str()).collect();
    assert_eq!(below, ["acquirer.v1.AcquirerService/Sale", "record_operation"]);
}

#[tokio::test]
async fn spans_hold_no_card_number_and_no_secret() {
    collector();
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let number = card("4417");
    let (id, traceparent) = trace();
    let keys: Vec<String> = (0..4).map(|n| format!("canary-{n}")).collect();
    let body = card_body(&number);
    let sent = join_all(keys.iter().map(|key| {
        let headers = [("traceparent", traceparent.as_str()), ("idempotency-key", key.as_str())];
        let (world, secret, body) = (&world, &secret, &body);
        async move { world.post("/v1/payment_tokens", secret, &headers, body).await }
    }));
    assert!(sent.await.iter().all(|answer| answer.status == 201));
    let text = format!("{:?}", spans_of(id).await);
    assert!(text.contains("hash_pool.run"));
    let hex = secret.rsplit('_').next().unwrap();
    for hidden in [number.as_str(), hex, ADMIN, "canary-"] {
        assert!(!text.contains(hidden), "{hidden}");
    }
}
