//! Webhooks reach their receivers, and nobody else.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use payments::hash_pool::hmac;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_util::sync::CancellationToken;

use crate::world::{Setting, World};

/// What a receiver does with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Does {
    /// Answers a status.
    Says(u16),
    /// Sends elsewhere.
    Redirects(SocketAddr),
    /// Says nothing, and keeps the connection.
    Hangs,
    /// Begins a body that never ends, a byte at a time.
    Drips,
    /// Sends a body without an end as fast as it goes.
    Floods,
    /// Ends the connection within the body.
    Breaks,
}

/// A request that came.
#[derive(Clone, Debug)]
struct Got {
    path: String,
    headers: HashMap<String, String>,
    body: String,
}

impl Got {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Signed by this secret.
    fn check(&self, secret: &str) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.id(), self.headers["webhook-timestamp"], self.body);
        let signature = format!("v1,{}", STANDARD.encode(hmac(&key, &[signed.as_bytes()])));
        assert_eq!(self.headers["webhook-signature"], signature);
    }
}

/// A receiver of a merchant.
struct Receiving {
    at: SocketAddr,
    came: Arc<AtomicUsize>,
    all: Arc<Mutex<Vec<Got>>>,
    each: UnboundedReceiver<Got>,
}

/// `does` is given the number of the request, from 0.
async fn receiver(does: impl Fn(usize) -> Does + Send + Sync + 'static) -> Receiving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (tell, each) = unbounded_channel();
    let (came, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let receiving = Receiving { at, came: came.clone(), all: all.clone(), each };
    let does = Arc::new(does);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (does, tell, all) = (does.clone(), tell.clone(), all.clone());
            let number = came.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                // A connection that ends early is no fault here: whoever ends it is looked at.
                let _ = one(stream, does(number), tell, all).await;
            });
        }
    });
    receiving
}

