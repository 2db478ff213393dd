//! Start, readiness and the end.

use std::time::Duration;

use http::Method;
use payments::{app::App, usecase::payments::Clock, workers::recovery::Step};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::postgres::fresh_database;
use crate::world::{ADMIN, Setting, VISA, World, database};

async fn ready(world: &World) -> (u16, String) {
    let answer = world.send(world.at.admin, Method::GET, "/readyz", &[], None).await.unwrap();
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_request_that_runs_when_the_signal_comes_gets_its_answer() {
    let mut world = World::with(Setting { latency: Duration::from_millis(500), ..Setting::default() }).await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let mut owner = world.sql().await;
    let (http, authorization) = (world.at.http, format!("Bearer {secret}"));
    let request = tokio::spawn(async move {
        let body = crate::world::payment_body(&token, 1000, "automatic", "k").to_string();
        raw_post(http, &authorization, &body).await
    });
    let pending = "select count(*) from operations where state = 'pending'";
    while sqlx::query_scalar::<_, i64>(pending).fetch_one(&mut owner).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    world.stop();
    while ready(&world).await.0 == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ready(&world).await.1, r#"{"status":"unready","reasons":["draining"]}"#);
    let answer = request.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    world.ended().await.unwrap();
    assert!(TcpStream::connect(http).await.is_err(), "the port is free");
}

#[tokio::test]
async fn a_payment_goes_on_when_its_client_has_gone() {
    let world = World::with(Setting { latency: Duration::from_millis(300), ..Setting::default() }).await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let (http, authorization) = (world.at.http, format!("Bearer {secret}"));
    let body = crate::world::payment_body(&token, 1000, "automatic", "k").to_string();
    let client = tokio::spawn(async move { raw_post(http, &authorization, &body).await });
    let pending = "select count(*) from operations where state = 'pending'";
    while world.count(pending).await == 0 {
        tokio::task::yield_now().await;
    }
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled(), "it didn't wait for its answer");
    let recorded = async {
        while world.count(pending).await == 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), recorded).await.expect("it is recorded");
    let answer = world.pay(&secret, &token, "automatic", "k").await;
    assert_eq!((answer.status, answer.text("state").as_str(), answer.replayed()), (201, "captured", true));
    assert_eq!(world.count("select lease_token from operations").await, 0, "no recovery had to do it");
    world.check_invariants().await;
}

#[tokio::test]
async fn a_service_whose_worker_has_failed_ends() {
    let owner_url = database().await;
    let url = stack::test_postgres::service_url(&owner_url).unwrap();
    let config = crate::world::config(&url, crate::world::network(Duration::ZERO).await, &[]);
    let app = App::bind(&config, Clock::new(|| panic!("on purpose"))).await.unwrap();
    let told = app.run(tokio::time::sleep(Duration::from_secs(20))).await.unwrap_err().to_string();
    assert!(told.starts_with("a worker failed"), "{told}");
}

#[tokio::test]
async fn what_a_drain_cuts_off_is_handed_back_at_once() {
    let mut world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    let url = stack::test_postgres::service_url(&world.owner_url).unwrap();
    let setting = Setting {
        latency: Duration::from_secs(20),
        drain: Some(Duration::from_millis(50)),
        env: vec![("LEASE_MS", "60000".to_owned())],
    };
    let mut slow = World::over(world.owner_url.clone(), &url, &setting).await;
    slow.until_ready().await;
    let (http, authorization) = (slow.at.http, format!("Bearer {secret}"));
    let body = crate::world::payment_body(&token, 1000, "automatic", "k").to_string();
    let cut = tokio::spawn(async move { raw_post(http, &authorization, &body).await });
    let pending = "select count(*) from operations where state = 'pending'";
    while world.count(pending).await == 0 {
        tokio::task::yield_now().await;
    }
    slow.stop();
    slow.ended().await.unwrap();
    cut.abort();

    assert_eq!(world.workers.recovery.step().await.unwrap(), Step::Did { leased: 1, recorded: 1 });
    let settled = world.pay(&secret, &token, "automatic", "k").await;
    assert_eq!((settled.status, settled.text("state").as_str()), (201, "captured"));
    world.check_invariants().await;
    world.stop();
    world.ended().await.unwrap();
}

