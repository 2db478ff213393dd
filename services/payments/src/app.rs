//! The wiring: pools, card network, use cases, doors, admin port, workers; and the end, in order. Whoever starts it owns the
//! configuration, the clock and the stop signal.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;
use tracing::{Span, info, warn};

use crate::{
    acquirer::Acquirer,
    admin::{self, Readiness},
    config::{self, Config},
    domain::error::Cause,
    grpcapi,
    hash_pool::{HashPool, Limits},
    httpapi,
    store::db::{Db, Schema},
    telemetry::{Call, Metrics, chain, spans},
    usecase::payments::{Clock, Payments, Settings},
    workers::recovery::Recovery,
};

/// How long requests in flight may take once the end has begun.
const DRAIN: Duration = Duration::from_secs(10);
/// Streams of one HTTP/2 connection at once; hyper's own limit is higher, tonic's none.
const MAX_STREAMS: u32 = 100;
/// Bytes of a request's headers on HTTP/2; and on HTTP/1, where the head must fit into the buffer.
const MAX_HEADERS: u32 = 16 * 1024;
const MAX_BUFFER: usize = 16 * 1024;
/// Connections at once, on each port.
const MAX_CONNECTIONS: usize = 16_384;
/// For connections that ask for nothing.
const PATIENCE: Patience = Patience { first: Duration::from_secs(10), idle: Duration::from_secs(75) };
/// Streams that a peer may reset before they are accepted, and that may fail for its own fault: more is a flood.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 1024;
/// Pause when a connection can't be accepted: too many open files won't pass in a microsecond.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Pause between two looks for the schema, and how long one may take.
const SCHEMA_PAUSE: Duration = Duration::from_millis(250);
const SCHEMA_LIMIT: Duration = Duration::from_secs(2);

/// The database has no schema, or another than this program was built with.
#[derive(Debug, thiserror::Error)]
#[error("the database's schema isn't version {}: run `payments migrate`", crate::store::db::SCHEMA_VERSION)]
pub struct SchemaMismatch;

/// A service that is bound to its ports.
pub struct App {
    /// All use cases.
    pub payments: Arc<Payments>,
    /// Looped by [`App::run`], unless somebody else took it.
    pub recovery: Option<Recovery>,
    /// What `/metrics` reads.
    pub metrics: Arc<Metrics>,
    http: TcpListener,
    grpc: TcpListener,
    admin: TcpListener,
    workers_db: Db,
}

/// Where a service listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The HTTP door.
    pub http: SocketAddr,
    /// The gRPC door.
    pub grpc: SocketAddr,
    /// Health, version, metrics.
    pub admin: SocketAddr,
}

impl App {
    /// Binds the ports; asks nobody for anything yet.
    pub async fn bind(config: &Config, clock: Clock) -> Result<Self, Cause> {
        let metrics = Metrics::new()?;
        let (url, wait) = (config.database_url.as_str(), config.database_wait);
        let db = Db::new("requests", url, config.database_connections, wait, metrics.clone())?;
        let workers_db = Db::new("workers", url, config.worker_connections, wait, metrics.clone())?;
        let limits =
            Limits { permits: config.hash_permits, queue: config.hash_queue, wait: config.hash_wait };
        let settings = Settings {
            admin_token: config.admin_token.clone(),
            pepper: config.pepper,
            hash_iterations: config.hash_iterations,
            authorization: config.authorization,
            lease: config.lease,
        };
        let acquirer = Acquirer::new(&config.acquirer_url)?;
        let hash_pool = HashPool::new(limits, metrics.clone());
        let payments = Payments::new(db, acquirer, hash_pool, clock, settings, metrics.clone());
        let recovery = Some(Recovery::new(Arc::new(payments.with_db(workers_db.clone()))));
        Ok(Self {
            payments: Arc::new(payments),
            recovery,
            metrics,
            http: bind(&config.http_addr).await?,
            grpc: bind(&config.grpc_addr).await?,
            admin: bind(&config.admin_addr).await?,
            workers_db,
        })
    }

