//! One service with all that it needs, and hands to reach into it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use payments::{
    app::{Addresses, App},
    config::Config,
    domain::error::Cause,
    telemetry::Metrics,
    usecase::payments::Clock,
    workers::Workers,
};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::postgres::fresh_database;

pub const ADMIN: &str = "the-admin-token-of-all-these-tests";
pub const PEPPER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
pub const MASTER: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
pub const VISA: &str = "4242424242424242";

/// What a test may set.
#[derive(Default)]
pub struct Setting {
    pub latency: Duration,
    pub drain: Option<Duration>,
    pub env: Vec<(&'static str, String)>,
}

/// A running service.
pub struct World {
    pub at: Addresses,
    pub owner_url: String,
    pub workers: Workers,
    pub metrics: Arc<Metrics>,
    skew: Arc<AtomicI64>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), Cause>>,
    http: Client<HttpConnector, Full<Bytes>>,
}

/// A reply over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member}: {self:?}")).to_owned()
    }

    pub fn replayed(&self) -> bool {
        self.headers.contains_key("idempotency-replayed")
    }
}

/// A number whose ending is `ending` and whose check digit is right.
pub fn card(ending: &str) -> String {
    let luhn = |number: &str| {
        let doubled = |(n, d): (usize, u32)| if n % 2 == 1 { d * 2 / 10 + d * 2 % 10 } else { d };
        number.bytes().rev().map(|b| u32::from(b - b'0')).enumerate().map(doubled).sum::<u32>() % 10 == 0
    };
    (0..10).map(|n| format!("40000000000{n}{ending}")).find(|number| luhn(number)).unwrap()
}

/// A name that no other call of this process gets.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A card network in this process.
pub async fn network(latency: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let config = acquirer::Config {
        addr,
        latency: acquirer::latency::Latency::Fixed(latency),
        seed: 1,
        error_rate: 0.0,
        log: None,
    };
    tokio::spawn(acquirer::serve(
        listener,
        acquirer::Network::open(config).unwrap(),
        acquirer::telemetry::Telemetry::default(),
        std::future::pending(),
    ));
    addr
}