/// One request on a connection of its own, read to its end.
async fn raw_post(to: std::net::SocketAddr, authorization: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "POST /v1/payments HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\nidempotency-key: k\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn with_postgres_down_it_stays_up_unready_and_keeps_trying() {
    let owner_url = database().await;
    let url = url::Url::parse(&stack::test_postgres::service_url(&owner_url).unwrap()).unwrap();
    let postgres = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    // Nothing else listens on this address, so the port is free still when Postgres comes.
    let proxy = TcpListener::bind("127.0.0.2:0").await.unwrap().local_addr().unwrap();
    let mut through = url.clone();
    through.set_port(Some(proxy.port())).unwrap();
    through.set_host(Some("127.0.0.2")).unwrap();
    let world = World::over(owner_url, through.as_str(), &Setting::default()).await;
    assert_eq!(ready(&world).await, (503, r#"{"status":"unready","reasons":["schema_unseen"]}"#.into()));
    let refused = world.post("/v1/merchants", ADMIN, &[], &json!({"name": "x"})).await;
    assert_eq!((refused.status, refused.text("reason").as_str()), (503, "OVERLOADED"));
    let live = world.send(world.at.http, Method::GET, "/livez", &[], None).await.unwrap();
    assert_eq!((live.status, live.body.as_str()), (200, r#"{"status":"live"}"#));

    let listener = TcpListener::bind(proxy).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let postgres = postgres.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(postgres).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    world.until_ready().await;
    assert_eq!(world.post("/v1/merchants", ADMIN, &[], &json!({"name": "x"})).await.status, 201);
}

#[tokio::test]
async fn another_schema_ends_the_service_with_a_line_that_says_what_to_do() {
    let owner_url = fresh_database().await;
    let url = stack::test_postgres::service_url(&owner_url).unwrap();
    let nothing = World::over(owner_url, &url, &Setting::default()).await;
    let told = nothing.ended().await.unwrap_err().to_string();
    assert!(told.contains("payments migrate"), "{told}");

    let owner_url = database().await;
    let url = stack::test_postgres::service_url(&owner_url).unwrap();
    let mut owner = <sqlx::PgConnection as sqlx::Connection>::connect(&owner_url).await.unwrap();
    sqlx::query("update schema_version set version = 2").execute(&mut owner).await.unwrap();
    let newer = World::over(owner_url, &url, &Setting::default()).await;
    let wanted = format!("version {}:", payments::store::db::SCHEMA_VERSION);
    let told = newer.ended().await.unwrap_err().to_string();
    assert!(told.contains(&wanted), "{told}");

    let dropped = World::new().await;
    let secret = dropped.merchant(json!({})).await;
    sqlx::query("drop table payments cascade").execute(&mut dropped.sql().await).await.unwrap();
    let token = "ptk_00000000000000000000000000";
    assert_eq!(dropped.pay(&secret, token, "automatic", "k").await.status, 500);
    assert!(dropped.ended().await.is_err(), "whenever it is seen");
}

#[tokio::test]
async fn metrics_have_the_contracts_names() {
    let world = World::new().await;
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    world.pay(&secret, &token, "automatic", "k").await;
    let text = world.send(world.at.admin, Method::GET, "/metrics", &[], None).await.unwrap().body;
    for name in [
        "http_server_request_duration_seconds_bucket",
        "db_client_operation_duration_seconds_bucket",
        "twinpay_hash_pool_wait_duration_seconds_bucket",
        "twinpay_hash_pool_run_duration_seconds_bucket",
        "twinpay_db_pool_wait_seconds_bucket",
        "twinpay_db_pool_in_use",
        "twinpay_operations_pending",
        "twinpay_telemetry_dropped_spans_total 0",
    ] {
        assert!(text.contains(name), "{name} isn't in\n{text}");
    }
    assert!(text.contains(r#"http_route="/v1/payments""#) && text.contains(r#"le="0.0005""#));
    assert!(!text.contains(VISA) && !text.contains(&secret) && !text.contains("otel_scope_"));
    let version = world.send(world.at.admin, Method::GET, "/version", &[], None).await.unwrap();
    assert!(version.body.starts_with(r#"{"implementation":"rust","commit":""#), "{version:?}");
}