    /// The ports that were bound.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        let (http, grpc) = (self.http.local_addr()?, self.grpc.local_addr()?);
        Ok(Addresses { http, grpc, admin: self.admin.local_addr()? })
    }

    /// Serves until `stop`, then drains. An error is a reason to exit with 1.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Cause> {
        let Addresses { http, grpc, admin } = self.addresses()?;
        info!(http_addr = %http, grpc_addr = %grpc, admin_addr = %admin, "listening");
        let readiness = watch::Sender::new(Readiness::default());
        let (doors, ended) = (CancellationToken::new(), CancellationToken::new());

        let mut serving = JoinSet::new();
        let routes = httpapi::router::router(self.payments.clone(), self.metrics.clone());
        serving.spawn(serve(self.http, routes, doors.clone()));
        let services =
            grpcapi::server::router(self.payments.clone(), readiness.subscribe(), self.metrics.clone())?;
        serving.spawn(serve(self.grpc, services, doors.clone()));
        let admin = admin::router(readiness.subscribe(), self.metrics.clone());
        let mut operations = JoinSet::new();
        operations.spawn(serve(self.admin, admin, ended.clone()));
        let mut workers = JoinSet::new();
        workers.spawn(work(self.payments.clone(), self.recovery, readiness.clone(), doors.clone()));

        let result = tokio::select! {
            () = stop => Ok(()),
            () = self.payments.db.schema_mismatch() => Err(SchemaMismatch.into()),
            () = self.workers_db.schema_mismatch() => Err(SchemaMismatch.into()),
            Some(end) = serving.join_next() => Err(early("a door", end)),
            Some(end) = operations.join_next() => Err(early("the admin port", end)),
            Some(end) = workers.join_next() => Err(early("the recovery", end)),
        };
        info!("draining");
        readiness.send_modify(|readiness| readiness.draining = true);
        doors.cancel();
        self.payments.tasks.close();
        let until = Instant::now() + DRAIN;
        let drained = timeout_at(until, async {
            // The worker hands operations back by tasks, and so does what the doors began.
            while workers.join_next().await.is_some() {}
            while serving.join_next().await.is_some() {}
            self.payments.tasks.wait().await;
        });
        if drained.await.is_err() {
            warn!("requests were cut off at the end of the drain");
        }
        self.payments.db.drain().await;
        self.workers_db.drain().await;
        ended.cancel();
        let _ = timeout(Duration::from_secs(1), operations.join_next()).await;
        result
    }
}

async fn bind(address: &str) -> Result<TcpListener, Cause> {
    let resolved = config::resolve(address).await.map_err(|error| format!("{address}: {error}"))?;
    Ok(TcpListener::bind(resolved).await.map_err(|error| format!("can't listen on {address}: {error}"))?)
}

/// What is meant to last until `stop`: the schema is looked for, then the recovery loops.
async fn work(
    payments: Arc<Payments>,
    recovery: Option<Recovery>,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    let seen = see_schema(&payments.db, &readiness, &stop).await;
    match recovery.filter(|_| seen) {
        Some(recovery) => recovery.run(stop).await,
        None => stop.cancelled().await,
    }
}

/// Without a part of it the service must not go on as if nothing were.
fn early(part: &'static str, end: Result<(), JoinError>) -> Cause {
    match end {
        Ok(()) => format!("{part} ended before the service was told to").into(),
        Err(panic) => format!("{part} failed: {panic}").into(),
    }
}

/// Looks until the schema was seen once. False: it never was.
async fn see_schema(db: &Db, readiness: &watch::Sender<Readiness>, stop: &CancellationToken) -> bool {
    loop {
        let deadline = Instant::now() + SCHEMA_LIMIT;
        let call = Call { deadline, span: Span::none(), trace: spans::nowhere() };
        match db.see_schema(&call).await {
            Schema::Right => {
                readiness.send_modify(|readiness| readiness.schema_seen = true);
                info!("ready");
                return true;
            }
            Schema::Wrong(_) => return false,
            Schema::Unseen => {}
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = sleep(SCHEMA_PAUSE) => {}
        }
    }
}