/// The environment of a service, as a function of names.
pub fn config(database_url: &str, network: SocketAddr, env: &[(&'static str, String)]) -> Config {
    let env = env.to_vec();
    let (database_url, acquirer_url) = (database_url.to_owned(), format!("http://{network}"));
    let get = move |name: &str| {
        let name = name.strip_prefix("TWINPAY_")?;
        let given = env.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
        given.or_else(|| match name {
            "DATABASE_URL" => Some(database_url.clone()),
            "ACQUIRER_URL" => Some(acquirer_url.clone()),
            "HTTP_ADDR" | "GRPC_ADDR" | "ADMIN_ADDR" => Some("127.0.0.1:0".into()),
            "ADMIN_TOKEN" => Some(ADMIN.into()),
            "PEPPER" => Some(PEPPER.into()),
            "WEBHOOK_MASTER" => Some(MASTER.into()),
            "HASH_ITERATIONS" => Some("16".into()),
            "HASH_WAIT_MS" => Some("5000".into()),
            "HASH_QUEUE" => Some("1000".into()),
            "DATABASE_WAIT_MS" => Some("5000".into()),
            _ => None,
        })
    };
    Config::read(get).unwrap()
}

/// A fresh database with the schema: its owner's URL.
pub async fn database() -> String {
    let owner_url = fresh_database().await;
    let password = stack::test_postgres::service_password(&owner_url).unwrap();
    payments::migrate::migrate(&owner_url, Some(&password)).await.unwrap();
    owner_url
}

impl World {
    /// With nothing special.
    pub async fn new() -> Self {
        Self::with(Setting::default()).await
    }

    /// Ready to be asked.
    pub async fn with(setting: Setting) -> Self {
        let owner_url = database().await;
        let url = stack::test_postgres::service_url(&owner_url).unwrap();
        let world = Self::over(owner_url, &url, &setting).await;
        world.until_ready().await;
        world
    }

    /// Looks until `/readyz` says so.
    pub async fn until_ready(&self) {
        while self.send(self.at.admin, Method::GET, "/readyz", &[], None).await.unwrap().status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Over a database that the test knows.
    pub async fn over(owner_url: String, service_url: &str, setting: &Setting) -> Self {
        let skew = Arc::new(AtomicI64::new(0));
        let clock = Clock::new({
            let skew = skew.clone();
            move || OffsetDateTime::now_utc() + time::Duration::milliseconds(skew.load(Ordering::SeqCst))
        });
        let config = config(service_url, network(setting.latency).await, &setting.env);
        let mut app = App::bind(&config, clock).await.unwrap();
        let workers = app.workers.take().unwrap();
        app.drain = setting.drain.unwrap_or(app.drain);
        let (at, metrics) = (app.addresses().unwrap(), app.metrics.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { at, owner_url, workers, metrics, skew, stop: Some(stop), running, http }
    }

    /// Moves the service's clock.
    pub fn pass(&self, milliseconds: i64) {
        self.skew.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Gives the stop signal.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// How the service ended.
    pub async fn ended(self) -> Result<(), Cause> {
        self.running.await.unwrap()
    }

    /// The owner's connection.
    pub async fn sql(&self) -> PgConnection {
        PgConnection::connect(&self.owner_url).await.unwrap()
    }

    /// One number out of the database.
    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.sql().await).await.unwrap()
    }

    /// No invariant is broken.
    pub async fn check_invariants(&self) {
        let rows: Vec<(String, i64, i64, Option<String>)> =
            sqlx::query_as(include_str!("../../../../db/queries/check_invariants.sql"))
                .fetch_all(&mut self.sql().await)
                .await
                .unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.2 == 0), "{rows:?}");
    }

    /// One request to any port of it.
    pub async fn send(
        &self,
        to: SocketAddr,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        let mut request = Request::builder().method(method).uri(format!("http://{to}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default().to_owned()));
        let response = self.http.request(request.body(body).unwrap()).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// A GET at the HTTP door whose body isn't read yet.
    pub async fn open(&self, path: &str, headers: &[(&str, &str)]) -> http::Response<hyper::body::Incoming> {
        let mut request = Request::builder().uri(format!("http://{}{path}", self.at.http));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.http.request(request.body(Full::default()).unwrap()).await.unwrap()
    }

    /// One POST at the HTTP door.
    pub async fn post(&self, path: &str, secret: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let authorization = format!("Bearer {secret}");
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        self.send(self.at.http, Method::POST, path, &all, Some(&body.to_string())).await.unwrap()
    }

    /// A merchant's API key.
    pub async fn merchant(&self, members: Value) -> String {
        let mut body = json!({"name": "a shop"});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let merchant = self.post("/v1/merchants", ADMIN, &[], &body).await;
        assert_eq!(merchant.status, 201, "{merchant:?}");
        let path = format!("/v1/merchants/{}/api_keys", merchant.text("id"));
        self.post(&path, ADMIN, &[], &json!({})).await.text("secret")
    }

    /// A payment token of a card.
    pub async fn token(&self, secret: &str, number: &str) -> String {
        let body = card_body(number);
        let key = unique("token");
        let token = self.post("/v1/payment_tokens", secret, &[("idempotency-key", &key)], &body).await;
        assert_eq!(token.status, 201, "{token:?}");
        token.text("id")
    }

    /// A payment of 1000 under a key.
    pub async fn pay(&self, secret: &str, token: &str, capture: &str, key: &str) -> Answer {
        self.pay_with(secret, key, &[], &payment_body(token, 1000, capture, key)).await
    }

    /// A payment.
    pub async fn pay_with(&self, secret: &str, key: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("idempotency-key", key)];
        all.extend_from_slice(headers);
        self.post("/v1/payments", secret, &all, body).await
    }

    /// A capture.
    pub async fn capture(&self, secret: &str, payment: &str, key: &str, body: Value) -> Answer {
        let path = format!("/v1/payments/{payment}/capture");
        self.post(&path, secret, &[("idempotency-key", key)], &body).await
    }
}

/// The body of a tokenisation.
pub fn card_body(number: &str) -> Value {
    json!({"card": {"number": number, "exp_month": 12, "exp_year": 2099, "cvc": "987"}})
}

/// The body of a payment; its reference is its key.
pub fn payment_body(token: &str, amount: i64, capture: &str, key: &str) -> Value {
    json!({"amount": amount, "currency": "USD", "payment_token": token, "capture": capture, "merchant_reference": key})
}