async fn one(
    stream: TcpStream,
    does: Does,
    tell: UnboundedSender<Got>,
    all: Arc<Mutex<Vec<Got>>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let got = Got { path, headers, body: String::from_utf8_lossy(&body).into_owned() };
    all.lock().unwrap().push(got.clone());
    let _ = tell.send(got);
    let mut say = async |text: String| stream.write_all(text.as_bytes()).await;
    match does {
        Does::Says(status) => say(format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n")).await,
        Does::Redirects(to) => {
            say(format!("HTTP/1.1 302 x\r\nlocation: http://{to}/\r\ncontent-length: 0\r\n\r\n")).await
        }
        Does::Hangs => std::future::pending().await,
        Does::Drips => {
            say("HTTP/1.1 200 x\r\ncontent-length: 1000\r\n\r\nx".into()).await?;
            std::future::pending().await
        }
        Does::Floods => {
            say("HTTP/1.1 200 x\r\ncontent-length: 1000000000000\r\n\r\n".into()).await?;
            loop {
                say("x".repeat(8192)).await?;
            }
        }
        Does::Breaks => say("HTTP/1.1 200 x\r\ncontent-length: 1000\r\n\r\nx".into()).await,
    }
}

/// A merchant with endpoints.
struct Shop {
    world: World,
    secret: String,
}

impl Shop {
    async fn new(env: &[(&'static str, &str)]) -> Self {
        let mut all = vec![("WEBHOOK_TARGETS", "any".to_owned()), ("WEBHOOK_RETRY_MS", "1".to_owned())];
        all.splice(0..0, env.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let world = World::with(Setting { env: all, ..Setting::default() }).await;
        let secret = world.merchant(json!({})).await;
        Self { world, secret }
    }

    /// Its id and its secret.
    async fn endpoint(&self, url: &str) -> (String, String) {
        let made = self.world.post("/v1/webhook_endpoints", &self.secret, &[], &json!({"url": url})).await;
        assert_eq!(made.status, 201, "{made:?}");
        (made.text("id"), made.text("secret"))
    }

    async fn at(&self, receiving: &Receiving) -> (String, String) {
        self.endpoint(&format!("http://{}/hooks?x=1", receiving.at)).await
    }

    /// So many events that every endpoint is to be told of.
    async fn happen(&self, count: i64) {
        let now = "now() - interval '1 minute'";
        let sql = format!(
            "insert into events (merchant_id, sequence, id, type, data, created_at)
             select merchant_id, last + n, uuid_v7(now()), 'payment.created', '{{\"n\":' || n || '}}', {now}
             from generate_series(1, {count}) n, (select distinct merchant_id from webhook_endpoints) m,
               (select coalesce(max(sequence), 0) as last from events) s;
             insert into webhook_deliveries (merchant_id, endpoint_id, id, event_sequence, next_attempt_at, created_at)
             select e.merchant_id, w.id, uuid_v7(now()), e.sequence, {now}, {now}
             from events e join webhook_endpoints w using (merchant_id)
             where not exists (select from webhook_deliveries d where d.endpoint_id = w.id and d.event_sequence = e.sequence)"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut self.world.sql().await).await.unwrap();
    }

    /// Steps until nothing is due, though all that waits is.
    async fn drain(&self) {
        while self.world.workers.delivery.step().await.unwrap() > 0 {
            self.world.pass(1000);
        }
    }

    /// status and error of each attempt, in order.
    async fn attempts(&self) -> Vec<(Option<i16>, Option<String>)> {
        let sql = "select a.status, a.error from webhook_attempts a join webhook_endpoints w on w.id = a.endpoint_id
            order by w.url, a.delivery_id, a.attempt";
        sqlx::query_as(sql).fetch_all(&mut self.world.sql().await).await.unwrap()
    }

    async fn deliveries(&self) -> Vec<(String, i16)> {
        let sql = "select state, attempts from webhook_deliveries order by id";
        sqlx::query_as(sql).fetch_all(&mut self.world.sql().await).await.unwrap()
    }
}

fn failed(status: Option<i16>, error: &str) -> (Option<i16>, Option<String>) {
    (status, Some(error.to_owned()))
}

#[tokio::test]
async fn a_thousand_events_reach_a_receiver_that_fails_every_third_time() {
    let shop = Shop::new(&[]).await;
    let receiving = receiver(|number| Does::Says(if number % 3 == 2 { 500 } else { 200 })).await;
    let (_, secret) = shop.at(&receiving).await;
    shop.happen(1000).await;
    shop.drain().await;

    let all = receiving.all.lock().unwrap().clone();
    let mut bodies: HashMap<String, String> = HashMap::new();
    for got in &all {
        got.check(&secret);
        assert_eq!(
            (got.path.as_str(), got.headers["user-agent"].as_str()),
            ("/hooks?x=1", "twinpay-webhooks/1")
        );
        assert_eq!(got.headers["content-type"], "application/json");
        let body: serde_json::Value = serde_json::from_str(&got.body).unwrap();
        assert_eq!(body["id"], got.id());
        let same = bodies.entry(got.id().to_owned()).or_insert_with(|| got.body.clone());
        assert_eq!(*same, got.body, "a duplicate with another body");
    }
    assert_eq!(bodies.len(), 1000);
    assert!(all.len() > 1400, "{} requests", all.len());
    assert_eq!(shop.attempts().await.len(), all.len());
    assert!(shop.deliveries().await.iter().all(|(state, _)| state == "succeeded"));
}

#[tokio::test]
async fn an_endpoint_that_is_gone_gets_nothing_any_more() {
    let shop = Shop::new(&[]).await;
    let receiving = receiver(|_| Does::Says(410)).await;
    shop.at(&receiving).await;
    shop.happen(1).await;
    shop.drain().await;
    shop.happen(1).await;
    shop.drain().await;
    assert_eq!(receiving.came.load(Ordering::SeqCst), 1);
    assert_eq!(shop.attempts().await, [failed(Some(410), "status"), failed(None, "disabled")]);
    assert_eq!(shop.deliveries().await, [("failed".into(), 1), ("failed".into(), 1)]);
    let (to, credential) = (shop.world.at.http, format!("Bearer {}", shop.secret));
    let headers = [("authorization", credential.as_str())];
    let listed = shop.world.send(to, Method::GET, "/v1/webhook_endpoints", &headers, None).await.unwrap();
    assert!(listed.json()["data"][0]["disabled_at"].is_string(), "{listed:?}");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_nobody_follows_it() {
    let shop = Shop::new(&[]).await;
    let elsewhere = receiver(|_| Does::Says(200)).await;
    let to = elsewhere.at;
    let receiving = receiver(move |_| Does::Redirects(to)).await;
    shop.at(&receiving).await;
    shop.happen(1).await;
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 1);
    assert_eq!(elsewhere.came.load(Ordering::SeqCst), 0);
    assert_eq!(shop.attempts().await, [failed(Some(302), "status")]);
    assert_eq!(shop.deliveries().await, [("pending".into(), 1)]);
}

#[tokio::test]
async fn what_a_receiver_does_with_its_answer_is_bounded_and_told() {
    for (does, want, state) in [
        (Does::Hangs, failed(None, "timeout"), "pending"),
        (Does::Drips, failed(Some(200), "timeout"), "pending"),
        (Does::Breaks, failed(Some(200), "body"), "pending"),
        (Does::Floods, (Some(200), None), "succeeded"),
        (Does::Says(204), (Some(204), None), "succeeded"),
    ] {
        let mut shop = Shop::new(&[]).await;
        if [Does::Hangs, Does::Drips].contains(&does) {
            shop.world.workers.delivery.receiver.limit = Duration::from_millis(200);
        }
        let receiving = receiver(move |_| does).await;
        shop.at(&receiving).await;
        shop.happen(1).await;
        assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 1);
        assert_eq!(shop.attempts().await, [want], "{does:?}");
        assert_eq!(shop.deliveries().await, [(state.to_owned(), 1)], "{does:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_isnt_there_or_speaks_no_tls_is_told() {
    let shop = Shop::new(&[]).await;
    let plain = receiver(|_| Does::Says(200)).await;
    shop.endpoint("http://127.0.0.1:1/").await;
    shop.endpoint(&format!("https://{}/", plain.at)).await;
    shop.happen(1).await;
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 2);
    assert_eq!(shop.attempts().await, [failed(None, "connect"), failed(None, "tls")]);
    assert!(plain.all.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_silent_receiver_holds_up_no_other() {
    let shop = Shop::new(&[]).await;
    let mut silent = receiver(|_| Does::Hangs).await;
    let (id, _) = shop.at(&silent).await;
    shop.happen(30).await;
    let stop = CancellationToken::new();
    let mut worker = shop.world.workers.delivery.clone();
    worker.receiver.limit = Duration::from_secs(600);
    let running = tokio::spawn(worker.run(stop.clone()));
    for _ in 0..5 {
        silent.each.recv().await.unwrap();
    }
    let mut good = receiver(|_| Does::Says(200)).await;
    let delete = "delete from webhook_deliveries where lease_token = 0";
    sqlx::query(delete).execute(&mut shop.world.sql().await).await.unwrap();
    shop.at(&good).await;
    shop.happen(3).await;
    for _ in 0..3 {
        good.each.recv().await.unwrap();
    }
    assert!(silent.came.load(Ordering::SeqCst) < 10, "one endpoint has {:?} places", silent.came);
    let path = format!("/v1/webhook_endpoints/{id}");
    let authorization = format!("Bearer {}", shop.secret);
    let headers = [("authorization", authorization.as_str())];
    let deleted = shop.world.send(shop.world.at.http, Method::DELETE, &path, &headers, None).await.unwrap();
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    running.abort();
}

#[tokio::test]
async fn no_private_address_is_dialled_for_a_public_target() {
    let shop = Shop::new(&[("WEBHOOK_TARGETS", "public")]).await;
    let receiving = receiver(|_| Does::Says(200)).await;
    let port = receiving.at.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        shop.endpoint(&format!("https://{host}:{port}/")).await;
    }
    shop.happen(1).await;
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 5);
    assert_eq!(shop.attempts().await, vec![failed(None, "refused_address"); 5]);
    assert_eq!(receiving.came.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_looked_at_when_it_is_dialled() {
    let mut shop = Shop::new(&[]).await;
    let receiving = receiver(|_| Does::Says(200)).await;
    let port = receiving.at.port();
    shop.endpoint(&format!("http://rebinding.example:{port}/")).await;
    // Here 127.0.0.2 is public, where nobody listens, and all else private.
    let public = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    shop.world.workers.delivery.receiver.allow = Arc::new(move |address| address == public);
    shop.world.workers.delivery.receiver.look_up = Arc::new(move |host, port| {
        assert_eq!(host, "rebinding.example");
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        let address = if first { public } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        Box::pin(async move { Ok(vec![SocketAddr::new(address, port)]) })
    });
    shop.happen(1).await;
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "an attempt asks once");
    shop.world.pass(10);
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 1);
    assert_eq!(shop.attempts().await, [failed(None, "connect"), failed(None, "refused_address")]);
    assert_eq!(receiving.came.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_was_sent_and_not_recorded_is_sent_again_under_the_same_id() {
    let shop = Shop::new(&[]).await;
    let mut receiving = receiver(|number| if number == 0 { Does::Hangs } else { Does::Says(200) }).await;
    let (_, secret) = shop.at(&receiving).await;
    shop.happen(1).await;
    let worker = shop.world.workers.delivery.clone();
    let crashing = tokio::spawn(async move { worker.step().await });
    let first = receiving.each.recv().await.unwrap();
    crashing.abort();
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 0, "its lease lasts");
    shop.world.pass(15_000);
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 1);
    let second = receiving.each.recv().await.unwrap();
    second.check(&secret);
    assert_eq!((first.id(), &first.body), (second.id(), &second.body));
    assert_ne!(first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]);
    assert_eq!(shop.deliveries().await, [("succeeded".into(), 1)]);
}

#[tokio::test]
async fn a_delivery_is_given_up_after_eight_attempts_each_recorded() {
    let shop = Shop::new(&[]).await;
    let receiving = receiver(|_| Does::Says(503)).await;
    shop.at(&receiving).await;
    shop.happen(1).await;
    for _ in 0..8 {
        assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 1);
        shop.world.pass(1000);
    }
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 0);
    assert_eq!(shop.attempts().await, vec![failed(Some(503), "status"); 8]);
    assert_eq!(shop.deliveries().await, [("failed".into(), 8)]);
    assert_eq!(receiving.came.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_retry_waits_no_longer_than_its_bound() {
    let shop = Shop::new(&[("WEBHOOK_RETRY_MS", "60000")]).await;
    let receiving = receiver(|_| Does::Says(503)).await;
    shop.at(&receiving).await;
    shop.happen(200).await;
    for _ in 0..10 {
        assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 20);
    }
    let (longest, soonest): (f64, f64) = sqlx::query_as(
        "select extract(epoch from max(next_attempt_at - attempted_at))::float8,
           extract(epoch from min(next_attempt_at - attempted_at))::float8
         from webhook_deliveries d join webhook_attempts a on a.delivery_id = d.id and a.attempt = d.attempts
         where d.attempts = 1",
    )
    .fetch_one(&mut shop.world.sql().await)
    .await
    .unwrap();
    assert!((30.0..=60.0).contains(&longest) && (0.0..30.0).contains(&soonest), "{soonest} to {longest} s");
}

#[tokio::test]
async fn a_deleted_endpoint_gets_nothing_any_more() {
    let shop = Shop::new(&[]).await;
    let mut receiving = receiver(|_| Does::Says(500)).await;
    let (id, _) = shop.at(&receiving).await;
    shop.happen(2).await;
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 2);
    receiving.each.recv().await.unwrap();
    let authorization = format!("Bearer {}", shop.secret);
    let path = format!("/v1/webhook_endpoints/{id}");
    let headers = [("authorization", authorization.as_str())];
    let deleted = shop.world.send(shop.world.at.http, Method::DELETE, &path, &headers, None).await.unwrap();
    assert_eq!(deleted.status, 204);
    shop.world.pass(10_000);
    assert_eq!(shop.world.workers.delivery.step().await.unwrap(), 0);
    assert_eq!(receiving.came.load(Ordering::SeqCst), 2);
    assert_eq!(shop.world.count("select count(*) from webhook_attempts").await, 0);
}
