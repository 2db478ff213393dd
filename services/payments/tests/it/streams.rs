//! Streams of events: what is told, resumed, kept alive, shed and ended, over both doors.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use payments_proto::payments::v1::{
    Event, WatchEventsRequest, WatchEventsResponse, event::Object, event_service_client::EventServiceClient,
    watch_events_response::Item,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, Streaming, transport::Channel};

use crate::world::{Answer, Setting, VISA, World};

/// A stream over HTTP, block by block.
struct Sse {
    body: Incoming,
    rest: String,
}

impl Sse {
    async fn open(world: &World, secret: &str, query: &str, last: Option<&str>) -> Self {
        let authorization = format!("Bearer {secret}");
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(last.map(|last| ("last-event-id", last)));
        let response = world.open(&format!("/v1/events/stream{query}"), &headers).await;
        assert_eq!(
            (response.status(), &response.headers()["content-type"]),
            (http::StatusCode::OK, &"text/event-stream".parse().unwrap())
        );
        let mut stream = Self { body: response.into_body(), rest: String::new() };
        assert_eq!(stream.block().await.as_deref(), Some(": heartbeat"));
        stream
    }

    /// None: the body has ended as it should.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let block = block.to_owned();
                self.rest = rest.to_owned();
                return Some(block);
            }
            let bytes = self.body.frame().await?.unwrap().into_data().unwrap();
            self.rest.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next event, whose id and type are those of its data.
    async fn event(&mut self) -> Value {
        let block = self.block().await.unwrap();
        let lines: Vec<&str> = block.split('\n').collect();
        let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        let (id, kind) =
            (format!("id: {}", data["sequence"]), format!("event: {}", data["type"].as_str().unwrap()));
        assert_eq!((lines[0], lines[1], lines.len()), (id.as_str(), kind.as_str(), 3));
        data
    }
}

async fn client(world: &World) -> EventServiceClient<Channel> {
    EventServiceClient::connect(format!("http://{}", world.at.grpc)).await.unwrap()
}

async fn watch(
    world: &World,
    secret: &str,
    after_sequence: Option<i64>,
) -> Result<Streaming<WatchEventsResponse>, Status> {
    let mut request = Request::new(WatchEventsRequest { after_sequence });
    request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    let mut stream = client(world).await.watch_events(request).await?.into_inner();
    assert!(matches!(item(&mut stream).await, Item::Heartbeat(_)));
    Ok(stream)
}

async fn item(stream: &mut Streaming<WatchEventsResponse>) -> Item {
    stream.message().await.unwrap().unwrap().item.unwrap()
}

async fn event(stream: &mut Streaming<WatchEventsResponse>) -> Event {
    match item(stream).await {
        Item::Event(event) => event,
        Item::Heartbeat(_) => panic!("a heartbeat"),
    }
}

/// Wakes streams until it is dropped.
fn waking(world: &World) -> tokio_util::sync::DropGuard {
    let stop = CancellationToken::new();
    tokio::spawn(world.workers.waker.clone().run(stop.clone()));
    stop.drop_guard()
}

