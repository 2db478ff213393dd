//! The one entrance: what all use cases share.

use std::sync::Arc;

use moka::future::Cache;
use time::OffsetDateTime;
use tokio_util::task::TaskTracker;

use super::{authenticate, events::Streams, operation::Held, rate_limit::RateLimit};
use crate::{
    acquirer::Acquirer,
    domain::{id::KeyId, webhook::Targets},
    hash_pool::HashPool,
    store::{db::Db, merchants::Credential},
    telemetry::Metrics,
};

/// The time, passed in so that tests can move it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self::new(OffsetDateTime::now_utc)
    }

    /// Any.
    pub fn new(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// To the microsecond, as Postgres keeps it.
    pub fn now(&self) -> OffsetDateTime {
        let now = (self.0)();
        now.replace_nanosecond(now.nanosecond() / 1000 * 1000).unwrap_or(now)
    }
}

/// What the configuration says to the use cases.
#[derive(Clone)]
pub struct Settings {
    /// The admin operations' credential.
    pub admin_token: String,
    /// The key of all fingerprints.
    pub pepper: [u8; 32],
    /// PBKDF2 rounds.
    pub hash_iterations: u32,
    /// Until an authorisation lapses.
    pub authorization: time::Duration,
    /// Of a claimed operation.
    pub lease: std::time::Duration,
    /// Event streams at once.
    pub streams: usize,
    /// The silence after which a stream sends a heartbeat.
    pub stream_heartbeat: std::time::Duration,
    /// How long a stream's consumer may leave a message unread.
    pub stream_write: std::time::Duration,
    /// Of an idempotency key.
    pub key_age: time::Duration,
    /// Requests a second of one API key; 0: no limit.
    pub rate_limit: u32,
    /// Requests of one API key at once.
    pub rate_burst: u32,
    /// Of a body, after its request's head.
    pub body_limit: std::time::Duration,
    /// The key of all webhook secrets.
    pub webhook_master: [u8; 32],
    /// Whom webhooks may reach.
    pub webhook_targets: Targets,
    /// The longest wait before a webhook's second attempt.
    pub webhook_retry: std::time::Duration,
}

/// All use cases. Cheap to clone.
#[derive(Clone)]
pub struct Payments {
    pub(crate) db: Db,
    pub(super) acquirer: Acquirer,
    pub(super) hash_pool: HashPool,
    pub(crate) clock: Clock,
    pub(crate) settings: Arc<Settings>,
    pub(crate) metrics: Arc<Metrics>,
    pub(super) keys: Cache<KeyId, Credential>,
    pub(super) rate_limit: RateLimit,
    pub(crate) tasks: TaskTracker,
    pub(super) held: Held,
    pub(crate) streams: Arc<Streams>,
}

impl Payments {
    /// `tasks` holds the work that goes on when its client has gone.
    pub fn new(
        db: Db,
        acquirer: Acquirer,
        hash_pool: HashPool,
        clock: Clock,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Self {
        let streams = Streams::new(settings.streams, settings.stream_heartbeat, settings.stream_write);
        Self {
            db,
            acquirer,
            hash_pool,
            clock,
            rate_limit: RateLimit::new(settings.rate_limit, settings.rate_burst),
            settings: Arc::new(settings),
            metrics,
            keys: authenticate::cache(),
            tasks: TaskTracker::new(),
            held: Held::default(),
            streams: Arc::new(streams),
        }
    }

    /// The same over another pool: workers and requests can't starve each other.
    pub fn with_db(&self, db: Db) -> Self {
        Self { db, ..self.clone() }
    }
}
