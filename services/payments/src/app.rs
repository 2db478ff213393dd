//! The wiring: pools, card network, use cases, doors, admin port, workers; and the end, in order. Whoever starts it owns the
//! configuration, the clock and the stop signal.

mod listen;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{Span, info, warn};

use self::listen::{bind, serve};
use crate::{
    acquirer::Acquirer,
    admin::{self, Readiness},
    config::Config,
    domain::error::Cause,
    grpcapi,
    hash_pool::{HashPool, Limits},
    httpapi,
    store::db::{Db, Schema},
    telemetry::{Call, Metrics, spans},
    usecase::payments::{Clock, Payments, Settings},
    workers::Workers,
};

const DRAIN: Duration = Duration::from_secs(10);
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
    /// Looped by [`App::run`], unless somebody else took them.
    pub workers: Option<Workers>,
    /// What `/metrics` reads.
    pub metrics: Arc<Metrics>,
    /// How long requests in flight may take once the end has begun.
    pub drain: Duration,
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
    /// Health, version, metrics, profiles.
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
            streams: config.streams,
            stream_heartbeat: config.stream_heartbeat,
            stream_write: config.stream_write,
            key_age: config.key_age,
            rate_limit: config.rate_limit,
            rate_burst: config.rate_burst,
            body_limit: config.body_limit,
            webhook_master: config.webhook_master,
            webhook_targets: config.webhook_targets,
            webhook_retry: config.webhook_retry,
        };
        let acquirer = Acquirer::new(&config.acquirer_url)?;
        let hash_pool = HashPool::new(limits, metrics.clone());
        let payments = Payments::new(db, acquirer, hash_pool, clock, settings, metrics.clone());
        let working = payments.with_db(workers_db.clone());
        let workers = Some(Workers::new(working, config, metrics.clone()));
        Ok(Self {
            payments: Arc::new(payments),
            workers,
            metrics,
            drain: DRAIN,
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
        workers.spawn(work(self.payments.clone(), self.workers, readiness.clone(), doors.clone()));

        let result = tokio::select! {
            () = stop => Ok(()),
            () = self.payments.db.schema_mismatch() => Err(SchemaMismatch.into()),
            () = self.workers_db.schema_mismatch() => Err(SchemaMismatch.into()),
            Some(end) = serving.join_next() => Err(early("a door", end)),
            Some(end) = operations.join_next() => Err(early("the admin port", end)),
            Some(end) = workers.join_next() => Err(early("a worker", end)),
        };
        info!("draining");
        readiness.send_modify(|readiness| readiness.draining = true);
        doors.cancel();
        self.payments.streams.drain();
        self.payments.tasks.close();
        let until = Instant::now() + self.drain;
        let drained = timeout_at(until, async {
            // The recovery hands operations back by tasks, and so does what the doors began.
            while workers.join_next().await.is_some() {}
            while serving.join_next().await.is_some() {}
            self.payments.tasks.wait().await;
        });
        if drained.await.is_err() {
            warn!("requests were cut off at the end of the drain");
            self.payments.release_held().await;
        }
        self.payments.db.drain().await;
        self.workers_db.drain().await;
        ended.cancel();
        let _ = timeout(Duration::from_secs(1), operations.join_next()).await;
        result
    }
}

/// What is meant to last until `stop`: the schema is looked for, then the workers loop.
async fn work(
    payments: Arc<Payments>,
    workers: Option<Workers>,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    let seen = see_schema(&payments.db, &readiness, &stop).await;
    match workers.filter(|_| seen) {
        Some(workers) => workers.run(stop).await,
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
            Schema::Wrong => return false,
            Schema::Unseen => {}
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = sleep(SCHEMA_PAUSE) => {}
        }
    }
}