fn env(env: &[(&'static str, &str)]) -> Setting {
    let env = env.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Setting { env, ..Setting::default() }
}

/// A merchant that has sold so often, and the token it sells to.
async fn seller(world: &World, sales: usize) -> (String, String) {
    let secret = world.merchant(json!({})).await;
    let token = world.token(&secret, VISA).await;
    for n in 0..sales {
        sell(world, &secret, &token, &format!("before-{n}")).await;
    }
    (secret, token)
}

/// Three events.
async fn sell(world: &World, secret: &str, token: &str, key: &str) -> Answer {
    let sold = world.pay(secret, token, "automatic", key).await;
    assert_eq!((sold.status, world.workers.relay.step().await.unwrap()), (201, 3));
    sold
}

#[tokio::test]
async fn a_stream_tells_what_is_published_from_its_first_heartbeat_on() {
    let world = World::with(env(&[("STREAM_HEARTBEAT_MS", "60000")])).await;
    let _waking = waking(&world);
    let (secret, token) = seller(&world, 1).await;
    let (other, other_token) = seller(&world, 0).await;
    let mut sse = Sse::open(&world, &secret, "", None).await;
    let mut grpc = watch(&world, &secret, None).await.unwrap();
    sell(&world, &other, &other_token, "another-merchants").await;
    let sold = sell(&world, &secret, &token, "k").await;
    for (sequence, kind) in [(4, "payment.created"), (5, "payment.authorized"), (6, "payment.captured")] {
        let told = sse.event().await;
        assert_eq!((told["sequence"].as_i64(), told["type"].as_str()), (Some(sequence), Some(kind)));
        if sequence > 4 {
            assert_eq!(told["data"]["object"], sold.json());
        }
        let message = event(&mut grpc).await;
        assert_eq!(
            (message.sequence, message.r#type.as_str(), Some(message.id.as_str())),
            (sequence, kind, told["id"].as_str())
        );
        let Some(Object::Payment(payment)) = message.object else { panic!("no payment") };
        assert_eq!(
            (Some(payment.id.as_str()), payment.captured),
            (told["data"]["object"]["id"].as_str(), told["data"]["object"]["captured"].as_i64().unwrap())
        );
    }
}

#[tokio::test]
async fn a_stream_that_was_cut_and_is_resumed_misses_and_doubles_nothing_on_any_instance_and_door() {
    let world = World::new().await;
    let url = stack::test_postgres::service_url(&world.owner_url).unwrap();
    let other = World::over(world.owner_url.clone(), &url, &Setting::default()).await;
    other.until_ready().await;
    let (_waking, _other_waking) = (waking(&world), waking(&other));
    let (secret, token) = seller(&world, 2).await;
    let mut seen = Vec::new();
    let mut sse = Sse::open(&world, &secret, "?after_sequence=0", None).await;
    for _ in 0..2 {
        seen.push(sse.event().await["sequence"].as_i64().unwrap());
    }
    drop(sse);
    sell(&world, &secret, &token, "while-it-was-cut").await;
    let mut grpc = watch(&other, &secret, seen.last().copied()).await.unwrap();
    for _ in 0..5 {
        seen.push(event(&mut grpc).await.sequence);
    }
    drop(grpc);
    sell(&world, &secret, &token, "while-it-was-cut-again").await;
    let last = seen.last().unwrap().to_string();
    let mut sse = Sse::open(&other, &secret, "?after_sequence=1", Some(&last)).await;
    sell(&world, &secret, &token, "while-it-lasts").await;
    while seen.len() < 15 {
        seen.push(sse.event().await["sequence"].as_i64().unwrap());
    }
    assert_eq!(seen, (1..=15).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_long_past_is_told_whole_and_in_order() {
    let world = World::new().await;
    let (secret, _) = seller(&world, 1).await;
    grow(&world, 300, 0).await;
    let mut sse = Sse::open(&world, &secret, "?after_sequence=0", None).await;
    let mut grpc = watch(&world, &secret, Some(0)).await.unwrap();
    for sequence in 1..=303 {
        assert_eq!(sse.event().await["sequence"], sequence);
        assert_eq!(event(&mut grpc).await.sequence, sequence);
    }
}

/// Publishes that many further events of the only merchant, each with a description of so many bytes.
async fn grow(world: &World, count: i32, bytes: i32) {
    let insert = "insert into outbox (merchant_id, id, type, data, created_at)
        select merchant_id, gen_random_uuid(), 'payment.captured',
          replace(data, '\"state\"', '\"description\":\"' || repeat('x', $2) || '\",\"state\"'), created_at
        from events cross join generate_series(1, $1) where sequence = 1";
    sqlx::query(insert).bind(count).bind(bytes).execute(&mut world.sql().await).await.unwrap();
    while world.workers.relay.step().await.unwrap() > 0 {}
}

#[tokio::test]
async fn heartbeats_fill_the_silence_and_find_what_no_notice_told() {
    let world = World::with(env(&[("STREAM_HEARTBEAT_MS", "20")])).await;
    let (secret, token) = seller(&world, 0).await;
    let mut sse = Sse::open(&world, &secret, "", None).await;
    let mut grpc = watch(&world, &secret, None).await.unwrap();
    for _ in 0..2 {
        assert_eq!(sse.block().await.as_deref(), Some(": heartbeat"));
        assert!(matches!(item(&mut grpc).await, Item::Heartbeat(_)));
    }
    sell(&world, &secret, &token, "unheard").await;
    while sse.block().await.unwrap() == ": heartbeat" {}
    while !matches!(item(&mut grpc).await, Item::Event(_)) {}
}

#[tokio::test]
async fn notices_are_heard_again_when_their_connection_was_lost() {
    let world = World::with(env(&[("STREAM_HEARTBEAT_MS", "60000")])).await;
    let _waking = waking(&world);
    let (secret, token) = seller(&world, 0).await;
    let mut sse = Sse::open(&world, &secret, "", None).await;
    let listening =
        "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'";
    while world.count(listening).await == 0 {}
    world.count("select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and query ilike 'listen%'").await;
    sell(&world, &secret, &token, "k").await;
    assert_eq!(sse.event().await["sequence"], 1);
}

#[tokio::test]
async fn a_consumer_that_doesnt_read_is_dropped_and_others_go_on() {
    // Long enough that a busy machine doesn't make the one that reads a slow one.
    let world = World::with(env(&[("STREAM_WRITE_MS", "5000"), ("STREAMS", "3")])).await;
    let _waking = waking(&world);
    let (secret, _) = seller(&world, 1).await;
    let mut slow = TcpStream::connect(world.at.http).await.unwrap();
    let head = format!(
        "GET /v1/events/stream?after_sequence=1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.readable().await.unwrap();
    let mut slow_grpc = watch(&world, &secret, Some(1)).await.unwrap();
    let mut fast = Sse::open(&world, &secret, "?after_sequence=3", None).await;
    let reading = tokio::spawn(async move {
        for sequence in 4..404 {
            assert_eq!(fast.event().await["sequence"], sequence);
        }
    });
    for _ in 0..8 {
        grow(&world, 50, 40_000).await;
    }
    reading.await.unwrap();
    // All three places are free again: both were dropped before anything of theirs is read.
    let authorization = format!("Bearer {secret}");
    for _ in 0..3 {
        loop {
            let response = world.open("/v1/events/stream", &[("authorization", &authorization)]).await;
            if response.status() == 200 {
                // Held until the end.
                std::mem::forget(response);
                break;
            }
        }
    }
    let mut got = Vec::new();
    // However it is cut: without the end of the body.
    let _ = slow.read_to_end(&mut got).await;
    assert!(got.starts_with(b"HTTP/1.1 200") && !got.ends_with(b"0\r\n\r\n"));
    let status = loop {
        match slow_grpc.message().await {
            Ok(message) => assert!(message.is_some(), "it ended as if all were well"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn only_the_message_of_a_stream_must_come_in_a_bodys_time() {
    let world = World::with(env(&[("BODY_TIMEOUT_MS", "200"), ("STREAM_HEARTBEAT_MS", "300")])).await;
    let (secret, _) = seller(&world, 0).await;
    let mut stream = watch(&world, &secret, None).await.unwrap();
    // Each after a silence that is longer.
    for _ in 0..2 {
        assert!(matches!(item(&mut stream).await, Item::Heartbeat(_)));
    }
}

#[tokio::test]
async fn more_streams_than_there_are_places_for_are_shed() {
    let world = World::with(env(&[("STREAMS", "1")])).await;
    let (secret, _) = seller(&world, 0).await;
    let first = Sse::open(&world, &secret, "", None).await;
    let authorization = format!("Bearer {secret}");
    let shed = world.open("/v1/events/stream", &[("authorization", &authorization)]).await;
    assert_eq!((shed.status().as_u16(), &shed.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(watch(&world, &secret, None).await.unwrap_err().code(), Code::Unavailable);
    let told = prometheus::TextEncoder::new().encode_to_string(&world.metrics.registry.gather()).unwrap();
    assert!(told.contains(r#"twinpay_admission_rejected_total{reason="streams"} 2"#), "{told}");
    drop(first);
    while watch(&world, &secret, None).await.is_err() {}
}

#[tokio::test]
async fn the_drain_ends_streams() {
    let mut world = World::with(Setting { drain: Some(Duration::from_secs(60)), ..env(&[]) }).await;
    let (secret, _) = seller(&world, 0).await;
    let mut sse = Sse::open(&world, &secret, "", None).await;
    let mut grpc = watch(&world, &secret, None).await.unwrap();
    world.stop();
    assert_eq!(sse.block().await, None);
    assert_eq!(grpc.message().await.unwrap_err().code(), Code::Unavailable);
    drop((sse, grpc));
    world.ended().await.unwrap();
}