/// Accepts until `stop`, then tells every connection to end after what it is doing, and waits for that.
async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let builder = connection_builder();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(error = %chain(&error), "can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // It can only fail on a connection that is gone already.
        let _ = stream.set_nodelay(true);
        let (builder, routes, stop) = (builder.clone(), routes.clone(), stop.clone());
        connections.spawn(async move {
            attend(&builder, stream, routes, PATIENCE, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// How long a connection is kept that asks for nothing.
#[derive(Clone, Copy)]
struct Patience {
    /// From accept to the first whole head of a request.
    first: Duration,
    /// From the end of a request to the next.
    idle: Duration,
}

/// Serves one connection. hyper's own timer for heads would also close idle connections, and begins only once it knows the version.
async fn attend(
    builder: &auto::Builder<TokioExecutor>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    patience: Patience,
    stop: CancellationToken,
) {
    let activity = Arc::new(Activity::new());
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request: Request<Incoming>| {
            let running = Running::begin(&activity);
            let answer = routes.clone().call(request);
            async move {
                let response = answer.await?;
                Ok::<_, Infallible>(response.map(|body| Tracked { body, _running: running }))
            }
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut due = activity.began + patience.first;
    let (mut stopping, mut leaving) = (false, false);
    loop {
        tokio::select! {
            // How a client ends its connection is its own affair.
            _ = connection.as_mut() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(due) => match activity.idle_since() {
                // Not one whole head yet.
                None => return,
                Some(since) if since + patience.idle > Instant::now() => {
                    due = since + patience.idle;
                    leaving = false;
                }
                // It was asked to go, and doesn't.
                Some(_) if leaving => return,
                Some(_) => {
                    leaving = true;
                    due = Instant::now() + patience.first;
                    connection.as_mut().graceful_shutdown();
                }
            },
        }
    }
}

/// What a connection does.
struct Activity {
    began: Instant,
    running: AtomicUsize,
    /// Microseconds after `began` when the last request began or ended; 0: there was none.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { began: Instant::now(), running: AtomicUsize::new(0), last: AtomicU64::new(0) }
    }

    fn touch(&self) {
        let after = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(after.max(1), Ordering::Relaxed);
    }

    /// Since when there is no request: now, where one runs. None: there never was one.
    fn idle_since(&self) -> Option<Instant> {
        if self.running.load(Ordering::Acquire) > 0 {
            return Some(Instant::now());
        }
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            after => Some(self.began + Duration::from_micros(after)),
        }
    }
}

/// A request from its head to the end of its response's body.
struct Running(Arc<Activity>);

impl Running {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.touch();
        activity.running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.touch();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response's body that keeps its request running.
struct Tracked {
    body: Body,
    _running: Running,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// HTTP/1.1 and cleartext HTTP/2 on one port, with every limit named.
fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What a client that sends this and then nothing gets, until the connection is closed.
    async fn answers(sent: &[u8], patience: Patience) -> String {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let routes = Router::new().route("/", axum::routing::get(async || "here"));
        let stop = CancellationToken::new();
        let served = tokio::spawn(async move {
            attend(&connection_builder(), server, routes, patience, stop).await;
        });
        client.write_all(sent).await.unwrap();
        let mut got = Vec::new();
        let ended = timeout(Duration::from_secs(5), client.read_to_end(&mut got));
        ended.await.expect("it is closed").unwrap();
        served.await.unwrap();
        String::from_utf8_lossy(&got).into_owned()
    }

    const NEVER: Duration = Duration::from_secs(60);
    const SOON: Duration = Duration::from_millis(30);

    #[tokio::test]
    async fn a_connection_without_a_whole_head_is_closed() {
        for sent in ["", "PRI * HT", "GET / HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let got = answers(sent.as_bytes(), Patience { first: SOON, idle: NEVER }).await;
            assert!(!got.contains("HTTP/1.1 200"), "{sent}: {got}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_asks_no_more_is_closed() {
        let whole = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        for rest in ["", "GET / HT"] {
            let sent = format!("{whole}{rest}");
            let got = answers(sent.as_bytes(), Patience { first: SOON, idle: SOON }).await;
            assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("here"), "{rest}: {got}");
        }
    }

    #[tokio::test]
    async fn a_head_over_the_limit_is_refused() {
        let sent = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(MAX_BUFFER));
        let got = answers(sent.as_bytes(), Patience { first: NEVER, idle: NEVER }).await;
        assert!(got.starts_with("HTTP/1.1 431"), "{got}");
    }
}
